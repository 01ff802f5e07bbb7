"""A search's results as a folder: photos with their masks drawn, masks, and a contact sheet."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from indexer.errors import NoSpaceLeft
from indexer.folders.own_output import make_room
from model.errors import ReferentError
from search_api.errors import SearchError
from search_api.search.coverage import Coverage
from search_api.search.decisions import Decision
from search_api.search.engine import Engine
from search_api.show.images import JPEG_QUALITY, mask_png
from search_api.show.manifest import writing
from search_api.show.names import name_files
from search_api.show.overlay import Tile, contact_sheet
from search_api.show.shown import ShownHit, overlay, render

OVERLAY_SIDE_PX = 2048
TILE_SIDE_PX = 640
SHEET_TILES = 48
SHEET_NAME = "contact-sheet.jpg"


class OutputFolderError(SearchError):
    """The output folder cannot be written."""


@dataclass(frozen=True)
class Written:
    """What was written, and the photos that could not be drawn, with the reason."""

    sheet: Path
    overlays: tuple[Path, ...]
    masks: tuple[Path, ...]
    failures: tuple[tuple[str, str], ...]


def write_folder(
    engine: Engine,
    folder: Path,
    expression: str,
    coverage: Coverage,
    hits: Sequence[tuple[ShownHit, Decision]],
    fingerprints: Mapping[str, str],
    *,
    progress: Callable[[], None] = lambda: None,
) -> Written:
    """Write ``overlays/``, ``masks/`` (album and subfolders kept) and a contact sheet.

    A photo that cannot be read, or whose name cannot be written, is named; the others are written.

    Args:
        hits: matched ones, then rejected ones if any; rejected ones are only on the sheet.
        progress: called after each hit.
    Raises:
        OutputFolderError: the folder cannot be written.
        NoSpaceLeft: the disk is full.
    """
    overlays: list[Path] = []
    masks: list[Path] = []
    tiles: list[Tile] = []
    failures: list[tuple[str, str]] = []
    sheet = folder / SHEET_NAME
    _writable(folder, sheet)
    photos = [hit.photo for hit, _ in hits if hit.accepted]
    mask_names, overlay_names = name_files(photos, "png"), name_files(photos, "jpg")
    for hit, decision in hits:
        try:
            if hit.accepted:  # its mask needs no pixels, so it is written of a lost photo too
                mask = render(engine, hit.photo, decision, fingerprints)
                with writing(folder / "masks" / mask_names[hit.photo.id], folder) as target:
                    target.write_bytes(mask_png(mask.array))
                masks.append(target)
            drawn = overlay(engine, hit.photo, decision, fingerprints, OVERLAY_SIDE_PX)
            if hit.accepted:
                with writing(folder / "overlays" / overlay_names[hit.photo.id], folder) as target:
                    drawn.save(target, "JPEG", quality=JPEG_QUALITY + 6)
                overlays.append(target)
        except NoSpaceLeft:
            raise
        except ReferentError as error:
            failures.append((hit.photo.path, str(error)))
        else:
            if len(tiles) < SHEET_TILES:
                tiles.append(_tile(hit, drawn))
        progress()
    with writing(sheet, folder):
        contact_sheet(f"“{expression}”", coverage.sentence(), tiles).save(sheet, "JPEG", quality=90)
    return Written(sheet, tuple(overlays), tuple(masks), tuple(failures))


def _writable(folder: Path, sheet: Path) -> None:
    try:
        make_room(folder, sheet)
    except OSError as error:
        raise OutputFolderError(
            f"cannot write to {folder} ({error.strerror or error}); choose another with --out"
        ) from error


def _tile(hit: ShownHit, drawn: Image.Image) -> Tile:
    small = drawn.copy()
    small.thumbnail((TILE_SIDE_PX, TILE_SIDE_PX), Image.Resampling.LANCZOS)
    told = "" if hit.accepted else "rejected · "
    return Tile(small, f"{hit.confidence:.2f}  {told}{hit.photo.path}", faint=not hit.accepted)
