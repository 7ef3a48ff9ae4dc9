"""Calibration: losses that keep a network from being more certain than its labels are."""

from lossmith.core.pixel import mean_of_classes
from lossmith.core.pixels import Pixels
from lossmith.core.reduce import Terms
from lossmith.core.stable import divide
from lossmith.core.window import window_sum

DISTANCES = ("l1", "l2")


def neighbour_labels(px: Pixels, *, radius: int = 1, distance: str = "l1") -> Terms:
    """mean_c |u_c - z_c|, u_c the share of class c among the labels of a pixel's window (Murugesan 2023, Eq. 6)."""
    xp = px.xp
    share, count = px.grid(px.count() * px.target), px.grid(px.count())
    u = divide(xp, window_sum(xp, share, radius), window_sum(xp, count, radius))
    apart = px.logits - xp.reshape(u, px.target.shape)
    apart = xp.abs(apart) if distance == "l1" else apart**2
    return Terms(mean_of_classes(px, apart))
