"""What most losses are made of, in the fewest operations: hard targets, no weights, few classes or sigmoid.

With few classes a block costs little more than the calls that it takes, so here they are counted: P, T, I, L and
functions of log p_t of a block and their gradient (see `blocks.py` for the formulas), straight from slices of the
batch into memory that all blocks share. The numbers are those of `OneHotBlock` and `SigmoidBlock`, and the tests hold
them to that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lossmith.core.door import Batch
from lossmith.core.evaluate import Part
from lossmith.core.namespaces.torch import xp
from lossmith.core.stable import Probability
from lossmith.torch.blocks import OfTruth, Place
from lossmith.torch.softmax import FEW
from lossmith.torch.whole import fair_share

SUMS = frozenset({"P", "T", "I", "L"})
ELEMENTS = 2**17  # of a block, for each thread


@dataclass(frozen=True)
class Asked:
    """What losses take of a block: sums that they share, and by their numbers those that look at log p_t themselves."""

    sums: tuple[str, ...]
    of_truth: Mapping[int, Part]

    @classmethod
    def by(cls, parts: Sequence[Part], sums: Sequence[str]) -> "Asked | None":
        """What these losses take; None where it is more than there is here."""
        own = {number: part for number, part in enumerate(parts) if part.of_truth and not part.names}
        others = [part for number, part in enumerate(parts) if number not in own]
        if not SUMS.issuperset(sums) or not all(part.names and part.record.terms is None for part in others):
            return None
        return cls(tuple(sums), own)

    @property
    def truth(self) -> bool:
        """Whether log p_t is looked at."""
        return "L" in self.sums or bool(self.of_truth)

    @property
    def region(self) -> bool:
        """Whether there is more to look at."""
        return any(name != "L" for name in self.sums)


def takes(batch: Batch) -> bool:
    """Whether the batch is one of those that are looked at here."""
    plain = batch.hard and batch.from_logits and batch.weight is None and batch.ignore_index is None
    few = batch.task != "multiclass" or (batch.indices and batch.scores.shape[1] <= FEW)
    return plain and few and not batch.inputs and batch.scores.device.type == "cpu"


def size(batch: Batch, asked: Asked) -> int:
    """Elements of a block: what the caches hold, and no more than a fair share."""
    vectors = 6 if asked.of_truth else 0  # of the target's size, which a loss makes on its way
    arrays = 4 + -(-vectors // int(batch.scores.shape[1])) if batch.indices else 4 + vectors
    return min(ELEMENTS * torch.get_num_threads(), fair_share(batch, arrays))


class Lean:
    """The blocks of a batch, one at a time."""

    def __init__(self, batch: Batch, asked: Asked) -> None:
        self.batch = batch
        self.asked = asked
        self.dtype = torch.promote_types(batch.scores.dtype, torch.float32)
        self._rooms: dict[torch.Size, _Room] = {}

    def look(self, place: Place) -> tuple[dict[str, Tensor], dict[int, dict[str, Tensor]]]:
        """The sums of a block, (b, K) each, and what losses make of log p_t, by their numbers."""
        room = self._enter(place)
        self.batch.label_flaw(room.values)
        return room.look(), {number: part.add(room) for number, part in self.asked.of_truth.items()}

    def pull_back(self, place: Place, sums: Mapping[str, Tensor], of_truth: Mapping[int, Tensor], out: Tensor) -> None:
        """Write the gradient of a block's logits into `out`, from those of its sums and losses, (b, K)."""
        room = self._enter(place)
        dz = out if out.dtype == self.dtype else torch.empty_like(room.p)
        slopes = {name: g.unsqueeze(2) for name, g in sums.items()}
        for number, g in of_truth.items():
            own = room.slope_of(self.asked.of_truth[number]) * (g if g.ndim == 3 else g.unsqueeze(2))
            slopes["L"] = slopes["L"] + own if "L" in slopes else own
        room.pull(slopes, dz)
        if dz is not out:
            out.copy_(dz)

    def _enter(self, place: Place) -> "_Room":
        images, pixels = place
        scores = self.batch.scores[images, :, pixels]
        room = self._rooms.get(scores.shape)
        if room is None:
            kind = _SoftmaxRoom if self.batch.indices else _SigmoidRoom
            room = self._rooms[scores.shape] = kind(self.batch, self.asked, scores.shape, self.dtype)
        logits = scores if scores.dtype == self.dtype else scores.to(self.dtype)
        room.enter(place, logits, self.batch.target[images, ..., pixels])
        return room


