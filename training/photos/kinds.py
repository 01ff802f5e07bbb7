"""What real photographs show: kinds with everyday names, and the wider words for several kinds."""

from __future__ import annotations

COCO80 = frozenset(
    """person/bicycle/car/motorcycle/airplane/bus/train/truck/boat/traffic light/fire hydrant/
    stop sign/parking meter/bench/bird/cat/dog/horse/sheep/cow/elephant/bear/zebra/giraffe/
    backpack/umbrella/handbag/tie/suitcase/frisbee/skis/snowboard/sports ball/kite/baseball bat/
    baseball glove/skateboard/surfboard/tennis racket/bottle/wine glass/cup/fork/knife/spoon/bowl/
    banana/apple/sandwich/orange/broccoli/carrot/hot dog/pizza/donut/cake/chair/couch/
    potted plant/bed/dining table/toilet/tv/laptop/mouse/remote/keyboard/cell phone/microwave/
    oven/toaster/sink/refrigerator/book/clock/vase/scissors/teddy bear/hair drier/
    toothbrush""".replace("\n", "").replace("/    ", "/").split("/")
)  # fmt: skip

# What other sources call a kind of ours.
_SAME = {
    "sofa": "couch", "television": "tv", "motorbikes": "motorcycle", "airplanes": "airplane",
    "cellphone": "cell phone", "car side": "car", "table": "dining table", "gas stove": "stove",
    "celling fan": "ceiling fan", "ac": "air conditioner", "swivel chair": "office chair",
    "faces": "face", "water lilly": "water lily", "leopards": "leopard", "sneaker": "sneakers",
    "longsleeve": "long-sleeved shirt", "outwear": "jacket", "carrots": "carrot",
    "cougar body": "cougar", "cougar face": "cougar", "crocodile head": "crocodile",
    "flamingo head": "flamingo", "rhino": "rhinoceros", "soccer ball": "sports ball",
    "vegetables": "vegetable", "packages": "package", "satsumas": "satsuma",
    "stairs": "staircase", "pants": "trousers", "wild cat": "wildcat", "binocular": "binoculars",
    "headphone": "headphones", "yin yang": "yin and yang symbol", "sea horse": "seahorse",
}  # fmt: skip


def kind_of(name: str) -> str:
    """The kind that a source's category or label names: lower case, one name a kind."""
    plain = " ".join(name.lower().replace("_", " ").split())
    return _SAME.get(plain, plain)
