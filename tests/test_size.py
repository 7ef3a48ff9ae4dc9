"""Lengths that are known only when a graph runs."""

import numpy as np
import pytest

from lossmith.core.namespaces.size import Size, known

length = Size(np.array(7))


def test_arithmetic():
    for found, value in (
        (length + 1, 8),
        (1 + length, 8),
        (length - 2, 5),
        (length * length, 49),
        (3 * length, 21),
        (length // 2, 3),
        (length * 2 // length, 2),
    ):
        assert isinstance(found, Size)
        assert known(found) == value
    assert known(3) == 3
    assert known(None) is None


def test_it_is_larger_than_any_number():
    assert length > 10**9
    assert length >= 10**9
    assert not length < 10**9
    assert not length <= 10**9
    assert length != 7
    assert min(length, 3) == min(3, length) == 3
    assert max(length, 3) is max(3, length) is length
    assert bool(length)


def test_lengths_that_are_not_known_agree():
    other = Size(np.array(5))
    assert (length, 3) == (other, 3)
    assert (length, 3) != (other, 4)
    assert {length: 1}[other] == 1
    assert min(length, other) is length
    assert not length < other
    assert length <= other
    assert length >= other


def test_a_float_is_no_length():
    with pytest.raises(TypeError):
        length / 2
    assert repr((length, 2)) == "(?, 2)"
