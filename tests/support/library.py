"""A small real library: generated photos, a tiny real network, indexed by the real ingest."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from sqlalchemy import select, update

from indexer.db.catalog import Catalog
from indexer.db.tables import Photo
from indexer.encoding.alone import index_album
from indexer.features.store import FeatureStore
from indexer.folders.albums import ensure_album
from indexer.settings import Settings
from model.build import load_predictor
from model.network.config import ReLAConfig
from model.precision import HeadDtype
from model.predictor import Predictor
from search_api.search.engine import Engine
from tests.support.tiny_model import TINY, write_tiny_model

EXPRESSION = "the red square on the left"
CAMERAS = ("Leica M6", "Pixel 8", None)


def paint(path: Path, seed: int, size: tuple[int, int] = (96, 72)) -> None:
    """Write a picture of coloured shapes, another one for each seed."""
    dice = random.Random(seed)
    image = Image.new("RGB", size, tuple(dice.randrange(256) for _ in range(3)))
    draw = ImageDraw.Draw(image)
    for _ in range(4):
        left, top = dice.randrange(size[0]), dice.randrange(size[1])
        box = (left, top, left + dice.randrange(8, 60), top + dice.randrange(8, 60))
        shape = draw.rectangle if dice.random() < 0.5 else draw.ellipse
        shape(box, fill=tuple(dice.randrange(256) for _ in range(3)))
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


@dataclass
class Library:
    """Where everything of one small library is."""

    settings: Settings
    photos: Path
    engine: Engine
    predictor: Predictor

    def index(self, album: str = "small") -> None:
        """Bring the album up to date, as `referent index` does."""
        index_album(self.settings, album, self.predictor, catalog=self.engine.catalog)

    def add_album(self, folder: Path, name: str) -> None:
        """Make an album of a folder and index it."""
        with self.engine.catalog.session() as session:
            ensure_album(session, [folder], name=name)
        self.index(name)

    def confidences(self, album: str = "small") -> np.ndarray:
        """Sorted confidences of the whole album for EXPRESSION."""
        view = self.engine.views(album)[0]
        words = self.engine.models.words(view.predictor, EXPRESSION)
        tokens = view.snapshot.gather("tokens", np.arange(len(view.snapshot)))
        return np.sort(
            view.calibration.confidence(view.predictor.judge(tokens, words).no_target_logit)
        )

    def threshold(self, share: float = 0.5) -> float:
        """A threshold that about this share of the album passes."""
        return round(float(np.quantile(self.confidences(), 1 - share)), 6)


def make_library(
    folder: Path,
    count: int = 24,
    *,
    seed: int = 1,
    config: ReLAConfig = TINY,
    head_dtype: HeadDtype = "auto",
) -> Library:
    """Paint, index, and give each photo a date, a camera, a place."""
    settings = Settings(
        home=folder / "home",
        decode_workers=1,
        model=_weights(folder, config),
        head_dtype=head_dtype,
    )
    photos = folder / "photos"
    for number in range(count):
        suffix = ("jpg", "png", "webp")[number % 3]
        shape = ((96, 72), (72, 96), (80, 80))[number % 5 % 3]
        paint(photos / f"{2020 + number % 3}" / f"{number:03d}.{suffix}", number, shape)
    catalog = Catalog.open(settings)
    predictor = load_predictor(settings.model, head_dtype=head_dtype)
    engine = Engine(settings, catalog, FeatureStore.open(settings, catalog), predictor)
    library = Library(settings, photos, engine, predictor)
    library.add_album(photos, "small")
    dice = random.Random(seed)
    with catalog.session() as session:
        for photo_id in list(session.scalars(select(Photo.id))):
            session.execute(
                update(Photo)
                .where(Photo.id == photo_id)
                .values(
                    taken_at=datetime(2020, 1, 1) + timedelta(days=dice.randrange(1000)),
                    camera=dice.choice(CAMERAS),
                    lat=dice.uniform(-80, 80) if dice.random() < 0.8 else None,
                    lon=dice.uniform(-180, 180),
                )
            )
    return library


def _weights(folder: Path, config: ReLAConfig) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    return write_tiny_model(folder / "rela-atom.safetensors", config=config)
