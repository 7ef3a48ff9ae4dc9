import os
from importlib.util import find_spec

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two test processes share the cores

import pytest
import torch

from paths import in_blocks, in_one

torch.set_num_threads(1)

# Other libraries have an environment of their own, and so have other frameworks: `make test-peers`, `test-frameworks`.
collect_ignore = [] if find_spec("segmentation_models_pytorch") else ["against_peers"]
collect_ignore += [] if find_spec("jax") and find_spec("tensorflow") else ["frameworks"]


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
