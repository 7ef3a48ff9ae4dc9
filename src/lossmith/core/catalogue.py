"""One record for each loss: what it is called, what it computes, what it takes, what holds for it.

Classes, docs, `lossmith list`, the law tests and the other frameworks' faces follow from the record.
"""

from collections.abc import Mapping

from lossmith.core.records import (
    boundary,
    box,
    calibration,
    partial,
    pixel,
    region,
    region_variants,
    robust,
    shape,
    topology,
    weak,
)
from lossmith.core.records.record import Record as Record
from lossmith.core.records.shape import Prior as Prior
from lossmith.errors import must, suggest

FAMILIES = (pixel, robust, calibration, region, region_variants, boundary, partial, topology, weak)

# Segmentation: the losses that have tasks.
CATALOGUE: Mapping[str, Record] = {record.name: record for family in FAMILIES for record in family.RECORDS}
BOXES: Mapping[str, Record] = {record.name: record for record in box.RECORDS}
# Fitted to masks before use, and on PyTorch alone: `find` does not know them.
PRIORS: Mapping[str, Prior] = {prior.name: prior for prior in shape.RECORDS}
ALIASES: Mapping[str, str] = {"iou": "jaccard"}
FRAMEWORKS = ("torch", "jax", "keras", "numpy")


def frameworks_of(record: Record | Prior) -> tuple[str, ...]:
    """Which frameworks have a loss."""
    return FRAMEWORKS if isinstance(record, Record) else ("torch",)


def absent(module: str, name: str) -> Exception:
    """What is raised where a framework's module is asked for a name that it does not have."""
    if any(name in (prior.name, prior.cls) for prior in PRIORS.values()):
        return NotImplementedError(f"{module} has no {name}: it is fitted to masks before use, and on PyTorch alone")
    return AttributeError(f"module {module!r} has no attribute {name!r}")


def find(name: str) -> Record:
    """The record of a spec name, or a ValueError that suggests one."""
    record = CATALOGUE.get(ALIASES.get(name, name)) or BOXES.get(name)
    if record is None and name in PRIORS:
        raise ValueError(must("the loss", "one of the catalogue, not a fitted prior", name))
    if record is None:
        raise ValueError(f"there is no loss {name!r}{suggest(name, [*CATALOGUE, *ALIASES, *BOXES, *PRIORS])}")
    return record
