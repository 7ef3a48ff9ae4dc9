"""The box losses: worked numbers, the papers' formulas in slow loops, other libraries' values, and laws for every row."""

import copy
import math
import pickle
from typing import Any

import array_api_strict
import numpy as np
import pytest
import torch
from torch import Tensor

import oracle_box
from lossmith import show
from lossmith.core.boxes import box_loss
from lossmith.core.catalogue import BOXES, CATALOGUE
from lossmith.core.namespaces.numpy import xp as numpy_namespace
from lossmith.core.namespaces.standard import Standard
from lossmith.torch import (
    BoxL1Loss,
    BoxLoss,
    CIoULoss,
    DIoULoss,
    FocalEIoULoss,
    GIoULoss,
    IoULoss,
    MPDIoULoss,
    SumLoss,
    parse,
)

VARIANTS: dict[str, list[dict[str, Any]]] = {
    "box_l1": [{}],
    "box_smooth_l1": [{}, {"beta": 0.3}],
    "box_iou": [{}, {"form": "log"}, {"form": "square"}],
    "giou": [{}],
    "diou": [{}],
    "ciou": [{}, {"gradient": "full"}, {"threshold": 0.5}],
    "eiou": [{}],
    "siou": [{}, {"theta": 2.0}, {"theta": 0.5}],
    "alpha_iou": [{}, {"form": "giou", "alpha": 2.0}, {"form": "diou", "alpha": 0.5}, {"form": "ciou", "alpha": 1.5}],
    "focal_eiou": [{}, {"gamma": 0.0}, {"gamma": 0.5, "gradient": "full"}, {"gamma": 2.0}],
    "mpdiou": [{"image_size": (20.0, 10.0)}],
    "inner_iou": [{}, {"ratio": 1.2, "form": "giou"}, {"ratio": 0.6, "form": "diou"}, {"ratio": 1.5, "form": "ciou"}],
    "wiou": [{}],
    "nwd": [{}, {"constant": 2.0}],
}
ALL = [(name, parameters) for name, variants in VARIANTS.items() for parameters in variants]
FIRST = [(name, variants[0]) for name, variants in VARIANTS.items()]
every_variant = pytest.mark.parametrize(("name", "parameters"), ALL, ids=str)
every_row = pytest.mark.parametrize(("name", "parameters"), FIRST, ids=str)
OVERLAP = [row for row in ALL if row[0] not in ("box_l1", "box_smooth_l1", "nwd")]
overlap_variant = pytest.mark.parametrize(("name", "parameters"), OVERLAP, ids=str)
SCALE_FREE = [row for row in OVERLAP if row[0] != "mpdiou"]
SOLID = [row for row in ALL if 3 in BOXES[row[0]].axes]


def make(name: str, parameters: dict[str, Any], **more: Any) -> BoxLoss:
    return BoxLoss.registry[name](**parameters, **more)


def boxes(seed: int = 0, n: int = 24, axes: int = 2) -> tuple[Tensor, Tensor]:
    """Pairs that overlap, that are apart, and that lie one inside the other."""
    draw = np.random.default_rng(seed)
    centre, size = draw.uniform(-3, 3, (n, axes)), draw.uniform(0.5, 4, (n, axes))
    target = np.concatenate([centre - size / 2, centre + size / 2], axis=1)
    centre = centre + draw.normal(0, 1, (n, axes)) * (1 + 4 * (np.arange(n) % 3 == 0))[:, None]
    size = size * np.exp(draw.normal(0, 0.5, (n, axes)))
    pred = np.concatenate([centre - size / 2, centre + size / 2], axis=1)
    middle = (target[:, :axes] + target[:, axes:]) / 2
    inside = np.concatenate([middle - 0.1, middle + 0.17], axis=1)
    pred[::7] = inside[::7]
    return torch.from_numpy(pred), torch.from_numpy(target)


def value_and_slope(loss: BoxLoss, pred: Tensor, target: Tensor, *rest: Tensor) -> tuple[Tensor, Tensor]:
    pred = pred.clone().requires_grad_()
    value = loss(pred, target, *rest)
    return value.detach(), torch.autograd.grad(value.sum(), pred)[0]


