import numpy as np
import pytest

from lossmith.lab.statistics import Bootstrap
from lossmith.lab.verdict import judge, verdict

LOSSES = ("ce", "dice", "mse")


def scores(means, *, seeds=3, images=24, seed=0, luck=0.003, by_loss=0.005):
    """(L, S, N): what images share, the luck of each run, and a little noise."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(0.7, 0.1, size=images)
    shape = (len(means), seeds, images)
    runs = rng.normal(size=(len(means), seeds, 1)) * luck
    return np.array(means)[:, None, None] + shared + runs + rng.normal(size=shape) * by_loss


def judged(means, losses=LOSSES, **options):
    values = scores(means, **options)
    return judge(losses, values, Bootstrap(values.shape[1], values.shape[2], draws=2000))


def test_a_clear_winner():
    fitted = judged([0, 0.1, 0.02])
    assert fitted.ranking == ("dice", "mse", "ce")
    assert fitted.winner == "dice"
    text = verdict(fitted, fitted, seeds=3, failed={})
    assert text.startswith("dice wins by mean F1 per image at the cross-fitted threshold: +0.0")
    assert "over mse, Holm p = " in text


def test_no_clear_winner_names_those_that_cannot_be_told_apart():
    fitted = judged([0, 0.001, -0.2])
    text = verdict(fitted, fitted, seeds=3, failed={})
    assert fitted.winner is None
    leader, second, _ = fitted.ranking
    assert text.startswith(
        f"No clear winner between {leader} and {second} by mean F1 per image at the cross-fitted threshold. "
        f"Clearly worse than {leader}: mse (-0."
    )


@pytest.mark.parametrize(("seeds", "words"), [(1, "one seed cannot decide"), (2, "2 seeds cannot decide")])
def test_few_seeds_never_name_a_winner(seeds, words):
    fitted = judged([0, 0.3, 0.02], seeds=seeds)
    assert fitted.winner is None
    assert verdict(fitted, fitted, seeds=seeds, failed={}) == (
        f"No clear winner: {words}, it takes 3. dice leads by mean F1 per image at the cross-fitted threshold."
    )


def test_a_difference_too_small_to_matter_is_no_win():
    assert judged([0, 0.004], losses=("ce", "dice"), luck=0, by_loss=1e-4).winner is None
    assert judged([0, 0.006], losses=("ce", "dice"), luck=0, by_loss=1e-4).winner == "dice"


def test_the_threshold_made_the_winner():
    fitted, at_half = judged([0.001, 0, -0.1]), judged([0, 0.1, -0.1])
    text = verdict(fitted, at_half, seeds=3, failed={})
    assert text.startswith("No clear winner between ")
    gain = at_half.rivals[0].difference.mean
    assert text.endswith(f"At threshold 0.5 the winner would be dice (+{gain:.3f}): the threshold, not the loss.")


def test_another_order_at_one_half_is_said():
    fitted, at_half = judged([0, 0.1, 0.02]), judged([0.03, 0.1, 0.02])
    text = verdict(fitted, at_half, seeds=3, failed={})
    assert text.endswith("At threshold 0.5 the order would be dice, ce, mse.")


def test_the_same_order_is_not_mentioned():
    fitted = judged([0, 0.1, 0.02])
    assert "At threshold 0.5" not in verdict(fitted, fitted, seeds=3, failed={})


def test_a_loss_that_did_not_train_is_named():
    fitted = judged([0, 0.1], losses=("ce", "dice"))
    text = verdict(fitted, fitted, seeds=3, failed={"topk": "seed 1 at step 7"})
    assert text.endswith(" topk did not train (seed 1 at step 7).")
    alone = verdict(None, None, seeds=3, failed={"topk": "seed 1 at step 7"})
    assert alone == "topk did not train (seed 1 at step 7). No loss can be recommended."


def test_one_loss_has_no_rank():
    fitted = judged([0.0], losses=("ce",))
    text = verdict(fitted, fitted, seeds=3, failed={})
    assert text == "ce is the only loss that was compared; nothing can be said about its rank."


def test_the_same_loss_under_many_names_rarely_wins():
    """A/A: five copies of one loss that differ by the luck of their runs, 200 times."""
    names = tuple("abcde")
    wins = [judged([0.0] * 5, losses=names, seed=seed, luck=0.004).winner is not None for seed in range(200)]
    assert np.mean(wins) <= 0.02


def test_two_copies_of_one_loss_rarely_win():
    wins = [judged([0.0] * 2, losses=("a", "b"), seed=seed, luck=0.01).winner is not None for seed in range(200)]
    assert np.mean(wins) <= 0.075


def test_the_only_loss_that_trained_has_no_rank():
    fitted = judged([0.0], losses=("ce",))
    text = verdict(fitted, fitted, seeds=3, failed={"topk": "seed 1 at step 7"})
    assert text == (
        "ce is the only loss that trained; nothing can be said about its rank. topk did not train (seed 1 at step 7)."
    )


def test_p_values_are_corrected_for_the_number_of_losses(monkeypatch):
    """p = 0.03 beats one other loss, but not each of two."""
    monkeypatch.setattr("lossmith.lab.verdict.p_value", lambda differences: 0.03)
    assert judged([0, 0.1], losses=("ce", "dice")).winner == "dice"
    fitted = judged([0, 0.1, 0.0])
    assert [rival.p for rival in fitted.rivals] == [0.06, 0.06]
    assert fitted.winner is None


def test_an_interval_that_holds_zero_is_no_win(monkeypatch):
    """However small p: one seed of three went the other way by more than the others gained."""
    monkeypatch.setattr("lossmith.lab.verdict.p_value", lambda differences: 1e-6)
    seeds = np.array([[0.0, 0.0, 0.0], [0.2, -0.2, 0.3]])
    values = 0.5 + np.repeat(seeds[:, :, None], 24, axis=2)
    fitted = judge(("ce", "dice"), values, Bootstrap(3, 24, draws=2000))
    assert fitted.rivals[0].difference.low < 0 < fitted.rivals[0].difference.mean
    assert fitted.winner is None
