"""Entropy and its relatives on tensors of Keras, along the last axis."""

from lossmith.core import functions
from lossmith.keras.backend import give, take, xp

entropy, cross_entropy, kl_divergence, js_divergence = functions.information(xp, take, give, __name__)
__all__ = ["cross_entropy", "entropy", "js_divergence", "kl_divergence"]
