"""PyTorch: extremes of windows of three pixels along an axis.

Out of one comparison of neighbours and one of their results come value and gradient; the comparisons are kept as 0 and
1 in the dtype of the values, so that the backward pass is products.
"""

from typing import Any

import torch
from torch import Tensor

from lossmith.core.namespaces.pieces import plain

MAX = (torch.maximum, torch.ge)
MIN = (torch.minimum, torch.le)
Choice = tuple[Any, Any]


def line_max(x: Tensor, *, axis: int) -> Tensor:
    """See `Namespace.line_max`."""
    return _line(x, axis, MAX)


def line_min(x: Tensor, *, axis: int) -> Tensor:
    """See `Namespace.line_max`."""
    return _line(x, axis, MIN)


def smaller(x: Tensor, y: Tensor) -> Tensor:
    """See `Namespace.smaller`."""
    if not plain(x, y) or not torch.is_grad_enabled() or not (x.requires_grad or y.requires_grad):
        return torch.minimum(x, y)
    with torch.no_grad():
        first = torch.le(x, y, out=torch.empty(x.shape, dtype=x.dtype, device=x.device))
    return torch.lerp(y, x, first)


def _line(x: Tensor, axis: int, choice: Choice) -> Tensor:
    n = x.shape[axis]
    if n < 3:
        return x if n == 1 else choice[0](x, x.flip(axis))
    if plain(x) and x.requires_grad and torch.is_grad_enabled():
        return _Line.apply(x, axis, choice)  # type: ignore[no-untyped-call,no-any-return]
    return _chosen(x, axis, choice[0])[1]


def _chosen(x: Tensor, axis: int, extreme: Any) -> tuple[Tensor, Tensor]:
    """The extremes of neighbours, one less than pixels, and those of windows."""
    n = x.shape[axis]
    pairs = extreme(x.narrow(axis, 0, n - 1), x.narrow(axis, 1, n - 1))
    inner = extreme(pairs.narrow(axis, 0, n - 2), pairs.narrow(axis, 1, n - 2))
    return pairs, torch.cat([pairs.narrow(axis, 0, 1), inner, pairs.narrow(axis, n - 2, 1)], axis)


class _Line(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, axis: int, choice: Choice) -> Tensor:
        n, (extreme, compare) = x.shape[axis], choice
        pairs, windows = _chosen(x, axis, extreme)
        first = compare(x.narrow(axis, 0, n - 1), x.narrow(axis, 1, n - 1), out=torch.empty_like(pairs))
        left, right = pairs.narrow(axis, 0, n - 2), pairs.narrow(axis, 1, n - 2)
        ctx.save_for_backward(first, compare(left, right, out=torch.empty_like(left)))
        ctx.axis = axis
        return windows

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """Of operations that can be differentiated again."""
        (first, left), (g,), axis = ctx.saved_tensors, gradients, ctx.axis
        n = g.shape[axis]
        head, inner, tail = g.split([1, n - 2, 1], axis)  # type: ignore[no-untyped-call]
        to_left = inner * left
        pairs = torch.cat([to_left, tail], axis) + torch.cat([head, inner - to_left], axis)
        to_first = pairs * first
        none = torch.zeros_like(head)
        return torch.cat([to_first, none], axis) + torch.cat([none, pairs - to_first], axis), None, None
