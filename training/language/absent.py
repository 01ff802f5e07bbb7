"""Searches for what no photo of ours shows: nouns outside the grammar, and known nouns in company
that never occurs.

The nouns are cut into two disjoint halves by a fixed rule: one to train with, one to evaluate
with. Nothing that a background may hold (trees, clouds, houses, sofas, ...) is among them.
"""

from __future__ import annotations

import zlib
from random import Random

import numpy as np

from training.language import lexicon
from training.language.nouns import article
from training.language.slips import MAX_PIECES, finish, pieces
from training.scene import COLOURS

# Alive: may be doing something. The plural is regular unless given after a slash.
_CREATURES = """
    giraffe elephant lion tiger zebra monkey gorilla bear panda koala kangaroo wolf/wolves
    fox/foxes rabbit squirrel hedgehog mouse/mice rat hamster pig goat donkey camel llama
    deer/deer moose/moose hippo rhino crocodile alligator snake lizard turtle tortoise frog
    toad snail spider scorpion ant bee butterfly/butterflies dragonfly/dragonflies ladybug
    beetle mosquito/mosquitoes penguin ostrich/ostriches flamingo peacock     dolphin whale shark
    octopus/octopuses squid/squid jellyfish/jellyfish crab lobster seahorse seal
    walrus/walruses otter beaver raccoon skunk badger bat buffalo/buffalo bison/bison antelope
    leopard cheetah panther lynx/lynxes hyena dinosaur dragon unicorn mermaid robot alien
    ghost zombie skeleton clown pirate knight wizard witch/witches ninja astronaut
    fireman/firemen policeman/policemen soldier chef nurse surgeon
    ballerina bride king queen santa angel snowman/snowmen scarecrow mummy/mummies
    vampire goldfish/goldfish salmon/salmon tuna/tuna worm caterpillar centipede mole sloth
    armadillo platypus/platypuses
"""

# Things; some are words that searchers of real albums type.
_THINGS = """
    airplane helicopter rocket submarine tractor bulldozer crane ambulance train tram
    bus/buses truck motorcycle scooter skateboard spaceship parachute
    snowmobile wheelbarrow tank trailer hovercraft piano guitar
    violin cello drum trumpet flute saxophone harp accordion banjo tambourine xylophone
    clarinet trombone microphone pizza hamburger sandwich/sandwiches hotdog taco burrito sushi
    spaghetti pancake waffle donut cupcake cake cookie croissant bagel pretzel banana apple
    pear pineapple watermelon strawberry/strawberries cherry/cherries grape peach/peaches
    lemon coconut mango/mangoes avocado/avocados tomato/tomatoes potato/potatoes carrot
    broccoli cucumber pumpkin onion garlic mushroom corn eggplant cabbage lettuce cheese
    sausage steak omelette popcorn toaster microwave refrigerator oven stove dishwasher
    blender kettle frying pan saucepan fork knife/knives spoon chopstick corkscrew teapot
    wineglass bottle jug bowl plate hammer screwdriver wrench saw drill axe/axes shovel rake
    ladder anvil nail bolt lawnmower hose broom mop vacuum cleaner
    toothbrush/toothbrushes toothpaste soap towel bathtub toilet sink shower hairdryer razor
    comb hairbrush/hairbrushes television radio camera printer joystick telephone
    calculator typewriter headphone projector satellite telescope microscope binocular
    thermometer stethoscope tennis racket golf club surfboard snowboard ski
    sled hockey stick baseball bat basketball hoop trampoline dumbbell barbell boxing glove
    archery target dartboard bowling pin chessboard trophy/trophies medal crown sword shield
    spear cannon bow pistol envelope stamp newspaper scissor stapler paperclip ruler pencil
    eraser paintbrush/paintbrushes easel globe hourglass/hourglasses compass/compasses magnet
    candle lighter alarm clock wristwatch/wristwatches necklace bracelet
    earring wallet coin pyramid igloo lighthouse windmill castle volcano/volcanoes waterfall
    cactus/cactuses tent hammock swing seesaw carousel ferris wheel fire hydrant traffic light
    mailbox/mailboxes parking meter shopping cart stroller wheelchair crutch/crutches bathrobe
    kimono teddy bear puppet snow globe rocking horse sewing machine washing machine
    treadmill aquarium birdcage beehive spiderweb bonfire firework flag anchor
"""

# Those of the list above that are two words; the split has cut them.
_PAIRS = (
    "frying pan", "vacuum cleaner", "tennis racket", "golf club", "hockey stick", "baseball bat",
    "basketball hoop", "boxing glove", "archery target", "bowling pin", "alarm clock",
    "ferris wheel", "fire hydrant", "traffic light", "parking meter", "shopping cart",
    "teddy bear", "snow globe", "rocking horse", "sewing machine", "washing machine",
)  # fmt: skip


def _forms(words: list[str]) -> list[tuple[str, str]]:
    cut = {part for pair in _PAIRS for part in pair.split()}
    whole = {"saw", "bat", "target", "hammer"} & set(words)
    entries = [w for w in words if w not in cut or w in whole]
    forms = []
    for entry in entries:
        singular, _, plural = entry.partition("/")
        forms.append((singular, plural or singular + "s"))
    return forms


CREATURES = tuple(sorted(set(_forms(_CREATURES.split()))))
THINGS = tuple(sorted(set(_forms(_THINGS.split())) | {(p, p + "s") for p in _PAIRS}))
NOUNS = frozenset(s for s, _ in CREATURES + THINGS)

_BUSY = ("sleeping", "eating", "swimming", "flying", "dancing", "sitting", "standing", "jumping",
         "drinking", "climbing")  # fmt: skip
