"""Entropy and its relatives: the weather example, mpmath, zeros, what is refused."""

from math import e, inf, log

import array_api_strict
import mpmath
import numpy as np
import pytest
import torch

from lossmith.core import information
from lossmith.core.namespaces.numpy import xp as numpy_namespace
from lossmith.core.namespaces.standard import Standard
from lossmith.torch import cross_entropy, entropy, js_divergence, kl_divergence

WEATHER = [0.35, 0.35, 0.10, 0.10, 0.04, 0.04, 0.01, 0.01]
BOTH = (cross_entropy, kl_divergence, js_divergence)


def of(*numbers: float) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def code(*lengths: int) -> torch.Tensor:
    """What a prefix code takes for the probabilities, and in a last place what it leaves unused."""
    shares = [2.0**-length for length in lengths]
    return of(*shares, 1.0 - sum(shares))


# The worked example: eight kinds of weather, told with so many bits each ------------------------------------------------


@pytest.mark.parametrize(
    ("p", "bits"),
    [((0.5, 0.5), 1.0), ((1 / 8,) * 8, 3.0), ((0.75, 0.25), 0.81), (WEATHER, 2.23), ((1.0, 0.0), 0.0)],
)
def test_entropy_of_the_text(p, bits):
    assert entropy(of(*p)).item() == pytest.approx(bits, abs=5e-3)


@pytest.mark.parametrize(
    ("lengths", "bits"),
    [((3,) * 8, 3.0), ((2, 2, 3, 3, 4, 4, 5, 5), 2.42), ((5, 5, 4, 4, 3, 3, 2, 2), 4.58)],
)
def test_code_lengths_of_the_text(lengths, bits):
    """The mean length of a message is the cross-entropy; a code word that is never sent costs nothing."""
    assert sum(p * length for p, length in zip(WEATHER, lengths, strict=True)) == pytest.approx(bits)
    assert cross_entropy(of(*WEATHER, 0.0), code(*lengths)).item() == pytest.approx(bits, rel=1e-12)


def test_divergence_of_the_text():
    """4.58 bits sent where 2.23 would do."""
    p, q = of(*WEATHER, 0.0), code(5, 5, 4, 4, 3, 3, 2, 2)
    assert kl_divergence(p, q).item() == pytest.approx(2.35, abs=5e-3)
    assert kl_divergence(p, q).item() == pytest.approx((cross_entropy(p, q) - entropy(p)).item(), rel=1e-12)


# Against many digits --------------------------------------------------------------------------------------------------


def exact(name: str, p: list[float], q: list[float]) -> float:
    with mpmath.workdps(50):
        a, b = ([mpmath.mpf(x) for x in row] for row in (p, q))
        middle = [(x + y) / 2 for x, y in zip(a, b, strict=True)]

        def divergence(s: list, t: list) -> mpmath.mpf:
            return mpmath.fsum(x * mpmath.log(x / y, 2) for x, y in zip(s, t, strict=True) if x)

        found = {
            "entropy": -mpmath.fsum(x * mpmath.log(x, 2) for x in a if x),
            "cross_entropy": -mpmath.fsum(x * mpmath.log(y, 2) for x, y in zip(a, b, strict=True) if x),
            "kl_divergence": divergence(a, b),
            "js_divergence": (divergence(a, middle) + divergence(b, middle)) / 2,
        }
        return float(found[name])


@pytest.mark.parametrize("name", ["entropy", "cross_entropy", "kl_divergence", "js_divergence"])
def test_against_mpmath_on_torch_numpy_and_strict_arrays(name):
    rng = np.random.default_rng(0)
    p, q = rng.dirichlet([0.2] * 6, size=(2, 5))
    p[0], p[1, :2] = [0, 1, 0, 0, 0, 0], [0.0, p[1, :2].sum()]
    given = (p,) if name == "entropy" else (p, q)
    expected = [exact(name, list(a), list(b)) for a, b in zip(p, q, strict=True)]
    function = {"entropy": entropy} | {other.__name__: other for other in BOTH}
    got = function[name](*map(torch.from_numpy, given))
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-15)
    for xp in (numpy_namespace, Standard(array_api_strict)):
        arrays = [xp.asarray(x) for x in given]
        np.testing.assert_allclose(
            np.asarray(getattr(information, name)(xp, *arrays)), expected, rtol=1e-12, atol=1e-15
        )


