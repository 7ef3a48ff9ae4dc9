"""Image and mask files of every kind."""

import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from lossmith.data.images import read_image, read_values

GRAY = np.array([[0, 51], [102, 255]], dtype=np.uint8)
COLOUR = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [51, 102, 153]]], dtype=np.uint8)


def save(path: Path, pixels: np.ndarray, **options: object) -> Path:
    Image.fromarray(pixels).save(path, **options)  # type: ignore[arg-type]
    return path


@pytest.mark.parametrize("suffix", [".png", ".PNG", ".tif", ".TIFF"])
def test_gray_and_colour(tmp_path: Path, suffix: str) -> None:
    gray = read_image(save(tmp_path / f"g{suffix}", GRAY))
    assert gray.dtype == np.float32
    assert gray.shape == (3, 2, 2)
    assert np.allclose(gray, np.array([[0, 0.2], [0.4, 1]]))
    colour = read_image(save(tmp_path / f"c{suffix}", COLOUR))
    assert np.allclose(colour, COLOUR.transpose(2, 0, 1) / 255)
    assert np.array_equal(read_values(save(tmp_path / f"m{suffix}", GRAY)), GRAY)


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG"])
def test_jpeg(tmp_path: Path, suffix: str) -> None:
    flat = np.full((16, 16, 3), (200, 100, 50), dtype=np.uint8)
    assert np.allclose(read_image(save(tmp_path / f"i{suffix}", flat)).mean((1, 2)) * 255, (200, 100, 50), atol=2)


@pytest.mark.parametrize(("name", "options"), [("a.png", {}), ("a.tif", {}), ("b.tif", {"byteorder": ">"})])
def test_16_bit_gray(tmp_path: Path, name: str, options: dict[str, str]) -> None:
    deep = np.array([[0, 13107], [300, 65535]], dtype=np.uint16)
    path = tmp_path / name
    if name.endswith("png"):
        save(path, deep)
    else:
        tifffile.imwrite(path, deep, **options)
    assert np.allclose(read_image(path), deep / 65535)
    assert np.array_equal(read_values(path), deep)


def test_transparency_of_an_image_is_dropped(tmp_path: Path) -> None:
    alpha = np.array([[0, 255], [9, 80]], dtype=np.uint8)
    path = save(tmp_path / "a.png", np.dstack([COLOUR, alpha]))
    assert np.allclose(read_image(path), COLOUR.transpose(2, 0, 1) / 255)


def palette(path: Path, indices: np.ndarray, **options: object) -> Path:
    picture = Image.fromarray(indices.astype(np.uint8)).convert("P")
    picture = Image.frombytes("P", indices.shape[::-1], indices.astype(np.uint8).tobytes())
    picture.putpalette([0, 0, 0, 255, 0, 0, 0, 0, 255])
    picture.save(path, **options)  # type: ignore[arg-type]
    return path


def test_palette(tmp_path: Path) -> None:
    indices = np.array([[0, 1, 2], [2, 1, 1]])
    path = palette(tmp_path / "p.png", indices, transparency=b"\x00\xff\x80")
    assert np.array_equal(read_values(path), indices)
    colours = np.array([[0, 0, 0], [1, 0, 0], [0, 0, 1]])
    assert np.array_equal(read_image(path), colours[indices].transpose(2, 0, 1))
    packed = np.array([0, 255 << 16, 255])
    assert np.array_equal(read_values(path, colour=True), packed[indices])


def test_bilevel_mask(tmp_path: Path) -> None:
    path = tmp_path / "b.png"
    Image.fromarray(GRAY).convert("1", dither=Image.Dither.NONE).save(path)
    assert np.array_equal(read_values(path), [[0, 0], [0, 255]])


def test_colour_mask(tmp_path: Path) -> None:
    path = save(tmp_path / "c.png", COLOUR)
    assert read_values(path, colour=True).tolist() == [[0xFF0000, 0x00FF00], [0x0000FF, 0x336699]]
    gray = save(tmp_path / "g.png", GRAY)
    assert read_values(gray, colour=True).tolist() == [[0, 0x333333], [0x666666, 0xFFFFFF]]


def test_gray_mask_stored_as_colour(tmp_path: Path) -> None:
    assert np.array_equal(read_values(save(tmp_path / "c.png", np.dstack([GRAY] * 3))), GRAY)
    opaque = np.dstack([GRAY] * 3 + [np.full_like(GRAY, 255)])
    assert np.array_equal(read_values(save(tmp_path / "a.png", opaque)), GRAY)


def test_camera_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn by 90 degrees
    path = save(tmp_path / "o.jpg", np.zeros((16, 32, 3), dtype=np.uint8), exif=exif)
    assert read_image(path).shape == (3, 32, 16)


def refused(reader: object, path: Path, text: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        reader(path)  # type: ignore[operator]


WHOLE = "a complete PNG, JPEG or TIFF file of 8 or 16 bits"


@pytest.mark.parametrize(("reader", "kind"), [(read_image, "image"), (read_values, "mask")])
def test_unreadable_files(tmp_path: Path, reader: object, kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    png, jpeg = save(tmp_path / "t.png", noise), save(tmp_path / "t.jpg", noise)
    for path, cut in ((png, 200), (jpeg, 300)):
        path.write_bytes(path.read_bytes()[:-cut])
        start = re.escape(f"{kind} {path} must be {WHOLE}; got '")
        with pytest.raises(ValueError, match=f"^{start}.*runcated.*'$"):
            reader(path)  # type: ignore[operator]
    empty = tmp_path / "e.png"
    empty.touch()
    got = f"cannot identify image file {str(empty)!r}"
    refused(reader, empty, f"{kind} {empty} must be {WHOLE}; got {got!r}")


def test_damaged_png(tmp_path: Path) -> None:
    path = save(tmp_path / "d.png", np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8))
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 0xFF
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=f"^{re.escape(f'image {path} must be {WHOLE}; got ')}"):
        read_image(path)


@pytest.mark.parametrize(("dtype", "mode"), [(np.float32, "F"), (np.int32, "I")])
def test_unsupported_depth(tmp_path: Path, dtype: type, mode: str) -> None:
    path = tmp_path / "f.tif"
    tifffile.imwrite(path, np.zeros((4, 4), dtype=dtype))
    refused(read_image, path, f"image {path} must be of 8 or 16 bits per channel; got 'mode {mode} (32 bits)'")


def test_several_pages(tmp_path: Path) -> None:
    path = tmp_path / "s.tif"
    tifffile.imwrite(path, np.zeros((3, 4, 4), dtype=np.uint8), photometric="minisblack")
    refused(read_values, path, f"mask {path} must be a single picture; got '3 pages'")


def test_colours_in_a_mask_without_legend(tmp_path: Path) -> None:
    path = save(tmp_path / "c.png", COLOUR)
    what = "gray or palette, or have its colours declared in a classes.json"
    refused(read_values, path, f"mask {path} must be {what}; got 'RGB with colours'")


def test_labels_hidden_in_transparency(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", np.dstack([COLOUR, GRAY]))
    refused(read_values, path, f"mask {path} must be equally opaque everywhere; got 'alpha 0 to 255'")


def test_16_bit_colour_is_read_with_8_bits(tmp_path: Path) -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    deep = np.array([[[65535, 0, 13107]]], dtype=">u2")
    head = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    path = tmp_path / "d.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b"\0" + deep.tobytes()))
        + chunk(b"IEND", b"")
    )
    assert np.allclose(read_image(path)[:, 0, 0], (1, 0, 0.2), atol=1 / 255)
