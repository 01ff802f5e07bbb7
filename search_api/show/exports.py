"""A search run for other programs: COCO JSON, gRefCOCO's form, CSV, a contact sheet.

Masks are those that the API renders, at the photo's own size, bit for bit. COCO JSON and CSV are
made a photo at a time and never sit in memory whole.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from indexer.folders.own_output import make_room
from model import grefcoco_form
from model.errors import ReferentError
from model.masks import Mask
from model.replacing import replacing
from search_api.errors import NotIndexed, StillRunning
from search_api.search import runs
from search_api.search.decisions import Decision
from search_api.search.engine import Engine
from search_api.search.photos import PhotoInfo, by_id
from search_api.search.runs import Run
from search_api.show import take_away
from search_api.show.chosen import EVERY, Chosen, matches
from search_api.show.file_names import Address, FileNames, on_this_machine
from search_api.show.folder import SHEET_TILES, TILE_SIDE_PX
from search_api.show.images import jpeg
from search_api.show.overlay import Tile, contact_sheet
from search_api.show.shown import overlay, render

FORMS = ("coco", "grefcoco", "csv", "sheet", *take_away.KINDS)
CATEGORY = 1
CSV_COLUMNS = (
    "rank", "photo", "album", "path", "expression", "confidence",
    "x", "y", "width", "height", "area", "photo_width", "photo_height", "taken_at",
)  # fmt: skip
_BATCH = 200
# What a spreadsheet takes for a formula, wide forms included.
_COMPUTED = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")


@dataclass(frozen=True)
class Exported:
    """A match with its mask at the photo's own size; None where the features are gone."""

    rank: int
    photo: PhotoInfo
    decision: Decision
    mask: Mask | None


def ended_run(engine: Engine, run_id: str) -> Run:
    """A run whose hits are final.

    Raises:
        UnknownRun, StillRunning.
    """
    run = runs.load(engine.catalog, run_id)
    if run.state == "running":
        raise StillRunning("The search is still running; export it when it has ended.")
    return run


def exported(engine: Engine, run: Run, chosen: Chosen = EVERY) -> Iterator[Exported]:
    """The chosen matches of a run, best first, one mask in memory at a time."""
    batch: list[Decision] = []
    rank = 0
    for decision in [*matches(engine, run, chosen), None]:
        if decision is not None:
            batch.append(decision)
        if batch and (decision is None or len(batch) == _BATCH):
            photos = by_id(engine.catalog, [each.photo_id for each in batch])
            for each in batch:
                if (photo := photos.get(each.photo_id)) is not None:
                    yield Exported(rank, photo, each, _mask(engine, run, photo, each))
                rank += 1
            batch = []


def coco_json(
    engine: Engine, run: Run, chosen: Chosen = EVERY, *, address: Address = on_this_machine
) -> Iterator[str]:
    """The run as COCO's instances file, in pieces: one category, the expression; scores beside.

    ``without_mask`` at its end lists matches whose features are gone, so that they have no mask.

    Args:
        address: where a reader finds each photo's file (``coco_url``).
    """
    info = {"description": f"Referent: {run.expression}", "run": run.id,
            "sentence": run.coverage.sentence(), "verifier": run.verifier}  # fmt: skip
    categories = [{"id": CATEGORY, "name": run.expression, "supercategory": "referent"}]
    yield f'{{"info": {json.dumps(info)}, "licenses": [], "categories": {json.dumps(categories)}'
    images: list[dict[str, Any]] = []
    lost: list[int] = []
    names = FileNames()
    yield ', "annotations": ['
    comma = ""
    for each in exported(engine, run, chosen):
        images.append(image_row(each.photo, names.of(each.photo), address(each.photo)))
        if each.mask is None:
            lost.append(each.photo.id)
        elif each.mask.box is not None:
            yield comma + json.dumps(annotation_row(each, number=each.rank + 1))
            comma = ","
    yield f'], "images": {json.dumps(images)}, "without_mask": {json.dumps(lost)}}}'


def image_row(photo: PhotoInfo, name: str, address: str) -> dict[str, Any]:
    """A photo as COCO tells of it."""
    row: dict[str, Any] = {"id": photo.id, "file_name": name, "coco_url": address}
    row |= {"album": photo.album, "path": photo.path}
    row |= {"width": photo.width, "height": photo.height}
    return row | ({"date_captured": photo.taken_at.isoformat(" ")} if photo.taken_at else {})


def annotation_row(each: Exported, *, number: int) -> dict[str, Any]:
    """A mask as COCO tells of it."""
    assert each.mask is not None
    assert each.mask.box is not None
    return {
        "id": number,
        "image_id": each.photo.id,
        "category_id": CATEGORY,
        "segmentation": each.mask.rle,
        "bbox": list(each.mask.box),
        "area": each.mask.area,
        "iscrowd": 0,
        "score": each.decision.confidence,
    }


