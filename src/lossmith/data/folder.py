"""A folder of your own: `images/` and `masks/`, matched by the stem of the file names."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from lossmith.data.base import Data, check_split, split
from lossmith.data.images import SUFFIXES, read_values
from lossmith.data.legend import BINARY, Legend, check_names, foreground_labels, read_legend
from lossmith.data.paired import Pair, check_annotated, check_labels, paired_data, scan
from lossmith.errors import must, suggest

CLUTTER = ("thumbs.db", "desktop.ini")  # left by file managers; hidden files are passed over as well


def load_folder(
    root: Path, *, classes: Sequence[str] | None, labels: Sequence[int] | None, seed: int, test: float
) -> Data:
    """Load `root/images` and `root/masks`, or `train/` and `test/` with both in each.

    What a mask value means is said by, in this order:

    - `labels`: these values are foreground, all others background;
    - `classes.json` in `root`, see `lossmith.data.legend.read_legend`;
    - `classes`: value 0 is the first name, 1 the second, and so on; two names also fit masks of 0 and 255;
    - nothing: masks of 0 and 1, or of 0 and 255.

    A `train/` and `test/` of the folder are kept and `seed` and `test` then mean nothing; another folder
    beside them, such as `val/`, is not used.

    Raises:
        FileNotFoundError: a folder that is missing.
        ValueError: any file that does not fit, named; the same image file in training and test.
    """
    check_split(seed=seed, test=test)
    parts = [root / part for part in ("train", "test") if (root / part).is_dir()]
    divided = len(parts) == 2
    if divided and (root / "images").is_dir():
        raise ValueError(must(f"folder {root}", "either images/ and masks/, or train/ and test/", "both"))
    groups = [_pairs(part) for part in (parts if divided else [root])]
    pairs = [pair for group in groups for pair in group]

    declared = _declared(root, classes, labels)
    read = partial(read_values, colour=declared is not None and declared.colour)
    found = scan(pairs, read)
    legend = declared or _binary(classes, found)
    for pair, values in zip(pairs, found, strict=True):
        legend.check(pair.mask, values)
    check_labels(labels or (), found)

    cut = len(groups[0])
    train, tested = (list(range(cut)), list(range(cut, len(pairs)))) if divided else _split(root, pairs, seed, test)
    check_annotated(root, legend, [found[i] for i in train])
    return paired_data(
        root.resolve().name,
        root,
        train=[pairs[i] for i in train],
        test=[pairs[i] for i in tested],
        legend=legend,
        read=read,
    )


def _split(root: Path, pairs: Sequence[Pair], seed: int, test: float) -> tuple[list[int], list[int]]:
    if len(pairs) < 2:
        raise ValueError(must(str(root), "a folder of at least 2 images, one to train on and one to test on", 1))
    return split(len(pairs), seed=seed, test=test)


def _declared(root: Path, classes: Sequence[str] | None, labels: Sequence[int] | None) -> Legend | None:
    """The legend that was given, or None where 0 and 1 or 0 and 255 are to be told apart by looking."""
    file = root / "classes.json"
    if labels is not None:
        return foreground_labels(labels, classes if classes is not None else BINARY)
    if file.exists():
        if classes is not None:
            raise ValueError(must("classes", f"left out where {file} declares them", tuple(classes)))
        return read_legend(file)
    if classes is None:
        return None
    names = check_names(classes)
    return Legend(names, {index: index for index in range(len(names))}) if len(names) > 2 else None


def _binary(classes: Sequence[str] | None, found: Sequence[set[int]]) -> Legend:
    foreground = 255 if any(255 in values for values in found) else 1
    return Legend(BINARY if classes is None else check_names(classes), {0: 0, foreground: 1})


def _pairs(part: Path) -> list[Pair]:
    """The images of `part/images` with their masks from `part/masks`, in the order of their names."""
    images, masks = _files(part / "images"), _files(part / "masks")
    if not images:
        raise ValueError(must(f"folder {part / 'images'}", "filled with PNG, JPEG or TIFF files", "no file"))
    for stem in sorted(images.keys() ^ masks.keys()):
        one, other, kind, there = (
            (images[stem], "masks", "image", masks) if stem in images else (masks[stem], "images", "mask", images)
        )
        expected = f"matched by a file {part / other / stem}.* of the same stem"
        raise ValueError(must(f"{kind} {one}", expected, "none") + suggest(stem, there))
    return [Pair(stem, images[stem], masks[stem]) for stem in sorted(images)]


def _files(folder: Path) -> dict[str, Path]:
    """The image files of a folder by stem."""
    if not folder.is_dir():
        here = sorted(path.name for path in folder.parent.iterdir())[:10] if folder.parent.is_dir() else []
        raise FileNotFoundError(must(f"{folder}", "a folder beside its images or masks", f"none among {here}"))
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name.lower() in CLUTTER:
            continue
        if path.is_dir() or path.suffix.lower() not in SUFFIXES:
            raise ValueError(must(f"{path}", "a PNG, JPEG or TIFF file", "a folder" if path.is_dir() else path.suffix))
        if path.stem in files:
            raise ValueError(must(f"{path}", "the only file of its stem", files[path.stem].name))
        files[path.stem] = path
    return files