A = [0.0, 0.0, 2.0, 2.0]
RIGHT = [1.0, 0.0, 3.0, 2.0]  # I = 2, U = 6, hull 3 x 2, centres 1 apart
INSIDE = [0.5, 0.5, 1.5, 1.5]  # I = 1, U = 4, hull 2 x 2
AWAY = [3.0, 4.0, 5.0, 6.0]  # I = 0, U = 8, hull 5 x 6, centres (3, 4) apart
LOW = [0.0, 0.5, 2.0, 1.5]  # I = 2, U = 4: width 2, height 1
V = 4 / math.pi**2 * (math.atan(2) - math.atan(1)) ** 2
NUMBERS = [
    ("box_l1", A, AWAY, 3 + 4 + 3 + 4),
    ("box_smooth_l1", A, LOW, 1 / 8 + 1 / 8),
    ("box_smooth_l1(beta=0.5)", A, RIGHT, 3 / 4 + 3 / 4),
    ("box_iou", A, RIGHT, 2 / 3),
    ("box_iou(form='log')", A, RIGHT, math.log(3)),
    ("box_iou(form='square')", A, RIGHT, 1 - 1 / 9),
    ("giou", A, RIGHT, 2 / 3),  # the hull is the union
    ("giou", A, AWAY, 1 + 22 / 30),
    ("diou", A, RIGHT, 2 / 3 + 1 / 13),
    ("diou", A, AWAY, 1 + 25 / 61),
    ("ciou", A, AWAY, 1 + 25 / 61),  # squares both
    ("ciou", A, LOW, 1 / 2 + V * V / (1 / 2 + V)),
    ("ciou(threshold=0.6)", A, LOW, 1 / 2),
    ("ciou(threshold=0.5)", A, LOW, 1 / 2 + V * V / (1 / 2 + V)),  # IoU is not below 1/2
    ("eiou", A, LOW, 1 / 2 + 1 / 4),
    ("eiou", A, INSIDE, 3 / 4 + 1 / 4 + 1 / 4),
    ("siou", A, RIGHT, 2 / 3 + (1 - math.exp(-2 / 9)) / 2),  # along an axis the angle costs nothing
    # Lambda = 2 3 4 / 25; the sizes agree.
    ("siou", A, AWAY, 1 + (2 - math.exp(-(26 / 25) * 9 / 25) - math.exp(-(26 / 25) * 16 / 36)) / 2),
    ("siou(theta=1)", A, LOW, 1 / 2 + (1 - math.exp(-1 / 2)) / 2),
    ("alpha_iou", A, RIGHT, 1 - 1 / 27),
    ("alpha_iou(alpha=2, form='diou')", A, RIGHT, 1 - 1 / 9 + 1 / 169),
    ("focal_eiou", A, INSIDE, (3 / 4 + 1 / 4 + 1 / 4) / 2),
    ("focal_eiou", A, AWAY, 0.0),
    ("mpdiou(image_size=(4, 3))", A, RIGHT, 2 / 3 + 2 / 25),
    ("inner_iou(ratio=0.5)", A, LOW, 1 / 2),
    ("inner_iou(ratio=0.5)", A, RIGHT, 1.0),  # at half the size they touch
    ("inner_iou(ratio=1.5)", A, RIGHT, 1 - 6 / 12),  # two of 3 x 3, 1 apart
    ("inner_iou(ratio=1.5, form='diou')", A, RIGHT, 1 - 6 / 12 + 1 / 13),
    ("wiou", A, RIGHT, 2 / 3 * math.exp(1 / 13)),
    ("nwd(constant=5)", A, AWAY, 1 - math.exp(-1)),
    ("nwd(constant=1)", A, LOW, 1 - math.exp(-1 / 2)),  # half of the heights' difference
]


@pytest.mark.parametrize(("spec", "pred", "target", "value"), NUMBERS, ids=str)
def test_worked_numbers(spec, pred, target, value):
    got = parse(spec)(torch.tensor([pred], dtype=torch.float64), torch.tensor([target], dtype=torch.float64))
    assert got.item() == pytest.approx(value, rel=1e-12, abs=1e-15)


def test_every_row_has_its_number_its_oracle_and_its_variants():
    assert {parse(row[0]).record.name for row in NUMBERS} == set(BOXES)
    assert set(oracle_box.ORACLES) == set(VARIANTS) == set(BOXES) == set(BoxLoss.registry)
    for name, record in BOXES.items():
        options = {key for variant in VARIANTS[name] for key in variant}
        assert options == {parameter.name for parameter in record.parameters} - {"reduction"}
        assert (record.family, record.tasks, BoxLoss.registry[name].__name__) == ("box", (), record.cls)


@every_variant
def test_value_and_gradient_are_the_papers(name, parameters):
    pred, target = boxes()
    value, slope = value_and_slope(make(name, parameters, reduction="none"), pred, target)
    for i, (a, b) in enumerate(zip(pred.tolist(), target.tolist(), strict=True)):
        expected = oracle_box.value(name, a, b, **parameters)
        if math.isinf(expected):
            assert value[i] == -math.log(torch.finfo(torch.float64).tiny)
            continue
        assert value[i].item() == pytest.approx(expected, rel=1e-12, abs=1e-14), i
        expected = oracle_box.slope(name, a, b, **parameters)
        if parameters.get("gradient") == "full" and name == "focal_eiou" and oracle_box.iou(a, b) == 0:
            expected = [0.0] * 4
        np.testing.assert_allclose(slope[i], expected, rtol=1e-9, atol=1e-12, err_msg=f"{i}")


@pytest.mark.parametrize(("name", "parameters"), SOLID, ids=str)
def test_boxes_of_three_axes(name, parameters):
    pred, target = boxes(axes=3)
    value, slope = value_and_slope(make(name, parameters, reduction="none"), pred, target)
    for i, (a, b) in enumerate(zip(pred.tolist(), target.tolist(), strict=True)):
        expected = oracle_box.value(name, a, b, **parameters)
        if not math.isinf(expected):
            assert value[i].item() == pytest.approx(expected, rel=1e-12, abs=1e-14), i
            np.testing.assert_allclose(slope[i], oracle_box.slope(name, a, b, **parameters), rtol=1e-9, atol=1e-12)


