"""From a predicted mask to a clean cut-out: trimap, alpha, the thing's own colours.

Alpha is solved on a copy of the match's surroundings in which the unknown band has a bounded number
of pixels, and carried up to the photo's own resolution by a guided filter, strip by strip: what a
cut-out takes does not grow with the photo, nor memory beyond the photo itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.matting import closed_form, foreground
from model.matting.trimap import FOREGROUND, UNKNOWN, make_trimap

Box = tuple[int, int, int, int]
Floats = NDArray[np.float32]

SOLVE_SIDE_PX = 640
# A band is as wide as the mask is unsure: more pixels of it tell the solver no more, and the filter
# carries edges up better than a system of many unknowns settles them (benchmarks.matting).
UNKNOWN_MAX = 20_000
MARGIN = 0.3  # of the mask's box: room for the band and for colours of the background
STRIP_ROWS = 256
_GUIDE_RADIUS = 2
_GUIDE_EPSILON = 1e-4


@dataclass(frozen=True)
class Matte:
    """What belongs to the referents, softly.

    Attributes:
        alpha: (h, w) uint8, 255 where the pixel is the thing's alone.
        colours: (h, w, 3) uint8, its own colours, also under its soft edge.
        box: x, y, w, h of these arrays in the photo; beyond it alpha is 0.
    """

    alpha: NDArray[np.uint8]
    colours: NDArray[np.uint8]
    box: Box


def matte(
    photo: Image.Image,
    probability: Floats,
    *,
    region: Box | None = None,
    solve_side_px: int = SOLVE_SIDE_PX,
) -> Matte | None:
    """Cut the referents out of a photo.

    Args:
        photo: mode RGB, upright.
        probability: (h, w) mask probability of the whole photo, or of `region`.
        region: x, y, w, h in the photo that `probability` covers.
        solve_side_px: alpha is solved on at most this many pixels a side, and on fewer where more
            than some `UNKNOWN_MAX` of them would be unknown.
    Returns:
        None where the mask is empty.
    """
    region = region or (0, 0, photo.width, photo.height)
    box = surroundings(probability, region, photo.size)
    if box is None:
        return None
    x, y, width, height = box
    prior, trimap = solved_on(probability, region, box, solve_side_px)
    area = (x, y, x + width, y + height)
    size = trimap.shape[1], trimap.shape[0]
    small = photo.resize(size, Image.Resampling.BOX, box=area, reducing_gap=2.0)
    image: Floats = np.asarray(np.asarray(small, np.float32) / 255, np.float32)
    if not (trimap == FOREGROUND).any():
        return None
    alpha = closed_form.solve(image, trimap, prior)
    near, behind = foreground.estimate(image, alpha)
    return _full_size(photo, box, image, trimap, alpha, near, behind)


def solved_on(
    probability: Floats, region: Box, box: Box, side_px: int
) -> tuple[Floats, NDArray[np.uint8]]:
    """What alpha is solved from, at the size that it is solved at.

    Args:
        probability, region, box: as in `resampled`.
        side_px: the most pixels of a side.
    Returns:
        probability and trimap of the box, (h, w) each.
    """
    scale = min(1.0, side_px / max(box[2:]))
    while True:
        size = max(3, round(box[2] * scale)), max(3, round(box[3] * scale))
        prior = resampled(probability, region, box, size)
        trimap = make_trimap(prior, region[2] / probability.shape[1] * size[0] / box[2])
        unknown = np.count_nonzero(trimap == UNKNOWN)
        if unknown <= 1.05 * UNKNOWN_MAX:
            return prior, trimap
        scale *= (UNKNOWN_MAX / unknown) ** 0.5


def surroundings(probability: Floats, region: Box, photo: tuple[int, int]) -> Box | None:
    """The box of a mask with room for its soft edge, in pixels of the photo; None if empty."""
    mask = probability >= 0.5
    if not mask.any():
        return None
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    across, down = region[2] / mask.shape[1], region[3] / mask.shape[0]
    left, right = region[0] + columns[0] * across, region[0] + (columns[-1] + 1) * across
    top, bottom = region[1] + rows[0] * down, region[1] + (rows[-1] + 1) * down
    room = MARGIN * max(right - left, bottom - top) + 2 * max(across, down)
    x, y = max(0, int(left - room)), max(0, int(top - room))
    return (
        x,
        y,
        max(3, min(photo[0], int(right + room) + 1) - x),
        max(3, min(photo[1], int(bottom + room) + 1) - y),
    )


def resampled(probability: Floats, region: Box, box: Box, size: tuple[int, int]) -> Floats:
    """The part of a coarse map that a box covers, at another size.

    Args:
        probability: (h, w) over `region`; beyond it is 0.
        region, box: x, y, w, h in the photo.
        size: w, h of what is returned.
    """
    across, down = probability.shape[1] / region[2], probability.shape[0] / region[3]
    columns = (np.arange(size[0]) + 0.5) * box[2] / size[0] + box[0] - region[0]
    rows = (np.arange(size[1]) + 0.5) * box[3] / size[1] + box[1] - region[1]
    at = np.meshgrid(columns * across - 0.5, rows * down - 0.5)
    # Logits, as masks are scaled elsewhere: the 0.5 line stays where it is.
    sure = np.clip(probability, 1e-4, 1 - 1e-4)
    logits = np.log(sure / (1 - sure))
    moved = cv2.remap(
        logits.astype(np.float32),
        at[0].astype(np.float32),
        at[1].astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    out = 1 / (1 + np.exp(-moved))
    out[(rows < 0) | (rows >= region[3])] = 0
    out[:, (columns < 0) | (columns >= region[2])] = 0
    return np.asarray(out, np.float32)


def _full_size(
    photo: Image.Image,
    box: Box,
    image: Floats,
    trimap: NDArray[np.uint8],
    alpha: Floats,
    near: Floats,
    behind: Floats,
) -> Matte:
    """Carry a small solution up to the photo's resolution, strip by strip."""
    x, y, width, height = box
    exact = (width, height) == (image.shape[1], image.shape[0])
    lines = np.empty((0, 0, 0), np.float32) if exact else _lines(image, alpha)
    out = np.empty((height, width), np.uint8)
    colours = np.empty((height, width, 3), np.uint8)
    across = _axis(width, image.shape[1])
    nearest = _nearest(across, image.shape[1])
    for top in range(0, height, STRIP_ROWS):
        bottom = min(height, top + STRIP_ROWS)
        pixels = np.asarray(photo.crop((x, y + top, x + width, y + bottom)))
        down = _axis(height, image.shape[0])[top:bottom]
        sure = trimap[_nearest(down, image.shape[0])].take(nearest, axis=1)
        out[top:bottom] = np.where(sure == FOREGROUND, np.uint8(255), np.uint8(0))
        # Beyond the band a pixel is the photo's own or nothing: only the band is computed.
        band = np.nonzero(sure == UNKNOWN)
        fine: Floats = np.asarray(pixels[band].astype(np.float32) / 255, np.float32)  # (n, 3)
        at = across[band[1]], down[band[0]]
        if exact:
            soft = alpha[top:bottom][band]
        else:
            line = _at(lines, *at)
            soft = np.clip((line[:, :3] * fine).sum(1) + line[:, 3], 0, 1)
        own = foreground.corrected(fine, soft, _at(near, *at), _at(behind, *at))
        out[top:bottom][band] = np.round(soft * 255)
        colours[top:bottom] = cv2.copyTo(pixels, np.asarray(out[top:bottom] == 255, np.uint8))
        partly = np.round(soft * 255) < 255
        rows, columns = band[0][partly], band[1][partly]
        colours[top:bottom][rows, columns] = np.round(own[partly] * 255)
    return Matte(out, colours, box)


