"""The door: specs and paths."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lossmith.data import load


def folder(root: Path) -> Path:
    for index in range(3):
        for part in ("images", "masks"):
            (root / part).mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.eye(4, dtype=np.uint8) * (index + 1 if part == "images" else 1)).save(
                root / part / f"{index}.png"
            )
    return root


@pytest.mark.parametrize("spec", ["shapes", " shapes ", "shapes()", "shapes (images = 80)", "shapes(noise=0.1)"])
def test_specs_of_one_set(spec: str) -> None:
    assert load(spec).fingerprint == load("shapes").fingerprint


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ("shapes(mising=0.3)", "shapes has no parameter mising; did you mean missing?"),
        ("shapes(seed=3)", "shapes has no parameter seed"),
        ("cracks(colour=3)", "cracks has no parameter colour"),
        ("shapes(images='8')", "images must be a number; got '8'"),
        ("shapes(images=True)", "images must be a number; got True"),
    ],
)
def test_wrong_parameters(spec: str, text: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        load(spec)


@pytest.mark.parametrize(
    "spec",
    [
        "shapes(",
        "shapes(0.3)",
        "shapes(images=8, images=9)",
        "shapes(**{})",
        "shapes(images=__import__('os').getpid())",
        "shapes(images=8)()",
        "shapes(images=8) + 1",
        "cracks(\0)",
    ],
)
def test_specs_that_are_none(spec: str) -> None:
    text = f"data must be a name or name(parameter=number, ...); got {spec!r}"
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        load(spec)


@pytest.mark.parametrize(
    ("source", "tail"),
    [
        ("shpaes", "got 'shpaes'; did you mean shapes?"),
        ("crack(images=3)", "got 'crack(images=3)'; did you mean cracks?"),
        ("/no/such/place", "got '/no/such/place'"),
    ],
)
def test_neither_folder_nor_built_in(source: str, tail: str) -> None:
    text = f"data must be a folder or one of shapes, cracks; {tail}"
    with pytest.raises(FileNotFoundError, match=f"^{re.escape(text)}$"):
        load(source)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    file = tmp_path / "data.zip"
    file.touch()
    text = f"data must be a folder or one of shapes, cracks; got 'the file {file}'"
    with pytest.raises(FileNotFoundError, match=f"^{re.escape(text)}$"):
        load(file)


def test_the_built_in_name_wins_over_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder(tmp_path / "cracks")
    monkeypatch.chdir(tmp_path)
    assert load("cracks(images=2, size=64)").classes == ("background", "crack")
    assert len(load("cracks").train) == 51
    for source in ("./cracks", Path("cracks"), tmp_path / "cracks"):
        data = load(source)
        assert (data.name, data.classes, len(data.train)) == ("cracks", ("background", "foreground"), 2)


@pytest.mark.parametrize(("name", "value"), [("classes", ("background", "crack")), ("labels", (2,))])
def test_built_in_sets_have_their_own_classes(name: str, value: object) -> None:
    text = f"{name} must be left out for the built-in data cracks; got {value!r}"
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        load("cracks", **{name: value})  # type: ignore[arg-type]
