"""Pixel losses: a term for every pixel, then the weighted mean."""

from typing import Any, Literal, Unpack

import torch
from torch import Tensor

from lossmith.core.pixels import Task
from lossmith.core.records import choice
from lossmith.torch.loss import Door, Loss, Numbers
from lossmith.torch.parse import inner_loss
from lossmith.torch.presets import preset
from lossmith.torch.sums import SumLoss


class PixelOptions(Door, total=False):
    """Options of pixel losses."""

    class_weight: Numbers | None


class CrossEntropyLoss(Loss, name="ce"):
    r"""Cross-entropy: softmax for multiclass, sigmoid (BCE) for binary and multilabel.

    .. math:: L = \frac{\sum_i w_i\, a_{t_i} (-\log p_{t_i})}{\sum_i w_i\, a_{t_i}}

    Args:
        task: ``"binary"``, ``"multiclass"`` or ``"multilabel"``.
        label_smoothing: e in [0, 1); the target becomes (1-e) t + e/C, with C = 2 for sigmoid tasks.
        class_weight: a, one number for each class; binary: (background, foreground); multilabel: one for each
            channel. A list is kept in the default dtype, a tensor in its own (give float64 for float64 logits).
        ignore_index: target value of pixels that do not count.
        reduction: ``"mean"`` (divides by the summed weights, as torch does for class indices), ``"sum"`` or ``"none"``.
        from_logits: False where the first argument holds probabilities.
        process_group: the processes of which each has a part of the batch: ``"world"`` or a torch.distributed group.
            Value and gradient are then those of the whole batch; see the page "Exact across processes".

    Shapes:
        logits (N, C, \*space), binary also (N, 1, \*space) or (N, \*space); target (N, \*space) class indices or
        the logits' shape, one-hot or soft; weight (N, \*space). Value: a scalar, for ``"none"`` the shape
        (N, \*space), multilabel (N, C, \*space).

    Range [0, inf); 0 for a certain, right prediction. A class without pixels adds nothing.

    Source: Bridle 1990; label smoothing: Szegedy 2016, sec. 7.

    >>> import torch
    >>> loss = CrossEntropyLoss("multiclass", ignore_index=255)
    >>> round(loss(torch.zeros(1, 4, 1, 2), torch.tensor([[[3, 255]]])).item(), 6)  # log 4
    1.386294
    """

    def __init__(self, task: Task, *, label_smoothing: float = 0.0, **options: Unpack[PixelOptions]) -> None:
        super().__init__(task, label_smoothing=label_smoothing, **options)


