"""Every loss as a plain function on NumPy arrays, computed in float64: to look at a network's output by hand.

>>> from lossmith.numpy import dice, giou
>>> dice([[2.0, -1.0, 0.5]], [[1, 0, 1]], task="binary")
0.2029811390031664
>>> giou([[0.0, 0.0, 2.0, 2.0]], [[1.0, 0.0, 3.0, 2.0]], reduction="none")
array([0.66666667])

The names are those of the spec language (`lossmith list`); ``help(dice)`` says what a loss takes. No framework is
imported. Measures of information are in `lossmith.numpy.information`.
"""

from lossmith.core.catalogue import absent as _absent
from lossmith.core.functions import Function as _Function
from lossmith.numpy.face import FACE as _FACE

_LOSSES = _FACE.losses(__name__)
globals().update(_LOSSES)
parse = _FACE.parse
__all__ = sorted([*_LOSSES, "parse"])


def __getattr__(name: str) -> _Function:
    """For type checkers, which cannot see what is made from the catalogue."""
    raise _absent(__name__, name, __all__)
