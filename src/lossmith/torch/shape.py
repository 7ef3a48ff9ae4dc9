"""Shape priors: distances between what prediction and target have in a model of shapes that was fitted to masks.

A prior is a module called as ``prior(logits, target)``; it works in sums, ``dice + 0.1 * prior``. It is fitted to the
masks of one size, and frozen: nothing in it learns while a network does.
"""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from lossmith.core.door import receive
from lossmith.core.namespaces.torch import xp
from lossmith.core.parameters import NONNEGATIVE, POSITIVE, Count, Label
from lossmith.core.pixels import Pixels, Task, check_task
from lossmith.core.spec import Atom
from lossmith.errors import must
from lossmith.torch.arguments import check_tensors
from lossmith.torch.autoencoder import decoder_of, encoder_of, train
from lossmith.torch.call import signed, unlabelled
from lossmith.torch.maps import maps_of, smooth_maps
from lossmith.torch.sums import SumLoss


class ShapePrior(nn.Module):
    """What shape priors share: the way from logits and target to maps, freezing, saving and loading."""

    __call__: Callable[..., Tensor]
    kind: ClassVar[str]
    name: ClassVar[str]
    mean: Tensor

    def __init__(self, task: Task, mean: Tensor, ignore_index: int | None = None) -> None:
        super().__init__()
        check_task(task)
        Label().check("ignore_index", ignore_index)
        self.task = task
        self.ignore_index = ignore_index
        self.register_buffer("mean", mean)

    def forward(self, logits: Tensor, target: Tensor | None = None, weight: Tensor | None = None) -> Tensor:
        """The distance of the prediction from the target, the mean over the images; see the class."""
        check_tensors(logits=logits, weight=weight)
        if weight is not None:
            raise ValueError(must("weight", "None for a shape prior, whose codes mix all pixels", tuple(weight.shape)))
        with torch.autocast(logits.device.type, enabled=False):
            px = self._opened(logits, target)
            p, mean = px.grid(px.probs), self.mean.to(px.like)
            if target is None:
                value = self.alone(p, mean)
            else:
                truth = px.grid(px.target)
                if px.weighted:  # at ignored pixels both are the mean shape
                    valid = px.grid(px.valid()) > 0
                    p, truth = torch.where(valid, p, mean), torch.where(valid, truth, mean)
                value = self.between(p, truth, mean)
            result: Tensor = px.flagged(value.mean() if len(logits) else value.sum())
            return result

    def _opened(self, logits: Tensor, target: Tensor | None) -> Pixels:
        """The batch, checked as that of any loss."""
        shape = tuple(self.mean.shape)
        if self.task == "binary" and tuple(logits.shape[1:]) == shape[1:]:
            logits = logits.unsqueeze(1)
        if tuple(logits.shape[1:]) != shape:
            raise ValueError(must("logits", f"of shape (N, {', '.join(map(str, shape))})", tuple(logits.shape)))
        labels = unlabelled(logits, None, self.task, None) if target is None else target
        check_tensors(target=labels)
        ignore_index = None if target is None else self.ignore_index
        return receive(xp, logits, signed(labels), task=self.task, ignore_index=ignore_index).open()

    def between(self, p: Tensor, truth: Tensor, mean: Tensor) -> Tensor:
        """The distance of each image's prediction from its target, (N,)."""
        raise NotImplementedError

    def alone(self, p: Tensor, mean: Tensor) -> Tensor:  # noqa: ARG002
        """The distance of each image's prediction from the model, (N,)."""
        raise TypeError(f"{type(self).__name__} must be called with a target")

    def train(self, mode: bool = True) -> Self:  # noqa: ARG002
        """A prior is never trained: it stays in evaluation mode."""
        return super().train(False)

    def save(self, path: str | Path) -> None:
        """Write the prior to a file, in the format of safetensors."""
        from safetensors.torch import save_file

        about = {"kind": self.kind, "task": self.task, "ignore_index": self.ignore_index, **self.settings()}
        tensors = {name: value.contiguous() for name, value in self.state_dict().items()}
        save_file(tensors, path, metadata={"lossmith": json.dumps(about)})

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The prior that was saved to a file; in a spec it is ``shape_pca(path=...)`` or ``shape_ae(path=...)``."""
        from safetensors import SafetensorError, safe_open

        expected = f"a file that {cls.__name__}.save wrote"
        try:
            with safe_open(path, framework="pt") as file:
                about = json.loads((file.metadata() or {}).get("lossmith", "{}"))
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise ValueError(must("path", expected, str(path))) from error
        if about.pop("kind", None) != cls.kind:
            raise ValueError(must("path", expected, str(path)))
        prior = cls.restored(tensors, about)
        prior._lossmith_atom = Atom(cls.name, {"path": str(path)})  # type: ignore[assignment]
        return prior

    def settings(self) -> dict[str, Any]:
        """What it takes beside the tensors to make the prior again."""
        return {}

    @classmethod
    def restored(cls, tensors: dict[str, Tensor], about: dict[str, Any]) -> Self:
        """The prior from its tensors and settings."""
        raise NotImplementedError

    def __add__(self, other: nn.Module) -> SumLoss:
        return SumLoss([(1.0, self)]) + other

    def __mul__(self, factor: float) -> SumLoss:
        return SumLoss([(1.0, self)]) * factor

    __rmul__ = __mul__


class PCAShapePrior(ShapePrior):
    r"""Distance between the coordinates of prediction and target in a linear model of masks.

    .. math:: L = \frac{1}{k} \sum_{i \le k} \frac{(u_i \cdot (p - t))^2}{\lambda_i}

    u_i are the principal components of the masks that the prior was fitted to, and \lambda_i their variances: a
    difference along a direction in which shapes vary little costs much. Without a target the loss is the mean squared
    distance of p from the span of the components, ``|x - U^T U x|^2 / n`` with x = p - mean and n values in an image:
    what no shape of the model has.

    Made by `fit`, or by `load`.

    Shapes:
        logits and target as in `CrossEntropyLoss`, of the masks' size. A pixel with `ignore_index` is as in the mean
        shape for both. A `weight` is refused: a code mixes all pixels.

    Range [0, inf), 0 where p = t.

    Source: Leventon 2000 (a linear model of signed distances); the distance between codes is Oktay 2018, Eq. 2.

    >>> import torch
    >>> masks = torch.tensor([[[0, 0, 1]], [[0, 1, 1]], [[1, 1, 1]]])  # bars of three lengths
    >>> prior = PCAShapePrior.fit(masks, "binary", components=1)
    >>> logits = 20.0 * (2 * masks[:, None].float() - 1)
    >>> round(prior(logits, masks).item(), 6), round(prior(logits[[2]], masks[[0]]).item(), 2)
    (0.0, 4.0)
    """

    kind = "pca"
    name = "shape_pca"
    components: Tensor
    variances: Tensor

    def __init__(
        self, task: Task, *, mean: Tensor, components: Tensor, variances: Tensor, ignore_index: int | None = None
    ) -> None:
        super().__init__(task, mean, ignore_index)
        self.register_buffer("components", components)
        self.register_buffer("variances", variances)

    @classmethod
    def fit(
        cls,
        masks: Tensor,
        task: Task,
        *,
        components: int = 16,
        classes: int | None = None,
        width: float = 0.0,
        ignore_index: int | None = None,
    ) -> "PCAShapePrior":
        """The prior of masks (M, *space) of class indices, for multilabel (M, K, *space).

        Args:
            masks: at least two, all of one size.
            task: ``"binary"``, ``"multiclass"`` or ``"multilabel"``.
            components: how many directions the model has, at most M - 1.
            classes: channels of the logits of a multiclass task; None: as many as the masks have labels, which must be
                all from 0 on.
            width: 0: the masks themselves; else the logistic function of the signed distance to their borders over
                this width in pixels, whose principal components are smooth.
            ignore_index: target value of pixels that do not count when the loss is called; in the masks they are
                background, label 0.
        """
        NONNEGATIVE.check("width", width)
        maps = maps_of(masks, task, classes, ignore_index)
        if isinstance(components, bool) or not isinstance(components, int) or not 0 < components < len(maps):
            raise ValueError(must("components", f"a whole number from 1 to {len(maps) - 1}", components))
        maps = maps if width == 0 else smooth_maps(maps, width)
        mean = maps.mean(0)
        _, scale, directions = torch.linalg.svd((maps - mean).flatten(1), full_matrices=False)
        variances = scale[:components] ** 2 / (len(maps) - 1)
        if not bool(variances[-1] > 1e-10 * variances[0]):
            kept = int((variances > 1e-10 * variances[0]).sum())
            raise ValueError(must("components", f"at most {kept}, in which these masks differ", components))
        return cls(
            task,
            mean=mean.float(),
            components=directions[:components].float(),
            variances=variances.float(),
            ignore_index=ignore_index,
        )

    def between(self, p: Tensor, truth: Tensor, mean: Tensor) -> Tensor:  # noqa: ARG002
        """See the class."""
        codes = (p - truth).flatten(1) @ self.components.to(p).T
        return (codes**2 / self.variances.to(p)).mean(1)

    def alone(self, p: Tensor, mean: Tensor) -> Tensor:
        """See the class."""
        x, U = (p - mean).flatten(1), self.components.to(p)
        return ((x - x @ U.T @ U) ** 2).mean(1)

    @classmethod
    def restored(cls, tensors: dict[str, Tensor], about: dict[str, Any]) -> Self:
        """See `ShapePrior`."""
        mean, components, variances = (tensors[name] for name in ("mean", "components", "variances"))
        return cls(mean=mean, components=components, variances=variances, **about)


class AutoEncoderShapePrior(ShapePrior):
    r"""Distance between the codes of prediction and target in an autoencoder of masks.

    .. math:: L = \frac{1}{k} \sum_{i \le k} \frac{(f_i(p) - f_i(t))^2}{\sigma_i^2}

    f is the encoder of a small convolutional autoencoder trained to give masks back, \sigma_i the standard deviation of
    a code over them. The encoder is frozen; the gradient goes through it to the logits.

    Made by `fit`, by `load`, or with an `encoder` of one's own, a module from maps (N, C, \*space) to codes (N, k), the
    `mean` (C, \*space) of the masks and the `deviation` (k) of their codes; that one cannot be saved.

    Shapes:
        as `PCAShapePrior`, with 2 or 3 axes of space. It has no value without a target.

    Range [0, inf), 0 where p = t.

    Source: Oktay 2018 (anatomically constrained networks), Eq. 2; the codes are divided by their deviation, so that the
    value does not depend on the scale that the autoencoder happened to find.

    >>> import torch
    >>> masks = torch.eye(4).repeat(1, 4).view(4, 4, 4).long()  # bars in four places
    >>> prior = AutoEncoderShapePrior.fit(masks, "binary", components=2, width=2, epochs=1)
    >>> logits = 40.0 * (2 * masks[:, None].float() - 1)
    >>> round(prior(logits, masks).item(), 6), prior(logits, masks.flip(0)).item() > 0
    (0.0, True)
    """

    kind = "autoencoder"
    name = "shape_ae"
    deviation: Tensor

    def __init__(
        self,
        task: Task,
        *,
        mean: Tensor,
        deviation: Tensor,
        width: int = 16,
        encoder: nn.Module | None = None,
        ignore_index: int | None = None,
    ) -> None:
        super().__init__(task, mean, ignore_index)
        self.width = width
        self.register_buffer("deviation", deviation)
        self.encoder = encoder if encoder is not None else encoder_of(mean, len(deviation), width)
        self.requires_grad_(False)
        self.train(False)

    @classmethod
    def fit(
        cls,
        masks: Tensor,
        task: Task,
        *,
        components: int = 32,
        classes: int | None = None,
        width: int = 16,
        epochs: int = 40,
        batch: int = 16,
        lr: float = 1e-3,
        seed: int = 0,
        ignore_index: int | None = None,
    ) -> "AutoEncoderShapePrior":
        """Train the autoencoder on masks, see `PCAShapePrior.fit`, and keep its encoder.

        Args:
            masks: as in `PCAShapePrior.fit`.
            task: as there.
            components: numbers in a code.
            classes: as there.
            width: channels of the first layer; the second has twice as many, the third four times.
            epochs: passes over the masks, by Adam and cross-entropy.
            batch: masks of a step.
            lr: the learning rate.
            seed: decides initial weights and order; the random state of torch stays as it was.
            ignore_index: as in `PCAShapePrior.fit`.
        """
        numbers = {"components": components, "width": width, "epochs": epochs, "batch": batch}
        for name, number in numbers.items():
            Count(1).check(name, number)
        POSITIVE.check("lr", lr)
        Count().check("seed", seed)
        maps = maps_of(masks, task, classes, ignore_index).float()
        if maps.ndim not in (4, 5):
            raise ValueError(must("masks", "of 2 or 3 spatial axes", tuple(masks.shape)))
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.manual_seed(seed)
            encoder = encoder_of(maps[0], components, width)
            decoder = decoder_of(maps[0], components, width)
            train(nn.Sequential(encoder, decoder), maps, task, epochs=epochs, batch=batch, lr=lr)
        with torch.no_grad():
            codes = torch.cat([encoder(part) for part in maps.split(batch)])  # type: ignore[no-untyped-call]
        spread = float(codes.std(0).max())
        if not 0 < spread < math.inf:
            raise ValueError(must("codes of the masks", "finite and different: other masks, or a lower lr", spread))
        deviation = codes.std(0).clamp(min=1e-3 * float(codes.std()))
        return cls(
            task, mean=maps.mean(0), deviation=deviation, width=width, encoder=encoder, ignore_index=ignore_index
        )

    def between(self, p: Tensor, truth: Tensor, mean: Tensor) -> Tensor:  # noqa: ARG002
        """See the class."""
        dtype = self.mean.dtype
        codes = (self.encoder(p.to(dtype)) - self.encoder(truth.to(dtype))) / self.deviation
        distance: Tensor = (codes**2).mean(1).to(p.dtype)
        return distance

    def settings(self) -> dict[str, Any]:
        """See `ShapePrior`; a file has no code, so it cannot hold an encoder that is not ours."""
        ours = encoder_of(self.mean, len(self.deviation), self.width).state_dict()
        if _shapes(ours) != _shapes(self.encoder.state_dict()):
            raise ValueError(must("encoder of a prior that is saved", "that of `fit`", type(self.encoder).__name__))
        return {"width": self.width}

    @classmethod
    def restored(cls, tensors: dict[str, Tensor], about: dict[str, Any]) -> Self:
        """See `ShapePrior`."""
        prior = cls(mean=tensors["mean"], deviation=tensors["deviation"], **about)
        prior.load_state_dict(tensors)
        return prior


def _shapes(state: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in state.items()}
