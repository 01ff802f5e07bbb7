"""A released network as exact verifier: photos and one expression in, decisions and masks out.

Nothing is cached: language takes part from the first Swin stage on.  So it judges the few photos
that a prefilter found.  `model.asking.EarlyFusion` gives what it says the form of every network.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from model.calibration import Calibration, path_beside
from model.checkpoint import fingerprint
from model.official.build import load_official, random_official
from model.official.network import OfficialOutput, OfficialRela
from model.text import Unread, clean, minilm_word_pieces

log = logging.getLogger(__name__)

PREPROCESSING = "squash-bilinear-1"
"""Part of the fingerprint: raise it when the pixels that a photo yields change."""

Precision = Literal["float32", "bfloat16"]


def official_pixels(image: Image.Image, size: int) -> NDArray[np.uint8]:
    """Squash an upright RGB picture as the released networks were trained: (S, S, 3) uint8."""
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR), dtype=np.uint8)


@dataclass(frozen=True)
class OfficialWords:
    """One expression, read.

    Attributes:
        text: as it was given.
        features: (1, T, C_t) word features, padding among them.
        mask: (1, T) 1 on real tokens.
    """

    text: str
    features: Tensor
    mask: Tensor


class OfficialVerifier:
    """One released network, loaded.

    Args:
        network: with its weights.
        name: as it was asked for.
        calibration: how its no-target logits are read; by default as they are, at its own
            classifier's border.
        device: "cpu" or a CUDA device.
        precision: by default bfloat16 on a GPU and float32 on a CPU, where results then do not
            depend on which processor ran them.
    """

    def __init__(
        self,
        network: OfficialRela,
        *,
        name: str,
        calibration: Calibration | None = None,
        device: str = "cpu",
        precision: Precision | None = None,
    ) -> None:
        self.device = torch.device(device)
        self.network = network.eval().requires_grad_(False).to(self.device)
        self.name = name
        self.calibration = calibration or Calibration()
        self.config = network.config
        self.input_size = network.config.input_size
        self.precision: Precision = precision or (
            "float32" if self.device.type == "cpu" else "bfloat16"
        )
        # One photo at a time on a CPU: it is as fast, and no photo's answer depends on another's.
        self.batch = 1 if self.device.type == "cpu" else 16
        # MiniLM carries the vocabulary of bert-base-uncased, which the networks were trained with.
        self._word_pieces = minilm_word_pieces(self.config.max_tokens)

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits: results of another fingerprint are not this verifier's."""
        settings = (PREPROCESSING, str(self.input_size), str(self.config.max_tokens))
        return fingerprint(settings, (self.network,))

    def pixels_of(self, image: Image.Image) -> NDArray[np.uint8]:
        """Squash an upright RGB photo to this network's input, (S, S, 3) uint8."""
        return official_pixels(image, self.input_size)

    @torch.inference_mode()
    def read(self, expression: str) -> OfficialWords:
        """Run BERT on one expression.

        Raises:
            ExpressionError: it is empty, too long or holds no known word.
        """
        tokens, mask = self._word_pieces([expression])
        tokens %= self.config.text.vocab_size  # only networks made for tests know fewer words
        tokens, mask = tokens.to(self.device), mask.to(self.device)
        return OfficialWords(expression, self.network.read(tokens, mask).float(), mask)

    @torch.inference_mode()
    def judge(
        self, pixels: NDArray[np.uint8], words: Sequence[OfficialWords]
    ) -> list[OfficialOutput]:
        """Judge M pairs, a batch at a time.

        Args:
            pixels: (M, S, S, 3) uint8 RGB from ``pixels_of``.
            words: M expressions.
        Returns:
            all that the network says of each pair, a batch of one.
        """
        found: list[OfficialOutput] = []
        half = self.precision == "bfloat16"
        for start in range(0, len(words), self.batch):
            some = words[start : start + self.batch]
            chunk = np.array(pixels[start : start + self.batch])  # torch wants it writable
            x = torch.from_numpy(chunk).to(self.device).permute(0, 3, 1, 2)  # NHWC -> NCHW
            features = torch.cat([each.features for each in some])
            mask = torch.cat([each.mask for each in some])
            with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
                output = self.network(x, features, mask)
            rows = range(len(some))
            found += [OfficialOutput(*(part[row : row + 1] for part in output)) for row in rows]
        return found

    def unread(self, expression: str) -> Unread:
        """What of an expression does not count, see `WordPieces.unread`."""
        return self._word_pieces.unread(expression)

    def pieces(self, expression: str) -> tuple[str, ...]:
        """The word pieces of an expression, [CLS] first, padding last."""
        return tuple(self._word_pieces.tokenizer.encode(clean(expression)).tokens)


def load_verifier(
    weights: str | Path, *, device: str = "cpu", precision: Precision | None = None
) -> OfficialVerifier:
    """Load a verifier.

    Args:
        weights: an imported weights file, or ``NAME:random-SEED`` for random weights.
        device, precision: see ``OfficialVerifier``.
    Raises:
        WeightsError: the file is missing, damaged or not an imported released network.
        UnknownModel: no released network has that name.
    """
    name, _, seed = str(weights).partition(":random-")
    if seed.isdecimal():
        network = random_official(name, int(seed))
        return OfficialVerifier(network, name=str(weights), device=device, precision=precision)
    path = Path(weights)
    network = load_official(path)
    verifier = OfficialVerifier(
        network, name=network.config.name, device=device, precision=precision
    )
    if (beside := path_beside(path)).is_file():
        fitted = Calibration.load(beside)
        if fitted.fitted_to in ("", verifier.fingerprint):
            verifier.calibration = fitted
        else:  # weights that were imported again, with another lang_weight for instance
            log.warning(
                "%s was fitted to other weights and is not used; run: referent calibrate %s",
                beside, verifier.name,
            )  # fmt: skip
    return verifier
