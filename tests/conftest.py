import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two test processes share the cores

import torch

torch.set_num_threads(1)
