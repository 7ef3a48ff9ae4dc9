"""Files of a result: written whole or not at all, and read with a word about what is damaged."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

Json = dict[str, object]


def folder_name(spec: str, identity: str) -> str:
    """A readable name for what is kept of a loss, made unique by a digest of its identity."""
    words = re.sub(r"[^A-Za-z0-9.]+", "-", spec).strip("-")[:60] or "loss"
    return f"{words}-{hashlib.sha256(identity.encode()).hexdigest()[:8]}"


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Write a file: the block writes to a temporary name beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{os.getpid()}-{path.name}")  # the ending stays: NumPy adds one that it misses
    try:
        yield draft
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def read_identity(path: Path, what: str) -> Json:
    """The JSON object that says what a folder holds; `what` goes on in the sentence "that says what was"."""
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        held = None
    if not isinstance(held, dict):
        raise ValueError(f"{path} must be a JSON object that says what was {what}; it is damaged")
    return held