def _axis(length: int, cells: int) -> Floats:
    """Where the pixels of a long side lie on the small one."""
    return ((np.arange(length, dtype=np.float32) + 0.5) * (cells / length) - 0.5).astype(np.float32)


def _nearest(places: Floats, cells: int) -> NDArray[np.intp]:
    """The small side's pixels nearest to some places on it."""
    return np.clip(np.rint(places), 0, cells - 1).astype(np.intp)


def _at(values: NDArray, across: Floats, down: Floats) -> NDArray:
    """Sample a small array (h, w) or (h, w, c) at n places, linearly: (n,) or (n, c)."""
    count, width = len(across), 4096  # OpenCV takes no side of more than 32,766 pixels
    room = width - count % width  # nor an empty one
    columns, rows = (np.pad(axis, (0, room)).reshape(-1, width) for axis in (across, down))
    found = cv2.remap(values, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found).reshape(-1, *values.shape[2:])[:count]


def _lines(image: Floats, alpha: Floats) -> Floats:
    """Alpha as a line through the colours near each pixel: (h, w, 4), weights of R, G, B and 1.

    Source: He, Sun, Tang, Guided Image Filtering, TPAMI 2013, equations 19 to 21.
    """
    size = (2 * _GUIDE_RADIUS + 1,) * 2
    mean, level = cv2.blur(image, size), cv2.blur(alpha, size)
    together = cv2.blur(image * alpha[..., None], size) - mean * level[..., None]
    spread = np.empty((*alpha.shape, 3, 3), np.float32)
    for a in range(3):
        for b in range(a, 3):
            product = cv2.blur(image[..., a] * image[..., b], size) - mean[..., a] * mean[..., b]
            spread[..., a, b] = spread[..., b, a] = product
    spread += np.eye(3, dtype=np.float32) * _GUIDE_EPSILON
    slope = np.linalg.solve(spread, together[..., None])[..., 0]
    offset = level - (slope * mean).sum(2)
    return np.asarray(cv2.blur(np.dstack([slope, offset]).astype(np.float32), size))
