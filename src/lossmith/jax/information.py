"""Entropy and its relatives on JAX arrays, along the last axis."""

from lossmith.jax.face import FACE

entropy, cross_entropy, kl_divergence, js_divergence = FACE.information(__name__)
__all__ = ["cross_entropy", "entropy", "js_divergence", "kl_divergence"]
