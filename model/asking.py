"""One way to ask any network: it encodes photos, judges pairs, and each answer renders its mask.

A late-fusion network has seen a photo once it is encoded, and judges any number of expressions from
that; an early-fusion one, as released, looks anew for each pair. What they say has one form.

Shape legend: B photos, M pairs, N = P² regions, T words, C_m mask channels, h x w the network's
mask, S its input side.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from model import masks
from model.attention import last_finest, region_attention, watched, word_attention
from model.calibration import Calibration
from model.figure import region_filters, region_masks
from model.network.preprocess import to_pixels
from model.official.network import OfficialOutput
from model.official.verifier import OfficialVerifier, OfficialWords
from model.packing import Records
from model.predictor import Judgement, Predictor, Words
from model.text import Unread, clean

Floats = NDArray[np.float32]
Pair = tuple[int, str]  # the place of a photo among those encoded, and an expression


class Said(ABC):
    """What a network says of one expression about one photo.

    Attributes:
        no_target_logit: before calibration; positive says that nothing is referred to.
        minimap: x_r, (P, P) float32 in [0, 1].
    """

    no_target_logit: float
    minimap: Floats

    @property
    @abstractmethod
    def mask_logit(self) -> Floats:
        """(h, w) float32; positive is target, whatever the no-target decision."""

    @property
    @abstractmethod
    def filters(self) -> Floats:
        """F_f: (N, C_m)."""

    @property
    @abstractmethod
    def region_masks(self) -> Floats:
        """M_r: (N, h, w) float32 in [0, 1]."""

    @property
    @abstractmethod
    def words(self) -> tuple[str, ...]:
        """The T word pieces that were read, [CLS] first."""

    @property
    @abstractmethod
    def word_attention(self) -> Floats | None:
        """A_l: (N, T); None where the network has none."""

    @property
    @abstractmethod
    def region_attention(self) -> Floats | None:
        """A_ri: (N, h, w) at the finest scale; None where the network has none."""

    def render(self, width: int, height: int, *, accepted: bool = True) -> masks.Mask:
        """The mask at width x height pixels; empty where it is not accepted (GRES section 4.1)."""
        if not accepted:
            return masks.empty(width, height, self.mask_logit.shape)
        return masks.from_logits(torch.from_numpy(self.mask_logit), width, height)


class Seen(Protocol):
    """Photos that a network has encoded."""

    def judge(self, pairs: Sequence[Pair]) -> Sequence[Said]:
        """Judge pairs of a photo and an expression.

        One expression of any photos is judged as a search judges it, to the bit; several at once
        as that, but for rounding.

        Raises:
            ExpressionError: an expression is empty, too long or holds no known word.
        """


class Network(Protocol):
    """Any network: shipped, trained here, or released and imported."""

    name: str
    calibration: Calibration

    @property
    def fingerprint(self) -> str:
        """16 hex digits: answers of another fingerprint are not this network's."""

    @property
    def input_size(self) -> int:
        """S, pixels."""

    def encode(self, images: Sequence[Image.Image]) -> Seen:
        """Encode upright RGB photos of any size."""

    def unread(self, expression: str) -> Unread:
        """What of an expression does not count, see `WordPieces.unread`."""


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

    @property
    def input_size(self) -> int:
        """S, pixels."""
        return self.predictor.input_size

    def unread(self, expression: str) -> Unread:
        """What of an expression does not count."""
        return self.predictor.text.unread(expression)

    def encode(self, images: Sequence[Image.Image]) -> LateSeen:
        """Encode upright RGB photos."""
        pixels = np.stack([to_pixels(image, self.input_size) for image in images])
        records = self.predictor.encode(pixels, ("tokens", "masks"))
        return LateSeen(self.predictor, records["tokens"], records["masks"], pixels)


class LateSeen:
    """Photos, encoded.

    Args:
        tokens, masks: records (B,) of these tiers.
        pixels: (B, S, S, 3) uint8; where they are not known, nobody can ask for A_ri.
    """

    def __init__(
        self,
        predictor: Predictor,
        tokens: Records,
        masks: Records,
        pixels: NDArray[np.uint8] | None = None,
    ) -> None:
        self.predictor, self.tokens, self.masks, self.pixels = predictor, tokens, masks, pixels
        self._region_attention: dict[int, Floats | None] = {}

    def judge(self, pairs: Sequence[Pair]) -> list[LateSaid]:
        """Judge pairs from the encoded photos."""
        if not pairs:
            return []
        photos, texts = [photo for photo, _ in pairs], [text for _, text in pairs]
        if len(set(texts)) == 1:
            words = self.predictor.read(texts[:1])
            judgement = self.predictor.judge(self.tokens[photos], words)
            each = [words] * len(pairs)
        else:
            words = self.predictor.read(texts)
            judgement = self.predictor.judge_pairs(self.tokens[photos], words)
            each = [words[row] for row in range(len(pairs))]
        return [
            LateSaid(self, photo, each[row], judgement[row]) for row, photo in enumerate(photos)
        ]

    def region_attention(self, photo: int) -> Floats | None:
        """A_ri, the same for every expression."""
        if photo not in self._region_attention:
            assert self.pixels is not None, "encoded elsewhere"
            found = region_attention(self.predictor, self.pixels[photo])
            self._region_attention[photo] = found
        return self._region_attention[photo]


