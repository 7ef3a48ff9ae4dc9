"""The sums that most losses are made of, in the fewest operations: hard targets, no weights, few classes or sigmoid.

With few classes a block costs little more than the calls that it takes, so here they are counted: P, T, I and L of a
block and their gradient (see `blocks.py` for the formulas), straight from slices of the batch into memory that all
blocks share. The numbers are those of `OneHotBlock` and `SigmoidBlock`, and the tests hold them to that.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from lossmith.core.door import Batch
from lossmith.torch.blocks import Place
from lossmith.torch.softmax import FEW
from lossmith.torch.whole import fair_share

SUMS = frozenset({"P", "T", "I", "L"})
ELEMENTS = 2**17  # of a block, for each thread


def takes(batch: Batch, names: Sequence[str]) -> bool:
    """Whether these sums of the batch can be had here."""
    plain = batch.hard and batch.from_logits and batch.weight is None and batch.ignore_index is None
    few = batch.task != "multiclass" or (batch.indices and batch.scores.shape[1] <= FEW)
    return plain and few and batch.scores.device.type == "cpu" and SUMS.issuperset(names)


def size(batch: Batch) -> int:
    """Elements of a block: what the caches hold, and no more than a fair share."""
    return min(ELEMENTS * torch.get_num_threads(), fair_share(batch, 4))


class Lean:
    """The blocks of a batch, one at a time. `names`: the sums that are asked for."""

    def __init__(self, batch: Batch, names: Sequence[str]) -> None:
        self.batch = batch
        self.names = frozenset(names)
        self.dtype = torch.promote_types(batch.scores.dtype, torch.float32)
        self._rooms: dict[torch.Size, _Room] = {}

    def look(self, place: Place) -> dict[str, Tensor]:
        """The sums of a block, (b, K) each."""
        room = self._enter(place)
        self.batch.label_flaw(room.labels)
        return room.look_softmax(self.names) if self.batch.indices else room.look_sigmoid(self.names)

    def pull_back(self, place: Place, sums: Mapping[str, Tensor], out: Tensor) -> None:
        """Write the gradient of a block's logits into `out`, from those of its sums, (b, K)."""
        room = self._enter(place)
        dz = out if out.dtype == self.dtype else torch.empty_like(room.p)
        slopes = {name: g.unsqueeze(2) for name, g in sums.items()}
        (room.pull_softmax if self.batch.indices else room.pull_sigmoid)(slopes, dz)
        if dz is not out:
            out.copy_(dz)

    def _enter(self, place: Place) -> "_Room":
        images, pixels = place
        scores = self.batch.scores[images, :, pixels]
        room = self._rooms.get(scores.shape)
        if room is None:
            room = self._rooms[scores.shape] = _Room(scores.shape, self.dtype, self.batch.indices)
        room.z = scores if scores.dtype == self.dtype else scores.to(self.dtype)
        room.labels = self.batch.target[images, ..., pixels]
        return room


