"""Batches of exact ties and points without slope: what `faces.py` keeps out. There the values of all frameworks agree.

Gradients there differ, and each is right: of the rows in GRADIENTS_DIFFER they do.
"""

from dataclasses import replace

import numpy as np

from faces import Call, call

KINDS = ("equal", "rounded")
GRADIENTS_DIFFER = ("lovasz", "lovasz_hinge", "mumford_shah", "nacl", "tv")


def tied(name: str, task: str, kind: str) -> Call:
    """All logits 0, or whole numbers."""
    given = call(name, task, "weight")
    return replace(given, logits=np.zeros_like(given.logits) if kind == "equal" else np.round(given.logits))
