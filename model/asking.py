"""One way to ask any network: it looks at a photo, expressions are asked of it.

A late-fusion network encodes the photo when it looks, once for all expressions; an early-fusion
one, as released, looks anew for each. What they say has one form.

Shape legend: N = P² regions, T words, h x w the network's mask, S its input side.
"""

from __future__ import annotations

from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from model import masks
from model.attention import last_finest, region_attention, watched, word_attention
from model.calibration import Calibration
from model.figure import region_masks
from model.network.preprocess import to_pixels
from model.official.verifier import OfficialVerifier
from model.predictor import Predictor
from model.text import Unread, clean

Floats = NDArray[np.float32]


class Said(Protocol):
    """What a network says of one expression about one photo."""

    @property
    def no_target_logit(self) -> float:
        """Before calibration; positive says that nothing is referred to."""

    @property
    def mask_logit(self) -> Floats:
        """(h, w) float32; positive is target, whatever the no-target decision."""

    @property
    def minimap(self) -> Floats:
        """x_r: (P, P) float32 in [0, 1]."""

    @property
    def region_masks(self) -> Floats:
        """M_r: (N, h, w) float32 in [0, 1]."""

    @property
    def words(self) -> tuple[str, ...]:
        """The T word pieces that were read, [CLS] first."""

    @property
    def word_attention(self) -> Floats | None:
        """A_l: (N, T); None where the network has none."""

    @property
    def region_attention(self) -> Floats | None:
        """A_ri: (N, h, w) at the finest scale; None where the network has none."""


class Look(Protocol):
    """A photo that a network looks at."""

    def ask(self, expression: str) -> Said:
        """Ask one expression.

        Raises:
            ExpressionError: it is empty, too long or holds no known word.
        """


class Network(Protocol):
    """Any network: shipped, trained here, or released and imported."""

    name: str
    calibration: Calibration

    @property
    def fingerprint(self) -> str:
        """16 hex digits: answers of another fingerprint are not this network's."""

    def look(self, image: Image.Image) -> Look:
        """Look at an upright RGB photo of any size."""

    def unread(self, expression: str) -> Unread:
        """What of an expression does not count, see `WordPieces.unread`."""


def mask_of(said: Said, width: int, height: int, *, accepted: bool = True) -> masks.Mask:
    """The mask of an answer at width x height pixels; empty where it is not accepted."""
    if not accepted:
        return masks.empty(width, height, said.mask_logit.shape)
    return masks.from_logits(torch.from_numpy(said.mask_logit), width, height)


class LateFusion:
    """A late-fusion network, which encodes a photo once."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        self.name = predictor.name
        self.calibration = predictor.calibration

    @property
    def fingerprint(self) -> str:
        """16 hex digits: answers of another fingerprint are not this network's."""
        return self.predictor.fingerprints["head"]

    def unread(self, expression: str) -> Unread:
        """What of an expression does not count."""
        return self.predictor.text.unread(expression)

    def look(self, image: Image.Image) -> LateLook:
        """Encode an upright RGB photo."""
        return LateLook(self.predictor, to_pixels(image, self.predictor.input_size))


class LateLook:
    """A photo, encoded."""

    def __init__(self, predictor: Predictor, pixels: NDArray[np.uint8]) -> None:
        self.predictor, self.pixels = predictor, pixels
        self.records = predictor.encode(pixels[None], ("tokens", "masks"))

    def ask(self, expression: str) -> LateSaid:
        """Judge one expression from the encoded photo."""
        return LateSaid(self, expression)

    @cached_property
    def region_attention(self) -> Floats | None:
        """A_ri, the same for every expression."""
        return region_attention(self.predictor, self.pixels)


class LateSaid:
    """An answer; what costs another run of a part is made when it is asked for."""

    def __init__(self, look: LateLook, expression: str) -> None:
        self._look = look
        predictor, records = look.predictor, look.records
        self._words = predictor.read([expression])
        judgement = predictor.judge(records["tokens"], self._words)
        self.no_target_logit = float(judgement.no_target_logit[0])
        side = round(predictor.regions**0.5)
        self.minimap: Floats = judgement.minimap[0].reshape(side, side)
        self.mask_logit: Floats = (
            predictor.mask_logits(records["masks"], judgement)[0].float().cpu().numpy()
        )
        pieces = predictor.text.word_pieces.tokenizer.encode(clean(expression)).tokens
        self.words = tuple(pieces[: int(self._words.mask[0].sum())])

    @cached_property
    def region_masks(self) -> Floats:
        """M_r."""
        records = self._look.records
        return region_masks(self._look.predictor, records["tokens"], records["masks"], self._words)

    @cached_property
    def word_attention(self) -> Floats | None:
        """A_l."""
        return word_attention(self._look.predictor, self._look.records["tokens"], self._words)

    @property
    def region_attention(self) -> Floats | None:
        """A_ri."""
        return self._look.region_attention


class EarlyFusion:
    """A released network, imported: language takes part from the first stage on."""

    def __init__(self, verifier: OfficialVerifier) -> None:
        self.verifier = verifier
        self.name = verifier.name
        self.calibration = verifier.calibration

    @property
    def fingerprint(self) -> str:
        """16 hex digits: answers of another fingerprint are not this network's."""
        return self.verifier.fingerprint

    def unread(self, expression: str) -> Unread:
        """What of an expression does not count."""
        return self.verifier.unread(expression)

    def look(self, image: Image.Image) -> EarlyLook:
        """Squash an upright RGB photo; nothing is computed yet."""
        return EarlyLook(self.verifier, self.verifier.pixels_of(image))


class EarlyLook:
    """A photo that is looked at anew for each expression."""

    def __init__(self, verifier: OfficialVerifier, pixels: NDArray[np.uint8]) -> None:
        self.verifier, self.pixels = verifier, pixels

    def ask(self, expression: str) -> EarlySaid:
        """Run the network on the photo and one expression."""
        return EarlySaid(self.verifier, self.pixels, expression)


class EarlySaid:
    """An answer of a released network."""

    @torch.inference_mode()
    def __init__(
        self, verifier: OfficialVerifier, pixels: NDArray[np.uint8], expression: str
    ) -> None:
        network = verifier.network
        words = verifier.read(expression)
        with (
            watched(last_finest(network.decoder)) as regions,
            watched(network.words.attention.attention) as heard,
        ):
            output = verifier.look(pixels, words)
        self.no_target_logit = float(output.no_target_logit()[0])
        self.mask_logit: Floats = output.mask_logit()[0].float().cpu().numpy()
        x = output.minimap[0].float().softmax(-1)[:, 1].cpu().numpy()
        side = round(len(x) ** 0.5)
        self.minimap: Floats = x.reshape(side, side)
        self._region_logits = output.region_masks()[0]
        length = int(words.mask.sum())
        self.words = verifier.pieces(expression)[:length]
        # Padding is looked at as well; that share is left out, so a row sums to less than 1.
        self.word_attention: Floats | None = heard[-1][0, :, :length].cpu().numpy()
        side = round(regions[-1].shape[-1] ** 0.5)
        maps = regions[-1][0].unflatten(-1, (side, side))
        self.region_attention: Floats | None = maps.cpu().numpy()

    @cached_property
    def region_masks(self) -> Floats:
        """M_r."""
        masked: Floats = self._region_logits.float().sigmoid().cpu().numpy()
        return masked
