import pytest
import torch

from lossmith.torch import CrossEntropyLoss, class_counts, unet_weight_map


def test_border_weights_by_hand():
    """Two objects in a row, gap of three: d1 + d2 = 4 at each gap pixel; class weights N / (C n_c) = 7/8 and 7/6... by hand."""
    target = torch.tensor([[[1, 1, 0, 0, 0, 1, 1]]])
    border = 10 * torch.exp(torch.tensor(-(4.0**2) / 50))
    plain = unet_weight_map(target, class_weight=None)
    assert torch.allclose(plain[0, 0], torch.tensor([1.0, 1, 1 + border, 1 + border, 1 + border, 1, 1]))
    balanced = unet_weight_map(target)
    object_, background = 7 / (2 * 4), 7 / (2 * 3)
    assert torch.allclose(balanced[0, 0, :3], torch.tensor([object_, object_, background + border]))


def test_one_object_has_no_border():
    target = torch.tensor([[[0, 1, 1, 0]]])
    assert unet_weight_map(target, class_weight=None).tolist() == [[[1.0, 1.0, 1.0, 1.0]]]


def test_instances_that_touch_are_told_apart_by_number():
    target = torch.tensor([[[1, 2, 0, 0]]])
    as_class = unet_weight_map(torch.tensor([[[1, 1, 0, 0]]]), class_weight=None)
    as_objects = unet_weight_map(target, class_weight=None, instances=True)
    assert as_class[0, 0, 2] == 1
    assert as_objects[0, 0, 2].item() == pytest.approx(1 + 10 * 2.718281828459045 ** (-((1 + 2) ** 2) / 50))


def test_far_objects_are_cut_off_exactly_enough():
    target = torch.zeros(1, 1, 200, dtype=torch.long)
    target[..., 0], target[..., 150] = 1, 1
    weights = unet_weight_map(target, sigma=5.0, class_weight=None)
    assert (weights - 1).abs().max() < 1e-6


def test_three_dimensions_and_a_batch():
    target = torch.zeros(2, 5, 5, 5, dtype=torch.uint8)
    target[0, 0, 0, 0], target[0, 4, 4, 4] = 1, 1
    weights = unet_weight_map(target, class_weight=[1.0, 2.0])
    assert weights.shape == target.shape
    assert weights[0, 0, 0, 0] == 2
    assert weights[0, 2, 2, 2] > weights[1, 2, 2, 2] == 1


def test_a_mask_without_a_batch_is_one_image():
    """As a data set's transform has it; an image of rows would know no distances between them."""
    mask = torch.zeros(6, 6, dtype=torch.uint8)
    mask[0, 0], mask[4, 1] = 1, 1
    weights = unet_weight_map(mask)
    assert torch.equal(weights, unet_weight_map(mask[None])[0])
    assert not torch.equal(weights, unet_weight_map(mask, space=1))
    assert torch.equal(unet_weight_map(mask, space=1), torch.stack([unet_weight_map(row, space=1) for row in mask]))
    volume = torch.stack([mask, mask.flip(0), mask.T])
    assert torch.equal(unet_weight_map(volume, space=3), unet_weight_map(volume[None])[0])
    assert torch.equal(unet_weight_map(volume), torch.stack([unet_weight_map(image) for image in volume]))
    assert unet_weight_map(volume[:0]).shape == (0, 6, 6)
    assert torch.equal(unet_weight_map(volume[None], space=2)[0], unet_weight_map(volume))


def test_it_weighs_any_loss():
    target = torch.tensor([[[1, 0, 1]]])
    weight = unet_weight_map(target, class_weight=None)
    value = CrossEntropyLoss("binary")(torch.zeros(1, 1, 1, 3), target, weight)
    assert value.item() == pytest.approx(0.6931, abs=1e-4)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"target": torch.zeros(1, 4)}, TypeError, "target must be a tensor of integers or bool; got 'torch.float32'"),
        ({"target": torch.zeros(4).long()}, ValueError, "target must be of 2 axes or more; got (4,)"),
        ({"space": 4}, ValueError, "target must be of 4 axes or more; got (1, 1, 2)"),
        ({"space": 0}, ValueError, "space must be a whole number >= 1; got 0"),
        ({"target": torch.zeros(1, 4).long() - 1}, ValueError, "target must be >= 0; got -1"),
        ({"sigma": 0.0}, ValueError, "sigma must be in (0, inf); got 0.0"),
        ({"w0": -1.0}, ValueError, "w0 must be in [0, inf); got -1.0"),
        ({"class_weight": "equal"}, ValueError, "class_weight must be 'inverse', None or one number for each class; got 'equal'"),
        ({"class_weight": [1.0]}, ValueError, "class_weight must be at least 2 numbers >= 0; got [1.0]"),
    ],
)  # fmt: skip
def test_bad_arguments_of_the_map(arguments, error, message):
    with pytest.raises(error) as caught:
        unet_weight_map(**{"target": torch.tensor([[[1, 0]]]), **arguments})
    assert str(caught.value) == message


def test_ignored_pixels_are_no_object():
    target = torch.tensor([[[1, 0, 0, 1, 255, 255]]])
    weight = unet_weight_map(target, ignore_index=255)
    assert torch.equal(weight[..., :4], unet_weight_map(target[..., :4]))
    assert weight[..., 4:].tolist() == [[[0.0, 0.0]]]


def test_class_counts_by_hand():
    masks = [torch.tensor([[0, 0, 2]]), torch.tensor([[0, 255, 1]], dtype=torch.uint8)]
    assert class_counts(masks, 3, ignore_index=255).tolist() == [[3, 5], [1, 2], [1, 3]]
    assert class_counts(masks[:1], 4).tolist() == [[2, 3], [0, 0], [1, 3], [0, 0]]
    with pytest.raises(ValueError, match=r"^target 1 must be class indices from 0 to 2; got 255$"):
        class_counts(masks, 3)
    with pytest.raises(TypeError, match=r"^target 0 must be class indices of an integer dtype; got 'torch.float32'$"):
        class_counts([torch.zeros(2)], 2)
