"""The sentence: which loss won, or that none did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lossmith.lab.statistics import Bootstrap, Floats, Interval, holm, p_value

MARGIN = 0.005
ALPHA = 0.05
MIN_SEEDS = 3


@dataclass(frozen=True)
class Rival:
    """The leader against another loss: paired difference (leader - loss), p after Holm, what follows."""

    loss: str
    difference: Interval
    p: float
    beaten: bool


@dataclass(frozen=True)
class Judgement:
    """Losses by mean score, and each of the others against the first."""

    ranking: tuple[str, ...]
    rivals: tuple[Rival, ...]

    @property
    def equals(self) -> list[str]:
        """The leader and those it did not beat."""
        return [self.ranking[0], *(rival.loss for rival in self.rivals if not rival.beaten)]

    @property
    def winner(self) -> str | None:
        """The loss that beat all others, if there is one."""
        return self.ranking[0] if self.rivals and len(self.equals) == 1 else None


def judge(losses: Sequence[str], scores: Floats, bootstrap: Bootstrap) -> Judgement:
    """Rank `losses` by mean score (L, S, N) and test each against the leader.

    The leader beats a loss when, over 3 seeds or more, p < 0.05 after Holm's correction for the number of
    losses, the two-level interval of the paired difference excludes 0, and the mean difference is at least
    0.005.
    """
    order = np.argsort(-scores.mean(axis=(1, 2)), kind="stable")
    leader, *others = (int(i) for i in order)
    differences = [scores[leader] - scores[other] for other in others]
    p_values = holm(np.array([p_value(d) for d in differences]))
    rivals = []
    for other, difference, p in zip(others, differences, p_values, strict=True):
        interval = bootstrap.mean(difference)
        enough = scores.shape[1] >= MIN_SEEDS and p < ALPHA
        beaten = bool(enough and interval.low > 0 and interval.mean >= MARGIN)
        rivals.append(Rival(losses[other], interval, float(p), beaten))
    return Judgement(tuple(losses[i] for i in order), tuple(rivals))


def verdict(fitted: Judgement | None, at_half: Judgement | None, *, seeds: int, failed: Mapping[str, str]) -> str:
    """The verdict in words.

    Args:
        fitted: by image-mean F1 at the cross-fitted threshold: what the verdict rests on. None when nothing
            trained.
        at_half: by image-mean F1 at the threshold 0.5.
        seeds: how many.
        failed: losses that did not train, with when.
    """
    parts = [f"{loss} did not train ({when})." for loss, when in failed.items()]
    if fitted is None or at_half is None:
        return " ".join([*parts, "No loss can be recommended."])
    return " ".join([_main(fitted, seeds, failed), *_beaten(fitted), *_threshold(fitted, at_half), *parts])


def _main(fitted: Judgement, seeds: int, failed: Mapping[str, str]) -> str:
    leader = fitted.ranking[0]
    basis = "by mean F1 per image at the cross-fitted threshold"
    if not fitted.rivals:
        only = "trained" if failed else "was compared"
        return f"{leader} is the only loss that {only}; nothing can be said about its rank."
    if fitted.winner is not None:
        nearest = fitted.rivals[0]
        return (
            f"{leader} wins {basis}: +{nearest.difference.mean:.3f} ({nearest.difference.low:.3f} to "
            f"{nearest.difference.high:.3f}) over {nearest.loss}, Holm p = {nearest.p:.2g}."
        )
    if seeds < MIN_SEEDS:
        number = "one seed" if seeds == 1 else f"{seeds} seeds"
        return f"No clear winner: {number} cannot decide, it takes {MIN_SEEDS}. {leader} leads {basis}."
    return f"No clear winner between {_join(fitted.equals)} {basis}."


def _beaten(fitted: Judgement) -> list[str]:
    if fitted.winner is not None:
        return []
    beaten = [f"{rival.loss} (-{rival.difference.mean:.3f})" for rival in fitted.rivals if rival.beaten]
    return [f"Clearly worse than {fitted.ranking[0]}: {_join(beaten)}."] if beaten else []


def _threshold(fitted: Judgement, at_half: Judgement) -> list[str]:
    if at_half.winner is not None and at_half.winner != fitted.winner:
        gain = at_half.rivals[0].difference.mean
        winner = f"{at_half.winner} (+{gain:.3f})"
        return [f"At threshold 0.5 the winner would be {winner}: the threshold, not the loss."]
    if at_half.ranking != fitted.ranking:
        return [f"At threshold 0.5 the order would be {', '.join(at_half.ranking)}."]
    return []


def _join(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]
