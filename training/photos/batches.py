"""Batches of real photographs: pixels or maps of a frozen stem, expressions, truth as far as it is
known.

Every draw belongs to a photo's place in the batch, as in `training.data.batches`.

Shape legend: B photos, M pairs, N regions, K kinds, g side of the grid of shares and mask features.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from random import Random

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from training.data.batches import Batch, Draw, Hand, Pairs, Place, jittered, no_pixels, pick
from training.data.photo_targets import UNKNOWN, PhotoTargets
from training.data.region_targets import IGNORE, no_targets
from training.errors import DatasetError
from training.language import grammar
from training.language.everyday import STUFF, plural
from training.language.phrases import realise
from training.language.programs import Program
from training.language.slips import finish
from training.photos import composites, drawings
from training.photos.absent import absent
from training.photos.data import PhotoData
from training.photos.kinds import COCO80
from training.photos.scenes import Told
from training.photos.trunk import class_names
from training.recipes.recipe import Recipe
from training.scene import PERSONS

NEIGHBOURS = 8
# How often a folder's photos are drawn, beside one of COCO's; what has only labels teaches least.
_SHARES = {"clothing-co-parsing": 0.5, "oxford-pets": 0.4, "oxford-pets-b": 0.6,
           "cats-dogs-boxes": 0.4, "furniture": 0.5, "animals": 0.7, "food-plates": 0.3,
           "food-boxes": 0.3, "feral-cats": 0.5, "books": 0.5, "caltech-101": 0.4,
           "clothing-labels": 0.3, "grocery": 0.3, "dreambooth": 0.3}  # fmt: skip
# And how much of a batch is made rather than taken.
_MADE = {composites.FOLDER: 0.2, drawings.FOLDER: 0.1}
_COMMON = 0.02  # kinds in more than this share of the photos are not drawn more often
_CLEAR = 0.4  # the trunk's class is named where it is as sure as this
_FAR = 400  # and one is surely absent whose rank among the largest logits lies beyond


class Vocabulary:
    """The kinds that a training set knows, and how often each is there."""

    def __init__(self, told: Sequence[Told]) -> None:
        counts: Counter[str] = Counter()
        for photo in told:
            counts.update(kinds_of(photo))
        self.kinds = tuple(sorted(kind for kind, n in counts.items() if n >= 2))
        self.index = {kind: k for k, kind in enumerate(self.kinds)}
        self.rarity = {
            kind: max(1.0, (_COMMON * len(told) / counts[kind]) ** 0.5) for kind in self.kinds
        }


def kinds_of(photo: Told) -> set[str]:
    """Every kind that a photo surely shows; somebody is a person."""
    found = {"person" if t.category in PERSONS else t.category for t in photo.scene.instances}
    return found | set(photo.stuff) | set(photo.labels)


class PhotoSampler:
    """Draws batches from told photos, by their pixels or the maps that a stem made of them.

    Args:
        data: only `rows` of its album are drawn.
        rows: places in the album that may be trained on.
    """

    def __init__(
        self,
        data: PhotoData,
        rows: Sequence[int],
        recipe: Recipe,
        regions_per_side: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        album, dump = data.album, data.dump
        if dump is not None and len(dump) != len(album):
            raise DatasetError(f"the dump holds {len(dump)} photos, the album {len(album)}")
        self.data, self.album, self.dump, self.recipe = data, album, dump, recipe
        self.rows = tuple(rows)
        self.side = regions_per_side
        self.rank, self.world = rank, world
        self.with_pixels = dump is None
        told = [album.told[row] for row in self.rows]
        self.vocabulary = Vocabulary(told)
        rarity = self.vocabulary.rarity
        weights = np.array(
            [
                _SHARES.get(photo.photo.folder, 1.0)
                * max((rarity.get(kind, 1.0) for kind in kinds_of(photo)), default=1.0)
                for photo in told
            ]
        )
        folders = np.array([photo.photo.folder for photo in told])
        taken = weights[~np.isin(folders, list(_MADE))].sum()
        rest = 1.0 - sum(share for folder, share in _MADE.items() if folder in folders)
        for folder, share in _MADE.items():
            made = folders == folder
            weights[made] *= share / rest * taken / max(weights[made].sum(), 1e-9)
        self.weights = weights / weights.sum()

    def __len__(self) -> int:
        return len(self.rows)

    def pixels(self, index: int) -> NDArray[np.uint8]:
        """One photo, (S, S, 3)."""
        return self.data.pixels(self.rows[index])

    def maps(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """A stem's maps of some photos, as `HybridBackbone.look` gives them, float32; {} without
        a stem."""
        kept = {} if self.dump is None else self.dump.maps
        rows = [self.rows[index] for index in indices]
        return {
            name: torch.from_numpy(np.stack([values[row] for row in rows])).float()
            for name, values in kept.items()
        }

    def _seen(self, drawn: Draw) -> tuple[Tensor, dict[str, Tensor] | None]:
        """What the network is shown of the photos: pixels, or maps in their stead."""
        flips = [drawn.flips[at] for at in drawn.mine]
        photos = [drawn.photos[at] for at in drawn.mine]
        if self.dump is None:
            images = [self.pixels(photo) for photo in photos]
            turned = [x[:, ::-1] if flip else x for x, flip in zip(images, flips, strict=True)]
            return jittered(turned, drawn, self.recipe), None
        flip = torch.tensor(flips)[:, None, None, None]
        maps = {n: torch.where(flip, x.flip(-1), x) for n, x in self.maps(photos).items()}
        return no_pixels(drawn), maps

    @cached_property
    def names(self) -> list[tuple[str, ...]]:
        """What the trunk's classes are called."""
        return [tuple(name.lower() for name in names) for names in class_names()]

    def phrases(self, rng: np.random.Generator, count: int) -> list[str]:
        """Different expressions such as somebody would search these photos with."""
        texts: dict[str, None] = {}
        while len(texts) < count:
            photo = self.album.told[self.rows[int(rng.integers(len(self.rows)))]]
            if rng.random() < 0.35:
                kind = self.vocabulary.kinds[int(rng.integers(len(self.vocabulary.kinds)))]
                texts[noun(kind, Random(int(rng.integers(1 << 62))))] = None
            texts.update({e.text: None for e in grammar.expressions(photo.scene, rng, 1)})
        return list(texts)

    def draw(self, step: int) -> Draw:
        """The photos of a step, rarer kinds more often, and this process's share of them."""
        recipe = self.recipe
        if len(self.rows) < recipe.batch:
            raise DatasetError(f"{len(self.rows)} photos are less than a batch of {recipe.batch}")
        rng = np.random.default_rng([recipe.data_seed, 79, step])
        chosen = rng.choice(len(self.rows), recipe.batch, replace=False, p=self.weights)
        flips = rng.random(recipe.batch) < (0.5 if recipe.flip else 0.0)
        mine = range(
            self.rank * recipe.batch // self.world, (self.rank + 1) * recipe.batch // self.world
        )
        return Draw(step, tuple(chosen.tolist()), tuple(flips.tolist()), mine)

    def batch(self, step: int) -> Batch:
        """This process's share of a step's batch; the same whenever it is asked for."""
        recipe = self.recipe
        drawn = self.draw(step)
        told = [self.album.told[self.rows[at]] for at in drawn.photos]
        places = [
            Place(photo.scene, flipped, (recipe.data_seed, 80, step, at), recipe)
            for at, (photo, flipped) in enumerate(zip(told, drawn.flips, strict=True))
        ]
        pairs = Pairs()
        maskless: list[bool] = []
        stuff: dict[int, tuple[int, ...]] = {}  # pair -> rows of shares that are no instances
        rests: list[tuple[int, int]] = []
        for b, at in enumerate(drawn.mine):
            place, photo = places[at], told[at]
            hand = Hand(recipe.slips, place.seed)
            said: dict[int, int] = {}  # own expression -> its pair
            for k, expression in enumerate(place.own + place.false):
                referents = grammar.execute(expression.program, place.original)
                if referents is not None:
                    text = grammar.mirror(expression.text) if place.flipped else expression.text
                    said[k] = len(pairs)
                    pairs.add(b, hand.typed(text), expression.kind, referents)
            rng = np.random.default_rng([*place.seed, 2])
            for k, expression in enumerate(place.own):
                rest = grammar.complement(expression, rng)
                if rest is None or rng.random() >= recipe.complements:
                    continue
                referents = grammar.execute(rest.program, place.original)
                if referents is not None:
                    text = grammar.mirror(rest.text) if place.flipped else rest.text
                    if referents and k in said:
                        rests.append((said[k], len(pairs)))
                    pairs.add(b, text, rest.kind, referents)
            others = [
                e
                for k in range(1, min(NEIGHBOURS, len(places) - 1) + 1)
                for e in places[(at + k) % len(places)].own
            ]
            for k in pick(len(others), recipe.crossed, rng):
                referents = grammar.execute(others[k].program, place.scene)
                if referents is not None:
                    pairs.add(b, others[k].text, others[k].kind, referents)
            if photo.photo.composed or photo.photo.known >= COCO80:
                for _ in range(recipe.absent):
                    text = absent(Random(int(rng.integers(1 << 62))))
                    pairs.add(b, text, "absent", frozenset())
            maskless += [False] * (len(pairs) - len(maskless))
            self._nouns(b, photo, rng, pairs, maskless, stuff)
            self._classes(b, self.rows[drawn.photos[at]], rng, pairs, maskless)
        batch = self._tensors(drawn, told, pairs, maskless, stuff)
        return replace(batch, rests=torch.tensor(rests, dtype=torch.long).view(-1, 2))

    def _nouns(
        self,
        b: int,
        photo: Told,
        rng: np.random.Generator,
        pairs: Pairs,
        maskless: list[bool],
        stuff: dict[int, tuple[int, ...]],
    ) -> None:
        """Plain nouns: one or two kinds that are there, some that are surely not."""
        r = Random(int(rng.integers(1 << 62)))
        there = sorted(kinds_of(photo) & set(self.vocabulary.kinds))
        if there:
            weights = [self.vocabulary.rarity[kind] for kind in there]
            for kind in dict.fromkeys(r.choices(there, weights, k=self.recipe.nouns[0])):
                wanted = PERSONS if kind == "person" else (kind,)
                referents = frozenset(t.id for t in photo.scene.instances if t.category in wanted)
                if kind in photo.stuff:
                    stuff[len(pairs)] = photo.stuff[kind]
                maskless.append(not referents and kind not in photo.stuff)
                # A pair without ids is told from a no-target one by `stuff` or `maskless`.
                pairs.add(b, noun(kind, r), "noun", referents)
        known = sorted(
            (set(photo.scene.known or ()) - kinds_of(photo)) & set(self.vocabulary.kinds)
        )
        for k in pick(len(known), self.recipe.nouns[1], rng):
            maskless.append(False)
            pairs.add(b, noun(known[k], r), "noun", frozenset())

    def _classes(
        self, b: int, row: int, rng: np.random.Generator, pairs: Pairs, maskless: list[bool]
    ) -> None:
        """What a stem is sure to see, by its own name, and something that it surely does not."""
        if self.dump is None:
            return
        r = Random(int(rng.integers(1 << 62)))
        largest, mean = self.dump.logits[row].astype(np.float32)
        share = np.exp(mean - mean.max())
        share /= share.sum()
        best = int(share.argmax())
        if share[best] > _CLEAR:
            maskless.append(True)
            pairs.add(b, self._name(best, r), "class", frozenset())
        far = np.argsort(-largest)[_FAR:]
        if r.random() < 0.7:
            maskless.append(False)
            pairs.add(b, self._name(int(far[int(rng.integers(len(far)))]), r), "class", frozenset())

    def _name(self, at: int, r: Random) -> str:
        names = self.names[at]
        name = names[0] if len(names) == 1 or r.random() < 0.8 else names[1]
        way = r.random()
        return name if way < 0.5 else ("the " + name if way < 0.75 else plural(name))

    def _tensors(
        self,
        drawn: Draw,
        told: Sequence[Told],
        pairs: Pairs,
        maskless: Sequence[bool],
        stuff: dict[int, tuple[int, ...]],
    ) -> Batch:
        side = self.album.side
        shares, boxed = [], []
        for at in drawn.mine:
            turn = slice(None, None, -1 if drawn.flips[at] else 1)
            grid = np.ascontiguousarray(told[at].shares[:, :, turn]).astype(np.float32) / 255
            shares.append(torch.from_numpy(grid))
            boxed.append({t.id - 1 for t in told[at].scene.instances if t.boxed})
        masks = torch.zeros(len(pairs), side, side)
        by_box = torch.zeros(len(pairs), dtype=torch.bool)
        for m, (b, referents) in enumerate(zip(pairs.photo, pairs.referents, strict=True)):
            rows = [i - 1 for i in referents] + list(stuff.get(m, ()))
            if rows:
                masks[m] = shares[b][rows].sum(0)
                by_box[m] = not boxed[b].isdisjoint(rows)
        bare = torch.tensor(maskless)
        there = torch.tensor([bool(r) or m in stuff for m, r in enumerate(pairs.referents)])
        rows = [self.rows[drawn.photos[at]] for at in drawn.mine]
        flips = torch.tensor([drawn.flips[at] for at in drawn.mine])
        pixels, maps = self._seen(drawn)
        mine = [told[at] for at in drawn.mine]
        return Batch(
            pixels=pixels,
            texts=list(pairs.texts),
            photo=torch.tensor(pairs.photo),
            text=torch.tensor(pairs.text),
            kinds=pairs.kinds,
            no_target=1.0 - (there | bare).float(),
            masks=masks.clamp_(max=1.0),
            origin=torch.tensor(rows),
            flipped=flips,
            targets=no_targets(len(mine), self.side**2),
            maps=maps,
            by_box=by_box,
            maskless=bare,
            photo_targets=self._targets(mine, shares, boxed, rows),
        )

    def _targets(
        self,
        told: Sequence[Told],
        shares: Sequence[Tensor],
        boxed: Sequence[set[int]],
        rows: Sequence[int],
    ) -> PhotoTargets:
        side, grid, index = self.side, self.album.side, self.vocabulary.index
        region_kind = torch.full((len(told), side**2), IGNORE)
        pixel_kind = torch.full((len(told), grid, grid), IGNORE)
        presence = torch.full((len(told), len(index)), UNKNOWN)
        region_masks = torch.zeros(len(told), side**2, grid, grid)
        for b, photo in enumerate(told):
            kinds = kinds_of(photo)
            for kind in photo.scene.known or ():
                if kind in index and kind not in kinds:
                    presence[b, index[kind]] = 0.0
            for kind in kinds & set(index):
                presence[b, index[kind]] = 1.0
            if not len(shares[b]):
                continue
            names = _kinds_by_row(photo)
            numbers = torch.tensor([index.get(name, IGNORE) for name in names])
            solid = torch.tensor([k not in boxed[b] for k in range(len(names))])
            cover = F.adaptive_avg_pool2d(shares[b], side).flatten(1)  # (I, N)
            size = shares[b].sum((1, 2)).clamp_min(1e-6)[:, None]
            weight = cover / (size / (grid / side) ** 2).clamp_min(0.3)
            weight = (
                weight * torch.where(torch.tensor([n in STUFF for n in names]), 0.2, 1.0)[:, None]
            )
            owner = weight.argmax(0)  # (N,)
            seen = cover.gather(0, owner[None])[0] > 0.12
            region_kind[b] = torch.where(seen, numbers[owner], IGNORE)
            known = seen & solid[owner]
            region_masks[b, known] = shares[b][owner[known]]
            if solid.any():
                own = torch.nonzero(solid)[:, 0]
                masks = shares[b][own]  # the smaller thing lies before the larger one
                front = (masks / size[own, None].sqrt()).argmax(0)
                sure = masks.gather(0, front[None])[0] > 0.6
                pixel_kind[b] = torch.where(sure, numbers[own][front], IGNORE)
        classes = None
        if self.dump is not None:
            mean = torch.from_numpy(np.stack([self.dump.logits[row][1] for row in rows])).float()
            classes = mean.softmax(-1)
        return PhotoTargets(region_kind, pixel_kind, presence, classes, region_masks)


def _kinds_by_row(photo: Told) -> list[str]:
    """The kind of each row of a photo's shares; "" for a thing that its mask does not show."""
    names = [""] * len(photo.shares)
    for thing in photo.scene.instances:
        names[thing.id - 1] = "person" if thing.category in PERSONS else thing.category
    for kind, places in photo.stuff.items():
        for place in places:
            names[place] = kind
    return names


def noun(kind: str, r: Random) -> str:
    """A kind as somebody types it to search an album."""
    wanted = PERSONS if kind == "person" else (kind,)
    d: Program = ("d", wanted, ())
    ways: tuple[Program, ...] = (("bare", d), ("bare", d), ("all", d))
    return finish(realise(r.choice(ways), r), r)
