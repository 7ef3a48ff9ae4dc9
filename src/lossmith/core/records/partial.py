"""The records of the losses for partially labelled sets."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lossmith.core import partial
from lossmith.core.parameters import UNIT, Choice, Inner, Parameter
from lossmith.core.pixel import cross_entropy
from lossmith.core.records import choice
from lossmith.core.records.options import DOOR, POOL
from lossmith.core.records.record import Record

_CROSS_ENTROPY = Record(
    "marginal", "MarginalLoss", "partial",
    "any loss on the merged classes of partially labelled images",
    "loss of q;  q_0 = p_0 + sum of p_c, c not annotated;  q_c = p_c, c annotated",
    (Parameter("loss", "ce", Inner("a loss of classes"), "the loss on the merged classes"), *DOOR),
    "Shi 2021, sec. 3",
    "each image has labels of some classes only; with `annotated`, which they are",
    cross_entropy, tasks=("multiclass",), agree=choice.of_classes, choose=choice.on_merged_classes,
)  # fmt: skip


def _by_form(_: Record, arguments: dict[str, Any]) -> tuple[Record, dict[str, Any]]:
    """The record of the form; what is a term of each pixel has no pool."""
    record = EXCLUSIONS[arguments["form"]]
    dropped = ("form",) if record.of_sums else ("form", "pool")
    return record, {name: value for name, value in arguments.items() if name not in dropped}


_EXCLUSION_DICE = Record(
    "exclusion", "ExclusionLoss", "partial",
    "what is predicted where it cannot be, in partially labelled images",
    "2 sum e p / (sum e + sum p), or sum_c e_c log(1 + p_c);  e_c = 1 - t_c, c annotated, else 1 - t_0",
    (
        Parameter("form", "dice", Choice(("dice", "ce")), "the overlap with where a class cannot be, or by pixel"),
        POOL, *DOOR,
    ),
    "Shi 2021, sec. 3; the ce form with its epsilon = 1",
    "beside a marginal loss: what is labelled one class is no other, annotated or not",
    partial.exclusion_dice, tasks=("multiclass",), range=UNIT, hard_targets=True,
    terms=partial.exclusion_sums, inputs=("annotated",), choose=_by_form,
)  # fmt: skip

EXCLUSIONS: Mapping[str, Record] = {
    "dice": _EXCLUSION_DICE,
    "ce": replace(_EXCLUSION_DICE, definition=partial.exclusion_cross_entropy, terms=None),
}
RECORDS = (partial.marginal(_CROSS_ENTROPY), _EXCLUSION_DICE)