# torchvision 0.29.1, float64, eps=0: generalized_box_iou_loss, distance_box_iou_loss, complete_box_iou_loss; the last
# hands no eps on and takes 1e-7.
PEER_PRED = [[0, 0, 4, 3], [2, 1, 7, 5], [10, 10, 12, 18], [0, 0, 1, 1]]
PEER_TARGET = [[1, 1, 5, 6], [3, 2, 5, 4], [11, 9, 14, 12], [3, 2, 5, 6]]
PEER = {
    "giou": (
        [0.9025641026, 0.8, 1.2741545894, 1.7],
        [
            [-0.0999605523, -0.0466140697, -0.1013806706, -0.1398422091],
            [-0.04, -0.05, 0.04, 0.05],
            [0.0322542533, 0.0674753203, -0.2309388784, 0.0229935354],
            [-0.0266666667, -0.0166666667, -0.0333333333, -0.0333333333],
        ],
    ),
    "diou": (
        [0.8511979823, 0.806097561, 1.0625280143, 1.4016393443],
        [
            [-0.0295834135, -0.0521651462, -0.0844407799, -0.139295761],
            [-0.0263176681, -0.048810232, 0.050707912, 0.048810232],
            [-0.0333810427, 0.0757800168, -0.0797361292, 0.0159045125],
            [0.0084654663, 0.0216339694, -0.0573770492, -0.0573770492],
        ],
    ),
    "ciou": (
        [0.852038464, 0.8061281579, 1.0761115856, 1.4033288045],
        [
            [-0.0303821146, -0.0511002109, -0.0836420784, -0.1403606956],
            [-0.0263716175, -0.0487427942, 0.0507618614, 0.0487427942],
            [-0.0274668695, 0.0743014733, -0.085650302, 0.0173830556],
            [0.0032146256, 0.0268848098, -0.0521262085, -0.0626278896],
        ],
    ),
}


@pytest.mark.parametrize("name", PEER)
def test_torchvision_has_the_same_value_and_gradient(name):
    pred, target = (torch.tensor(x, dtype=torch.float64) for x in (PEER_PRED, PEER_TARGET))
    value, slope = value_and_slope(make(name, {}, reduction="none"), pred, target)
    tolerance = 1e-7 if name == "ciou" else 1e-9
    np.testing.assert_allclose(value, PEER[name][0], rtol=0, atol=tolerance)
    np.testing.assert_allclose(slope, PEER[name][1], rtol=0, atol=tolerance)


def test_monai_has_the_same_giou_in_space():
    """monai 1.6.1, BoxGIoULoss(reduction="none"), computed in float32."""
    pred = torch.tensor([[0.0, 0, 0, 4, 3, 2], [0, 0, 0, 1, 1, 1]])
    target = torch.tensor([[1.0, 1, 1, 5, 6, 4], [2, 0, 0, 3, 2, 1]])
    np.testing.assert_allclose(GIoULoss(reduction="none")(pred, target), [1.2730768918991089, 1.5], rtol=1e-6)


def test_published_gradient_of_ciou_leaves_a_factor_out():
    """dL = dDIoU + alpha dv, with dv / dw = -(8 / pi^2) (atan w'/h' - atan w/h) h and dv / dh = +(...) w."""
    pred = torch.tensor([[0.1, 0.2, 0.4, 0.4]], dtype=torch.float64)
    target = torch.tensor([[0.15, 0.1, 0.3, 0.5]], dtype=torch.float64)
    width, height = 0.3, 0.2
    angle = math.atan(0.15 / 0.4) - math.atan(width / height)
    alpha = float(oracle_box.alpha_of(pred[0].tolist(), target[0].tolist()))
    base = value_and_slope(DIoULoss(), pred, target)[1]
    wide, tall = (alpha * 8 / math.pi**2 * angle * x for x in (-height, width))
    value, slope = value_and_slope(CIoULoss(gradient="published"), pred, target)
    torch.testing.assert_close(
        slope - base, torch.tensor([[-wide, -tall, wide, tall]], dtype=torch.float64), rtol=1e-9, atol=0
    )
    assert value == CIoULoss()(pred, target)


@every_variant
def test_equal_boxes_cost_nothing(name, parameters):
    loss = make(name, parameters, reduction="none")
    for side in (1e-4, 1.0, 1e4):
        box = torch.tensor([[0.3, -0.7, 0.3 + side, -0.7 + side], [0.0, 0.0, side, 2 * side]])
        for dtype in (torch.float32, torch.float64):
            value, slope = value_and_slope(loss, box.to(dtype), box.to(dtype))
            assert value.tolist() == [0.0, 0.0]
            assert slope.isfinite().all()


@pytest.mark.parametrize(("name", "parameters"), SCALE_FREE, ids=str)
def test_tiny_boxes_are_as_others(name, parameters):
    pred, target = boxes()
    loss = make(name, parameters, reduction="none")
    torch.testing.assert_close(loss(pred * 1e-4, target * 1e-4), loss(pred, target), rtol=1e-9, atol=1e-12)
    small = loss(pred.float() * 1e-4, target.float() * 1e-4)
    apart = loss(pred, target) > 700
    torch.testing.assert_close(small[~apart].double(), loss(pred, target)[~apart], rtol=2e-4, atol=2e-5)


@every_variant
def test_place_does_not_matter(name, parameters):
    pred, target = boxes()
    loss = make(name, parameters, reduction="none")
    torch.testing.assert_close(loss(pred + 17.25, target + 17.25), loss(pred, target), rtol=1e-9, atol=1e-12)


@every_variant
def test_axes_may_be_swapped_and_mirrored(name, parameters):
    pred, target = boxes()
    loss = make(name, parameters, reduction="none")
    if name != "mpdiou":
        swap = [1, 0, 3, 2]
        torch.testing.assert_close(loss(pred[:, swap], target[:, swap]), loss(pred, target))
    mirror = torch.tensor([-1.0, 1.0, -1.0, 1.0]).double()
    turned = loss(pred[:, [2, 1, 0, 3]] * mirror, target[:, [2, 1, 0, 3]] * mirror)
    torch.testing.assert_close(turned, loss(pred, target))


