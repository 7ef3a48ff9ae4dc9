"""Sorting float32 on the CPU by NumPy, whose sort of integers uses the processor's vector instructions.

The float's bits, made to order as integers do, go above the pixel's number in one 64-bit integer: sorting those gives
the order, with equal values by number. `benchmarks/floor.py` prints what each way of sorting costs.
"""

import sys

import torch
from torch import Tensor

FROM = 256  # values from which packing them costs less than it saves
MOST = 2**31


def packs(x: Tensor) -> bool:
    """Whether the rows of `x` can be sorted this way; a traced or transformed tensor cannot."""
    if torch.compiler.is_compiling() or x.dtype != torch.float32 or x.device.type != "cpu":
        return False
    if x.requires_grad or not FROM <= x.shape[-1] < MOST or sys.byteorder != "little":
        return False
    try:
        return x.data_ptr() != 0
    except RuntimeError:  # inside a function transform
        return False


def argsort_descending(x: Tensor) -> Tensor:
    """The order of the last axis, largest first; NaN counts as largest."""
    if torch.isnan(x.sum()):
        x = torch.where(torch.isnan(x), torch.inf, x)
    bits = x.contiguous().view(torch.int32)
    falling = (bits >> 31).bitwise_and_(0x7FFFFFFF).bitwise_xor_(bits).bitwise_not_()
    packed = falling.to(torch.int64).bitwise_left_shift_(32)
    del x, bits, falling
    halves = packed.view(torch.int32).view(*packed.shape, 2)
    halves[..., 0] = torch.arange(packed.shape[-1], dtype=torch.int32)
    packed.numpy().sort(axis=-1)
    return packed.bitwise_and_(0xFFFFFFFF)
