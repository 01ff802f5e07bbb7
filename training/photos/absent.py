"""Searches for what everyday photographs do not show, to learn to say "not here".

None of these nouns, nor anything that they are a kind of, is asked by `training.measuring`.
"""

from __future__ import annotations

from random import Random

from training.language.nouns import article
from training.language.slips import finish
from training.scene import COLOURS

_NOUNS = """
aardvark, bison, hedgehog, otter, raccoon, badger, wolf, tiger, leopard, rhinoceros, meerkat,
lemur, orangutan, chimpanzee, wombat, tapir, skunk, reindeer, warthog, manatee, dolphin, seal,
squid, starfish, crab, manta ray, eel, stingray, clownfish, sea turtle, snake, lizard, iguana,
frog, salamander, gecko, alligator, spider, scarab, wasp, dragonfly, grasshopper, centipede,
snail, leech, bat, pterodactyl, triceratops, gnome, elf, fairy, witch, goblin, troll, ogre,
cyclops, minotaur, griffin, kraken, hydra, demon, cupid, devil, angel with wings, santa claus,
scarecrow, jester, samurai, gladiator, pharaoh, pope, ballerina, superhero, cyborg, caveman,
gunslinger, cello, violin, trumpet, saxophone, tuba, drum kit, harmonica, sitar, church organ,
sewing machine, typewriter, loom, spinning wheel, anvil, catapult, chariot, crown, throne,
spear, battle axe, crossbow, rifle, pistol, grenade, missile, torpedo, cannonball, comet,
planet, galaxy, meteor, tornado, lightning bolt, glacier, coral reef, cave, castle, obelisk,
aqueduct, drawbridge, tombstone, coffin, noose, chainsaw, jackhammer, plough, combine
harvester, cement mixer, steamroller, hot air balloon, space shuttle, lunar rover, fighter jet,
battleship, galleon, gondola, dog sled, stagecoach, scalpel, test tube, x-ray machine,
oscilloscope, abacus, sundial, hourglass, astrolabe, crystal ball, treasure chest, bobsled,
javelin, discus, pole vault, boxing ring, curling stone, trapeze, bowling pins, spinning top,
marionette, voodoo doll, birdcage, beehive, spider web, anthill, fossil
"""
NOUNS = tuple(" ".join(noun.split()) for noun in _NOUNS.split(","))

_PLACES = ("on the left", "on the right", "in the middle", "at the bottom", "in the background")
_DEEDS = ("a person with", "somebody holding", "a man next to", "people around", "a child with")


def absent(r: Random) -> str:
    """One search, as somebody types it."""
    noun = r.choice(NOUNS)
    way = r.random()
    if way < 0.4:
        text = noun if r.random() < 0.5 else article(noun)
    elif way < 0.55:
        text = f"the {noun} {r.choice(_PLACES)}"
    elif way < 0.7:
        text = article(f"{r.choice(COLOURS)} {noun}")
    elif way < 0.85:
        text = f"{r.choice(_DEEDS)} {article(noun)}"
    else:
        text = f"the {r.choice(('biggest', 'smallest', 'leftmost', 'only'))} {noun}"
    return finish(text, r)
