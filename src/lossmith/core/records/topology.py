"""The records of the topology losses."""

import math

from lossmith.core import centreline, topology
from lossmith.core.parameters import UNIT, Count, Interval, Parameter
from lossmith.core.records.options import REGION, SMOOTH
from lossmith.core.records.record import Record

ITERATIONS = Parameter("iterations", 10, Count(1), "erosions: half the width of the thickest structure, or more")

RECORDS = (
    Record(
        "cldice", "ClDiceLoss", "topology", "soft centre-line Dice: Dice of skeletons, so that gaps count",
        "1 - 2 prec sens / (prec + sens);  prec = |S(p) t| / |S(p)|, sens = |S(t) p| / |S(t)|",
        (ITERATIONS, SMOOTH, *REGION),
        "Shit 2021, Eqs. 1-3, Alg. 1",
        "tubes and networks (vessels, roads, cracks) that must stay connected: beside dice, 0.5*dice + 0.5*cldice",
        topology.cldice,
        prepare=topology.target_centre_lines, terms=topology.centre_line_overlap,
        range=UNIT, neighbours=True, uncut=True, axes=(2, 3),
    ),
    Record(
        "skeleton_recall", "SkeletonRecallLoss", "topology", "recall on a tube round the target's exact skeleton",
        "1 - sum_(tube) p t / |tube|",
        (
            Parameter("tube", 2, Count(0), "steps by which the skeleton is widened, inside of the object"),
            SMOOTH, *REGION,
        ),
        "Kirchhoff 2024, Eq. 1",
        "as cldice, for many classes and 3D: the network's output needs no skeleton; beside dice, which it needs",
        centreline.skeleton_recall,
        prepare=centreline.target_tube, terms=centreline.tube_recall,
        range=UNIT, hard_targets=True, neighbours=True, axes=(2, 3), on_host=True,
    ),
    Record(
        "cbdice", "CbDiceLoss", "topology", "centre-line Dice that weighs thin and thick structures by their radius",
        "1 - 2 prec sens / (prec + sens), the skeletons weighed by 1/r, the masks by distance to the border",
        (ITERATIONS, SMOOTH, *REGION),
        "Shi 2024, Eqs. 6-9",
        "as cldice, where widths differ and matter; beside dice, which it needs to start",
        centreline.cbdice,
        prepare=centreline.radii, terms=centreline.weighed_overlap,
        range=Interval(-math.inf, 1.0), least_at_truth=False, hard_targets=True, neighbours=True, uncut=True,
        axes=(2, 3), on_host=True,
    ),
)  # fmt: skip
