"""The networks that searches use: loaded when first needed, few of them kept."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Mapping

from indexer.features.versions import fits
from indexer.settings import Settings
from model.build import load_predictor
from model.errors import ModelError, ModelVersionMismatch
from model.predictor import Predictor, Words

# The serving model and the one that it is being replaced by.
MODELS_KEPT = 2
WORDS_KEPT = 256


class Models:
    """Networks by name and the word features of recent expressions; threads share one."""

    def __init__(self, settings: Settings, predictor: Predictor | None = None) -> None:
        self._settings = settings
        self._given = self._default = predictor
        self._used_at = time.monotonic()
        self._others: OrderedDict[str, Predictor] = OrderedDict()
        self._words: OrderedDict[tuple[str, str, str], Words] = OrderedDict()
        self._loading = threading.Lock()
        self._caching = threading.Lock()

    @property
    def default(self) -> Predictor:
        """The network of the settings, loaded at first use (seconds)."""
        self._used_at = time.monotonic()
        if (known := self._default) is not None:
            return known
        with self._loading:
            if self._default is None:
                self._default = self._load(self._settings.model)
            return self._default

    def let_go(self, unused_since: float) -> bool:
        """Let every network go that can be loaded again, if none was used since then.

        Args:
            unused_since: a time of `time.monotonic`.
        Returns:
            whether there was any.
        """
        with self._loading:
            held = bool(self._others) or self._default is not self._given
            if self._used_at > unused_since or not held:
                return False
            self._default = self._given
            self._others.clear()
        with self._caching:
            self._words.clear()
        return True

    def named(self, name: str) -> Predictor:
        """The network of this name, shared with the searches where it is theirs.

        Raises:
            UnknownModel, WeightsError.
        """
        if name in (self._settings.model, self.default.name):
            return self.default
        with self._loading:
            if (known := self._others.get(name)) is not None:
                return known
        return self._load(name)

    def that_made(self, name: str, fingerprints: Mapping[str, str]) -> Predictor:
        """The network whose cached features carry these fingerprints.

        Args:
            name: of the model, to load it by when it is not the default one.
        Raises:
            ModelVersionMismatch: the model of this name is another one by now.
        """
        if fits(self.default, fingerprints):
            return self.default
        with self._loading:
            known = self._others.get(name)
            if known is None or not fits(known, fingerprints):
                try:
                    known = self._load(name)
                except ModelError as error:
                    raise _mismatch(name, self.default.name) from error
                if not fits(known, fingerprints):
                    raise _mismatch(name, self.default.name)
                self._others[name] = known
                while len(self._others) > MODELS_KEPT - 1:
                    self._others.popitem(last=False)
            return known

    def _load(self, name: str) -> Predictor:
        settings = self._settings
        return load_predictor(name, device=settings.device, head_dtype=settings.head_dtype)

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


def _mismatch(name: str, default: str) -> ModelVersionMismatch:
    return ModelVersionMismatch(
        f"the features were made by a build of {name} that is not installed here; "
        f"run: referent reindex --model {default}"
    )