class _Room:
    """Memory for blocks of one shape, and what is computed in it from the logits `z` and the `labels`."""

    z: Tensor
    labels: Tensor

    def __init__(self, shape: torch.Size, dtype: torch.dtype, indices: bool) -> None:
        b, K, B = shape
        self.p, self.t, self.inner, self.product = (torch.empty(shape, dtype=dtype) for _ in range(4))
        self.bytes = torch.empty(b, 1 if indices else K, B, dtype=torch.uint8)
        if indices:
            self.top, self.total = (torch.empty(b, 1, B, dtype=dtype) for _ in range(2))
            self.classes = torch.arange(K, dtype=torch.uint8).view(1, -1, 1)
            self.ones = torch.ones(K, dtype=dtype)
            self.alone = b == 1

    def look_softmax(self, names: frozenset[str]) -> dict[str, Tensor]:
        """The sums of softmax probabilities."""
        found: dict[str, Tensor] = {}
        self._scale()
        if "L" in names:  # before the sum of the exponentials is turned over: log p_t = z_t - max z - log sum
            truth = self.z.gather(1, self.labels.long().unsqueeze(1))
            found["L"] = truth.sub_(self.top).sub_(torch.log(self.total, out=self.top)).sum(2)
        if not names <= {"L"}:
            self.p.mul_(self.total.reciprocal_())
            self._one_hot()
            self._region(found)
        return found

    def look_sigmoid(self, names: frozenset[str]) -> dict[str, Tensor]:
        """The sums of sigmoid probabilities."""
        found: dict[str, Tensor] = {}
        self._target()
        if "L" in names:  # -log p_t = log(1 + exp(-|z|)) + max(z, 0) - t z
            tail = torch.abs(self.z, out=self.p).neg_().exp_().log1p_()
            hinge = torch.clamp_min(self.z, 0, out=self.product).addcmul_(self.z, self.t, value=-1)
            found["L"] = tail.add_(hinge).sum(2).neg_()
        if not names <= {"L"}:
            torch.sigmoid(self.z, out=self.p)
            self._region(found)
        return found

    def pull_softmax(self, slopes: Mapping[str, Tensor], out: Tensor) -> None:
        """p (g - sum_c p_c g_c) + (t - p) dL with g = dP + t dI."""
        self._scale()
        p, t = self.p.mul_(self.total.reciprocal_()), self._one_hot()
        likelihood = slopes.get("L")
        inner = self._inner(slopes, t if likelihood is None else self.inner)
        if inner is None:
            assert likelihood is not None
            torch.mul(t.sub_(p), likelihood, out=out)
            return
        mean = self._over_classes(torch.mul(p, inner, out=self.product))
        if likelihood is None:
            torch.mul(inner.sub_(mean), p, out=out)
        else:
            torch.add(inner.sub_(mean.add_(likelihood)).mul_(p), t.mul_(likelihood), out=out)

    def pull_sigmoid(self, slopes: Mapping[str, Tensor], out: Tensor) -> None:
        """p (1 - p) g + (t - p) dL with g = dP + t dI."""
        p, t = torch.sigmoid(self.z, out=self.p), self._target()
        likelihood = slopes.get("L")
        inner = self._inner(slopes, t if likelihood is None else self.inner)
        if inner is None:
            assert likelihood is not None
            torch.mul(t.sub_(p), likelihood, out=out)
        elif likelihood is None:
            torch.ops.aten.sigmoid_backward(inner, p, grad_input=out)
        else:
            torch.ops.aten.sigmoid_backward(inner, p, grad_input=inner)
            torch.add(inner, t.sub_(p).mul_(likelihood), out=out)

    def _scale(self) -> None:
        """p: exp(z - max z); total: its sum over the classes."""
        torch.amax(self.z, 1, keepdim=True, out=self.top)
        torch.sub(self.z, self.top, out=self.p).exp_()
        self._over_classes(self.p)

    def _over_classes(self, values: Tensor) -> Tensor:
        """total: the sum over the classes."""
        if self.alone:  # a matrix by a vector is quicker, and there is little to add up
            torch.mv(values[0].t(), self.ones, out=self.total[0, 0])
            return self.total
        return torch.sum(values, 1, keepdim=True, out=self.total)

    def _bytes(self) -> Tensor:
        labels = self.labels
        if labels.dtype == torch.uint8:
            return labels
        return labels.view(torch.uint8) if labels.dtype == torch.bool else self.bytes.view(labels.shape).copy_(labels)

    def _one_hot(self) -> Tensor:
        """By comparing bytes: every other way costs several times more."""
        return torch.eq(self._bytes().unsqueeze(1), self.classes, out=self.t)

    def _target(self) -> Tensor:
        return self.t.copy_(self._bytes())

    def _region(self, found: dict[str, Tensor]) -> None:
        found["I"] = torch.mul(self.p, self.t, out=self.product).sum(2)
        found["P"], found["T"] = self.p.sum(2), self.t.sum(2)

    def _inner(self, slopes: Mapping[str, Tensor], out: Tensor) -> Tensor | None:
        """dP + t dI, the gradient of p; None where neither is asked for."""
        if "I" in slopes:
            torch.mul(self.t, slopes["I"], out=out)
            return out.add_(slopes["P"]) if "P" in slopes else out
        return out.copy_(slopes["P"].expand_as(out)) if "P" in slopes else None
