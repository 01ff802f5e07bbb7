"""Runs of `index_album` that are killed with SIGKILL, and what must be left of them: nothing.

The album grows whenever a run lives to its end, so that every kill meets work.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Self

from sqlalchemy import func, select

from indexer.db.catalog import Catalog
from indexer.db.tables import EncodeClaim, FeatureRow, Photo, Segment
from indexer.features import maintenance, vector_file
from indexer.features.store import FeatureStore
from indexer.features.verify import verify
from indexer.settings import Settings
from tests.support.albums import album, photo
from tests.support.fake_predictor import FakePredictor

GROWTH = 12
TIERS = ("tokens", "masks", "vectors")


@dataclass(frozen=True)
class Span:
    """How long a run takes, and how long its last phase, in seconds."""

    whole: float
    finish: float

    @classmethod
    def of(cls, said: Sequence[str]) -> Self:
        """Of a run that lived, by what it said: phases and when they began."""
        began = {phase: float(at) for phase, at in map(str.split, said)}
        return cls(began["done"], began["done"] - began["finish"])


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
            time.sleep(self.chance.uniform(0.0, span.finish if aimed else span.whole))
            child.kill()
            said = child.communicate()[0].splitlines()
            phase = "finish" if aimed and not said else (said or ["scan"])[-1].split()[0]
            if phase != "done":
                assert child.returncode == -signal.SIGKILL
                self.kills += 1
                self.met[phase] += 1
                self._check()
            else:
                if not aimed:
                    span = Span.of(said)
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
            found = outcome(self.catalog, self.store)
            wanted = outcome(catalog, FeatureStore.open(expected, catalog))
        differences = {
            what: (found.get(what), wanted.get(what))
            for what in found | wanted
            if found.get(what) != wanted.get(what)
        }
        assert not differences, f"{len(differences)} differ: {list(differences.items())[:5]}"

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

    def _undisturbed(self, name: str) -> Span:
        """Index in another library and in peace."""
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


def wait_for(child: subprocess.Popen[str], phase: str) -> None:
    """Read what a run says until it says this."""
    assert child.stdout is not None
    while (line := child.stdout.readline()).split()[:1] != [phase]:
        assert line, f"the run ended before {phase}"


def finish(home: Path) -> Span:
    """Let a run live to its end."""
    child = start(home)
    said = child.communicate()[0]
    assert child.returncode == 0
    return Span.of(said.splitlines())


def outcome(catalog: Catalog, store: FeatureStore) -> dict[object, object]:
    """The digest of every record, every photo's status, and claims that are still held."""
    predictor = FakePredictor()
    found: dict[object, object] = {}
    for tier in TIERS:
        fingerprint = predictor.fingerprints[tier]
        with catalog.reading() as session:
            query = select(FeatureRow.content_hash).where(FeatureRow.fingerprint == fingerprint)
            digests = session.scalars(query).all()
        for digest, row in zip(
            digests, store.fetch(fingerprint, digests, predictor.dtypes[tier]), strict=True
        ):
            found[tier, digest] = blake2b(row.tobytes(), digest_size=8).hexdigest()
    with catalog.reading() as session:
        for path, *rest in session.execute(
            select(Photo.path, Photo.status, Photo.error, Photo.width, Photo.content_hash)
        ):
            found[path] = rest
        for claim in session.scalars(select(EncodeClaim).where(EncodeClaim.error.is_(None))):
            found["claim", claim.content_hash] = (claim.lease_owner, claim.attempts)
    return found


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
