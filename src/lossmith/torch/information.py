"""Entropy and its relatives on tensors."""

from torch import Tensor

from lossmith.core import information
from lossmith.core.namespaces.torch import xp
from lossmith.errors import must


def entropy(p: Tensor, base: float = 2.0) -> Tensor:
    r"""Entropy of distributions along the last axis: the least mean length of a code for them.

    .. math:: H(p) = -\sum_i p_i \log p_i, \qquad 0 \log 0 = 0

    Args:
        p: (\*n, K) probabilities, each row with sum 1.
        base: of the logarithm, > 1: 2 for bits, e for nats.

    Returns:
        (\*n), in [0, log K]: 0 for a certainty, log K for equal probabilities.

    Raises:
        ValueError: where a row is no distribution; under ``torch.compile``, ``vmap`` and off the CPU the value is NaN.

    Source: Shannon 1948, sec. 6.

    >>> import torch
    >>> entropy(torch.tensor([[0.5, 0.5], [1.0, 0.0]])).tolist()
    [1.0, 0.0]
    """
    value: Tensor = information.entropy(xp, _tensor("p", p), base)
    return value


def cross_entropy(p: Tensor, q: Tensor, base: float = 2.0) -> Tensor:
    r"""Cross-entropy: the mean length of a code made for q where p is true.

    .. math:: H(p, q) = -\sum_i p_i \log q_i

    Args:
        p: (\*n, K) probabilities, each row with sum 1.
        q: others of the same shape.
        base: of the logarithm, > 1.

    Returns:
        (\*n), in [H(p), inf]: H(p) for q = p, infinite where q excludes what p has.

    Raises:
        ValueError: as `entropy`. The loss of logits and labels is `CrossEntropyLoss`.

    >>> import torch
    >>> cross_entropy(torch.tensor([0.5, 0.5]), torch.tensor([0.25, 0.75]), base=4).item()  # (1 + log4 4/3) / 2
    0.6037593483924866
    """
    value: Tensor = information.cross_entropy(xp, _tensor("p", p), _tensor("q", q), base)
    return value


def kl_divergence(p: Tensor, q: Tensor, base: float = 2.0) -> Tensor:
    r"""Kullback-Leibler divergence: what a code made for q wastes where p is true.

    .. math:: D(p \,\|\, q) = \sum_i p_i \log \frac{p_i}{q_i} = H(p, q) - H(p)

    Args:
        p: (\*n, K) probabilities, each row with sum 1.
        q: others of the same shape.
        base: of the logarithm, > 1.

    Returns:
        (\*n), in [0, inf]: 0 for q = p, infinite where q excludes what p has. Not symmetric.

    Raises:
        ValueError: as `entropy`.

    Source: Kullback & Leibler 1951.

    >>> import torch
    >>> kl_divergence(torch.tensor([1.0, 0.0]), torch.tensor([0.25, 0.75])).item()
    2.0
    """
    value: Tensor = information.kl_divergence(xp, _tensor("p", p), _tensor("q", q), base)
    return value


def js_divergence(p: Tensor, q: Tensor, base: float = 2.0) -> Tensor:
    r"""Jensen-Shannon divergence: the Kullback-Leibler divergences to the middle m = (p + q) / 2, halved.

    .. math:: J(p, q) = \tfrac12 D(p \,\|\, m) + \tfrac12 D(q \,\|\, m)

    Args:
        p: (\*n, K) probabilities, each row with sum 1.
        q: others of the same shape.
        base: of the logarithm, > 1.

    Returns:
        (\*n), in [0, log 2]: 0 for q = p, log 2 where they have nothing in common. Symmetric, always finite.

    Raises:
        ValueError: as `entropy`.

    Source: Lin 1991, Eq. 4.1.

    >>> import torch
    >>> js_divergence(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])).item()
    1.0
    """
    value: Tensor = information.js_divergence(xp, _tensor("p", p), _tensor("q", q), base)
    return value


def _tensor(name: str, value: Tensor) -> Tensor:
    if not isinstance(value, Tensor):
        raise TypeError(must(name, "a tensor", type(value).__name__))
    return value
