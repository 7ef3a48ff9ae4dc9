"""Losses that are wrong, each in a way that some library or blog post is, with the law that finds it out."""

import torch
from torch import nn


def brier(logits, target):
    """A sound loss to spoil: the mean squared error of binary probabilities."""
    return ((logits[:, 0].sigmoid() - target.to(logits.dtype)) ** 2).mean()


class Spoilt(nn.Module):
    """A module with every option of the contract; subclasses spoil one."""

    def __init__(self, ignore_index=None, reduction="mean", from_logits=True):
        super().__init__()
        self.ignore_index, self.reduction, self.from_logits = ignore_index, reduction, from_logits

    def forward(self, logits, target, weight=None):
        return brier(logits, target)


class MultipliesByMask(nn.Module):
    """Masks by multiplying logits: the ignored pixel still counts (a fault seen in the wild)."""

    def __init__(self, ignore_index: int = -100) -> None:
        super().__init__()
        self.ignore_index = ignore_index

    def forward(self, logits, target):
        mask = (target != self.ignore_index).unsqueeze(1).to(logits.dtype)
        return nn.functional.binary_cross_entropy_with_logits(logits * mask, target.unsqueeze(1) * mask)


class Remembers(nn.Module):
    def forward(self, logits, target):
        self.calls = getattr(self, "calls", 0) + 1
        return nn.functional.binary_cross_entropy_with_logits(logits[:, 0], target.to(logits.dtype))


def faulty_dice(logits, target):
    """Dice with the usual epsilon: no gradient on an empty image, and half precision overflows."""
    p, t = logits.sigmoid().flatten(1), target.flatten(1).to(logits.dtype)
    return (1 - 2 * (p * t).sum(1) / (p.sum(1) + t.sum(1) + 1e-5)).mean()


def clamped(logits, target):
    p = logits[:, 0].sigmoid().clamp(1e-3, 1 - 1e-3)
    t = target.to(p.dtype)
    return -(t * p.log() + (1 - t) * (1 - p).log()).mean()


def upside_down(logits, target):
    return (logits[:, 0].sigmoid() * target).mean()


def by_position(logits, target):
    ramp = torch.linspace(0, 1, logits[0].numel(), dtype=logits.dtype).view_as(logits[0])
    return (ramp * (logits.sigmoid() - target.unsqueeze(1)) ** 2).mean()


def value_dependent(logits, target):
    error = ((logits[:, 0].sigmoid() - target) ** 2).mean()
    return error if error > 0.1 else 2 * error


def broadcasting(logits, target):
    return ((logits[:, 0].sigmoid() - target) ** 2).mean()


def hides_nan(logits, target):
    return ((logits[:, 0].nan_to_num().sigmoid() - target) ** 2).mean()


def noisy(logits, target):
    return ((logits[:, 0].sigmoid() - target) ** 2).mean() * torch.rand(())


def in_place(logits, target):
    target.mul_(1)
    target.clamp_(0, 0)
    return (logits[:, 0].sigmoid() - target).abs().mean()


def in_half(logits, target):
    return (1 + (logits[:, 0].sigmoid() - target.to(logits.dtype)) ** 2).sum() / target.numel()


class HalvesWhenIgnoring(Spoilt):
    def forward(self, logits, target, weight=None):
        return brier(logits, target) * (1.0 if self.ignore_index is None else 0.5)


class UnitOfWeights(Spoilt):
    def forward(self, logits, target, weight=None):
        error = (logits[:, 0].sigmoid() - target) ** 2
        return (error if weight is None else weight * error).mean()


class SumIsMean(Spoilt):
    def forward(self, logits, target, weight=None):
        error = (logits[:, 0].sigmoid() - target) ** 2
        return error if self.reduction == "none" else error.mean()


class Unpicklable(Spoilt):
    def __init__(self):
        super().__init__()
        self.function = lambda: None


def log_of_zero(logits, target):
    p = logits[:, 0].sigmoid()
    return -(target * p.log() + (1 - target) * (1 - p).log()).mean()


def half_the_gradient(logits, target):
    error = logits[:, 0].sigmoid() - target
    return (error * error.detach()).mean()


def uphill(logits, target):
    value = brier(logits, target)
    return 2 * value.detach() - value


def summed_over_images(logits, target):
    return brier(logits, target) * logits.shape[0]


def divides_by_width(logits, target):
    return brier(logits, target) / logits.shape[-1]


def matrix_product(logits, target):
    error = (logits[:, 0].sigmoid() - target).flatten()[None] ** 2
    return ((1000 + error) @ torch.ones_like(error).T).squeeze() - 1000 * error.numel()


class _OnceOnly(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**2

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, slope):
        (x,) = ctx.saved_tensors
        return 2 * x * slope


def once_differentiable(logits, target):
    return _OnceOnly.apply(logits[:, 0].sigmoid() - target).mean()


class _Forgets(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return (x**2).mean()

    @staticmethod
    def backward(ctx, slope):
        (x,) = ctx.saved_tensors
        return 2 * x / x.numel()


def forgets_the_incoming_gradient(logits, target):
    return _Forgets.apply(logits[:, 0].sigmoid() - target)


def reads_memory_order(logits, target):
    flat = torch.as_strided(logits, (target.numel(),), (1,))
    return ((flat.sigmoid() - target.flatten()) ** 2).mean()


def wraps_around(logits, target):
    return ((logits[:, 0].sigmoid() + (-target)) ** 2).mean()


FAULTS = [
    (log_of_zero, "finite_for_finite_logits"),
    (half_the_gradient, "gradient_is_the_derivative"),
    (noisy, "gradient_is_the_derivative"),
    (uphill, "a_step_downhill_lowers_it"),
    (clamped, "truth_costs_least"),
    (upside_down, "truth_costs_least"),
    (brier, "value_inside_its_range"),  # against a declared range of [0, 0.01]
    (MultipliesByMask, "ignored_pixels_do_not_count"),
    (HalvesWhenIgnoring, "ignoring_nothing_changes_nothing"),
    (MultipliesByMask, "all_ignored_costs_nothing"),
    (Spoilt, "weight_counts_pixels"),
    (UnitOfWeights, "weight_counts_pixels"),
    (UnitOfWeights, "scaling_all_weights_changes_nothing"),
    (UnitOfWeights, "impossible_weights_are_refused"),
    (SumIsMean, "reductions_agree"),
    (summed_over_images, "repeating_the_batch_changes_nothing"),
    (by_position, "order_does_not_matter"),
    (divides_by_width, "any_number_of_dimensions"),
    (faulty_dice, "an_empty_class_pushes_false_positives_down"),
    (faulty_dice, "empty_predicted_empty_costs_nothing"),
    (in_half, "half_precision_is_widened"),
    (matrix_product, "autocast_changes_nothing"),
    (value_dependent, "compiles_in_one_graph"),
    (value_dependent, "function_transforms_work"),
    (once_differentiable, "differentiable_twice"),
    (forgets_the_incoming_gradient, "the_incoming_gradient_counts"),
    (Unpicklable, "survives_pickling_and_copying"),
    (Remembers, "leaves_everything_as_it_was"),
    (in_place, "leaves_everything_as_it_was"),
    (noisy, "leaves_everything_as_it_was"),
    (reads_memory_order, "memory_layout_does_not_matter"),
    (wraps_around, "target_dtype_does_not_matter"),
    (broadcasting, "one_hot_is_the_same_target"),
    (Spoilt, "probabilities_are_the_same_input"),
    (broadcasting, "bad_input_is_refused"),
    (hides_nan, "nan_stays_visible"),
    (brier, "an_empty_batch_is_harmless"),
]
