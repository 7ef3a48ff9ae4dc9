"""The box simulation: its cases, its gradients against differences and worked numbers, its figures, its files."""

import csv
import json
import math
import re
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from lossmith.cli import app
from lossmith.lab import box_page, box_runs, simulate_boxes
from lossmith.lab.box_descent import CASES, STEPS, Descent, cases, descend, starting_points, walk
from lossmith.lab.box_gradients import CLAMPED, PUBLISHED, box_loss, corners, exact, iou_of, published_giou

ROWS = ["box_l1", "box_smooth_l1", "box_iou", "giou", "diou", "ciou"]


def boxes(*rows: tuple[float, ...]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


# A slow second reading: numpy, coordinates round (10, 10) as in the paper, derivatives by central differences.


def sides(box):
    x, y, w, h = box.T
    return x - w / 2, y - h / 2, x + w / 2, y + h / 2


def parts(box, target):
    (l, t, r, b), (tl, tt, tr, tb) = sides(box), sides(target)
    common = np.maximum(np.minimum(r, tr) - np.maximum(l, tl), 0) * np.maximum(np.minimum(b, tb) - np.maximum(t, tt), 0)
    union = (r - l) * (b - t) + (tr - tl) * (tb - tt) - common
    wide, tall = np.maximum(r, tr) - np.minimum(l, tl), np.maximum(b, tb) - np.minimum(t, tt)
    return common / union, union, wide, tall


def aspect(box, target):
    return 4 / math.pi**2 * (np.arctan(target[:, 2] / target[:, 3]) - np.arctan(box[:, 2] / box[:, 3])) ** 2


def slow_losses() -> dict[str, Callable]:
    def distance(box, target):
        _, _, wide, tall = parts(box, target)
        return ((box[:, :2] - target[:, :2]) ** 2).sum(1) / (wide**2 + tall**2)

    def iou(box, target, start):
        return 1 - parts(box, target)[0]

    def giou(box, target, start):
        found, union, wide, tall = parts(box, target)
        return 1 - found + 1 - union / (wide * tall)

    def diou(box, target, start):
        return iou(box, target, start) + distance(box, target)

    def ciou(box, target, start):
        v = aspect(start, target)  # alpha is a constant of the gradient
        return diou(box, target, start) + v / (iou(start, target, start) + v) * aspect(box, target)

    def l1(box, target, start):
        return np.abs(box - target).sum(1)

    def smooth_l1(box, target, start):
        d = np.abs(box - target)
        return np.where(d < 1, d**2 / 2, d - 0.5).sum(1)

    return dict(zip(ROWS, (l1, smooth_l1, iou, giou, diou, ciou), strict=True))


def slow_gradient(loss: Callable, box, target, h=1e-6):
    columns = [loss(box + h * e, target, box) - loss(box - h * e, target, box) for e in np.eye(4)]
    return np.stack(columns, axis=1) / (2 * h)


def slow_errors(name: str, points: int) -> list[float]:
    """Sums of errors in millions, at the paper's size, after 1, 50, 100, 160 and 200 steps."""
    box, target = [], []
    for i in range(points):
        r, angle = 3 * math.sqrt((i + 0.5) / points), i * math.pi * (3 - math.sqrt(5))
        for a in (1 / 4, 1 / 3, 1 / 2, 1, 2, 3, 4):
            for s in (0.5, 0.67, 0.75, 1, 1.33, 1.5, 2):
                for b in (1 / 4, 1 / 3, 1 / 2, 1, 2, 3, 4):
                    place = 10 + r * math.cos(angle), 10 + r * math.sin(angle)
                    box.append((*place, math.sqrt(s * a), math.sqrt(s / a)))
                    target.append((10, 10, math.sqrt(b), math.sqrt(1 / b)))
    box, target = np.array(box), np.array(target)
    sums = {}
    for step in range(1, 201):
        rate = 0.1 if step <= 160 else 0.01 if step <= 180 else 0.001
        box = box - rate * (2 - parts(box, target)[0][:, None]) * slow_gradient(slow_losses()[name], box, target)
        sums[step] = np.abs(box - target).sum() * 5000 / points / 1e6
    return [sums[step] for step in (1, 50, 100, 160, 200)]


def test_the_cases_are_the_papers():
    points = starting_points(5000)
    assert np.hypot(*points.T).max() < 3
    assert len(points) * CASES == 1_715_000
    np.testing.assert_allclose(points.mean(axis=0), 0, atol=1e-3)
    # Of a disc's area, and so of points, a quarter lies within half the radius.
    assert (np.hypot(*points.T) < 1.5).mean() == pytest.approx(0.25, abs=1e-3)
    drawn = starting_points(4000, seed=1)
    assert (np.hypot(*drawn.T) < 1.5).mean() == pytest.approx(0.25, abs=0.02)
    assert (drawn == starting_points(4000, seed=1)).all()
    assert (drawn != starting_points(4000, seed=2)).all()
    predictions, targets = cases(starting_points(50))
    assert len(predictions) == 50 * 343
    assert len(predictions[:343].unique(dim=0)) == 49
    areas = predictions[:, 2] * predictions[:, 3]
    np.testing.assert_allclose(sorted(set(areas.numpy().round(9))), [0.5, 0.67, 0.75, 1, 1.33, 1.5, 2])
    np.testing.assert_allclose(targets[:, 2] * targets[:, 3], 1, rtol=1e-12)
    # 17 % overlap at the start.
    assert (iou_of(predictions, targets) > 0).double().mean().item() == pytest.approx(0.17, abs=0.01)


@pytest.mark.parametrize("name", ROWS)
def test_exact_gradients_are_the_derivatives(name):
    points = starting_points(6, seed=3)  # at random: no two sides are aligned, where there is a kink
    box, target = cases(points)
    keep = (box - target).abs().min(dim=1).values > 1e-4
    box, target = box[keep], target[keep]
    got = exact(box_loss(name))(box, target)
    expected = slow_gradient(slow_losses()[name], box.numpy(), target.numpy())
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", ROWS)
def test_exact_errors_are_those_of_slow_differences(name):
    curve = descend(exact(box_loss(name)), starting_points(2)).curve * 2500 / 1e6
    # Steps past a kink depend on rounding, those of L1 where sizes are equal from the start.
    early, late = (5e-3, 0.1) if name == "box_l1" else (5e-4, 0.04)
    expected = slow_errors(name, 2)
    assert curve[1] == pytest.approx(expected[0], rel=early)
    np.testing.assert_allclose(curve[[50, 100, 160, 200]], expected[1:], rtol=late, atol=2e-4)


def test_iou():
    pairs = boxes((1, 0, 2, 2), (3, 4, 2, 2), (0, 0, 1, 1)), boxes((0, 0, 2, 2), (0, 0, 2, 2), (0, 0, 2, 2))
    np.testing.assert_allclose(iou_of(*pairs)[:, 0], [2 / 6, 0, 1 / 4])


AWAY, TARGET = boxes((3, 4, 2, 2)), boxes((0, 0, 2, 2))
# The prediction spans 2..4 and 3..5, the target -1..1 both ways; hull 5 x 6, U = 8, d^2 = 25, c^2 = 61.
# Unclamped sides -1 and -2 make an intersection of 2 and a union of 6, with slopes -4, 2 in the left and right side,
# -3, 2 in the top and bottom one: (C dU - U dC) / C^2 with dC = 0, 6, 0, 5 is -120, 24, -90, 30 over 900.
PUBLISHED_GIOU = [96 / 900, 60 / 900, -144 / 900, -120 / 900]
# Clamped: dU = -2, 2, -2, 2, hence -60, 12, -60, 20 over 900.
CLAMPED_GIOU = [48 / 900, 40 / 900, -72 / 900, -80 / 900]
# U / C = 8 / 30: by x (0 - 8 6) / 900, by w (60 - 24) / 900, by h (60 - 20) / 900; the loss is its negative.
EXACT_GIOU = [48 / 900, 40 / 900, -36 / 900, -40 / 900]
# 2 (A - B) c^2 + 2 (5 + 6) d^2 over c^4; the sizes -2 (5 + 6) d^2 / 2.
PUBLISHED_DIOU = [(366 + 550) / 3721, (488 + 550) / 3721, -275 / 3721, -275 / 3721]
EXACT_DIOU = [(366 - 250) / 3721, (488 - 300) / 3721, -125 / 3721, -150 / 3721]


@pytest.mark.parametrize(
    ("gradient", "expected"),
    [
        (PUBLISHED["giou"], PUBLISHED_GIOU),
        (CLAMPED["giou"], CLAMPED_GIOU),
        (exact(box_loss("giou")), EXACT_GIOU),
        (PUBLISHED["diou"], PUBLISHED_DIOU),
        (exact(box_loss("diou")), EXACT_DIOU),
        (PUBLISHED["ciou"], PUBLISHED_DIOU),  # squares both
        (PUBLISHED["box_iou"], [0, 0, 0, 0]),
    ],
)
def test_worked_gradients_of_boxes_that_are_apart(gradient, expected):
    np.testing.assert_allclose(gradient(AWAY, TARGET)[0], expected, rtol=1e-12, atol=1e-15)


def test_worked_gradients_of_boxes_that_overlap():
    """2 x 2 boxes, 1 apart along x: I = 2, U = 6; only the left side of the prediction cuts into I."""
    near = boxes((1, 0, 2, 2))
    # By the left side dI = -2, dU = 0: (U dI - I dU) / U^2 = -1/3; by the right one dI = 0, dU = 2: -1/9; by the top
    # and bottom ones, aligned, dI = 0 and dU = 2: -1/9, and by the top of opposite sign.
    iou = [-1 / 3 - 1 / 9, 0, -1 / 9 + 1 / 3, -1 / 9 - 1 / 9]
    np.testing.assert_allclose(PUBLISHED["box_iou"](near, TARGET)[0], [-x for x in iou], rtol=1e-12, atol=1e-15)
    # The hull is 3 x 2, so (C dU - U dC) / C^2 adds 0 - 0 left, (12 - 12) / 36 right, -+ 12 / 36 top and bottom.
    giou = [iou[0], 0, iou[2], iou[3] + 2 / 3]
    for clamp in (False, True):
        np.testing.assert_allclose(published_giou(near, TARGET, clamp=clamp)[0], [-x for x in giou], atol=1e-15)
    # d^2 = 1, c^2 = 13, hull 3 + 2; only the right side is one of the hull.
    diou = [iou[0] - 2 / 13 - 2 * 5 / 169, 0, iou[2] + 5 / 169, iou[3]]
    np.testing.assert_allclose(PUBLISHED["diou"](near, TARGET)[0], [-x for x in diou], rtol=1e-12, atol=1e-15)


def test_worked_gradients_of_boxes_that_enclose():
    """4 x 2 round 2 x 1, centres 1/2 apart along x: where the prediction encloses, the own side has slope -1."""
    box, target = boxes((0.5, 0, 4, 2)), boxes((0, 0, 2, 1))
    base = PUBLISHED["box_iou"](box, target)
    got = base - PUBLISHED["diou"](box, target)
    # c^2 = 16 + 4, d^2 = 1/4; the sides of the hull move together: 0 in x; w: 2 (4 (-1) + 2), h: 2 (4 + 2 (-1)).
    np.testing.assert_allclose(got[0], [-2 * 0.5 / 20, 0, -4 / 4 / 400, 4 / 4 / 400], rtol=1e-12, atol=1e-15)


def test_the_published_ciou_leaves_a_factor_out():
    box, target = boxes((3, 4, 1, 2)), boxes((0, 0, 2, 2))
    angle = math.atan(1) - math.atan(1 / 2)
    v = 4 / math.pi**2 * angle**2
    alpha = v / (1 + v + 1e-7)
    turn = PUBLISHED["diou"](box, target) - PUBLISHED["ciou"](box, target)
    np.testing.assert_allclose(turn[0], [0, 0, *(alpha * 8 / math.pi**2 * angle * x for x in (2, -1))], rtol=1e-12)


@pytest.mark.parametrize(("name", "cosine", "length"), [("giou", 0.88, 2.0), ("diou", 0.87, 3.9), ("ciou", 0.87, 3.8)])
def test_how_far_published_gradients_are_off_where_boxes_are_apart(name, cosine, length):
    box, target = cases(starting_points(40))
    apart = iou_of(box, target)[:, 0] == 0
    true, published = (g(box, target)[apart] for g in (exact(box_loss(name)), PUBLISHED[name]))
    assert torch.cosine_similarity(true, published).mean().item() == pytest.approx(cosine, abs=0.005)
    assert (published.norm(dim=1) / true.norm(dim=1)).median().item() == pytest.approx(length, abs=0.1)


def test_the_missing_clamp_holds_giou_back():
    """The rows of docs/boxes.md, from fewer starting points."""
    points = starting_points(6)
    scale = 5000 / len(points) / 1e6
    ends = {
        "exact giou": descend(exact(box_loss("giou")), points).curve[-1] * scale,
        "exact diou": descend(exact(box_loss("diou")), points).curve[-1] * scale,
        "clamped giou": descend(CLAMPED["giou"], points).curve[-1] * scale,
        "published giou": descend(PUBLISHED["giou"], points).curve[-1] * scale,
        "published diou": descend(PUBLISHED["diou"], points).curve[-1] * scale,
    }
    assert ends["published giou"] == pytest.approx(1.5, abs=0.15)
    assert ends["published diou"] == pytest.approx(0.004, abs=0.001)
    assert ends["clamped giou"] < 0.05
    assert ends["exact giou"] < ends["exact diou"] < 0.08


def test_a_walk_has_its_rates():
    """With a gradient of -1 everywhere and boxes apart, each step is twice its rate."""
    box, target = boxes((3, 0, 1, 1)), boxes((0, 0, 1, 1))
    push = boxes((-1, 0, 0, 0))
    steps = torch.stack([*walk(lambda b, t: push, box, target)])[:, 0, 0]
    assert len(steps) == STEPS + 1
    np.testing.assert_allclose(steps.diff(), [0.2] * 160 + [0.02] * 20 + [0.002] * 20, atol=1e-12)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return simulate_boxes(
        ["giou", "box_iou", "ciou(gradient='full')"], out=tmp_path_factory.mktemp("tiny"), points=2, progress=False
    )


def test_a_simulation_writes_its_files(tiny):
    assert [row["name"] for row in tiny.summary["rows"]] == [
        "giou, exact",
        "box_iou, exact",
        "ciou(gradient='full'), exact",
        "giou, published",
        "box_iou, published",
        "giou, published, clamped",
    ]
    assert json.loads((tiny.out / "simulation.json").read_text()) == json.loads(json.dumps(tiny.summary))
    row = tiny.summary["rows"][0]
    assert (row["cases"], len(row["curve"]), list(row["errors"])) == (686, 201, ["1", "50", "100", "160", "200"])
    assert row["errors"]["200"] == row["curve"][200]
    found = descend(exact(box_loss("giou")), starting_points(2))
    assert row["curve"] == pytest.approx((found.curve * 2500 / 1e6).tolist(), rel=1e-12)
    assert 0.95 < row["arrived"] == found.arrived.sum() / 686 < 1
    head, *lines = csv.reader((tiny.out / "curves.csv").read_text().splitlines())
    assert head[:2] == ["step", "giou, exact"]
    assert [float(x) for _, x, *_ in lines] == row["curve"]
    head, *lines = csv.reader((tiny.out / "points.csv").read_text().splitlines())
    np.testing.assert_allclose(
        [[float(x) for x in line[:3]] for line in lines], np.c_[starting_points(2), found.final / 343]
    )
    assert (tiny.out / "curves.svg").read_text().startswith("<?xml")


def test_the_page_needs_no_network_and_holds_the_table(tiny):
    page = tiny.report.read_text()
    assert "http" not in page
    assert len(page) < 1_000_000
    for row in tiny.summary["rows"]:
        assert f"</span>{row['name']}</td>".replace("'", "&#39;") in page
        assert all(f">{error:.3f}</td>" in page for error in row["errors"].values())
    assert "1.87 at 160, 1.5 at 200" in page
    assert "dGIOU.m" in page
    assert page.count("<svg") == 3
    data = json.loads(re.search(r'id="data">(.*?)</script>', page)[1])
    assert len(data["runs"]) == 6
    for run in data["runs"]:
        for boxes_, errors_, target in zip(run["boxes"], run["errors"], data["targets"], strict=True):
            assert len(boxes_) == len(errors_) == 101
            assert errors_[0] == pytest.approx(np.abs(np.array(boxes_[0]) - target).sum(), abs=2e-3)
    moved = {run["name"]: run["errors"][0][-1] for run in data["runs"]}
    assert moved["giou, exact"] < 0.1 < 1 < moved["box_iou, exact"]


def test_the_sentence_names_the_smallest_first():
    rows = [
        {"gradient": "exact", "loss": "a", "errors": {"200": 0.25}},
        {"gradient": "exact", "loss": "b", "errors": {"200": 0.125}},
        {"gradient": "exact", "loss": "c", "errors": {"200": None}},
        {"gradient": "published", "loss": "a", "errors": {"200": 1.5}},
    ]
    assert box_page.sentence(rows) == (
        "Error after 200 steps, in millions. With exact gradients: b 0.125, a 0.250. "
        "With those of the published code: a 1.500."
    )


def test_what_is_on_disk_is_not_computed_again(tiny, monkeypatch):
    computed = []

    def counted(gradient, points):
        computed.append(len(points))
        return descend(gradient, points)

    monkeypatch.setattr(box_runs, "descend", counted)
    again = simulate_boxes(["giou", "diou"], out=tiny.out, points=2, gradients="exact", progress=False)
    assert computed == [2]  # diou
    assert again.summary["rows"][0] == tiny.summary["rows"][0]
    assert [row["loss"] for row in again.summary["rows"]] == ["giou", "diou"]


def test_parts_are_kept_when_it_is_interrupted(tmp_path, monkeypatch):
    """Two parts of points; Ctrl-C in the second one."""
    monkeypatch.setattr(box_runs, "PART", 2)
    done = []

    def interrupted(gradient, points):
        if len(done) == 1:
            done.append(None)
            raise KeyboardInterrupt
        done.append(None)
        return descend(gradient, points)

    monkeypatch.setattr(box_runs, "descend", interrupted)
    with pytest.raises(KeyboardInterrupt):
        simulate_boxes(["giou"], out=tmp_path, points=3, gradients="exact", progress=False)
    assert [path.name for path in tmp_path.rglob("*.npz")] == ["0.npz"]
    row = simulate_boxes(["giou"], out=tmp_path, points=3, gradients="exact", progress=False).summary["rows"][0]
    assert len(done) == 3
    whole = descend(exact(box_loss("giou")), starting_points(3))
    assert row["curve"] == pytest.approx((whole.curve * 5000 / 3 / 1e6).tolist(), rel=1e-9)


def test_parts_are_joined_in_order():
    one, two = (Descent(np.array([k, 1.0]), np.array([k]), np.array([0.0])) for k in (1.0, 2.0))
    whole = Descent.join([one, two])
    assert (whole.curve.tolist(), whole.final.tolist()) == ([3.0, 2.0], [1.0, 2.0])


@pytest.mark.parametrize(
    ("losses", "options", "message"),
    [
        (["giou"], {"points": 0}, "points must be a whole number >= 1; got 0"),
        (["giou"], {"points": None}, "points must be a whole number >= 1; got None"),
        (["giou"], {"points": True}, "points must be a whole number >= 1; got True"),
        (["giou"], {"seed": -1}, "seed must be a whole number >= 0; got -1"),
        (["giou"], {"gradients": "true"}, "gradients must be 'all', 'exact' or 'published'; got 'true'"),
        ([], {}, "losses must be one box loss or more; got []"),
        (
            ["siou"],
            {"gradients": "published"},
            "losses must be among box_iou, giou, diou, ciou, which have published gradients; got ['siou']",
        ),
        (["ciou(gradient='alpha')"], {}, "gradient must be 'constant', 'full' or 'published'; got 'alpha'"),
        (
            ["gio"],
            {},
            "loss must be one of box_l1, box_smooth_l1, box_iou, giou, diou, ciou, eiou, siou, alpha_iou, focal_eiou, "
            "mpdiou, inner_iou, wiou, nwd, with its parameters; got 'gio'; did you mean giou?",
        ),
    ],
)
def test_bad_arguments(losses, options, message, tmp_path):
    with pytest.raises(ValueError, match="^" + re.escape(message) + "$"):
        simulate_boxes(losses, out=tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("spec", ["dice", "giou + box_l1", "2*giou", "my:Loss"])
def test_only_single_box_losses_are_simulated(spec):
    with pytest.raises(ValueError, match=r"^loss must be one of box_l1, .*; got '" + re.escape(spec)):
        box_loss(spec)


def test_a_folder_of_something_else_is_refused(tiny, tmp_path):
    with pytest.raises(ValueError, match=r"holds another simulation: points 2, now 3, seed None, now 1$"):
        simulate_boxes(["giou"], out=tiny.out, points=3, seed=1)
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"^out must be a new or empty folder or one that holds a simulation; got "):
        simulate_boxes(["giou"], out=tmp_path)
    (tmp_path / "boxes.json").write_text("[]")
    with pytest.raises(ValueError, match=r"must be a JSON object that says what was simulated; it is damaged$"):
        simulate_boxes(["giou"], out=tmp_path)


def test_a_loss_that_is_not_a_number_is_shown_as_such(tmp_path, monkeypatch):
    nan = Descent(np.full(201, np.nan), np.array([np.nan]), np.array([0.0]))
    monkeypatch.setattr(box_runs, "descend", lambda gradient, points: nan)
    result = simulate_boxes(["giou"], out=tmp_path, points=1, gradients="exact", progress=False)
    assert result.summary["rows"][0]["errors"]["200"] is None
    assert result.report.read_text().count("<td>-</td>") == 4


def test_coordinates_are_corners_where_a_loss_needs_them():
    np.testing.assert_allclose(corners(boxes((1, 2, 4, 6))), [[-1, -1, 3, 5]])
    # (1, 2, 4, 6) against (0, 0, 2, 2): L1 of these numbers is 1 + 2 + 2 + 4, its slope 1 each.
    slope = exact(box_loss("box_l1"))(boxes((1, 2, 4, 6)), boxes((0, 0, 2, 2)))
    assert slope.tolist() == [[1, 1, 1, 1]]


def run(*arguments: str, cwd) -> subprocess.CompletedProcess[str]:
    code = "from lossmith.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, "simulate", "boxes", *arguments], cwd=cwd, capture_output=True, text=True
    )