@every_variant
def test_symmetric(name, parameters):
    pred, target = boxes()
    loss = make(name, parameters, reduction="none")
    torch.testing.assert_close(loss(pred, target), loss(target, pred), rtol=1e-12, atol=1e-14)


@every_variant
def test_values_are_in_their_range(name, parameters):
    low_high = BOXES[name].range
    for seed in range(4):
        value = make(name, parameters, reduction="none")(*boxes(seed, 200))
        assert value.min() >= low_high.low
        if parameters.get("form") != "log":
            assert value.max() <= low_high.high


def test_no_penalty_lowers_the_loss():
    pred, target = boxes(n=200)
    base, distance = IoULoss(reduction="none")(pred, target), DIoULoss(reduction="none")(pred, target)
    for spec in ("giou", "diou", "ciou", "eiou", "siou", "wiou", "mpdiou(image_size=(9, 9))", "box_iou(form='log')"):
        assert (parse(spec, reduction="none")(pred, target) >= base - 1e-15).all()
    for spec in ("ciou", "eiou"):
        assert (parse(spec, reduction="none")(pred, target) >= distance - 1e-15).all()


def test_limits_that_the_docs_name():
    pred, target = boxes()
    same = [
        ("alpha_iou(alpha=1, form='ciou')", "ciou"),
        ("inner_iou(ratio=1, form='giou')", "giou"),
        ("focal_eiou(gamma=0)", "eiou"),
        ("alpha_iou(alpha=1)", "box_iou"),
    ]
    for one, other in same:
        torch.testing.assert_close(parse(one)(pred, target), parse(other)(pred, target))
    torch.testing.assert_close(4 * torch.nn.L1Loss()(pred, target), BoxL1Loss()(pred, target))


@every_row
def test_weights_are_repetition_and_zero_is_absence(name, parameters):
    pred, target = boxes(n=4)
    loss = make(name, parameters)
    weight = torch.tensor([1.0, 2.0, 0.0, 3.0]).double()
    times = [0, 1, 1, 3, 3, 3]
    pred[2], target[2] = torch.nan, torch.tensor([5.0, 5.0, -5.0, torch.inf])
    value, slope = value_and_slope(loss, pred, target, weight)
    expected, spread = value_and_slope(loss, pred[times], target[times])
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(slope[3], spread[3:].sum(0))
    assert slope[2].tolist() == [0.0] * 4
    total = make(name, parameters, reduction="sum")(pred, target, weight)
    each = make(name, parameters, reduction="none")(pred, target, weight)
    torch.testing.assert_close(total, 6 * value)
    torch.testing.assert_close(each.sum(), total)
    assert each[2] == 0
    torch.testing.assert_close(loss(pred[:2], target[:2], torch.tensor([True, False])), loss(pred[:1], target[:1]))


@every_row
def test_nothing_to_count_is_zero_with_a_graph(name, parameters):
    pred, target = boxes(n=3)
    value, slope = value_and_slope(make(name, parameters), pred, target, torch.zeros(3))
    assert (value, slope.abs().max()) == (0, 0)
    for reduction in ("mean", "sum"):
        value, slope = value_and_slope(make(name, parameters, reduction=reduction), pred[:0], target[:0])
        assert value == 0
        assert slope.shape == (0, 4)
    assert make(name, parameters, reduction="none")(pred[:0], target[:0]).shape == (0,)


@every_row
def test_order_and_leading_axes_do_not_matter(name, parameters):
    pred, target = boxes()
    none, mean = make(name, parameters, reduction="none"), make(name, parameters)
    value = none(pred, target)
    flipped = none(pred.flip(0), target.flip(0)).flip(0)
    torch.testing.assert_close(flipped, value)
    torch.testing.assert_close(none(pred.view(2, 3, 4, 4), target.view(2, 3, 4, 4)), value.view(2, 3, 4))
    torch.testing.assert_close(mean(pred.view(2, 3, 4, 4), target.view(2, 3, 4, 4)), value.mean())
    torch.testing.assert_close(none(pred[3], target[3]), value[3])
    strided = torch.stack([pred, pred], dim=2)[..., 0]
    torch.testing.assert_close(none(strided, target), value)


@every_variant
def test_half_precision_is_computed_in_float32(name, parameters):
    pred, target = (x.abs() * 500 for x in boxes())
    pred, target = (
        torch.cat([x[:, :2].minimum(x[:, 2:]), x[:, :2].maximum(x[:, 2:]) + 600], 1) for x in (pred, target)
    )
    loss = make(name, parameters)
    for dtype in (torch.float16, torch.bfloat16):
        one, other = pred.to(dtype), target.to(dtype)
        value, slope = value_and_slope(loss, one, other)
        assert (value.dtype, slope.dtype) == (torch.float32, dtype)
        expected, exact = value_and_slope(loss, one.float(), other.float())
        assert value == expected
        torch.testing.assert_close(slope, exact.to(dtype))
    assert loss(pred, target).dtype == torch.float64
    torch.testing.assert_close(loss(pred.round(), target.round().long()), loss(pred.round(), target.round()))


POINT, LINE, BOX = [1.0, 1, 1, 1], [0.0, 1, 2, 1], [0.0, 0, 2, 2]
EMPTY = [(POINT, POINT), (LINE, LINE), (POINT, BOX), (LINE, BOX), (BOX, POINT), (BOX, LINE), (POINT, LINE), (LINE, POINT),
         (POINT, [3.0, 1, 3, 1]), (LINE, [1.0, 0, 1, 2]), ([5.0, 5, 5, 5], BOX)]  # fmt: skip


