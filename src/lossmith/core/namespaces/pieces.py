"""PyTorch: functions of parts of an array; what happens inside is computed anew in the backward pass, not kept."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.utils.checkpoint import checkpoint

Piece = tuple[Any, ...]


def plain(*tensors: Tensor) -> bool:
    """Whether these are ordinary tensors under ordinary autograd: no trace, no function transform, no tangents."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing():  # type: ignore
        return False
    if torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0:
        return False
    return all(type(tensor) in (Tensor, nn.Parameter) for tensor in tensors)


def by_piece(f: Callable[[Tensor, int], Tensor], pieces: Sequence[Piece], x: Tensor) -> Tensor:
    """See `Namespace.by_piece`."""
    if plain(x):
        return _ByPiece.apply(f, pieces, x)  # type: ignore[no-untyped-call,no-any-return]
    return _stacked(f, pieces, x)


def recompute(f: Callable[..., Any], *arrays: Tensor) -> Any:
    """See `Namespace.recompute`."""
    if torch.is_grad_enabled() and plain(*arrays) and any(array.requires_grad for array in arrays):
        return checkpoint(f, *arrays, use_reentrant=False, preserve_rng_state=False)
    return f(*arrays)


class _ByPiece(torch.autograd.Function):
    """`_stacked`, one piece at a time in both directions."""

    @staticmethod
    def forward(ctx: Any, f: Callable[[Tensor, int], Tensor], pieces: Sequence[Piece], x: Tensor) -> Tensor:
        ctx.f, ctx.pieces = f, pieces
        ctx.save_for_backward(x)
        return _stacked(f, pieces, x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, None, Tensor]:
        (x,), (g,) = ctx.saved_tensors, gradients
        if torch.is_grad_enabled():
            return None, None, torch.autograd.grad(_stacked(ctx.f, ctx.pieces, x), x, g, create_graph=True)[0]
        gradient = torch.zeros_like(x)
        for number, piece in enumerate(ctx.pieces):
            with torch.enable_grad():
                part = x[piece].detach().requires_grad_()
                value = ctx.f(part, number)
            gradient[piece] += torch.autograd.grad(value, part, g[number])[0]
        return None, None, gradient


def _stacked(f: Callable[[Tensor, int], Tensor], pieces: Sequence[Piece], x: Tensor) -> Tensor:
    return torch.stack([f(x[piece], number) for number, piece in enumerate(pieces)])
