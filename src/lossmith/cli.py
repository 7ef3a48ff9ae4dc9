"""The command line: parses, calls, prints. No logic."""

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from lossmith import show

EXTRAS = {"torch": "torch"} | dict.fromkeys(
    ["jinja2", "kornia", "lightning_fabric", "matplotlib", "PIL", "pyarrow", "rich", "sklearn", "tensorboard"], "lab"
)

app = typer.Typer(
    help="Which loss, with which parameters, for your data.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _version(
    show_version: Annotated[bool, typer.Option("--version", help="Show the version and stop.")] = False,
) -> None:
    if show_version:
        typer.echo(f"lossmith {version('lossmith')}")
        raise typer.Exit


@app.command("list")
def list_(as_json: Annotated[bool, typer.Option("--json", help="An array of records.")] = False) -> None:
    """The losses of the catalogue."""
    typer.echo(json.dumps(show.catalogue(), indent=2) if as_json else show.table())


@app.command("show")
def show_(name: Annotated[str, typer.Argument(help="A loss's name, as in `lossmith list`.")]) -> None:
    """Formula, parameters with legal values, paper, and when to use a loss."""
    typer.echo(show.page(name))


@app.command()
def compare(
    data: Annotated[str, typer.Argument(help="shapes, cracks (with parameters: 'shapes(missing=0.3)'), or a folder.")],
    loss: Annotated[list[str], typer.Option("--loss", "-l", help="A loss spec; give one for each loss.")],
    out: Annotated[Path, typer.Option(help="Folder of the results; the same command again continues.")] = Path(
        "runs/compare"
    ),
    seeds: Annotated[int, typer.Option(help="Runs for each loss; fewer than 3 never name a winner.")] = 3,
    steps: Annotated[int | None, typer.Option(help="Training steps of a run (450 unless --epochs is given).")] = None,
    epochs: Annotated[float | None, typer.Option(help="Training steps as passes over the images.")] = None,
    model: Annotated[str, typer.Option(help="unet, unet-depthwise or module:factory.")] = "unet",
    batch: Annotated[int, typer.Option(help="Images in a batch.")] = 8,
    crop: Annotated[
        int | None, typer.Option(help="Side of the training crops; 256, or what fits the smallest image.")
    ] = None,
    lr: Annotated[float, typer.Option(help="Peak learning rate, the same for every loss.")] = 3e-3,
    tolerance: Annotated[int, typer.Option(help="Pixels within which the tolerant scores count a find.")] = 2,
    classes: Annotated[
        str | None, typer.Option(help="Class names by index, background first: background,crack.")
    ] = None,
    labels: Annotated[str | None, typer.Option(help="Mask values that are foreground, such as 2,4.")] = None,
    data_seed: Annotated[int, typer.Option(help="Seed of the split into training and test images.")] = 0,
    test: Annotated[float, typer.Option(help="Share of the images that are tested on.")] = 0.2,
    accelerator: Annotated[str, typer.Option(help="auto, cpu, gpu, mps.")] = "auto",
    precision: Annotated[str, typer.Option(help="32-true, bf16-mixed, 16-mixed or 64-true.")] = "32-true",
    threads: Annotated[int | None, typer.Option(help="Threads of a run.")] = None,
    jobs: Annotated[int, typer.Option(help="Runs that go at the same time.")] = 1,
) -> None:
    """Train one model with each loss on your data and say, with honest statistics, which to use."""
    from lossmith.lab import compare as run
    from lossmith.lab.console import print_comparison

    try:
        result = run(
            data, loss, out=out, seeds=seeds, steps=steps, epochs=epochs, model=model, batch=batch, crop=crop, lr=lr,
            tolerance=tolerance, classes=_words(classes), labels=_numbers(labels), data_seed=data_seed, test=test,
            accelerator=accelerator, precision=precision, threads=threads, jobs=jobs,
        )  # fmt: skip
    except KeyboardInterrupt:
        _interrupted("runs")
    print_comparison(result)


simulate = typer.Typer(help="Experiments of papers, to be repeated.", no_args_is_help=True)
app.add_typer(simulate, name="simulate")


@simulate.command()
def boxes(
    loss: Annotated[
        list[str] | None,
        typer.Option(
            "--loss", "-l", help="A box loss spec; one for each. Else L1, smooth L1, IoU, GIoU, DIoU and CIoU."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the results; the same command again continues.")] = Path(
        "runs/boxes"
    ),
    points: Annotated[int | None, typer.Option(help="Starting points, of 343 cases each (250).")] = None,
    full: Annotated[bool, typer.Option("--full", help="The paper's size, 5000 points.")] = False,
    seed: Annotated[int | None, typer.Option(help="Draw the points at random; else they are spread evenly.")] = None,
    gradients: Annotated[str, typer.Option(help="all, exact, or published: those of the paper's code.")] = "all",
) -> None:
    """The simulation of the Distance-IoU paper: boxes descend to their targets under each loss."""
    from lossmith.lab import simulate_boxes
    from lossmith.lab.boxes import FULL_POINTS, LOSSES, POINTS
    from lossmith.lab.console import print_simulation

    if full and points is not None:
        raise typer.BadParameter(f"--full is --points {FULL_POINTS}: give one of them")
    size = FULL_POINTS if full else POINTS if points is None else points
    try:
        result = simulate_boxes(loss or LOSSES, out=out, points=size, seed=seed, gradients=gradients)
    except KeyboardInterrupt:
        _interrupted("parts")
    print_simulation(result)


def _interrupted(kept: str) -> NoReturn:
    typer.echo(f"lossmith: interrupted; finished {kept} are kept, the same command goes on from there", err=True)
    raise typer.Exit(130) from None


def _words(text: str | None) -> list[str] | None:
    return None if text is None else [word.strip() for word in text.split(",")]


def _numbers(text: str | None) -> list[int] | None:
    try:
        return None if text is None else [int(word) for word in text.split(",")]
    except ValueError as error:
        raise typer.BadParameter(f"--labels must be whole numbers, such as 2,4; got {text!r}") from error


def main() -> NoReturn:
    """Entry point: errors in one line, an interrupted run says how to go on."""
    try:
        app()
    except (ValueError, TypeError, OSError) as error:
        sys.exit(f"lossmith: {error}")
    except ModuleNotFoundError as error:
        extra = f"; pip install 'lossmith[{EXTRAS[error.name]}]'" if error.name in EXTRAS else ""
        sys.exit(f"lossmith: there is no module {error.name!r} to import{extra}")
    sys.exit(0)
