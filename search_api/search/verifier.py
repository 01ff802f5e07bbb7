"""A released network as verifier of a search: it looks at the candidates' pixels themselves."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from indexer.db.catalog import Catalog
from indexer.photos.decode import limits_of
from indexer.photos.picture import decode_upright, read_file
from indexer.settings import Settings
from model.asking import EarlyFusion, Network
from model.calibration import Calibration
from model.errors import PhotoError, UnknownModel, WeightsError
from model.official.config import OFFICIAL
from model.official.verifier import load_verifier
from search_api.errors import SearchError
from search_api.search.album_decisions import own_calibration
from search_api.search.decisions import CONFIDENCE_DIGITS, Decision, quantised
from search_api.search.photos import PhotoInfo, checked_file

log = logging.getLogger(__name__)

BATCH = 8
"""Photos between two looks at the clock and at whoever wants to cancel."""


def weights_of_verifier(settings: Settings, name: str) -> Path:
    """Where the imported weights of a released network lie.

    Raises:
        UnknownModel: no released network has this name.
        WeightsError: it was not imported here; the message says how to.
    """
    if name not in OFFICIAL:
        raise UnknownModel(f"{name!r} is no verifier; choose one of {', '.join(sorted(OFFICIAL))}")
    path = settings.models_dir / f"{name}.safetensors"
    if not path.is_file():
        raise WeightsError(
            f"{name} was not imported; run: referent models import FILE.pth --as {name}"
        )
    return path


def device_of(settings: Settings) -> str:
    """Where a verifier runs: where the setting says, if it was set, else on a GPU if there is one.

    The head stays on the processor unless told otherwise: it is quick there, and to the bit.
    """
    if "device" in settings.model_fields_set or not torch.cuda.is_available():
        return settings.device
    return "cuda"


class Verifiers:
    """The verifiers of one installation, loaded when first needed; the last one is kept."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._loading = threading.Lock()
        self._kept: Network | None = None
        self._used_at = time.monotonic()

    def keep(self, verifier: Network) -> None:
        """Use a verifier that is loaded already, under its name."""
        self._kept = verifier

    def imported(self) -> list[str]:
        """Names of the verifiers that can be used here."""
        folder = self._settings.models_dir
        here = {name for name in OFFICIAL if (folder / f"{name}.safetensors").is_file()}
        return sorted(here | ({self._kept.name} if self._kept is not None else set()))

    def named(self, name: str) -> Network:
        """Return a verifier.

        Raises:
            UnknownModel: no released network has this name.
            WeightsError: it was not imported here; the message says how to.
        """
        with self._loading:
            self._used_at = time.monotonic()
            if self._kept is not None and self._kept.name == name:
                return self._kept
            path = weights_of_verifier(self._settings, name)
            self._kept = None  # one network at a time: the base one takes a gigabyte
            self._kept = EarlyFusion(load_verifier(path, device=device_of(self._settings)))
            return self._kept

    def let_go(self, unused_since: float) -> bool:
        """Let the verifier go if it was not asked for since then, and can be loaded again.

        Returns:
            whether there was one.
        """
        with self._loading:
            kept = self._kept
            if kept is None or self._used_at > unused_since:
                return False
            if not (self._settings.models_dir / f"{kept.name}.safetensors").is_file():
                return False
            self._kept = None
            return True


@dataclass
class Verification:
    """One expression, asked of a network that looks at photos, and what became of them.

    Attributes:
        wanted: confidence that counts as a match; None takes each album's calibrated one.
        albums: calibrations that albums have of their own for this verifier, by album id.
    """

    verifier: Network
    expression: str
    settings: Settings
    wanted: float | None
    albums: dict[int, Calibration] = field(default_factory=dict)
    unreadable: int = 0

    @property
    def calibrations(self) -> list[Calibration]:
        """Those that may decide here: the albums' own, or the verifier's."""
        return list(self.albums.values()) or [self.verifier.calibration]

    @property
    def threshold(self) -> float:
        """The least confidence that counts as a match."""
        return min(self._threshold(each) for each in self.calibrations)

    def _threshold(self, calibration: Calibration) -> float:
        chosen = calibration.threshold if self.wanted is None else self.wanted
        return round(chosen, CONFIDENCE_DIGITS)

    def judge(self, photos: list[PhotoInfo]) -> list[Decision]:
        """Decide about photos from their files; those that cannot be read are counted, not judged.

        Returns:
            a decision for each photo that was judged, in their order.
        """
        limits = limits_of(self.settings)
        images: list[Image.Image] = []
        judged = []
        for photo in photos:
            try:
                images.append(decode_upright(read_file(str(checked_file(photo)), limits), limits))
            except (PhotoError, SearchError) as error:
                self.unreadable += 1
                log.warning("photo %d was not verified: %s", photo.id, error)
                continue
            judged.append(photo)
        if not judged:
            return []
        asked = [(place, self.expression) for place in range(len(images))]
        nothing = np.zeros(0, np.float32)
        decisions = []
        for photo, said in zip(judged, self.verifier.encode(images).judge(asked), strict=True):
            own = self.albums.get(photo.album_id, self.verifier.calibration)
            confidence = round(float(own.confidence(said.no_target_logit)), CONFIDENCE_DIGITS)
            decisions.append(
                Decision(
                    photo_id=photo.id,
                    confidence=confidence,
                    accepted=confidence >= self._threshold(own),
                    no_target_logit=said.no_target_logit,
                    minimap=said.minimap.ravel(),
                    coefficients=nothing,
                    mask_logit=quantised(said.mask_logit),
                )
            )
        return decisions


def begin(
    verifiers: Verifiers,
    settings: Settings,
    name: str,
    expression: str,
    threshold: float | None,
    *,
    catalog: Catalog,
    albums: Iterable[int],
) -> Verification:
    """Load a verifier and let it read the expression.

    Args:
        threshold: confidence that counts as a match; None takes the calibrated ones.
        albums: that photos will come from.
    Raises:
        UnknownModel, WeightsError, ExpressionError.
    """
    verifier = verifiers.named(name)
    with catalog.reading() as session:
        found = {each: own_calibration(session, each, verifier.fingerprint) for each in albums}
    calibrations = {each: own or verifier.calibration for each, own in found.items()}
    return Verification(verifier, expression, settings, threshold, calibrations)
