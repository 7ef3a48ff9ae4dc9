"""Training batches: the laws that pair the losses of a seed."""

import random
import re

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from lossmith.data import Sample
from lossmith.data.augmentation import Batches


def blobs(count: int, sizes: tuple[tuple[int, int], ...], classes: int = 4) -> list[Sample]:
    """Samples with smooth regions of every class; the first image channel is the mask itself, scaled to [0, 1]."""
    samples = []
    for index in range(count):
        rng = np.random.default_rng(index)
        size = sizes[index % len(sizes)]
        field = gaussian_filter(rng.normal(size=size), 6, mode="reflect")
        mask = np.digitize(field, np.quantile(field, np.arange(1, classes) / classes)).astype(np.int64)
        image = np.repeat((mask / (classes - 1))[None], 3, axis=0).astype(np.float32)
        samples.append(Sample(f"s{index}", image, mask, mask))
    return samples


MIXED = blobs(7, ((96, 96), (40, 130), (20, 24), (1, 5)))


def same(one: tuple[torch.Tensor, torch.Tensor], two: tuple[torch.Tensor, torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_form_of_a_batch_whatever_the_sizes() -> None:
    batches = Batches(MIXED, seed=0, steps=3, batch=5, crop=64)
    assert len(batches) == 3
    assert len(list(batches)) == 3
    for images, masks in batches:
        assert images.shape == (5, 3, 64, 64)
        assert images.dtype == torch.float32
        assert masks.shape == (5, 64, 64)
        assert masks.dtype == torch.int64
        assert images.isfinite().all()
        assert images.min() >= 0
        assert images.max() <= 1
        assert not images.requires_grad


def test_batch_is_a_function_of_seed_and_step() -> None:
    whole = list(Batches(MIXED, seed=3, steps=5, batch=3, crop=32))
    torch.manual_seed(99)
    np.random.seed(99)
    resumed = Batches(MIXED, seed=3, steps=50, batch=3, crop=32)
    for step in (4, 0, 2):
        assert same(resumed[step], whole[step])
    assert not same(whole[0], whole[1])
    assert not same(Batches(MIXED, seed=4, steps=5, batch=3, crop=32)[0], whole[0])


def test_random_states_are_left_as_found() -> None:
    states = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # type: ignore[index]
    list(Batches(MIXED, seed=0, steps=2, batch=2, crop=32))
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.random.get_state()[1].tolist() == states[1]  # type: ignore[index]
    assert random.getstate() == states[2]


def test_samples_are_not_changed() -> None:
    before = [(sample.image.copy(), sample.mask.copy()) for sample in MIXED]
    list(Batches(MIXED, seed=0, steps=3, batch=7, crop=48))
    for sample, (image, mask) in zip(MIXED, before, strict=True):
        assert np.array_equal(sample.image, image)
        assert np.array_equal(sample.mask, mask)


@pytest.mark.parametrize(("count", "batch"), [(7, 3), (8, 4), (2, 5), (1, 2)])
def test_an_epoch_visits_every_sample_once(count: int, batch: int) -> None:
    batches = Batches(blobs(count, ((16, 16),)), seed=1, steps=count * 4, batch=batch, crop=16)
    stream = [index for step in range(count * 4) for index in batches.order(step)]
    epochs = [stream[start : start + count] for start in range(0, len(stream) - count + 1, count)]
    assert all(sorted(epoch) == list(range(count)) for epoch in epochs)
    if count > 2:
        assert len({tuple(epoch) for epoch in epochs}) > 1


@pytest.mark.parametrize("classes", [2, 4, 200])
def test_masks_hold_only_labels_of_their_samples(classes: int) -> None:
    samples = blobs(4, ((50, 70), (90, 40)), classes)
    for seed in range(5):
        batches = Batches(samples, seed=seed, steps=1, batch=4, crop=40)
        for index, mask in zip(batches.order(0), batches[0][1], strict=True):
            assert set(mask.unique().tolist()) <= set(np.unique(samples[index].mask).tolist())


def test_no_label_is_mixed_from_two() -> None:
    samples = [Sample(s.name, s.image, 200 * s.mask, 200 * s.truth) for s in blobs(4, ((60, 60),), classes=2)]
    for _, masks in Batches(samples, seed=0, steps=4, batch=4, crop=48):
        assert set(masks.unique().tolist()) == {0, 200}


def test_not_half_a_pixel_between_image_and_mask() -> None:
    """On a ramp the image gives the place that was sampled, and the mask must be the pixel nearest to it."""
    rows, columns = np.mgrid[:300, :300]
    samples = []
    for ramp in (rows, columns):
        image = np.repeat((0.3 + ramp / 1000)[None], 3, axis=0).astype(np.float32)
        samples.append(Sample("ramp", image, ramp, ramp))
    for images, masks in Batches(samples, seed=0, steps=6, batch=4, crop=128):
        for image, mask in zip(images[:, 0].double(), masks.double(), strict=True):
            level = torch.stack([mask.flatten(), torch.ones(mask.numel(), dtype=torch.float64)], dim=1)
            fit = torch.linalg.lstsq(level, image.flatten()[:, None]).solution[:, 0]
            off = (image - fit[1]) / fit[0] - mask
            assert off.abs().max() < 0.6


def test_image_and_mask_move_together() -> None:
    """The image shows the mask; brightness and contrast are one increasing function for an image, so within every
    image the pixels of a class must show one level of gray, apart from the seams that bilinear sampling blurs."""
    samples = blobs(6, ((90, 120), (60, 60)))
    agreeing = []
    for seed in range(6):
        images, masks = Batches(samples, seed=seed, steps=1, batch=6, crop=64)[0]
        for image, mask in zip(images[:, 0], masks, strict=True):
            levels = torch.stack([image[mask == label].median() for label in mask.unique()])
            nearest = (image[None] - levels[:, None, None]).abs().argmin(dim=0)
            seams = torch.nn.functional.max_pool2d(torch.stack([mask, -mask]).float()[None], 3, 1, 1)[0].sum(0) > 0
            agreeing.append(float((mask.unique()[nearest] == mask)[~seams].float().mean()))
    assert min(agreeing) > 0.97
    assert np.mean(agreeing) > 0.995


@pytest.fixture(scope="module")
def bars() -> dict[str, np.ndarray]:
    """How the 64 samples of one batch were changed, measured on a bar of 48 x 16 pixels in the middle of them.

    Flips and quarter turns leave an angle of a rotation in +-30 degrees, for they turn a bar by 0 or 90.
    """
    mask = np.zeros((96, 96), dtype=np.int64)
    mask[40:56, 24:72] = 1
    dark, light = 0.4, 0.6  # no change of brightness and contrast reaches 0 or 1
    image = np.where(mask == 1, light, dark)[None].repeat(3, axis=0).astype(np.float32)
    images, masks = Batches([Sample("bar", image, mask, mask)], seed=0, steps=1, batch=64, crop=96)[0]
    angle, length, width, gain, offset = [], [], [], [], []
    for gray, bar in zip(images[:, 0].numpy(), masks.numpy() == 1, strict=True):
        variance, axes = np.linalg.eigh(np.cov(np.argwhere(bar).T))
        tilt = np.degrees(np.arctan2(axes[0, 1], axes[1, 1]))
        angle.append((tilt + 45) % 90 - 45)
        width.append(np.sqrt(12 * variance[0]) / 16)
        length.append(np.sqrt(12 * variance[1]) / 48)
        seen_dark, seen_light = np.median(gray[~bar]), np.median(gray[bar])
        gain.append((seen_light - seen_dark) / (light - dark))
        offset.append(seen_dark / gain[-1] - dark)
    measures = {"angle": angle, "length": length, "width": width, "contrast": gain, "brightness": offset}
    return {name: np.array(values) for name, values in measures.items()}


@pytest.mark.parametrize(
    ("measure", "least", "most", "error"),
    [
        ("angle", -30.0, 30.0, 0.7),
        ("length", 0.8, 1.2, 0.02),
        ("width", 0.8, 1.2, 0.04),
        ("contrast", 0.8, 1.2, 1e-4),
        ("brightness", -0.2, 0.2, 1e-4),
    ],
)
def test_every_sample_of_a_batch_is_changed_by_chance(
    bars: dict[str, np.ndarray], measure: str, least: float, most: float, error: float
) -> None:
    """The changes fill the whole documented interval and do not leave it."""
    seen = bars[measure]
    margin = 0.1 * (most - least)
    assert least - error <= seen.min() < least + margin
    assert most - margin < seen.max() <= most + error
    assert (seen.max() - seen.min()) / 4 < seen.std()  # spread evenly: 0.29 of the interval; none at the ends alone
    assert abs(seen.mean() - (least + most) / 2) < margin


def test_changes_are_independent_of_each_other(bars: dict[str, np.ndarray]) -> None:
    parts = np.corrcoef([bars[name] for name in ("angle", "length", "contrast", "brightness")])
    assert np.abs(parts - np.eye(4)).max() < 0.4  # 3 standard errors of 64 samples
    assert np.allclose(bars["length"], bars["width"], atol=0.05)  # one scale for both axes


def test_crops_come_from_everywhere() -> None:
    rows, columns = np.mgrid[:200, :200]
    for ramp in (rows, columns):
        image = np.zeros((3, 200, 200), dtype=np.float32)
        _, masks = Batches([Sample("ramp", image, ramp, ramp)], seed=0, steps=1, batch=64, crop=40)[0]
        centres = masks[:, 20, 20]
        assert centres.min() < 40
        assert centres.max() > 160
        assert 30 < centres.float().std() < 60  # 46 where every start from 0 to 160 is as likely


def test_all_symmetries_occur() -> None:
    mask = np.zeros((200, 200), dtype=np.int64)
    mask[:, 100:] = 1
    mask[:100] += 2
    image = np.zeros((3, 200, 200), dtype=np.float32)
    batches = Batches([Sample("q", image, mask, mask)], seed=0, steps=8, batch=16, crop=180)
    corners = set()
    for _, masks in batches:
        for m in masks:
            corners.add(tuple(int(m[y, x]) for y, x in ((45, 45), (45, 135), (135, 45), (135, 135))))
    assert {c for c in corners if len(set(c)) == 4} == {
        (2, 3, 0, 1), (3, 2, 1, 0), (0, 1, 2, 3), (1, 0, 3, 2),
        (2, 0, 3, 1), (0, 2, 1, 3), (3, 1, 2, 0), (1, 3, 0, 2),
    }  # fmt: skip


def test_reflection_fills_what_lies_outside() -> None:
    """An image smaller than the crop holds no zero, and neither may its batches."""
    mask = np.ones((10, 30), dtype=np.int64)
    image = np.full((3, 10, 30), 0.5, dtype=np.float32)
    for images, masks in Batches([Sample("one", image, mask, mask)], seed=0, steps=6, batch=4, crop=64):
        assert masks.min() == 1
        assert images.min() > 0.2  # 0.5 less 0.2, times 0.8


def test_class_shares_survive() -> None:
    """Every pixel of a sample is as likely as the other: the share of a class in many batches is its share."""
    samples = blobs(5, ((96, 96),), classes=2)
    share = np.mean([sample.mask.mean() for sample in samples])
    batches = Batches(samples, seed=0, steps=40, batch=10, crop=64)
    seen = np.mean([masks.float().mean() for _, masks in batches])
    assert seen == pytest.approx(share, abs=0.04)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"seed": -1}, "seed must be a whole number >= 0; got -1"),
        ({"steps": -1}, "steps must be a whole number >= 0; got -1"),
        ({"batch": 0}, "batch must be a whole number >= 1; got 0"),
        ({"crop": 7}, "crop must be a whole number >= 8; got 7"),
        ({"crop": 64.0}, "crop must be a whole number >= 8; got 64.0"),
        ({"samples": []}, "samples must be at least one sample; got 0"),
    ],
)
def test_refuses(arguments: dict[str, object], text: str) -> None:
    given = {"samples": MIXED, "seed": 0, "steps": 1} | arguments
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        Batches(given.pop("samples"), **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("step", [-1, 2])
def test_step_out_of_range(step: int) -> None:
    with pytest.raises(IndexError, match=rf"^step must be in \[0, 2\); got {step}$"):
        Batches(MIXED, seed=0, steps=2)[step]