@every_variant
def test_boxes_without_area(name, parameters):
    pred, target = (torch.tensor([pair[k] for pair in EMPTY]) for k in (0, 1))
    loss = make(name, parameters, reduction="none")
    for dtype in (torch.float32, torch.float64):
        value, slope = value_and_slope(loss, pred.to(dtype), target.to(dtype))
        assert value.isfinite().all()
        assert slope.isfinite().all()
        for i, pair in enumerate(EMPTY):
            expected = oracle_box.value(name, *pair, **parameters)
            expected = -math.log(torch.finfo(dtype).tiny) if math.isinf(expected) else expected
            assert value[i].item() == pytest.approx(expected, rel=1e-5, abs=1e-6), pair


@every_variant
def test_far_boxes(name, parameters):
    near = torch.tensor([[0.0, 0.0, 1.0, 2.0], [0.0, 0.0, 1e3, 1e-3]])
    for dtype in (torch.float32, torch.float64):
        value, slope = value_and_slope(make(name, parameters), near.to(dtype), near.to(dtype) + 1e6)
        assert value.isfinite()
        assert slope.isfinite().all()


# Predictions and targets of one unit; tiny ones are 1e-4 of it, as small objects are in units of the image.
HARD = {
    "tiny": ([[0.0, 0, 1e-4, 1e-4], [0.5, 0.5, 0.5001, 0.5001], [0.5, 0.5, 0.5001, 0.5002], [0.2, 0.2, 0.9, 0.9]],
             [[5e-5, 0, 2e-4, 1e-4], [0.5, 0.5, 0.5001, 0.5001], [0.9, 0.1, 0.9002, 0.1001], [0.5, 0.5, 0.5001, 0.5001]]),
    "without area": ([pair[0] for pair in EMPTY], [pair[1] for pair in EMPTY]),
    "inverted": ([[3.0, 0, 1, 2], [1, 3, 2, -4], [9, 9, 7, 7.5], [0.5001, 0.5, 0.5, 0.5]], [[0.0, 0, 4, 5]] * 4),
    "inverted, no target": ([[3.0, 0, 1, 2], [0.5001, 0.5, 0.5, 0.5]], [[1.0, 1, 1, 1], [0.5, 0.5, 0.5, 0.5]]),
    "far": ([[0.0, 0, 1, 2], [0, 0, 1e3, 1e-3], [0, 0, 1e-4, 1e-4], [1, 1, 0, 0]], [[1e6, 1e6, 1e6 + 64, 1e6 + 64]] * 4),
}  # fmt: skip
TREATMENTS = [("ciou", {"gradient": "published"}), ("ciou", {"gradient": "published", "threshold": 0.5})]


@pytest.mark.parametrize("kind", HARD)
@pytest.mark.parametrize(("name", "parameters"), [*ALL, *TREATMENTS], ids=str)
def test_hard_boxes_are_finite_in_every_precision(name, parameters, kind):
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        if (dtype, kind) == (torch.float16, "far"):
            continue  # it ends at 65504
        pred, target = (torch.tensor(x, dtype=dtype) for x in HARD[kind])
        for pred_, target_ in [(pred, target), *(_solid(pred, target) if 3 in BOXES[name].axes else [])]:
            value, slope = value_and_slope(make(name, parameters, reduction="none"), pred_, target_)
            assert value.isfinite().all()
            assert slope.isfinite().all()


def _solid(pred: Tensor, target: Tensor) -> list[tuple[Tensor, Tensor]]:
    """The same boxes with a third axis: of a usual length, and of none."""
    pairs = []
    for low, high in ((0.0, 1.0), (0.5, 0.5)):
        sides = [torch.full_like(pred[:, :1], side) for side in (low, high)]
        pairs.append([torch.cat([box[:, :2], sides[0], box[:, 2:], sides[1]], dim=1) for box in (pred, target)])
    return [(pred, target) for pred, target in pairs]


@pytest.mark.parametrize(("name", "parameters"), SCALE_FREE, ids=str)
def test_any_unit_gives_the_same_number(name, parameters):
    """From 1e-33 to 1e33 in float32, digit for digit; the gradient is that of 1, in the other unit."""
    for axes in BOXES[name].axes:
        pred, target = (x.float() for x in boxes(axes=axes))
        loss = make(name, parameters, reduction="none")
        value, slope = value_and_slope(loss, pred, target)
        for exponent in (-110, -64, -40, 40, 64, 110):
            unit = 2.0**exponent
            other, found = value_and_slope(loss, pred * unit, target * unit)
            assert other.equal(value), exponent
            torch.testing.assert_close(found * unit, slope, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("name", "parameters"), OVERLAP, ids=str)
