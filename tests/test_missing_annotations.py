"""The worked example of missing annotations on images of `shapes`, and the benchmark that the page comes from."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from lossmith.core.door import receive
from lossmith.core.evaluate import evaluate
from lossmith.core.namespaces.numpy import xp
from lossmith.data.shapes import shapes
from lossmith.torch import CrossEntropyLoss, Loss, MarginalLoss, MissingAnnotationLoss

LOSSES = (CrossEntropyLoss("multiclass"), MissingAnnotationLoss("multiclass"))


def masks_and_truths() -> tuple[torch.Tensor, torch.Tensor]:
    """8 training images of three shapes each, 2 of the 24 objects without annotation."""
    train = shapes(images=10, missing=2 / 24).train
    masks, truths = (torch.from_numpy(np.stack([getattr(s, name) for s in train])) for name in ("mask", "truth"))
    assert len(masks) == 8
    lost = [(n, c) for n in range(8) for c in (1, 2, 3) if not (masks[n] == c).any()]
    assert len(lost) == 2
    return masks, truths


def logits_of(truths: torch.Tensor) -> torch.Tensor:
    """A network that finds every object, more or less surely."""
    noise = torch.randn(8, 4, 64, 64, generator=torch.Generator().manual_seed(0))
    return 6.0 * functional.one_hot(truths, 4).movedim(-1, 1) + noise


def on_numpy(loss: Loss, logits: torch.Tensor, target: torch.Tensor) -> float:
    px = receive(xp, logits.double().numpy(), target.numpy(), task="multiclass").open()
    return float(evaluate(loss.record, px, **loss.asked()[1]))


def test_missing_annotations_cost_less_than_cross_entropy():
    masks, truths = masks_and_truths()
    logits = logits_of(truths)
    ce, missing = (loss(logits, masks).item() for loss in LOSSES)
    assert missing < 0.6 * ce
    assert missing == pytest.approx(LOSSES[0](logits, truths).item(), rel=0.05)
    for loss, value in zip(LOSSES, (ce, missing), strict=True):
        assert on_numpy(loss, logits, masks) == pytest.approx(value, abs=1e-6)


def test_where_nothing_is_missing_it_is_cross_entropy():
    _, truths = masks_and_truths()
    logits = logits_of(truths)
    ce, missing = (loss(logits, truths).item() for loss in LOSSES)
    assert missing == pytest.approx(ce, rel=1e-6)
    assert on_numpy(LOSSES[1], logits, truths) == pytest.approx(ce, abs=1e-6)


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    yield __import__("missing_annotations")
    sys.modules.pop("missing_annotations")


def test_the_benchmark_knows_what_was_annotated(benchmark):
    masks, truths = masks_and_truths()
    logits = logits_of(truths)
    annotated = torch.stack([(masks == c).flatten(1).any(1) for c in range(4)], 1)
    assert annotated.sum() == 8 * 4 - 2
    expected = MarginalLoss()(logits, masks, annotated=annotated)
    assert benchmark.Marginal()(logits, masks).item() == expected.item()


def test_the_benchmark_drops_images_that_miss_something(benchmark):
    data = shapes(images=10, missing=2 / 24)
    kept = benchmark.complete_only(data)
    assert 6 <= len(kept.train) < 8
    assert all((sample.mask == sample.truth).all() for sample in kept.train)
    assert kept.fingerprint != data.fingerprint
    assert kept.test.names == data.test.names
