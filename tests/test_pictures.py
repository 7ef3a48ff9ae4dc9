import numpy as np

from lossmith.lab.pictures import CONFUSED, EXTRA, MISSED, RIGHT, class_colours, decide, error_map, heat_map, paint


def test_errors_have_the_colours_of_the_legend():
    image = np.full((3, 1, 6), 0.8, np.float32)
    truth = np.array([[0, 1, 0, 1, 1, 2]])
    predicted = np.array([[0, 1, 1, 0, 2, 2]])
    found = error_map(image, truth, predicted)[0]
    assert np.allclose(found[0], 0.4)
    expected = [RIGHT, EXTRA, MISSED, CONFUSED, RIGHT]
    assert np.allclose(found[1:] * 255, expected)


def test_a_class_is_predicted_from_its_threshold_on():
    levels = np.array([[[-5, 2, 3, 127]]], np.int8)
    assert decide(levels, np.array([3])).tolist() == [[0, 0, 1, 1]]


def test_of_two_classes_the_one_further_above_its_threshold_is_predicted():
    levels = np.array([[[-1, 10, 10, 0]], [[9, 15, 30, 20]]], np.int8)
    assert decide(levels, np.array([0, 10])).tolist() == [[0, 1, 2, 2]]


def test_truth_is_white_for_one_class_and_coloured_for_several():
    assert paint(np.array([[0, 1]]), 2).tolist() == [[[0, 0, 0], [1, 1, 1]]]
    assert len({tuple(colour) for colour in class_colours(5)}) == 5


def test_heat_grows_with_probability():
    heat = heat_map(np.array([[[-128, -20, 0, 20, 127]]], np.int8)).sum(axis=-1)[0]
    assert (np.diff(heat) > 0).all()
