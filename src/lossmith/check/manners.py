"""Laws of how a loss behaves: dtypes, layouts, compilers and transforms, copies, what it refuses."""

import copy
import pickle

import torch
from torch import nn

from lossmith.check.cases import case, certain
from lossmith.check.law import gradient, law, same
from lossmith.check.subject import Broken, LossFunction, Subject


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
    if subject.own:  # torch itself hardly computes with these
        dtypes += [torch.uint16, torch.uint32, torch.uint64]
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
    """A batch without images, or of images without pixels, costs 0, or is refused with a ValueError."""
    full = case(subject.task, 2, 4, seed=25)
    for batch in (full.images(torch.tensor([], dtype=torch.long)), full.pixels(torch.tensor([], dtype=torch.long))):
        try:
            value, _ = gradient(subject.build(), batch)
        except ValueError:
            continue
        same("value", value, torch.zeros_like(value), 0.0)
