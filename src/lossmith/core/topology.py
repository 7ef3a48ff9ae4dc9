"""Topology losses: they compare centre lines, so that a gap in a thin structure costs more than a thin rim.

The skeleton of a map by openings (Shit 2021, Alg. 1): what an erosion and a dilation do not give back is ridge,

    skeleton = union over j of (x_j - open(x_j)),   x_0 = x,  x_(j+1) = erode(x_j)

with minima over the cross of a pixel and its nearest neighbours, and maxima over the box around it. It takes as many
erosions as half the width of the thickest structure. Windows end at the border of the image and at ignored pixels.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from math import prod
from typing import Any

from lossmith.core.namespaces import Array, Namespace
from lossmith.core.pixels import Pixels
from lossmith.core.region import Sums, takes
from lossmith.core.stable import divide
from lossmith.errors import must

AXES = (2, 3)
PIECE = 2**16  # elements that are looked at together: the arrays of a level then stay in the cache
KEPT = 6  # arrays that a level keeps for its backward pass, for each axis, where nothing is computed anew
ALL = 2**31
OVERLAPS = ("inside T", "skeleton P", "inside P", "skeleton T")  # numerator, denominator of precision; of sensitivity


def check_space(px: Pixels) -> None:
    """Raise where space has neither two nor three axes."""
    if len(px.space) not in AXES:
        raise ValueError(must("the space of logits", "of 2 or 3 axes", tuple(px.space)))


def erode(xp: Namespace, x: Array) -> Array:
    """The least value of the cross around each pixel of (n, k, *space)."""
    lines = (xp.line_min(x, axis=axis) for axis in range(2, len(x.shape)))
    return reduce(xp.smaller, lines)


def dilate(xp: Namespace, x: Array) -> Array:
    """The greatest value of the box around each pixel of (n, k, *space)."""
    return reduce(lambda values, axis: xp.line_max(values, axis=axis), range(2, len(x.shape)), x)


def soft_skeleton(xp: Namespace, x: Array, iterations: int, valid: Array | None = None, *, keep: int = ALL) -> Array:
    """The skeleton of maps (n, k, *space) with values in [0, 1].

    valid: 0 at pixels that are not there, in the dtype of `x`. keep: how many arrays of the size of `x` may be kept for
    the backward pass, if that can be; what is not kept is computed anew.
    """

    def by_levels(x: Array, valid: Array | None) -> Array:
        def level(x: Array, *skeleton: Array) -> tuple[Array, Array]:
            eroded = erode(xp, x if valid is None else x * valid + (1 - valid))
            ridge = xp.relu(x - dilate(xp, eroded if valid is None else eroded * valid))
            return eroded, skeleton[0] + (1 - skeleton[0]) * ridge if skeleton else ridge

        known: tuple[Array, ...] = (x,)
        lean = KEPT * (len(x.shape) - 2) * (iterations + 1) > keep
        for _ in range(iterations + 1):
            known = xp.recompute(level, *known) if lean else level(*known)
        return known[1]

    return xp.soft_skeleton(by_levels, x, valid, iterations + 1, keep)


@dataclass(frozen=True)
class Piece:
    """A class and a slab of an image, with what its skeleton must see around it: rows `seen`, of which `own` count."""

    channel: int
    seen: slice
    own: slice

    def rows(self, grid: Array) -> Array:
        """The slab without its surroundings, of a whole image."""
        first = self.seen.start
        return grid[:, :, first + self.own.start : first + self.own.stop, ...]

    @property
    def place(self) -> tuple[Any, ...]:
        """The slab with its surroundings in (n, K, *space)."""
        return slice(None), slice(self.channel, self.channel + 1), self.seen, ...


def pieces_of(px: Pixels, iterations: int) -> list[Piece]:
    """The classes one by one, large images in slabs along their first axis."""
    halo = iterations + 2
    height, count = px.space[0], 1
    if isinstance(height, int):
        rows = max(2 * halo, PIECE * height // max(1, px.images * px.pixels))
        count = max(1, round(height / rows))
    cuts = [0, *(height * i // count for i in range(1, count + 1))]
    pieces = []
    for channel in range(px.channels):
        for low, high in pairwise(cuts):
            first = max(0, low - halo)
            seen = slice(first, min(height, high + halo))
            pieces.append(Piece(channel, seen, slice(low - first, high - first)))
    return pieces


@dataclass(frozen=True)
class View:
    """The target, the weight and prepared maps of the pixels of a block, as grids piece by piece."""

    px: Pixels

    def target(self, piece: Piece) -> Array:
        """The target of the piece's class with its surroundings, 0 at ignored pixels."""
        px = self.px
        if px.labels is not None:  # never all classes at once
            labels = px.grid(px.xp.expand_dims(px.labels, axis=1))[:, :, piece.seen, ...]
            target = px.xp.astype(labels == piece.channel, px.like)
            valid = self.valid(piece)
            return target if valid is None else target * valid
        return px.grid(px.target)[piece.place]

    def weight(self, piece: Piece) -> Array | None:
        """How often the pixels count."""
        weight = self.px.weight
        if weight is None:
            return None
        grid = self.px.grid(weight)
        return grid[:, :, piece.seen, ...] if grid.shape[1] == 1 else grid[piece.place]

    def valid(self, piece: Piece) -> Array | None:
        """1 where a pixel is there, 0 where it is ignored."""
        weight = self.weight(piece)
        return None if weight is None else self.px.xp.astype(weight > 0, weight)

    def prepared(self, whole: Array, piece: Piece) -> Array:
        """The slab of what was prepared for the batch, (N, K, P)."""
        own = piece.rows(self.px.grid(self.px.part(whole)))
        channel = own[:, piece.channel : piece.channel + 1, ...]
        return self.px.xp.astype(channel, self.px.like)


