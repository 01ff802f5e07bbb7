"""From a plan (drawings in painter's order) to pixels and ids, at any size.

Shapes: H, W are the asked height and width; the plan's scene units are scaled to them apart for
x and y, so another aspect ratio than the plan's own stretches the photo and changes no fraction.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from training.drawing.backgrounds import Backdrop
from training.drawing.shapes import BODY, EDGE, Colour, Drawing, tone
from training.drawing.style import Style

cv2.setNumThreads(1)

Image = NDArray[np.uint8]
Ids = NDArray[np.uint8]

_SHIFT = 4  # fractional bits of pixel coordinates
MEASURE = 256  # side of the square that boxes, areas and visible fractions are measured on
SMALL_PX = 480  # photos of at most this side may be drawn larger first
_MARGIN = 64  # around it: what lies outside the photo counts as not visible


@dataclass(frozen=True, slots=True)
class Layer:
    """One drawing of one instance; several layers may carry the same id."""

    id: int
    drawing: Drawing


@dataclass(frozen=True, slots=True)
class Plan:
    """A scene before it has pixels.

    Attributes:
        aspect: width over height that the scene is laid out for.
        backdrop: the setting.
        layers: painter's order.
        blurred: how many of the first layers are out of focus with the backdrop.
        shadows: (x, y, rx, ry) ellipses on the ground, scene units.
        style: the look.
        seed: of noise and textures.
    """

    aspect: float
    backdrop: Backdrop
    layers: tuple[Layer, ...]
    blurred: int
    shadows: tuple[tuple[float, float, float, float], ...]
    style: Style
    seed: int


@dataclass(frozen=True, slots=True)
class Measured:
    """What can be seen of one instance: see `training.scene.Instance`."""

    box: tuple[float, float, float, float]
    centre: tuple[float, float]
    area: float
    visible: float


def _to_pixels(
    drawing: Drawing, sx: float, sy: float, ox: float = 0.0, oy: float = 0.0
) -> NDArray[np.int32]:
    points = drawing.points * (sx, sy)
    points += (ox - 0.5, oy - 0.5)
    points *= 1 << _SHIFT
    return np.rint(points).astype(np.int32)


def _bounds(
    points: NDArray[np.int32], pad: int, width: int, height: int
) -> tuple[int, int, int, int] | None:
    low = points.min(axis=0) >> _SHIFT
    high = points.max(axis=0) >> _SHIFT
    x0, y0 = max(int(low[0]) - pad, 0), max(int(low[1]) - pad, 0)
    x1, y1 = min(int(high[0]) + pad + 2, width), min(int(high[1]) + pad + 2, height)
    return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None


def _thickness(style: Style, height: int) -> int:
    return max(1, round(style.line_width * height))


def _stamp(
    mask: NDArray[np.uint8], drawing: Drawing, points: NDArray[np.int32], style: Style, height: int
) -> None:
    """Draw the silhouette of a drawing's body, value 1, hard edges, outlines included."""
    wide = _thickness(style, height) if style.outline != "none" else 0
    if style.outline == "rim":
        wide *= 2
    start = 0
    for end, flags in zip(drawing.ends, drawing.flags, strict=True):
        if flags & BODY:
            cv2.fillPoly(mask, [points[start:end]], 1, cv2.LINE_8, _SHIFT)
            if wide > 1 and flags & EDGE:
                cv2.polylines(mask, [points[start:end]], True, 1, wide, cv2.LINE_8, _SHIFT)
        start = end


def _paint(image: Image, drawing: Drawing, points: NDArray[np.int32], style: Style) -> None:
    """Draw a drawing's colours with smooth edges."""
    height = image.shape[0]
    wide = _thickness(style, height)
    outline = style.outline
    if outline == "rim":
        start = 0
        for end, flags in zip(drawing.ends, drawing.flags, strict=True):
            if flags & EDGE and flags & BODY:
                cv2.polylines(
                    image, [points[start:end]], True, style.outline_colour, wide * 2,
                    cv2.LINE_AA, _SHIFT,
                )  # fmt: skip
            start = end
    start = 0
    for end, flags, colour in zip(drawing.ends, drawing.flags, drawing.colours, strict=True):
        part = [points[start:end]]
        cv2.fillPoly(image, part, colour, cv2.LINE_AA, _SHIFT)
        if flags & EDGE and outline in ("dark", "own"):
            ink: Colour = style.outline_colour if outline == "dark" else tone(colour, 0.6)
            cv2.polylines(image, part, True, ink, wide, cv2.LINE_AA, _SHIFT)
        start = end