def test_shapes_and_bases():
    p = torch.full((2, 3, 4), 0.25)
    assert entropy(p).shape == (2, 3)
    assert entropy(p, base=4).tolist() == [[1.0] * 3] * 2
    assert entropy(p[0, 0], base=e).item() == pytest.approx(log(4))
    assert [f(p, p).shape for f in BOTH] == [(2, 3)] * 3


def test_zeros_are_exact():
    certain, other, even = of(1, 0), of(0, 1), of(0.5, 0.5)
    assert entropy(certain).item() == 0.0
    assert cross_entropy(certain, certain).item() == kl_divergence(certain, certain).item() == 0.0
    assert cross_entropy(even, certain).item() == kl_divergence(even, certain).item() == inf
    assert kl_divergence(certain, even).item() == 1.0
    assert js_divergence(certain, other).item() == 1.0
    assert js_divergence(certain, even).item() == js_divergence(even, certain).item()


def test_tiny_probabilities_do_not_overflow():
    p, q = of(1e-300, 1.0), of(1.0, 1e-300)
    assert kl_divergence(q, p).item() == pytest.approx(300 * log(10) / log(2))
    assert js_divergence(p, q).item() == pytest.approx(1.0)


def test_gradients_are_finite_at_zeros():
    p = of(0.0, 0.25, 0.75).requires_grad_()
    q = of(0.0, 0.5, 0.5).requires_grad_()
    for value in (entropy(p), cross_entropy(p, q), kl_divergence(p, q), js_divergence(p, q)):
        for slope in torch.autograd.grad(value, (p, q), allow_unused=True):
            assert slope is None or slope.isfinite().all()
    (slope,) = torch.autograd.grad(entropy(p), p)
    assert slope[1].item() == pytest.approx((-log(0.25) - 1) / log(2))


def test_half_precision_is_widened():
    p = torch.rand(3, 1000, generator=torch.Generator().manual_seed(0)).softmax(-1)
    for dtype in (torch.float16, torch.bfloat16):
        got = entropy(p.to(dtype))
        assert got.dtype == torch.float32
        torch.testing.assert_close(got, entropy(p), rtol=1e-2, atol=0)


# What is refused ------------------------------------------------------------------------------------------------------

NO_DISTRIBUTION = "must be probabilities >= 0 that sum to 1 along the last axis; got others"


@pytest.mark.parametrize("numbers", [(0.5, 0.4), (1.5, -0.5), (float("nan"), 1.0), (inf, 0.0), (0.25, 0.25)])
def test_no_distribution(numbers):
    bad, good = of(*numbers), of(0.5, 0.5)
    with pytest.raises(ValueError, match=f"^p {NO_DISTRIBUTION}$"):
        entropy(bad)
    for function in BOTH:
        with pytest.raises(ValueError, match=f"^p {NO_DISTRIBUTION}$"):
            function(bad, good)
        with pytest.raises(ValueError, match=f"^q {NO_DISTRIBUTION}$"):
            function(good, bad)


def test_what_cannot_be_read_becomes_nan():
    rows = torch.tensor([[0.5, 0.5], [0.5, 0.4]])
    assert torch.func.vmap(entropy)(rows).isnan().tolist() == [False, True]
    torch._dynamo.reset()
    compiled = torch.compile(js_divergence, fullgraph=True, backend="eager")
    assert compiled(rows[0], rows[0]).item() == 0.0
    assert compiled(rows[1], rows[0]).isnan()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: entropy([0.5, 0.5]), TypeError, "p must be a tensor; got 'list'"),
        (lambda: entropy(torch.tensor([1, 0])), TypeError, "p must be floating point; got 'torch.int64'"),
        (lambda: entropy(torch.tensor(1.0)), ValueError, "p must be of at least one probability along its last axis; "),
        (lambda: entropy(torch.ones(3, 0)), ValueError, "p must be of at least one probability along its last axis; "),
        (lambda: entropy(of(1.0), base=1), ValueError, r"base must be in \(1, inf\); got 1"),
        (lambda: entropy(of(1.0), base="e"), TypeError, r"base must be a number in \(1, inf\); got 'e'"),
        (
            lambda: kl_divergence(of(0.5, 0.5), torch.full((2, 2), 0.5)),
            ValueError,
            r"q must be of the shape of p, \(2,\); got \(2, 2\)",
        ),
    ],
)
def test_refused(call, error, message):
    with pytest.raises(error, match=f"^{message}"):
        call()
