"""Hits made ready to be shown: where the photo is, and its mask, rendered only now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
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


def show(
    engine: Engine,
    decisions: Iterable[Decision],
    fingerprints: Mapping[str, str],
    *,
    first_rank: int = 0,
    masks: bool = True,
) -> list[ShownHit]:
    """Look up the photos of some decisions and find where in them the referent is.

    Photos that are not in the catalog any more are left out.

    Args:
        fingerprints: of the run, as it keeps them.
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
        mask = None
        if masks and decision.accepted:
            if photo.album_id not in views:
                views[photo.album_id] = engine.view(photo.album_id)
            with suppress(NotIndexed):
                mask = _rendered(views[photo.album_id], photo, decision, fingerprints)
        shown.append(
            ShownHit(
                rank=rank,
                photo=photo,
                confidence=decision.confidence,
                accepted=decision.accepted,
                box=None if mask is None else mask.box,
                area=None if mask is None else mask.area,
                vanished=photo.vanished,
                mask=mask,
            )
        )
    return shown


def render(
    engine: Engine, photo: PhotoInfo, decision: Decision, fingerprints: Mapping[str, str]
) -> Mask:
    """The mask of a decision at the photo's upright size; a rejected photo's is empty.

    Raises:
        NotIndexed: the photo's features are gone or come from another model by now.
    """
    return _rendered(engine.view(photo.album_id), photo, decision, fingerprints)


def _rendered(
    view: View | None, photo: PhotoInfo, decision: Decision, fingerprints: Mapping[str, str]
) -> Mask:
    """As `render`, with the album's view."""
    if (logits := mask_logits(decision)) is not None and photo.width and photo.height:
        if not decision.accepted:
            return empty(photo.width, photo.height, logits.shape)
        return from_logits(torch.from_numpy(logits), photo.width, photo.height)
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
    return view.predictor.render(
        view.snapshot.gather("masks", rows)[0],
        decision.judgement(),
        photo.width,
        photo.height,
        accepted=decision.accepted,
    )


def polygons(mask: Mask, scale: float) -> list[list[float]]:
    """The mask's borders as x, y, x, y ... in the photo's pixels; fill them by even-odd.

    Args:
        scale: how many of the photo's pixels one of the mask's is wide.
    """
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
    array = render(engine, photo, decision, fingerprints).within(max(image.size)).array
    if array.shape != (image.height, image.width):
        same_size = Image.fromarray(array).resize(image.size, Image.Resampling.NEAREST)
        array = np.asarray(same_size)
    return draw_mask(image, array)
