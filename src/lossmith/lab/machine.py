"""What a run is given to run on: device, precision, threads."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from lightning_fabric import Fabric

from lossmith.errors import must


@dataclass(frozen=True)
class Machine:
    """The accelerator as Lightning Fabric names it; `threads` None leaves PyTorch's own number."""

    accelerator: str = "auto"
    threads: int | None = None

    def fabric(self, precision: str) -> Fabric:
        """One device of the machine at `precision`.

        Raises:
            ValueError: the machine has no such accelerator, or that one no such precision.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that bf16 stands in for 16-mixed on a CPU: an error here
            try:
                fabric = Fabric(accelerator=self.accelerator, devices=1, precision=precision)  # type: ignore[arg-type]
            except (RuntimeError, ValueError, ImportError) as error:
                raise ValueError(must("accelerator", "one this machine has", self.accelerator)) from error
        if precision == "16-mixed" and fabric.device.type == "cpu":
            raise ValueError(must("precision", "32-true, bf16-mixed or 64-true on a CPU", precision))
        return fabric

    @contextmanager
    def limited(self) -> Iterator[None]:
        """Inside the block PyTorch uses `threads` threads."""
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads or before)
        try:
            yield
        finally:
            torch.set_num_threads(before)