class WeightedCrossEntropyLoss(Loss, name="wce"):
    r"""Cross-entropy with class weights taken from the class counts of the data, or of each batch.

    .. math:: L = \frac{\sum_i w_i\, a_{t_i} (-\log p_{t_i})}{\sum_i w_i\, a_{t_i}}

    with, for n_c pixels of class c out of N,

    - ``"batch"``: a_c = (N - n_c) / N, the background's times `lam`: for binary tasks the balance of HED,
      positives N-/N, negatives
      `lam` N+/N; RCF takes lam = 1.1. Always counted in the batch; a batch of one
      class alone, which this would leave without gradient, is plain cross-entropy.
    - ``"inverse"``: a_c = N / (C n_c).
    - ``"median_frequency"``: a_c = median(f) / f_c, f_c = n_c / (pixels of the images that contain c).
    - ``"effective_number"``: a_c = (1 - beta) / (1 - beta^n_c), scaled to sum to C.

    A class without pixels gets the largest weight of the others.

    Args:
        task: ``"binary"``, ``"multiclass"`` or ``"multilabel"`` (each channel is balanced by itself).
        balance: one of the four.
        lam: factor on the background's weight, ``"batch"`` only.
        beta: of ``"effective_number"``, in (0, 1).
        counts: class counts of the data set, (C, 2), binary (2, 2), multilabel (C, 2, 2): pixels of the class,
            pixels of the images that
            contain it; see `class_counts`. None: those that `fit` gives, else the counts of each batch.
        ignore_index, reduction, from_logits, process_group: as in `CrossEntropyLoss`; so are shapes, range and weight.

    Sources: Xie & Tu 2015 (HED), Eq. 2; Liu 2017 (RCF), Eq. 1; Eigen & Fergus 2015, sec. 6.2; Cui 2019, Eq. 2. The
    mean divides by the
    weights, which the papers' sums do not.

    >>> import torch
    >>> loss = WeightedCrossEntropyLoss("binary", balance="batch")
    >>> value = loss(torch.tensor([[2.0, 0.0, 0.0, 0.0]]), torch.tensor([[1, 0, 0, 0]]))
    >>> round(value.item(), 6)  # (3/4 log(1 + e^-2) + 3/4 log 2) / (3/2)
    0.410038
    """

    def __init__(
        self,
        task: Task,
        *,
        balance: Literal["batch", "inverse", "median_frequency", "effective_number"] = "batch",
        lam: float = 1.0,
        beta: float = 0.9999,
        counts: Numbers | None = None,
        **options: Unpack[Door],
    ) -> None:
        super().__init__(task, balance=balance, lam=lam, beta=beta, **options)
        del self.settings["counts"]
        self.register_buffer("counts", None)
        if counts is not None:
            self.use(torch.as_tensor(counts))

    def use(self, counts: Tensor) -> None:
        """Take class counts of a data set, as the argument `counts`."""
        choice.counts_of_classes(task=self.task, counts=counts.tolist())
        self.counts = counts.long().clone()

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """A loss that was fitted is restored into one that was not."""
        saved = state_dict.get(f"{prefix}counts")
        if saved is not None:
            self.use(saved)
        super()._load_from_state_dict(state_dict, prefix, *rest)


class FocalLoss(Loss, name="focal"):
    r"""Focal loss: cross-entropy that turns away from easy pixels.

    .. math:: L = \mathrm{mean}_i\; -\alpha_{t_i} (1 - p_{t_i})^\gamma \log p_{t_i}

    softmax form for multiclass, sigmoid form for binary and multilabel.

    Args:
        task: ``"binary"``, ``"multiclass"`` or ``"multilabel"``.
        gamma: focusing, >= 0. gamma = 0 without alpha is `CrossEntropyLoss`.
        alpha: None; a number in [0, 1] for foreground, 1 - alpha for background (class 0), so that a binary
            problem and its two-class
            form agree; or one number for each class (binary: background, foreground;
            multilabel: alpha of each channel, 1 - alpha where it is absent). It is a factor: the mean
            does not divide by it.
        normalize: ``"pixels"``; ``"positives"`` to divide by the foreground pixels as RetinaNet does (by 1 if
            there are none); or ``"elements"``, pixels times classes whatever the class weights, as MONAI and kornia do.
        one_vs_rest: a multiclass pixel is one binary decision for each class, by sigmoid, and costs their sum, as in
            RetinaNet; needs logits. alpha is then that of each decision, as for multilabel.
        class_weight, ignore_index, reduction, from_logits, process_group: as in `CrossEntropyLoss`; so are shapes,
            range and weight.

    Source: Lin 2017, Eqs. 4 and 5; gradients stay finite at p_t = 1 also for gamma < 1.

    >>> import torch
    >>> round(FocalLoss("binary", alpha=0.25)(torch.zeros(1, 1), torch.ones(1)).item(), 6)  # log(2) / 4 / 4
    0.043322
    """

    def __init__(
        self,
        task: Task,
        *,
        gamma: float = 2.0,
        alpha: float | Numbers | None = None,
        normalize: Literal["pixels", "positives", "elements"] = "pixels",
        one_vs_rest: bool = False,
        **options: Unpack[PixelOptions],
    ) -> None:
        super().__init__(task, gamma=gamma, alpha=alpha, normalize=normalize, one_vs_rest=one_vs_rest, **options)

    @classmethod
    def like(cls, library: Literal["monai", "smp", "kornia", "keras"], task: Task, **options: Any) -> Loss | SumLoss:
        """The focal loss with the number of another library's class at its defaults; see `DiceLoss.like`.

        kornia: its mean (the default is a map), and no alpha, which it has no default for.

        >>> FocalLoss.like("keras", "multiclass").spec
        '0.25*focal'
        """
        return preset("focal", library, task, options)


