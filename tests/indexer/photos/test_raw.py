"""Camera RAW files are read by their preview, upright, where the extra is installed."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from indexer.db.catalog import Catalog
from indexer.errors import PhotoUnreadable
from indexer.folders import globs
from indexer.folders.albums import ensure_album
from indexer.folders.scan import ScanReport, scan_album
from indexer.photos.decode import limits_of
from indexer.photos.exif import TURNS
from indexer.photos.picture import decode, decode_thumbnail, decode_upright
from indexer.settings import Settings
from tests.support.dng import dng

SIDE = 64


def upright_picture() -> Image.Image:
    """Wider than high, red on the left, blue on the right, white at the top."""
    values = np.zeros((240, 320, 3), np.uint8)
    values[:, :160, 0] = values[:, 160:, 2] = 220
    values[:40] = 255
    return Image.fromarray(values)


@pytest.mark.parametrize(("orientation", "back"), [(1, None), (3, 3), (6, 8), (8, 6)])
def test_preview_is_seen_upright_with_what_the_file_tells(
    settings: Settings, orientation: int, back: int | None
) -> None:
    picture, limits = upright_picture(), limits_of(settings)
    stored = picture if back is None else picture.transpose(TURNS[back])
    data = dng(stored, orientation)
    pixels, facts = decode(data, SIDE, limits)
    wanted = np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BOX), int)
    assert np.abs(pixels.astype(int) - wanted).mean() < 6
    assert (facts.format, facts.width, facts.height) == ("RAW", 320, 240)
    assert (facts.camera, facts.taken_at) == ("Testcam X1", datetime(2024, 5, 1, 12, 30))
    whole, small = decode_upright(data, limits), decode_thumbnail(data, 80, limits)
    assert (whole.size, small.size) == ((320, 240), (80, 60))
    assert np.abs(np.asarray(whole, int) - np.asarray(picture, int)).mean() < 6
    assert np.abs(np.asarray(small.resize((SIDE, SIDE)), int) - wanted).mean() < 8


def test_a_preview_that_the_camera_turned_itself_is_not_turned_again(settings: Settings) -> None:
    portrait = upright_picture().transpose(Image.Transpose.ROTATE_90)
    data = dng(portrait, 6, sensor_size=(320, 240))
    assert decode_upright(data, limits_of(settings)).size == portrait.size


def test_raw_files_without_a_preview_and_plain_tiffs(settings: Settings, tmp_path: Path) -> None:
    limits = limits_of(settings)
    with pytest.raises(PhotoUnreadable):
        decode(dng(upright_picture(), whole=False), SIDE, limits)
    for garbage in (
        b"II*\0" + b"x" * 500,
        b"FUJIFILMCCD-RAW " * 9,
        b"\0\0\0\x18ftypcrx " + b"x" * 99,
    ):
        with pytest.raises(PhotoUnreadable):
            decode(garbage, SIDE, limits)
    upright_picture().save(tmp_path / "plain.tif")
    data = (tmp_path / "plain.tif").read_bytes()
    assert decode(data, SIDE, limits)[1].format == "TIFF"


def scan(catalog: Catalog, folder: Path) -> ScanReport:
    with catalog.session() as session:
        ensure_album(session, [folder], name="raws")
    return scan_album(catalog, "raws")


def test_raw_files_are_photos_where_they_are_read_and_are_counted_elsewhere(
    catalog: Catalog, tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "album"
    folder.mkdir()
    (folder / "a.DNG").write_bytes(dng(upright_picture()))
    (folder / "film.mov").write_bytes(b"x")
    monkeypatch.setitem(sys.modules, "rawpy", None)
    globs.reads_raw.cache_clear()
    try:
        assert not globs.reads_raw()
        report = scan(catalog, folder)
        assert (report.new, report.unread) == (0, {"dng": 1, "mov": 1})
        _, facts = decode(dng(upright_picture()), SIDE, limits_of(settings))
        assert facts.format == "TIFF"  # a DNG by another name is what it was
    finally:
        monkeypatch.undo()
        globs.reads_raw.cache_clear()
    report = scan(catalog, folder)
    assert (report.new, report.unread) == (1, {"mov": 1})
