"""Losses over blocks of pixels: one pass over the logits for any number of losses, nothing kept but the inputs.

The forward pass walks through the batch block by block and adds up what the losses take from each (`Part.add`, and the
statistics that they share); the backward pass walks again, computes each block anew and writes its gradient. A block
has the size of the processor's cache. Where blocks cannot go (traces, function transforms, a gradient for weights or
targets) the same definitions see the whole batch as one, under ordinary autograd.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.forward_ad import unpack_dual

from lossmith.core.catalogue import Record
from lossmith.core.door import Batch
from lossmith.core.evaluate import Part, prepare
from lossmith.core.pixels import Pixels
from lossmith.core.processes import ALONE, Processes
from lossmith.torch import compiled
from lossmith.torch.blocks import Block, Place, Scratch
from lossmith.torch.compiled import SHARED, Key
from lossmith.torch.softmax import IndexedBlock, Norm, open_block
from lossmith.torch.whole import Whole, add_up, arrays, fair_share

CONSTANT = ("N", "T", "TT", "weight")  # sums of the target alone
SMALL = 2**18  # elements up to which walking costs more than it saves
KEPT_FROM = 20  # classes from which a pixel's normaliser is kept: two numbers a pixel, a tenth of the logits at most


def values(
    batch: Batch,
    losses: Sequence[tuple[Record, Mapping[str, Any]]],
    *,
    learned: bool = False,
    processes: Processes = ALONE,
) -> list[Tensor]:
    """The values of losses on one batch.

    learned: a gradient is asked for class weights, too. processes: those that have the rest of the batch.
    """
    if learned or not in_blocks(batch, losses):
        px = batch.open()
        px.processes = processes
        # Prepared before any is finished, as in blocks: processes that take different paths must meet.
        parts = [prepare(record, px, **parameters) for record, parameters in losses]
        return [part.value(px) for part in parts]
    whole = Whole(batch, fair_share(batch, arrays(batch, losses)), any(record.uncut for record, _ in losses))
    whole.processes = processes
    with torch.no_grad():
        parts = [prepare(record, whole, **parameters) for record, parameters in losses]
    walk = Walk(whole, parts)
    function = _Blocks if walk.compiled is None else _Compiled
    outputs = function.apply(walk, batch.scores, batch.target, batch.weight)  # type: ignore[no-untyped-call]
    sums = dict(zip(walk.keys, outputs, strict=True))
    shared = {} if whole.weighted else {"N": whole.statistic("N")}
    shared |= {name: value for (place, name), value in sums.items() if place == SHARED}
    found = []
    for number, part in enumerate(parts):
        own = {name: value for (place, name), value in sums.items() if place == number}
        found.append(part.finish(whole, shared | own).to(whole.like.dtype))
    return found


def has_tangent(tensor: Tensor) -> bool:
    """Whether forward-mode differentiation asks for a derivative by it."""
    return unpack_dual(tensor).tangent is not None  # type: ignore[no-untyped-call]


def in_blocks(batch: Batch, losses: Sequence[tuple[Record, Mapping[str, Any]]]) -> bool:
    """Whether the losses look at the batch block by block, or by compiled code."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing():  # type: ignore[no-untyped-call,attr-defined]
        return False
    size = batch.scores.numel()
    if size <= min(SMALL, compiled.LEAST) or not plain_tensors(batch):
        return False
    return size > SMALL or compiled.may_take(batch, losses)


def plain_tensors(batch: Batch) -> bool:
    """Whether the batch is of plain tensors and no transform looks at them, so that parts of it can be looked at."""
    given = [t for t in (batch.scores, batch.target, batch.weight, *batch.inputs.values()) if t is not None]
    if any(type(tensor) not in (Tensor, nn.Parameter) for tensor in given) or batch.scores.device.type == "meta":
        return False
    if any(tensor.requires_grad for tensor in given[1:]) or any(map(has_tangent, given)):
        return False
    if batch.scores.device.type != "cpu" and torch.are_deterministic_algorithms_enabled():
        return False
    return not torch._C._are_functorch_transforms_active()


