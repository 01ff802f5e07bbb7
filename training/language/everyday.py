"""Everyday nouns: what people call the kinds that real photographs show, and wider words for many.

A kind without an entry is called by its own name, with a regular plural.
"""

from __future__ import annotations

from training.scene import PERSONS

Forms = tuple[tuple[str, str, float], ...]

ANIMAL_KINDS = (
    "bear", "bird", "cat", "cow", "deer", "dog", "elephant", "emu", "flamingo", "giraffe", "horse",
    "monkey", "otter", "rhinoceros", "sheep", "tiger", "turtle", "zebra",
)  # fmt: skip
VEHICLES = (
    "airplane", "bicycle", "boat", "bus", "car", "fire truck", "motorcycle", "train", "truck",
)  # fmt: skip
FRUIT = ("apple", "banana", "orange")
FURNITURE = ("bed", "bench", "chair", "couch", "dining table", "office chair")
FOOD = (
    "apple", "banana", "bread", "broccoli", "cake", "carrot", "donut", "food", "hot dog", "orange",
    "pizza", "rice", "sandwich",
)  # fmt: skip
CUTLERY = ("fork", "knife", "spoon")
BAGS = ("backpack", "bag", "handbag", "purse")
SEATS = ("bench", "chair", "couch", "office chair")
WIDER: dict[tuple[str, ...], Forms] = {
    PERSONS: (("person", "people", 6), ("human", "humans", 0.2), ("man", "men", 0.7),
              ("woman", "women", 0.7), ("guy", "guys", 0.3), ("lady", "ladies", 0.3),
              ("kid", "kids", 0.2), ("boy", "boys", 0.2), ("girl", "girls", 0.2)),
    ANIMAL_KINDS: (("animal", "animals", 1),),
    VEHICLES: (("vehicle", "vehicles", 1),),
    FRUIT: (("fruit", "fruits", 1), ("piece of fruit", "pieces of fruit", 0.3)),
    FURNITURE: (("piece of furniture", "furniture", 1),),
    FOOD: (("food", "food", 2), ("something to eat", "things to eat", 1)),
    CUTLERY: (("piece of cutlery", "cutlery", 1), ("utensil", "utensils", 1)),
    BAGS: (("bag", "bags", 1),),
    SEATS: (("seat", "seats", 1),),
}  # fmt: skip

# No things that one counts: they have places, colours and masks, but no "two" and no "leftmost".
STUFF = frozenset(
    [
        "banner",
        "building",
        "cabinet",
        "cardboard",
        "ceiling",
        "counter",
        "curtain",
        "dirt",
        "fence",
        "floor",
        "floor-wood",
        "grass",
        "gravel",
        "house",
        "mountain",
        "net",
        "paper",
        "pavement",
        "platform",
        "playingfield",
        "railroad",
        "rail",
        "river",
        "road",
        "rock",
        "roof",
        "rug",
        "sand",
        "sea",
        "sky",
        "snow",
        "staircase",
        "tree",
        "wall",
        "wall-brick",
        "wall-stone",
        "wall-tile",
        "wall-wood",
        "water",
        "window-blind",
        "food",
        "skin",
        "hair",
        "accessories",
        "rice",
        "cloud",
        "ground",
    ]
)

