"""What a synthetic photo shows: the scene graph that pictures, masks and expressions are made from.

The renderer fills it in, the grammar executes expressions on it. All positions are fractions of
the photo's width and height, origin at the upper left, so a scene has no resolution.
"""

from __future__ import annotations

from dataclasses import dataclass, field

SPLITS = ("train", "val", "test", "test-b")
PHOTOS = "photos"  # in place of a split: the scene of a real photograph

COLOURS = (
    "red", "orange", "yellow", "green", "blue", "purple",
    "pink", "brown", "black", "white", "grey",
)  # fmt: skip

PEOPLE = ("man", "woman", "boy", "girl")
# Real photographs have people too of whom nobody said which of these they are.
PERSONS = (*PEOPLE, "person")
ANIMALS = ("dog", "cat", "horse", "cow", "sheep", "bird")
THINGS = (
    "car", "bicycle", "bench", "chair", "table", "ball", "umbrella", "kite", "balloon",
    "boat", "suitcase", "cup", "book", "laptop", "flower pot", "lamp",
)  # fmt: skip
CATEGORIES = PEOPLE + ANIMALS + THINGS

HAIR_COLOURS = ("black", "brown", "blond", "red", "grey")
SMALL_PARTS = ("hat", "bag", "hair", "glasses", "beard")
POSES = ("standing", "sitting", "walking", "running", "jumping", "waving")

# Colour-category pairs that no scene of train, val or test holds; every scene of test-b holds at
# least one. For people the colour is that of the top. Both halves are common on their own.
HELD_OUT = frozenset(
    {
        ("man", "pink"), ("man", "green"), ("woman", "orange"), ("woman", "black"),
        ("boy", "purple"), ("boy", "white"), ("girl", "blue"), ("girl", "brown"),
        ("car", "yellow"), ("ball", "green"), ("umbrella", "red"), ("chair", "blue"),
        ("suitcase", "purple"), ("balloon", "orange"), ("cup", "pink"), ("book", "red"),
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Instance:
    """One person, animal or thing, as it is visible in the photo.

    Attributes:
        id: its value in the id map, 1 to 255.
        category: one of CATEGORIES.
        colour: of the top of people, of the body of animals and things.
        parts: further coloured parts of people that are shown: a colour for each of "bottom",
            "hair" (HAIR_COLOURS), and where worn "hat", "bag"; "glasses" and "beard" are "yes".
            A dress has its colour as both top and bottom and "dress": "yes".
            Hats and bags belong to the person's mask.
        pose: one of POSES for people, "" otherwise.
        box: x0, y0, x1, y1 of its visible pixels, fractions.
        centre: x, y of its visible pixels' centroid, fractions.
        area: its visible pixels as a fraction of the photo.
        visible: visible pixels / pixels it would have alone, 0 to 1.
        depth: larger is nearer to the camera.
        scale: its size against the usual one of its category, 1 is usual (a big dog: 1.4).
        blurred: drawn out of focus.
        holds: ids of things that this person has in a hand (umbrella, ball, balloon, kite, ...).
        rides: id of the bicycle or horse that it is on, 0 for none.
        sits_on: id of the bench or chair that it sits on, 0 for none.
        stands_on: id of the table that this thing stands on, 0 for none.
        owner: id of the person whom this animal or thing visibly belongs to (leash, hand), or 0.
        spots: x, y of those parts that are small (SMALL_PARTS), fractions.
        perhaps: further colours that somebody might say it has.
        unsure: traits (and "links") of which nobody said that it lacks them.
        boxed: only its box is known, so its mask is not.
        faint: so small, or so many in one mark, that it may be overlooked or miscounted.
    """

    id: int
    category: str
    colour: str
    parts: dict[str, str] = field(default_factory=dict)
    pose: str = ""
    box: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    centre: tuple[float, float] = (0.0, 0.0)
    area: float = 0.0
    visible: float = 1.0
    depth: float = 0.0
    scale: float = 1.0
    blurred: bool = False
    holds: tuple[int, ...] = ()
    rides: int = 0
    sits_on: int = 0
    stands_on: int = 0
    owner: int = 0
    spots: dict[str, tuple[float, float]] = field(default_factory=dict)
    perhaps: tuple[str, ...] = ()
    unsure: tuple[str, ...] = ()
    boxed: bool = False
    faint: bool = False


@dataclass(frozen=True, slots=True)
class Scene:
    """A photo's truth: everything that an expression can refer to in it.

    Attributes:
        seed: that regenerates it (with split).
        split: one of SPLITS, or PHOTOS.
        setting: the background, such as "park", "beach", "street", "room".
        instances: in no particular order; drawn ones are visible enough to be recognised.
        known: kinds that are marked wherever they occur, so that what is not marked is absent; None
            where everything is.
    """

    seed: int
    split: str
    setting: str
    instances: tuple[Instance, ...]
    known: frozenset[str] | None = None
