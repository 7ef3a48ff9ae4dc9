r"""Sums over a batch whose images are spread over processes (`process_group` of every loss).

Every process computes the same value, that of the whole batch. Backward, the sum over processes is its own adjoint: a
process gets for its own sums the gradients that all processes have for the total, added up. That is the gradient of the
sum of the processes' values, W times that of one value with W processes, and W is what DDP, FSDP and Lightning divide
by when they take the mean of the processes' gradients.
"""

from typing import TYPE_CHECKING, Any, cast

import torch
import torch.distributed as dist
from torch import Tensor

from lossmith.errors import must
from lossmith.torch.whole import exact

if TYPE_CHECKING:  # torch may be built without it
    from torch.distributed import ProcessGroup


class Group:
    """The processes of a torch.distributed group, as `lossmith.core.processes.Processes` has it.

    They must call the same losses in the same order; the sizes of their shares of the batch are their own.
    """

    shared = True

    def __init__(self, choice: "ProcessGroup | str") -> None:
        self.group = cast("ProcessGroup", dist.group.WORLD if choice == "world" else choice)

    def sum(self, *sums: Tensor | int) -> tuple[Tensor, ...]:
        """Each sum added up over the processes, all of them in one collective, in double precision."""
        (like, *_) = (x for x in sums if isinstance(x, Tensor))
        local = [x if isinstance(x, Tensor) else like.new_tensor(x, dtype=exact(like)) for x in sums]
        flat = torch.cat([x.reshape(-1).to(exact(like)) for x in local])
        totals = torch.split(_add_up(flat, self.group), [x.numel() for x in local])
        return tuple(
            total.view(x.shape).to(x.dtype if isinstance(own, Tensor) else like.dtype)
            for total, x, own in zip(totals, local, sums, strict=True)
        )

    def log_sum(self, log_sum: Tensor) -> Tensor:
        """As `sum`, for a sum that is given by its logarithm."""
        top = log_sum.detach().clone()
        dist.all_reduce(top, op=dist.ReduceOp.MAX, group=self.group)
        (total,) = self.sum(torch.exp(log_sum - top))
        return torch.log(total) + top

    def gather(self, *rows: Tensor) -> tuple[tuple[Tensor, ...], slice]:
        """Rows (k, pixels) with the pixels of all processes, in the order of their ranks, and which are our own.

        No gradient comes back through them; where one is asked for, it is that of a weight.
        """
        if any(row.requires_grad for row in rows):
            raise ValueError(
                must("weight", "without gradient in a loss that sorts across processes", "requires_grad=True")
            )
        own = torch.cat(rows).detach()
        sizes = self._all(torch.tensor([own.shape[1]], device=own.device))
        pixels = [int(size) for size in sizes]
        padded = own.new_zeros(own.shape[0], max(pixels))
        padded[:, : own.shape[1]] = own
        shares = [share[:, :size] for share, size in zip(self._all(padded), pixels, strict=True)]
        start = sum(pixels[: dist.get_rank(self.group)])
        found = torch.split(torch.cat(shares, dim=1), [row.shape[0] for row in rows])
        return found, slice(start, start + own.shape[1])

    def _all(self, own: Tensor) -> list[Tensor]:
        """The tensors of all processes, of one shape."""
        found = [torch.empty_like(own) for _ in range(dist.get_world_size(self.group))]
        dist.all_gather(found, own, group=self.group)
        return found


class _AddUp(torch.autograd.Function):
    """A vector added up over the processes. Linear, and its own adjoint: so derivatives of any order come through."""

    @staticmethod
    def forward(own: Tensor, group: "ProcessGroup") -> Tensor:
        total = own.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total, group=group)
        return total

    @staticmethod
    def setup_context(ctx: Any, inputs: "tuple[Tensor, ProcessGroup]", output: Tensor) -> None:  # noqa: ARG004
        ctx.group = inputs[1]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _add_up(gradient, ctx.group), None


def _add_up(own: Tensor, group: "ProcessGroup") -> Tensor:
    total: Tensor = _AddUp.apply(own, group)  # type: ignore[no-untyped-call]
    return total


def shared(choice: "ProcessGroup | str | None") -> bool:
    """Whether there may be another process for a loss's `process_group`."""
    if choice == "world":
        return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
    return choice is not None
