import io

from rich.console import Console

from lossmith.lab.plan import Trial
from lossmith.lab.progress import Progress


def test_a_line_for_each_run_where_there_is_no_terminal():
    file = io.StringIO()
    console = Console(file=file, force_terminal=False, width=40)
    with Progress(3, 1, 10, shown=True, console=console) as bars:
        run = bars.start(Trial("dice[a]", 0))
        run(10, 0.25)
        run.finish(7.6, trained=True)
        bars.start(Trial("ce", 1)).finish(1.0, trained=False)
        assert bars.bars.tasks[0].completed == 30
        assert len(bars.bars.tasks) == 1
    assert file.getvalue().splitlines() == [
        "1 of 3 runs are on disk already",
        "[2/3] dice[a], seed 0: loss 0.2500, 8 s",
        "[3/3] ce, seed 1: did not train: loss or output not finite, 1 s",
    ]
