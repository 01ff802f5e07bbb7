"""What a process holds for jobs between turns: made when first needed, shared by them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from indexer.db.catalog import Catalog
    from indexer.features.versions import Version
    from indexer.photos.decode import Decoder
    from indexer.settings import Settings
    from model.predictor import Predictor
    from search_api.search.engine import Engine
    from search_api.search.models import Models


class Held:
    """One network at a time, one engine, and the processes that decode photos.

    Asking for another network lets the first one go: two at once might not fit into memory. The
    decoding processes are kept, for starting them costs more than a small batch.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        load: Callable[[str], Predictor] | None = None,
        engine: Engine | None = None,
    ) -> None:
        """Hold nothing yet.

        Args:
            load: gets a network by its name; default `model.build.load_predictor`.
            engine: that of the server in whose process jobs run, with its networks; it stays the
                server's.
        """
        self._settings = settings
        self._load = load
        self._given = self._engine = engine
        self._shared = engine is not None and load is None
        self._models: Models | None = engine.models if engine is not None and self._shared else None
        self._decoder: Decoder | None = None
        self._lock = threading.Lock()
        self._used_at = time.monotonic()
        self.cursors: dict[tuple[int, int], int] = {}
        """Where this process's part of a run stands, by (job, album): a photo's id."""

    @property
    def models(self) -> Models:
        """The networks; torch is imported here, never before a fork."""
        from search_api.search.models import Models

        with self._lock:
            if self._models is None:
                self._models = Models(self._settings, load=self._load, kept=1)
            return self._models

    def network(self, name: str) -> Predictor:
        """The network of this name.

        Raises:
            UnknownModel, WeightsError.
        """
        self._make_room(name)
        return self.models.named(name)

    def network_of(self, version: Version | None) -> Predictor:
        """As `Models.that_made`."""
        self._make_room(self._settings.model if version is None else version.model)
        return self.models.that_made(version)

    def engine(self, catalog: Catalog) -> Engine:
        """What searches and pictures of jobs need; it keeps the albums that it has opened."""
        from indexer.features.store import FeatureStore
        from search_api.search.engine import Engine

        if self._engine is None:
            store = FeatureStore.open(self._settings, catalog)
            self._engine = Engine(self._settings, catalog, store, models=self.models)
        self._used_at = time.monotonic()
        return self._engine

    def let_outdated_go(self) -> int:
        """Let albums go that have changed or are gone, of an engine of one's own; how many.

        They would keep segments on the disk that nobody needs, for as long as no turn asks.
        """
        engine = self._engine
        return 0 if engine is None or engine is self._given else engine.let_outdated_go()

    def decoder(self, input_size: int) -> Decoder:
        """Processes that decode photos to this size."""
        from indexer.photos.decode import Decoder

        with self._lock:
            if self._decoder is not None and self._decoder.input_size != input_size:
                self._decoder.close()
                self._decoder = None
            if self._decoder is None:
                self._decoder = Decoder(self._settings, input_size)
            return self._decoder

    def let_go(self, idle_s: float) -> None:
        """Between turns: let go what no turn has asked for in so long."""
        if time.monotonic() - self._used_at >= idle_s:
            self.close()

    def close(self) -> None:
        """Let the networks and the decoding processes go."""
        with self._lock:
            self._let_engine_go()
            if not self._shared:
                self._models = None
            if self._decoder is not None:
                self._decoder.close()
                self._decoder = None

    def _make_room(self, name: str) -> None:
        """Let the albums go that hold another network than the one that is asked for."""
        self._used_at = time.monotonic()
        if self.models.held(name) is None:
            self._let_engine_go()

    def _let_engine_go(self) -> None:
        if self._engine is not None and self._engine is not self._given:
            self._engine.let_views_go()
            self._engine = None
