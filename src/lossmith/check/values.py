"""Laws of what a loss is: its value and its gradient, what counts, what the mean is, what an empty class costs."""

import torch

from lossmith.check.cases import IGNORED, Case, case, certain, rise, vacant
from lossmith.check.law import gradient, law, same
from lossmith.check.subject import Broken, Skipped, Subject


@law
def finite_for_finite_logits(subject: Subject) -> None:
    """Value and gradient are finite for every finite logit."""
    extremes = {torch.float16: 6e4, torch.bfloat16: 1e36, torch.float32: 1e36, torch.float64: 1e300}
    for dtype, top in extremes.items():
        for scale in (0.0, 1.0, 20.0, 100.0, 1e4, top):
            batch = case(subject.task, 6, seed=1)
            logits = batch.logits.clamp(-1, 1).mul(scale).to(dtype)
            logits[..., 0] = scale
            value, slope = gradient(subject.build(), batch.with_logits(logits))
            for name, tensor in (("value", value), ("gradient", slope)):
                if not bool(tensor.isfinite().all()):
                    raise Broken(f"{name} must be finite for {dtype} logits of size {scale:g}; got {tensor.tolist()}")


@law
def gradient_is_the_derivative(subject: Subject) -> None:
    """The gradient is the value's derivative, by central differences in float64."""
    loss, step = subject.build(), 1e-6
    for seed in range(3):
        batch = case(subject.task, 24, seed=seed)
        direction = torch.randn(batch.logits.shape, generator=torch.Generator().manual_seed(9 + seed)).double()
        _, slope = gradient(loss, batch)
        ahead, behind = (loss(batch.logits + s * step * direction, batch.target) for s in (1, -1))
        same("derivative", (slope * direction).sum(), (ahead - behind).sum() / (2 * step), 1e-6)


@law
def a_step_downhill_lowers_it(subject: Subject) -> None:
    """A small step against the gradient lowers the value."""
    loss = subject.build()
    batch = case(subject.task, 24, seed=2)
    value, slope = gradient(loss, batch)
    if not bool(slope.abs().max() > 0):
        raise Broken("the gradient must not be zero away from the target; got zero everywhere")
    after = loss(batch.logits - 1e-4 * slope / slope.norm(), batch.target).sum()
    if not bool(after < value):
        raise Broken(f"a value below {value.item()!r} expected after a step downhill; got {after.item()!r}")


@law
def truth_costs_least(subject: Subject) -> None:
    """No prediction costs less than the certain, right one; that one costs 0 if the loss says so."""
    loss = subject.supervised()
    if not subject.facts.least_at_truth:
        raise Skipped("another prediction may cost less than the truth")
    for seed in range(4):
        batch = case(subject.task, 24, seed=seed)
        truth = loss(certain(batch).logits, batch.target)
        for scale in (0.0, 1.0, 5.0):
            other = loss(batch.logits * scale, batch.target)
            if not bool(truth <= other + 1e-9):
                raise Broken(f"the truth must cost no more than {other.item()!r}; got {truth.item()!r}")
        if subject.facts.zero_at_truth:
            same("the truth's cost", truth, torch.zeros_like(truth), 1e-7)


@law
def value_inside_its_range(subject: Subject) -> None:
    """The value lies in the range that the loss declares."""
    interval = subject.facts.range
    if interval is None:
        raise Skipped("it declares no range")
    for scale in (0.0, 1.0, 10.0, 1000.0):
        for seed in range(3):
            batch = case(subject.task, 24, seed=seed)
            value = float(subject.build()(batch.logits * scale, batch.target))
            if not interval.low - 1e-9 <= value <= interval.high + 1e-9:
                raise Broken(f"a value {interval} expected; got {value!r}")


@law
def ignored_pixels_do_not_count(subject: Subject) -> None:
    """An ignored pixel has zero gradient whatever its logits, and the value is that of the batch without it.

    Where neighbours count, a batch without it is no batch: there, what the ignored logits are changes nothing.
    """
    loss = subject.build(ignore_index=IGNORED)
    batch = case(subject.task, 24, seed=3)
    out = torch.arange(24) % 5 == 1
    target = batch.target.clone()
    target[..., out] = IGNORED
    if subject.facts.neighbours:
        expected, slope = gradient(loss, Case(subject.task, batch.logits, target))
        slope = slope[..., ~out]
    else:
        expected, slope = gradient(loss, batch.pixels((~out).nonzero()[:, 0]))
    for filling in (0.0, 1e4, float("inf"), float("nan")):
        logits = batch.logits.clone()
        logits[..., out] = filling
        value, full = gradient(loss, Case(subject.task, logits, target))
        same(f"value with ignored logits {filling}", value, expected)
        same("gradient of valid pixels", full[..., ~out], slope)
        same("gradient of ignored pixels", full[..., out], torch.zeros_like(full[..., out]), 0.0)


@law
def ignoring_nothing_changes_nothing(subject: Subject) -> None:
    """An ignore_index that does not occur changes nothing."""
    batch = case(subject.task, 24, seed=4)
    for got, expected in zip(
        gradient(subject.build(ignore_index=IGNORED), batch), gradient(subject.build(), batch), strict=True
    ):
        same("value and gradient", got, expected, 1e-12)