_PLACES = ("on the left", "on the right", "in the middle", "in the foreground", "at the top",
           "in the background", "on the beach", "on the grass", "in the water", "on ice",
           "in the snow", "on the roof", "in the kitchen", "on the road")  # fmt: skip
_SIZES = ("big", "small", "tiny", "huge", "old", "wooden", "broken", "shiny")


def reserved(word: str) -> bool:
    """Whether a noun or text belongs to the half that only evaluation may use."""
    return zlib.crc32(word.encode()) % 2 == 1


def absent(rng: np.random.Generator, n: int, known: bool, held_out: bool) -> list[str]:
    """Expressions for things that none of our photos shows.

    Args:
        rng: the source of chance.
        n: how many; all different.
        known: made of the grammar's own nouns, in combinations that no scene has; otherwise with
            a noun from outside the grammar.
        held_out: from the half that is reserved for evaluation, never trained with.
    """
    r = Random(int(rng.integers(1 << 62)))
    texts: dict[str, None] = {}
    while len(texts) < n:
        text = _known(r, held_out) if known else _unknown(r, held_out)
        if pieces(text) + len(text.split()) <= MAX_PIECES + 4:
            texts.setdefault(finish(text, r))
    return list(texts)


def _unknown(r: Random, held_out: bool) -> str:
    alive = r.random() < 0.4
    while True:
        singular, plural = r.choice(CREATURES if alive else THINGS)
        if reserved(singular) == held_out:
            break
    roll = r.random()
    if roll < 0.2:
        return r.choice((singular, "the " + singular, article(singular), article(singular)))
    if roll < 0.28:
        return r.choice(("", "the ", "all the ", "all ")) + plural
    if roll < 0.36:
        return f"{r.choice(('two', 'three', 'four', 'five'))} {plural}"
    if roll < 0.52:
        before = r.choice(COLOURS) if r.random() < 0.7 else r.choice(_SIZES)
        words = f"{before} {singular}"
        return r.choice((words, article(words), "the " + words))
    if roll < 0.66:
        words = f"{singular} {r.choice(_PLACES)}"
        return r.choice((words, article(words), "the " + words))
    if roll < 0.74 and alive:
        return f"{r.choice(('', 'the '))}{singular} {r.choice(_BUSY)}"
    someone = r.choice(("man", "woman", "boy", "girl", "kid", "person", "dog", "lady", "guy"))
    if roll < 0.86:
        how = r.choice(("with", "holding", "next to", "behind", "in front of", "carrying"))
        if alive:
            how = r.choice(("with", "next to", "behind", "in front of", "feeding", "left of"))
        return f"{r.choice(('', 'the '))}{someone} {how} {article(singular)}"
    if roll < 0.93:
        return f"the {singular} and the {someone}"
    if roll < 0.97:
        return f"{r.choice(('leftmost', 'biggest', 'closest', 'rightmost'))} {singular}"
    return f"all {plural} except the {r.choice(COLOURS)} one"


_WORN_BY_NONE = ("a hat", "glasses", "a dress", "a red shirt", "blue trousers", "a bag", "a jacket")
_BEASTS = ("dog", "cat", "horse", "cow", "sheep", "bird")
_LIFELESS = ("car", "bicycle", "bench", "chair", "table", "ball", "umbrella", "kite", "balloon",
             "boat", "suitcase", "cup", "book", "laptop", "flower pot", "lamp")  # fmt: skip


def _known(r: Random, held_out: bool) -> str:
    while True:
        text = _impossible(r)
        if reserved(text) == held_out:
            return text


def _impossible(r: Random) -> str:
    roll = r.random()
    the = r.choice(("", "the ", "the "))
    if roll < 0.2:
        how = r.choice(("in", "wearing", "with"))
        return f"{the}{r.choice(_BEASTS)} {how} {r.choice(_WORN_BY_NONE)}"
    if roll < 0.35:
        thing = r.choice([t for t in _LIFELESS if t[0] not in "aeiou"])
        worn = r.choice(("a hat", "glasses", "a beard", "blond hair"))
        return f"{the}{thing} {r.choice(('wearing', 'with'))} {worn}"
    if roll < 0.5:
        rider = r.choice(("cat", "cow", "sheep", "horse", "dog"))
        ridden = r.choice(("bicycle", "bike", "horse", "car", "boat", "skateboard"))
        return f"{the}{rider} riding {article(ridden)}"
    if roll < 0.62:
        holder, held = r.choice(_BEASTS), r.choice(("umbrella", "balloon", "kite", "book", "cup"))
        return f"{the}{holder} holding {article(held)}"
    if roll < 0.72:
        seat = r.choice(("car", "boat", "umbrella", "table", "bicycle"))
        on = r.choice(("lamp", "cup", "book", "kite"))
        return f"{the}{seat} on top of {article(on)}"
    if roll < 0.86:
        plural = r.choice([p for forms in lexicon.NOUNS.values() for _, p, _ in forms])
        count = r.choice(("eleven", "twelve", "fifteen", "twenty", "fifty", "a hundred"))
        return f"{count} {plural}"
    if roll < 0.94:
        who = r.choice(("man", "woman", "boy", "girl"))
        big = r.choice(("car", "table", "bench", "boat", "bicycle"))
        return f"{the}{who} {r.choice(('holding', 'carrying'))} {article(big)}"
    who = r.choice(("woman", "girl", "boy"))
    odd = r.choice(("a beard", "green hair", "blue hair", "pink hair", "purple hair"))
    return f"{the}{who} with {odd}"
