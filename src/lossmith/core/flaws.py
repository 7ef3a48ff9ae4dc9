"""Bad values: an error where they can be looked at; elsewhere (traces, accelerators) a flag that makes the loss NaN."""

from collections.abc import Sequence

from lossmith.core.namespaces import Array, Namespace


def found(xp: Namespace, flaw: bool | Array, message: str) -> Array | None:
    """Raise where the flag can be read and is up; the flag itself where it cannot; None where all is well."""
    seen = flaw if isinstance(flaw, bool) else xp.read(flaw)
    if seen:
        raise ValueError(message)
    return flaw if seen is None else None


def any_of(xp: Namespace, flaws: Sequence[Array | None]) -> Array | None:
    """One flag for those that could not be read, or None."""
    unread = [flaw for flaw in flaws if flaw is not None]
    return xp.any(xp.stack(unread)) if unread else None


def flagged(xp: Namespace, flaw: Array | None, value: Array) -> Array:
    """`value`, or NaN where the flag is up."""
    return value if flaw is None else xp.where(flaw, xp.constant(float("nan"), value), value)
