"""The networks that a process holds: loaded when first needed, few of them kept."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from weakref import WeakValueDictionary

from indexer.features.versions import Version, fits
from indexer.settings import Settings
from model.build import load_predictor
from model.errors import ModelError, ModelVersionMismatch
from model.predictor import Predictor, Words

# The serving model and the one that it is being replaced by.
MODELS_KEPT = 2
WORDS_KEPT = 256


class Models:
    """Networks by name and the word features of recent expressions; threads share one."""

    def __init__(
        self,
        settings: Settings,
        predictor: Predictor | None = None,
        *,
        load: Callable[[str], Predictor] | None = None,
        kept: int = MODELS_KEPT,
    ) -> None:
        """Load nothing yet.

        Args:
            predictor: the network of the settings, if there is one already; it stays.
            load: gets a network by its name; default `model.build.load_predictor`.
            kept: so many networks at most; one goes before another one is loaded.
        """
        self._settings = settings
        self._given = predictor
        self._load = load or self._from_disk
        self._room = max(1, kept - (predictor is not None))
        self._held: dict[str, Predictor] = {}
        self._alive: WeakValueDictionary[str, Predictor] = WeakValueDictionary()
        self._default_prints: dict[str, str] | None = None
        self._used_at = time.monotonic()
        self._words: OrderedDict[tuple[str, str, str], Words] = OrderedDict()
        self._loading = threading.Lock()
        self._caching = threading.Lock()

    @property
    def default(self) -> Predictor:
        """The network of the settings, loaded at first use (seconds)."""
        return self.named(self._settings.model)

    def named(self, name: str) -> Predictor:
        """The network of this name.

        Raises:
            UnknownModel, WeightsError.
        """
        self._used_at = time.monotonic()
        if (known := self.held(name)) is not None:
            return known
        with self._loading:
            return self.held(name) or self._loaded(name)

    def held(self, name: str) -> Predictor | None:
        """The network of this name, if it is loaded, be it that an album's view alone holds it."""
        default = self._given or self._alive.get(self._settings.model)
        if default is not None and name in (self._settings.model, default.name):
            return default
        return self._alive.get(name)

    def that_made(self, version: Version | None) -> Predictor:
        """The network that made the features of an album's version; the default one without any.

        Raises:
            UnknownModel, WeightsError: the default one cannot be loaded.
            ModelVersionMismatch: the model of this name cannot, or is another one by now.
        """
        default = self.held(self._settings.model)
        if default is not None or self._default_prints is None:
            self._default_prints = (default or self.default).fingerprints
        prints = self._default_prints  # known for as long as the process lives, so loaded once
        if version is None or fits(prints, version.fingerprints):
            return self.default
        with self._loading:
            network = self._alive.get(version.model)
            try:
                if network is None or not fits(network.fingerprints, version.fingerprints):
                    network = self._loaded(version.model)  # a newer file by now, perhaps
            except ModelError as error:
                raise _mismatch(version.model, self._settings.model) from error
        if not fits(network.fingerprints, version.fingerprints):
            raise _mismatch(version.model, self._settings.model)
        return network

    def let_go(self, unused_since: float) -> bool:
        """Let every network go that can be loaded again, if none was used since then.

        Args:
            unused_since: a time of `time.monotonic`.
        Returns:
            whether there was any.
        """
        with self._loading:
            if self._used_at > unused_since or not self._held:
                return False
            self._held.clear()
        with self._caching:
            self._words.clear()
        return True

    def words(self, predictor: Predictor, expression: str) -> Words:
        """Word features of one expression; those of recent expressions are kept."""
        self._used_at = time.monotonic()
        prints = predictor.fingerprints  # a dual encoder's sentences lie in another space
        key = (prints["head"], prints["vectors"], expression)
        with self._caching:
            if (known := self._words.get(key)) is not None:
                self._words.move_to_end(key)
                return known
        read = predictor.read([expression])[0]
        with self._caching:
            self._words[key] = read
            while len(self._words) > WORDS_KEPT:
                self._words.popitem(last=False)
        return read

    def _loaded(self, name: str) -> Predictor:
        """Load a network, after others have made room for it, the default one last."""
        default = self._settings.model
        self._held.pop(name, None)
        while len(self._held) >= self._room:
            del self._held[next((each for each in self._held if each != default), default)]
        network = self._held[name] = self._alive[name] = self._load(name)
        return network

    def _from_disk(self, name: str) -> Predictor:
        settings = self._settings
        return load_predictor(name, device=settings.device, head_dtype=settings.head_dtype)


def _mismatch(name: str, default: str) -> ModelVersionMismatch:
    return ModelVersionMismatch(
        f"the album is searched with {name}, whose weights are not known here: name their file "
        f"with --model, or change to {default}: referent reindex --model {default}"
    )
