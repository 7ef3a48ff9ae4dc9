"""Losses around losses: at several scales, with a penalty on the parameters, weighted by learned uncertainties."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lossmith.core.face import of_one_shape
from lossmith.core.inputs import INPUTS
from lossmith.core.parameters import NONNEGATIVE
from lossmith.errors import must
from lossmith.torch.call import known_inputs
from lossmith.torch.loss import Loss
from lossmith.torch.sums import (
    Composition,
    leaves_of,
    name_of,
    names_of,
    parts_of,
    takers,
    times,
    together,
    values_at,
)

Kind = Literal["classification", "regression"]
KINDS = ("classification", "regression")


class DeepSupervision(Composition):
    r"""The multi-scale loss: one loss on the logits of several scales, finest first.

    .. math:: L = \sum_i w_i\, L_1(z_i, t_i)

    t_i is the target at the size of z_i, resampled to the nearest pixel (the one that the middle of the coarse pixel
    falls into), so that class indices stay class indices and ignored pixels ignored. Weight maps, images and distance
    maps are resampled alike; distances keep the unit of the pixels that they were measured in.

    Args:
        loss: any loss, a sum, or a module called as ``loss(logits, target)``.
        weights: w_i, one for each scale, taken as they are; a scale of weight 0 is not looked at. None: 1, 1/2, 1/4 and
            so on, divided by their sum, as in nnU-Net (which leaves the coarsest out: of three (2/3, 1/3, 0)).

    Called as ``loss([fine, coarse, ...], target, weight=None)`` on logits of any number of spatial dimensions, the
    first of the target's size. Target, weight and inputs may also be lists, one for each scale, for scales of your own
    making. A single tensor of logits is the plain loss, as a network in evaluation gives it.

    Source: Lee 2015 (deeply supervised nets); Dou 2016; Isensee 2021.

    >>> import torch
    >>> from lossmith.torch import CrossEntropyLoss
    >>> loss = DeepSupervision(CrossEntropyLoss("multiclass", ignore_index=255))
    >>> fine, coarse = torch.zeros(1, 4, 4, 4), torch.zeros(1, 4, 2, 2)
    >>> round(loss([fine, coarse], torch.randint(4, (1, 4, 4))).item(), 6)  # log 4
    1.386294
    >>> list(loss.terms)
    ['scale 0: 0.666667*ce', 'scale 1: 0.333333*ce']
    """

    def __init__(self, loss: nn.Module, weights: Sequence[float] | None = None) -> None:
        super().__init__()
        together([loss])
        self.loss = loss
        if weights is not None:
            for number in weights:
                NONNEGATIVE.check("weights", number)
            if not any(weights):
                raise ValueError(must("weights", "not all 0", list(weights)))
        self.weights = None if weights is None else tuple(float(number) for number in weights)

    def leaves(self) -> list[nn.Module]:
        """Itself: it looks at batches of its own."""
        return [self]

    def parts(self, values: Iterator[Tensor]) -> list[Tensor]:
        """Its value."""
        return [next(values)]

    def names(self) -> list[str]:
        """Its own."""
        return [name_of(self)]

    def forward(self, logits: Any, target: Any = None, weight: Any = None, **inputs: Any) -> Tensor:
        """The weighted sum over the scales."""
        known_inputs(takers(self), inputs)
        scales = [logits] if isinstance(logits, Tensor) else list(logits)
        factors = self._factors(len(scales), single=isinstance(logits, Tensor))
        parts: list[Tensor] = []
        for number, factor in enumerate(factors):
            if factor == 0:
                continue
            size = self._space(scales[number]) if number > 0 else ()
            values = values_at(
                leaves_of(self.loss),
                scales[number],
                _at("target", target, number, len(scales), size),
                _at("weight", weight, number, len(scales), size),
                _inputs_at(inputs, number, len(scales), size),
            )
            parts += [factor * value for value in parts_of(self.loss, iter(values))]
        of_one_shape(parts)
        return self._total(parts, lambda loss: loss._names_at(factors))

    def _names_at(self, factors: Sequence[float]) -> list[str]:
        return [
            f"scale {number}: {times(float(f'{factor:g}'), name)}"
            for number, factor in enumerate(factors)
            if factor
            for name in names_of(self.loss)
        ]

    def _factors(self, scales: int, *, single: bool) -> tuple[float, ...]:
        if single:
            return (1.0,)
        if scales == 0:
            raise ValueError(must("logits", "at least one scale", []))
        if self.weights is None:
            return tuple(2.0 ** (scales - 1 - i) / (2**scales - 1) for i in range(scales))
        if len(self.weights) != scales:
            raise ValueError(must("logits", f"of {len(self.weights)} scales, one for each weight", scales))
        return self.weights

    def _space(self, logits: Tensor) -> tuple[int, ...]:
        """The spatial shape of logits; binary ones may have no axis of channels."""
        tasks = {leaf.task for leaf in leaves_of(self.loss) if isinstance(leaf, Loss)}
        alone = "binary" in tasks and logits.ndim > 1 and logits.shape[1] != 1
        return tuple(logits.shape[1 if alone else 2 :])

    def extra_repr(self) -> str:
        """What ``repr`` shows."""
        return f"weights={self.weights}"


def _inputs_at(inputs: Mapping[str, Any], number: int, scales: int, size: tuple[int, ...]) -> dict[str, Tensor]:
    """The inputs at one scale; those without pixels are the same at all of them."""
    return {
        name: _at(name, value, number, scales, size if INPUTS[name].axes.endswith("*space") else ())
        for name, value in inputs.items()
    }


def _at(name: str, values: Any, number: int, scales: int, size: tuple[int, ...]) -> Any:
    """What belongs to one scale: of a list its own, of a tensor the nearest pixels."""
    if isinstance(values, list | tuple):
        if len(values) != scales:
            raise ValueError(must(name, f"a tensor or a list of {scales}, one for each scale", len(values)))
        return values[number]
    return _nearest(values, size) if isinstance(values, Tensor) else values


def _nearest(values: Tensor, size: tuple[int, ...]) -> Tensor:
    """The last axes at another size: of each coarse pixel the fine one at its middle."""
    first = values.ndim - len(size)
    for axis, wanted in enumerate(size, start=first):
        here = values.shape[axis] if first > 0 else wanted  # of too few axes: the loss says so
        if here != wanted:
            middle = 2 * torch.arange(wanted, device=values.device) + 1
            values = values.index_select(axis, middle * here // (2 * wanted))
    return values


class Regularized(Composition):
    r"""Structural risk: a loss plus the norm of the parameters.

    .. math:: L = L_1 + \lambda_1 \sum_j |w_j| + \frac{\lambda_2}{2} \sum_j w_j^2

    The gradient of the last term is lambda_2 w: with plain SGD it is that optimizer's `weight_decay`. (AdamW's is not
    the same, as that decay does not go through the moments.)

    Args:
        loss: any loss, a sum, or a module called as ``loss(logits, target)``. Its value must be one number, so its
            `reduction` not ``"none"``: the penalty belongs to no pixel.
        model: the module whose parameters are penalised, or the parameters themselves.
        l1: lambda_1 >= 0.
        l2: lambda_2 >= 0; not both 0.
        biases: of a module, also the parameters of fewer than two axes: biases, and scales and shifts of normalisation.

    Parameters that ask for no gradient are left out. The model is referred to, not owned: it is not in the `state_dict`
    or the parameters of the loss. Copy or pickle both together, else the copy is bound to a model of its own.

    Source: Vapnik 1992 (structural risk); l1: Tibshirani 1996; l2: Hoerl & Kennard 1970.

    >>> import torch
    >>> from lossmith.torch import CrossEntropyLoss
    >>> loss = Regularized(CrossEntropyLoss("binary"), [torch.tensor([3.0, -4.0], requires_grad=True)], l1=0.1, l2=0.01)
    >>> round(loss(torch.zeros(1, 1), torch.ones(1, dtype=torch.long)).item(), 6)  # log 2 + .1 * 7 + .005 * 25
    1.518147
    >>> {name: round(part.item(), 6) for name, part in loss.terms.items()}
    {'ce': 0.693147, '0.1*|w|': 0.7, '0.005*|w|^2': 0.125}
    """

    def __init__(
        self,
        loss: nn.Module,
        model: nn.Module | Iterable[Tensor],
        *,
        l1: float = 0.0,
        l2: float = 0.0,
        biases: bool = False,
    ) -> None:
        super().__init__()
        together([loss])
        NONNEGATIVE.check("l1", l1)
        NONNEGATIVE.check("l2", l2)
        if l1 == 0 and l2 == 0:
            raise ValueError(must("l1 and l2", "not both 0", (l1, l2)))
        self.loss = loss
        self.l1, self.l2, self.biases = float(l1), float(l2), biases
        # In a tuple, where torch does not look for modules and parameters of ours.
        self.model = (model,) if isinstance(model, nn.Module) else tuple(model)
        if not all(isinstance(part, nn.Module | Tensor) for part in self.model):
            raise TypeError(must("model", "a module or tensors", type(model).__name__))

    def penalised(self) -> list[Tensor]:
        """The parameters whose norm counts now."""
        return [weight for weight in self._weights() if weight.requires_grad]

    def _weights(self) -> Iterator[Tensor]:
        for part in self.model:
            if isinstance(part, Tensor):
                yield part
            else:
                yield from (weight for weight in part.parameters() if self.biases or weight.ndim > 1)

    def leaves(self) -> list[nn.Module]:
        """Those of the loss."""
        return leaves_of(self.loss)

    def parts(self, values: Iterator[Tensor]) -> list[Tensor]:
        """Those of the loss, and the penalties."""
        parts = parts_of(self.loss, values)
        like, weights = parts[0], [_wide(weight) for weight in self.penalised()]
        if like.ndim:
            raise ValueError(must("the value of a loss with a penalty", "one number", tuple(like.shape)))
        if self.l1:
            parts.append(self.l1 * _total([weight.abs().sum() for weight in weights], like))
        if self.l2:
            parts.append(0.5 * self.l2 * _total([weight.square().sum() for weight in weights], like))
        return parts

    def names(self) -> list[str]:
        """Those of the loss, and ``l1*|w|`` and ``l2/2*|w|^2`` with their numbers."""
        penalties = [(self.l1, "|w|"), (0.5 * self.l2, "|w|^2")]
        return [*names_of(self.loss), *(f"{factor:g}*{name}" for factor, name in penalties if factor)]

    def extra_repr(self) -> str:
        """What ``repr`` shows."""
        return f"l1={self.l1}, l2={self.l2}, biases={self.biases}"


def _wide(weight: Tensor) -> Tensor:
    return weight.float() if weight.dtype in (torch.float16, torch.bfloat16) else weight


def _total(sums: Sequence[Tensor], like: Tensor) -> Tensor:
    """The sum of numbers in the dtype of `like`."""
    total = like.new_zeros(())
    for one in sums:
        total = total + one.to(like)
    return total


class UncertaintyWeighted(Composition):
    r"""Losses weighted by what the model does not know of each: the log variances are learned.

    .. math:: L = \sum_k e^{-s_k} L_k + \frac{s_k}{2} \quad \text{(classification)}, \qquad
              L = \sum_k \tfrac{1}{2} e^{-s_k} L_k + \frac{s_k}{2} \quad \text{(regression)}

    with s_k = log sigma_k^2, the parameter `log_variances`, 0 at first. Give it to the optimizer:
    ``torch.optim.AdamW([*model.parameters(), *loss.parameters()])``.

    Args:
        losses: two or more losses, sums, or modules called as ``loss(logits, target)``.
        kinds: ``"classification"`` (Eq. 10: the softmax of logits divided by sigma^2; cross-entropy, and what stands
            for it) or ``"regression"`` (Eq. 5: a Gaussian of variance sigma^2; squared errors), for all or for each.

    Called on one batch, ``loss(logits, target)``, or for several tasks on lists with one entry for each loss,
    ``loss([logits_1, logits_2], [target_1, target_2], weight=[None, w_2])``.

    Range: below 0 too, where a loss is below 1/(2e) (regression: 1/e). At the best s_k a loss L_k adds
    (1 + log 2 L_k) / 2, for regression (1 + log L_k) / 2: what is minimised is their geometric mean.

    Source: Kendall 2018, Eqs. 5, 7 and 10.

    >>> import torch
    >>> from lossmith.torch import CrossEntropyLoss, DiceLoss
    >>> loss = UncertaintyWeighted([CrossEntropyLoss("binary"), DiceLoss("binary")])
    >>> value = loss(torch.zeros(1, 1, 2, 2), torch.tensor([[[1, 0], [0, 0]]]))
    >>> {name: round(part.item(), 4) for name, part in loss.terms.items()}
    {'ce / sigma^2': 0.6931, 'log sigma of ce': 0.0, 'dice / sigma^2': 0.6667, 'log sigma of dice': 0.0}
    """

    def __init__(self, losses: Iterable[nn.Module], kinds: Kind | Sequence[Kind] = "classification") -> None:
        super().__init__()
        self.losses = nn.ModuleList(losses)
        if len(self.losses) < 2:
            raise ValueError(must("losses", "at least two", len(self.losses)))
        self.kinds = (kinds,) * len(self.losses) if isinstance(kinds, str) else tuple(kinds)
        if len(self.kinds) != len(self.losses):
            raise ValueError(must("kinds", f"one, or one for each of {len(self.losses)} losses", list(self.kinds)))
        for kind in self.kinds:
            if kind not in KINDS:
                raise ValueError(must("kinds", "'classification' or 'regression'", kind))
        self.log_variances = nn.Parameter(torch.zeros(len(self.losses)))

    def leaves(self) -> list[nn.Module]:
        """Those of all losses."""
        return [leaf for loss in self.losses for leaf in leaves_of(loss)]

    def parts(self, values: Iterator[Tensor]) -> list[Tensor]:
        """Those of all losses, weighted, and the logarithms of sigma."""
        parts: list[Tensor] = []
        for number, (loss, kind) in enumerate(zip(self.losses, self.kinds, strict=True)):
            own = parts_of(loss, values)
            log_variance = self.log_variances[number].to(own[0].dtype)
            precision = torch.exp(-log_variance) * (0.5 if kind == "regression" else 1.0)
            parts += [*(precision * value for value in own), 0.5 * log_variance]
        return parts

    def names(self) -> list[str]:
        """Those of all losses over sigma^2 (regression: 2 sigma^2), and the logarithms of sigma."""
        found: list[str] = []
        for loss, kind in zip(self.losses, self.kinds, strict=True):
            by = "2 sigma^2" if kind == "regression" else "sigma^2"
            found += [*(f"{name} / {by}" for name in names_of(loss)), f"log sigma of {name_of(loss)}"]
        return found

    def forward(self, logits: Any, target: Any = None, weight: Any = None, **inputs: Tensor) -> Tensor:
        """The weighted sum, on one batch or on lists of them."""
        if isinstance(logits, Tensor):
            together(self.losses)
            return super().forward(logits, target, weight, **inputs)
        known_inputs(takers(self), inputs)
        found: list[Tensor] = []
        count = len(self.losses)
        for number, loss in enumerate(self.losses):
            one, truth, count_of = (
                _own(name, given, number, count)
                for name, given in (("logits", logits), ("target", target), ("weight", weight))
            )
            found += values_at(leaves_of(loss), one, truth, count_of, inputs)
        of_one_shape(found)
        return self._total(self.parts(iter(found)), type(self).names)

    def extra_repr(self) -> str:
        """What ``repr`` shows."""
        return f"kinds={self.kinds}"


def _own(name: str, given: Any, number: int, count: int) -> Any:
    """What belongs to one loss."""
    if given is None:
        return None
    if not isinstance(given, list | tuple) or len(given) != count:
        got = len(given) if isinstance(given, list | tuple) else type(given).__name__
        raise ValueError(must(name, f"a list of {count}, one for each loss", got))
    return given[number]
