import sys

import numpy as np
import pytest
import torch

from lossmith.lab import memory
from lossmith.lab.memory import PeakMemory

MEGABYTES = 150
CPU = torch.device("cpu")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the peak covers the life of the process")
def test_the_peak_counts_what_was_held_and_given_back():
    peak = PeakMemory(CPU)
    before = peak.megabytes()
    np.ones(MEGABYTES * 1_000_000, dtype=np.uint8)
    assert before + 0.8 * MEGABYTES < peak.megabytes() < before + 1.5 * MEGABYTES
    assert PeakMemory(CPU).megabytes() < before + 0.5 * MEGABYTES


def test_a_system_that_does_not_tell(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "none")
    monkeypatch.setattr(memory, "_RESET", tmp_path / "none")
    monkeypatch.setitem(sys.modules, "resource", None)
    assert PeakMemory(CPU).megabytes() is None


def test_a_system_that_tells_by_resource(monkeypatch, tmp_path):
    pytest.importorskip("resource")
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "none")
    assert 50 < PeakMemory(CPU).megabytes() < 50_000
