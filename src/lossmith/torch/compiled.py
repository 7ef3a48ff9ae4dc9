"""What most losses are made of, by compiled code: sums over pixels and the gradient of the logits (`compiled.c`).

Float32 or bfloat16 logits on the CPU; hard targets, for sigmoid tasks also those in float32, soft or not; weights and
ignored pixels. Of a loss it takes the sums P, T, I, PP, PT, TT and N (see `Pixels.statistic`), and those over curves of
the true class's probability,

    sum_i w_i a(t_i) (b log p_t + c) (1 - p_t)^gamma        cross-entropy, focal and their kin

One call looks at the whole batch in as many threads as torch uses. Where the library was not built, or a loss takes
more than this, blocks (`blocks.py`) do the same; a test holds the numbers of the two together.
"""

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lossmith.core.catalogue import Record
from lossmith.core.door import Batch
from lossmith.core.evaluate import Part
from lossmith.core.region import names_of
from lossmith.torch.blocks import Scratch
from lossmith.torch.curves import LIKELIHOOD, Curve, Term, curve_of
from lossmith.torch.softmax import open_block

VERSION = 2  # of the library's interface, see compiled.c
LIBRARY = Path(__file__).with_name("_compiled.so")
ROWS = {"N": 0, "T": 1, "P": 2, "I": 3, "PP": 4, "PT": 5, "TT": 6}  # of the sums
HARD_ROWS = ROWS | {"PT": ROWS["I"], "TT": ROWS["T"]}
CURVES = 7  # the first row of a curve
REGION = {"P", "I", "PT", "PP", "T", "TT"}
SHARED = -1  # in a key, the statistics that losses share; else the number of the loss
NO_MEMORY = 4
KINDS = {torch.bool: 0, torch.uint8: 0, torch.int8: 1, torch.int16: 2, torch.int32: 3, torch.int64: 4, torch.float32: 5}
WEIGHTS = (torch.float32, torch.float16, torch.bfloat16)
CHUNK = 256  # pixels that the compiled code takes at a time
JOB = 2**17  # elements that a thread takes at a time
LEAST = 2**15  # elements up to which plain autograd is as quick
ALONE = 2**16  # elements up to which one thread is

Key = tuple[int, str]


class _Curve(ctypes.Structure):
    _fields_ = (*((name, ctypes.c_float) for name in ("log", "one", "gamma")), ("table", ctypes.c_void_p))


class _Array(ctypes.Structure):
    _fields_ = (("data", ctypes.c_void_p), *((name, ctypes.c_int64) for name in ("image", "channel", "pixel")))

    @classmethod
    def of(cls, x: Tensor | None) -> "_Array":
        """A tensor (N, P), (N, 1, P) or (N, K, P)."""
        if x is None:
            return cls()
        image, *channel, pixel = x.stride()
        return cls(x.data_ptr(), image, channel[0] if channel and x.shape[1] > 1 else 0, pixel)


class _Batch(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("images", "channels", "pixels", "job")),
        *((name, _Array) for name in ("scores", "target", "weight", "gradient")),
        ("ignored", ctypes.c_int64),
        *((name, ctypes.c_int32) for name in ("ignores", "sigmoid", "bfloat16", "kind")),
        *((name, ctypes.c_int32) for name in ("counts", "region", "squares", "curves", "threads")),
        *((name, ctypes.c_void_p) for name in ("curve", "sums", "slopes")),
    )


@cache
def loaded() -> ctypes.CDLL | None:
    """The compiled code, or None where it was not built for this version."""
    try:
        found = ctypes.CDLL(str(LIBRARY))
        return found if found.lossmith_version() == VERSION else None
    except (OSError, AttributeError):
        return None


def takes(batch: Batch) -> bool:
    """Whether the batch is one of those that are looked at here."""
    scores, target, weight = batch.scores, batch.target, batch.weight
    if not batch.from_logits or batch.inputs or (batch.task == "multiclass") != batch.indices:
        return False
    if any(given is not None and given.device.type != "cpu" for given in (scores, target, weight)):
        return False  # their addresses mean nothing here
    if scores.dtype not in (torch.float32, torch.bfloat16) or not scores.numel():
        return False
    if target.dtype not in KINDS or not (weight is None or weight.dtype in WEIGHTS):
        return False
    return (target.stride(-1) == 1 or target.shape[-1] == 1) and loaded() is not None


def may_take(batch: Batch, losses: Sequence[tuple[Record, Mapping[str, Any]]]) -> bool:
    """Whether losses that know nothing of the whole batch yet are such as are computed here, as far as can be told."""
    if not takes(batch):
        return False
    for record, parameters in losses:
        if record.of_sums:
            if record.terms is not None or not ROWS.keys() >= set(names_of(record.definition, parameters)):
                return False
        else:
            own = {name: value for name, value in parameters.items() if name != "reduction"}
            if parameters.get("reduction") == "none" or not record.takes_truth_alone(own):
                return False
            if record.prepare is None and curve_of(record, own, batch) is None:
                return False
    return True