class _Room(OfTruth):
    """Memory for blocks of one shape, and what is computed in it; to losses of log p_t, a block of pixels."""

    def __init__(self, batch: Batch, asked: Asked, shape: torch.Size, dtype: torch.dtype) -> None:
        self.asked = asked
        self.p, self.t, self.inner, self.product = (torch.empty(shape, dtype=dtype) for _ in range(4))
        self.bytes = torch.empty((shape[0], shape[2]) if batch.indices else shape, dtype=torch.uint8)
        super().__init__(xp, batch.task, shape[2:], logits=self.p)

    def enter(self, place: Place, logits: Tensor, values: Tensor) -> None:
        """Look at another block. values: its target as it came, not checked yet."""
        self.place, self.z, self.values = place, logits, values
        self._known.clear()

    def look(self) -> dict[str, Tensor]:
        """The sums of the block."""
        found: dict[str, Tensor] = {}
        if self.asked.truth:
            found["L"] = self.log_truth.sum(2)
        if self.asked.region:
            self._enter_region()
            found["I"] = torch.mul(self.p, self.t, out=self.product).sum(2)
            found["P"], found["T"] = self.p.sum(2), self.t.sum(2)
        return found

    def pull(self, slopes: Mapping[str, Tensor], out: Tensor) -> None:
        """Write the gradient of the logits; L: that of log p_t, which may differ from pixel to pixel."""
        self._enter_region()
        p, t, of_truth = self.p, self.t, slopes.get("L")
        inner = self._inner(slopes, t if of_truth is None else self.inner)
        if inner is not None:
            self._through(inner, of_truth, out)
        elif of_truth is not None:
            torch.mul(t.sub_(p), of_truth, out=out)
        else:
            out.zero_()

    def _enter_region(self) -> None:
        """Fill `p` and `t`; what was computed for log p_t is overwritten."""
        raise NotImplementedError

    def _through(self, inner: Tensor, of_truth: Tensor | None, out: Tensor) -> None:
        """Write the gradient of the logits from that of p, which may be overwritten, and that of log p_t."""
        raise NotImplementedError

    def _bytes(self) -> Tensor:
        values = self.values
        if values.dtype == torch.uint8:
            return values
        return values.view(torch.uint8) if values.dtype == torch.bool else self.bytes.copy_(values)

    def _inner(self, slopes: Mapping[str, Tensor], out: Tensor) -> Tensor | None:
        """dP + t dI, the gradient of p; None where neither is asked for."""
        if "I" in slopes:
            torch.mul(self.t, slopes["I"], out=out)
            return out.add_(slopes["P"]) if "P" in slopes else out
        return out.copy_(slopes["P"].expand_as(out)) if "P" in slopes else None


class _SoftmaxRoom(_Room):
    """p is exp(z - max z) until the region is entered, `total` its sum over the classes."""

    def __init__(self, batch: Batch, asked: Asked, shape: torch.Size, dtype: torch.dtype) -> None:
        super().__init__(batch, asked, shape, dtype)
        b, K, B = shape
        self.top, self.total = (torch.empty(b, 1, B, dtype=dtype) for _ in range(2))
        self.classes = torch.arange(K, dtype=torch.uint8).view(1, -1, 1)
        self.ones = torch.ones(K, dtype=dtype)

    def enter(self, place: Place, logits: Tensor, values: Tensor) -> None:
        """See `_Room`."""
        super().enter(place, logits, values)
        self.labels = values.long() if self.asked.truth else None  # else bytes do
        torch.amax(self.z, 1, keepdim=True, out=self.top)
        torch.sub(self.z, self.top, out=self.p).exp_()
        self._over_classes(self.p)

    def _log_truth(self) -> Tensor:
        """z_t - max z - log sum."""
        assert self.labels is not None
        truth: Tensor = self.z.gather(1, self.labels.unsqueeze(1))
        return truth.sub_(self.top).sub_(torch.log(self.total, out=self.top))

    def _enter_region(self) -> None:
        self.p.mul_(self.total.reciprocal_())
        # One-hot by comparing bytes: every other way costs several times more.
        torch.eq(self._bytes().unsqueeze(1), self.classes, out=self.t)

    def _through(self, inner: Tensor, of_truth: Tensor | None, out: Tensor) -> None:
        """p (g - sum_c p_c g_c) + (t - p) u."""
        mean = self._over_classes(torch.mul(self.p, inner, out=self.product))
        if of_truth is None:
            torch.mul(inner.sub_(mean), self.p, out=out)
        else:
            torch.addcmul(inner.sub_(mean.add_(of_truth)).mul_(self.p), self.t, of_truth, out=out)

    def _over_classes(self, values: Tensor) -> Tensor:
        """total: the sum over the classes."""
        if self.images == 1:  # a matrix by a vector is quicker, and there is little to add up
            torch.mv(values[0].t(), self.ones, out=self.total[0, 0])
            return self.total
        return torch.sum(values, 1, keepdim=True, out=self.total)


class _SigmoidRoom(_Room):
    def __init__(self, batch: Batch, asked: Asked, shape: torch.Size, dtype: torch.dtype) -> None:
        super().__init__(batch, asked, shape, dtype)
        self._truth: Probability | None = None

    def enter(self, place: Place, logits: Tensor, values: Tensor) -> None:
        """See `_Room`."""
        super().enter(place, logits, values)
        self._truth = None
        self._known["target"] = self.t.copy_(self._bytes())

    def _log_truth(self) -> Tensor:
        """t z - max(z, 0) - log(1 + exp(-|z|))."""
        tail = torch.abs(self.z, out=self.inner).neg_().exp_().log1p_()
        hinge = torch.clamp_min(self.z, 0, out=self.product).addcmul_(self.z, self.t, value=-1)
        return tail.add_(hinge).neg_()

    @property
    def truth(self) -> Probability:
        """See `Pixels`; 1 - p_t is the sigmoid of the other side."""
        if self._truth is None:
            log_truth = self.log_truth
            aside = torch.sub(1.0, self.t, alpha=2.0, out=self.product).mul_(self.z)
            self._truth = Probability(self.xp, log_truth, aside.sigmoid_())
        return self._truth

    def _enter_region(self) -> None:
        torch.sigmoid(self.z, out=self.p)

    def _through(self, inner: Tensor, of_truth: Tensor | None, out: Tensor) -> None:
        """p (1 - p) g + (t - p) u."""
        if of_truth is None:
            torch.ops.aten.sigmoid_backward(inner, self.p, grad_input=out)
        else:
            torch.ops.aten.sigmoid_backward(inner, self.p, grad_input=inner)
            torch.add(inner, self.t.sub_(self.p).mul_(of_truth), out=out)
