"""Every loss as a function of JAX arrays, for `jit`, `grad` and `vmap`.

    loss = functools.partial(lossmith.jax.dice, task="multiclass", axis=-1)
    step = jax.jit(jax.value_and_grad(lambda params: loss(model(params, images), masks)))

The names are those of the spec language (`lossmith list`); ``help(dice)`` says what a loss takes. Task, axis and
parameters are Python values, constants of a trace. Bad values raise where they can be read; inside of a trace they
make the loss NaN. Measures of information are in `lossmith.jax.information`.
"""

from lossmith.core.catalogue import absent as _absent
from lossmith.core.functions import Function as _Function
from lossmith.jax.face import FACE as _FACE

_LOSSES = _FACE.losses(__name__)
globals().update(_LOSSES)
parse = _FACE.parse
__all__ = sorted([*_LOSSES, "parse"])


def __getattr__(name: str) -> _Function:
    """For type checkers, which cannot see what is made from the catalogue."""
    raise _absent(__name__, name, __all__)
