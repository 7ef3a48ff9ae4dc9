"""Losses for partially labelled sets: in each image only some of the classes were annotated (Shi 2021).

Where class c was not annotated its pixels carry label 0, so label 0 says "none of the annotated classes". `Merged` is
the batch as its labels see it, and `marginal` makes of any loss the same loss on that. A class that was merged is as if
the image did not have it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import wraps
from typing import Any

from lossmith.core.merged import OF_TARGET, Merged
from lossmith.core.namespaces import Array
from lossmith.core.pixels import STATISTICS, Pixels
from lossmith.core.records.record import Record
from lossmith.core.reduce import Terms
from lossmith.core.region import Formula, Sums, names_of, takes
from lossmith.core.stable import divide


def marginal(record: Record) -> Record:
    """The loss of a record on the merged classes of each image."""
    if record.of_sums:
        return replace(
            record,
            inputs=("annotated",),
            definition=_on_merged_sums(record.definition),
            prepare=_prepare_sums(record),
            terms=_own_sums(record),
            own_weights=True,  # items of merged classes are 0 in "none" and do not count in the mean
        )

    def definition(px: Pixels, **prepared: Any) -> Terms:
        found: Terms = record.definition(Merged(px), **prepared)
        return found

    prepare = None if record.prepare is None else _prepare_pixels(record)
    return replace(
        record, inputs=("annotated",), definition=definition, prepare=prepare, statistics=None, of_truth=False
    )


def _prepare_pixels(record: Record) -> Callable[..., Mapping[str, Any]]:
    def prepare(whole: Pixels, **parameters: Any) -> Mapping[str, Any]:
        assert record.prepare is not None
        found: Mapping[str, Any] = record.prepare(Merged(whole), **parameters)
        return found

    return prepare


def _prepare_sums(record: Record) -> Callable[..., Mapping[str, Any]]:
    """What is merged of the sums that losses share, and what the loss itself prepares."""

    def prepare(whole: Pixels, **parameters: Any) -> Mapping[str, Any]:
        merged = Merged(whole)
        names = [name for name in names_of(record.definition, parameters) if name in STATISTICS]
        prepared = parameters if record.prepare is None else record.prepare(merged, **parameters)
        return {"names": names if merged.merges else (), "prepared": prepared}

    return prepare


def _own_sums(record: Record) -> Callable[..., dict[str, Array]]:
    """Sums over q_0, which no other loss has."""

    def terms(px: Pixels, *, names: Sequence[str], prepared: Mapping[str, Any]) -> dict[str, Array]:
        xp, merged = px.xp, Merged(px)
        own = {} if record.terms is None else record.terms(merged, **prepared)
        found = {}
        for name in names:
            if name in own:
                found[f"own {name}"] = xp.zeros_like(own[name])  # says that it is not to be merged
            elif name.startswith("log "):
                found[name] = merged.statistic(name)
            elif name not in OF_TARGET:
                found[f"rest {name}"] = merged.of_rest(name)
        return own | found

    return terms


def _on_merged_sums(formula: Formula) -> Formula:
    """The formula, to be given the sums over the merged classes."""

    @wraps(formula)
    def on_merged(S: Sums, **parameters: Any) -> Array:
        return formula(S, **parameters)

    def merge(px: Pixels, sums: Mapping[str, Array], names: Sequence[str]) -> Mapping[str, Array]:
        merged, found = Merged(px), {name: sums[name] for name in names}
        for name in names:
            if f"rest {name}" in sums:
                found[name] = merged.with_rest(sums[name], sums[f"rest {name}"])
            elif name in OF_TARGET and merged.merges and f"own {name}" not in sums:
                found[name] = merged.of_target(sums[name])
        return found

    on_merged.merge = merge  # type: ignore[attr-defined]
    return on_merged


def excluded(px: Pixels) -> Array:
    """Where each class cannot be, (N, K, P): an annotated one where its label is not, any other where a label is."""
    xp, merged = px.xp, Merged(px)
    labelled = 1.0 - px.target[:, :1, :]
    own = xp.expand_dims(merged.annotated & ~merged.first, axis=2)
    return merged.checked(xp.where(own, 1.0 - px.target, labelled + xp.zeros_like(px.target)))


def exclusion_cross_entropy(px: Pixels) -> Terms:
    """sum_c e_c log(1 + p_c), e what `excluded` gives."""
    return Terms(px.xp.sum(excluded(px) * px.xp.log1p(px.probs), axis=1, keepdims=True))


@takes(lambda **_: ["E", "EP"])
def exclusion_dice(S: Sums) -> Array:
    """2 sum e p / (sum e + sum p); 0 where nothing is excluded."""
    return divide(S.xp, 2.0 * S.EP, S.E + S.P)


def exclusion_sums(px: Pixels, **_: object) -> dict[str, Array]:
    """E = sum w e and EP = sum w e p of a block. T is all pixels: no class is without those that it is asked about."""
    e = excluded(px)
    E = px.sum(e)
    return {"E": E, "EP": px.sum(e * px.probs), "T": px.statistic("N") + px.xp.zeros_like(E)}
