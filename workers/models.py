"""One model and one engine a process: made when a job first needs them, shared by its turns."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from workers.logging import logger

if TYPE_CHECKING:
    from indexer.db.catalog import Catalog
    from indexer.photos.decode import Decoder
    from indexer.settings import Settings
    from model.predictor import Predictor
    from search_api.search.engine import Engine

log = logger(__name__)


class Models:
    """Holds the network that was asked for last; asking for another lets the first one go.

    The processes that decode photos for it are kept as well: starting them costs more than a small
    batch.
    """

    def __init__(
        self,
        device: str = "cpu",
        load: Callable[[str], Predictor] | None = None,
        engine: Engine | None = None,
    ) -> None:
        """Hold nothing yet.

        Args:
            load: gets a network by name; default the engine's, else `model.build.load_predictor`.
            engine: that of the server in whose process jobs run; it stays the server's.
        """
        self._device = device
        self._load = load or (None if engine is None else engine.models.named)
        self._given = self._engine = engine
        self._name: str | None = None
        self._predictor: Predictor | None = None
        self._decoder: Decoder | None = None
        self._decoder_size = 0
        self._lock = threading.Lock()
        self._used_at = time.monotonic()
        self.cursors: dict[tuple[int, int], int] = {}
        """Where this process's part of a run stands, by (job, album): a photo's id."""

    def get(self, name: str) -> Predictor:
        """The network of this name; torch is imported here, never before a fork.

        Raises:
            UnknownModel, WeightsError.
        """
        with self._lock:
            self._used_at = time.monotonic()
            if self._predictor is None or self._name != name:
                self._let_engine_go()
                self._predictor = None  # two at once might not fit into memory
                log.info("loading model", model=name)
                if self._load is not None:
                    self._predictor = self._load(name)
                else:
                    from model.build import load_predictor

                    self._predictor = load_predictor(name, device=self._device)
                self._name = name
            return self._predictor

    def engine(self, settings: Settings, catalog: Catalog) -> Engine:
        """What searches and pictures of jobs need; it keeps the albums that it has opened."""
        from indexer.features.store import FeatureStore
        from search_api.search.engine import Engine

        if self._engine is None:
            store = FeatureStore.open(settings, catalog)
            self._engine = Engine(settings, catalog, store, self.get(settings.model))
        self._used_at = time.monotonic()
        return self._engine

    def let_outdated_go(self) -> int:
        """Let albums go that have changed or are gone, of an engine of one's own; how many.

        They would keep segments on the disk that nobody needs, for as long as no turn asks.
        """
        engine = self._engine
        return 0 if engine is None or engine is self._given else engine.let_outdated_go()

    def decoder(self, settings: Settings, input_size: int) -> Decoder:
        """Processes that decode photos to this size."""
        from indexer.photos.decode import Decoder

        with self._lock:
            if self._decoder is not None and self._decoder_size != input_size:
                self._decoder.close()
                self._decoder = None
            if self._decoder is None:
                self._decoder = Decoder(settings, input_size)
                self._decoder_size = input_size
            return self._decoder

    def let_go(self, idle_s: float) -> None:
        """Between turns: let go what no turn has asked for in so long."""
        with self._lock:
            if time.monotonic() - self._used_at >= idle_s:
                self._let_go()

    def close(self) -> None:
        """Let the network and the decoding processes go."""
        with self._lock:
            self._let_go()

    def _let_engine_go(self) -> None:
        if self._engine is not None and self._engine is not self._given:
            self._engine.let_views_go()
            self._engine = None

    def _let_go(self) -> None:
        self._let_engine_go()
        self._predictor = self._name = None
        if self._decoder is not None:
            self._decoder.close()
            self._decoder = None
