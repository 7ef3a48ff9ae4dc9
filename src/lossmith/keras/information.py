"""Entropy and its relatives on tensors of Keras, along the last axis."""

from lossmith.core.functions import Face
from lossmith.keras.backend import give, take, xp

entropy, cross_entropy, kl_divergence, js_divergence = Face(xp, take, give).information(__name__)
__all__ = ["cross_entropy", "entropy", "js_divergence", "kl_divergence"]