def test_equal_boxes_of_any_size_cost_nothing(name, parameters):
    """Also where a product of sides has no number: below 1e-35 (float32) a side counts as none."""
    loss = make(name, parameters, reduction="none")
    for side in (1e-42, 1e-37, 1e-30, 3e-20, 1e-13, 1e13, 1e20, 3e38):
        for axes in BOXES[name].axes:
            box = side * torch.tensor([[0.0] * axes + [1.0] * axes, [-0.5] * axes + [0.25] * axes])
            value, slope = value_and_slope(loss, box, box)
            assert value.tolist() == [0.0, 0.0]
            assert slope.isfinite().all()


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize(("name", "parameters"), ALL, ids=str)
def test_lengths_of_every_magnitude_are_finite(name, parameters, axes):
    """Sides, gaps and overlaps from 1e-45 to 1 beside a side of 1, in units from 1e-30 to 1e10."""
    if axes not in BOXES[name].axes:
        return
    random, n = torch.Generator().manual_seed(0), 400

    def lengths(k: int) -> Tensor:
        return 10 ** (-45 * torch.rand(n, k, generator=random)) * torch.randint(-1, 2, (n, k), generator=random)

    target = torch.cat([torch.zeros(n, axes), torch.ones(n, axes)], dim=1)
    touching = torch.cat([-torch.ones(n, axes), lengths(axes).abs()], dim=1)
    thin = torch.cat([torch.zeros(n, axes), lengths(1).abs(), torch.ones(n, axes - 2), lengths(1).abs()], dim=1)
    other = thin[torch.randperm(n, generator=random)][:, [*range(axes), *range(2 * axes - 1, axes - 1, -1)]]
    pairs = [(target + lengths(2 * axes), target), (touching, target), (target, touching), (thin, other)]
    loss = make(name, parameters, reduction="none")
    for unit in (1e-30, 1e-15, 1.0, 1e10):
        for pred, truth in pairs:
            value, slope = value_and_slope(loss, unit * pred, unit * truth)
            assert value.isfinite().all()
            assert slope.isfinite().all()


def test_what_is_infinite_stays_visible():
    box = torch.tensor([[0.0, 0.0, torch.inf, 1.0], [0.0, 0.0, 1e30, 1.0]])
    assert GIoULoss(reduction="none")(box, box).isnan().tolist() == [True, False]


INVERTED = torch.tensor([[3.0, 0.0, 1.0, 2.0], [1.0, 3.0, 2.0, -4.0], [9.0, 9.0, 7.0, 7.5], [-200.0, 0.0, -300.0, 1.0]])


@overlap_variant
def test_an_inverted_prediction_is_turned_round(name, parameters):
    pred, target = INVERTED.double(), torch.tensor([[0.0, 0.0, 4.0, 5.0]] * 4).double()
    loss = make(name, parameters, reduction="none")
    value, slope = value_and_slope(loss, pred, target)
    assert value.isfinite().all()
    widths = pred[:, 2:] - pred[:, :2]
    opens = slope[:, 2:] - slope[:, :2]  # the slope of the loss in the widths: below 0 where one is inverted
    assert (opens[widths < 0] < 0).all()
    middle = pred.clone()
    middle[:, :2] = torch.where(widths < 0, (pred[:, :2] + pred[:, 2:]) / 2, pred[:, :2])
    middle[:, 2:] = torch.where(widths < 0, (pred[:, :2] + pred[:, 2:]) / 2, pred[:, 2:])
    over = (-widths).clamp(min=0)
    hull = middle[:, 2:].maximum(target[:, 2:]) - middle[:, :2].minimum(target[:, :2])
    torch.testing.assert_close(value, loss(middle, target) + (over / (over + hull)).sum(1))


