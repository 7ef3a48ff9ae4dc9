"""From a record, an open batch and parameters to the value of the loss: the path that every framework's face takes."""

from typing import Any

from lossmith.core.catalogue import Record
from lossmith.core.namespaces import Array
from lossmith.core.pixels import Pixels
from lossmith.core.reduce import reduce_pixels
from lossmith.core.region import region_loss


def evaluate(record: Record, px: Pixels, *, reduction: str = "mean", **parameters: Any) -> Array:
    """The reduced value; `parameters` are those of the record except for the door's (ignore_index, from_logits)."""
    if record.family == "pixel":
        return reduce_pixels(px, record.definition(px, **parameters), reduction)
    if "per_image" in parameters:
        parameters["pool"] = "image" if parameters.pop("per_image") else "batch"
    if parameters.get("classes", "all") is None:
        parameters["classes"] = "present" if px.task == "multiclass" else "all"
    return region_loss(px, record.definition, reduction=reduction, joint=record.joint, **parameters)
