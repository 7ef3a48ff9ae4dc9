"""Parameters that many losses have."""

from lossmith.core import region
from lossmith.core.parameters import NONNEGATIVE, Choice, Classes, Flag, Group, Label, Parameter, PerClass
from lossmith.core.records.record import REDUCTION

IGNORE = Parameter("ignore_index", None, Label(), "target value of pixels that do not count")
FROM_LOGITS = Parameter("from_logits", True, Flag(), "False: the first argument holds probabilities")
PROCESS_GROUP = Parameter("process_group", None, Group(), "the processes that share the batch, see distributed.md")
DOOR = (IGNORE, REDUCTION, FROM_LOGITS, PROCESS_GROUP)
CLASS_WEIGHT = Parameter(
    "class_weight", None, PerClass(NONNEGATIVE), "a weight for each class; the mean divides by them"
)
PIXEL = (CLASS_WEIGHT, *DOOR)
POOL = Parameter("pool", "image", Choice(region.POOLS), "sums over each image, or over the batch")
CLASSES = Parameter("classes", "all", Classes(), "the classes that count; present: those in the item's target")
EMPTY = Parameter(
    "empty", "area", Choice(region.EMPTIES), "a class without target: its mean probability, the formula, left out, 0"
)
AVERAGE = Parameter(
    "average",
    "macro",
    Choice(region.AVERAGES),
    "the mean is over all items; over an image's classes, then images; or one item for all classes",
)
REGION = (CLASS_WEIGHT, POOL, CLASSES, EMPTY, *DOOR)
INDEX = (CLASS_WEIGHT, POOL, CLASSES, EMPTY, AVERAGE, *DOOR)
SMOOTH = Parameter("smooth", 0.0, NONNEGATIVE, "added to numerator and denominator")
SQUARED = Parameter("squared", False, Flag(), "V-Net's denominator sum p^2 + sum t^2")
LOG = Parameter("log", False, Flag(), "-log of the index in place of 1 - index")