@every_variant
def test_inverted_predictions_change_nothing_for_others(name, parameters):
    pred, target = boxes()
    alone, slope = value_and_slope(make(name, parameters, reduction="none"), pred, target)
    mixed = torch.cat([pred, INVERTED.double()]), torch.cat([target, torch.tensor([[0.0, 0, 4, 5]] * 4).double()])
    among, slopes = value_and_slope(make(name, parameters, reduction="none"), *mixed)
    torch.testing.assert_close(among[:-4], alone, rtol=1e-13, atol=1e-15)
    torch.testing.assert_close(slopes[:-4], slope, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("spec", ["giou", "diou", "ciou", "eiou", "siou", "nwd", "box_l1", "mpdiou(image_size=(9, 9))"])
def test_descent_rights_an_inverted_box(spec):
    loss, target = parse(spec), torch.tensor([[0.0, 0.0, 4.0, 3.0]])
    pred = torch.tensor([[6.0, 5.0, 5.0, 2.0]], requires_grad=True)
    optimizer = torch.optim.Adam([pred], lr=0.05)
    for _ in range(500):
        optimizer.zero_grad()
        loss(pred, target).backward()
        optimizer.step()
    assert IoULoss()(pred, target) < 0.1


def test_near_boxes_of_high_iou_keep_their_digits():
    """1 - IoU of boxes of width 3/8 and a little more, areas exact: not lost to 1 - 0.9999..., a multiple of 6e-8."""
    for steps in (1, 2, 3, 5, 7):
        wide = 3 / 8 + steps * 2**-25
        pred, target = torch.tensor([[0.0, 0.0, wide, 0.5]]), torch.tensor([[0.0, 0.0, 3 / 8, 0.5]])
        assert IoULoss()(pred, target).item() == pytest.approx(1 - 3 / 8 / wide, rel=1e-6)
        assert IoULoss(form="log")(pred, target).item() == pytest.approx(math.log(wide / (3 / 8)), rel=1e-6)


def test_little_overlap_keeps_its_digits():
    pred, target = torch.tensor([[0.0, 0.0, 1e-6, 1e-6]]), torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    assert IoULoss(form="log")(pred, target).item() == pytest.approx(12 * math.log(10), rel=1e-5)


@every_row
def test_nan_is_seen(name, parameters):
    pred, target = boxes(n=5)
    for spoilt in (pred, target):
        keep = spoilt[1, 2].item()
        spoilt[1, 2] = torch.nan
        value = make(name, parameters, reduction="none")(pred, target)
        assert value.isnan().tolist() == [False, True, False, False, False]
        assert make(name, parameters)(pred, target).isnan()
        pred[3] = torch.tensor([1.0, 1.0, 0.0, 0.0])  # also where formulas are careful
        assert make(name, parameters, reduction="none")(pred, target)[1].isnan()
        spoilt[1, 2] = keep


@every_variant
def test_gradients_of_gradients(name, parameters):
    if parameters.get("gradient", "constant" if name in ("ciou", "focal_eiou") else "") == "constant" or name == "wiou":
        pytest.skip("a factor is a constant of the gradient, by definition")
    if parameters.get("form") == "ciou" or (name, parameters.get("gamma")) == ("focal_eiou", 2.0):
        pytest.skip("a factor is a constant of the gradient, by definition")
    pred, target = boxes(n=12)
    loss = make(name, parameters, reduction="none")
    assert torch.autograd.gradcheck(lambda p: loss(p, target), pred.requires_grad_())
    assert torch.autograd.gradgradcheck(lambda p: loss(p, target), pred)


@every_row
def test_function_transforms(name, parameters):
    pred, target = boxes(n=6)
    for loss in (make(name, parameters), make(name, parameters, reduction="none")):
        each = torch.func.vmap(loss)(pred, target)
        torch.testing.assert_close(each, make(name, parameters, reduction="none")(pred, target))
    loss = make(name, parameters)
    _, slope = value_and_slope(loss, pred, target)
    torch.testing.assert_close(torch.func.grad(loss)(pred, target), slope)
    mapped = torch.func.vmap(torch.func.grad(loss))(pred, target)
    torch.testing.assert_close(mapped, 6 * slope)


@pytest.mark.parametrize(("name", "parameters"), [row for row in ALL if row in FIRST or "gradient" in row[1]], ids=str)
def test_compiles_in_one_graph(name, parameters):
    torch._dynamo.reset()
    pred, target = boxes(n=6)
    loss = make(name, parameters)
    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True)
    weight = torch.tensor([1.0, 0, 2, 1, 1, 1]).double()
    for arguments in ((pred, target), (pred, target, weight)):
        value, slope = value_and_slope(loss, *arguments)
        traced, traced_slope = value_and_slope(compiled, *arguments)
        torch.testing.assert_close(traced, value)
        torch.testing.assert_close(traced_slope, slope)


def test_what_cannot_be_read_becomes_nan():
    torch._dynamo.reset()
    pred, target = boxes(n=2)
    compiled = torch.compile(GIoULoss(), backend="aot_eager", fullgraph=True)
    assert compiled(pred, target[:, [2, 1, 0, 3]]).isnan()
    assert compiled(pred, target, torch.tensor([1.0, -1.0])).isnan()
    assert not compiled(pred, target, torch.tensor([1.0, 2.0])).isnan()


@every_variant
def test_every_namespace_gives_the_value_of_torch(name, parameters):
    pred, target = boxes()
    pred = torch.cat([pred, INVERTED, torch.tensor([pair[0] for pair in EMPTY])])
    target = torch.cat([target, torch.tensor([[0.0, 0, 4, 5]] * 4), torch.tensor([pair[1] for pair in EMPTY])])
    weight = torch.arange(len(pred)).double() % 4
    for xp in (Standard(array_api_strict), numpy_namespace):
        for reduction in ("mean", "sum", "none"):
            for count in (None, weight):
                arrays = [None if x is None else xp.asarray(x.numpy()) for x in (pred, target, count)]
                got = box_loss(xp, BOXES[name], *arrays, reduction=reduction, **parameters)
                expected = make(name, parameters, reduction=reduction)(pred, target, count)
                np.testing.assert_allclose(np.asarray(got), expected, rtol=1e-11, atol=1e-13)


ONE = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
BAD = [
    ((ONE[:, :3], ONE), ValueError, "pred must be of shape (..., 4) or (..., 6); got (1, 3)"),
    ((ONE[0, 0], ONE), ValueError, "pred must be of shape (..., 4) or (..., 6); got ()"),
    ((ONE, ONE[0]), ValueError, "target must be of shape (1, 4) for pred of shape (1, 4); got (4,)"),
    ((ONE, ONE, torch.ones(2)), ValueError, "weight must be of shape (1,) for pred of shape (1, 4); got (2,)"),
    ((ONE.long(), ONE), TypeError, "pred must be floating point; got 'torch.int64'"),
    ((ONE, ONE.bool()), TypeError, "target must be of an integer or floating dtype; got 'torch.bool'"),
    ((ONE, ONE, ONE[:, 0] * 1j), TypeError, "weight must be of an integer, bool or floating dtype; got 'torch.complex64'"),
    ((ONE, ONE, -ONE[:, 2]), ValueError, "weight must be finite and >= 0 everywhere; got other values"),
    ((ONE, ONE, ONE[:, 2] / 0), ValueError, "weight must be finite and >= 0 everywhere; got other values"),
    ((ONE, ONE[:, [0, 3, 2, 1]]), ValueError, "target must hold boxes with x1 <= x2 on every axis; got inverted boxes"),
    ((ONE.numpy(), ONE), TypeError, "pred must be a tensor; got 'ndarray'"),
    ((ONE, None), TypeError, "target must be a tensor; got 'NoneType'"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "error", "message"), BAD, ids=[row[2] for row in BAD])
