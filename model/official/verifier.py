"""A released network as exact verifier: photos and one expression in, decisions and masks out.

Nothing is cached: language takes part from the first Swin stage on.  So it judges the few photos
that a prefilter found, and tells its calibrated confidence like every other model here.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from model import masks
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


@dataclass(frozen=True)
class Verdict:
    """What a released network says of B photos for one expression.

    Attributes:
        no_target_logit: (B,) float32; positive says that the expression refers to nothing.
        mask_logit: (B, S/4, S/4) float16; positive is target.
    """

    no_target_logit: NDArray[np.float32]
    mask_logit: NDArray[np.float16]

    def __len__(self) -> int:
        return len(self.no_target_logit)

    def __getitem__(self, index: int | slice) -> Verdict:
        if isinstance(index, int):
            index = slice(index, index + 1)
        return Verdict(self.no_target_logit[index], self.mask_logit[index])


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
    def judge(self, pixels: NDArray[np.uint8], words: OfficialWords) -> Verdict:
        """Judge photos, a batch at a time.

        Args:
            pixels: (B, S, S, 3) uint8 RGB from ``pixels_of``.
            words: one expression.
        """
        logits, maps = [], []
        for start in range(0, len(pixels), self.batch):
            chunk = np.array(pixels[start : start + self.batch])  # torch wants it writable
            count = len(chunk)
            x = torch.from_numpy(chunk).to(self.device).permute(0, 3, 1, 2)  # NHWC -> NCHW
            features = words.features.expand(count, -1, -1)
            half = self.precision == "bfloat16"
            with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
                output = self.network(x, features, words.mask.expand(count, -1))
            logits.append(output.no_target_logit().float().cpu().numpy())
            maps.append(output.mask_logit().half().cpu().numpy())
        side = self.input_size // 4
        if not logits:
            return Verdict(np.zeros(0, np.float32), np.zeros((0, side, side), np.float16))
        return Verdict(np.concatenate(logits), np.concatenate(maps))

    @torch.inference_mode()
    def look(self, pixels: NDArray[np.uint8], words: OfficialWords) -> OfficialOutput:
        """All that the network says of one photo: (S, S, 3) uint8 from ``pixels_of``."""
        x = torch.from_numpy(np.array(pixels)).to(self.device).permute(2, 0, 1)[None]
        half = self.precision == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
            output: OfficialOutput = self.network(x, words.features, words.mask)
        return output

    def unread(self, expression: str) -> Unread:
        """What of an expression does not count, see `WordPieces.unread`."""
        return self._word_pieces.unread(expression)

    def pieces(self, expression: str) -> tuple[str, ...]:
        """The word pieces of an expression, [CLS] first, padding last."""
        return tuple(self._word_pieces.tokenizer.encode(clean(expression)).tokens)

    def confidence(self, verdict: Verdict) -> NDArray[np.float64]:
        """Calibrated p(the expression refers to something here), (B,)."""
        return self.calibration.confidence(verdict.no_target_logit)

    def render(
        self, verdict: Verdict, width: int, height: int, *, accepted: bool = True
    ) -> masks.Mask:
        """Make the mask of one photo's verdict at the photo's upright size.

        ``accepted`` False, the expression refers to nothing, empties it (GRES section 4.1).
        """
        if not accepted:
            return masks.empty(width, height, verdict.mask_logit.shape[-2:])
        return masks.from_logits(torch.from_numpy(verdict.mask_logit[0]), width, height)


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
