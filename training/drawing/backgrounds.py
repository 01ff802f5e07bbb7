"""Drawing settings: what lies behind the instances.

Nothing here looks like a category: no people, animals, vehicles, furniture to sit on, lamps, pots,
boats or kites, so that "no target" stays true for what a scene does not hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from training.drawing.indoors import draw_indoors, draw_studio
from training.drawing.outdoors import draw_outdoors
from training.drawing.shapes import Colour, Drawing, Sketch, mix, tone
from training.drawing.style import Style

OUTDOOR = ("park", "beach", "street", "field", "snow", "lake", "garden", "square", "desert")
INDOOR = ("room", "kitchen", "office", "gallery")
STUDIO = ("plain", "gradient", "pattern")


@dataclass(frozen=True, slots=True)
class Backdrop:
    """A setting.

    Attributes:
        setting: its name.
        horizon: where the ground ends, scene y; 0 for studios.
        stops: (y, colour) of the vertical gradient under everything.
        drawing: what is drawn on it.
    """

    setting: str
    horizon: float
    stops: tuple[tuple[float, Colour], ...]
    drawing: Drawing


def draw_backdrop(
    setting: str,
    aspect: float,
    horizon: float,
    style: Style,
    rng: Random,
    shades: Sequence[Colour] = (),
) -> Backdrop:
    """Draw a setting.

    Args:
        setting: one of OUTDOOR, INDOOR, STUDIO.
        aspect: width of the photo in scene units.
        horizon: where the ground ends, scene y.
        shades: of what will stand before it; studios keep apart from them.
    """
    s = Sketch(0, 0, 1)
    if setting in OUTDOOR:
        stops = draw_outdoors(setting, s, aspect, horizon, rng)
    elif setting in INDOOR:
        stops = draw_indoors(setting, s, aspect, horizon, rng)
    else:
        stops = draw_studio(setting, s, aspect, rng, shades)
        horizon = 0.0
    if style.palette == "pastel":
        stops = [(y, tone(c, 1.2)) for y, c in stops]
    elif style.palette == "muted":
        stops = [(y, mix(c, (128, 128, 128), 0.2)) for y, c in stops]
    return Backdrop(setting, horizon, tuple(stops), s.finish())
