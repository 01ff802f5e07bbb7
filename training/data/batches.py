"""Batches: photos, expressions and the exact truth of every pair that is asked for.

Every draw belongs to a photo's place in the batch, never to a process: several processes together
make the very batch that one alone makes, and a resumed run goes on as if it had not stopped.

Shape legend: B photos, E expressions, M pairs, S input side, h = S/4, N = P² regions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from random import Random
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from model.errors import ModelError
from training.data.photo_targets import PhotoTargets
from training.data.region_targets import Targets, targets_of
from training.data.shards import Shards
from training.language import grammar
from training.language.slips import slip
from training.recipes.recipe import Recipe
from training.scene import Scene

# Photos of the batch, next in the ring, whose expressions are also asked of a photo. With a few
# neighbours rather than all others, a process draws little that belongs to another's photos.
NEIGHBOURS = 8


@dataclass
class Batch:
    """One step's input.

    Attributes:
        pixels: (B, 3, S, S) float, 0..255; empty (B, 0) where `regions` stand for them.
        texts: E distinct expressions.
        photo, text: (M,) which photo and which text a pair joins.
        kinds: M names of the expression's kind ("absent" for things that no photo shows).
        no_target: (M,) 1 where the expression refers to nothing.
        masks: (M, h, h) in [0, 1], the referents' share of each cell.
        origin, flipped: (B,) which photo of the data, and whether it was mirrored.
        targets: of the auxiliary losses.
        regions, features: (B, N, C), (B, C_m, h, h) of a dump, instead of a vision pass.
        maps: a stem's maps of a dump, see `HybridBackbone.look`, instead of its pass.
        by_box: (M,) where `masks` shows the boxes of things whose masks are not known.
        maskless: (M,) where something is referred to and nobody knows where it is.
        rests: (K, 2) pairs of one photo of which the second shows what the first leaves out.
        photo_targets: what read-outs of real photographs want.
    """

    pixels: Tensor
    texts: list[str]
    photo: Tensor
    text: Tensor
    kinds: list[str]
    no_target: Tensor
    masks: Tensor
    origin: Tensor
    flipped: Tensor
    targets: Targets
    regions: Tensor | None = None
    features: Tensor | None = None
    maps: dict[str, Tensor] | None = None
    by_box: Tensor | None = None
    maskless: Tensor | None = None
    rests: Tensor | None = None
    photo_targets: PhotoTargets | None = None


class Source(Protocol):
    """Where a trainer's batches come from."""

    with_pixels: bool
    """Cleared where a dump stands for the photos."""

    def __len__(self) -> int:
        """How many photos there are."""

    def pixels(self, index: int) -> NDArray[np.uint8]:
        """One photo, (S, S, 3)."""

    def batch(self, step: int) -> Batch:
        """This process's share of a step's batch; the same whenever it is asked for."""

    def phrases(self, rng: np.random.Generator, count: int) -> list[str]:
        """Different expressions such as somebody would search these photos with."""


@dataclass(frozen=True)
class Draw:
    """What a step decided for its whole batch."""

    step: int
    photos: tuple[int, ...]
    flips: tuple[bool, ...]
    mine: range
    """Places of the batch that this process has."""

    def neighbours(self, place: int) -> list[int]:
        """The places whose expressions are also asked of this place's photo."""
        count = len(self.photos)
        return [(place + k) % count for k in range(1, min(NEIGHBOURS, count - 1) + 1)]


