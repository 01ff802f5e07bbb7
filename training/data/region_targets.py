"""What a region of the P x P grid shows, from the scene graph: targets that only training has.

Shape legend: B photos, N = P² regions, h = S/4, I instances.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from training.scene import CATEGORIES, COLOURS, HAIR_COLOURS, POSES, Instance, Scene

# What a region token should tell of the instance in its cell: name -> number of classes. Class 0
# is "none" or "unknown"; classes are taken from the scene graph.
REGION_CLASSES: dict[str, int] = {
    "category": len(CATEGORIES) + 1,
    "colour": len(COLOURS) + 1,
    "bottom": len(COLOURS) + 1,
    "hat": len(COLOURS) + 1,
    "bag": len(COLOURS) + 1,
    "hair": len(HAIR_COLOURS) + 1,
    "pose": len(POSES) + 1,
    "worn": 4,  # glasses + 2 x beard
    "linked": 16,  # holds + 2 x rides + 4 x sits on + 8 x has an owner
}
# A pixel is asked for these only near the part itself: a shoe cannot show the colour of a hat. The
# others on it may learn them through attention, as a region does.
LOCAL = {"hat": "head", "hair": "head", "worn": "head", "bag": "bag"}
HEAD_PARTS = ("glasses", "beard", "hat", "hair")
REACH = 0.13  # of the height of a person's box, around the middle of the part
LEAST_REACH = 0.05  # of the photo: a cell at stride 8 and a little
IGNORE = -100


def _class_of(value: str, names: tuple[str, ...]) -> int:
    return names.index(value) + 1 if value in names else 0


def region_classes(instance: Instance) -> dict[str, int]:
    """The targets of a region that shows this instance."""
    parts = instance.parts
    return {
        "category": _class_of(instance.category, CATEGORIES),
        "colour": _class_of(instance.colour, COLOURS),
        "bottom": _class_of(parts.get("bottom", ""), COLOURS),
        "hat": _class_of(parts.get("hat", ""), COLOURS),
        "bag": _class_of(parts.get("bag", ""), COLOURS),
        "hair": _class_of(parts.get("hair", ""), HAIR_COLOURS),
        "pose": _class_of(instance.pose, POSES),
        "worn": int("glasses" in parts) + 2 * int("beard" in parts),
        "linked": int(bool(instance.holds)) + 2 * int(bool(instance.rides))
        + 4 * int(bool(instance.sits_on)) + 8 * int(bool(instance.owner)),
    }  # fmt: skip


@dataclass
class Targets:
    """What auxiliary losses want of a batch's photos; all empty where no scene graph is known.

    Attributes:
        region_class: name -> (B, N) int64, IGNORE where a region shows no instance.
        region_place: (B, N, 4) centre and size of its instance's box, fractions.
        region_masks: (B, N, h/2, h/2) its instance's share; zero where it shows none.
        pixel_class: name -> (B, h/2, h/2) int64, the same classes a pixel at stride 8; those of
            small parts only near the part.
    """

    region_class: dict[str, Tensor]
    region_place: Tensor
    region_masks: Tensor
    pixel_class: dict[str, Tensor]


def no_targets(photos: int, regions: int) -> Targets:
    """Of photos without a scene graph."""
    return Targets({}, torch.zeros(photos, regions, 4), torch.zeros(photos, regions, 0, 0), {})


def targets_of(scenes: list[Scene], shares: Tensor, side: int) -> Targets:
    """What each region and pixel shows; a region, the instance that covers most of its cell.

    Args:
        shares: (B, I + 1, h, h) each instance's share of the cells; 0 is the background.
        side: P.
    """
    cover = F.adaptive_avg_pool2d(shares[:, 1:], side).flatten(2)  # (B, I, N)
    # A small thing counts for more than its share, or large neighbours would hide it everywhere.
    total = shares[:, 1:].sum((2, 3)).clamp_min(1e-6)[..., None]  # (B, I, 1)
    cell = (shares.shape[-1] / side) ** 2
    weight = cover / (total / cell).clamp_min(0.3)
    owner = weight.argmax(1) + 1  # (B, N)
    seen = cover.gather(1, owner[:, None] - 1)[:, 0] > 0.08
    owner = torch.where(seen, owner, 0)
    half = F.avg_pool2d(shares, 2)  # (B, I + 1, h/2, h/2)
    pixel_owner = half.argmax(1)  # (B, h/2, h/2)
    classes, places = _tables(scenes, shares.shape[1])
    shown = places[..., 2] > 0  # (B, I + 1); an id without an instance shows nothing
    owner = torch.where(shown.gather(1, owner), owner, 0)
    where = owner[..., None, None].expand(-1, -1, *half.shape[-2:])
    masks = half.gather(1, where) * (owner > 0)[..., None, None]
    flat = pixel_owner.flatten(1)
    pixels = {n: table.gather(1, flat) for n, table in classes.items()}
    for part, spots in _spots(scenes, shares.shape[1]).items():
        near = _near(spots.gather(1, flat[..., None].expand(-1, -1, 3)), pixel_owner.shape[-1])
        for name in (n for n, of in LOCAL.items() if of == part):
            pixels[name] = torch.where(near, pixels[name], IGNORE)
    return Targets(
        {name: table.gather(1, owner) for name, table in classes.items()},
        places.gather(1, owner[..., None].expand(-1, -1, 4)),
        masks,
        {n: found.view_as(pixel_owner) for n, found in pixels.items()},
    )


def _near(spots: Tensor, side: int) -> Tensor:
    """Whether each pixel of a side x side grid lies within reach of its spot.

    Args:
        spots: (B, side², 3) x, y and reach, fractions of the photo.
    Returns:
        (B, side²) boolean.
    """
    centres = (torch.arange(side) + 0.5) / side
    x, y = centres.repeat(side), centres.repeat_interleave(side)  # (side²,)
    return (spots[..., 0] - x).square() + (spots[..., 1] - y).square() <= spots[..., 2].square()


def _spots(scenes: list[Scene], ids: int) -> dict[str, Tensor]:
    """Where each instance id has its head and its bag: (B, I + 1, 3) x, y and reach.

    Nothing is in reach of a head that is not seen; all of an instance without a bag shows that.
    """
    found = {part: torch.zeros(len(scenes), ids, 3) for part in ("head", "bag")}
    everywhere = torch.tensor([0.5, 0.5, 2.0])
    for b, scene in enumerate(scenes):
        for thing in scene.instances:
            if thing.id >= ids:
                continue
            reach = max(LEAST_REACH, REACH * (thing.box[3] - thing.box[1]))
            head = next((thing.spots[p] for p in HEAD_PARTS if p in thing.spots), None)
            if head is not None:
                found["head"][b, thing.id] = torch.tensor([*head, reach])
            bag = thing.spots.get("bag")
            seen = everywhere if bag is None else torch.tensor([*bag, reach])
            found["bag"][b, thing.id] = seen
    return found


def _tables(scenes: list[Scene], ids: int) -> tuple[dict[str, Tensor], Tensor]:
    """Classes by name, each (B, I + 1), and places (B, I + 1, 4) of every instance id."""
    classes = {name: torch.full((len(scenes), ids), IGNORE) for name in REGION_CLASSES}
    classes["category"].fill_(0)
    places = torch.zeros(len(scenes), ids, 4)
    for b, scene in enumerate(scenes):
        for thing in scene.instances:
            if thing.id >= ids:
                continue  # too small for the id map at S/2
            for name, value in region_classes(thing).items():
                classes[name][b, thing.id] = value
            x0, y0, x1, y1 = thing.box
            places[b, thing.id] = torch.tensor([*thing.centre, x1 - x0, y1 - y0])
    return classes, places
