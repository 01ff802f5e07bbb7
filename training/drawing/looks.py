"""What a drawn person looks like: build, hair, clothes and what is worn, chosen at random."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from training.drawing.shapes import Colour, tone
from training.drawing.style import Style, hair_shade, shade_of, skin_shade
from training.scene import COLOURS

_MEN_HAIR = ("short", "side", "spiky", "curly", "bald", "crew", "short", "side")
_WOMEN_HAIR = ("long", "long", "bob", "ponytail", "bun", "curls", "wavy", "braid")
_BOY_HAIR = ("short", "side", "spiky", "curly", "bowl", "crew")
_GIRL_HAIR = ("long", "pigtails", "pigtails", "ponytail", "bob", "bun", "wavy", "braid")
_HATS = {
    "man": ("cap", "beanie", "brim", "bowler", "topper"),
    "woman": ("sun", "sun", "beanie", "beret", "brim"),
    "boy": ("cap", "cap", "beanie", "bowler"),
    "girl": ("sun", "beanie", "beret", "cap"),
}


@dataclass(frozen=True, slots=True)
class Look:
    """Everything about a person but place and pose; names of colours are in `parts`."""

    category: str
    colour: str
    parts: dict[str, str]
    height: float
    build: float
    head: float
    skin: Colour
    hair: Colour
    hair_style: str
    top: Colour
    bottom: Colour
    shoe: Colour
    dress: bool
    skirt: bool
    hem: float
    trousers: str
    sleeves: float
    pattern: str
    accent: Colour
    hat: str
    hat_colour: Colour
    bag: str
    bag_colour: Colour
    glasses: str
    beard: str
    face: str
    smile: float
    jaw: float
    body: str


def sample_look(
    category: str,
    colour: str,
    style: Style,
    rng: Random,
    pick_colour: Callable[[], str],
) -> Look:
    """A person of a category in a top of a colour.

    Args:
        category: "man", "woman", "boy" or "girl".
        colour: of the top.
        style: of the scene.
        rng: source of chance.
        pick_colour: names a colour for another garment (scenes repeat colours on purpose).
    """
    male = category in ("man", "boy")
    adult = category in ("man", "woman")
    parts: dict[str, str] = {}
    top = shade_of(colour, style, rng)
    dress = not male and rng.random() < (0.36 if adult else 0.45)
    skirt = not male and not dress and rng.random() < 0.4
    if dress:
        parts["bottom"], parts["dress"] = colour, "yes"
        bottom = top
    else:
        name = pick_colour() if rng.random() < 0.75 else rng.choice(("blue", "black", "grey"))
        if name == colour and rng.random() < 0.7:
            name = rng.choice([c for c in COLOURS if c != colour])
        parts["bottom"] = name
        bottom = shade_of(name, style, rng)
    skin = skin_shade(rng)
    for _ in range(6):
        # A top in the colour of bare arms has no outline that could be seen.
        if sum(abs(a - b) for a, b in zip(skin, top, strict=True)) > 130:
            break
        skin = skin_shade(rng)
    hair_style = rng.choice(
        {"man": _MEN_HAIR, "woman": _WOMEN_HAIR, "boy": _BOY_HAIR, "girl": _GIRL_HAIR}[category]
    )
    names = ("black", "brown", "blond", "red", "grey")
    hair_name = rng.choices(names, (0.3, 0.3, 0.22, 0.1, 0.08) if adult else (3, 3, 3, 1, 0))[0]
    if hair_style != "bald":
        parts["hair"] = hair_name
    hat = ""
    hat_colour = (0, 0, 0)
    if rng.random() < 0.26:
        hat = rng.choice(_HATS[category])
        parts["hat"] = pick_colour()
        hat_colour = shade_of(parts["hat"], style, rng)
    bag = ""
    bag_colour = (0, 0, 0)
    if rng.random() < 0.22:
        if male or not adult:
            bag = rng.choice(("backpack", "satchel"))
        else:
            bag = rng.choice(("handbag", "satchel", "backpack"))
        parts["bag"] = pick_colour()
        bag_colour = shade_of(parts["bag"], style, rng)
    glasses = ""
    if rng.random() < 0.2:
        glasses = rng.choice(("round", "square", "dark"))
        parts["glasses"] = "yes"
    beard = ""
    if category == "man" and rng.random() < 0.42:
        beard = rng.choice(("full", "full", "goatee"))
        parts["beard"] = "yes"
    if adult:
        height = rng.uniform(0.95, 1.07) if male else rng.uniform(0.87, 0.98)
    else:
        height = rng.uniform(0.56, 0.72)
    build = rng.choice((0.88, 1.0, 1.0, 1.12, 1.28)) * rng.uniform(0.96, 1.04)
    shoe = shade_of(rng.choice(("black", "brown", "grey", "white", "red", "blue")), style, rng)
    accent = (244, 244, 240) if colour not in ("white", "yellow") else tone(top, 0.72)
    if colour == "white":
        accent = rng.choice(((120, 130, 150), (150, 120, 120), (90, 90, 95)))
    return Look(
        category=category,
        colour=colour,
        parts=parts,
        height=height,
        build=build,
        head=(rng.uniform(0.138, 0.152) if adult else rng.uniform(0.195, 0.22)) * style.head,
        skin=skin,
        hair=hair_shade(hair_name, style, rng),
        hair_style=hair_style,
        top=top,
        bottom=bottom,
        shoe=shoe,
        dress=dress,
        skirt=skirt,
        hem=rng.uniform(0.42, 0.8) if dress or skirt else 0.0,
        trousers="shorts" if rng.random() < (0.2 if adult else 0.5) else "long",
        sleeves=rng.choice((0.45, 0.45, 0.95, 0.95, 0.12))
        if not male
        else rng.choice((0.45, 0.45, 0.95, 0.95)),
        pattern=rng.choice(("", "", "", "", "", "stripes", "dots", "buttons", "band", "jacket"))
        if not dress
        else rng.choice(("", "", "", "dots", "belt", "stripes")),
        accent=accent,
        hat=hat,
        hat_colour=hat_colour,
        bag=bag,
        bag_colour=bag_colour,
        glasses=glasses,
        beard=beard,
        face=style.face if style.body == "full" or rng.random() < 0.5 else "none",
        smile=rng.uniform(-0.1, 1.0),
        jaw=rng.uniform(0.9, 1.1) * (1.06 if male else 0.97),
        body=style.body,
    )
