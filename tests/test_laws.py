"""Every row of the catalogue under every law of the public checker, and a wrong loss under the law that it breaks."""

from typing import Any

import pytest

from faults import FAULTS, faulty_dice
from lossmith.check import check
from lossmith.check.laws import LAWS
from lossmith.check.subject import Facts, Skipped, Subject
from lossmith.core.catalogue import CATALOGUE
from lossmith.core.parameters import Interval
from lossmith.torch import Loss
from paths import in_blocks

# Compiled code has no blocks; the law of half precision takes a batch that is large enough for them by itself.
OF_SMALL_BATCHES = [law for law in LAWS if law not in ("compiles_in_one_graph", "half_precision_is_widened")]
ROWS = [(record.name, task) for record in CATALOGUE.values() for task in record.tasks]

# Parameters away from their defaults, where the code takes another way.
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "skeleton_recall": [{"tube": 0, "pool": "batch"}],
    "cbdice": [{"iterations": 2}],
    "cldice": [{"iterations": 2, "pool": "batch"}, {"smooth": 1.0, "classes": "present"}],
    "ce": [{"label_smoothing": 0.1}],
    "wce": [
        {"balance": "inverse"},
        {"balance": "median_frequency"},
        {"balance": "effective_number", "beta": 0.9},
        {"lam": 1.1},
    ],
    "focal": [
        {"gamma": 0.5},
        {"gamma": 0.0, "alpha": 0.25},
        {"alpha": 0.25, "normalize": "positives"},
        {"one_vs_rest": True},
    ],
    "mse": [{"foreground_weight": 8.0}],
    "l1": [{"foreground_weight": 8.0}],
    "smooth_l1": [{"beta": 0.3, "foreground_weight": 8.0}],
    "topk": [{"k": 0.37}, {"k": 1.0, "loss": "focal(gamma=1)"}],
    "ohem": [{"threshold": 0.5, "min_kept": 3}, {"threshold": 0.4, "min_kept": 1, "loss": "mse"}],
    "dice": [
        {"squared": True},
        {"log": True},
        {"smooth": 1.0},
        {"pool": "batch"},
        {"classes": "present"},
        {"average": "micro"},
    ],
    "jaccard": [{"log": True}, {"pool": "batch", "empty": "skip"}, {"average": "micro", "log": True}],
    "tversky": [{"alpha": 0.3, "beta": 0.7, "smooth": 1e-5}, {"average": "image"}],
    "focal_tversky": [{"gamma": 4 / 3}, {"pool": "batch"}],
    "marginal": [{"loss": loss} for loss in ("topk", "mse", "dice(pool='batch', log=True)", "gdice", "lovasz")],
    "exclusion": [{"form": "ce"}, {"pool": "batch"}],
    "gdice": [{"weighting": "simple"}, {"weighting": "uniform", "pool": "batch"}],
    "boundary": [{"shift": True}, {"bounded": True, "pool": "batch"}, {"shift": True, "bounded": True}],
    "hausdorff": [{"alpha": 1.0}, {"alpha": 0.5, "log": True, "pool": "batch"}],
    "boundary_dou": [{"limit": 0.0}, {"pool": "batch"}],
    "active_contour": [{"region": 10.0}],
    "surface_dice": [{"tolerance": 0}, {"tolerance": 4, "pool": "batch"}],
    "structure": [{"lam": 0.0}, {"radius": 2, "smooth": 1.0}],
    "poly": [{"epsilon": -1.0}],
    "gce": [{"q": 0.0}, {"q": 1.0}],
    "sce": [{"alpha": 6.0, "beta": 0.1, "A": -9.2}],
    "asl": [{"clip": 0.0, "gamma_pos": 1.0}, {"gamma_neg": 0.5, "clip": 0.2}],
    "mcc": [{"pool": "batch"}, {"classes": "present"}],
    "logcosh_dice": [{"smooth": 1.0, "squared": True}],
    "noise_robust_dice": [{"gamma": 1.0}, {"gamma": 2.0, "pool": "batch"}],
    "sensitivity_specificity": [{"r": 0.9, "pool": "batch"}],
    "combo": [{"alpha": 0.9, "beta": 0.2, "pool": "batch"}, {"empty": "skip"}],
    "unified_focal": [{"asymmetric": False, "gamma": 0.2}, {"pool": "batch", "delta": 0.9}],
    "wasserstein_dice": [{"distances": [[0, 1, 2, 1], [1, 0, 1, 3], [2, 1, 0, 4], [1, 3, 4, 0]]}, {"pool": "batch"}],
    "lovasz_hinge": [{"per_image": False}],
    "lovasz": [{"per_image": True}, {"classes": "all"}],
    "gated_crf": [{"radius": 2, "smoothness": 0.0}, {"sigma_xy": 2.0, "sigma_rgb": 0.5, "appearance": 2.0}],
    "ncut": [{"radius": 2, "smoothness": 0.0}, {"sigma_xy": 2.0, "sigma_rgb": 0.5, "appearance": 2.0}],
    "mumford_shah": [{"lam": 0.5}, {"lam": 0.1, "isotropic": True}],
    "entropy": [],
    "tv": [{"isotropic": True}],
    "nacl": [{"radius": 2}, {"distance": "l2"}],
    "size": [{"low": 0.6, "high": 0.9}],
}
# What a variant gives up by its own definition, and why.
GIVEN_UP: dict[tuple[str, str], set[str]] = {
    # smoothing moves the target: the certain truth is no longer best
    ("ce", "label_smoothing"): {"truth_costs_least", "empty_predicted_empty_costs_nothing"},
    # beta^n has a unit: the number of pixels
    ("wce", "beta"): {"scaling_all_weights_changes_nothing", "repeating_the_batch_changes_nothing"},
    # weighs pixels, and the mean divides by the weights
    ("mse", "foreground_weight"): {"reductions_agree"},
    ("l1", "foreground_weight"): {"reductions_agree"},
    ("smooth_l1", "foreground_weight"): {"reductions_agree"},
    # divides by the foreground, not by the pixels
    ("focal", "normalize"): {"reductions_agree"},
    # a sigmoid for each class: probabilities of a softmax say less than the logits
    ("focal", "one_vs_rest"): {"probabilities_are_the_same_input"},
    # a constant or a count in pixels has a unit
    ("dice", "smooth"): {"scaling_all_weights_changes_nothing"},
    ("logcosh_dice", "smooth"): {"scaling_all_weights_changes_nothing"},
    ("tversky", "smooth"): {"scaling_all_weights_changes_nothing"},
    ("structure", "smooth"): {"scaling_all_weights_changes_nothing"},
    ("ohem", "min_kept"): {"scaling_all_weights_changes_nothing", "repeating_the_batch_changes_nothing"},
    ("cldice", "smooth"): {"scaling_all_weights_changes_nothing", "an_empty_class_pushes_false_positives_down"},
    # left out: nothing pushes, by request
    ("jaccard", "empty"): {"an_empty_class_pushes_false_positives_down"},
    ("mcc", "classes"): {"an_empty_class_pushes_false_positives_down"},
    ("dice", "classes"): {"an_empty_class_pushes_false_positives_down"},
    # the square of 1e300 has no float64
    ("nacl", "distance"): {"finite_for_finite_logits"},
}


