"""One record for each loss: what it is called, what it computes, what it takes, what holds for it.

Classes, docs, `lossmith list`, the law tests and the other frameworks' faces follow from the record.
"""

from collections.abc import Mapping

from lossmith.core.records import boundary, box, partial, pixel, region, region_variants, robust, topology, weak
from lossmith.core.records.record import Record as Record
from lossmith.errors import suggest

FAMILIES = (pixel, robust, region, region_variants, boundary, partial, topology, weak)

# Segmentation: the losses that have tasks.
CATALOGUE: Mapping[str, Record] = {record.name: record for family in FAMILIES for record in family.RECORDS}
BOXES: Mapping[str, Record] = {record.name: record for record in box.RECORDS}
ALIASES: Mapping[str, str] = {"iou": "jaccard"}


def find(name: str) -> Record:
    """The record of a spec name, or a ValueError that suggests one."""
    record = CATALOGUE.get(ALIASES.get(name, name)) or BOXES.get(name)
    if record is None:
        raise ValueError(f"there is no loss {name!r}{suggest(name, [*CATALOGUE, *ALIASES, *BOXES])}")
    return record
