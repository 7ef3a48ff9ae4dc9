"""What the numbers were measured on."""

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from hashlib import sha256
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


def summary(e: Environment) -> str:
    """All of it in a sentence or two."""
    versions = ", ".join(f"{package} {number}" for package, number in e["versions"].items())
    hardware = f"{e['processor']} ({e['instructions']}), {e['cores']} cores, {e['memory_gb']} GB"
    return f"{e['date']}, commit {e['commit']}. {hardware}, {e['system']}, Python {e['python']}; {versions}."


def free_memory() -> int:
    """Bytes that a program could have now; 0 where the system does not tell."""
    return 1024 * int((_field("/proc/meminfo", "MemAvailable") or "0").split()[0])


def _commit() -> str:
    """HEAD, and where the library's sources differ from it a fingerprint of them."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    try:
        head, changed = git("rev-parse", "--short=12", "HEAD"), git("status", "--porcelain", "src")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{head}, changed ({_fingerprint()})" if changed else head


def _fingerprint() -> str:
    """Eight digits that tell one state of the sources from another."""
    sources = sorted((ROOT / "src").rglob("*.py"))
    return sha256(b"\0".join(path.read_bytes() for path in sources)).hexdigest()[:8]


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
