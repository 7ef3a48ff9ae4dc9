"""Every error message in one voice: the argument, what it must be, what came."""

from collections.abc import Iterable
from difflib import get_close_matches


def must(name: str, expected: str, got: object) -> str:
    """The text of an error: ``must("alpha", "in [0, 1]", 1.3)`` is "alpha must be in [0, 1]; got 1.3"."""
    return f"{name} must be {expected}; got {got!r}"


def suggest(word: str, known: Iterable[str]) -> str:
    """The tail of an error about an unknown word: "; did you mean gamma?", or nothing where no name is near."""
    near = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""


def check_whole(name: str, value: object, least: int) -> None:
    """ValueError unless `value` is a whole number from `least` on; True is none."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(must(name, f"a whole number >= {least}", value))
