"""Peak memory of a run: of the device where it has one, else of this process."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import re
import sys
from pathlib import Path

import torch

_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")


class PeakMemory:
    """Starts counting when made; `megabytes()` is the peak since then.

    On a CUDA device what torch allocated; on Linux the resident set of the process (libraries included), with
    freed memory of earlier runs given back first; elsewhere the process's peak since its start, which only
    grows.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        gc.collect()
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        elif _RESET.exists():
            _give_back()
            with contextlib.suppress(OSError):  # in a locked-down container the peak covers the process's life
                _RESET.write_text("5")  # resets VmHWM, see proc(5)

    def megabytes(self) -> float | None:
        """Peak in MB (10^6 bytes); None where the system does not tell."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) / 1e6
        if _STATUS.exists() and (found := re.search(r"VmHWM:\s+(\d+) kB", _STATUS.read_text())):
            return int(found[1]) * 1024 / 1e6
        try:
            import resource
        except ImportError:  # Windows
            return None
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def _give_back() -> None:
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
