"""At ties the values of torch are those of NumPy, and its gradients are numbers."""

import numpy as np
import pytest

from faces import TASKS
from ties import KINDS, tied


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("name", "task"), TASKS)
def test_values(name, task, kind):
    given = tied(name, task, kind)
    value, gradient = given.torch()
    assert given.numpy() == pytest.approx(float(value), rel=1e-11, abs=1e-13)
    assert np.isfinite(gradient).all()
