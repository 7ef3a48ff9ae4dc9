"""What a reader needs to repeat a comparison: versions, hardware, command."""

from __future__ import annotations

import os
import platform
import re
import shlex
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from lossmith import __version__

PACKAGES = ("torch", "numpy", "scipy", "kornia", "lightning-fabric")


def versions() -> dict[str, str]:
    """Version of Python, of this package and of what a score depends on."""
    found = {"python": platform.python_version(), "lossmith": __version__}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def hardware() -> dict[str, object]:
    """Processor, cores and system, and the GPU where there is one."""
    import torch

    found: dict[str, object] = {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
    }
    if torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name()
    return found


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    name = re.search(r"model name\s*:\s*(.+)", path.read_text()) if path.exists() else None
    return name[1] if name else platform.processor() or platform.machine()


def command_line(data: str, losses: Sequence[str], options: Mapping[str, object]) -> str:
    """The shell command of a comparison; options that are None are left out, sequences joined by commas."""
    words = ["lossmith", "compare", data]
    for loss in losses:
        words += ["--loss", loss]
    for name, value in options.items():
        if value is not None:
            text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
            words += [f"--{name}", text]
    return shlex.join(words)
