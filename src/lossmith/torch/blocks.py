"""A block of pixels as `Pixels`, and the way back from what a loss takes of it to the gradient of its scores.

Softmax and sigmoid are the only places where a gradient is written by hand. What a definition can ask of a block
(`probs`, `log_probs`, `log_rest`, `log_truth`, `logits`) is, in the backward pass, a leaf of an ordinary autograd graph
of the block's size; `pull_back` takes the leaves' gradients through softmax or sigmoid,

    softmax:  dz = p (g - sum_c p_c g_c)     g the gradient of probs          sigmoid:  dz = p (1 - p) g
              dz = h - p sum_c h_c           h the gradient of log_probs                dz = (1 - p) h
              dz = (t - p) u                 u the gradient of log p_t                  dz = (t - p) u

The sums `by_hand`, P = sum w p and (hard targets) I = sum w p t and L = sum w log p_t, need no graph at all.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from lossmith.core.door import Batch
from lossmith.core.evaluate import Part
from lossmith.core.flaws import any_of
from lossmith.core.namespaces.torch import xp
from lossmith.core.pixels import Pixels
from lossmith.core.stable import Probability

Place = tuple[slice, slice]
ORDINARY = 1e4  # logits below it have finite logarithms of probabilities


class Scratch:
    """Memory that the blocks of a walk use one after the other: fresh pages cost more than the arithmetic on them."""

    def __init__(self) -> None:
        self._flat: dict[str, Tensor] = {}
        self._views: dict[tuple[str, torch.Size], Tensor] = {}

    def like(self, name: str, x: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """An uninitialised tensor of the shape of `x`, contiguous; the same memory at every call.

        A name goes with one dtype, that of `x` unless `dtype` says otherwise.
        """
        view = self._views.get((name, x.shape))
        if view is None:
            flat = self._flat.get(name)
            if flat is None or flat.numel() < x.numel():
                flat = self._flat[name] = torch.empty(x.numel(), dtype=dtype or x.dtype, device=x.device)
            view = self._views[name, x.shape] = flat[: x.numel()].view(x.shape)
        return view


class Block(Pixels):
    """Some pixels of some images, given by probabilities. Bad values raise unless they were `checked` before."""

    leaf_names: tuple[str, ...] = ("probs",)
    by_hand: tuple[str, ...] = ()
    _sloping = False

    def __init__(self, batch: Batch, place: Place, scratch: Scratch, *, checked: bool = False) -> None:
        scores = xp.wide(batch.scores)
        values, valid, weight = batch.content(scores)
        if valid is not None:
            scores = _clean(scores, valid.unsqueeze(1) if batch.indices else valid, batch.from_logits)
        target = None if batch.task == "multiclass" and batch.hard else _real(values, scores, scratch)
        flaw = None if checked else any_of(xp, batch.flaws(scores, values, valid))
        if batch.indices and flaw is not None:
            values = values.clamp(0, scores.shape[1] - 1)
        labels = None if target is not None else values if batch.indices else xp.argmax(values, axis=1)
        super().__init__(
            xp,
            batch.task,
            batch.space,
            logits=scores if batch.from_logits else None,
            probs=None if batch.from_logits else scores,
            labels=labels,
            target=target,
            soft=not batch.hard,
            weight=weight,
            flaw=flaw,
            inputs=batch.inputs,
        )
        self.place = place
        self.scratch = scratch
        self.leaves: dict[str, Tensor] | None = None

    def trace(self) -> None:
        """From here on, what a definition asks for is a leaf that collects a gradient."""
        self.leaves = {}

    def _once(self, name: str, make: Callable[[], Tensor]) -> Tensor:
        if self.leaves is None or name not in self.leaf_names:
            return super()._once(name, make)
        if name not in self.leaves:
            with torch.no_grad():
                self.leaves[name] = super()._once(name, make).detach().requires_grad_()
        return self.leaves[name]

    @property
    def knows_slopes(self) -> bool:
        """See `LogitBlock`."""
        return False

    def slope_of(self, part: Part) -> Tensor:
        """The derivative of a loss's terms by log p_t, for a loss that takes nothing else of a pixel.

        The terms are linear in what `expect` gives, so putting the slope in its place gives the derivative.
        """
        self._sloping = True
        slope = part.map(self)
        self._sloping = False
        return slope

    def _of_truth(self, value: Callable[[Probability], Tensor] | None) -> Tensor:
        if self._sloping and value is None:
            return torch.ones_like(self.like if self.labels is None else self.like[:, :1])
        slope = getattr(value, "slope", None) if self._sloping else None
        return super()._of_truth(slope or value)

    def pull_back(self, sums: Mapping[str, Tensor], leaves: Mapping[str, Tensor], out: Tensor) -> None:
        """Write the gradient of the scores into `out`, from those of the sums `by_hand`, (b, K), and of the leaves."""
        assert not sums
        if leaves:
            out.copy_(leaves["probs"])
        else:
            out.zero_()


class LogitBlock(Block):
    """What softmax and sigmoid share."""

    leaf_names = ("probs", "log_probs", "log_rest", "log_truth", "logits")

    def __init__(self, batch: Batch, place: Place, scratch: Scratch, *, checked: bool = False) -> None:
        super().__init__(batch, place, scratch, checked=checked)
        self.by_hand = ("P",) if self.soft else ("P", "I", "PT", "L")

    @property
    def knows_slopes(self) -> bool:
        """Whether `slope_of` can be asked: what a loss takes of a hard target is log p_t."""
        return not self.soft

    def pull_back(self, sums: Mapping[str, Tensor], leaves: Mapping[str, Tensor], out: Tensor) -> None:
        """See `Block`."""
        traced = (self.leaves or {}).get("probs")
        p = self._probs() if traced is None else traced.detach()
        inner = added(self._of_sums(sums), leaves.get("probs"))
        of_truth = self._of_log_truth(sums, leaves)
        single = leaves.keys() <= {"probs", "truth", "log_truth"} and (inner is None or of_truth is None)
        dz = out if single and out.dtype == p.dtype else self.scratch.like("gradient", p)  # `out` is far: write it once
        if of_truth is not None:
            rest = torch.sub(self.target, p, out=self.scratch.like("slope", p))
        if inner is not None:
            self._through(p, inner, dz)
            if of_truth is not None:
                dz.addcmul_(rest, of_truth)
        elif of_truth is not None:
            torch.mul(rest, of_truth, out=dz)
        else:
            dz.zero_()
        for name, slope in (("log_probs", self._through_log), ("log_rest", self._through_log_rest)):
            if name in leaves:
                dz.add_(slope(p, leaves[name]))
        if "logits" in leaves:
            dz.add_(leaves["logits"])
        if dz is not out:
            out.copy_(dz)

    def _of_sums(self, sums: Mapping[str, Tensor]) -> Tensor | None:
        """The gradient of probs from those of P and I: w (dP + t dI)."""
        area, overlap = sums.get("P"), added(sums.get("I"), sums.get("PT"))
        inner = None if area is None else area.unsqueeze(2)
        if overlap is not None:
            of_overlap = torch.mul(self.target, overlap.unsqueeze(2), out=self.scratch.like("inner", self.like))
            inner = of_overlap if inner is None else of_overlap.add_(inner)
        return inner if inner is None or self.weight is None else inner * self.weight

    def _of_log_truth(self, sums: Mapping[str, Tensor], leaves: Mapping[str, Tensor]) -> Tensor | None:
        """The gradient of log p_t, that from L included."""
        total = added(leaves.get("truth"), leaves.get("log_truth"))
        if "L" not in sums:
            return total
        likelihood = sums["L"].unsqueeze(2)
        return added(likelihood if self.weight is None else self.weight * likelihood, total)

    def _through(self, p: Tensor, g: Tensor, out: Tensor) -> None:
        """Write the gradient of the logits from `g`, that of probs, into `out`."""
        raise NotImplementedError

    def _through_log(self, p: Tensor, h: Tensor) -> Tensor:
        """The gradient of the logits from that of log_probs."""
        raise NotImplementedError

    def _through_log_rest(self, p: Tensor, h: Tensor) -> Tensor:
        return -p * h


class SigmoidBlock(LogitBlock):
    """Binary and multilabel logits."""

    def _through(self, p: Tensor, g: Tensor, out: Tensor) -> None:
        torch.ops.aten.sigmoid_backward(g.expand_as(p), p, grad_input=out)

    def _through_log(self, p: Tensor, h: Tensor) -> Tensor:
        return (1 - p) * h

    def _statistic(self, name: str) -> Tensor:
        if self.leaves is None and self.weight is None and not self.soft:
            if name in ("I", "PT"):
                return torch.mul(self.probs, self.target, out=self.scratch.like("slope", self.like)).sum(2)
            if name == "L" and "log_truth" not in self._known:
                return self._tail().sum(2).add_(self._hinge().sum(2)).neg_()
        return super()._statistic(name)

    def _log_truth(self) -> Tensor:
        return self._hinge().add_(self._tail()).neg_()

    def _tail(self) -> Tensor:
        """log(1 + exp(-|z|))."""
        return torch.abs(self.like, out=self.scratch.like("tail", self.like)).neg_().exp_().log1p_()

    def _hinge(self) -> Tensor:
        """max(0, -z) where t = 1, max(0, z) where t = 0."""
        z = self.like
        return torch.clamp_min(z, 0, out=self.scratch.like("log_truth", z)).addcmul_(z, self.target, value=-1)

    def _probs(self) -> Tensor:
        return torch.sigmoid(self.like, out=self.scratch.like("probs", self.like))

    def _log_probs(self) -> Tensor:
        return F.logsigmoid(self.like)

    def _log_rest(self) -> Tensor:
        return F.logsigmoid(-self.like)


def added(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    """The sum of what is there."""
    return other if one is None else one if other is None else one + other


def _real(values: Tensor, scores: Tensor, scratch: Scratch) -> Tensor:
    """A target in the dtype of the scores; 0 and 1 by way of bytes, which is the fast way."""
    if values.dtype == torch.bool:
        values = values.view(torch.uint8)
    elif values.dtype == torch.int64:
        values = scratch.like("bytes", values, torch.uint8).copy_(values)
    return scratch.like("target", scores).copy_(values)


def _clean(scores: Tensor, valid: Tensor, from_logits: bool) -> Tensor:
    """Scores that no ignored pixel can spoil. On the CPU logits of an ordinary size stay as they are."""
    if from_logits and scores.device.type == "cpu" and scores.numel():
        low, high = scores.aminmax()
        if low.item() > -ORDINARY and high.item() < ORDINARY:
            return scores
    return torch.where(valid, scores, 0.0 if from_logits else 1.0 / max(2, scores.shape[1]))
