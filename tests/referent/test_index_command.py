"""`referent index` as a user meets it: what it prints, refuses, keeps and ends with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import select, text

from indexer.db.catalog import Catalog
from indexer.db.tables import FeatureRow, Photo, Segment
from indexer.features import versions
from indexer.features.segment import read_header
from indexer.features.store import FeatureStore
from indexer.folders.albums import list_albums
from indexer.settings import Settings
from search_api.search import models
from tests.support.albums import folder_of, photo
from tests.support.fake_predictor import FakePredictor


@pytest.fixture
def lite(settings: Settings) -> Iterator[Catalog]:
    with Catalog.open(settings) as catalog:
        yield catalog


def statuses(catalog: Catalog) -> dict[str, str]:
    with catalog.reading() as session:
        rows = session.execute(select(Photo.path, Photo.status))
        return {path.decode(): status for path, status in rows}


@pytest.fixture
def command(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., tuple[int, str, str]]]:
    """Run ``referent ARGUMENTS`` in this process with a fake model; (status, out, err)."""
    from referent import main

    def load(name: str, **options: object) -> FakePredictor:
        return FakePredictor(name, name=name)

    monkeypatch.setattr(models, "load_predictor", load)

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["referent", *map(str, arguments)])
        try:
            main.main()
        except SystemExit as end:
            status = int(end.code or 0)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield call
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_command_indexes_and_says_how_the_album_stands(
    command: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    folder = folder_of(tmp_path / "holidays", 4)
    (folder / "broken.jpg").write_bytes(b"no photo")
    photo(folder / "raw" / "x.jpg", 9)
    status, out, _ = command("index", folder, "--exclude", "raw")
    assert status == 0
    assert "holidays: 4 indexed, 1 failed of 5 photos (4 encoded" in out
    assert f"failed: {folder / 'broken.jpg'} is " in out
    status, out, _ = command("index", folder, "--json")
    report = json.loads(out)["albums"][0]
    assert (report["indexed"], report["failed"], report["total"]) == (4, 1, 5)
    assert report["encoded"] == 0
    status, out, _ = command("index", "--verify", "--compact", "--gc")
    assert status == 0
    assert "0 damaged" in out
    status, out, _ = command("stats")
    assert status == 0
    assert "cut-outs and exports: 0, 0.0 MB; kept 30 days (REFERENT_KEEP_EXPORTS_DAYS)" in out
    assert "bytes a photo" in out
    assert "holidays: 5 photos, 4 indexed, 1 failed" in out


def test_command_names_damaged_photos_and_encodes_just_them_again(
    command: Callable[..., tuple[int, str, str]],
    settings: Settings,
    lite: Catalog,
    tmp_path: Path,
) -> None:
    folder = folder_of(tmp_path / "holidays", 6)
    command("index", folder)
    store = FeatureStore.open(settings, lite)
    with lite.reading() as session:
        row = session.execute(select(Segment.id, Segment.path).where(Segment.tier == "tokens"))
        segment, path = row.one()
        names = session.execute(
            select(FeatureRow.position, Photo.path)
            .join(Photo, Photo.content_hash == FeatureRow.content_hash)
            .where(FeatureRow.segment_id == segment)
        )
        by_position = {position: name.decode() for position, name in names}
    file = store.path_of(path)
    header, data = read_header(file), bytearray(file.read_bytes())
    for position in (1, 4):
        data[header.data_offset + position * header.row_bytes + 7] ^= 0x80
    file.write_bytes(data)
    status, out, _ = command("index", "--verify")
    assert status == 0
    assert "1 damaged, 2 rows lost, 2 photos encoded again" in out
    named = {line.split("/")[-1] for line in out.splitlines() if "  encoded again: " in line}
    assert named == {by_position[1], by_position[4]}
    store.path_of(store_path(lite, "vectors")).unlink()
    report = json.loads(command("index", "--verify", "--json")[1])["verify"]
    assert len(report["damaged"]) == 1
    assert report["encoded_again"] == len(report["photos"]) == report["lost_rows"] == 6
    status, out, _ = command("index", "--verify")
    assert "0 damaged, 0 rows lost, 0 photos encoded again" in out


def store_path(catalog: Catalog, tier: str) -> str:
    with catalog.reading() as session:
        return session.scalars(
            select(Segment.path).where(Segment.tier == tier, Segment.state == "live")
        ).one()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["index", "/no/such/folder"], "no such folder: /no/such/folder"),
        (["index", "--album", "nowhere"], "no album is named 'nowhere'"),
    ],
)
def test_command_names_what_is_wrong(
    command: Callable[..., tuple[int, str, str]], arguments: list[str], message: str
) -> None:
    status, _, err = command(*arguments)
    assert status == 2
    assert err.startswith("error: ")
    assert message in err


def test_unknown_model_is_refused_before_anything_is_made(
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from referent import main

    folder = folder_of(tmp_path / "photos", 1)
    monkeypatch.setattr(sys, "argv", ["referent", "index", str(folder), "--model", "rela-huge"])
    with pytest.raises(SystemExit) as end:
        main.main()
    assert end.value.code == 2
    assert "error: no model is called 'rela-huge'; known: rela-mini" in capsys.readouterr().err
    with Catalog.open(settings) as catalog, catalog.reading() as session:
        assert list_albums(session) == []


def test_command_refuses_a_database_of_a_newer_version_and_waits_only_so_long_for_a_lock(
    command: Callable[..., tuple[int, str, str]],
    lite: Catalog,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REFERENT_DATABASE_TIMEOUT_S", "0.2")
    folder = folder_of(tmp_path / "photos", 1)
    with lite.session() as session:
        session.connection()
        status, _, err = command("index", folder)
    assert (status, "is locked by another process" in err) == (2, True)
    with lite.session() as session:
        session.execute(text("update alembic_version set version_num = '9999'"))
    status, _, err = command("index", folder)
    assert (status, "was made by a newer Referent (revision 9999" in err) == (2, True)


@pytest.mark.root
def test_command_names_a_library_that_is_read_only(settings: Settings, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "photos", 1)
    Catalog.open(settings).close()
    home = str(settings.home)
    script = f"""
        mount --bind {home} {home} && mount -o remount,ro,bind {home} || exit 9
        "$@" index {folder}; echo status $?
        "$@" index --verify; echo status $?
    """
    command = ["unshare", "--mount", "sh", "-c", script, "sh"]
    done = subprocess.run(
        [*command, sys.executable, "-m", "referent.main"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "status 2\nstatus 2\n"
    assert [line.partition(home)[0] for line in done.stderr.splitlines()] == [
        "error: cannot write the database "
    ] * 2


def test_command_keeps_an_albums_model_until_another_is_named(
    command: Callable[..., tuple[int, str, str]],
    lite: Catalog,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = folder_of(tmp_path / "photos", 2)
    command("index", folder, "--model", "other")
    photo(folder / "new.jpg", 77)
    for arguments in (["index", folder], ["index"], ["index", "--album", "photos"]):
        assert command(*arguments)[0] == 0
    served = versions.serving(lite, 1)
    assert served is not None
    assert (served.model, served.fingerprints) == ("other", FakePredictor("other").fingerprints)
    assert set(statuses(lite).values()) == {"indexed"}
    status, out, _ = command("index", folder, "--model", "third")
    assert (status, "photos is searched with third from now on" in out) == (0, True)


def test_command_asks_for_the_weights_of_a_model_that_it_does_not_know(
    command: Callable[..., tuple[int, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from model.errors import UnknownModel

    folder = folder_of(tmp_path / "photos", 1)
    command("index", folder, "--model", "other")

    def load(name: str, **options: object) -> FakePredictor:
        if name == "other":
            raise UnknownModel("no model is called 'other'")
        return FakePredictor(name, name=name)

    monkeypatch.setattr(models, "load_predictor", load)
    status, _, err = command("index", folder)
    assert status == 2
    assert "searched with other, whose weights are not known here: name their file" in err


def test_command_watches_until_it_is_interrupted(
    command: Callable[..., tuple[int, str, str]], lite: Catalog, tmp_path: Path
) -> None:
    folder = folder_of(tmp_path / "photos", 2)

    def indexed() -> int:
        return list(statuses(lite).values()).count("indexed")

    def change_and_interrupt() -> None:
        while indexed() < 2:
            time.sleep(0.05)
        photo(folder / "later" / "new.jpg", 77)
        while indexed() < 3:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    helper = threading.Thread(target=change_and_interrupt, daemon=True)
    helper.start()
    status, out, err = command("index", folder, "--watch", "--json")
    helper.join()
    assert status == 130
    assert "watching photos; Ctrl-C ends it" in err
    assert "stopping after this batch" in err
    reports = [json.loads(line) for line in out.splitlines()]
    assert reports[0]["indexed"] == 2
    assert reports[-1]["indexed"] == 3
    assert sum(report["encoded"] for report in reports) == 3


def test_an_album_of_another_model_is_served_on_and_told_how_to_change(
    command: Callable[..., tuple[int, str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = folder_of(tmp_path / "old", 2)
    assert command("index", folder)[0] == 0
    monkeypatch.setenv("REFERENT_MODEL", "another")
    status, told, _ = command("index", folder)
    change = "referent reindex --album 'old' --model another"
    assert status == 0
    assert "searched with rela-mini; new albums get another" in told
    assert change in told
    assert change in command("albums")[1]
    assert change not in command("index", folder, "--model", "rela-mini")[1]


def test_command_counts_what_it_leaves_out_and_a_switch_takes_it(
    command: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    folder = folder_of(tmp_path / "nas", 2)
    folder_of(folder / "@Recycle", 3, first=10)
    (folder / "film.mov").write_bytes(b"no photo")
    _, out, err = command("index", folder, "--album", "nas")
    said = " ".join((out + err).split())
    assert "left out: what systems and other programs keep for themselves" in said
    assert "1 files of kinds that are not read: 1 mov" in said
    assert json.loads(command("index", "--album", "nas", "--json")[1])["albums"][0]["total"] == 2
    for switch, photos in (("--everything", 5), ("--usual", 2)):
        assert command("albums", "nas", switch)[0] == 0
        (report,) = json.loads(command("index", "--album", "nas", "--json")[1])["albums"]
        assert report["total"] == photos, switch