def _shift(mask: NDArray[np.float32], dx: int, dy: int) -> NDArray[np.float32]:
    matrix = np.array([[1, 0, dx], [0, 1, dy]], dtype=np.float32)
    return np.asarray(
        cv2.warpAffine(mask, matrix, (mask.shape[1], mask.shape[0]), flags=cv2.INTER_NEAREST),
        dtype=np.float32,
    )


def _light(roi: Image, mask: NDArray[np.uint8], style: Style) -> None:
    """Brighten the side of a silhouette that faces the light and darken the other, in place."""
    h, w = mask.shape
    lx, ly = style.light
    norm = math.hypot(lx, ly)
    lx, ly = lx / norm, ly / norm
    strength = style.light_strength
    factor: NDArray[np.floating]
    if style.fill == "ramp":
        xs = np.linspace(-1, 1, w, dtype=np.float32) * lx
        ys = np.linspace(-1, 1, h, dtype=np.float32) * ly
        factor = np.float32(1) + np.float32(0.2 * strength) * (ys[:, None] + xs[None, :])
    elif style.fill == "soft":
        size = max(2, int(0.07 * math.sqrt(h * w)))
        soft = np.asarray(cv2.blur(mask.astype(np.float32), (size, size)), dtype=np.float32)
        dx, dy = round(lx * size * 0.6), round(ly * size * 0.6)
        factor = 1.0 + 0.36 * strength * (_shift(soft, dx, dy) - _shift(soft, -dx, -dy))
    else:
        reach = 0.05 * math.sqrt(h * w)
        moved = _shift(mask.astype(np.float32), round(lx * reach), round(ly * reach))
        factor = 1.0 - (0.1 + 0.16 * strength) * (1 - moved)
    factor = np.where(mask > 0, factor, 1.0).astype(np.float32)
    np.clip(roi * factor[:, :, None], 0, 255, out=roi, casting="unsafe")


def _sky_and_ground(backdrop: Backdrop, width: int, height: int) -> Image:
    ys = (np.arange(height) + 0.5) / height
    at = [y for y, _ in backdrop.stops]
    column = np.stack([np.interp(ys, at, [c[k] for _, c in backdrop.stops]) for k in range(3)], 1)
    image = np.empty((height, width, 3), dtype=np.uint8)
    image[:] = np.rint(column)[:, None, :]
    return image


def _shade_ground(image: Image, plan: Plan, sx: float, sy: float) -> None:
    """Soft dark ellipses under what stands on the ground."""
    height, width = image.shape[:2]
    style = plan.style
    if not plan.shadows or style.shadow <= 0:
        return
    for x, y, rx, ry in plan.shadows:
        cx = x + rx * 0.5 * style.shadow_lean
        pad = 0.35
        x0, x1 = int((cx - rx * (1 + pad)) * sx), int((cx + rx * (1 + pad)) * sx) + 1
        y0, y1 = int((y - ry * (1 + pad)) * sy), int((y + ry * (1 + pad)) * sy) + 1
        x0, y0, x1, y1 = max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)
        if x1 <= x0 or y1 <= y0:
            continue
        us = ((np.arange(x0, x1, dtype=np.float32) + 0.5) / sx - cx) / rx
        vs = ((np.arange(y0, y1, dtype=np.float32) + 0.5) / sy - y) / ry
        inside = np.clip(1.6 * (1.25 - us[None, :] ** 2 - vs[:, None] ** 2), 0, 1)
        factor = 1 - style.shadow * inside
        roi = image[y0:y1, x0:x1]
        np.multiply(roi, factor[:, :, None], out=roi, casting="unsafe")


