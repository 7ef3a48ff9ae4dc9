"""Compile src/lossmith/torch/compiled.c when lossmith is installed; without a compiler lossmith goes without it.

    python hatch_build.py       compile it in place

CC chooses the compiler, CFLAGS adds to its options, LOSSMITH_COMPILE=0 leaves it out and =1 makes a failure an error.
"""

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # run as a program
    BuildHookInterface = object

FOLDER = Path(__file__).parent / "src" / "lossmith" / "torch"
SOURCE, LIBRARY = FOLDER / "compiled.c", FOLDER / "_compiled.so"
OPTIONS = (
    "-std=gnu11",
    "-O3",
    "-ffp-contract=fast",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fvisibility=hidden",
    "-Wno-psabi",
)
LINKING = ("-shared",) if os.name == "nt" else ("-shared", "-fPIC", "-pthread")


def compile_library() -> Path | None:
    """The library, or None where there is no compiler that makes it."""
    wanted = os.environ.get("LOSSMITH_COMPILE", "")
    if wanted == "0":
        LIBRARY.unlink(missing_ok=True)
        return None
    compiler = os.environ.get("CC") or next(filter(shutil.which, ("cc", "gcc", "clang")), None)
    problem = "there is no C compiler (cc, gcc, clang)"
    if compiler is not None:
        made = LIBRARY.with_name(f"{LIBRARY.name}.{os.getpid()}")  # renamed when whole: others may have it open
        flags = (*OPTIONS, *LINKING, *shlex.split(os.environ.get("CFLAGS", "")))
        try:
            subprocess.run([*shlex.split(compiler), *flags, str(SOURCE), "-o", str(made)], check=True)
            made.replace(LIBRARY)
            return LIBRARY
        except (OSError, subprocess.CalledProcessError) as error:
            made.unlink(missing_ok=True)
            problem = str(error)
    LIBRARY.unlink(missing_ok=True)  # of another version, maybe
    if wanted == "1":
        raise RuntimeError(f"compiled.c was not compiled: {problem}")
    print(f"lossmith goes without its compiled code, slower on the CPU: {problem}", file=sys.stderr)
    return None


class CustomBuildHook(BuildHookInterface):
    """Called by the build of a wheel, and of an editable one."""

    def initialize(self, version, build_data):  # noqa: ARG002 (hatch's own names)
        """Put the library into the wheel, which then is one of this platform."""
        if compile_library() is not None:
            build_data["pure_python"] = False
            # Of the platform, but of any Python: the library uses none of its interfaces.
            build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
            build_data["artifacts"].append(f"src/lossmith/torch/{LIBRARY.name}")


if __name__ == "__main__":
    sys.exit(0 if compile_library() else 1)