@dataclass(frozen=True)
class Asked:
    """What losses take: sums that they share, and by their numbers those of curves."""

    sums: tuple[str, ...]
    curves: Mapping[int, Curve]

    @classmethod
    def by(cls, parts: Sequence[Part], sums: Sequence[str], batch: Batch) -> "Asked | None":
        """What these losses take; None where it is more than there is here."""
        if not takes(batch) or not ROWS.keys() | {"L"} >= set(sums):
            return None
        curves: dict[int, Curve] = {}
        for number, part in enumerate(parts):
            if part.names and part.record.terms is None:
                continue
            if part.names or not part.of_truth or part.parameters["reduction"] == "none":
                return None
            curve = curve_of(part.record, part.prepared, batch)
            if curve is None:
                return None
            curves[number] = curve
        return cls(tuple(sums), curves)


class Compiled:
    """A batch as one block."""

    def __init__(self, batch: Batch, asked: Asked) -> None:
        self.batch = batch
        self.asked = asked
        self.weighted = batch.weight is not None or batch.ignore_index is not None
        self.rows = HARD_ROWS if batch.hard else ROWS
        self.terms = [Term(LIKELIHOOD)] if "L" in asked.sums else []
        self.job = -(-max(1, JOB // batch.scores.shape[1]) // CHUNK) * CHUNK  # pixels
        self.own: dict[int, slice] = {}  # of the terms, those of a loss
        for number, curve in asked.curves.items():
            self.own[number] = slice(len(self.terms), len(self.terms) + len(curve.terms))
            self.terms += curve.terms

    def look(self) -> dict[Key, Tensor]:
        """What the losses take from the batch."""
        asked, (images, channels, pixels) = self.asked, self.batch.scores.shape
        jobs = -(-pixels // self.job)
        sums = torch.empty(images, jobs, CURVES + len(self.terms), channels, dtype=torch.float64)
        region = not REGION.isdisjoint(asked.sums)
        sharing = self.weighted or any(curve.share is not None for curve in asked.curves.values())
        self._run("lossmith_sums", self.terms, sums=sums.data_ptr(), counts=region or sharing, region=region,
                  squares="PP" in asked.sums)  # fmt: skip
        rows = (sums.squeeze(1) if jobs == 1 else sums.sum(1)).unbind(1)
        present, one = rows[ROWS["T"]], slice(1 if self.batch.indices else channels)  # numbers of a curve
        counts = present.sum(1, keepdim=True) if self.batch.indices and self.weighted else rows[ROWS["N"]]
        found = {(SHARED, name): rows[self.rows[name]] for name in asked.sums if name not in ("N", "L")}
        if "N" in asked.sums:
            found[SHARED, "N"] = counts
        if "L" in asked.sums:
            found[SHARED, "L"] = rows[CURVES][:, one]
        for number, curve in asked.curves.items():
            first, *others = (row[:, one] for row in rows[CURVES:][self.own[number]])
            found[number, "loss"] = sum(others, first)
            share = self._share(curve, present, counts)
            if share is not None:
                found[number, "weight"] = share
        return found

    def pull_back(self, asked: Mapping[Key, Tensor], out: Tensor) -> None:
        """Write the gradient of the scores."""
        names = {name for number, name in asked if number == SHARED}
        terms = self.terms if len(names) < len(asked) or "L" in names else []
        slopes = torch.zeros(out.shape[0], CURVES + len(terms), out.shape[1])
        for (number, name), g in asked.items():
            if number == SHARED:
                slopes[:, CURVES if name == "L" else self.rows[name]] += g
            else:
                slopes[:, CURVES:][:, self.own[number]] += g.unsqueeze(1)
        self._run("lossmith_gradient", terms, slopes=slopes.data_ptr(), gradient=_Array.of(out),
                  region=not REGION.isdisjoint(names), squares="PP" in names)  # fmt: skip

    def _share(self, curve: Curve, present: Tensor, counts: Tensor) -> Tensor | None:
        """What the mean of a loss divides by, where pixels do not count once each."""
        if curve.share is None:
            return counts if self.weighted else None
        if self.batch.indices:
            return (present * curve.share).sum(1, keepdim=True)
        absent = (counts if self.weighted else self.batch.scores.shape[2]) - present
        return present * curve.share[:, 1] + absent * curve.share[:, 0]

    def _run(self, function: str, terms: Sequence[Term], **asked: Any) -> None:
        """Call a function of the library; what is wrong with the batch is an error."""
        batch, weight = self.batch, self.batch.weight
        if weight is not None:
            weight = weight.float()
            weight = weight if weight.stride(2) == 1 else weight.contiguous()
        curves = (_Curve * len(terms))()
        for curve, term in zip(curves, terms, strict=True):
            curve.log, curve.one, curve.gamma = term.powers
            curve.table = None if term.table is None else term.table.data_ptr()
        images, channels, pixels = batch.scores.shape
        request = _Batch(
            images=images, channels=channels, pixels=pixels, job=self.job,
            scores=_Array.of(batch.scores), target=_Array.of(batch.target), weight=_Array.of(weight),
            ignored=batch.ignore_index or 0, ignores=batch.ignore_index is not None,
            sigmoid=not batch.indices, bfloat16=batch.scores.dtype == torch.bfloat16, kind=KINDS[batch.target.dtype],
            curves=len(terms), curve=ctypes.addressof(curves),
            threads=torch.get_num_threads() if batch.scores.numel() > ALONE else 1, **asked,
        )  # fmt: skip
        flaws = getattr(loaded(), function)(ctypes.byref(request))
        if flaws & NO_MEMORY:
            raise MemoryError("no memory is left for the sums of a block")
        if flaws:
            open_block(batch, (slice(None), slice(None)), Scratch())  # which says what is wrong
            raise RuntimeError(f"{function} found what it could not read: {flaws}")
