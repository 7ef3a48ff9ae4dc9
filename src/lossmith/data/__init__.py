"""Images to compare losses on: built-in drawn ones, a folder of your own, CrackForest.

`load` is the door. `lossmith.data.augmentation.Batches` turns samples into training batches; it needs torch
and kornia and is imported by its own name.
"""

from lossmith.data.base import Data, Sample, Samples
from lossmith.data.load import load

__all__ = ["Data", "Sample", "Samples", "load"]
