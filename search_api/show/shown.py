"""Hits made ready to be shown: where the photo is, and its mask, rendered only now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from indexer.photos.decode import limits_of
from indexer.photos.picture import decode_thumbnail, decode_upright, read_file
from indexer.settings import Settings
from model.errors import PhotoError
from model.masks import Mask, empty, from_logits
from search_api.errors import NotIndexed
from search_api.search.decisions import Decision, mask_logits
from search_api.search.engine import Engine, View
from search_api.search.fingerprints import masks_of
from search_api.search.photos import PhotoInfo, by_id, checked_file
from search_api.show.overlay import draw_mask, outlines

Box = tuple[int, int, int, int]
# Lists of hits render masks at most this large: boxes are then exact to a thousandth of the side.
LIST_SIDE_PX = 1024


@dataclass(frozen=True)
class ShownHit:
    """A hit as lists show it.

    ``box`` (x, y, width, height) and ``area`` count pixels of the upright photo. They are None for
    a rejected photo and when the features are gone; ``vanished`` means that the file is gone.
    """

    rank: int
    photo: PhotoInfo
    confidence: float
    accepted: bool
    box: Box | None
    area: int | None
    vanished: bool
    mask: Mask | None = None
    """As rendered; at the photo's own size only where ``max_side_px`` was None."""


def show(
    engine: Engine,
    decisions: Iterable[Decision],
    fingerprints: Mapping[str, str],
    *,
    first_rank: int = 0,
    max_side_px: int | None = LIST_SIDE_PX,
    masks: bool = True,
) -> list[ShownHit]:
    """Look up the photos of some decisions and find where in them the referent is.

    Photos that are not in the catalog any more are left out.

    Args:
        fingerprints: of the run, as it keeps them.
        max_side_px: render masks at most this large; None renders them at the photo's size.
        masks: False leaves them and the boxes out.
    """
    wanted = list(decisions)
    photos = by_id(engine.catalog, (decision.photo_id for decision in wanted))
    views: dict[int, View | None] = {}  # one look at each album, not one a hit
    shown = []
    for rank, decision in enumerate(wanted, first_rank):
        photo = photos.get(decision.photo_id)
        if photo is None:
            continue
        box, area, mask = None, None, None
        if masks and decision.accepted:
            try:
                if photo.album_id not in views:
                    views[photo.album_id] = engine.view(photo.album_id)
                view = views[photo.album_id]
                mask, scale = _rendered(view, photo, decision, fingerprints, max_side_px)
            except NotIndexed:
                pass
            else:
                box, area = full_size_box(mask, scale, photo), round(mask.area * scale * scale)
        shown.append(
            ShownHit(
                rank=rank,
                photo=photo,
                confidence=decision.confidence,
                accepted=decision.accepted,
                box=box,
                area=area,
                vanished=photo.vanished,
                mask=mask,
            )
        )
    return shown


def render(
    engine: Engine,
    photo: PhotoInfo,
    decision: Decision,
    fingerprints: Mapping[str, str],
    max_side_px: int | None = None,
) -> tuple[Mask, float]:
    """The mask of a decision, at the photo's upright size or shrunk to ``max_side_px``.

    A rejected photo's mask is empty.

    Returns:
        the mask; how many of the photo's pixels one of its pixels is wide.
    Raises:
        NotIndexed: the photo's features are gone or come from another model by now.
    """
    view = engine.view(photo.album_id)
    return _rendered(view, photo, decision, fingerprints, max_side_px)


def _rendered(
    view: View | None,
    photo: PhotoInfo,
    decision: Decision,
    fingerprints: Mapping[str, str],
    max_side_px: int | None,
) -> tuple[Mask, float]:
    """As `render`, with the album's view."""
    if (logits := mask_logits(decision)) is not None and photo.width and photo.height:
        scale = max(1.0, max(photo.width, photo.height) / max_side_px) if max_side_px else 1.0
        size = max(1, round(photo.width / scale)), max(1, round(photo.height / scale))
        if not decision.accepted:
            return empty(*size, logits.shape), scale
        return from_logits(torch.from_numpy(logits), *size), scale
    rows = view.rows_of(np.array([photo.id])) if view is not None else ()
    if view is None or not len(rows) or not photo.width or not photo.height:
        raise NotIndexed(
            f"Photo {photo.id} has no features any more; index its album again.", field="photo_id"
        )
    if view.predictor.fingerprints["masks"] != masks_of(fingerprints, photo.album_id):
        raise NotIndexed(
            "The album was indexed with another model since this search; search again.",
            field="run_id",
        )
    width, height = photo.width, photo.height
    scale = max(1.0, max(width, height) / max_side_px) if max_side_px else 1.0
    mask = view.predictor.render(
        view.snapshot.gather("masks", rows)[0],
        decision.judgement(),
        max(1, round(width / scale)),
        max(1, round(height / scale)),
        accepted=decision.accepted,
    )
    return mask, scale


def full_size_box(mask: Mask, scale: float, photo: PhotoInfo) -> Box | None:
    """The box of a shrunk mask in pixels of the photo."""
    if mask.box is None or scale == 1.0:
        return mask.box
    assert photo.width and photo.height
    x, y, width, height = (round(v * scale) for v in mask.box)
    x, y = min(x, photo.width - 1), min(y, photo.height - 1)
    return x, y, max(1, min(width, photo.width - x)), max(1, min(height, photo.height - y))


def polygons(mask: Mask, scale: float) -> list[list[float]]:
    """The mask's borders as x, y, x, y ... in the photo's pixels; fill them by even-odd."""
    return [
        [round(float(v) * scale, 1) for v in border.reshape(-1)] for border in outlines(mask.array)
    ]


def picture(settings: Settings, photo: PhotoInfo, side_px: int | None = None) -> Image.Image:
    """The photo's pixels, upright RGB, whole or with its longer side at most ``side_px``.

    Raises:
        PhotoVanished, PhotoRefused, PhotoUnreadable: without the file's path on the server.
    """
    limits = limits_of(settings)
    try:
        data = read_file(str(checked_file(photo)), limits)
        if side_px is None:
            return decode_upright(data, limits)
        return decode_thumbnail(data, side_px, limits)
    except PhotoError as error:
        raise type(error)(f"Photo {photo.id} ({photo.path}) {error}.") from error


def overlay(
    engine: Engine,
    photo: PhotoInfo,
    decision: Decision,
    fingerprints: Mapping[str, str],
    side_px: int,
) -> Image.Image:
    """The photo with its mask drawn on it, its longer side at most ``side_px``."""
    image = picture(engine.settings, photo, side_px)
    mask, _ = render(engine, photo, decision, fingerprints, max(image.size))
    array = mask.array
    if array.shape != (image.height, image.width):
        same_size = Image.fromarray(array).resize(image.size, Image.Resampling.NEAREST)
        array = np.asarray(same_size)
    return draw_mask(image, array)
