"""How a scene looks: line, fill, palette, light and camera, chosen once a scene.

The network is also tried on albums that another renderer drew, so the looks differ widely, but a
named colour stays that colour: shades are drawn from bands of hue, saturation and value that do
not touch, and light changes brightness more than hue.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from random import Random

from training.drawing.shapes import Colour

# Named colour: hue in degrees, saturation, value, each (low, high).
_BANDS: dict[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    "red": ((-7, 6), (0.72, 0.96), (0.66, 0.95)),
    "orange": ((21, 33), (0.80, 1.0), (0.90, 1.0)),
    "yellow": ((48, 58), (0.58, 1.0), (0.90, 1.0)),
    "green": ((92, 152), (0.42, 0.88), (0.36, 0.78)),
    "blue": ((206, 236), (0.55, 0.95), (0.45, 0.98)),
    "purple": ((264, 286), (0.45, 0.82), (0.40, 0.78)),
    "pink": ((322, 342), (0.30, 0.56), (0.92, 1.0)),
    "brown": ((16, 29), (0.50, 0.78), (0.28, 0.48)),
    "black": ((0, 360), (0.0, 0.22), (0.05, 0.15)),
    "white": ((0, 360), (0.0, 0.04), (0.94, 1.0)),
    "grey": ((0, 360), (0.0, 0.06), (0.38, 0.58)),
}
_HAIR: dict[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    "black": ((0, 360), (0.0, 0.25), (0.07, 0.15)),
    "brown": ((18, 28), (0.50, 0.72), (0.26, 0.42)),
    "blond": ((40, 49), (0.42, 0.66), (0.86, 0.97)),
    "red": ((10, 19), (0.72, 0.90), (0.66, 0.82)),
    "grey": ((0, 360), (0.0, 0.06), (0.60, 0.80)),
}
_SKIN = (
    (255, 224, 196),
    (246, 207, 172),
    (232, 184, 146),
    (207, 153, 112),
    (165, 112, 76),
    (126, 82, 54),
    (94, 60, 42),
)

# Where in the saturation and value bands each palette lies.
_PALETTES = {
    "plain": ((0.0, 1.0), (0.0, 1.0)),
    "saturated": ((0.65, 1.0), (0.45, 1.0)),
    "pastel": ((0.0, 0.35), (0.70, 1.0)),
    "muted": ((0.0, 0.35), (0.0, 0.45)),
}


@dataclass(frozen=True, slots=True)
class Style:
    """A scene's look.

    Attributes:
        palette: a key of the palettes.
        outline: "none", "dark", "own" (a darker shade of the fill) or "rim" (round the silhouette).
        outline_colour: of "dark" and "rim".
        line_width: of outlines, fraction of the photo's height.
        fill: "flat", "ramp", "soft" or "cel".
        light: direction that the light comes from, x and y, y down.
        light_strength: how much fills vary, 0 to 1.
        tint: factors of red, green and blue for the whole photo.
        brightness: factor for the whole photo.
        contrast: about mid grey.
        shadow: darkness of ground shadows, 0 to 1.
        shadow_lean: how far they reach to the side.
        texture: "", "paper", "canvas", "crayon" or "hatch".
        texture_strength: 0 to 1.
        noise: standard deviation, in levels.
        vignette: darkening of the corners, 0 to 1.
        depth_blur: blur of what lies behind the focus, fraction of the height.
        motion_blur: length, fraction of the height; 0 for none.
        motion_angle: its direction in radians.
        jpeg: quality of one pass of compression, 0 for none.
        head: factor of head sizes.
        slim: factor of body widths.
        face: "dots", "round", "line" or "none".
        wobble: hand-drawn shake of points, fraction of the height.
        body: how people are built: "full", "simple" or "block".
        icons: animals and things are drawn plainly.
        oversampling: how many times larger small photos are drawn before they are shrunk.
    """

    palette: str
    outline: str
    outline_colour: Colour
    line_width: float
    fill: str
    light: tuple[float, float]
    light_strength: float
    tint: tuple[float, float, float]
    brightness: float
    contrast: float
    shadow: float
    shadow_lean: float
    texture: str
    texture_strength: float
    noise: float
    vignette: float
    depth_blur: float
    motion_blur: float
    motion_angle: float
    jpeg: int
    head: float
    slim: float
    face: str
    wobble: float
    body: str
    icons: bool
    oversampling: int


def sample_style(rng: Random) -> Style:
    """A look at random; one in three photos carries no camera effect at all."""
    clean = rng.random() < 0.34
    evening = rng.random() < 0.14
    warm = rng.uniform(-1, 1) * (0.055 if evening else 0.035)
    texture = "" if rng.random() < 0.68 else rng.choice(("paper", "canvas", "crayon", "hatch"))
    side = rng.choice((-1, 1)) * rng.uniform(0.3, 1.0)
    outline = rng.choices(("none", "dark", "own", "rim"), (0.42, 0.24, 0.22, 0.12))[0]
    ink = rng.randint(5, 60)
    body = rng.choices(("full", "simple", "block"), (0.68, 0.2, 0.12))[0]
    return Style(
        palette=rng.choices(tuple(_PALETTES), (0.4, 0.25, 0.18, 0.17))[0],
        outline=outline,
        outline_colour=(ink, int(ink * rng.uniform(0.6, 1.0)), int(ink * rng.uniform(0.7, 1.3))),
        line_width=rng.uniform(0.0018, 0.0055),
        fill=rng.choices(("flat", "ramp", "soft", "cel"), (0.32, 0.25, 0.25, 0.18))[0],
        light=(side, -rng.uniform(0.4, 1.0)),
        light_strength=rng.uniform(0.3, 1.0),
        tint=(1 + warm, 1 + warm * 0.2, 1 - warm),
        brightness=rng.uniform(0.74, 0.87) if evening else rng.uniform(0.95, 1.08),
        contrast=rng.uniform(0.9, 1.1),
        shadow=rng.choice((0.0, rng.uniform(0.12, 0.4), rng.uniform(0.12, 0.4))),
        shadow_lean=-side * rng.uniform(0.0, 0.9),
        texture=texture,
        texture_strength=rng.uniform(0.3, 1.0),
        noise=0.0 if clean else rng.choice((0.0, rng.uniform(1, 5), rng.uniform(2, 12))),
        vignette=0.0 if clean or rng.random() < 0.6 else rng.uniform(0.1, 0.4),
        depth_blur=0.0 if clean or rng.random() < 0.7 else rng.uniform(0.003, 0.008),
        motion_blur=0.0 if clean or rng.random() < 0.88 else rng.uniform(0.006, 0.018),
        motion_angle=rng.uniform(0, 3.14159),
        jpeg=0 if clean or rng.random() < 0.75 else rng.randint(25, 75),
        head=rng.uniform(0.95, 1.4),
        slim=rng.uniform(0.85, 1.2),
        face=rng.choices(("dots", "round", "line", "none"), (0.45, 0.3, 0.15, 0.1))[0],
        wobble=rng.uniform(0.0006, 0.0016) if rng.random() < 0.15 else 0.0,
        body=body,
        icons=rng.random() < (0.12 if body == "full" else 0.6),
        oversampling=rng.choices((1, 2, 3), (0.5, 0.4, 0.1))[0],
    )


def _from_band(
    band: tuple[tuple[float, float], tuple[float, float], tuple[float, float]],
    palette: str,
    rng: Random,
) -> Colour:
    (h0, h1), (s0, s1), (v0, v1) = band
    (ps0, ps1), (pv0, pv1) = _PALETTES[palette]
    s = s0 + (s1 - s0) * rng.uniform(ps0, ps1)
    v = v0 + (v1 - v0) * rng.uniform(pv0, pv1)
    r, g, b = colorsys.hsv_to_rgb((rng.uniform(h0, h1) / 360) % 1, s, v)
    return (int(r * 255), int(g * 255), int(b * 255))


def shade_of(name: str, style: Style, rng: Random) -> Colour:
    """A shade of a named colour that suits the scene's palette."""
    return _from_band(_BANDS[name], style.palette, rng)


def hair_shade(name: str, style: Style, rng: Random) -> Colour:
    """A shade of a named hair colour."""
    return _from_band(_HAIR[name], style.palette, rng)


def skin_shade(rng: Random) -> Colour:
    """A skin tone, light to dark."""
    r, g, b = rng.choice(_SKIN)
    k = rng.uniform(0.94, 1.04)
    return (min(255, int(r * k)), min(255, int(g * k)), min(255, int(b * k)))