@law
def all_ignored_costs_nothing(subject: Subject) -> None:
    """A batch of ignored pixels costs 0, with zero gradient and the graph intact."""
    batch = case(subject.task, 8, seed=5)
    nothing = Case(subject.task, batch.logits, torch.full_like(batch.target, IGNORED))
    value, slope = gradient(subject.build(ignore_index=IGNORED), nothing)
    same("value", value, torch.zeros_like(value), 0.0)
    same("gradient", slope, torch.zeros_like(slope), 0.0)


@law
def weight_counts_pixels(subject: Subject) -> None:
    """A pixel of weight 2 is a pixel counted twice, one of weight 0 is not there, weights of 1 change nothing."""
    loss = subject.weighted()
    batch = case(subject.task, 24, seed=6)
    space = (batch.logits.shape[0], 24)
    ones = gradient(loss, batch, torch.ones(space, dtype=torch.float64))
    for got, expected in zip(ones, gradient(loss, batch), strict=True):
        same("weights of 1", got, expected)
    if subject.facts.neighbours:
        return  # a pixel counted twice has no place
    times = torch.tensor([0, 1, 2, 1, 3, 1]).repeat(4)
    value, slope = gradient(loss, batch, times.double().expand(space))
    repeated = torch.arange(24).repeat_interleave(times)
    expected, copies = gradient(loss, batch.pixels(repeated))
    same("value", value, expected)
    same("gradient", slope, torch.zeros_like(slope).index_add(-1, repeated, copies))


@law
def scaling_all_weights_changes_nothing(subject: Subject) -> None:
    """The mean does not depend on the unit of the weights."""
    loss = subject.weighted()
    batch = case(subject.task, 24, seed=6)
    weight = torch.rand(batch.logits.shape[0], 24, generator=torch.Generator().manual_seed(1)).double() + 0.1
    same("value", loss(batch.logits, batch.target, 0.01 * weight), loss(batch.logits, batch.target, weight))


@law
def impossible_weights_are_refused(subject: Subject) -> None:
    """A weight that is negative, infinite or NaN is an error or a NaN, never a number."""
    loss = subject.weighted()
    batch = case(subject.task, 24, seed=6)
    for value in (-1.0, float("nan"), float("inf")):
        weight = torch.ones(batch.logits.shape[0], 24, dtype=torch.float64)
        weight[0, 3] = value
        try:
            got = loss(batch.logits, batch.target, weight)
        except ValueError:
            continue
        if not bool(got.isnan()):
            raise Broken(f"an error or nan expected for a weight of {value}; got {got.item()!r}")


@law
def reductions_agree(subject: Subject) -> None:
    """The values of "none" add up to "sum", and without weights their mean is "mean"."""
    batch = case(subject.task, 24, seed=7)
    values = {name: subject.build(reduction=name)(batch.logits, batch.target) for name in ("none", "sum", "mean")}
    same("sum", values["none"].sum(), values["sum"])
    if not subject.facts.own_weights:
        same("mean", values["none"].mean(), values["mean"])


@law
def repeating_the_batch_changes_nothing(subject: Subject) -> None:
    """The mean over a batch given twice is the mean over the batch."""
    batch = case(subject.task, 24, seed=8)
    twice = batch.images(torch.tensor([0, 1, 0, 1]))
    loss = subject.build()
    same("value", loss(twice.logits, twice.target), loss(batch.logits, batch.target))


@law
def order_does_not_matter(subject: Subject) -> None:
    """Neither the order of the pixels nor that of the images matters."""
    loss = subject.build()
    batch = case(subject.task, 24, seed=9)
    expected = loss(batch.logits, batch.target)
    images = batch.images(torch.tensor([1, 0]))
    for other in [images] if subject.facts.neighbours else [images, batch.pixels(torch.arange(23, -1, -1))]:
        same("value", loss(other.logits, other.target), expected)


@law
def any_number_of_dimensions(subject: Subject) -> None:
    """The same pixels cost the same in one, two or three dimensions, and without any."""
    if subject.facts.neighbours:
        raise Skipped("neighbours count: another shape is another image")
    loss = subject.build()
    batch = case(subject.task, 24, seed=10)
    expected = loss(batch.logits, batch.target)
    for space in ((4, 6), (2, 3, 4), (1, 24, 1, 1)):
        other = batch.reshape(*space)
        same(f"value in space {space}", loss(other.logits, other.target), expected)
    single = batch.pixels(torch.tensor([5]))
    none = single.reshape()
    same("value without space", loss(none.logits, none.target), loss(single.logits, single.target))


@law
def an_empty_class_pushes_false_positives_down(subject: Subject) -> None:
    """Where the target is background alone, raising the foreground raises the value."""
    batch = vacant(subject.task)
    _, slope = gradient(subject.supervised(pushing=True), batch)
    ascent = float((slope * rise(batch)).sum())
    if not ascent > 1e-6:
        raise Broken(f"a rising value expected where foreground is raised on an empty image; got slope {ascent:g}")


@law
def empty_predicted_empty_costs_nothing(subject: Subject) -> None:
    """Background predicted as background with certainty costs 0."""
    if subject.facts.zero_at_truth is False:
        raise Skipped("its truth does not cost 0")
    batch = vacant(subject.task)
    value = subject.supervised()(certain(batch).logits, batch.target)
    same("value", value, torch.zeros_like(value), 1e-7)