class MSELoss(Loss, name="mse"):
    r"""Mean squared error of the probabilities against the (one-hot) target; the Brier score.

    .. math:: L = \frac{\sum_i w_i (p_i - t_i)^2}{\sum_i w_i}

    multiclass: the mean over the classes of a pixel, so that it agrees with ``F.mse_loss(probs, one_hot)``.

    Args:
        task: ``"binary"``, ``"multiclass"`` or ``"multilabel"``.
        foreground_weight: weight of foreground pixels (multiclass: all classes but 0); 8 gives the 8:1 weighted
            MSE. The mean divides by the weights.
        class_weight, ignore_index, reduction, from_logits, process_group: as in `CrossEntropyLoss`; so are shapes and
            weight.

    Range [0, 1] for hard targets; 0 at the target itself. Source: Brier 1950.

    >>> import torch
    >>> value = MSELoss("binary", foreground_weight=8)(torch.tensor([[0.0, -50.0]]), torch.tensor([[1, 0]]))
    >>> round(value.item(), 6)  # (8/4) / 9
    0.222222
    """

    def __init__(self, task: Task, *, foreground_weight: float = 1.0, **options: Unpack[PixelOptions]) -> None:
        super().__init__(task, foreground_weight=foreground_weight, **options)


class L1Loss(Loss, name="l1"):
    r"""Mean absolute error of the probabilities against the (one-hot) target.

    .. math:: L = \frac{\sum_i w_i |p_i - t_i|}{\sum_i w_i}

    Args:
        task: ``"binary"``, ``"multiclass"`` or ``"multilabel"``.
        foreground_weight: as in `MSELoss`.
        class_weight, ignore_index, reduction, from_logits, process_group: as in `CrossEntropyLoss`; so are shapes and
            weight.

    Range [0, 1] for hard targets; 0 at the target itself. Noise-tolerant for symmetric label noise. Source: Ghosh 2017.

    >>> import torch
    >>> round(L1Loss("binary")(torch.zeros(1, 2), torch.tensor([[1, 0]])).item(), 6)
    0.5
    """

    def __init__(self, task: Task, *, foreground_weight: float = 1.0, **options: Unpack[PixelOptions]) -> None:
        super().__init__(task, foreground_weight=foreground_weight, **options)


class SmoothL1Loss(Loss, name="smooth_l1"):
    r"""Squared error for small, absolute error for large differences of probabilities.

    .. math:: d = |p - t|,\qquad L_i = d^2 / (2 \beta) \text{ if } d < \beta,\text{ else } d - \beta/2

    Args:
        task: ``"binary"``, ``"multiclass"`` or ``"multilabel"``.
        beta: > 0, where the square turns into a line; beta -> 0 is `L1Loss`, beta = 1 is half of `MSELoss`.
        foreground_weight, class_weight, ignore_index, reduction, from_logits, process_group: as in `MSELoss`; so are
            shapes and
            weight.

    Range [0, 1). Source: Girshick 2015, Eq. 3.

    >>> import torch
    >>> round(SmoothL1Loss("binary", beta=0.25)(torch.zeros(1, 2), torch.tensor([[1, 0]])).item(), 6)
    0.375
    """

    def __init__(
        self,
        task: Task,
        *,
        beta: float = 1.0,
        foreground_weight: float = 1.0,
        **options: Unpack[PixelOptions],
    ) -> None:
        super().__init__(task, beta=beta, foreground_weight=foreground_weight, **options)


class _HardExamples(Loss):
    """What losses share that keep the hard examples of a pixel loss."""

    loss: Loss

    def __init__(self, task: Task, loss: Loss | str, **parameters: object) -> None:
        super().__init__(task, loss=inner_loss(task, loss, "one pixel loss"), **parameters)


