"""Folders of image and mask files, tidy and messy."""

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lossmith.data import load


def write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def fill(root: Path, count: int = 5, values: tuple[int, ...] = (0, 1), suffix: str = ".png", seed: int = 0) -> Path:
    """`count` images of different sizes and masks that hold all of the values."""
    rng = np.random.default_rng(seed)
    for index in range(count):
        height, width = 6 + index, 9
        mask = rng.choice(values, (height, width)).astype(np.uint8)
        mask[0, : len(values)] = values
        write(root / "images" / f"i{index}{suffix}", rng.integers(0, 256, (height, width, 3)).astype(np.uint8))
        write(root / "masks" / f"i{index}.png", mask)
    return root


def mask_of(root: Path, name: str) -> np.ndarray:
    return np.asarray(Image.open(root / "masks" / f"{name}.png"))


def refused(root: Path, text: str, kind: type[Exception] = ValueError, **options: object) -> None:
    with pytest.raises(kind, match=f"^{re.escape(text)}$"):
        load(root, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("values", [(0, 1), (0, 255)])
@pytest.mark.parametrize("suffix", [".png", ".JPG", ".tiff"])
def test_binary_folder(tmp_path: Path, values: tuple[int, int], suffix: str) -> None:
    root = fill(tmp_path / "roads", values=values, suffix=suffix)
    data = load(root)
    assert (data.name, data.task, data.classes) == ("roads", "binary", ("background", "foreground"))
    assert (len(data.train), len(data.test)) == (4, 1)
    assert sorted(data.train.names + data.test.names) == [f"i{k}" for k in range(5)]
    for sample in [*data.train, *data.test]:
        assert sample.image.shape[1:] == sample.mask.shape
        assert sample.mask is sample.truth
        assert np.array_equal(sample.mask, mask_of(root, sample.name) > 0)


def test_classes_name_the_values(tmp_path: Path) -> None:
    root = fill(tmp_path, values=(0, 1, 2))
    data = load(root, classes=("background", "a", "b", "never seen"))
    assert (data.task, data.classes) == ("multiclass", ("background", "a", "b", "never seen"))
    for sample in data.train:
        assert np.array_equal(sample.mask, mask_of(root, sample.name))


def test_two_classes_name_binary_masks(tmp_path: Path) -> None:
    data = load(fill(tmp_path, values=(0, 255)), classes=("background", "crack"))
    assert (data.task, data.classes) == ("binary", ("background", "crack"))
    assert set(np.unique(data.train[0].mask)) == {0, 1}


def test_labels_are_foreground(tmp_path: Path) -> None:
    root = fill(tmp_path, values=(0, 2, 3, 4))
    data = load(root, labels=(2, 4), classes=("background", "crack"))
    assert (data.task, data.classes) == ("binary", ("background", "crack"))
    for sample in data.train:
        assert np.array_equal(sample.mask, np.isin(mask_of(root, sample.name), (2, 4)))
    refused(root, "labels must be values that the masks hold (0, 2, 3, 4); got [7]", labels=(2, 7))


def test_values_of_classes_json(tmp_path: Path) -> None:
    root = fill(tmp_path, values=(0, 1, 2))
    (root / "classes.json").write_text(json.dumps({"background": [0, 2], "tumour": 1}))
    data = load(root)
    assert (data.task, data.classes) == ("binary", ("background", "tumour"))
    assert np.array_equal(data.train[0].mask, mask_of(root, data.train.names[0]) == 1)
    text = f"classes must be left out where {root / 'classes.json'} declares them; got ('a', 'b')"
    refused(root, text, classes=("a", "b"))
    assert np.array_equal(load(root, labels=(2,)).train[0].mask, mask_of(root, data.train.names[0]) == 2)


def test_colours_of_classes_json(tmp_path: Path) -> None:
    root = fill(tmp_path, values=(0, 1, 2))
    colours = np.array([[0, 0, 0], [255, 0, 0], [0, 9, 255]], dtype=np.uint8)
    indices = {path.stem: np.asarray(Image.open(path)).astype(int) for path in (root / "masks").iterdir()}
    for stem, index in indices.items():
        write(root / "masks" / f"{stem}.png", colours[index])
    legend = {"background": [0, 0, 0], "road": [255, 0, 0], "river": [0, 9, 255]}
    (root / "classes.json").write_text(json.dumps(legend))
    data = load(root)
    assert (data.task, data.classes) == ("multiclass", ("background", "road", "river"))
    for sample in data.train:
        assert np.array_equal(sample.mask, indices[sample.name])
    write(root / "masks" / "i3.png", np.full((9, 9, 3), (1, 2, 3), dtype=np.uint8))
    declared = "(0, 0, 0), (0, 9, 255), (255, 0, 0)"
    refused(root, f"the values of mask {root / 'masks' / 'i3.png'} must be among {declared}; got [(1, 2, 3)]")


def test_clutter_is_passed_over(tmp_path: Path) -> None:
    root = fill(tmp_path)
    before = load(root).fingerprint
    for name in (".DS_Store", "Thumbs.db", "._i0.png"):
        (root / "images" / name).write_text("clutter")
    (root / "README.txt").write_text("not in images/ or masks/")
    assert load(root).fingerprint == before


def divided(root: Path) -> Path:
    for seed, (part, count) in enumerate((("train", 3), ("test", 2))):
        fill(root / part, count, seed=seed)
    return root


def test_a_split_of_the_folder_is_kept(tmp_path: Path) -> None:
    root = divided(tmp_path)
    data = load(root)
    assert data.train.names == ("i0", "i1", "i2")
    assert data.test.names == ("i0", "i1")
    assert load(root, seed=7, test=0.5).fingerprint == data.fingerprint
    assert np.array_equal(data.test[1].mask, mask_of(root / "test", "i1"))
    fill(root)
    refused(root, f"folder {root} must be either images/ and masks/, or train/ and test/; got 'both'")


def test_no_image_is_trained_on_and_tested(tmp_path: Path) -> None:
    root = divided(tmp_path)
    trained, tested = root / "train" / "images", root / "test" / "images"
    for part in (trained, tested):  # copies inside a part are harmless
        shutil.copy(part / "i0.png", part / "copy.png")
        shutil.copy(part.parent / "masks" / "i0.png", part.parent / "masks" / "copy.png")
    assert len(load(root).train) == 4
    shutil.copy(trained / "i1.png", tested / "i1.png")  # its mask, drawn anew, is another one
    expected = "different from every training image"
    refused(root, f"test image {tested / 'i1.png'} must be {expected}; got 'the same content as {trained / 'i1.png'}'")


def test_a_drawn_split_may_not_part_two_copies(tmp_path: Path) -> None:
    root = fill(tmp_path, count=2)
    for kind in ("images", "masks"):
        shutil.copy(root / kind / "i0.png", root / kind / "i1.png")
    trained, tested = (root / "images" / f"i{index}.png" for index in np.random.default_rng(1000).permutation(2))
    expected = "different from every training image"
    refused(root, f"test image {tested} must be {expected}; got 'the same content as {trained}'")


def test_seed_decides_the_split(tmp_path: Path) -> None:
    root = fill(tmp_path, count=20)
    tested = {load(root, seed=seed).test.names for seed in range(4)}
    assert len(tested) == 4
    assert all(len(names) == 4 for names in tested)
    assert len(load(root, test=0.5).test) == 10


def test_fingerprint_follows_the_content(tmp_path: Path) -> None:
    root = fill(tmp_path / "a", count=20)
    first = load(root)
    assert load(fill(tmp_path / "b", count=20)).fingerprint == first.fingerprint  # the same files elsewhere
    os.utime(root / "images" / "i0.png", (0, 0))
    assert load(root).fingerprint == first.fingerprint
    prints = {first.fingerprint, load(root, seed=1).fingerprint, load(root, labels=(1,)).fingerprint}
    prints.add(load(root, classes=("background", "x")).fingerprint)
    changed = mask_of(root, "i1").copy()
    changed[3, 3] = 1 - changed[3, 3]
    write(root / "masks" / "i1.png", changed)
    prints.add(load(root).fingerprint)
    (root / "images" / "i0.png").rename(root / "images" / "j0.png")
    (root / "masks" / "i0.png").rename(root / "masks" / "j0.png")
    prints.add(load(root).fingerprint)
    assert len(prints) == 6


# ---- refusals


def test_missing_folders(tmp_path: Path) -> None:
    root = fill(tmp_path / "r")
    for path in (root / "masks").iterdir():
        path.unlink()
    (root / "masks").rmdir()
    text = f"{root / 'masks'} must be a folder beside its images or masks; got \"none among ['images']\""
    refused(root, text, FileNotFoundError)
    (tmp_path / "e").mkdir()
    text = f"{tmp_path / 'e' / 'images'} must be a folder beside its images or masks; got 'none among []'"
    refused(tmp_path / "e", text, FileNotFoundError)


def test_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    refused(tmp_path, f"folder {tmp_path / 'images'} must be filled with PNG, JPEG or TIFF files; got 'no file'")


def test_one_image_cannot_be_split(tmp_path: Path) -> None:
    text = f"{tmp_path} must be a folder of at least 2 images, one to train on and one to test on; got 1"
    refused(fill(tmp_path, count=1), text)


def test_image_without_mask_and_mask_without_image(tmp_path: Path) -> None:
    root = fill(tmp_path)
    (root / "masks" / "i3.png").rename(root / "masks" / "i3_mask.png")
    image, mask = root / "images" / "i3.png", root / "masks" / "i3_mask.png"
    text = f"image {image} must be matched by a file {root / 'masks' / 'i3'}.* of the same stem; got 'none'"
    near = "; did you mean "
    with pytest.raises(ValueError, match=f"^{re.escape(text)}({near}i\\w+\\?)?$"):
        load(root)
    image.unlink()
    text = f"mask {mask} must be matched by a file {root / 'images' / 'i3_mask'}.* of the same stem; got 'none'"
    refused(root, text)


def test_two_files_of_one_stem(tmp_path: Path) -> None:
    root = fill(tmp_path)
    write(root / "images" / "i2.tif", np.zeros((8, 9), dtype=np.uint8))
    refused(root, f"{root / 'images' / 'i2.tif'} must be the only file of its stem; got 'i2.png'")


@pytest.mark.parametrize(("name", "got"), [("notes.txt", ".txt"), ("i9.bmp", ".bmp"), ("inner.png/i.png", "a folder")])
def test_foreign_files(tmp_path: Path, name: str, got: str) -> None:
    root = fill(tmp_path)
    path = root / "images" / name
    path.parent.mkdir(exist_ok=True)
    path.touch()
    shown = path if path.parent.name == "images" else path.parent
    refused(root, f"{shown} must be a PNG, JPEG or TIFF file; got {got!r}")


def test_sizes_that_differ(tmp_path: Path) -> None:
    root = fill(tmp_path)
    write(root / "masks" / "i1.png", np.zeros((9, 7), dtype=np.uint8))
    image, mask = root / "images" / "i1.png", root / "masks" / "i1.png"
    refused(root, f"mask {mask} must be as large as its image {image} (9 x 7); got '7 x 9'")


def test_a_broken_image_is_found_at_once(tmp_path: Path) -> None:
    root = fill(tmp_path)
    path = root / "images" / "i4.png"
    path.write_bytes(path.read_bytes()[:100])
    start = f"image {path} must be a complete PNG, JPEG or TIFF file of 8 or 16 bits; got "
    with pytest.raises(ValueError, match=f"^{re.escape(start)}"):
        load(root)


HINT = "; classes=, labels= or a classes.json declares other values"


@pytest.mark.parametrize(
    ("first", "second", "declared", "got"),
    [
        ((0, 1), (0, 2), "0, 1", "[2]"),
        ((0, 255), (0, 1), "0, 255", "[1]"),
        ((0, 255), (0, 128, 255), "0, 255", "[128]"),
    ],
)
def test_undeclared_values(
    tmp_path: Path, first: tuple[int, ...], second: tuple[int, ...], declared: str, got: str
) -> None:
    root = fill(tmp_path, values=first)
    mask = np.zeros((8, 9), dtype=np.uint8)
    mask[0, : len(second)] = second
    write(root / "masks" / "i2.png", mask)
    path = root / "masks" / "i2.png"
    refused(root, f"the values of mask {path} must be among {declared}; got {got}{HINT}")


def test_jpeg_masks(tmp_path: Path) -> None:
    root = fill(tmp_path, values=(0, 255))
    (root / "masks" / "i2.png").unlink()
    write(root / "masks" / "i2.jpg", np.random.default_rng(0).choice([0, 255], (8, 9)).astype(np.uint8))
    path = root / "masks" / "i2.jpg"
    with pytest.raises(ValueError, match=r"; JPEG is lossy and cannot hold labels: save masks as PNG$") as caught:
        load(root)
    assert str(caught.value).startswith(f"the values of mask {path} must be among 0, 255; got [")


def test_masks_of_nothing_but_background(tmp_path: Path) -> None:
    root = fill(tmp_path, values=(0,))
    expected = "annotated: at least one needs a pixel that is not background"
    refused(root, f"the training masks of {root} must be {expected}; got 'mask values [0]'")


def test_bad_options(tmp_path: Path) -> None:
    root = fill(tmp_path)
    refused(root, "test must be in (0, 1); got 1.5", test=1.5)
    refused(root, "classes must be two or more different names, background first; got 'crack'", classes="crack")