@lru_cache(maxsize=8)
def _grain(kind: str) -> NDArray[np.float32]:
    """A 256 x 256 tile of noise about 0, standard deviation about 1."""
    rng = np.random.default_rng(7)
    white = rng.standard_normal((256, 256)).astype(np.float32)
    if kind == "noise":
        return white
    if kind == "canvas":
        k = np.arange(256, dtype=np.float32)
        weave = np.sin(k * math.pi / 2)[:, None] + np.sin(k * math.pi / 2)[None, :]
        return np.asarray(weave * 0.6 + white * 0.5, dtype=np.float32)
    if kind == "hatch":
        blurred = cv2.warpAffine(
            cv2.blur(np.tile(white, (2, 2)), (33, 1)),
            cv2.getRotationMatrix2D((256, 256), 38, 1), (512, 512), borderMode=cv2.BORDER_WRAP,
        )[128:384, 128:384]  # fmt: skip
    elif kind == "crayon":
        blurred = cv2.GaussianBlur(white, (0, 0), 1.3) + cv2.blur(white, (1, 13)) * 0.8
    else:
        blurred = cv2.GaussianBlur(white, (0, 0), 1.0) + cv2.GaussianBlur(white, (0, 0), 12) * 6
    return np.asarray(blurred / blurred.std(), dtype=np.float32)