class LateSaid(Said):
    """An answer; what costs another run of a part is made when it is asked for."""

    def __init__(self, seen: LateSeen, photo: int, words: Words, judgement: Judgement) -> None:
        self._seen, self._photo, self._words, self._judgement = seen, photo, words, judgement
        self.no_target_logit = float(judgement.no_target_logit[0])
        side = round(judgement.minimap.shape[1] ** 0.5)
        self.minimap: Floats = judgement.minimap[0].reshape(side, side)

    def _records(self, tier: Records) -> Records:
        return tier[self._photo : self._photo + 1]

    @cached_property
    def mask_logit(self) -> Floats:
        """(h, w)."""
        logits = self._seen.predictor.mask_logits(self._records(self._seen.masks), self._judgement)
        found: Floats = logits[0].float().cpu().numpy()
        return found

    @cached_property
    def filters(self) -> Floats:
        """F_f."""
        return region_filters(self._seen.predictor, self._records(self._seen.tokens), self._words)

    @cached_property
    def region_masks(self) -> Floats:
        """M_r."""
        return region_masks(self._seen.predictor, self._records(self._seen.masks), self.filters)

    @cached_property
    def words(self) -> tuple[str, ...]:
        """The T word pieces."""
        tokenizer = self._seen.predictor.text.word_pieces.tokenizer
        pieces = tokenizer.encode(clean(self._words.texts[0])).tokens
        return tuple(pieces[: int(self._words.mask[0].sum())])

    @cached_property
    def word_attention(self) -> Floats | None:
        """A_l."""
        return word_attention(self._seen.predictor, self._records(self._seen.tokens), self._words)

    @property
    def region_attention(self) -> Floats | None:
        """A_ri."""
        return self._seen.region_attention(self._photo)


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

    @property
    def input_size(self) -> int:
        """S, pixels."""
        return self.verifier.input_size

    def unread(self, expression: str) -> Unread:
        """What of an expression does not count."""
        return self.verifier.unread(expression)

    def encode(self, images: Sequence[Image.Image]) -> EarlySeen:
        """Squash upright RGB photos; nothing is computed yet."""
        return EarlySeen(self.verifier, np.stack([self.verifier.pixels_of(i) for i in images]))


class EarlySeen:
    """Photos that are looked at anew for each expression; pixels (B, S, S, 3) uint8."""

    def __init__(self, verifier: OfficialVerifier, pixels: NDArray[np.uint8]) -> None:
        self.verifier, self.pixels = verifier, pixels
        self._read: dict[str, OfficialWords] = {}

    def judge(self, pairs: Sequence[Pair]) -> list[EarlySaid]:
        """Run the network on each pair."""
        words = [self._words(text) for _, text in pairs]
        pixels = self.pixels[[photo for photo, _ in pairs]]
        outputs = self.verifier.judge(pixels, words)
        return [
            EarlySaid(self.verifier, *each) for each in zip(pixels, words, outputs, strict=True)
        ]

    def _words(self, text: str) -> OfficialWords:
        if text not in self._read:
            self._read[text] = self.verifier.read(text)
        return self._read[text]


class EarlySaid(Said):
    """An answer of a released network; its attention costs another run."""

    def __init__(
        self,
        verifier: OfficialVerifier,
        pixels: NDArray[np.uint8],
        words: OfficialWords,
        output: OfficialOutput,
    ) -> None:
        self._verifier, self._pixels, self._words, self._output = verifier, pixels, words, output
        self.no_target_logit = float(output.no_target_logit()[0])
        x = output.minimap[0].float().softmax(-1)[:, 1].cpu().numpy()
        side = round(len(x) ** 0.5)
        self.minimap: Floats = x.reshape(side, side)

    @cached_property
    def mask_logit(self) -> Floats:
        """(h, w)."""
        found: Floats = self._output.mask_logit()[0].float().cpu().numpy()
        return found

    @property
    def filters(self) -> Floats:
        """F_f, which the minimap's logits weigh."""
        found: Floats = self._output.filters[0].float().cpu().numpy()
        return found

    @cached_property
    def region_masks(self) -> Floats:
        """M_r."""
        found: Floats = self._output.region_masks()[0].float().sigmoid().cpu().numpy()
        return found

    @property
    def _length(self) -> int:
        return int(self._words.mask.sum())

    @property
    def words(self) -> tuple[str, ...]:
        """The T word pieces."""
        return self._verifier.pieces(self._words.text)[: self._length]

    @cached_property
    def _attention(self) -> tuple[Floats, Floats]:
        """A_l and A_ri, of a run that is watched."""
        network = self._verifier.network
        with (
            watched(last_finest(network.decoder)) as regions,
            watched(network.words.attention.attention) as heard,
        ):
            self._verifier.judge(self._pixels[None], [self._words])
        side = round(regions[-1].shape[-1] ** 0.5)
        maps = regions[-1][0].unflatten(-1, (side, side))
        # Padding is looked at as well; that share is left out, so a row sums to less than 1.
        return heard[-1][0, :, : self._length].cpu().numpy(), maps.cpu().numpy()

    @property
    def word_attention(self) -> Floats | None:
        """A_l."""
        return self._attention[0]

    @property
    def region_attention(self) -> Floats | None:
        """A_ri."""
        return self._attention[1]