def test_the_command(tmp_path):
    result = run("--points", "1", "--loss", "giou", "-l", "box_l1", "--seed", "7", "--out", "found", cwd=tmp_path)
    assert (result.returncode, result.stderr.splitlines()[0]) == (0, "[1/4] giou, exact")
    summary = json.loads((tmp_path / "found" / "simulation.json").read_text())
    command = "lossmith simulate boxes --loss giou --loss box_l1 --points 1 --seed 7 --out found"
    assert summary["settings"]["command"] == command
    assert command in (tmp_path / "found" / "boxes.html").read_text()
    cells = [line.replace("│", " ").split() for line in result.stdout.splitlines()]
    expected = ["giou,", "exact", *(f"{x:.3f}" for x in summary["rows"][0]["errors"].values())]
    assert any(line[: len(expected)] == expected for line in cells)
    assert result.stdout.splitlines()[-1] == "The page: found/boxes.html"


def test_the_command_with_errors(tmp_path):
    result = run("--loss", "dice", "--out", "found", cwd=tmp_path)
    assert result.returncode == 1
    assert result.stderr.startswith("lossmith: loss must be one of box_l1, ")
    result = run("--full", "--points", "9", cwd=tmp_path)
    assert result.returncode == 2
    assert "--full is --points 5000: give one of them" in result.stderr
    assert not [*tmp_path.iterdir()]


def test_an_interrupted_command_says_how_to_go_on(tmp_path, monkeypatch):
    def interrupted(gradient, points):
        raise KeyboardInterrupt

    monkeypatch.setattr(box_runs, "descend", interrupted)
    result = CliRunner().invoke(app, ["simulate", "boxes", "--points", "1", "--out", str(tmp_path / "out")])
    assert result.exit_code == 130
    message = "lossmith: interrupted; finished parts are kept, the same command goes on from there"
    assert result.stderr.splitlines()[-1] == message
