"""The softmax of a block, in as few passes over the block as there can be.

With e = exp(z - max z) and r = 1 / sum_c e_c of each pixel, p = e r is seldom needed as such in the forward pass:

    P_c = sum_i e_ci (w_i r_i)
    log p_t = z_t - max z + log r       one number a pixel

A hard target is read by the index of the true class, so that whatever comes of it is one number a pixel, too.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from lossmith.core.door import Batch
from lossmith.torch.blocks import Block, LogitBlock, Place, Scratch, SigmoidBlock, added

FEW = 8  # classes up to which a one-hot target is cheaper than reading and counting by index
Norm = tuple[Tensor, Tensor]


class SoftmaxBlock(LogitBlock):
    """Multiclass logits with a soft target."""

    def __init__(
        self, batch: Batch, place: Place, scratch: Scratch, *, checked: bool = False, norm: Norm | None = None
    ) -> None:
        super().__init__(batch, place, scratch, checked=checked)
        self._norm = norm
        self._scaled: Tensor | None = None

    @property
    def norm(self) -> Norm:
        """max_c z_c and r of each pixel, (b, 1, B) each."""
        if self._norm is None:
            top = self.like.amax(1, keepdim=True)
            self._scaled = torch.sub(self.like, top, out=self.scratch.like("scaled", self.like)).exp_()
            self._norm = top, over_classes(self._scaled, None).reciprocal_()
        return self._norm

    @property
    def scaled(self) -> Tensor:
        """e, (b, K, B)."""
        top, _ = self.norm
        if self._scaled is None:
            self._scaled = torch.sub(self.like, top, out=self.scratch.like("scaled", self.like)).exp_()
        return self._scaled

    def _probs(self) -> Tensor:
        probs = self.scaled.mul_(self.norm[1])
        self._scaled = None
        return probs

    def _log_probs(self) -> Tensor:
        top, inverse = self.norm
        return (self.like - top).add_(inverse.log())

    def _statistic(self, name: str) -> Tensor:
        if name == "P" and self.leaves is None and "probs" not in self._known:
            share = self.norm[1] if self.weight is None else self.weight * self.norm[1]
            return self.over_pixels(self.scaled, share)
        return super()._statistic(name)

    def over_pixels(self, values: Tensor, weight: Tensor) -> Tensor:
        """sum_i v_ci w_i, (b, K). Not as a matrix by a vector: adding many equal numbers one by one drifts."""
        return torch.mul(values, weight, out=self.scratch.like("weighted", values)).sum(2)

    def _through(self, p: Tensor, g: Tensor, out: Tensor) -> None:
        product = torch.mul(p, g, out=self.scratch.like("product", p))
        torch.mul(torch.sub(g, over_classes(product, None), out=product), p, out=out)

    def _through_log(self, p: Tensor, h: Tensor) -> Tensor:
        return h - p * h.sum(1, keepdim=True)


class OneHotBlock(SoftmaxBlock):
    """Multiclass logits with a hard target."""

    def _log_truth(self) -> Tensor:
        assert self.labels is not None
        top, inverse = self.norm
        return self.like.gather(1, self.labels.unsqueeze(1)).sub_(top).add_(inverse.log())

    def _statistic(self, name: str) -> Tensor:
        if self.leaves is not None or name not in ("P", "I", "PT", "T", "TT"):
            return super()._statistic(name)
        if name == "P":
            return self._over_pixels(self.probs)
        if name in ("T", "TT"):
            return self._over_pixels(self.target)
        product = torch.mul(self.probs, self.target, out=self.scratch.like("product", self.like))
        return self._over_pixels(product)

    def _over_pixels(self, values: Tensor) -> Tensor:
        return values.sum(2) if self.weight is None else self.over_pixels(values, self.weight)

    def _target(self) -> Tensor:
        """One-hot by comparing numbers of like dtype, bytes or real ones: every other way costs several times more."""
        labels, out = self.labels, self.scratch.like("target", self.like)
        assert labels is not None
        if self.channels > 256:
            classes = torch.arange(self.channels, dtype=out.dtype, device=out.device).view(1, -1, 1)
            return out.copy_(labels.to(out.dtype).unsqueeze(1)).eq_(classes)
        classes = torch.arange(self.channels, dtype=torch.uint8, device=out.device).view(1, -1, 1)
        own = self.scratch.like("bytes", labels, torch.uint8).copy_(labels)
        return torch.eq(own.unsqueeze(1), classes, out=out)


class IndexedBlock(OneHotBlock):
    """Multiclass logits with a hard target and many classes: it is read by the index of the true class."""

    def _statistic(self, name: str) -> Tensor:
        if self.leaves is not None or name not in ("P", "I", "PT", "T", "TT"):
            return super()._statistic(name)
        if name == "P":
            return SoftmaxBlock._statistic(self, name)
        assert self.labels is not None
        weight = self.weight if name in ("T", "TT") else self._weighted(self.log_truth.exp())
        return by_class(self.labels, weight, self.channels)

    def _weighted(self, term: Tensor) -> Tensor:
        return term if self.weight is None else term.mul_(self.weight)

    def pull_back(self, sums: Mapping[str, Tensor], leaves: Mapping[str, Tensor], out: Tensor) -> None:
        """See `Block`. What comes by way of one number a pixel, log p_t, is spread over the classes in one pass."""
        if not leaves.keys() <= {"truth", "log_truth"}:
            super().pull_back(sums, leaves, out)
            return
        assert self.labels is not None
        p, index = self._probs(), self.labels.unsqueeze(1)
        dz = out if out.dtype == p.dtype else self.scratch.like("gradient", p)
        area, overlap = sums.get("P"), added(sums.get("I"), sums.get("PT"))
        h = self._of_log_truth(sums, leaves)
        if overlap is not None:
            own = overlap.gather(1, self.labels).unsqueeze(1).mul_(p.gather(1, index))
            h = added(self._weighted(own), h)
        if area is None:
            torch.mul(p, 0.0 if h is None else -h, out=dz)
        elif self.weight is None:
            mean = over_classes(p, area)
            torch.sub(area.unsqueeze(2), mean if h is None else mean + h, out=dz).mul_(p)
        else:
            torch.sub(area.unsqueeze(2), over_classes(p, area), out=dz).mul_(self.weight)
            (dz if h is None else dz.sub_(h)).mul_(p)
        if h is not None:
            dz.scatter_add_(1, index, h.expand_as(index))
        if dz is not out:
            out.copy_(dz)


def open_block(
    batch: Batch, place: Place, scratch: Scratch, *, checked: bool = False, norm: Norm | None = None
) -> Block:
    """The block at `place` of a batch. `norm`: see `SoftmaxBlock`."""
    part = batch.part(*place)
    if not batch.from_logits:
        return Block(part, place, scratch, checked=checked)
    if batch.task != "multiclass":
        return SigmoidBlock(part, place, scratch, checked=checked)
    hard = IndexedBlock if batch.scores.shape[1] > FEW else OneHotBlock
    return (hard if batch.hard else SoftmaxBlock)(part, place, scratch, checked=checked, norm=norm)


def over_classes(values: Tensor, weight: Tensor | None) -> Tensor:
    """sum_c v_ci w_c: (b, K, B) and (b, K) to (b, 1, B); no weight: 1."""
    if values.shape[0] == 1:
        weight = values.new_ones(1, values.shape[1]) if weight is None else weight
        return torch.mv(values[0].t(), weight[0]).view(1, 1, -1)
    return (values if weight is None else values * weight.unsqueeze(2)).sum(1, keepdim=True)


def by_class(labels: Tensor, weight: Tensor | None, classes: int) -> Tensor:
    """How often each class occurs, or the sum of its pixels' weights (b, 1, B): (b, K)."""
    images = labels.shape[0]
    if labels.device.type != "cpu":  # bincount waits for the device
        ones = torch.ones_like(labels, dtype=torch.float32) if weight is None else weight[:, 0]
        return ones.new_zeros(images, classes).scatter_add_(1, labels, ones)
    if images > 1:
        labels = labels + classes * torch.arange(images).unsqueeze(1)
    weight = None if weight is None else weight.reshape(-1).double()  # bincount adds one by one, in its own dtype
    return torch.bincount(labels.reshape(-1), weight, images * classes).view(images, classes)