def draw(recipe: Recipe, step: int, photos: int, rank: int, world: int) -> Draw:
    """Choose the photos of a step and this process's share of them.

    Raises:
        ModelError: fewer photos than a batch holds, or a batch with less than one a process.
    """
    if photos < recipe.batch:
        raise ModelError(f"{photos} photos are less than a batch of {recipe.batch}; lower --batch")
    if recipe.batch < world:
        raise ModelError(f"a batch of {recipe.batch} cannot be shared by {world} processes")
    rng = np.random.default_rng([recipe.data_seed, 77, step])
    chosen = rng.choice(photos, recipe.batch, replace=False)
    flips = rng.random(recipe.batch) < (0.5 if recipe.flip else 0.0)
    mine = range(rank * recipe.batch // world, (rank + 1) * recipe.batch // world)
    return Draw(step, tuple(chosen.tolist()), tuple(flips.tolist()), mine)


class Pairs:
    """The pairs of a batch as they are collected; texts are kept once."""

    def __init__(self) -> None:
        self.texts: dict[str, int] = {}
        self.photo: list[int] = []
        self.text: list[int] = []
        self.kinds: list[str] = []
        self.referents: list[frozenset[int]] = []

    def __len__(self) -> int:
        return len(self.photo)

    def add(self, photo: int, text: str, kind: str, referents: frozenset[int]) -> None:
        """One pair; `photo` counts from 0 in this process's share."""
        self.photo.append(photo)
        self.text.append(self.texts.setdefault(text, len(self.texts)))
        self.kinds.append(kind)
        self.referents.append(referents)


@dataclass
class Place:
    """One place of a batch: its photo, and what is said of it, drawn when asked for.

    Expressions and referents are those of the photo before it was mirrored.

    Attributes:
        original: its scene before it was mirrored.
        flipped: whether it is mirrored.
        seed: of all that is drawn for it.
    """

    original: Scene
    flipped: bool
    seed: tuple[int, ...]
    recipe: Recipe

    @property
    def _kinds(self) -> tuple[str, ...]:
        return self.recipe.kinds or grammar.KINDS

    @cached_property
    def scene(self) -> Scene:
        """As it looks."""
        return mirror_scene(self.original) if self.flipped else self.original

    @cached_property
    def own(self) -> list[grammar.Expression]:
        """Expressions that refer to something in it."""
        # Drawn anew each time: far more wordings than a fixed list, for 4 ms a photo.
        rng = np.random.default_rng([*self.seed, 0])
        return grammar.expressions(self.original, rng, self.recipe.positives, self._kinds)

    @cached_property
    def false(self) -> list[grammar.Expression]:
        """Expressions that nearly fit it (rule 1)."""
        rng = np.random.default_rng([*self.seed, 1])
        return grammar.no_target(self.original, rng, self.recipe.false_ones, self._kinds)


class Hand:
    """Types a place's expressions, with slips.

    Args:
        share: of the expressions that get one slip.
        seed: of what is drawn for the place.
    """

    def __init__(self, share: float, seed: tuple[int, ...]) -> None:
        self._share = share
        self._random = Random(repr((*seed, 3)))

    def typed(self, text: str) -> str:
        """The text, with a slip now and then."""
        return slip(text, self._random) if self._random.random() < self._share else text


def mirror_scene(scene: Scene) -> Scene:
    """The scene of a photo that was flipped left to right."""
    flipped = tuple(
        replace(
            thing,
            box=(1 - thing.box[2], thing.box[1], 1 - thing.box[0], thing.box[3]),
            centre=(1 - thing.centre[0], thing.centre[1]),
            spots={part: (1 - x, y) for part, (x, y) in thing.spots.items()},
        )
        for thing in scene.instances
    )
    return replace(scene, instances=flipped)


class Sampler:
    """Draws batches from shards.

    Args:
        shards: rendered photos.
        recipe: how many expressions of which sort a photo gets.
        regions_per_side: P.
        rank, world: this process has a run of the batch's places.
    """

    def __init__(
        self, shards: Shards, recipe: Recipe, regions_per_side: int, rank: int = 0, world: int = 1
    ) -> None:
        self.shards = shards
        self.recipe = recipe
        self.side = regions_per_side
        self.rank, self.world = rank, world
        self.with_pixels = True

    def __len__(self) -> int:
        return len(self.shards)

    def pixels(self, index: int) -> NDArray[np.uint8]:
        """One photo, (S, S, 3)."""
        return self.shards.photo(index)[0]

    def phrases(self, rng: np.random.Generator, count: int) -> list[str]:
        """Most as somebody types them to search an album, some suggested by a photo."""
        texts: dict[str, None] = {}
        while len(texts) < count:
            scene = self.shards.scenes[int(rng.integers(len(self.shards)))]
            suggested = grammar.expressions(scene, rng, 1) if rng.random() < 0.3 else []
            texts.update({e.text: None for e in suggested or [grammar.draw(rng)]})
        return list(texts)

    def batch(self, step: int) -> Batch:
        """This process's share of a step's batch; the same whenever it is asked for."""
        recipe, scenes = self.recipe, self.shards.scenes
        drawn = draw(recipe, step, len(self.shards), self.rank, self.world)
        places = [
            Place(scenes[photo], flipped, (recipe.data_seed, 78, step, at), recipe)
            for at, (photo, flipped) in enumerate(zip(drawn.photos, drawn.flips, strict=True))
        ]
        pairs = Pairs()
        for b, at in enumerate(drawn.mine):
            place = places[at]
            hand = Hand(recipe.slips, place.seed)
            for expression in place.own if recipe.one_target else place.own + place.false:
                referents = grammar.execute(expression.program, place.original)
                if referents is None or (recipe.one_target and len(referents) != 1):
                    continue
                text = grammar.mirror(expression.text) if place.flipped else expression.text
                pairs.add(b, hand.typed(text), expression.kind, referents)
            if recipe.one_target:
                continue
            rng = np.random.default_rng([*place.seed, 2])
            others = [e for other in drawn.neighbours(at) for e in places[other].own]
            for k in pick(len(others), recipe.crossed, rng):
                referents = grammar.execute(others[k].program, place.scene)
                if referents is not None:
                    pairs.add(b, others[k].text, others[k].kind, referents)
            if recipe.absent:
                known = bool(rng.random() < 0.3)
                for text in grammar.absent(rng, recipe.absent, known=known, held_out=False):
                    pairs.add(b, hand.typed(text), "absent", frozenset())
        return self._tensors(drawn, [places[at].scene for at in drawn.mine], pairs)

    def _tensors(self, drawn: Draw, scenes: list[Scene], pairs: Pairs) -> Batch:
        size = self.shards.size
        images, id_maps = [], []
        for at in drawn.mine:
            image, id_map = self.shards.photo(drawn.photos[at])
            turn = slice(None, None, -1 if drawn.flips[at] else 1)
            images.append(image[:, turn])
            id_maps.append(id_map[:, turn])
        shares = instance_shares(np.stack(id_maps))  # (B, I + 1, h, h)
        masks = torch.zeros(len(pairs), size // 4, size // 4)
        for m, (b, referents) in enumerate(zip(pairs.photo, pairs.referents, strict=True)):
            for i in referents:
                if i < shares.shape[1]:  # else too small for the id map at S/2
                    masks[m] += shares[b, i]
        return Batch(
            pixels=jittered(images, drawn, self.recipe) if self.with_pixels else no_pixels(drawn),
            texts=list(pairs.texts),
            photo=torch.tensor(pairs.photo),
            text=torch.tensor(pairs.text),
            kinds=pairs.kinds,
            no_target=torch.tensor([float(not r) for r in pairs.referents]),
            masks=masks.clamp_(max=1.0),
            origin=torch.tensor([drawn.photos[at] for at in drawn.mine]),
            flipped=torch.tensor([drawn.flips[at] for at in drawn.mine]),
            targets=targets_of(scenes, shares, self.side),
        )


def pick(count: int, wanted: int, rng: np.random.Generator) -> list[int]:
    """At most `wanted` different numbers below `count`."""
    if not count or not wanted:
        return []
    return [int(k) for k in rng.choice(count, min(wanted, count), replace=False)]


def no_pixels(drawn: Draw) -> Tensor:
    """The pixels of a batch whose photos come from a dump."""
    return torch.empty(len(drawn.mine), 0)


def jittered(images: Sequence[NDArray[np.uint8]], drawn: Draw, recipe: Recipe) -> Tensor:
    """Photos (S, S, 3) of this process with brightness and contrast changed: (B, 3, S, S)."""
    pixels = np.stack(images).astype(np.float32)
    j = recipe.jitter
    if j:
        for b, at in enumerate(drawn.mine):
            rng = np.random.default_rng([recipe.data_seed, 76, drawn.step, at])
            gain, shift = rng.uniform(1 - j, 1 + j), rng.uniform(-j, j) * 128
            np.clip((pixels[b] - 128) * gain + 128 + shift, 0, 255, out=pixels[b])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)


def instance_shares(ids: NDArray[np.uint8]) -> Tensor:
    """Id maps (B, S/2, S/2) -> each instance's share of the cells at S/4: (B, top + 1, h, h)."""
    top = max(1, int(ids.max()))
    values = torch.from_numpy(np.ascontiguousarray(ids))
    return torch.stack([F.avg_pool2d((values == i).float(), 2) for i in range(top + 1)], dim=1)
