"""What a record of a loss says, see `catalogue.py`; and the option that all records have."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lossmith.core.parameters import NONNEGATIVE, Choice, Interval, Parameter
from lossmith.core.pixels import TASKS
from lossmith.core.reduce import REDUCTIONS
from lossmith.errors import suggest

REDUCTION = Parameter("reduction", "mean", Choice(REDUCTIONS), "weighted mean, weighted sum, or none")


@dataclass(frozen=True)
class Entry:
    """What is said of whatever the spec language can name."""

    name: str
    cls: str
    family: str
    summary: str
    formula: str
    parameters: tuple[Parameter, ...]
    paper: str
    when: str

    def parameter(self, name: str) -> Parameter:
        """The parameter called `name`, or a ValueError that suggests one."""
        for parameter in self.parameters:
            if parameter.name == name:
                return parameter
        known = [parameter.name for parameter in self.parameters]
        raise ValueError(f"{self.name} has no parameter {name}{suggest(name, known)}")


@dataclass(frozen=True)
class Record(Entry):
    """A loss of the catalogue.

    tasks: what a segmentation loss is for; a box loss has none.
    axes: how many spatial axes it can have (empty: any number), or the axes that its boxes may have.
    coded: it compares coordinates of boxes whatever they stand for, so that x2 < x1 says nothing.
    range: the values of the mean for hard targets.
    zero_at_truth: a certain, right prediction costs 0 (parameters at their defaults).
    least_at_truth: no prediction costs less than that one.
    calibrates: it holds every logit back from certainty, be it right or wrong.
    own_weights: the loss weighs or chooses pixels itself, so its mean is not the plain mean of "none".
    hard_targets: soft targets are refused.
    joint: one value for all classes together.
    neighbours: it looks at pixels together with those around them. uncut: it does so in its terms, too, not only in
    what it prepares, so that a block must be of whole images.
    supervised: it has a target; else that says no more than which pixels are ignored.
    inputs: what it is called with beside logits, target and weight, see `inputs.py`.
    on_host: it asks for distances or exact skeletons, which code of the CPU's own makes in every framework.
    of_truth: of a pixel it takes log p_t alone.
    prepare, terms, statistics: what a loss must know of the whole batch, what a block of pixels gives to it alone, and
    the shared sums that a pixel loss is a formula of; see `evaluate.py`.
    agree: called with task and parameters by name, it raises where they do not go together. choose: where parameters
    say by which other record, or with which other arguments, the loss is computed; see `choice.py`.
    """

    definition: Callable[..., Any]
    tasks: tuple[str, ...] = TASKS
    range: Interval = NONNEGATIVE
    zero_at_truth: bool = True
    least_at_truth: bool = True
    calibrates: bool = False
    own_weights: bool = False
    hard_targets: bool = False
    joint: bool = False
    neighbours: bool = False
    uncut: bool = False
    supervised: bool = True
    inputs: tuple[str, ...] = ()
    on_host: bool = False
    of_truth: bool = False
    prepare: Callable[..., Any] | None = None
    terms: Callable[..., Any] | None = None
    statistics: Callable[..., tuple[str, ...]] | None = None
    axes: tuple[int, ...] = ()
    coded: bool = False
    agree: Callable[..., None] | None = None
    choose: Callable[["Record", dict[str, Any]], tuple["Record", dict[str, Any]]] | None = None

    @property
    def of_sums(self) -> bool:
        """Whether it is a formula on sums over pixels, one value for an item; else it has a term for every pixel."""
        return hasattr(self.definition, "names")

    def takes_truth_alone(self, parameters: Mapping[str, object]) -> bool:
        """Whether the loss takes of a pixel log p_t alone; smoothed labels and one-vs-rest look at every class."""
        return self.of_truth and not (parameters.get("label_smoothing") or parameters.get("one_vs_rest"))

    def check(self, values: Mapping[str, object]) -> None:
        """Raise at the first parameter that is unknown or has an illegal value."""
        for name, value in values.items():
            self.parameter(name).legal.check(name, value)
