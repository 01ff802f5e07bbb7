"""Photos that a camera stored turned are drawn on as their upright files are, in every format."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from PIL import ExifTags, Image

from indexer.photos.exif import TURNS
from search_api.search import runs
from search_api.search.photos import by_id
from search_api.search.pipeline import collect
from search_api.search.query import Query
from search_api.show import exports
from search_api.show.chosen import Chosen
from search_api.show.shown import overlay
from tests.support.library import EXPRESSION, Library, make_library

FORMATS = {"JPEG": "jpg", "MPO": "mpo", "PNG": "png", "WEBP": "webp", "TIFF": "tif", "AVIF": "avif"}
FORMATS["HEIF"] = "heic"
SIZE = (96, 144)


_UNDOING = {
    Image.Transpose.ROTATE_90: Image.Transpose.ROTATE_270,
    Image.Transpose.ROTATE_270: Image.Transpose.ROTATE_90,
}


def picture() -> Image.Image:
    """Wide areas of four colours, none of which another turn would put in its place."""
    values = np.full((SIZE[1], SIZE[0], 3), 40, np.uint8)
    values[: SIZE[1] // 3, : SIZE[0] // 2] = (220, 60, 40)
    values[: SIZE[1] // 3, SIZE[0] // 2 :] = (60, 200, 80)
    values[SIZE[1] // 3 :, : SIZE[0] // 2] = (70, 90, 220)
    return Image.fromarray(values)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """An album of one picture in every format and all eight orientations."""
    folder = tmp_path_factory.mktemp("turned")
    made = make_library(folder, 1)
    (folder / "turned").mkdir()
    for format, suffix in FORMATS.items():
        for orientation in range(1, 9):
            image = picture()
            if (turn := TURNS.get(orientation)) is not None:
                image = image.transpose(_UNDOING.get(turn, turn))
            exif = Image.Exif()
            exif[ExifTags.Base.Orientation] = orientation
            name = folder / "turned" / f"{orientation}.{suffix}"
            image.save(name, format, quality=95, exif=exif.tobytes())
    made.add_album(folder / "turned", "turned")
    yield made
    made.engine.close()


def test_overlays_and_contact_sheets_of_turned_photos_are_those_of_upright_ones(
    library: Library,
) -> None:
    engine = library.engine
    query = Query(expression=EXPRESSION, album="turned", threshold=0.0, mode="exhaustive")
    done = collect(engine, query)
    run = runs.load(engine.catalog, done.run_id)
    decisions = {each.photo_id: each for each in done.matched}
    photos = {photo.path: photo for photo in by_id(engine.catalog, decisions).values()}
    assert len(photos) == 8 * len(FORMATS)
    for suffix in FORMATS.values():
        upright: dict[str, np.ndarray] = {}
        for orientation in range(1, 9):
            photo = photos[f"{orientation}.{suffix}"]
            assert (photo.width, photo.height) == SIZE
            decision = decisions[photo.id]
            drawn = {
                "overlay": overlay(engine, photo, decision, run.fingerprints, 120),
                "sheet": exports.sheet(engine, run, Chosen(photos=frozenset({photo.id}))),
            }
            assert drawn["overlay"].size == (80, 120)
            for what, image in drawn.items():
                pixels = np.asarray(image).astype(int)
                first = upright.setdefault(what, pixels)
                assert pixels.shape == first.shape
                far = np.abs(pixels - first)
                assert far.mean() < 4, (what, suffix, orientation, far.mean())
