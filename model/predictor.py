"""The network as the rest of Referent uses it: encode photos once, judge them many times.

Photos go in as uint8 pixels, features come out as records for the store, and judgements and masks
are made from records; no caller touches a tensor. Shape legend: B photos, S input side, N = P².
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model import exclusions, masks, packing, parallel, pixel_rule
from model.calibration import Calibration
from model.cards import Card
from model.checkpoint import fingerprint
from model.errors import ExpressionError, ModelVersionMismatch
from model.network.config import ReLAConfig
from model.network.preprocess import PREPROCESSING
from model.network.rela import RelaNetwork, mask_logits
from model.network.rla import HeadOutput
from model.packing import PACKING, Records
from model.precision import judging_in
from model.text import TextEncoder

S = TypeVar("S")
T = TypeVar("T")
TIERS = ("tokens", "masks", "vectors", "pyramid")
# Fixed and padded, so that a photo's judgement never depends on its neighbours, and a multiple of
# four: MKL's matrix-vector product (the last layer of E) rounds what is left over otherwise on some
# processors. 200 candidates, the default, are four batches.
JUDGE_BATCH = 52
RERANK_BATCH = 4 * JUDGE_BATCH
HALVES_KEPT = 64  # sentences whose halves are remembered between batches of photos
# What the best inner product, -1 to 1, counts beside the rough head's logit; chosen on validation.
FIRST_SCORE = 2.0


@dataclass(frozen=True)
class Words:
    """Expressions, encoded.

    Attributes:
        texts: as they were given.
        features: (E, T, C) F_t.
        mask: (E, T) True on real words.
        sentence: (E, D) float32 unit vectors in the prefilter's space.
    """

    texts: tuple[str, ...]
    features: Tensor
    mask: Tensor
    sentence: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, index: int) -> Words:
        at = slice(index, index + 1) if index >= 0 else slice(index, index + 1 or None)
        return Words(self.texts[at], self.features[at], self.mask[at], self.sentence[at])


@dataclass(frozen=True)
class Judgement:
    """What the head says of B photos for one expression.

    Attributes:
        no_target_logit: (B,) float32, before calibration: E, or what the 50-pixel rule makes of
            the mask (`model.pixel_rule`); positive says "not here".
        minimap: (B, N) float32 in [0, 1], x_r, rows of the P x P grid first.
        coefficients: (B, k C_m) float32; with the mask features they give k masks, of which the
            photo's is where all of them are: one, but for sentences that leave something out two.
    """

    no_target_logit: NDArray[np.float32]
    minimap: NDArray[np.float32]
    coefficients: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.no_target_logit)

    def __getitem__(self, index: int | slice | NDArray[Any]) -> Judgement:
        if isinstance(index, (int, np.integer)):
            index = slice(index, index + 1) if index >= 0 else slice(index, index + 1 or None)
        return Judgement(self.no_target_logit[index], self.minimap[index], self.coefficients[index])

    @classmethod
    def concatenate(cls, parts: Sequence[Judgement]) -> Judgement:
        """Join judgements of one expression."""
        return cls(
            np.concatenate([part.no_target_logit for part in parts]),
            np.concatenate([part.minimap for part in parts]),
            np.concatenate([part.coefficients for part in parts]),
        )


class Predictor:
    """One model, loaded.

    Args:
        network: late-fusion ReLA.
        text: its frozen text encoder.
        calibration: how its no-target logits are read.
        device: "cpu" or a CUDA device.
        head_dtype: bfloat16 judges about twice as fast where the processor multiplies it, and moves
            p by a hundredth, seldom more. Either gives the same bits each time on one machine.
        card: what the model says of itself, where its weights have a card.
    """

    def __init__(
        self,
        network: RelaNetwork,
        text: TextEncoder,
        calibration: Calibration | None = None,
        device: str = "cpu",
        name: str | None = None,
        head_dtype: torch.dtype = torch.float32,
        card: Card | None = None,
    ) -> None:
        self.card = card
        self.device = torch.device(device)
        self.network = network.eval().requires_grad_(False).to(self.device)
        self.text = text.to(self.device)
        self.head_dtype = head_dtype
        self.head = judging_in(head_dtype, self.network.head)
        rough = self.network.rough
        self.rough = None if rough is None else judging_in(head_dtype, rough)
        self.config: ReLAConfig = network.config
        self.name = name or network.config.name
        self.calibration = calibration or Calibration()
        self.input_size = self.config.input_size
        self.regions = self.config.regions
        self.dtypes = packing.record_types(self.config)
        self._read_halves: dict[str, tuple[Words, Words]] = {}

    @property
    def counts_pixels(self) -> bool:
        """Whether the mask's size decides instead of the classifier (Table 6)."""
        return self.config.no_target == "pixels"

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        """16 hex digits a tier, chained: what is cached under another one is not ours."""
        net, cfg = self.network, self.config
        pyramid = fingerprint((PREPROCESSING, PACKING, str(cfg.input_size), (cfg.ria == "hard-input"
                               and "hard-input") or "whole"), (net.backbone,))  # fmt: skip
        decoded = fingerprint((pyramid,), (net.pixel_decoder,))
        regions = fingerprint((decoded,), (net.ria,))
        first = net.head.first_layer
        early: list[Any] = [first.region_attention] if first.region_attention is not None else []
        early += [first.word_query] if first.hears_words else []
        early += [net.head.filter] if net.head.filters_before else []
        forms = (cfg.store_tokens, *((decoded, cfg.store_masks) if self.counts_pixels else ()))
        tokens = fingerprint((regions, *forms), early)
        rough, parts = ((cfg.store_tokens,), (net.rough,)) if net.rough is not None else ((), ())
        return {
            "pyramid": pyramid,
            "tokens": tokens,
            "masks": fingerprint((decoded, cfg.store_masks)),
            "vectors": fingerprint((regions, *rough), (net.vector_pool, *parts)),
            "head": fingerprint((tokens, self.text.name), (net.words, net.head)),
        }

    def check(self, tier: str, records: Records) -> None:
        """Refuse records that this network cannot have made.

        Raises:
            ModelVersionMismatch: their form is another one.
        """
        if records.dtype != self.dtypes[tier]:
            raise ModelVersionMismatch(
                f"cached {tier} were made by another model than {self.name}; run `referent reindex "
                f"--model {self.name}`, or search with the model that made them"
            )

    @torch.inference_mode()
    def encode(
        self, pixels: NDArray[np.uint8], tiers: Sequence[str] = ("tokens", "masks", "vectors")
    ) -> dict[str, Records]:
        """Run the vision half once; on a CPU photo by photo, so that none depends on another.

        Args:
            pixels: (B, S, S, 3) uint8 RGB from `model.network.preprocess.to_pixels`.
            tiers: which records to make.
        Returns:
            records (B,) a tier.
        """

        @torch.inference_mode()  # each thread has a mode of its own
        def encode_some(some: NDArray[np.uint8]) -> dict[str, Records]:
            x = torch.from_numpy(np.array(some)).to(self.device)
            pyramid = self.network.pyramid(x.permute(0, 3, 1, 2).float())  # NHWC -> NCHW
            return self._records(pyramid, tiers)

        return self._encoded(encode_some, pixels, tiers)

    @torch.inference_mode()
    def encode_from_pyramid(
        self, records: Records, tiers: Sequence[str] = ("tokens", "masks", "vectors")
    ) -> dict[str, Records]:
        """As `encode`, from cached Swin features: no photo is decoded, Swin does not run."""
        self.check("pyramid", records)

        @torch.inference_mode()
        def encode_some(some: Records) -> dict[str, Records]:
            return self._records(packing.unpack_pyramid(some, self.device), tiers)

        return self._encoded(encode_some, records, tiers)

    def _encoded(
        self,
        encode_some: Callable[[NDArray[Any]], dict[str, Records]],
        photos: NDArray[Any],
        tiers: Sequence[str],
    ) -> dict[str, Records]:
        """Records of all photos: matrix products round by the number of their rows, so on a CPU
        each photo is a batch of its own, on a core of its own."""
        if self.device.type != "cpu" or len(photos) < 1:
            return encode_some(photos)
        parts = self._each(encode_some, [photos[at : at + 1] for at in range(len(photos))])
        return {tier: np.concatenate([part[tier] for part in parts]) for tier in tiers}

    def _records(self, pyramid: dict[str, Tensor], tiers: Sequence[str]) -> dict[str, Records]:
        made: dict[str, Records] = {}
        if "pyramid" in tiers:
            made["pyramid"] = packing.pack_pyramid(pyramid, self.dtypes["pyramid"])
        if set(tiers) - {"pyramid"}:
            encoded = self.network.decode(pyramid)
            if "tokens" in tiers:
                made["tokens"] = packing.pack_tokens(
                    self.network.tokens(encoded.regions),
                    self.dtypes["tokens"],
                    encoded.mask_features,
                )
            if "masks" in tiers:
                made["masks"] = packing.pack_masks(encoded.mask_features, self.dtypes["masks"])
            if "vectors" in tiers:
                vectors = self.network.vector_pool(encoded.regions)
                rough = self.network.rough
                tokens = None if rough is None else rough.tokens(encoded.regions)
                made["vectors"] = packing.pack_vectors(vectors, self.dtypes["vectors"], tokens)
        return made

    def vectors_of(self, records: Records) -> NDArray[np.float32]:
        """Vectors records (B,) -> (B, V, D) float32 for FAISS, inner product."""
        self.check("vectors", records)
        return records["vectors"].astype(np.float32)

    def read(self, expressions: Sequence[str]) -> Words:
        """Encode expressions once; see `model.text.clean` for what is refused.

        Raises:
            ExpressionError: an expression is empty, too long or holds no known word.
        """
        return self._each(self._read, [expressions])[0]

    @torch.inference_mode()
    def _read(self, expressions: Sequence[str]) -> Words:
        features, mask = self.text(list(expressions))
        adapter = self.network.words
        rows, sentences = [], []
        for f, m in zip(features.split(1), mask.split(1), strict=True):
            rows.append(adapter(f, m))  # one by one: a row never depends on its neighbours
            sentences.append(adapter.sentence_vector(rows[-1], m))
        sentence = torch.cat(sentences).cpu().numpy()
        return Words(tuple(expressions), torch.cat(rows), mask, sentence)

    def _each(self, work: Callable[[S], T], shares: Sequence[S]) -> list[T]:
        """Do shares of work, on a CPU several at a time."""
        if self.device.type == "cpu":
            return parallel.each(work, shares)
        return [work(share) for share in shares]

    def judge(self, tokens: Records, words: Words) -> Judgement:
        """Judge one expression on many photos from their cached region tokens.

        A sentence that plainly leaves something out is judged in three parts, see `_without`.

        Args:
            tokens: records (B,) of the tokens tier.
            words: one expression.
        Raises:
            ModelVersionMismatch: the records come from another network.
        """
        self.check("tokens", tokens)
        found = self._judge(tokens, words)
        halves = self._halves(words.texts[0]) if len(tokens) else None
        return found if halves is None else self._without(tokens, found, *halves)

    @torch.inference_mode()
    def _judge(self, tokens: Records, words: Words) -> Judgement:
        length = int(words.mask[0].sum())
        features, mask = words.features[:1, :length].to(self.head_dtype), words.mask[:1, :length]
        if not len(tokens):
            n, m = self.regions, self.config.mask_channels
            zeros = np.zeros((0,), np.float32)
            return Judgement(zeros, zeros.reshape(0, n), zeros.reshape(0, m))

        @torch.inference_mode()  # each thread has a mode of its own
        def judge_batch(chunk: Records) -> Judgement:
            count, chunk = len(chunk), _filled(chunk, JUDGE_BATCH)
            cached = packing.unpack_tokens(chunk, self.device, self.head_dtype)
            return self._judgement(chunk, self.head(cached, features, mask))[:count]

        batches = [tokens[at : at + JUDGE_BATCH] for at in range(0, len(tokens), JUDGE_BATCH)]
        return Judgement.concatenate(self._each(judge_batch, batches))

    def _halves(self, text: str) -> tuple[Words, Words] | None:
        """What a sentence that leaves something out is about, and what it leaves out."""
        exclusion = exclusions.split(text)
        if exclusion is None:
            return None
        kept = self._read_halves.get(text)
        if kept is None:
            try:
                words = self.read([exclusion.whole, exclusion.left_out])
            except ExpressionError:  # a half alone may hold no known word
                return None
            if len(self._read_halves) >= HALVES_KEPT:
                self._read_halves.clear()
            kept = self._read_halves[text] = words[0], words[1]
        return kept

    def _without(
        self, tokens: Records, found: Judgement, whole: Words, left_out: Words
    ) -> Judgement:
        """A judgement whose mask is what the whole shows without what is left out.

        Whether there is a target stays what the network says of the sentence itself.
        """
        all_of_it, out = self._judge(tokens, whole), self._judge(tokens, left_out)
        there = (out.no_target_logit < 0)[:, None]
        kept = np.where(there, -out.coefficients, all_of_it.coefficients)
        minimap = all_of_it.minimap * np.where(there, 1 - out.minimap, 1)
        coefficients = np.concatenate([all_of_it.coefficients, kept], axis=1)
        return Judgement(found.no_target_logit, minimap, coefficients)

    @property
    def reranks(self) -> bool:
        """Whether `rerank` can order what the prefilter finds: there is a rough head."""
        return self.rough is not None

    @torch.inference_mode()
    def rerank(self, vectors: Records, words: Words) -> NDArray[np.float32]:
        """Judge one expression roughly, for a fraction of the time (`model.network.rough`).

        Args:
            vectors: records (B,) of the vectors tier.
            words: one expression.
        Returns:
            (B,) scores, of which only the order counts: the rough head's logit of a target, and a
            little of the inner product that the prefilter looks at first.
        Raises:
            ModelVersionMismatch: the records come from another network.
        """
        self.check("vectors", vectors)
        assert self.rough is not None, "ask `reranks` first"
        rough = self.rough
        length = int(words.mask[0].sum())
        features, mask = words.features[:1, :length].to(self.head_dtype), words.mask[:1, :length]

        @torch.inference_mode()  # each thread has a mode of its own
        def score_batch(chunk: Records) -> NDArray[np.float32]:
            filled = _filled(chunk, RERANK_BATCH)
            tokens = packing.unpack_rough(filled, self.device, self.head_dtype)
            logits: NDArray[np.float32] = rough(tokens, features, mask)[0].float().cpu().numpy()
            first = (self.vectors_of(filled) @ words.sentence[0]).max(1)  # (B, V, D) x (D,)
            scores: NDArray[np.float32] = (logits + FIRST_SCORE * first)[: len(chunk)]
            return scores

        batches = [vectors[at : at + RERANK_BATCH] for at in range(0, len(vectors), RERANK_BATCH)]
        return np.concatenate([np.zeros(0, np.float32), *self._each(score_batch, batches)])

    @torch.inference_mode()
    def judge_pairs(self, tokens: Records, words: Words) -> Judgement:
        """Judge photo i by expression i, for evaluation: as `judge`, but for rounding.

        Args:
            tokens: records (M,) of the tokens tier.
            words: M expressions.
        """
        self.check("tokens", tokens)
        output = self.head(
            packing.unpack_tokens(tokens, self.device, self.head_dtype),
            words.features.to(self.head_dtype),
            words.mask,
        )
        found = self._judgement(tokens, output)
        halves = {i: h for i, text in enumerate(words.texts) if (h := self._halves(text))}
        if halves:  # a mask that is one is the same twice
            coefficients = np.concatenate([found.coefficients] * 2, axis=1)
            found = Judgement(found.no_target_logit, found.minimap.copy(), coefficients)
        for i, (whole, left_out) in halves.items():
            part = self._without(tokens[i : i + 1], found[i], whole, left_out)
            found.minimap[i], found.coefficients[i] = part.minimap[0], part.coefficients[0]
        return found

    def _judgement(self, tokens: Records, output: HeadOutput) -> Judgement:
        """The head's answers to M pairs; tokens (M,) are the records that it read."""
        coefficients = output.coefficients.float()
        no_target = output.no_target_logit.float().cpu().numpy()
        if self.counts_pixels:
            logits = mask_logits(coefficients, packing.unpack_masks(tokens, self.device))
            no_target = pixel_rule.no_target_logit(masks.pixels(logits, self.input_size))
        minimap = output.minimap_logit.float().sigmoid().cpu().numpy()
        return Judgement(no_target, minimap, coefficients.cpu().numpy())

    def confidence(self, judgement: Judgement) -> NDArray[np.float64]:
        """Calibrated p(the expression refers to something here), (B,)."""
        return self.calibration.confidence(judgement.no_target_logit)

    @torch.inference_mode()
    def render(
        self,
        features: Records,
        judgement: Judgement,
        width: int,
        height: int,
        *,
        accepted: bool = True,
    ) -> masks.Mask:
        """Make one photo's mask at its own upright size.

        Args:
            features: one record (1,) or scalar of the masks tier.
            judgement: of that photo alone; with several rows the mask is where any of them is.
            accepted: False where E is positive, which empties the mask (GRES section 4.1).
        """
        features = np.atleast_1d(features)
        self.check("masks", features)
        side = self.config.mask_side
        if not accepted or not len(judgement.coefficients):
            return masks.empty(width, height, (side, side))
        rows = range(len(judgement.coefficients))
        each = torch.stack([self.mask_logits(features, judgement[row])[0] for row in rows])
        return masks.from_logits(each.amax(0), width, height)

    @torch.inference_mode()
    def mask_logits(self, features: Records, judgement: Judgement) -> Tensor:
        """Mask logits of the first photo: (1, h, w), positive on a referent.

        Args:
            features: records (1,) of the masks tier.
        """
        f_m = packing.unpack_masks(features[:1], self.device)
        coefficients = torch.from_numpy(judgement.coefficients[:1]).to(self.device)
        each = [mask_logits(c, f_m) for c in coefficients.split(self.config.mask_channels, dim=1)]
        return torch.stack(each).amin(0)


def _filled(records: Records, count: int) -> Records:
    """Records padded with empty ones to a batch's length."""
    if len(records) == count:
        return records
    return np.concatenate([records, np.zeros(count - len(records), records.dtype)])
