"""The door to data: a built-in set by its spec, or a folder by its path."""

import ast
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path

from lossmith.data.base import Data
from lossmith.data.cracks import cracks
from lossmith.data.shapes import shapes
from lossmith.data.weaken import weaken
from lossmith.errors import must, suggest

BUILT_IN: dict[str, Callable[..., Data]] = {"shapes": shapes, "cracks": cracks}
RESERVED = ("seed", "test")  # options of `load`, the same for every source


def load(
    source: str | Path,
    *,
    classes: Sequence[str] | None = None,
    labels: Sequence[int] | None = None,
    seed: int = 0,
    test: float = 0.2,
) -> Data:
    """Load a data set and split it into training and test images.

    Args:
        source: "shapes" or "cracks", with parameters if wanted: "shapes(missing=0.3, images=64)", for both
            also "shapes(weaken=scribbles)", see `weaken`; or a
            folder with `images/` and `masks/`, or with `train/` and `test/` that hold both; or a CrackForest
            folder (`image/` and `groundTruth/`). A built-in name wins over a folder of that name, which
            "./cracks" or a `Path` means.
        classes: class names by mask value, background first. Folders only.
        labels: mask values that are foreground, all others being background. Folders only.
        seed: decides the split, and what the built-in sets draw. A non-negative integer.
        test: share of the images that are tested, in (0, 1); at least one is.

    Raises:
        FileNotFoundError: `source` is neither a built-in set nor a folder.
        ValueError: a spec, an option or a file that does not fit; the text names it and what it must be.
    """
    if isinstance(source, str) and source.split("(")[0].strip() in BUILT_IN:
        for name, value in (("classes", classes), ("labels", labels)):
            if value is not None:
                raise ValueError(must(name, f"left out for the built-in data {source}", value))
        return _built_in(source, seed=seed, test=test)
    root = Path(source).expanduser()
    if not root.is_dir():
        expected = f"a folder or one of {', '.join(BUILT_IN)}"
        got = f"the file {root}" if root.is_file() else str(source)
        raise FileNotFoundError(must("data", expected, got) + suggest(str(source).split("(")[0], BUILT_IN))
    if (root / "groundTruth").is_dir() and (root / "image").is_dir():
        from lossmith.data.crackforest import load_crackforest as load_files
    else:
        from lossmith.data.folder import load_folder as load_files
    return load_files(root, classes=classes, labels=labels, seed=seed, test=test)


def _built_in(spec: str, *, seed: int, test: float) -> Data:
    """Call the built-in set that a spec `name` or `name(keyword=literal, ...)` names, evaluating nothing."""
    text = must("data", "a name or name(parameter=number, ...)", spec)
    try:
        call = ast.parse(spec.strip(), mode="eval").body
    except (SyntaxError, ValueError):
        raise ValueError(text) from None
    if isinstance(call, ast.Name):
        return BUILT_IN[call.id](seed=seed, test=test)
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.args:
        raise ValueError(text)
    name = call.func.id
    known = [parameter for parameter in inspect.signature(BUILT_IN[name]).parameters if parameter not in RESERVED]
    chosen: dict[str, int | float] = {}
    weak: str | None = None
    for keyword in call.keywords:
        if keyword.arg is None or keyword.arg in chosen or (keyword.arg == "weaken" and weak is not None):
            raise ValueError(text)
        value = _value(keyword.value, text)
        if keyword.arg == "weaken":
            weak = str(value)
            continue
        if keyword.arg not in known:
            raise ValueError(f"{name} has no parameter {keyword.arg}{suggest(keyword.arg, [*known, 'weaken'])}")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(must(keyword.arg, "a number", value))
        chosen[keyword.arg] = value
    data = BUILT_IN[name](seed=seed, test=test, **chosen)
    return data if weak is None else weaken(data, weak, seed=seed)


def _value(node: ast.expr, text: str) -> object:
    """A literal, or a bare word as text; a ValueError with `text` at anything else."""
    if isinstance(node, ast.Name):
        return node.id
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError):
        raise ValueError(text) from None
