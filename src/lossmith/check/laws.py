"""What every sound loss obeys, one small function a law.

A law takes a `Subject`, and raises `Broken` with what was expected and what came, or `Skipped` where it does not apply.
`LAWS` holds them all by name; the docstring's first line is the statement that a report shows.
"""

import copy
import pickle
from collections.abc import Callable

import torch
from torch import Tensor, nn

from lossmith.check.cases import IGNORED, Case, case, certain, rise, vacant
from lossmith.check.subject import Broken, LossFunction, Skipped, Subject

Law = Callable[[Subject], None]
LAWS: dict[str, Law] = {}


def law(function: Law) -> Law:
    """Enter a function into `LAWS`."""
    LAWS[function.__name__] = function
    return function


def gradient(loss: LossFunction, batch: Case, *weight: Tensor) -> tuple[Tensor, Tensor]:
    """The summed value and its gradient with respect to the logits."""
    logits = batch.leaf()
    value = loss(logits, batch.target, *weight).sum()
    if not value.requires_grad:
        raise Broken("the value has no gradient: the graph is broken")
    (slope,) = torch.autograd.grad(value, logits)
    return value.detach(), slope


def same(name: str, got: Tensor, expected: Tensor, tolerance: float = 1e-9) -> None:
    """Raise unless two tensors agree, relative to the larger of 1 and the expected values."""
    if got.shape != expected.shape:
        raise Broken(f"{name}: shape {tuple(expected.shape)} expected; got {tuple(got.shape)}")
    error = (got.double() - expected.double()).abs() / expected.double().abs().clamp(min=1.0)
    if got.numel() and not bool((error <= tolerance).all()):
        worst = int(error.nan_to_num(float("inf")).argmax())
        want, have = expected.flatten()[worst].item(), got.flatten()[worst].item()
        raise Broken(f"{name}: {want!r} expected; got {have!r} (tolerance {tolerance:g})")


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


@law
def half_precision_is_widened(subject: Subject) -> None:
    """Half-precision logits give the value of the same numbers in float32, also over 512 x 512 pixels."""
    loss = subject.build()
    for dtype in (torch.float16, torch.bfloat16):
        for batch in (case(subject.task, 24, seed=11), certain(case(subject.task, 512, 512, images=1), 1.0)):
            logits = batch.logits.to(dtype)
            value = loss(logits, batch.target)
            same(f"value in {dtype}", value, loss(logits.float(), batch.target), 1e-6 if subject.own else 1e-2)


