"""Evaluation sets of real photographs: the fifth of a pack that is never trained on.

Shape legend: N photos, E expressions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.language import grammar
from training.language.everyday import forms_of
from training.language.grammar import Expression
from training.measuring.judging import AlbumSet, Pair, PairSet
from training.photos.batches import kinds_of
from training.photos.kinds import COCO80
from training.photos.scenes import Album, Told, marks_of
from training.scene import PERSONS

# Kinds of expression whose album retrieval is measured, beside the plain nouns.
ASKED = ("colour", "location", "counting", "exclusion", "compound", "relation", "superlative")
_EACH = 30  # expressions a kind
_SEED = 20_261_130

# What no photograph of everyday life shows.
ABSENT = (
    "accordion", "alien", "anteater", "armadillo", "astronaut", "bagpipes", "beaver", "bulldozer",
    "camel", "cannon", "centaur", "chameleon", "cheetah", "cobra", "crocodile", "dinosaur",
    "dragon", "flamethrower", "gargoyle", "ghost", "gorilla", "gramophone", "guillotine", "harp",
    "hippo", "hovercraft", "hyena", "iceberg", "igloo", "jellyfish", "kangaroo", "knight in armour",
    "koala", "komodo dragon", "lava", "lightsaber", "llama", "lobster", "mammoth", "mermaid",
    "moose", "mummy", "narwhal", "ninja", "octopus", "ostrich", "panda", "penguin", "phoenix",
    "pirate", "platypus", "polar bear", "porcupine", "pyramid", "robot", "rocket", "satellite",
    "scorpion", "seahorse", "shark", "skeleton", "sloth", "spaceship", "sphinx", "stegosaurus",
    "submarine", "sumo wrestler", "tank", "totem pole", "trilobite", "tyrannosaurus", "ufo",
    "unicorn", "vampire", "viking ship", "volcano", "walrus", "werewolf", "whale", "wizard",
    "xylophone", "yeti", "zeppelin", "zombie", "telescope", "stethoscope", "microscope",
    "lighthouse", "windmill", "oil rig", "a red dragon", "two penguins", "the shark on the left",
    "an astronaut on the moon", "a man riding a camel", "a whale under a boat",
    "a knight with a sword", "three robots", "the biggest dinosaur", "a purple octopus",
)  # fmt: skip


@dataclass(frozen=True)
class PhotoImages:
    """The photos of some rows of an album; targets are ids of their scenes."""

    told: tuple[Told, ...]

    def __len__(self) -> int:
        return len(self.told)

    def image(self, index: int) -> NDArray[np.uint8]:
        """Give the photo, (H, W, 3) RGB."""
        with Image.open(self.told[index].photo.path) as picture:
            return np.asarray(picture.convert("RGB"))

    def mask(self, index: int, targets: Sequence[int]) -> NDArray[np.bool_]:
        """Give the pixels of these things together, (H, W)."""
        photo = self.told[index].photo
        counted, _ = marks_of(photo)
        union = np.zeros((photo.height, photo.width), np.bool_)
        for number in targets:
            union |= counted[number - 1].mask(photo.height, photo.width).astype(bool)
        return union


def held_out(album: Album) -> tuple[Told, ...]:
    """The photos that are kept out of training."""
    return tuple(told for told in album.told if told.photo.split == "val")


def nouns_and_expressions(album: Album) -> AlbumSet:
    """Every COCO kind as a search, and expressions of each kind, over photos of known content."""
    told = tuple(t for t in held_out(album) if t.photo.known >= COCO80)
    kinds = sorted(COCO80)
    texts = [forms_of((kind,))[0][0] for kind in kinds]
    names = ["category"] * len(kinds)
    rows = [np.array([kind in kinds_of(t) for t in told], np.int8) for kind in kinds]
    for expression in drawn(told):
        texts.append(expression.text)
        names.append(expression.kind)
        found = [grammar.execute(expression.program, t.scene) for t in told]
        rows.append(np.array([-1 if f is None else int(bool(f)) for f in found], np.int8))
    return AlbumSet("photos:val", PhotoImages(told), tuple(texts), tuple(names), np.stack(rows))


def drawn(told: Sequence[Told]) -> list[Expression]:
    """Expressions suggested by photos, `_EACH` of each kind asked; the same ones each time."""
    rng = np.random.default_rng(_SEED)
    found: list[Expression] = []
    for kind in ASKED:
        texts: dict[str, Expression] = {}
        for at in rng.permutation(len(told)):
            for expression in grammar.expressions(told[at].scene, rng, 1, (kind,)):
                texts.setdefault(expression.text.lower(), expression)
            if len(texts) == _EACH:
                break
        found += texts.values()
    return found


def absent(album: Album) -> AlbumSet:
    """Searches for what no photo shows, over the same photos."""
    told = tuple(t for t in held_out(album) if t.photo.known >= COCO80)
    truth = np.zeros((len(ABSENT), len(told)), np.int8)
    kinds = ("absent",) * len(ABSENT)
    return AlbumSet("photos:absent", PhotoImages(told), ABSENT, kinds, truth)


def unnamed(album: Album) -> AlbumSet:
    """Nouns that no mask and no box of the pack names, over photos with one main thing."""
    marked = {a.kind for t in album.told for a in t.photo.annotations}
    told = tuple(t for t in held_out(album) if t.photo.folder == "caltech-101")
    kinds = sorted({kind for t in told for kind in t.labels} - marked)
    truth = np.array([[int(kind in t.labels) for t in told] for kind in kinds], np.int8)
    return AlbumSet(
        "photos:unnamed", PhotoImages(told), tuple(kinds), ("category",) * len(kinds), truth
    )


def pairs(album: Album) -> PairSet:
    """Pairs of which every mask is known: nouns of people and of things, and what points at one.

    The kinds are "people", "things", "pointing" (one thing singled out among its like) and "false"
    (nearly true of the photo).
    """
    told = held_out(album)
    rng = np.random.default_rng(_SEED + 1)
    found: list[Pair] = []
    for index, photo in enumerate(told):
        things = photo.scene.instances
        by_kind: dict[str, list[int]] = {}
        for t in things:
            by_kind.setdefault("person" if t.category in PERSONS else t.category, []).append(t.id)
        solid = {t.id for t in things if not t.boxed}
        for kind, ids in sorted(by_kind.items()):
            if solid.issuperset(ids) and not all(things[k].faint for k in _places(things, ids)):
                text = forms_of((kind,))[0][0]
                group = "people" if kind == "person" else "things"
                found.append(Pair(index, text, group, tuple(ids), "target"))
        several = {i for ids in by_kind.values() if len(ids) > 1 for i in ids}
        for e in grammar.expressions(
            photo.scene, rng, 3, ("location", "superlative", "ordinal", "colour", "relation")
        ):
            referents = grammar.execute(e.program, photo.scene) or frozenset()
            if len(referents) == 1 and referents <= several & solid:
                found.append(Pair(index, e.text, "pointing", tuple(referents), "target"))
        false = grammar.no_target(photo.scene, rng, 2)
        found += [Pair(index, e.text, "false", (), "false") for e in false]
    return PairSet("photos:pairs", PhotoImages(told), tuple(found))


@dataclass(frozen=True)
class Rest:
    """An expression about a photo and one for what it leaves out."""

    photo: int
    expression: str
    left_out: str


def rests(album: Album) -> list[Rest]:
    """At most one a held-out photo, where both refer to something."""
    rng = np.random.default_rng(_SEED + 2)
    found = []
    for index, photo in enumerate(held_out(album)):
        for e in grammar.expressions(photo.scene, rng, 4):
            rest = grammar.complement(e, rng)
            if rest is not None and grammar.execute(rest.program, photo.scene):
                found.append(Rest(index, e.text, rest.text))
                break
    return found


def _places(things: Sequence[object], ids: Sequence[int]) -> list[int]:
    wanted = set(ids)
    return [k for k, t in enumerate(things) if t.id in wanted]  # type: ignore[attr-defined]
