"""Objects drawn onto an image."""

import torch

from atc.dense.drawing import above, drawn


def objects(count: int = 1, **more: torch.Tensor) -> dict[str, torch.Tensor]:
    return {
        "boxes": torch.tensor([[10.0, 20.0, 60.0, 70.0]]).repeat(count, 1),
        "labels": torch.ones(count, dtype=torch.int64),
        **more,
    }


def test_nothing_found_leaves_the_image() -> None:
    image = torch.randint(0, 256, (3, 100, 700), dtype=torch.uint8)
    assert torch.equal(drawn(image, objects(0), ["cat"]), image)
    small = drawn(image[:, :50, :50], objects(0), ["cat"])
    assert small.shape == (3, 650, 650)
    assert torch.equal(small[:, ::13, ::13], image[:, :50, :50])


def test_a_mask_colours_its_own_pixels_and_a_box_its_edge() -> None:
    image = torch.full((3, 100, 100), 128, dtype=torch.uint8)
    masks = torch.zeros(1, 1, 100, 100)
    masks[..., 45:60, 20:40] = 0.7
    masks[..., 80:90, 80:90] = 0.4  # below one half
    plain = drawn(image, objects(), [""], least_side=1)
    picture = drawn(image, objects(masks=masks), [""], least_side=1)
    changed = (picture != plain).any(dim=0)
    inside = torch.zeros(100, 100, dtype=torch.bool)
    inside[45:60, 20:40] = True
    assert torch.equal(changed, inside)
    edge = (plain != image).any(dim=0)
    assert edge[20:71, 10].all()
    assert not edge[45:65, 20:50].any()


def test_names_and_scores_stand_at_the_boxes() -> None:
    image = torch.zeros(3, 400, 700, dtype=torch.uint8)
    pictures = [
        drawn(image, objects(scores=torch.tensor([score])), [name])
        for name, score in (("cat", 0.9), ("cat", 0.4), ("dog", 0.9))
    ]
    differ = [(one != pictures[0]).any(dim=0).nonzero() for one in pictures[1:]]
    for places in differ:
        assert len(places)
        assert places[:, 0].max() < 70
        assert places[:, 1].max() < 150
    assert differ[0][:, 1].min() > differ[1][:, 1].min(), "the score stands behind the name"


def test_the_most_certain_one_lies_on_top() -> None:
    image = torch.zeros(3, 100, 100, dtype=torch.uint8)
    alone = drawn(image, objects(), [""], least_side=1)
    several = drawn(image, objects(3), [""], least_side=1)
    assert torch.equal(alone[:, 45, 10], several[:, 45, 10])


def test_where_masks_overlap_the_most_certain_one_is_seen() -> None:
    image = torch.full((3, 100, 100), 128, dtype=torch.uint8)
    masks = torch.zeros(2, 1, 100, 100)
    masks[0, :, 50:60, 20:40], masks[1, :, 50:60, 30:50] = 1, 1
    colours = [drawn(image, objects(2, masks=masks), ["", ""], least_side=1)[:, 55, x].tolist() for x in (25, 35, 45)]
    assert colours[0] == colours[1] != colours[2]


def test_boxes_beyond_the_image_and_without_extent_are_drawn() -> None:
    image = torch.zeros(3, 64, 64, dtype=torch.uint8)
    found = objects() | {"boxes": torch.tensor([[-9.0, -9.0, 90.0, 90.0]])}
    assert drawn(image, found, ["cat"], least_side=1).shape == image.shape
    for box in ([70.0, 70.0, 80.0, 80.0], [5.0, 5.0, 5.0, 5.0], [-9.0, 3.0, -4.0, 2.0]):
        assert drawn(image, found | {"boxes": torch.tensor([box])}, ["cat"], least_side=1).shape == image.shape


def test_scores_above() -> None:
    found = objects(3, scores=torch.tensor([0.9, 0.5, 0.49]), masks=torch.zeros(3, 1, 4, 4))
    assert {len(value) for value in above(found, 0.5).values()} == {2}
    assert {len(value) for value in above(found, 0.95).values()} == {0}