KIND_NOUNS: dict[str, Forms] = {
    "airplane": (("airplane", "airplanes", 3), ("plane", "planes", 3), ("jet", "jets", 0.3)),
    "apple": (("apple", "apples", 1),),
    "backpack": (("backpack", "backpacks", 4), ("rucksack", "rucksacks", 0.5)),
    "baseball bat": (("baseball bat", "baseball bats", 3), ("bat", "bats", 0.7)),
    "baseball glove": (("baseball glove", "baseball gloves", 3),
                       ("catcher's mitt", "catcher's mitts", 0.4)),
    "bench": (("bench", "benches", 1),),
    "bicycle": (("bicycle", "bicycles", 2), ("bike", "bikes", 3)),
    "boat": (("boat", "boats", 4), ("ship", "ships", 0.7)),
    "book": (("book", "books", 1),),
    "bus": (("bus", "buses", 1),),
    "cake": (("cake", "cakes", 1),),
    "car": (("car", "cars", 5), ("automobile", "automobiles", 0.3)),
    "cat": (("cat", "cats", 5), ("kitty", "kitties", 0.3)),
    "cell phone": (("cell phone", "cell phones", 2), ("phone", "phones", 2),
                   ("mobile phone", "mobile phones", 1), ("smartphone", "smartphones", 0.7)),
    "clock": (("clock", "clocks", 1),),
    "couch": (("couch", "couches", 2), ("sofa", "sofas", 3)),
    "cow": (("cow", "cows", 4), ("cattle", "cattle", 0.3)),
    "cup": (("cup", "cups", 4), ("mug", "mugs", 1)),
    "deer": (("deer", "deer", 1),),
    "dining table": (("table", "tables", 4), ("dining table", "dining tables", 1)),
    "dog": (("dog", "dogs", 6), ("puppy", "puppies", 0.4)),
    "donut": (("donut", "donuts", 3), ("doughnut", "doughnuts", 1)),
    "fire hydrant": (("fire hydrant", "fire hydrants", 3), ("hydrant", "hydrants", 1)),
    "fire truck": (("fire truck", "fire trucks", 2), ("fire engine", "fire engines", 1)),
    "food": (("food", "food", 1),),
    "frisbee": (("frisbee", "frisbees", 3), ("flying disc", "flying discs", 0.3)),
    "hair drier": (("hair dryer", "hair dryers", 1), ("hair drier", "hair driers", 1)),
    "handbag": (("handbag", "handbags", 2), ("bag", "bags", 2), ("purse", "purses", 0.8)),
    "jeans": (("jeans", "jeans", 1),),
    "keyboard": (("keyboard", "keyboards", 1),),
    "knife": (("knife", "knives", 1),),
    "laptop": (("laptop", "laptops", 4), ("laptop computer", "laptop computers", 0.5)),
    "leggings": (("leggings", "leggings", 1),),
    "motorcycle": (("motorcycle", "motorcycles", 3), ("motorbike", "motorbikes", 2)),
    "mouse": (("computer mouse", "computer mice", 2), ("mouse", "mice", 1)),
    "office chair": (("office chair", "office chairs", 2), ("swivel chair", "swivel chairs", 1),
                     ("chair", "chairs", 1)),
    "pizza": (("pizza", "pizzas", 1),),
    "playingfield": (("playing field", "playing fields", 1),),
    "potted plant": (("potted plant", "potted plants", 3), ("plant", "plants", 2),
                     ("houseplant", "houseplants", 0.5)),
    "refrigerator": (("refrigerator", "refrigerators", 2), ("fridge", "fridges", 2)),
    "remote": (("remote", "remotes", 2), ("remote control", "remote controls", 2)),
    "rhinoceros": (("rhino", "rhinos", 2), ("rhinoceros", "rhinoceroses", 1)),
    "rice": (("rice", "rice", 1),),
    "scissors": (("scissors", "scissors", 3), ("pair of scissors", "pairs of scissors", 1)),
    "sheep": (("sheep", "sheep", 1),),
    "shorts": (("shorts", "shorts", 1),),
    "skis": (("skis", "skis", 3), ("pair of skis", "pairs of skis", 1)),
    "socks": (("socks", "socks", 1),),
    "sports ball": (("ball", "balls", 4), ("sports ball", "sports balls", 0.5)),
    "stop sign": (("stop sign", "stop signs", 1),),
    "suitcase": (("suitcase", "suitcases", 3), ("luggage", "luggage", 0.7)),
    "sunglasses": (("sunglasses", "sunglasses", 1),),
    "teddy bear": (("teddy bear", "teddy bears", 3), ("stuffed animal", "stuffed animals", 0.5)),
    "tennis racket": (("tennis racket", "tennis rackets", 3), ("racket", "rackets", 1)),
    "tights": (("tights", "tights", 1),),
    "toothbrush": (("toothbrush", "toothbrushes", 1),),
    "traffic light": (("traffic light", "traffic lights", 3), ("stoplight", "stoplights", 0.5)),
    "trousers": (("trousers", "trousers", 1), ("pants", "pants", 1)),
    "truck": (("truck", "trucks", 4), ("lorry", "lorries", 0.3)),
    "tv": (("tv", "tvs", 3), ("television", "televisions", 1.5), ("screen", "screens", 0.4)),
    "umbrella": (("umbrella", "umbrellas", 5), ("parasol", "parasols", 0.4)),
    "wall-brick": (("brick wall", "brick walls", 1),),
    "wall-stone": (("stone wall", "stone walls", 1),),
    "wall-tile": (("tiled wall", "tiled walls", 1),),
    "wall-wood": (("wooden wall", "wooden walls", 1),),
    "floor-wood": (("wooden floor", "wooden floors", 1),),
    "window-blind": (("window blind", "window blinds", 1),),
    "wine glass": (("wine glass", "wine glasses", 3), ("glass", "glasses", 0.5)),
}  # fmt: skip

_ALIKE = ("shoes", "boots", "sandals", "heels", "pumps", "flats", "loafers", "sneakers", "wedges",
          "glasses", "gloves", "stockings", "headphones", "binoculars")  # fmt: skip


def plural(noun: str) -> str:
    """A regular plural."""
    if noun in _ALIKE:
        return noun
    if noun.endswith(("s", "x", "ch", "sh", "z")):
        return noun + "es"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + "s"


def forms_of(kinds: tuple[str, ...]) -> Forms:
    """(singular, plural, weight) of the nouns for a set of kinds."""
    if kinds in WIDER:
        return WIDER[kinds]
    (kind,) = kinds
    if kind == "person":
        return WIDER[PERSONS]
    return KIND_NOUNS.get(kind) or ((kind, plural(kind), 1.0),)