def csv_lines(engine: Engine, run: Run, chosen: Chosen = EVERY) -> Iterator[str]:
    """The chosen matches as CSV with a header (RFC 4180), one line a match."""
    yield _csv_line(CSV_COLUMNS)
    for each in exported(engine, run, chosen):
        photo = each.photo
        box = each.mask.box if each.mask is not None and each.mask.box is not None else ("",) * 4
        area = "" if each.mask is None else each.mask.area
        taken = photo.taken_at.isoformat() if photo.taken_at else ""
        yield _csv_line(
            (each.rank, photo.id, photo.album, photo.path, run.expression,
             each.decision.confidence, *box, area, photo.width, photo.height, taken)
        )  # fmt: skip


def sheet(engine: Engine, run: Run, chosen: Chosen = EVERY) -> Image.Image:
    """The best matches with their masks drawn, on one picture; unreadable ones are left out."""
    tiles: list[Tile] = []
    for decision in matches(engine, run, chosen):
        if len(tiles) == SHEET_TILES:
            break
        photo = by_id(engine.catalog, [decision.photo_id]).get(decision.photo_id)
        if photo is None:
            continue
        try:
            drawn = overlay(engine, photo, decision, run.fingerprints, TILE_SIDE_PX)
        except ReferentError:
            continue
        tiles.append(Tile(drawn, f"{decision.confidence:.2f}  {photo.path}", faint=False))
    return contact_sheet(f"“{run.expression}”", run.coverage.sentence(), tiles)


def grefcoco(
    engine: Engine,
    found: Iterable[tuple[str, Exported]],
    folder: Path,
    *,
    split: str = "train",
    address: Address = on_this_machine,
) -> int:
    """Write (expression, match) pairs as a folder in gRefCOCO's form.

    A rejected decision, or an empty mask, is written as a no-target reference; a match whose mask
    is gone with its features is left out, since it says neither.

    Returns:
        how many references were written.
    """
    images: dict[int, dict[str, Any]] = {}
    annotations: list[dict[str, Any]] = []
    references: list[grefcoco_form.Reference] = []
    names = FileNames()
    told = (
        (words, each)
        for words, each in found
        if each.mask is not None or not each.decision.accepted
    )
    for number, (expression, each) in enumerate(told, 1):
        name = names.of(each.photo)
        images.setdefault(each.photo.id, image_row(each.photo, name, address(each.photo)))
        target = each.decision.accepted and each.mask is not None and each.mask.box is not None
        if target:
            annotations.append(annotation_row(each, number=number))
        references.append(
            grefcoco_form.Reference(
                ref_id=number,
                image_id=each.photo.id,
                file_name=name,
                split=split,
                annotation_ids=(number,) if target else (),
                category_ids=(CATEGORY,) if target else (),
                sentences=((expression, ""),),
            )
        )
    categories = [{"id": CATEGORY, "name": "referent"}]
    grefcoco_form.write(folder, references, list(images.values()), annotations, categories)
    return len(references)


class Written(NamedTuple):
    """What an export holds, in words, and how many matches it had to leave out."""

    told: str
    left_out: int = 0


def write_export(engine: Engine, run_id: str, form: str, out: Path) -> Written:
    """Write a run in one of `FORMS` to a file, or folder.

    Raises:
        UnknownRun, StillRunning; OSError, SearchError: the place cannot be written.
    """
    run = ended_run(engine, run_id)
    if form in take_away.KINDS:
        number, left_out = take_away.write(take_away.files(engine, run, form), out)
        lacks = f"; {left_out:,} left out, see {take_away.LEFT_OUT}" if left_out else ""
        return Written(f"{number:,} files{lacks}", left_out)
    if form == "grefcoco":
        pairs = ((run.expression, each) for each in exported(engine, run))
        return Written(f"{grefcoco(engine, pairs, out):,} references")
    make_room(out.parent, out)
    with replacing(out) as part:
        if form == "sheet":
            part.write_bytes(jpeg(sheet(engine, run)))
        else:
            pieces: Callable[[Engine, Run], Iterator[str]] = (
                coco_json if form == "coco" else csv_lines
            )
            with part.open("w", encoding="utf-8", newline="") as file:
                file.writelines(pieces(engine, run))
    return Written(f"{sum(1 for _ in matches(engine, run)):,} matches")


def _mask(engine: Engine, run: Run, photo: PhotoInfo, decision: Decision) -> Mask | None:
    try:
        return render(engine, photo, decision, run.fingerprints)
    except NotIndexed:
        return None


def _csv_line(values: Iterable[object]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow([_plain(each) if isinstance(each, str) else each for each in values])
    return line.getvalue()


def _plain(text: str) -> str:
    """A text that a spreadsheet shows: one that it would compute gets an apostrophe before it."""
    return f"'{text}" if text.lstrip(" \t\r\n").startswith(_COMPUTED) else text
