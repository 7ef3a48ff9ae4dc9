"""The checks that the built-in data sets share."""

from lossmith.errors import must


def check_generated(*, images: int, size: int, smallest: int) -> None:
    """Raise ValueError unless `images` is an integer from 2 and `size` one from `smallest`."""
    for name, value, least in (("images", images, 2), ("size", size, smallest)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError(must(name, f"an integer of at least {least}", value))
