"""Batches: photos, expressions and the exact truth of every pair that is asked for.

Shape legend: B photos, E expressions, M pairs, S input side, h = S/4, N = P² regions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from training import grammar
from training.recipe import Recipe
from training.scene import CATEGORIES, COLOURS, HAIR_COLOURS, POSES, Instance, Scene
from training.shards import Shards

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
IGNORE = -100


@dataclass
class Batch:
    """One step's input.

    Attributes:
        pixels: (B, 3, S, S) float, 0..255.
        texts: E distinct expressions.
        photo, text: (M,) which photo and which text a pair joins.
        kinds: M names of the expression's kind ("absent" for things that no photo shows).
        no_target: (M,) 1 where the expression refers to nothing.
        masks: (M, h, h) in [0, 1], the referents' share of each cell.
        region_class: name -> (B, N) int64 targets, IGNORE where a region shows no instance.
        region_place: (B, N, 4) centre and size of its instance's box, fractions.
        region_masks: (B, N, h/2, h/2) its instance's share; zero where it shows none.
    """

    pixels: Tensor
    texts: list[str]
    photo: Tensor
    text: Tensor
    kinds: list[str]
    no_target: Tensor
    masks: Tensor
    region_class: dict[str, Tensor]
    region_place: Tensor
    region_masks: Tensor


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


def mirror_scene(scene: Scene) -> Scene:
    """The scene of a photo that was flipped left to right."""
    flipped = tuple(
        replace(
            thing,
            box=(1 - thing.box[2], thing.box[1], 1 - thing.box[0], thing.box[3]),
            centre=(1 - thing.centre[0], thing.centre[1]),
        )
        for thing in scene.instances
    )
    return replace(scene, instances=flipped)


class Sampler:
    """Draws batches from shards; every draw comes from one generator, so a run can be resumed.

    Args:
        shards: rendered photos.
        recipe: how many expressions of which sort a photo gets.
        regions_per_side: P.
        rank, world: this process takes every `world`-th photo of a batch, from `rank`.
    """

    def __init__(
        self, shards: Shards, recipe: Recipe, regions_per_side: int, rank: int = 0, world: int = 1
    ) -> None:
        self.shards = shards
        self.recipe = recipe
        self.side = regions_per_side
        self.rank, self.world = rank, world

    def batch(self, step: int) -> Batch:
        """The batch of a step: the same for the same recipe, step and number of processes."""
        rng = np.random.default_rng([self.recipe.seed, 77, step])
        chosen = rng.choice(len(self.shards), self.recipe.batch, replace=False)
        flips = rng.random(self.recipe.batch) < (0.5 if self.recipe.flip else 0.0)
        mine = slice(self.rank, None, self.world)
        rng = np.random.default_rng([self.recipe.seed, 78, step, self.rank])
        return self._make([int(c) for c in chosen[mine]], flips[mine].tolist(), rng)

    def _make(self, photos: list[int], flips: list[bool], rng: np.random.Generator) -> Batch:
        recipe, shards = self.recipe, self.shards
        scenes = [
            mirror_scene(shards.scenes[p]) if f else shards.scenes[p]
            for p, f in zip(photos, flips, strict=True)
        ]
        index: dict[str, int] = {}
        rows: list[tuple[int, int, str, frozenset[int]]] = []

        def add(photo: int, text: str, kind: str, referents: frozenset[int]) -> None:
            rows.append((photo, index.setdefault(text, len(index)), kind, referents))

        pool: list[tuple[int, grammar.Expression]] = []
        for at, (photo, flipped) in enumerate(zip(photos, flips, strict=True)):
            scene = shards.scenes[photo]
            # Drawn anew each time: far more wordings than a fixed list, for 4 ms a photo.
            own = grammar.expressions(scene, rng, recipe.positives)
            false = grammar.no_target(scene, rng, recipe.false_ones)
            for expression in own + false:
                referents = grammar.execute(expression.program, scene)
                if referents is None:
                    continue
                text = grammar.mirror(expression.text) if flipped else expression.text
                add(at, text, expression.kind, referents)
            pool += [(at, expression) for expression in own]
        for at, turned in enumerate(scenes):
            others = [e for origin, e in pool if origin != at]
            for expression in _pick(others, recipe.crossed, rng):
                referents = grammar.execute(expression.program, turned)
                if referents is not None:
                    add(at, expression.text, expression.kind, referents)
            if recipe.absent:
                known = bool(rng.random() < 0.3)
                for text in grammar.absent(rng, recipe.absent, known=known, held_out=False):
                    add(at, text, "absent", frozenset())
        return self._tensors(photos, flips, scenes, list(index), rows, rng)

    def _tensors(
        self,
        photos: list[int],
        flips: list[bool],
        scenes: list[Scene],
        texts: list[str],
        rows: list[tuple[int, int, str, frozenset[int]]],
        rng: np.random.Generator,
    ) -> Batch:
        size = self.shards.size
        pixels = np.empty((len(photos), size, size, 3), np.float32)
        ids = np.empty((len(photos), size // 2, size // 2), np.uint8)
        for at, (photo, flipped) in enumerate(zip(photos, flips, strict=True)):
            image, id_map = self.shards.photo(photo)
            pixels[at] = image[:, ::-1] if flipped else image
            ids[at] = id_map[:, ::-1] if flipped else id_map
        if self.recipe.jitter:
            j = self.recipe.jitter
            gain = rng.uniform(1 - j, 1 + j, (len(photos), 1, 1, 1)).astype(np.float32)
            shift = rng.uniform(-j, j, (len(photos), 1, 1, 1)).astype(np.float32) * 128
            pixels = np.clip((pixels - 128) * gain + 128 + shift, 0, 255)

        shares = _instance_shares(ids)  # (B, 10, S/4, S/4)
        masks = torch.zeros(len(rows), *shares.shape[-2:])
        for m, (at, _, _, referents) in enumerate(rows):
            for i in referents:
                masks[m] += shares[at, i]
        classes, place, region_masks = _regions(scenes, shares, self.side)
        return Batch(
            pixels=torch.from_numpy(pixels).permute(0, 3, 1, 2),
            texts=texts,
            photo=torch.tensor([row[0] for row in rows]),
            text=torch.tensor([row[1] for row in rows]),
            kinds=[row[2] for row in rows],
            no_target=torch.tensor([float(not row[3]) for row in rows]),
            masks=masks.clamp_(max=1.0),
            region_class=classes,
            region_place=place,
            region_masks=region_masks,
        )


def _pick(
    items: list[grammar.Expression] | list[tuple[int, grammar.Expression]],
    count: int,
    rng: np.random.Generator,
) -> list[Any]:
    if not items or not count:
        return []
    chosen = rng.choice(len(items), min(count, len(items)), replace=False)
    return [items[int(c)] for c in chosen]


def _instance_shares(ids: NDArray[np.uint8]) -> Tensor:
    """Id maps (B, S/2, S/2) -> each instance's share of the cells at S/4: (B, top + 1, h, h)."""
    top = int(ids.max())
    values = torch.from_numpy(np.ascontiguousarray(ids))
    return torch.stack([F.avg_pool2d((values == i).float(), 2) for i in range(top + 1)], dim=1)


