"""The engine for processes, outside of what torch.compile traces: a compiled function has a graph break here.

Collectives and their gradients are no part of a traced graph. A module of its own, because loading it loads the
compiler.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lossmith.core.door import Batch
from lossmith.core.records.record import Record
from lossmith.torch import engine
from lossmith.torch.distributed import Group

if TYPE_CHECKING:  # torch may be built without it
    from torch.distributed import ProcessGroup


@torch.compiler.disable  # type: ignore[untyped-decorator]
def values(
    batch: Batch,
    losses: Sequence[tuple[Record, Mapping[str, Any]]],
    *,
    learned: bool,
    process_group: "ProcessGroup | str",
) -> list[Tensor]:
    """As `engine.values`, for the batch of all processes of a group."""
    return engine.values(batch, losses, learned=learned, processes=Group(process_group))
