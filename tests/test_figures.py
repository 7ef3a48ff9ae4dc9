import re

import numpy as np

from lossmith.lab import figures
from lossmith.lab.statistics import Interval


def test_differences_are_the_leader_minus_the_other():
    scores = np.array([[0.9, 0.8, 0.7], [0.5, 0.9, 0.6]])
    text = figures.paired_differences(["dice", "ce"], scores)
    assert "over ce" in text
    assert "ahead on 2 of 3" in text
    assert "F1 of dice minus F1 of the other" in text


def test_a_curve_is_drawn_as_means_of_neighbouring_steps():
    ends, means = figures._smooth(np.array([1.0, 2, 3, 4, 5, 10, 10, 10, 10, 10, np.nan]))
    assert ends.tolist() == [5, 10]
    assert means.tolist() == [3, 10]


def test_every_loss_has_its_colour_and_no_address_is_left():
    panels = [("F1", [Interval(0.5, 0.4, 0.6), Interval(0.4, 0.3, 0.5)])]
    text = figures.intervals(["dice", "ce"], panels)
    assert "http" not in text
    assert not re.search(r"<svg [^>]*(width|height)=", text)
    assert all(figures.colour(i).lower() in text for i in (0, 1))
    assert text.index(">dice<") < text.index(">ce<")
