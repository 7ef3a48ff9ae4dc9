"""What parameters of a loss say together: where they contradict each other, and by which record it is computed.

Every framework's face calls `agree` when a loss is made; a loss inside of another then has a `record` and an `atom`. It
calls `choose` when the loss is computed; a loss inside is then (record, arguments).
"""

from collections.abc import Sequence
from typing import Any

from lossmith.core.inputs import INPUTS
from lossmith.core.partial import marginal
from lossmith.core.pixels import Pixels
from lossmith.core.records.record import Record
from lossmith.core.reduce import Terms
from lossmith.errors import must

Asked = tuple[Record, dict[str, Any]]


def not_both_zero(*, alpha: float, beta: float, **_: object) -> None:
    """With alpha = beta = 0 the loss is 0 whatever is predicted."""
    if alpha == 0 and beta == 0:
        raise ValueError(must("alpha and beta", "not both 0", (alpha, beta)))


def one_vs_rest_of_logits(*, task: str, one_vs_rest: bool, from_logits: bool, **_: object) -> None:
    """Softmax probabilities are not those of one class against the rest."""
    if one_vs_rest and task == "multiclass" and not from_logits:
        raise ValueError(must("from_logits of a one-vs-rest loss", "True", False))


def some_neighbours_count(*, appearance: float, smoothness: float, **_: object) -> None:
    """Neighbours without weight say nothing."""
    if appearance + smoothness == 0:
        raise ValueError(must("appearance or smoothness", "> 0", (0, 0)))


def ordered_bounds(*, low: Any, high: Any, **_: object) -> None:
    """No lower bound above the upper one; each is one number, or one for each class, or None."""
    least, most = _numbers(0.0 if low is None else low), _numbers(1.0 if high is None else high)
    if len(least) != len(most) and 1 not in (len(least), len(most)):
        raise ValueError(must("low", f"{len(most)} numbers like high", least))
    many = max(len(least), len(most))
    if any(a > b for a, b in zip(least * (many // len(least)), most * (many // len(most)), strict=True)):
        raise ValueError(must("low", f"at most high, {most}", least))


def _numbers(bound: Any) -> list[float]:
    """One number, or one for each class."""
    bound = bound.tolist() if hasattr(bound, "tolist") else bound
    return [float(number) for number in (bound if isinstance(bound, Sequence) else [bound])]


def counts_of_classes(*, task: str, counts: Any, **_: object) -> None:
    """A pair of counts for each class; sigmoid tasks have two classes a channel."""
    if counts is None:
        return
    shape = _shape(counts)
    legal = {"binary": shape == (2, 2), "multiclass": len(shape) == 2 and shape[1] == 2}
    if not legal.get(task, len(shape) == 3 and shape[1:] == (2, 2)):
        expected = {"binary": "(2, 2)", "multiclass": "(C, 2)"}.get(task, "(C, 2, 2)")
        raise ValueError(must("counts", f"of shape {expected}", shape))
    if not _nonnegative(counts):
        raise ValueError(must("counts", ">= 0", counts))


def _shape(table: Any) -> tuple[int, ...]:
    return (len(table), *_shape(table[0])) if isinstance(table, Sequence) and table else ()


def _nonnegative(table: Any) -> bool:
    return all(map(_nonnegative, table)) if isinstance(table, Sequence) else table >= 0


def of_pixels(*, loss: Any, **_: object) -> None:
    """What has hard examples is a loss of pixels that counts all of them."""
    if loss.record.family != "pixel" or loss.record.own_weights:
        raise ValueError(must("loss", "a pixel loss that does not choose pixels itself", loss))


def mergeable(record: Record) -> bool:
    """Whether a loss compares probabilities of classes with a target, and needs nothing else."""
    if "multiclass" not in record.tasks or not record.supervised or record.calibrates:
        return False
    return not any(INPUTS[name].required for name in record.inputs)


def of_classes(*, loss: Any, **_: object) -> None:
    """What is merged are probabilities of classes."""
    if not mergeable(loss.record) or loss.atom.arguments.get("one_vs_rest"):
        raise ValueError(must("loss", "one of softmax probabilities and a target alone", str(loss.atom)))


def hard_examples(record: Record, arguments: dict[str, Any]) -> Asked:
    """The loss inside becomes the definition `base`."""
    arguments = dict(arguments)
    inner, chosen = arguments.pop("loss")
    chosen = {name: value for name, value in chosen.items() if name != "reduction"}

    def base(px: Pixels) -> Terms:
        terms: Terms = inner.definition(px, **chosen)
        return terms

    return record, {**arguments, "base": base}


def on_merged_classes(_: Record, arguments: dict[str, Any]) -> Asked:
    """The loss inside, on the merged classes."""
    inner, chosen = arguments["loss"]
    return marginal(inner), {**chosen, "reduction": arguments["reduction"]}


def formula_where_empty(record: Record, arguments: dict[str, Any]) -> Asked:
    """The formula as it stands for an image without foreground."""
    return record, {**arguments, "empty": "smooth"}