class Walk:
    """The losses that look at the blocks, and what the blocks gave them by key."""

    def __init__(self, whole: Whole, parts: Sequence[Part]) -> None:
        self.whole = whole
        self.parts = parts
        self.uncut = any(part.record.uncut for part in parts)
        names = dict.fromkeys(name for part in parts for name in part.statistics)
        self.statistics = tuple(name for name in names if name != "N" or whole.weighted)
        self.keys: list[Key] = []
        self.compiled = compiled.Asked.by(parts, self.statistics, whole.batch)

    def look(self, px: Pixels, names: Sequence[str], parts: Sequence[int]) -> dict[Key, Tensor]:
        """What the losses take from one block."""
        found = {(SHARED, name): px.statistic(name) for name in names}
        for number in parts:
            found |= {(number, name): value for name, value in self.parts[number].add(px).items()}
        return found


def _exactly(step: Callable[..., Any]) -> Callable[..., Any]:
    """The step without autocast, which would multiply matrices in half precision."""

    @wraps(step)
    def without_autocast(ctx: Any, *arguments: Any) -> Any:
        walk = arguments[0] if isinstance(arguments[0], Walk) else ctx.walk
        device = walk.whole.like.device.type
        if not torch.is_autocast_enabled(device):
            return step(ctx, *arguments)
        with torch.autocast(device, enabled=False):
            return step(ctx, *arguments)

    return without_autocast


def _asked(ctx: Any, gradients: Sequence[Tensor | None]) -> tuple[Batch, dict[Key, Tensor]]:
    """The batch of the forward pass, and the gradients of what was taken from it."""
    asked = {key: g for key, g in zip(ctx.walk.keys, gradients, strict=True) if g is not None}
    return ctx.batch.holding(*ctx.saved_tensors), asked


class _Blocks(torch.autograd.Function):
    """Scores to the sums of `Walk.keys`; equal to `Walk.look` on the whole batch as one block."""

    @staticmethod
    @_exactly
    def forward(ctx: Any, walk: Walk, scores: Tensor, target: Tensor, weight: Tensor | None) -> tuple[Tensor, ...]:
        batch = walk.whole.batch.holding(scores, target, weight)
        keep = ctx.needs_input_grad[1] and scores.shape[1] >= KEPT_FROM
        reader = _Reader(walk, batch, {} if keep else None)
        found = [[reader.look(place) for place in row] for row in walk.whole.rows]
        walk.keys = list(found[0][0])
        outputs = tuple(_joined([[block[key] for block in row] for row in found]) for key in walk.keys)
        ctx.walk, ctx.batch = walk, batch.holding(None, None, None)
        walk.whole.forget()  # from here on only `saved_tensors` holds the batch
        ctx.norms = reader.norms
        ctx.save_for_backward(scores, target, weight)
        ctx.mark_non_differentiable(
            *(value for (_, name), value in zip(walk.keys, outputs, strict=True) if name in CONSTANT)
        )
        ctx.set_materialize_grads(False)
        return outputs

    @staticmethod
    @_exactly
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[None, Tensor | None, None, None]:
        batch, asked = _asked(ctx, gradients)
        if torch.is_grad_enabled():
            return None, _twice(ctx.walk, batch, asked), None, None
        gradient, reader = torch.empty_like(batch.scores), _Reader(ctx.walk, batch, ctx.norms)
        asked = {key: g.to(ctx.walk.whole.like.dtype) for key, g in asked.items()}
        for row in ctx.walk.whole.rows:
            for number, place in enumerate(row):
                own = {key: _of_block(key, g, place, number) for key, g in asked.items()}
                reader.pull_back(place, own, gradient[place[0], :, place[1]])
        return None, gradient, None, None


class _Compiled(torch.autograd.Function):
    """As `_Blocks`; the whole batch is one block."""

    @staticmethod
    def forward(ctx: Any, walk: Walk, scores: Tensor, target: Tensor, weight: Tensor | None) -> tuple[Tensor, ...]:
        batch, asked = walk.whole.batch, walk.compiled
        assert asked is not None
        found = compiled.Compiled(batch, asked).look()
        walk.keys = list(found)
        ctx.walk, ctx.batch = walk, batch.holding(None, None, None)
        walk.whole.forget()  # from here on only `saved_tensors` holds the batch
        ctx.save_for_backward(scores, target, weight)
        ctx.mark_non_differentiable(*(value for (_, name), value in found.items() if name in CONSTANT))
        ctx.set_materialize_grads(False)
        return tuple(found.values())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[None, Tensor | None, None, None]:
        batch, asked = _asked(ctx, gradients)
        if torch.is_grad_enabled():
            return None, _twice(ctx.walk, batch, asked), None, None
        gradient = torch.empty_like(batch.scores)
        compiled.Compiled(batch, ctx.walk.compiled).pull_back(asked, gradient)
        return None, gradient, None, None