def _tiled(kind: str, width: int, height: int, grain: int, dx: int, dy: int) -> NDArray[np.float32]:
    """A tile rolled, magnified by `grain` and repeated over (height, width)."""
    tile = np.roll(_grain(kind), (dy, dx), (0, 1))
    rows, columns = -(-height // grain), -(-width // grain)
    tile = np.tile(tile, (-(-rows // 256), -(-columns // 256)))[:rows, :columns]
    if grain > 1:
        tile = cv2.resize(tile, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(tile[:height, :width], dtype=np.float32)


def _finish(image: Image, plan: Plan) -> Image:
    """Texture, light, blur, noise, vignette and compression of the whole photo."""
    height, width = image.shape[:2]
    style = plan.style
    dx, dy = plan.seed % 251, (plan.seed // 251) % 241
    grain = max(1, round(min(width, height) / 320))
    if style.motion_blur > 0:
        length = max(2, round(style.motion_blur * height))
        kernel = np.zeros((length, length), dtype=np.float32)
        c, s = math.cos(style.motion_angle), math.sin(style.motion_angle)
        for t in np.linspace(-1, 1, 2 * length):
            m = (length - 1) / 2
            kernel[round(m + t * m * s), round(m + t * m * c)] = 1
        image = np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum()), dtype=np.uint8)
    gain = np.array(style.tint, dtype=np.float32) * style.brightness * style.contrast
    offset = 128 * (1 - style.contrast) * style.brightness
    field: NDArray[np.float32] | None = None
    if style.texture:
        field = 1 + 0.03 * style.texture_strength * _tiled(
            style.texture, width, height, grain, dx, dy
        )
    if style.vignette > 0:
        u = np.linspace(-1, 1, width, dtype=np.float32) ** 2
        v = np.linspace(-1, 1, height, dtype=np.float32) ** 2
        corner = 1 - style.vignette * 0.5 * (u[None, :] + v[:, None]) ** 1.5 / 1.4
        field = corner if field is None else field * corner
    if field is None and style.noise <= 0:
        levels = np.arange(256, dtype=np.float32)[:, None] * gain + offset
        table = np.clip(np.rint(levels), 0, 255).astype(np.uint8).reshape(1, 256, 3)
        image = np.asarray(cv2.LUT(image, table), dtype=np.uint8)
    else:
        # Bands of rows keep the float copy of a 12-megapixel photo small.
        noise = (
            _tiled("noise", width, height, max(1, grain // 2), dy, dx) if style.noise > 0 else None
        )
        for y in range(0, height, 512):
            rows = slice(y, min(y + 512, height))
            band = image[rows].astype(np.float32)
            band *= gain
            band += offset
            if field is not None:
                band *= field[rows, :, None]
            if noise is not None:
                band += noise[rows, :, None] * style.noise
            image[rows] = np.clip(band, 0, 255)
    if style.jpeg:
        done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, style.jpeg])
        assert done
        image = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), dtype=np.uint8)
    return image


def render(plan: Plan, width: int, height: int) -> tuple[Image, Ids]:
    """Draw a plan; many small photos are drawn larger and shrunk, as real ones come to be small.

    Returns:
        RGB photo (H, W, 3) and the id of the instance seen at each pixel (H, W), 0 for none.
    """
    times = plan.style.oversampling if max(width, height) <= SMALL_PX else 1
    if times == 1:
        return _draw(plan, width, height)
    image, ids = _draw(plan, width * times, height * times)
    image = np.asarray(
        cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8
    )
    return image, np.ascontiguousarray(ids[times // 2 :: times, times // 2 :: times])


def _draw(plan: Plan, width: int, height: int) -> tuple[Image, Ids]:
    sx, sy = width / plan.aspect, float(height)
    style = plan.style
    image = _sky_and_ground(plan.backdrop, width, height)
    ids = np.zeros((height, width), dtype=np.uint8)
    if plan.backdrop.drawing.ends:
        _paint(image, plan.backdrop.drawing, _to_pixels(plan.backdrop.drawing, sx, sy), style)
    _shade_ground(image, plan, sx, sy)
    blur = style.depth_blur * height
    scratch = np.zeros((height, width), dtype=np.uint8)
    wide = 2 * _thickness(style, height)
    for k, layer in enumerate(plan.layers):
        if blur > 0 and k == plan.blurred:
            image = np.asarray(cv2.GaussianBlur(image, (0, 0), blur), dtype=np.uint8)
        points = _to_pixels(layer.drawing, sx, sy)
        bounds = _bounds(points, wide, width, height)
        if bounds is None:
            continue
        x0, y0, x1, y1 = bounds
        _paint(image, layer.drawing, points, style)
        if layer.id == 0:
            continue
        _stamp(scratch, layer.drawing, points, style, height)
        mask = scratch[y0:y1, x0:x1]
        ids[y0:y1, x0:x1][mask > 0] = layer.id
        if style.fill != "flat":
            _light(image[y0:y1, x0:x1], mask, style)
        mask[:] = 0
    if blur > 0 and plan.blurred >= len(plan.layers):
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), blur), dtype=np.uint8)
    return _finish(image, plan), ids


def measure(plan: Plan) -> tuple[dict[int, Measured], Ids]:
    """What can be seen of each instance, on a fixed square; wholly hidden ones are left out.

    Returns:
        Measures by id, and the ids on that square (MEASURE, MEASURE).
    """
    side = MEASURE + 2 * _MARGIN
    sx, sy = MEASURE / plan.aspect, float(MEASURE)
    ids = np.zeros((side, side), dtype=np.uint8)
    scratch = np.zeros((side, side), dtype=np.uint8)
    alone: dict[int, int] = {}
    several: dict[int, NDArray[np.uint8]] = {}
    counts: dict[int, int] = {}
    for layer in plan.layers:
        counts[layer.id] = counts.get(layer.id, 0) + 1
    for layer in plan.layers:
        if layer.id == 0:
            continue
        points = _to_pixels(layer.drawing, sx, sy, _MARGIN, _MARGIN)
        bounds = _bounds(points, 6, side, side)
        if bounds is None:
            continue
        x0, y0, x1, y1 = bounds
        _stamp(scratch, layer.drawing, points, plan.style, MEASURE)
        mask = scratch[y0:y1, x0:x1]
        cv2.copyTo(np.full_like(mask, layer.id), mask, ids[y0:y1, x0:x1])
        if counts[layer.id] > 1:
            whole = several.setdefault(layer.id, np.zeros((side, side), dtype=np.uint8))
            np.bitwise_or(whole[y0:y1, x0:x1], mask, out=whole[y0:y1, x0:x1])
        else:
            alone[layer.id] = cv2.countNonZero(mask)
        mask[:] = 0
    for key, whole in several.items():
        alone[key] = cv2.countNonZero(whole)
    inner = ids[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN]
    seen: dict[int, Measured] = {}
    for key, total in alone.items():
        mask = cv2.inRange(inner, key, key)
        x, y, w, h = cv2.boundingRect(mask)
        moments = cv2.moments(mask[y : y + h, x : x + w], binaryImage=True)
        area = moments["m00"]
        if area <= 0 or total <= 0:
            continue
        seen[key] = Measured(
            (x / MEASURE, y / MEASURE, (x + w) / MEASURE, (y + h) / MEASURE),
            (
                (x + moments["m10"] / area + 0.5) / MEASURE,
                (y + moments["m01"] / area + 0.5) / MEASURE,
            ),
            area / MEASURE**2,
            min(1.0, area / total),
        )
    return seen, inner
