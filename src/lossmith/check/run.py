"""Run the laws on a loss and report."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from lossmith.check.laws import LAWS
from lossmith.check.subject import Broken, Facts, Skipped, Subject
from lossmith.errors import must, suggest


@dataclass(frozen=True)
class Result:
    """What one law said: name, statement, status and, where it did not pass, why."""

    law: str
    statement: str
    status: Literal["passed", "broken", "skipped"]
    message: str = ""


@dataclass(frozen=True)
class Report:
    """The results of all laws."""

    results: tuple[Result, ...]

    @property
    def sound(self) -> bool:
        """Whether no law is broken."""
        return not self.broken

    @property
    def broken(self) -> tuple[Result, ...]:
        """The results of broken laws."""
        return tuple(result for result in self.results if result.status == "broken")

    def __str__(self) -> str:
        marks = {"passed": "ok    ", "broken": "BROKEN", "skipped": "-     "}
        return "\n".join(
            f"{marks[result.status]} {result.statement}" + (f"\n         {result.message}" if result.message else "")
            for result in self.results
        )


def check(
    loss: type | Callable[..., Tensor],
    /,
    task: str | None = None,
    *,
    facts: Facts | None = None,
    only: str | Sequence[str] | None = None,
    **parameters: Any,
) -> Report:
    """Hold a loss against the laws.

    Args:
        loss: a class of losses (best: its options can be checked too), or a loss, called as ``loss(logits, target)``.
        task: ``"binary"``, ``"multiclass"`` or ``"multilabel"``; None: that of a lossmith loss, else binary.
        facts: what the loss claims (range, zero at the truth); by default what its record says, else nothing.
        only: a law's name, or several; None: all.
        **parameters: constructor arguments of a class.

    Returns:
        A report; ``print(report)`` shows each law, ``report.sound`` whether all hold.

    Raises:
        ValueError, TypeError: for a task, a law or constructor arguments that do not fit.

    >>> from lossmith.torch import DiceLoss
    >>> check(DiceLoss, "binary", only=["truth_costs_least", "nan_stays_visible"]).sound
    True
    """
    names = list(LAWS) if only is None else [only] if isinstance(only, str) else list(only)
    for name in names:
        if name not in LAWS:
            raise ValueError(must("only", f"names of laws{suggest(name, LAWS)}", name))
    subject = Subject(loss, task or str(getattr(loss, "task", "binary")), facts, **parameters)
    subject.build()  # what is wrong with the arguments is the caller's, no broken law
    return Report(tuple(_result(name, subject) for name in names))


def _result(name: str, subject: Subject) -> Result:
    statement = (LAWS[name].__doc__ or "").strip().splitlines()[0]
    try:
        LAWS[name](subject)
    except Skipped as reason:
        return Result(name, statement, "skipped", str(reason))
    except Broken as fault:
        return Result(name, statement, "broken", str(fault))
    except Exception as error:  # a crash of the loss under test is a finding, not ours
        return Result(name, statement, "broken", f"{type(error).__name__}: {error}")
    return Result(name, statement, "passed")