def flat(xp: Namespace, grid: Array) -> Array:
    """(n, 1, *space) as (n, 1, P)."""
    return xp.reshape(grid, (grid.shape[0], 1, prod(grid.shape[2:])))


def skeleton_of(px: Pixels, iterations: int, values: Callable[[Piece], Array]) -> Array:
    """The skeleton of all classes of a block, (n, K, P), from what `values` gives for a piece and its surroundings."""
    xp, view, pieces = px.xp, View(px), pieces_of(px, iterations)
    found = []
    for piece in pieces:
        x, valid = values(piece), view.valid(piece)
        grid = soft_skeleton(xp, x, iterations, None if valid is None else xp.astype(valid, x))
        found.append(flat(xp, grid[:, :, piece.own, ...]))
    slabs = len(found) // px.channels
    rows = [xp.concat(found[i : i + slabs], axis=2) for i in range(0, len(found), slabs)]
    return xp.concat(rows, axis=1)


def target_skeleton(px: Pixels, iterations: int) -> Array:
    """The skeleton of the target of all classes, (N, K, P): of bools where the target is hard."""

    def skeleton(block: Pixels) -> Array:
        view = View(block)
        if block.soft:
            return skeleton_of(block, iterations, view.target)
        return skeleton_of(block, iterations, lambda piece: px.xp.bits(view.target(piece))) > 0.5

    return px.map(skeleton)


def share(px: Pixels, pieces: Sequence[Piece]) -> int:
    """How many arrays of the size of a piece weigh as much as the block."""
    rows = max(piece.seen.stop - piece.seen.start for piece in pieces)
    count: int = px.channels * px.space[0] // max(1, rows)
    return max(1, count)


def sums_of_pieces(px: Pixels, iterations: int, term: Callable[[Array, Piece, int], list[Array]]) -> Iterator[Array]:
    """The sums over the pixels of what `term` gives of p and its piece, each (n, K)."""
    xp, pieces, view = px.xp, pieces_of(px, iterations), View(px)
    keep = share(px, pieces)

    def sums(p: Array, number: int) -> Array:
        piece = pieces[number]
        weight = view.weight(piece)
        weight = None if weight is None else weight[:, :, piece.own, ...]
        terms = (values if weight is None else values * weight for values in term(p, piece, keep))
        return xp.stack([xp.sum(flat(xp, values), axis=(1, 2)) for values in terms])

    found = xp.by_piece(sums, [piece.place for piece in pieces], px.grid(px.probs))
    slabs = xp.reshape(found, (px.channels, len(pieces) // px.channels, *found.shape[1:]))
    total = xp.permute_dims(xp.sum(slabs, axis=1), (1, 2, 0))
    return (total[i, ...] for i in range(total.shape[0]))


def target_centre_lines(px: Pixels, *, iterations: int = 10, **_: object) -> dict[str, object]:
    """The skeleton of the target."""
    check_space(px)
    return {"skeleton": target_skeleton(px, iterations), "iterations": iterations}


def overlap(px: Pixels, a: Array, b: Array) -> Array:
    """a b; of soft maps the lesser of both, so that equal maps overlap wholly."""
    return px.xp.minimum(a, b) if px.soft else a * b


def centre_line_overlap(px: Pixels, *, skeleton: Array, iterations: int) -> dict[str, Array]:
    """Sums of a block: skeleton of p inside of the target, skeleton of p, that of the target inside of p, that."""
    view = View(px)

    def terms(p: Array, piece: Piece, keep: int) -> list[Array]:
        of_p = soft_skeleton(px.xp, p, iterations, view.valid(piece), keep=keep)[:, :, piece.own, ...]
        of_t, p, t = view.prepared(skeleton, piece), p[:, :, piece.own, ...], view.target(piece)[:, :, piece.own, ...]
        return [overlap(px, of_p, t), of_p, overlap(px, of_t, p), of_t]

    return dict(zip(OVERLAPS, sums_of_pieces(px, iterations, terms), strict=True))


@takes(lambda **_: OVERLAPS)
def cldice(S: Sums, *, smooth: float = 0.0, **_: object) -> Array:
    """1 - 2 precision sensitivity / (precision + sensitivity), of skeletons (Shit 2021, Eqs. 1-3)."""
    return 1.0 - _harmonic_mean(S.xp, *(S.known[name] + smooth if smooth else S.known[name] for name in OVERLAPS))


def _harmonic_mean(xp: Namespace, a: Array, A: Array, b: Array, B: Array) -> Array:
    """2 (a/A) (b/B) / (a/A + b/B). b/B is 1 where B is 0 (nothing to be found), a/A is 1 where both are."""
    bare = B <= 0
    one = xp.ones_like(B)
    b, B = xp.where(bare, one, b), xp.where(bare, one, B)
    mean = divide(xp, 2.0 * a * b, a * B + b * A)
    return xp.where(bare & (A <= 0), one, mean)
