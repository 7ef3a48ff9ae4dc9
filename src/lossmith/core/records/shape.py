"""What is said of the shape priors: losses that are fitted to masks before they are used, and then named by a file."""

from dataclasses import dataclass

from lossmith.core.parameters import NONNEGATIVE, Anything, Interval, Parameter
from lossmith.core.pixels import TASKS
from lossmith.core.records.options import IGNORE
from lossmith.core.records.record import Entry


@dataclass(frozen=True)
class Prior(Entry):
    """A shape prior in the spec language: ``shape_pca(path='prior.safetensors')``.

    It is no `Record`: its definition is the fitted model in the file, which is PyTorch's alone.
    """

    tasks: tuple[str, ...] = TASKS
    range: Interval = NONNEGATIVE


def _parameters(cls: str) -> tuple[Parameter, ...]:
    return Parameter("path", None, Anything(f"a file that {cls}.save wrote"), "the fitted prior; required"), IGNORE


RECORDS = (
    Prior(
        "shape_pca", "PCAShapePrior", "shape", "distance of prediction and target in a linear model of masks",
        "mean_i (u_i (p - t))^2 / lambda_i",
        _parameters("PCAShapePrior"),
        "Leventon 2000, the linear model of signed distances; distance in it as in Oktay 2018, Eq. 2",
        "noisy images whose objects look alike: fitted to masks and saved, then beside a region loss",
    ),
    Prior(
        "shape_ae", "AutoEncoderShapePrior", "shape", "distance of prediction and target in an autoencoder of masks",
        "mean_i (f_i(p) - f_i(t))^2 / sigma_i^2",
        _parameters("AutoEncoderShapePrior"),
        "Oktay 2018, Eq. 2",
        "as shape_pca, where a linear model is too plain",
    ),
)  # fmt: skip
