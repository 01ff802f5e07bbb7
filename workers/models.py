"""One model a process: loaded when a job first needs it, shared by all of its turns."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from workers.logging import logger

if TYPE_CHECKING:
    from model.predictor import Predictor

log = logger(__name__)


class Models:
    """Holds the network that was asked for last; asking for another lets the first one go."""

    def __init__(self, device: str = "cpu") -> None:
        self._device = device
        self._name: str | None = None
        self._predictor: Predictor | None = None
        self._lock = threading.Lock()

    def hold(self, name: str, predictor: Predictor) -> None:
        """Share a network that the process has loaded already, such as the search engine's."""
        with self._lock:
            self._name, self._predictor = name, predictor

    def get(self, name: str) -> Predictor:
        """The network of this name; torch is imported here, never before a fork.

        Raises:
            UnknownModel, WeightsError.
        """
        with self._lock:
            if self._predictor is None or self._name != name:
                from model.build import load_predictor

                self._predictor = None  # two at once might not fit into memory
                log.info("loading model", model=name)
                self._predictor = load_predictor(name, device=self._device)
                self._name = name
            return self._predictor
