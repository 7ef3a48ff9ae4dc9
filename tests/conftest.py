import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two test processes share the cores

import pytest
import torch

from paths import in_blocks, in_one

torch.set_num_threads(1)


@pytest.fixture
def walked():
    """Losses look at every batch in small blocks, however small it is."""
    with in_blocks():
        yield


@pytest.fixture(params=[in_one, in_blocks], ids=["in_one", "in_blocks"])
def path(request):
    """Both ways through a batch."""
    with request.param():
        yield
