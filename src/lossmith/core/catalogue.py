"""One record for each loss: what it is called, what it computes, what it takes, what holds for it.

Classes, docs, `lossmith list`, the law tests and the other frameworks' faces follow from the record.
"""

from collections.abc import Collection, Mapping

from lossmith.core.inputs import INPUTS
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
ON_TORCH_ALONE = "it is fitted to masks before use, and on PyTorch alone"
FRAMEWORKS = ("torch", "jax", "keras", "numpy")


def frameworks_of(record: Record | Prior) -> tuple[str, ...]:
    """Which frameworks have a loss."""
    return FRAMEWORKS if isinstance(record, Record) else ("torch",)


def limits_of(record: Record | Prior) -> tuple[str, ...]:
    """What a framework that has a loss cannot do with it."""
    if not isinstance(record, Record):
        return ()
    needed = ", ".join(f"{name}=" for name in record.inputs if INPUTS[name].required)
    by_fit = (f"Keras: called with {needed}, not by fit",) if needed else ()
    return (*by_fit, "Keras on TensorFlow: not with jit_compile=True") if record.on_host else by_fit


def absent(module: str, name: str, public: Collection[str]) -> Exception:
    """What is raised where a framework's module, whose names are `public`, is asked for one that it does not have."""
    if any(name in (prior.name, prior.cls) for prior in PRIORS.values()):
        return NotImplementedError(f"{module} has no {name}: {ON_TORCH_ALONE}")
    asked = _stem(name)
    asked = _stem(ALIASES.get(asked, asked))
    named = [
        record for record in (*CATALOGUE.values(), *BOXES.values()) if asked in (_stem(record.name), _stem(record.cls))
    ]
    likely = [known for record in named for known in (record.cls, record.name) if known in public]
    hint = f"; did you mean {likely[0]}?" if likely else suggest(name, public)
    return AttributeError(f"module {module!r} has no attribute {name!r}{hint}")


def _stem(name: str) -> str:
    """A name as one hears it: of "dice_loss", "DiceLoss" and "dice" the same."""
    return name.replace("_", "").lower().removesuffix("loss")


def find_anywhere(name: str) -> Record:
    """As `find`, for frameworks other than PyTorch: they have no fitted priors, and say so."""
    if name in PRIORS:
        raise NotImplementedError(f"there is no {name} but in lossmith.torch: {ON_TORCH_ALONE}")
    return find(name)


def find(name: str) -> Record:
    """The record of a spec name, or a ValueError that suggests one."""
    record = CATALOGUE.get(ALIASES.get(name, name)) or BOXES.get(name)
    if record is None and name in PRIORS:
        raise ValueError(must("the loss", "one of the catalogue, not a fitted prior", name))
    if record is None:
        raise ValueError(f"there is no loss {name!r}{suggest(name, [*CATALOGUE, *ALIASES, *BOXES, *PRIORS])}")
    return record
