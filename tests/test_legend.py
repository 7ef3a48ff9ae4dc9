"""What mask values mean."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from lossmith.data.legend import BINARY, Legend, check_names, foreground_labels, read_legend


def legend(tmp_path: Path, content: object) -> Legend:
    file = tmp_path / "classes.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return read_legend(file)


@pytest.mark.parametrize(
    ("content", "classes", "index", "colour"),
    [
        ({"background": 0, "crack": 1}, ("background", "crack"), {0: 0, 1: 1}, False),
        ({"background": [0], "tumour": [1, 2]}, ("background", "tumour"), {0: 0, 1: 1, 2: 1}, False),
        ({"sky": 0, "a": [1, 2, 3]}, ("sky", "a"), {0: 0, 1: 1, 2: 1, 3: 1}, False),
        ({"background": [0, 0, 0], "road": [255, 0, 1]}, ("background", "road"), {0: 0, 0xFF0001: 1}, True),
        (
            {"background": [[0, 0, 0], [9, 9, 9]], "road": [255, 0, 0]},
            ("background", "road"),
            {0: 0, 0x090909: 0, 0xFF0000: 1},
            True,
        ),
        ("\ufeff" + '{"background": 0, "a": 65535}', ("background", "a"), {0: 0, 65535: 1}, False),
    ],
)
def test_classes_json(
    tmp_path: Path, content: object, classes: tuple[str, ...], index: dict[int, int], colour: bool
) -> None:
    read = legend(tmp_path, content)
    assert (read.classes, dict(read.index), read.colour, read.rest) == (classes, index, colour, False)


NAMES = "classes must be two or more different names, background first"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([1, 2], "{} must be a JSON object of mask values by class name; got [1, 2]"),
        ({"background": 0}, "{}: " + NAMES + "; got ('background',)"),
        (
            {"crack": 1, "background": 0},
            "{}: the first of classes must be 'background' where a class has this name; got 'crack'",
        ),
        ({"background": 0, "a": 0}, "each mask value in {} must be given to one class; got [0]"),
        (
            {"background": [1, 2, 3], "a": [1, 2, 3]},
            "each mask value in {} must be given to one class; got [(1, 2, 3)]",
        ),
        (
            {"background": [0, 0, 0], "road": [300, 0, 0]},
            "each number of the colour [300, 0, 0] for class road of {} must be in 0..255; got 300",
        ),
        (
            {"background": [[0, 0, 0], [9, -1, 256]], "road": [255, 0, 0]},
            "each number of the colour [9, -1, 256] for class background of {} must be in 0..255; got -1",
        ),
        (
            {"background": [0, 0, 0], "road": [0.5, 0, 0]},
            "class road of {} must be a mask value, a list of mask values, or a colour like every other class; "
            "got [0.5, 0, 0]",
        ),
        (
            {"background": 0, "a": "red"},
            "class a of {} must be a mask value, a list of mask values, or a colour like every other class; got 'red'",
        ),
        (
            {"background": 0, "a": -1},
            "class a of {} must be a mask value, a list of mask values, or a colour like every other class; got -1",
        ),
        (
            {"background": 0, "a": []},
            "class a of {} must be a mask value, a list of mask values, or a colour like every other class; got []",
        ),
        (
            {"background": 0, "a": [[255, 0, 0]]},
            "class a of {} must be a mask value, a list of mask values, or a colour like every other class; "
            "got [[255, 0, 0]]",
        ),
        (
            '{"background": 0, "a": 1, "a": 2}',
            "{} must be a JSON object of mask values by class name; got 'a name that comes twice'",
        ),
    ],
)
def test_classes_json_refused(tmp_path: Path, content: object, text: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(text.format(tmp_path / 'classes.json'))}$"):
        legend(tmp_path, content)


def test_broken_json(tmp_path: Path) -> None:
    start = re.escape(f"{tmp_path / 'classes.json'} must be a JSON object of mask values by class name; got ")
    with pytest.raises(ValueError, match=f"^{start}"):
        legend(tmp_path, "{background: 0}")


def test_apply() -> None:
    values = np.array([[0, 3], [7, 9]], dtype=np.int32)
    three = Legend(("b", "x", "y"), {0: 0, 3: 1, 7: 2, 9: 1})
    assert three.apply(values).tolist() == [[0, 1], [2, 1]]
    assert three.apply(values).dtype == np.int64
    assert foreground_labels((3, 9), BINARY).apply(values).tolist() == [[0, 1], [0, 1]]


def test_undeclared_values() -> None:
    path = Path("m/a.png")
    three = Legend(("b", "x", "y"), {0: 0, 1: 1, 2: 2})
    three.check(path, {0, 2})
    for legend, file, values, text in [
        (three, path, {0, 9, 4}, "the values of mask m/a.png must be among 0, 1, 2; got [4, 9]"),
        (
            three,
            Path("m/a.JPG"),
            {4},
            "the values of mask m/a.JPG must be among 0, 1, 2; got [4]; JPEG is lossy and cannot hold labels: "
            "save masks as PNG",
        ),
        (
            Legend(BINARY, {0: 0, 255: 1}),
            path,
            range(256),
            "the values of mask m/a.png must be among 0, 255; got [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, '244 more']; "
            "classes=, labels= or a classes.json declares other values",
        ),
        (
            Legend(("b", "x"), {0: 0, 0xFF0000: 1}, colour=True),
            path,
            {0, 0x0000FF},
            "the values of mask m/a.png must be among (0, 0, 0), (255, 0, 0); got [(0, 0, 255)]",
        ),
    ]:
        with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
            legend.check(file, values)
    foreground_labels((4,), BINARY).check(path, range(300))


@pytest.mark.parametrize("names", ["background", ("a",), ("a", "a"), ("a", ""), ("a", 3), ()])
def test_names_refused(names: object) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(NAMES)}; got {re.escape(repr(names))}$"):
        check_names(names)  # type: ignore[arg-type]


@pytest.mark.parametrize("labels", [(), (1.5,), ("2",), (True,)])
def test_labels_refused(labels: object) -> None:
    text = f"labels must be one or more integers, the mask values of the foreground; got {labels!r}"
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        foreground_labels(labels, BINARY)  # type: ignore[arg-type]


def test_labels_take_two_names() -> None:
    text = "classes must be two names where labels= says what is foreground; got ('a', 'b', 'c')"
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        foreground_labels((1,), ("a", "b", "c"))