def run(name: str, task: str, law: str, **parameters: Any) -> None:
    try:
        LAWS[law](Subject(Loss.registry[name], task, **parameters))
    except Skipped as reason:
        pytest.skip(str(reason))


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize(("name", "task"), ROWS)
def test_every_loss_obeys_every_law(name, task, law):
    run(name, task, law)


@pytest.mark.parametrize("law", OF_SMALL_BATCHES)
@pytest.mark.parametrize(("name", "task"), ROWS)
def test_every_loss_obeys_every_law_in_blocks(name, task, law):
    """Of 16 pixels; the laws' images have 24 and more."""
    with in_blocks():
        run(name, task, law)


@pytest.mark.parametrize("law", [law for law in LAWS if law != "compiles_in_one_graph"])
@pytest.mark.parametrize(
    ("name", "parameters"), [(name, variant) for name, variants in VARIANTS.items() for variant in variants], ids=str
)
def test_every_parameter_obeys_every_law(name, parameters, law):
    if any(law in GIVEN_UP.get((name, parameter), ()) for parameter in parameters):
        pytest.skip("given up by definition")
    tasks = CATALOGUE[name].tasks  # in turn: the oracles take every variant with every task
    run(name, tasks[list(LAWS).index(law) % len(tasks)], law, **parameters)


def test_every_row_has_its_variants():
    assert set(VARIANTS) | {"missing"} == set(CATALOGUE)


@pytest.mark.parametrize(("fault", "law"), FAULTS, ids=lambda part: getattr(part, "__name__", part))
def test_a_faulty_loss_breaks_its_law(fault, law):
    report = check(fault, only=[law], facts=Facts(range=Interval(0.0, 0.01), zero_at_truth=True))
    assert [result.status for result in report.results] == ["broken"]


def test_every_law_is_broken_by_some_fault():
    assert {law for _, law in FAULTS} == set(LAWS)


def test_check_reports_what_it_found():
    report = check(faulty_dice, only=["truth_costs_least", "an_empty_class_pushes_false_positives_down"])
    assert [result.status for result in report.results] == ["passed", "broken"]
    assert not report.sound
    assert "a rising value expected where foreground is raised on an empty image; got slope 0" in str(report)


def test_check_refuses_an_unknown_law():
    with pytest.raises(
        ValueError, match=r"^only must be names of laws; did you mean truth_costs_least\?; got 'truth_cost'$"
    ):
        check(faulty_dice, only=["truth_cost"])


def test_the_callers_mistakes_are_no_broken_laws():
    dice = Loss.registry["dice"]
    with pytest.raises(ValueError, match=r"^task must be 'binary', 'multiclass' or 'multilabel'; got 'bogus'$"):
        check(dice, "bogus")
    with pytest.raises(ValueError, match=r"^dice has no parameter gama$"):
        check(dice, "binary", gama=2)
    with pytest.raises(TypeError, match=r"^an instance takes no parameters; got smooth; give the class$"):
        check(dice("binary"), smooth=5)


def test_check_takes_classes_and_instances_in_every_spelling():
    dice = Loss.registry["dice"]
    law = "truth_costs_least"
    for report in (
        check(dice, task="multiclass", only=law),
        check(dice("multiclass"), only=law),
        check(dice, "multiclass", only=[law, "value_inside_its_range"], log=True),
        check(Loss.registry["topk"], "binary", only=law, loss="focal"),
    ):
        assert report.sound
        assert report.results[0].status == "passed"
