"""Image files to arrays. Every reader names the file and what was expected of it."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageOps

from lossmith.data.base import Image
from lossmith.errors import must

Values = NDArray[np.int32]

DEEP = ("I;16", "I;16L", "I;16B", "I;16N")  # Pillow's names of 16-bit gray
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
LOSSY = (".jpg", ".jpeg")


def read_image(path: Path) -> Image:
    """Read a PNG, JPEG or TIFF of 8 or 16 bits (gray, colour, palette; transparency is dropped) as RGB.

    An orientation noted by a camera is applied, as viewers do. Pillow reads 16-bit colour with 8 bits.

    Returns:
        float32 `(3, H, W)` in [0, 1].
    """
    picture = _open("image", path)
    if picture.mode in DEEP:
        gray = np.asarray(picture).astype(np.float32) / 65535
        return np.repeat(gray[None], 3, axis=0)
    pixels = np.asarray(_rgb(picture), dtype=np.float32) / 255
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def read_values(path: Path, *, colour: bool = False) -> Values:
    """Read the label of each pixel of a mask file, `(H, W)`.

    A palette mask gives its indices, a gray one its values, also when it is stored as RGB with equal
    channels. With `colour` each pixel gives `65536 * red + 256 * green + blue`.
    """
    picture = _open("mask", path)
    if picture.mode in ("RGBA", "LA"):
        least, most = picture.getchannel("A").getextrema()
        if least != most:
            raise ValueError(must(f"mask {path}", "equally opaque everywhere", f"alpha {least} to {most}"))
        picture = picture.convert(picture.mode[:-1])
    if colour:
        red, green, blue = np.asarray(_rgb(picture), dtype=np.int32).transpose(2, 0, 1)
        return np.asarray(65536 * red + 256 * green + blue)
    if picture.mode == "1":
        picture = picture.convert("L")
    values = np.asarray(picture).astype(np.int32)
    if values.ndim == 2:
        return values
    if picture.mode != "RGB" or np.any(values != values[..., :1]):
        what = "gray or palette, or have its colours declared in a classes.json"
        raise ValueError(must(f"mask {path}", what, f"{picture.mode} with colours"))
    return values[..., 0]


def _open(kind: str, path: Path) -> Pillow.Image:
    try:
        with Pillow.open(path) as picture:
            pages = getattr(picture, "n_frames", 1)
            picture.load()
    except (OSError, SyntaxError, ValueError, Pillow.DecompressionBombError) as error:
        what = "a complete PNG, JPEG or TIFF file of 8 or 16 bits"
        raise ValueError(must(f"{kind} {path}", what, str(error))) from error
    if pages > 1:
        raise ValueError(must(f"{kind} {path}", "a single picture", f"{pages} pages"))
    if picture.mode in ("I", "F"):
        raise ValueError(must(f"{kind} {path}", "of 8 or 16 bits per channel", f"mode {picture.mode} (32 bits)"))
    return ImageOps.exif_transpose(picture)


def _rgb(picture: Pillow.Image) -> Pillow.Image:
    if picture.mode in ("P", "PA"):  # straight to RGB, Pillow warns of transparent palette entries
        picture = picture.convert("RGBA")
    return picture.convert("RGB")