class TopKLoss(_HardExamples, name="topk"):
    r"""The worst fraction k of the batch's pixels, by a pixel loss.

    .. math:: L = \frac{1}{k N} \sum_{i \le k N} \ell_{(i)}, \qquad \ell_{(1)} \ge \ell_{(2)} \ge \dots

    The conditional value at risk of the pixel losses. k N need not be whole: the last pixel counts in part, and
    pixels of equal loss
    share alike, so a pixel of weight 2 is exactly a pixel counted twice.

    Args:
        task: ``"binary"``, ``"multiclass"`` or ``"multilabel"``.
        k: the fraction kept, in (0, 1]; k = 1 is the pixel loss itself.
        loss: a pixel loss, or its spec.
        ignore_index, reduction, from_logits, process_group: as in `CrossEntropyLoss`; so are shapes, range and weight.

    Sources: Wu 2016, sec. 3; Rockafellar & Uryasev 2000.

    >>> import torch
    >>> round(TopKLoss("binary", k=0.5, loss="l1")(torch.tensor([[0.0, 50.0]]), torch.tensor([[1, 1]])).item(), 6)
    0.5
    """

    def __init__(self, task: Task, *, k: float = 0.1, loss: Loss | str = "ce", **options: Unpack[Door]) -> None:
        super().__init__(task, loss, k=k, **options)


class OhemLoss(_HardExamples, name="ohem"):
    r"""Online hard example mining: all pixels with p_t below a threshold, and at least `min_kept` of them.

    .. math:: L = \mathrm{mean}\,\{\ell_i : p_{t_i} < \tau\} \cup \{\text{the min\_kept lowest } p_t\}

    Args:
        task: ``"binary"``, ``"multiclass"`` or ``"multilabel"``.
        threshold: tau in [0, 1]; 1 keeps every pixel that is not certain.
        min_kept: pixels of the batch kept at least, >= 1; all where there are fewer.
        loss: a pixel loss, or its spec.
        ignore_index, reduction, from_logits, process_group: as in `CrossEntropyLoss`; so are shapes, range and weight.

    Source: Shrivastava 2016, sec. 4.

    >>> import torch
    >>> loss = OhemLoss("binary", threshold=0.9, min_kept=1)
    >>> round(loss(torch.tensor([[0.0, 50.0]]), torch.tensor([[1, 1]])).item(), 6)
    0.693147
    """

    def __init__(
        self,
        task: Task,
        *,
        threshold: float = 0.7,
        min_kept: int = 10_000,
        loss: Loss | str = "ce",
        **options: Unpack[Door],
    ) -> None:
        super().__init__(task, loss, threshold=threshold, min_kept=min_kept, **options)


class MissingAnnotationLoss(Loss, name="missing"):
    r"""Cross-entropy that forgives background where an object without annotation is predicted.

    .. math:: L = \frac{\sum_i w_i m_i (-\log p_{t_i})}{\sum_i w_i m_i}

    m = 0 for background pixels whose argmax is a class c > 0 of which the image has no labelled pixel, 1 for all
    others. Equal to cross-entropy where every predicted class is labelled in the image.

    Args:
        task: ``"binary"`` or ``"multiclass"``; class 0 is the background.
        class_weight, ignore_index, reduction, from_logits, process_group: as in `CrossEntropyLoss`; so are shapes,
            range and weight.

    Source: none; the definition is this one.

    >>> import torch
    >>> logits = torch.tensor([[[0.0, 0.0], [-9.0, 5.0]]])  # the second pixel looks like class 1 ...
    >>> loss = MissingAnnotationLoss("multiclass")
    >>> round(loss(logits, torch.tensor([[0, 0]])).item(), 6)  # ... which this image never labels
    0.000123
    """

    def __init__(self, task: Task, **options: Unpack[PixelOptions]) -> None:
        super().__init__(task, **options)
