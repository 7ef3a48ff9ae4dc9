"""What the numbers were measured on."""

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypedDict

from contenders import CONTENDERS

ROOT = Path(__file__).parent.parent


class Environment(TypedDict):
    """Where, when and with what the numbers were measured."""

    date: str
    commit: str
    processor: str
    instructions: str
    cores: int
    memory_gb: float
    system: str
    python: str
    versions: dict[str, str]


def describe() -> Environment:
    """Hardware, versions, commit and date."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "processor": _field("/proc/cpuinfo", "model name") or platform.processor() or "unknown",
        "instructions": _vector_instructions(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": platform.platform(),
        "python": sys.version.split()[0],
        "versions": {package: _version(package) for package in dict.fromkeys(c.package for c in CONTENDERS)},
    }


def _commit() -> str:
    """HEAD, marked where the library's sources differ from it."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "--short=12", "HEAD") + (", changed" if git("status", "--porcelain", "src") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def _field(path: str, name: str) -> str:
    """The first value of `name` in a file of "name : value" lines."""
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return ""
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(name)), "")


def _vector_instructions() -> str:
    flags = _field("/proc/cpuinfo", "flags").split()
    return next((name for name in ("avx512f", "avx2", "sse4_2") if name in flags), "unknown")
