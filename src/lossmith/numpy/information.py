"""Entropy and its relatives on NumPy arrays, along the last axis.

>>> entropy([0.5, 0.25, 0.25])
1.5
"""

from lossmith.numpy.face import FACE

entropy, cross_entropy, kl_divergence, js_divergence = FACE.information(__name__)
__all__ = ["cross_entropy", "entropy", "js_divergence", "kl_divergence"]
