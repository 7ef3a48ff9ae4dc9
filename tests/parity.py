"""The calls that every framework must compute as NumPy does, with the gradient that torch has in float64.

For each row and task: every reduction; weights of pixels, classes and channels, ignored pixels, soft and one-hot
targets, probabilities, a class that is nowhere, one and three axes of space, the optional inputs; float64, float32,
bfloat16 and float16; and each parameter away from its default, one at a time. `test_numpy.py` holds torch's gradients of
all of these to central differences of the NumPy face; a framework calls `hold` with a function of its own.

Ties and points without slope are left out, see `faces.py`.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from faces import TASKS, Call, boxes, call
from lossmith.core.catalogue import BOXES, CATALOGUE
from paths import CHANNELS

EVERYTHING = "ignore weight class_weight"
REDUCTIONS = ("mean", "sum", "none")
ROWS: list[tuple[str, str | None]] = [*TASKS, *((name, None) for name in BOXES)]

# Values away from the default; a row's own come first.
OPTIONS: dict[str, list[Any]] = {
    "A": [-2.0],
    "alpha": [0.7],
    "appearance": [0.3],
    "asymmetric": [False],
    "average": ["image", "micro"],
    "balance": ["inverse", "median_frequency", "effective_number"],
    "beta": [0.3],
    "bounded": [True],
    "classes": ["present", [0]],
    "clip": [0.0],
    "constant": [5.0],
    "delta": [0.3],
    "distance": ["l2"],
    "empty": ["smooth", "skip", "zero"],
    "epsilon": [-0.5],
    "foreground_weight": [3.0],
    "gamma": [0.0, 0.5, 1.0],
    "gamma_neg": [0.5],
    "gamma_pos": [1.0],
    "gradient": ["full"],
    "high": [0.4],
    "isotropic": [True],
    "iterations": [3],
    "k": [0.55],
    "label_smoothing": [0.2],
    "lam": [0.2],
    "limit": [0.2],
    "log": [True],
    "loss": ["focal(gamma=1.0)", "mse"],
    "low": [0.05],
    "min_kept": [1],
    "normalize": ["positives", "elements"],
    "one_vs_rest": [True],
    "per_image": [True, False],
    "pool": ["batch"],
    "q": [0.0, 1.0],
    "r": [0.5],
    "radius": [1],
    "ratio": [1.3],
    "region": [0.5],
    "shift": [True],
    "sigma_rgb": [0.5],
    "sigma_xy": [2.0],
    "smooth": [1.0],
    "smoothness": [0.5],
    "spacing": [[1.0, 2.0]],
    "squared": [True],
    "theta": [2.0],
    "threshold": [0.2],
    "tolerance": [0, 1],
    "tube": [0, 1],
    "weighting": ["simple", "uniform"],
}
OWN: dict[tuple[str, str], list[Any]] = {
    ("alpha_iou", "form"): ["giou", "diou", "ciou"],
    ("box_iou", "form"): ["log", "square"],
    ("ciou", "gradient"): ["full", "published"],
    ("exclusion", "form"): ["ce"],
    ("focal_eiou", "gamma"): [2.0],
    ("focal_tversky", "gamma"): [1.3],
    ("hausdorff", "alpha"): [1.0, 2.5],
    ("inner_iou", "form"): ["giou", "diou", "ciou"],
    ("marginal", "loss"): ["dice", "focal"],
    ("mpdiou", "image_size"): [(20.0, 30.0)],
    ("noise_robust_dice", "gamma"): [1.0, 2.0, 1.2],
    ("unified_focal", "gamma"): [0.0, 0.9],
    ("wasserstein_dice", "distances"): [[[0, 1, 2], [1, 0, 0.5], [2, 0.5, 0]]],
}
ELSEWHERE = {"class_weight", "from_logits", "ignore_index", "process_group", "reduction"}  # in the modes below
COUNTS: dict[str, Any] = {"binary": [[6, 10], [3, 7]], "multiclass": [[5, 10], [3, 10], [2, 7]]}
COUNTS["multilabel"] = [COUNTS["binary"], [[5, 9], [2, 8]], [[4, 8], [4, 9]]]


class Case(NamedTuple):
    """A call, what is special about it, and the dtype of its numbers."""

    said: str
    call: Call
    dtype: str


def cases(name: str, task: str | None) -> Iterator[Case]:
    """The calls of a row."""
    if task is None:
        yield from _of_boxes(name)
        return
    for reduction, dtype in zip(REDUCTIONS, ("float64", "float32", "float64"), strict=True):
        yield Case(f"{EVERYTHING}, {reduction}", call(name, task, EVERYTHING, reduction=reduction), dtype)
    for n, mode in enumerate(_modes(name, task)):
        for reduction, dtype in ((REDUCTIONS[n % 3], "float64"), (REDUCTIONS[(n + 1) % 3], "float32")):
            yield Case(f"{mode}, {reduction}", call(name, task, mode, reduction=reduction), dtype)
    for axes, space in ((1, (11,)), (3, (2, 3, 4))):
        if not CATALOGUE[name].axes or axes in CATALOGUE[name].axes:
            yield Case(f"{axes} axes", call(name, task, EVERYTHING, space=space), "float32")
    for dtype in ("bfloat16", "float16"):
        yield Case("half", apart(call(name, task, "weight", reduction="sum")), dtype)
    for inputs in _optional(name, task):
        yield Case(f"{', '.join(inputs)} given", replace(call(name, task, "weight"), inputs=inputs), "float32")
    for options in _options(name, task):
        yield Case(f"{options}", call(name, task, EVERYTHING, **options), "float32")


def _of_boxes(name: str) -> Iterator[Case]:
    for reduction in REDUCTIONS:
        for dtype in ("float64", "float32"):
            yield Case(reduction, boxes(name, reduction=reduction), dtype)
    for options in _options(name, None):
        given = boxes(name)  # in float64: a logarithm of 0 ends at that of the dtype's least number
        yield Case(f"{options}", replace(given, parameters=given.parameters | options), "float64")


def _modes(name: str, task: str) -> Iterator[str]:
    """What is special about a batch, beside what `EVERYTHING` says."""
    yield from ("plain", "soft weight class_weight", "one_hot weight", "absent weight", "absent ignore class_weight")
    if any(parameter.name == "from_logits" for parameter in CATALOGUE[name].parameters):
        yield from ("probs ignore weight", "probs soft class_weight")
    if task != "multiclass":
        yield from ("channel_weight ignore", "channel_weight soft class_weight", "soft ignore")


def _options(name: str, task: str | None) -> Iterator[dict[str, Any]]:
    """One parameter at a time."""
    record = CATALOGUE.get(name) or BOXES[name]
    for parameter in record.parameters:
        key = parameter.name
        if key == "counts" and task is not None:
            yield from ({key: COUNTS[task], "balance": balance} for balance in ("inverse", "effective_number"))
        elif key not in ELSEWHERE:
            for value in OWN.get((name, key)) or OPTIONS[key]:
                if not (key == "one_vs_rest" and task != "multiclass"):
                    yield {key: value}
    if name == "focal":
        yield {"alpha": [0.25, 0.5, 0.75][: 2 if task == "binary" else 3]}


def _optional(name: str, task: str) -> Iterator[dict[str, np.ndarray]]:
    """Inputs that a loss can do without."""
    rng, logits = np.random.default_rng(11), call(name, task).logits
    if "distance" in CATALOGUE[name].inputs:
        yield {"distance": rng.normal(size=logits.shape)}
    if "tags" in CATALOGUE[name].inputs:
        yield {"tags": rng.random((len(logits), CHANNELS[task])) < 0.5}


def apart(given: Call) -> Call:
    """The same with logits that every dtype holds, no two of them equal in size, so that halves make no ties."""
    order = given.logits.ravel().argsort().argsort() - given.logits.size // 2
    return replace(given, logits=((4 * order + 1) / 64).reshape(given.logits.shape))


IN_LITTLE_TIME = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}  # of XLA's options
TOLERANCE = {"float64": (1e-10, 1e-9), "float32": (5e-5, 3e-4), "bfloat16": (5e-5, 1e-2), "float16": (5e-5, 2e-3)}


def hold(name: str, task: str | None, compute: Callable[[Call, str], Any], *, part: int = 1) -> None:
    """Values and gradients of ``compute(call, dtype)``, classes on axis 1; a map's gradient is by `direction`.

    part: one of so many of the calls, for a framework that compiles each for half a second; others for the next row.
    """
    wrong, first = [], ROWS.index((name, task)) % part
    for case in list(cases(name, task))[first::part]:
        expected = case.call.numpy(), case.call.torch()[1]
        found = compute(case.call, case.dtype)
        for what, got, right, tolerance in zip(
            ("value", "gradient"), found, expected, TOLERANCE[case.dtype], strict=True
        ):
            error = _error(np.asarray(got, np.float64), np.asarray(right))
            if not error <= tolerance:
                wrong.append(f"{what} of {name}, {task}, {case.dtype}; {case.said}: off by {error:.1e}")
    assert not wrong, "\n".join(wrong)


def _error(got: np.ndarray, right: np.ndarray) -> float:
    """The greatest error, relative to the greatest number."""
    if got.shape != right.shape:
        return np.inf
    return float(np.abs(got - right).max(initial=0.0) / np.abs(right).max(initial=1e-3))