def test_bad_batches(arguments, error, message):
    with pytest.raises(error) as caught:
        IoULoss()(*arguments)
    assert str(caught.value) == message


CODED = [row for row in ALL if BOXES[row[0]].coded]


@pytest.mark.parametrize(("name", "parameters"), CODED, ids=str)
def test_coordinates_of_any_coding(name, parameters):
    """Offsets are no corners: x2 < x1 says nothing, in either argument, eager or compiled."""
    torch._dynamo.reset()
    pred, target = torch.tensor([[0.3, 0.1, -0.2, 0.4]]), torch.tensor([[0.1, 0.2, -0.3, -0.1]])
    loss = make(name, parameters)
    value, slope = value_and_slope(loss, pred, target)
    assert value.item() == pytest.approx(oracle_box.value(name, pred[0].tolist(), target[0].tolist(), **parameters))
    mirrored, opposite = value_and_slope(loss, -pred, -target)
    assert (mirrored, opposite.equal(-slope)) == (value, True)
    torch.testing.assert_close(torch.compile(loss, backend="aot_eager", fullgraph=True)(pred, target), value)
    assert loss(pred.half(), target.half()).dtype == torch.float32
    assert loss(pred, target * torch.nan).isnan()
    with pytest.raises(
        ValueError, match=r"^target must be of shape \(1, 4\) for pred of shape \(1, 4\); got \(1, 3\)$"
    ):
        loss(pred, target[:, :3])


def test_which_losses_compare_coordinates():
    assert {name for name, record in BOXES.items() if record.coded} == {"box_l1", "box_smooth_l1"}


def test_two_axes_where_the_formula_has_two():
    with pytest.raises(ValueError, match=r"^pred must be of shape \(\.\.\., 4\); got \(1, 6\)$"):
        CIoULoss()(torch.zeros(1, 6), torch.zeros(1, 6))


def test_bad_parameters():
    with pytest.raises(TypeError, match=r"^image_size must be \(width, height\), two numbers in \(0, inf\); got None$"):
        MPDIoULoss()
    with pytest.raises(ValueError, match=r"^image_size must be in \(0, inf\); got 0$"):
        MPDIoULoss(image_size=(0, 1))
    with pytest.raises(ValueError, match=r"^gradient must be 'constant', 'full' or 'published'; got 'alpha'$"):
        CIoULoss(gradient="alpha")
    with pytest.raises(ValueError, match=r"^giou has no parameter reducton; did you mean reduction\?$"):
        GIoULoss(reducton="sum")
    with pytest.raises(ValueError, match=r"^reduction must be 'mean', 'sum' or 'none'; got 'avg'$"):
        FocalEIoULoss(reduction="avg")


@every_variant
def test_manners(name, parameters):
    pred, target = boxes(n=4)
    before = pred.clone(), target.clone()
    loss = make(name, parameters, reduction="sum")
    value = loss(pred, target)
    for twin in (pickle.loads(pickle.dumps(loss)), copy.deepcopy(loss), parse(loss.spec)):
        assert twin(pred, target) == value
        assert twin.spec == loss.spec
    assert pred.equal(before[0])
    assert target.equal(before[1])


def test_a_size_is_kept_as_it_was_given():
    size = [4, 3]
    loss = MPDIoULoss(image_size=size)
    size[0] = 9
    assert loss.spec == "mpdiou(image_size=(4, 3))"


def test_a_target_may_have_a_gradient_too():
    pred, target = boxes(n=5)
    loss = GIoULoss()
    slope = torch.autograd.grad(loss(pred, target.requires_grad_()), target)[0]
    _, mirrored = value_and_slope(loss, target.detach(), pred)
    torch.testing.assert_close(slope, mirrored)


def test_sums():
    pred, target = boxes()
    loss = IoULoss() + 0.5 * BoxL1Loss()
    assert isinstance(loss, SumLoss)
    assert loss.spec == "box_iou + 0.5*box_l1"
    value = loss(pred, target)
    torch.testing.assert_close(value, IoULoss()(pred, target) + 0.5 * BoxL1Loss()(pred, target))
    assert list(loss.terms) == ["box_iou", "0.5*box_l1"]
    torch.testing.assert_close(parse(loss.spec)(pred, target), value)
    torch.testing.assert_close(
        sum([GIoULoss(), BoxL1Loss()])(pred, target), (GIoULoss() * 1 + BoxL1Loss())(pred, target)
    )


def test_a_spec_of_boxes_has_no_task():
    assert repr(parse("ciou(threshold=0.5)", reduction="sum")) == "CIoULoss(ciou(threshold=0.5, reduction='sum'))"
    with pytest.raises(ValueError, match=r"^task of giou, a loss of boxes, must be None; got 'binary'$"):
        parse("giou", "binary")
    with pytest.raises(ValueError, match=r"^giou has no parameter ignore_index$"):
        parse("giou", ignore_index=255)
    with pytest.raises(ValueError, match=r"^there is no loss 'gio'; did you mean giou\?$"):
        parse("gio")
    with pytest.raises(ValueError, match=r"^task must be 'binary', 'multiclass' or 'multilabel'; got None$"):
        parse("dice")
    assert parse("iou", "binary").record.name == "jaccard"


def test_show_and_list_have_them():
    text = show.table()
    assert "box losses" in text
    assert all(f"  {name} " in text for name in BOXES)
    assert "tasks" not in show.page("giou")
    assert "tasks" in show.page("dice")
    assert not set(BOXES) & set(CATALOGUE)
