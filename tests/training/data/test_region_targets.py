"""What regions and pixels are asked to tell of the instances that they show."""

from __future__ import annotations

import torch

from training.data.batches import mirror_scene
from training.data.region_targets import IGNORE, Targets, targets_of
from training.scene import COLOURS, Instance, Scene

SIDE = 48  # of the mask features; pixels are asked at half of it
PERSON = Instance(
    1, "man", "red", {"hat": "blue", "hair": "brown", "bag": "green"}, "standing",
    (0.25, 0.0, 0.5, 1.0), (0.375, 0.5), 0.25,
    spots={"hat": (0.375, 0.1), "hair": (0.375, 0.1), "bag": (0.3, 0.55)},
)  # fmt: skip
PLAIN = Instance(
    2, "woman", "red", {"hair": "brown"}, "standing", (0.75, 0.0, 1.0, 1.0), (0.875, 0.5), 0.25,
    spots={"hair": (0.875, 0.1)},
)  # fmt: skip
UNSEEN = Instance(3, "boy", "red", {}, "sitting", (0.0, 0.0, 0.25, 1.0), (0.125, 0.5), 0.25)
SCENE = Scene(1, "train", "park", (PERSON, PLAIN, UNSEEN))


def targets(scene: Scene) -> Targets:
    shares = torch.zeros(1, 4, SIDE, SIDE)
    for thing in scene.instances:
        left, right = round(thing.box[0] * SIDE), round(thing.box[2] * SIDE)
        shares[0, thing.id, :, left:right] = 1
    shares[:, 0] = 1 - shares[:, 1:].sum(1)
    return targets_of([scene], shares, 8)


def test_pixels_are_asked_for_a_small_part_only_near_it() -> None:
    hat = targets(SCENE).pixel_class["hat"][0]  # (24, 24)
    blue = COLOURS.index("blue") + 1
    assert hat[2, 9] == blue and hat[2, 21] == 0  # at the heads: a blue hat, and none
    assert (hat[8:] == IGNORE).all()  # far below them
    assert (hat[:, :6] == IGNORE).all()  # a head that is not seen tells nothing


def test_person_without_a_bag_shows_so_everywhere() -> None:
    bag = targets(SCENE).pixel_class["bag"][0]
    green = COLOURS.index("green") + 1
    assert bag[13, 7] == green and bag[2, 9] == IGNORE and bag[22, 9] == IGNORE
    assert (bag[:, 18:] == 0).all() and (bag[:, :6] == 0).all()


def test_regions_are_asked_for_all_of_their_person() -> None:
    hat = targets(SCENE).region_class["hat"][0].view(8, 8)
    assert (hat[:, 2:4] == COLOURS.index("blue") + 1).all() and (hat[:, 6:] == 0).all()


def test_spots_are_mirrored_with_the_photo() -> None:
    plain, mirrored = targets(SCENE), targets(mirror_scene(SCENE))
    for name in ("hat", "bag", "hair", "worn", "category"):
        assert torch.equal(plain.pixel_class[name].flip(-1), mirrored.pixel_class[name]), name
