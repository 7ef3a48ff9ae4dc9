"""Losses that give the number of another library: a preset is nothing but options of ours, and shows which."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from lossmith.core.pixels import TASKS
from lossmith.errors import must, suggest
from lossmith.torch.loss import Loss
from lossmith.torch.sums import SumLoss

SIGMOID = ("binary", "multilabel")
Options = dict[str, Any]
Adjusted = tuple[float, Options]


@dataclass(frozen=True)
class Preset:
    """Options of ours, and a coefficient, for another library's class at its defaults.

    adjust: what follows from options that are given: a factor on the coefficient, and the options.
    """

    options: Mapping[str, Any]
    coefficient: float = 1.0
    adjust: Callable[[Options], Adjusted] = lambda options: (1.0, options)


def preset(name: str, library: str, task: str, options: Mapping[str, Any]) -> Loss | SumLoss:
    """The loss called `name` as `library` has it; `options` go before those of the preset."""
    known = PRESETS[name]
    if library not in known:
        expected = " or ".join(repr(word) for word in known)
        raise ValueError(must("library", expected, library) + suggest(str(library), known))
    offered = known[library]
    if task in TASKS and task not in offered:
        raise ValueError(must(f"task of {library}'s {name}", " or ".join(map(repr, offered)), task))
    chosen = offered.get(task, Preset({}))
    Loss.registry[name].record.check(options)
    factor, arguments = chosen.adjust({**chosen.options, **options})
    loss = Loss.registry[name](task, **arguments)  # type: ignore[arg-type]
    coefficient = factor * chosen.coefficient
    return loss if coefficient == 1 else SumLoss([(coefficient, loss)])


def _all(chosen: Preset) -> dict[str, Preset]:
    return dict.fromkeys(TASKS, chosen)


def _mean_weight(options: Options) -> Adjusted:
    """MONAI's weighted mean divides by the number of classes that count, ours by their weights; one alone has none."""
    weights = options.get("class_weight")
    if weights is None:
        return 1.0, options
    classes, empty, average = (options.get(name) for name in ("classes", "empty", "average"))
    if classes == "present" or empty == "skip" or average == "micro":
        expected = "such that the same classes count everywhere, each by itself"
        raise ValueError(must("classes, empty and average with class_weight", expected, (classes, empty, average)))
    weights = torch.as_tensor(weights, dtype=torch.float64)
    counted = [w for c, w in enumerate(weights.tolist()) if classes in (None, "all") or c in classes]
    if len(counted) == 1:
        return 1.0, {**options, "class_weight": None}
    return (sum(counted) / len(counted) if counted and options.get("reduction", "mean") == "mean" else 1.0), options


def _relative_weights(options: Options) -> Adjusted:
    """The mean of segmentation_models.pytorch divides by the weights, a mean over elements does not."""
    weights = options.get("class_weight")
    if weights is None:
        return 1.0, options
    weights = torch.as_tensor(weights, dtype=torch.float64)
    return 1.0, {**options, "class_weight": (weights / weights.mean()).tolist()}


def _pixels_where_ignored(options: Options) -> Adjusted:
    """MONAI's one-vs-rest mean divides by pixels, no more by pixels times classes, once some may be ignored."""
    return 1.0, options if options.get("ignore_index") is None else {**options, "normalize": "pixels"}


_ABSENT_COUNT_0 = Preset({"pool": "batch", "empty": "zero"})
_ALL_TOGETHER = Preset({"pool": "batch", "average": "micro", "empty": "smooth"})
_ELEMENTS = {"normalize": "elements"}
_ONE_VS_REST = {"one_vs_rest": True, "normalize": "elements"}
_MASKED = {"ignore_index": -100}

PRESETS: Mapping[str, Mapping[str, Mapping[str, Preset]]] = {
    "dice": {
        "monai": _all(Preset({"smooth": 1e-5, "empty": "smooth"}, adjust=_mean_weight)),
        "smp": _all(_ABSENT_COUNT_0),
        "kornia": {"multiclass": Preset({"average": "micro", "empty": "smooth", **_MASKED})},
        "nnunet": _all(Preset({"smooth": 1.0, "empty": "smooth"})),
        "keras": _all(_ALL_TOGETHER),
        "vnet": _all(Preset({"squared": True, "empty": "smooth"})),
    },
    "tversky": {
        "monai": _all(Preset({"smooth": 1e-5, "empty": "smooth"})),
        "smp": _all(_ABSENT_COUNT_0),
        "kornia": {"multiclass": Preset({"classes": "present", "average": "image", **_MASKED})},
        "keras": _all(_ALL_TOGETHER),
    },
    "focal": {
        "monai": {
            **dict.fromkeys(SIGMOID, Preset(_ELEMENTS)),
            "multiclass": Preset(_ONE_VS_REST, adjust=_pixels_where_ignored),
        },
        "smp": {
            **dict.fromkeys(SIGMOID, Preset(_ELEMENTS, adjust=_relative_weights)),
            "multiclass": Preset(_ONE_VS_REST, adjust=_relative_weights),
        },
        "kornia": _all(Preset({**_ELEMENTS, **_MASKED})),
        "keras": {**dict.fromkeys(SIGMOID, Preset({})), "multiclass": Preset({}, coefficient=0.25)},
    },
}
