"""Runs of `index_album` that are killed with SIGKILL, and what must be left of them: nothing.

The album grows whenever a run lives to its end, so that every kill meets work.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from albums import album, photo
from fake_predictor import FakePredictor
from sqlalchemy import func, select

from indexer import maintenance, vector_file
from indexer.catalog import Catalog
from indexer.settings import Settings
from indexer.store import FeatureStore
from indexer.tables import EncodeClaim, FeatureRow, Photo, Segment
from indexer.verify import verify

GROWTH = 12
TIERS = ("tokens", "masks", "vectors")


@dataclass
class Trial:
    """One album, indexed by runs that are killed until there were enough kills."""

    place: Path
    photos: int
    seed: int
    kills: int = 0
    met: Counter[str] = field(default_factory=Counter)
    """What the killed runs were at: scan, encode, finish (merging, FAISS), commit."""

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.folder = self.place / "photos"
        self.number = 0
        self._grow(self.photos)
        (self.folder / "broken.jpg").write_bytes(b"no photo")
        shutil.copy(self.folder / "0000.jpg", self.folder / "twin.jpg")
        self.settings, self.catalog = self._library("killed")
        self.store = FeatureStore.open(self.settings, self.catalog)

    def run(self, kills: int, in_finish: int = 0) -> None:
        """Kill runs at random instants, some of them while they merge and build FAISS's file."""
        span = self._undisturbed("first")
        while self.kills < kills:
            aimed = self.kills < in_finish
            child = start(self.settings.home)
            if aimed:
                wait_for(child, "finish")
            time.sleep(self.chance.uniform(0.0, span / 8 if aimed else span))
            lives = child.poll() is None
            child.kill()
            said = child.communicate()[0].split()
            if lives:
                self.kills += 1
                self.met["finish" if aimed else (said or ["scan"])[-1]] += 1
                self._check()
            else:
                self._grow(GROWTH)

    def end(self) -> None:
        """Let a run finish; compare with an undisturbed one, and look for what is left over."""
        expected_at = self.place / "undisturbed"
        finish(self.settings.home)
        self._undisturbed(expected_at.name)
        maintenance.forget_unneeded(self.catalog)
        maintenance.collect(self.catalog, self.store)
        assert verify(self.catalog, self.store).damaged == []
        assert leftovers(self.catalog, self.store) == set()
        expected = Settings(home=expected_at)
        with Catalog.open(expected) as catalog:
            assert outcome(self.catalog, self.store) == outcome(
                catalog, FeatureStore.open(expected, catalog)
            )

    def counts(self) -> tuple[int, int]:
        """Photos indexed and failed."""
        with self.catalog.reading() as session:
            found = Counter(session.scalars(select(Photo.status)))
        return found["indexed"], found["failed"]

    def _check(self) -> None:
        """What is there is whole at every instant, and no file is unknown."""
        with self.catalog.reading() as session:
            intents = session.scalar(select(func.count()).where(Segment.state == "intent"))
        self.met["commit"] += bool(intents)
        report = verify(self.catalog, self.store)
        assert (report.damaged, report.attached, report.lost_rows) == ([], 0, 0)

    def _grow(self, photos: int) -> None:
        for _ in range(photos):
            photo(self.folder / f"{self.number:04d}.jpg", self.number)
            self.number += 1

    def _library(self, name: str) -> tuple[Settings, Catalog]:
        settings = Settings(home=self.place / name)
        catalog = Catalog.open(settings)
        album(catalog, "small", self.folder)
        return settings, catalog

    def _undisturbed(self, name: str) -> float:
        """Index in another library and in peace; return the seconds that it took."""
        settings, catalog = self._library(name)
        catalog.close()
        return finish(settings.home)


def start(home: Path) -> subprocess.Popen[str]:
    """Begin a run in a process; returns when it is about to start."""
    child = subprocess.Popen(
        [sys.executable, str(Path(__file__).parent / "killed_run.py"), str(home), "small"],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path.cwd())},
    )
    wait_for(child, "ready")
    return child


def wait_for(child: subprocess.Popen[str], word: str) -> None:
    """Read what a run says until it says this."""
    assert child.stdout is not None
    while (line := child.stdout.readline()) != f"{word}\n":
        assert line, f"the run ended before {word}"


def finish(home: Path) -> float:
    """Let a run live to its end; return the seconds that it took after its start."""
    child = start(home)
    begun = time.monotonic()
    said = child.communicate()[0]
    assert child.returncode == 0
    assert said.endswith("done\n")
    return time.monotonic() - begun


def outcome(catalog: Catalog, store: FeatureStore) -> tuple[object, ...]:
    """Every record of every tier by content, statuses by path, and how often rows are claimed."""
    predictor = FakePredictor()
    found = {}
    for tier in TIERS:
        fingerprint = predictor.fingerprints[tier]
        with catalog.reading() as session:
            query = select(FeatureRow.content_hash).where(FeatureRow.fingerprint == fingerprint)
            digests = sorted(session.scalars(query))
        rows = store.fetch(fingerprint, digests, predictor.dtypes[tier])
        found[tier] = dict(zip(digests, [row.tobytes() for row in rows], strict=True))
    with catalog.reading() as session:
        photos = session.execute(select(Photo.path, Photo.status, Photo.error, Photo.width))
        statuses = {path: tuple(rest) for path, *rest in photos}
        held = session.scalars(
            select(EncodeClaim.content_hash).where(EncodeClaim.error.is_(None))
        ).all()
    return found, statuses, held


def leftovers(catalog: Catalog, store: FeatureStore) -> set[str]:
    """Files of the store that nothing names, and segments without a file."""
    with catalog.reading() as session:
        known = set(session.scalars(select(Segment.path)))
    for manifest in store.folder.glob("faiss/*.json"):
        known |= {f"faiss/{manifest.name}", f"faiss/{vector_file.read_manifest(manifest).file}"}
    there = {
        path.relative_to(store.folder).as_posix()
        for path in store.folder.rglob("*")
        if path.is_file()
    }
    return there ^ known