def _regions(
    scenes: list[Scene], shares: Tensor, side: int
) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """What each region of a P x P grid shows: the instance that covers most of its cell."""
    count = side * side
    cover = F.adaptive_avg_pool2d(shares[:, 1:], side).flatten(2)  # (B, I, N)
    # A small thing counts for more than its share, or large neighbours would hide it everywhere.
    total = shares[:, 1:].sum((2, 3)).clamp_min(1e-6)[..., None]  # (B, I, 1)
    cell = (shares.shape[-1] / side) ** 2
    weight = cover / (total / cell).clamp_min(0.3)
    owner = weight.argmax(1)  # (B, N)
    seen = cover.gather(1, owner[:, None])[:, 0] > 0.08
    classes = {name: torch.full((len(scenes), count), IGNORE) for name in REGION_CLASSES}
    classes["category"].fill_(0)
    place = torch.zeros(len(scenes), count, 4)
    half = F.avg_pool2d(shares, 2)
    masks = torch.zeros(len(scenes), count, *half.shape[-2:])
    for b, scene in enumerate(scenes):
        by_id = {thing.id: thing for thing in scene.instances}
        for n in torch.nonzero(seen[b])[:, 0].tolist():
            thing = by_id.get(int(owner[b, n]) + 1)
            if thing is None:
                continue
            for name, value in region_classes(thing).items():
                classes[name][b, n] = value
            x0, y0, x1, y1 = thing.box
            place[b, n] = torch.tensor([*thing.centre, x1 - x0, y1 - y0])
            masks[b, n] = half[b, thing.id]
    return classes, place, masks
