"""Pixels together with those around them: sums and maxima over windows, differences of neighbours.

Arrays are (N, k, *space). A window is a square (in 3-D a cube) of 2 radius + 1 pixels; what of it lies outside of the
image is not there.
"""

from lossmith.core.namespaces import Array, Namespace


def along(x: Array, axis: int, start: int, stop: int) -> Array:
    """The part of an axis from `start` to `stop`."""
    return x[(*(slice(None),) * axis, slice(start, stop), ...)]


def window_sum(xp: Namespace, x: Array, radius: int) -> Array:
    """The sum of each pixel's window, by running sums: the cost does not depend on the radius."""
    for axis in range(2, len(x.shape)):
        size = x.shape[axis]
        if size < 2 or radius == 0:
            continue
        reach = min(radius, size - 1)
        edge = [xp.zeros_like(along(x, axis, 0, 1))]
        running = xp.cumulative_sum(xp.concat([*edge * (reach + 1), x, *edge * reach], axis=axis), axis=axis)
        x = along(running, axis, 2 * reach + 1, size + 2 * reach + 1) - along(running, axis, 0, size)
    return x


def window_max(xp: Namespace, x: Array, radius: int) -> Array:
    """The greatest value of each pixel's window."""
    for axis in range(2, len(x.shape)):
        for _ in range(min(radius, x.shape[axis] - 1)):
            x = xp.line_max(x, axis=axis)
    return x


def window_min(xp: Namespace, x: Array, radius: int) -> Array:
    """The least value of each pixel's window."""
    for axis in range(2, len(x.shape)):
        for _ in range(min(radius, x.shape[axis] - 1)):
            x = xp.line_min(x, axis=axis)
    return x


def cross_sum(xp: Namespace, x: Array) -> Array:
    """The sum of each pixel and its neighbours along the axes, outside of the image 0."""
    total = x
    for axis in range(2, len(x.shape)):
        size = x.shape[axis]
        edge = xp.zeros_like(along(x, axis, 0, 1))
        total = total + xp.concat([along(x, axis, 1, size), edge], axis=axis)
        total = total + xp.concat([edge, along(x, axis, 0, size - 1)], axis=axis)
    return total


def differences(xp: Namespace, x: Array, valid: Array | None = None) -> list[Array]:
    """From each pixel to the next along every axis; 0 beyond the edge, and where one of both is not valid (0)."""
    found = []
    for axis in range(2, len(x.shape)):
        size = x.shape[axis]
        step = along(x, axis, 1, size) - along(x, axis, 0, size - 1)
        if valid is not None:
            step = step * along(valid, axis, 1, size) * along(valid, axis, 0, size - 1)
        edge = xp.zeros_like(along(x, axis, 0, min(1, size)))
        found.append(xp.concat([step, edge], axis=axis))
    return found