@law
def autocast_changes_nothing(subject: Subject) -> None:
    """Under autocast the value of float32 logits stays."""
    batch = case(subject.task, 24, seed=12, dtype=torch.float32)
    loss = subject.build()
    expected = gradient(loss, batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = gradient(loss, batch)
    for got, want in zip(found, expected, strict=True):
        same("value and gradient", got, want, 1e-6 if subject.own else 1e-2)


@law
def compiles_in_one_graph(subject: Subject) -> None:
    """``torch.compile(fullgraph=True)`` captures it, and value and gradient stay."""
    batch = case(subject.task, 24, seed=13)
    loss = subject.build()
    torch._dynamo.reset()
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    try:
        found = gradient(compiled, batch)
    except torch._dynamo.exc.TorchDynamoException as error:
        raise Broken(f"one graph expected; got {type(error).__name__}: {str(error).splitlines()[0]}") from error
    for got, want in zip(found, gradient(loss, batch), strict=True):
        same("value and gradient", got, want)


@law
def function_transforms_work(subject: Subject) -> None:
    """``torch.func``: grad is the gradient, vmap is the loop, and so is vmap of grad."""
    loss = subject.build()
    batches = [case(subject.task, 12, seed=14 + i) for i in range(3)]
    logits, target = (torch.stack([getattr(b, name) for b in batches]) for name in ("logits", "target"))
    expected = [gradient(loss, batch) for batch in batches]
    grad = torch.func.grad(lambda z, t: loss(z, t).sum())
    try:
        same("grad", grad(logits[0], target[0]), expected[0][1])
        same("vmap", torch.func.vmap(loss)(logits, target), torch.stack([value for value, _ in expected]))
        same("vmap of grad", torch.func.vmap(grad)(logits, target), torch.stack([slope for _, slope in expected]))
    except RuntimeError as error:
        raise Broken(f"torch.func must work; got {str(error).splitlines()[0]}") from error


@law
def differentiable_twice(subject: Subject) -> None:
    """The gradient has the right gradient of its own."""
    loss, step = subject.build(), 1e-6
    batch = case(subject.task, 12, seed=15)
    direction = torch.randn(batch.logits.shape, generator=torch.Generator().manual_seed(8)).double()
    logits = batch.leaf()
    (slope,) = torch.autograd.grad(loss(logits, batch.target).sum(), logits, create_graph=True)
    second = torch.zeros_like(slope)
    if slope.requires_grad:
        (second,) = torch.autograd.grad((slope * direction).sum(), logits)
    ahead, behind = (gradient(loss, batch.with_logits(batch.logits + s * step * direction))[1] for s in (1, -1))
    same("second derivative", second, (ahead - behind) / (2 * step), 1e-6)


@law
def the_incoming_gradient_counts(subject: Subject) -> None:
    """Three times the value has three times the gradient."""
    loss = subject.build()
    batch = case(subject.task, 12, seed=16)
    _, slope = gradient(loss, batch)
    _, thrice = gradient(lambda z, t: 3.0 * loss(z, t), batch)
    same("gradient", thrice, 3.0 * slope)


@law
def survives_pickling_and_copying(subject: Subject) -> None:
    """A pickled or copied loss is the same loss."""
    loss = subject.build()
    batch = case(subject.task, 12, seed=17)
    expected = loss(batch.logits, batch.target)
    for name, other in (("pickled", pickle.loads(pickle.dumps(loss))), ("copied", copy.deepcopy(loss))):
        same(name, other(batch.logits, batch.target), expected, 0.0)


@law
def leaves_everything_as_it_was(subject: Subject) -> None:
    """A call changes neither its arguments nor the loss nor the random state, and repeats exactly."""
    loss = subject.build()
    batch = case(subject.task, 12, seed=18)
    logits, target, dice = batch.logits.clone(), batch.target.clone(), torch.get_rng_state()
    before = _state(loss)
    first, second = (loss(batch.logits, batch.target) for _ in range(2))
    same("a second call", second, first, 0.0)
    same("the logits", batch.logits, logits, 0.0)
    same("the target", batch.target, target, 0.0)
    same("the random state", torch.get_rng_state(), dice, 0.0)
    if _state(loss) != before:
        raise Broken("a call must not write to the loss; its attributes changed")


def _state(loss: LossFunction) -> str:
    """The loss's attributes, by their printed form."""
    modules = loss.modules() if isinstance(loss, nn.Module) else [loss]
    return repr([vars(module) for module in modules if hasattr(module, "__dict__")])


@law
def memory_layout_does_not_matter(subject: Subject) -> None:
    """Strided, transposed and channels-last logits give the same value and gradient."""
    loss = subject.build()
    batch = case(subject.task, 4, 6, seed=19)
    expected = gradient(loss, batch)
    strided = torch.stack([batch.logits, batch.logits], -1)[..., 0]
    last = batch.logits.to(memory_format=torch.channels_last)
    flipped = batch.logits.transpose(2, 3).contiguous().transpose(2, 3)
    for name, logits in (("strided", strided), ("channels_last", last), ("transposed", flipped)):
        for got, want in zip(gradient(loss, batch.with_logits(logits)), expected, strict=True):
            same(name, got, want)


@law
def target_dtype_does_not_matter(subject: Subject) -> None:
    """Class indices of any integer dtype (and bool where they are 0 and 1) are the same target."""
    loss = subject.build()
    batch = case(subject.task, 12, seed=20)
    expected = loss(batch.logits, batch.target)
    dtypes = [torch.uint8, torch.int8, torch.int16, torch.int32]
    for dtype in [*dtypes, torch.bool] if subject.task != "multiclass" else dtypes:
        same(f"a {dtype} target", loss(batch.logits, batch.target.to(dtype)), expected)


@law
def one_hot_is_the_same_target(subject: Subject) -> None:
    """A target of the logits' shape, 0 or 1, costs what the class indices cost."""
    batch = case(subject.task, 12, seed=21)
    loss = subject.build()
    hot = (certain(batch).logits > 0).long()
    targets = [("one-hot", hot)] + ([] if subject.facts.hard_targets else [("soft", hot.double())])
    for name, target in targets:
        same(name, loss(batch.logits, target), loss(batch.logits, batch.target))


@law
def probabilities_are_the_same_input(subject: Subject) -> None:
    """With ``from_logits=False`` the probabilities cost what their logits cost."""
    batch = case(subject.task, 12, seed=22)
    probs = batch.logits.softmax(1) if subject.task == "multiclass" else batch.logits.sigmoid()
    same("value", subject.build(from_logits=False)(probs, batch.target), subject.build()(batch.logits, batch.target))


@law
def bad_input_is_refused(subject: Subject) -> None:
    """A target of another shape, labels out of range and fractional class indices are errors, never a number."""
    loss = subject.supervised()
    batch = case(subject.task, 4, 6, seed=23)
    wrong = batch.target.clone()
    wrong[..., 0] = 99
    bad = {
        "a target of another shape": batch.target[..., :-1],
        "a target that would broadcast": batch.target[:1],
        "labels out of range": wrong,
    }
    if subject.task == "multiclass":
        bad["fractional class indices"] = batch.target.double()
    for name, target in bad.items():
        try:
            value = loss(batch.logits, target)
        except (ValueError, TypeError, RuntimeError, IndexError):
            continue
        raise Broken(f"an error expected for {name}; got {value.tolist()!r}")


@law
def nan_stays_visible(subject: Subject) -> None:
    """A NaN among the logits of valid pixels makes the value NaN."""
    batch = case(subject.task, 12, seed=24)
    logits = batch.logits.clone()
    logits[0, 0, 3] = float("nan")
    value = subject.build()(logits, batch.target)
    if not bool(value.isnan()):
        raise Broken(f"nan expected for logits with a NaN; got {value.item()!r}")


@law
def an_empty_batch_is_harmless(subject: Subject) -> None:
    """A batch without images costs 0, or is refused with a ValueError."""
    batch = case(subject.task, 12, seed=25).images(torch.tensor([], dtype=torch.long))
    try:
        value, _ = gradient(subject.build(), batch)
    except ValueError:
        return
    same("value", value, torch.zeros_like(value), 0.0)