class _Reader:
    """Blocks as `Pixels`, for any loss. norms: what is kept of each block for the backward pass, or None."""

    def __init__(self, walk: Walk, batch: Batch, norms: dict[tuple[int, int], Norm] | None) -> None:
        self.walk, self.batch, self.norms = walk, batch, norms
        self.scratch = Scratch()

    def look(self, place: Place) -> dict[Key, Tensor]:
        """What the losses take from a block."""
        block = open_block(self.batch, place, self.scratch)
        found = self.walk.look(block, self.walk.statistics, range(len(self.walk.parts)))
        self.walk.whole.flaws.append(block.flaw)
        if self.norms is not None and isinstance(block, IndexedBlock):
            self.norms[place[0].start, place[1].start] = block.norm
        return found

    def pull_back(self, place: Place, asked: Mapping[Key, Tensor], out: Tensor) -> None:
        """Write the gradient of a block's scores."""
        if self.walk.uncut:  # what the last block left is too large to keep beside what neighbours take
            self.scratch = Scratch()
        norm = None if self.norms is None else self.norms.get((place[0].start, place[1].start))
        block = open_block(self.batch, place, self.scratch, checked=True, norm=norm)
        _differentiate(self.walk, block, asked, out)


def _differentiate(walk: Walk, block: Block, asked: Mapping[Key, Tensor], out: Tensor) -> None:
    """Write the gradient of a block's scores."""
    sums = {name: g for (place, name), g in asked.items() if place == SHARED and name in block.by_hand}
    leaves: dict[str, Tensor] = {}
    rest = {key: g for key, g in asked.items() if key[0] != SHARED or key[1] not in sums}
    for key in asked:
        part = walk.parts[key[0]] if key[0] != SHARED else None
        if part is not None and part.of_truth and block.knows_slopes:
            own = rest.pop(key)
            slope = block.slope_of(part) * (own if own.ndim == 3 else own.unsqueeze(2))
            leaves["truth"] = leaves["truth"] + slope if "truth" in leaves else slope
    if rest:
        leaves |= _through_graph(walk, block, rest)
    block.pull_back(sums, leaves, out)


def _through_graph(walk: Walk, block: Block, asked: Mapping[Key, Tensor]) -> dict[str, Tensor]:
    """The gradients of the block's leaves, by autograd over the definitions."""
    names = [name for place, name in asked if place == SHARED]
    parts = sorted({place for place, _ in asked if place != SHARED})
    with torch.enable_grad():
        block.trace()
        found = walk.look(block, names, parts)
    outputs = [(found[key], g.to(found[key].dtype)) for key, g in asked.items() if found[key].requires_grad]
    leaves = block.leaves or {}
    if not outputs:
        return {}
    values, gradients = zip(*outputs, strict=True)
    found_gradients = torch.autograd.grad(values, list(leaves.values()), gradients, allow_unused=True)
    return {name: g for name, g in zip(leaves, found_gradients, strict=True) if g is not None}


def _twice(walk: Walk, batch: Batch, asked: Mapping[Key, Tensor]) -> Tensor | None:
    """The gradient of the scores as a function of scores and `asked` that can be differentiated again."""
    outputs, gradients = [], []
    for row in walk.whole.rows:
        for number, place in enumerate(row):
            px = batch.part(*place).open()
            px.place = place
            found = walk.look(px, walk.statistics, range(len(walk.parts)))
            for key, g in asked.items():
                if found[key].requires_grad:
                    outputs.append(found[key])
                    gradients.append(_of_block(key, g, place, number).to(found[key].dtype))
    (gradient,) = torch.autograd.grad(outputs, [batch.scores], gradients, create_graph=True, allow_unused=True)
    return gradient


def _joined(rows: Sequence[Sequence[Tensor]]) -> Tensor:
    """What the blocks gave for one key: sums (b, k) added up, and arrays (b, k, m) side by side."""
    if rows[0][0].ndim == 2:
        return add_up(rows)
    found = [row[0] if len(row) == 1 else torch.cat(list(row), dim=2) for row in rows]
    return found[0] if len(found) == 1 else torch.cat(found)


def _of_block(key: Key, gradient: Tensor, place: Place, number: int) -> Tensor:
    """A block's part of the gradient of what `_joined` made."""
    images, pixels = place
    if gradient.ndim == 2:
        return gradient[images]
    return gradient[images, :, number : number + 1] if key[1].startswith("log ") else gradient[images, :, pixels]
