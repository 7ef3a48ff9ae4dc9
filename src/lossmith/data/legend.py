"""The legend of masks: which value, or colour, stands for which class."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lossmith.data.base import Labels
from lossmith.data.images import LOSSY, Values
from lossmith.errors import must

BINARY = ("background", "foreground")
SHOWN = 10  # values that an error lists


@dataclass(frozen=True)
class Legend:
    """The class of each mask value; with `rest`, every value that is not listed is background."""

    classes: tuple[str, ...]
    index: Mapping[int, int]  # class index by mask value
    colour: bool = False  # values are colours, packed as 65536 * red + 256 * green + blue
    rest: bool = False

    def check(self, path: Path, values: Collection[int]) -> None:
        """Raise ValueError unless every one of the mask's values is declared."""
        unknown = [] if self.rest else sorted(set(values) - set(self.index))
        if not unknown:
            return
        text = must(f"the values of mask {path}", f"among {self._list(sorted(self.index))}", self._show(unknown))
        if path.suffix.lower() in LOSSY:
            text += "; JPEG is lossy and cannot hold labels: save masks as PNG"
        elif self.classes == BINARY:
            text += "; classes=, labels= or a classes.json declares other values"
        raise ValueError(text)

    def apply(self, values: Values) -> Labels:
        """The class index of each pixel, int64. Values that `check` would refuse count as background."""
        labels: Labels = np.zeros(values.shape, dtype=np.int64)
        for value, index in self.index.items():
            if index:
                labels[values == value] = index
        return labels

    def foreground(self, values: Iterable[int]) -> bool:
        """Whether any of these values stands for a class besides background."""
        return any(self.index.get(value, 0) for value in values)

    def _show(self, values: Sequence[int]) -> list[object]:
        shown: list[object] = [_colour(value) if self.colour else value for value in values[:SHOWN]]
        return shown + ([f"{len(values) - SHOWN} more"] if len(values) > SHOWN else [])

    def _list(self, values: Sequence[int]) -> str:
        return ", ".join(str(value) for value in self._show(values))


def _colour(packed: int) -> tuple[int, int, int]:
    return packed >> 16, packed >> 8 & 255, packed & 255


def check_names(classes: Sequence[str]) -> tuple[str, ...]:
    """The class names; ValueError unless they are two or more different words, background first."""
    names = tuple(classes)
    words = not isinstance(classes, str) and all(isinstance(name, str) and name.strip() for name in names)
    if not words or len(names) < 2 or len(set(names)) < len(names):
        raise ValueError(must("classes", "two or more different names, background first", classes))
    if "background" in names[1:]:
        raise ValueError(must("the first of classes", "'background' where a class has this name", names[0]))
    return names


def foreground_labels(labels: Sequence[int], names: Sequence[str]) -> Legend:
    """The binary legend in which these mask values are foreground and all others background."""
    values = tuple(labels)
    if not values or any(isinstance(value, bool) or not isinstance(value, int | np.integer) for value in values):
        raise ValueError(must("labels", "one or more integers, the mask values of the foreground", labels))
    names = check_names(names)
    if len(names) != 2:
        raise ValueError(must("classes", "two names where labels= says what is foreground", tuple(names)))
    return Legend(names, {int(value): 1 for value in values}, rest=True)


def read_legend(path: Path) -> Legend:
    """Read a `classes.json`: an object with one entry for each class, background first.

    An entry is a mask value, a list of mask values, a colour `[red, green, blue]` or a list of colours. The
    file speaks of colours exactly when every class has three integers or a list of such triples.

    Raises:
        ValueError: a file that is no such object, or a value, colour or name that does not fit.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_object)
    except (OSError, ValueError) as error:
        raise ValueError(must(str(path), "a JSON object of mask values by class name", str(error))) from error
    if not isinstance(entries, dict):
        raise ValueError(must(str(path), "a JSON object of mask values by class name", entries))
    try:
        names = check_names(tuple(entries))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    colour = all(_triples(entry) for entry in entries.values())
    index: dict[int, int] = {}
    for position, (name, entry) in enumerate(entries.items()):
        owner = f"class {name} of {path}"
        values = [_packed(triple, owner) for triple in _triples(entry)] if colour else _values(entry)
        if not values:
            what = "a mask value, a list of mask values, or a colour like every other class"
            raise ValueError(must(owner, what, entry))
        for value in values:
            if index.setdefault(value, position) != position:
                shown = _colour(value) if colour else value
                raise ValueError(must(f"each mask value in {path}", "given to one class", [shown]))
    return Legend(names, index, colour=colour)


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError("a name that comes twice")
    return dict(pairs)


def _values(entry: object) -> list[int]:
    """The mask values that an entry lists; none where it is something else."""
    values = _integers(entry if isinstance(entry, list) else [entry])
    return values if all(0 <= value < 2**16 for value in values) else []


def _triples(entry: object) -> list[list[int]]:
    """The triples of integers, meant as colours, that an entry lists; none where it is something else."""
    several = isinstance(entry, list) and bool(entry) and isinstance(entry[0], list)
    items: list[object] = entry if several and isinstance(entry, list) else [entry]
    triples = [_integers(item) for item in items if isinstance(item, list)]
    return triples if len(triples) == len(items) and all(len(triple) == 3 for triple in triples) else []


def _integers(items: list[object]) -> list[int]:
    whole = [item for item in items if isinstance(item, int) and not isinstance(item, bool)]
    return whole if len(whole) == len(items) else []


def _packed(colour: list[int], owner: str) -> int:
    for number in colour:
        if not 0 <= number <= 255:
            raise ValueError(must(f"each number of the colour {colour} for {owner}", "in 0..255", number))
    red, green, blue = colour
    return 65536 * red + 256 * green + blue
