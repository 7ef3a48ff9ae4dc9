"""Which loss serves your model on your data: train it with each one, score, and say honestly what was seen.

`compare` is the whole story; what it gives back is a `Comparison`. `simulate_boxes` repeats a paper's experiment on box
losses. Importing this package loads no framework.
"""

from lossmith.lab.boxes import Simulation, simulate_boxes
from lossmith.lab.compare import Comparison, compare

__all__ = ["Comparison", "Simulation", "compare", "simulate_boxes"]
