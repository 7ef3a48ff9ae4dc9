"""Images to compare losses on: built-in drawn ones, a folder of your own, CrackForest.

`load` is the door. `lossmith.data.augmentation.Batches` turns samples into training batches; it needs torch
and kornia and is imported by its own name.
"""

from lossmith.data.base import Data, Sample, Samples
from lossmith.data.distance_maps import DistanceMaps
from lossmith.data.load import load
from lossmith.data.weaken import weak_labels, weaken

__all__ = ["Data", "DistanceMaps", "Sample", "Samples", "load", "weak_labels", "weaken"]
