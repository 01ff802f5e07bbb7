"""The words of the grammar: nouns, colours, numbers and their wordings."""

from __future__ import annotations

from training.scene import ANIMALS, PEOPLE

# Category sets that have a noun of their own: (singular, plural, weight).
NOUNS: dict[tuple[str, ...], tuple[tuple[str, str, float], ...]] = {
    ("man",): (("man", "men", 5), ("guy", "guys", 2), ("gentleman", "gentlemen", 0.5),
               ("dude", "dudes", 0.2)),
    ("woman",): (("woman", "women", 5), ("lady", "ladies", 2.5)),
    ("boy",): (("boy", "boys", 5), ("young boy", "young boys", 0.4),
               ("little boy", "little boys", 0.4)),
    ("girl",): (("girl", "girls", 5), ("young girl", "young girls", 0.4),
                ("little girl", "little girls", 0.4)),
    ("boy", "girl"): (("kid", "kids", 4), ("child", "children", 3),
                      ("youngster", "youngsters", 0.2)),
    ("man", "woman"): (("adult", "adults", 3), ("grown-up", "grown-ups", 1)),
    PEOPLE: (("person", "people", 6), ("person", "persons", 0.3), ("human", "humans", 0.2)),
    ANIMALS: (("animal", "animals", 1),),
    ("dog",): (("dog", "dogs", 1),),
    ("cat",): (("cat", "cats", 1),),
    ("horse",): (("horse", "horses", 1),),
    ("cow",): (("cow", "cows", 1),),
    ("sheep",): (("sheep", "sheep", 1),),
    ("bird",): (("bird", "birds", 1),),
    ("car",): (("car", "cars", 5), ("automobile", "automobiles", 0.4)),
    ("bicycle",): (("bicycle", "bicycles", 2), ("bike", "bikes", 3)),
    ("bench",): (("bench", "benches", 1),),
    ("chair",): (("chair", "chairs", 1),),
    ("table",): (("table", "tables", 1),),
    ("ball",): (("ball", "balls", 1),),
    ("umbrella",): (("umbrella", "umbrellas", 5), ("parasol", "parasols", 0.4)),
    ("kite",): (("kite", "kites", 1),),
    ("balloon",): (("balloon", "balloons", 1),),
    ("boat",): (("boat", "boats", 4), ("sailboat", "sailboats", 0.4)),
    ("suitcase",): (("suitcase", "suitcases", 1),),
    ("cup",): (("cup", "cups", 3), ("mug", "mugs", 1)),
    ("book",): (("book", "books", 1),),
    ("laptop",): (("laptop", "laptops", 3), ("computer", "computers", 1)),
    ("flower pot",): (("flower pot", "flower pots", 3), ("flowerpot", "flowerpots", 1),
                      ("potted plant", "potted plants", 1),
                      ("plant pot", "plant pots", 0.7)),
    ("lamp",): (("lamp", "lamps", 1),),
}  # fmt: skip

KIDS = ("boy", "girl")
ADULTS = ("man", "woman")

EVERYONE = ("everyone", "everybody")

PRONOUNS = {"man": "his", "boy": "his", "woman": "her", "girl": "her"}

COLOUR_WORDS = {
    "grey": (("grey", 2.0), ("gray", 1.0)),
    "purple": (("purple", 4.0), ("violet", 0.5)),
}
HAIR_WORDS = {"blond": (("blond", 1.0), ("blonde", 1.0)), "grey": (("grey", 1.0), ("gray", 1.0))}

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
ORDINALS = ("", "first", "second", "third", "fourth", "fifth")
ORDINAL_DIGITS = ("", "1st", "2nd", "3rd", "4th", "5th")

TOPS = (
    ("shirt", 5.0), ("top", 2.0), ("jacket", 1.5), ("t-shirt", 1.5), ("sweater", 1.0),
    ("coat", 0.4), ("hoodie", 0.4), ("pullover", 0.2),
)  # fmt: skip
BOTTOMS = ("trousers", "pants")

SUPERLATIVES = {
    "left": ("leftmost", "leftmost", "furthest left", "left most"),
    "right": ("rightmost", "rightmost", "furthest right", "right most"),
    "high": ("highest", "topmost"),
    "low": ("lowest",),
    "big": ("biggest", "largest"),
    "small": ("smallest",),
    "tall": ("tallest",),
    "short": ("shortest",),
    "near": ("closest", "nearest"),
    "far": ("farthest", "furthest", "most distant"),
}

# How a preposition is worded, as (words, weight).
PREPOSITIONS = {
    "next": (
        ("next to", 4),
        ("beside", 2),
        ("near", 1),
        ("by", 1),
        ("close to", 0.4),
        ("alongside", 0.3),
    ),
    "left": (
        ("to the left of", 3),
        ("left of", 2),
        ("on the left of", 1),
        ("on the left side of", 0.4),
    ),
    "right": (
        ("to the right of", 3),
        ("right of", 2),
        ("on the right of", 1),
        ("on the right side of", 0.4),
    ),
    "front": (("in front of", 1),),
    "behind": (("behind", 1),),
}

_WORDS_OF_GRAMMAR = """
    a an the one both all every each everyone everybody except for but apart from excluding other
    than not without with no in on at of to and or wearing dressed carrying holding riding sitting
    standing walking running jumping waving who is are that which has having his her their its left
    right middle center centre top bottom upper lower corner side leftmost rightmost furthest
    farthest closest nearest most distant camera big large small little tall biggest largest
    smallest tallest shortest highest topmost lowest next beside near by front behind between
    foreground background hat cap bag glasses beard bearded hair haired shirt jacket t-shirt sweater
    trousers pants dress everything anyone people things objects two three four five six seven eight
    nine second third fourth fifth exactly only just single pair also as well plus far away it them
    us show me find picture photo image couple close alongside coat coats hoodie hoodies
    pullover pullovers clothes besides one ones hand held ridden seated belonging hats bags beards
    dresses shirts tops jackets t-shirts sweaters
"""


def vocabulary() -> frozenset[str]:
    """Every word that an expression of the grammar can hold, in lower case."""
    words = set(_WORDS_OF_GRAMMAR.split()) | set(NUMBERS) | set(ORDINALS) | set(ORDINAL_DIGITS)
    for forms in NOUNS.values():
        for singular, plural, _ in forms:
            words.update(singular.split())
            words.update(plural.split())
    for colour in (
        "red", "orange", "yellow", "green", "blue", "purple", "violet", "pink", "brown", "black",
        "white", "grey", "gray", "blond", "blonde",
    ):  # fmt: skip
        words.add(colour)
    return frozenset(words - {""})
