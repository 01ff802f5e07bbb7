"""Cut-outs of a search run's matches: which, under what names, and how each is written.

Nothing here knows jobs or HTTP.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal

from PIL import Image

from indexer.folders.content import content_hash
from indexer.photos.decode import limits_of
from indexer.photos.picture import decode_upright, read_file
from model.errors import PhotoError, ReferentError
from model.matting.cutout import BackgroundError, Look, draw
from model.matting.matte import matte
from model.replacing import replacing
from model.sharpen import sharpen
from search_api.errors import PhotoVanished, SearchError
from search_api.search.decisions import Decision
from search_api.search.engine import Engine
from search_api.search.photos import PhotoInfo, by_id, checked_file
from search_api.search.runs import Run
from search_api.show.chosen import EVERY, Chosen, matches
from search_api.show.manifest import JOURNAL, MANIFEST, Entry, note, read_entries, writing
from search_api.show.names import name_files
from search_api.show.shown import render

log = logging.getLogger(__name__)


class OutputExists(SearchError):
    """The folder holds the cut-outs of another expression."""


@dataclass(frozen=True)
class Options:
    """How cut-outs are written; plain values, so that a job can carry them."""

    format: Literal["png", "webp"] = "png"
    background: str | None = None
    picture: str | None = None
    """A file of this machine to stand behind; never taken from a client."""
    crop: bool = False
    mask_only: bool = False
    overwrite: bool = False

    def look(self) -> Look:
        """What `model.matting.cutout` draws.

        Raises:
            BackgroundError: the background is no colour and not `blur`, or no picture's file.
        """
        if self.picture is None:
            return Look(self.background, crop=self.crop, mask_only=self.mask_only)
        try:
            with Image.open(self.picture) as opened:
                picture = opened.convert("RGB")
        except (OSError, Image.DecompressionBombError) as error:
            raise BackgroundError(f"{self.picture} cannot be a background: {error}") from error
        return Look(picture=picture, crop=self.crop, mask_only=self.mask_only)


@dataclass(frozen=True)
class Item:
    """A match that is to be cut out."""

    photo: PhotoInfo
    decision: Decision
    file: PurePosixPath
    key: str


def plan(engine: Engine, run: Run, options: Options, chosen: Chosen = EVERY) -> list[Item]:
    """What is to be cut out, best first, each under a name of its own."""
    decisions = list(matches(engine, run, chosen))
    photos = by_id(engine.catalog, [each.photo_id for each in decisions])
    present = [each for each in decisions if each.photo_id in photos]
    names = name_files(
        (photos[each.photo_id] for each in present),
        "png" if options.mask_only else options.format,
        taken=(MANIFEST, JOURNAL),
    )
    return [
        Item(
            photos[each.photo_id],
            each,
            names[each.photo_id],
            _key(run, photos[each.photo_id], options),
        )
        for each in present
    ]


def refuse_other_expression(folder: Path, expression: str, *, shown: Path | None = None) -> None:
    """Keep the cut-outs of two expressions apart: a folder's manifest tells of one.

    Args:
        shown: what a person calls the folder.
    Raises:
        OutputExists: the folder is another expression's.
    """
    for entry in read_entries(folder).values():
        if entry.expression != expression:
            raise OutputExists(
                f"{shown or folder} holds the cut-outs of {entry.expression!r}; choose another "
                "place, or give --overwrite"
            )


def cut_out(
    engine: Engine,
    run: Run,
    item: Item,
    options: Options,
    folder: Path,
    before: Mapping[str, Entry],
) -> Entry:
    """Cut one match out and write it, whole or not at all; the journal tells of it.

    Whatever keeps this one from being made, the others can be.

    Args:
        before: what an earlier run made of each file.
    Returns:
        its line of the manifest; a photo that cannot be cut out is told of there.
    Raises:
        NoSpaceLeft, SearchError: nothing more can be written there.
    """
    entry = _cut_out(engine, run, item, options, folder, before.get(str(item.file)))
    note(folder, entry)
    return entry


def _cut_out(
    engine: Engine, run: Run, item: Item, options: Options, folder: Path, earlier: Entry | None
) -> Entry:
    entry = Entry(
        photo=item.photo.id,
        album=item.photo.album,
        path=item.photo.path,
        expression=run.expression,
        confidence=item.decision.confidence,
        box=None,
        area=None,
        file=str(item.file),
        status="failed",
        reason=None,
        key=item.key,
    )
    target = folder / item.file
    unfinished = earlier is not None and earlier.status == "begun"
    if os.path.lexists(target) and not (options.overwrite or unfinished):
        ours = earlier is not None and earlier.status == "done"
        why = "was made with other options or of an earlier photo" if ours else "exists"
        return replace(
            entry, status="skipped", reason=f"a file of this name {why}; --overwrite replaces it"
        )
    try:
        picture, box, area = _picture(engine, run, item, options)
    except ReferentError as error:
        return replace(entry, reason=str(error))
    except (ArithmeticError, LookupError, ValueError) as error:
        log.exception("photo %s cannot be cut out", item.photo.id)
        return replace(entry, reason=f"cannot be cut out ({error or type(error).__name__})")
    entry = replace(entry, box=box, area=area)
    if picture is None:
        return replace(entry, reason="the mask is empty at the photo's size")
    note(folder, replace(entry, status="begun"))
    try:
        _write(target, picture, options, folder)
    except SearchError as error:
        why = getattr(error.__cause__, "strerror", None) or type(error).__name__
        return replace(entry, reason=f"cannot write {item.file}: {why}")
    return replace(entry, status="done")


def finished(folder: Path, item: Item, before: dict[str, Entry]) -> Entry | None:
    """The line of an item that need not be done again: same key, and its file is there."""
    entry = before.get(str(item.file))
    if entry is None or entry.key != item.key or entry.status != "done":
        return None
    return entry if (folder / item.file).is_file() else None


def _picture(
    engine: Engine, run: Run, item: Item, options: Options
) -> tuple[Image.Image | None, tuple[int, int, int, int] | None, int]:
    photo = original(engine, item.photo)
    mask = render(engine, item.photo, item.decision, run.fingerprints)
    probability, region = mask.probability, (0, 0, photo.width, photo.height)
    view = engine.view(item.photo.album_id)
    if view is not None and item.decision.mask_logit is None:
        probability, region = sharpen(view.predictor, photo, probability)
    cut = matte(photo, probability, region=region)
    return None if cut is None else draw(photo, cut, options.look()), mask.box, mask.area


def original(engine: Engine, photo: PhotoInfo) -> Image.Image:
    """The photo's pixels, upright RGB, if it is still the file that was indexed.

    Raises:
        PhotoVanished: it is gone or changed.
        PhotoRefused, PhotoUnreadable: it cannot be decoded.
    """
    limits = limits_of(engine.settings)
    try:
        data = read_file(str(checked_file(photo)), limits)
        if photo.content_hash is not None and content_hash(data) != photo.content_hash:
            raise PhotoVanished(
                "it changed since it was indexed; index the album again", field="photo_id"
            )
        return decode_upright(data, limits)
    except PhotoError as error:
        raise type(error)(f"it {error}") from error


def _write(target: Path, picture: Image.Image, options: Options, folder: Path) -> None:
    data = io.BytesIO()
    if options.format == "webp" and not options.mask_only:
        picture.save(data, "WEBP", quality=90, method=2, exact=False)
    else:
        picture.save(data, "PNG", compress_level=3)
    with writing(target, folder), replacing(target, durable=True) as part:
        part.write_bytes(data.getbuffer())


def _key(run: Run, photo: PhotoInfo, options: Options) -> str:
    tiers = sorted(run.fingerprints.items())
    look = [options.format, options.background, options.picture, options.crop, options.mask_only]
    content = json.dumps([photo.content_hash, run.expression, tiers, look])
    return hashlib.blake2b(content.encode(), digest_size=10).hexdigest()
