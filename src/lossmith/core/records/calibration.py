"""The records of the losses that keep a network from being more certain than its labels are."""

from lossmith.core import calibration
from lossmith.core.parameters import Choice, Count, Parameter
from lossmith.core.records.options import DOOR, FROM_LOGITS
from lossmith.core.records.record import Record

RECORDS = (
    Record(
        "nacl", "NACLLoss", "calibration", "logits as large as the labels around a pixel agree",
        "mean_c |u_c - z_c|,  u_c the share of class c in the window",
        (
            Parameter("radius", 1, Count(1), "the window has 2 radius + 1 pixels along each axis"),
            Parameter("distance", "l1", Choice(calibration.DISTANCES), "absolute or squared difference"),
            *(parameter for parameter in DOOR if parameter is not FROM_LOGITS),
        ),
        "Murugesan 2023, Eq. 6",
        "probabilities that can be believed: ce + 0.1*nacl",
        calibration.neighbour_labels, tasks=("multiclass",),
        zero_at_truth=False, least_at_truth=False, calibrates=True, neighbours=True, uncut=True,
    ),
)  # fmt: skip
