"""NumPy: the reference. Feed it float64 and the definitions compute in float64."""

import numpy

from lossmith.core.namespaces.standard import Standard

xp = Standard(numpy)
