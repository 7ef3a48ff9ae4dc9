"""Every benchmark in turn, each in a process of its own: python benchmarks/run.py [NAME ...] [--quick].

`make bench BENCH="--quick"` passes BENCH on to this. An option that not all of them understand is for the benchmark
itself: python benchmarks/losses.py --loss dice.
"""

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
# Each with what it takes beyond --quick and --out.
BENCHMARKS: dict[str, tuple[str, ...]] = {
    "losses": ("--resume", "--threads"),
    "boxes": (),
    "growth": ("--resume",),
    "floor": ("--resume", "--threads"),
    "start": (),
}


def main() -> None:
    """Run them all, also where one fails; say at the end which did."""
    options = _options()
    failed = []
    for name in options.names or BENCHMARKS:
        print(f"== {name}", flush=True)
        if subprocess.run([sys.executable, str(HERE / f"{name}.py"), *arguments(name, options)]).returncode:
            failed.append(name)
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


def _options() -> argparse.Namespace:
    command = argparse.ArgumentParser(
        usage="%(prog)s [NAME ...] [--quick] [--anew] [--out OUT] [--threads N [N ...]]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)} (default: all)")
    command.add_argument("--quick", action="store_true", help="reduced sizes, a quarter of an hour in all")
    command.add_argument("--out", help="folder of the results (default benchmarks/results, out/bench for --quick)")
    command.add_argument("--threads", type=int, nargs="+", help="thread counts of losses and floor (default 1 2)")
    command.add_argument("--anew", action="store_true", help="start anew, where by default an interrupted run goes on")
    options = command.parse_args()
    if unknown := [name for name in options.names if name not in BENCHMARKS]:
        command.error(f"NAME must be one of {', '.join(BENCHMARKS)}; got {', '.join(unknown)}")
    return options


def arguments(name: str, options: argparse.Namespace) -> list[str]:
    """The command line of one benchmark."""
    words = ["--quick"] if options.quick else []
    if options.out:
        words += ["--out", options.out]
    if "--resume" in BENCHMARKS[name] and not options.anew:
        words += ["--resume"]
    if "--threads" in BENCHMARKS[name] and options.threads:
        words += ["--threads", *map(str, options.threads)]
    return words


if __name__ == "__main__":
    main()
