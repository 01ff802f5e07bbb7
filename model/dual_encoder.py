"""A transformers dual encoder (SigLIP, SigLIP 2, CLIP) as prefilter: one vector a photo.

It knows far more words than region vectors of a small network do, and ranks; it cannot say "not
here", which stays the head's or the verifier's task.  ``DualPrefilter`` puts its vectors in the
place of a predictor's own: they have a fingerprint of their own, so that changing the prefilter
re-encodes no token and no mask.

Shape legend: B photos, S side of the squashed photo, E expressions, D channels of the joint space.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

import model.network.torchvision_guard  # noqa: F401  (before transformers, which imports torchvision)
from model.checkpoint import fingerprint
from model.errors import ModelVersionMismatch, WeightsError
from model.packing import Records
from model.predictor import Predictor, Words
from model.text import clean

from transformers import AutoConfig, AutoModel, AutoTokenizer  # isort: skip


KINDS = ("siglip", "siglip2", "clip")
"""Values of ``model_type`` that are understood."""
PREPROCESSING = "dual-squash-bicubic-1"
"""Part of the fingerprint: raise it when the pixels that a photo yields change."""
_STATISTICS = {
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "siglip": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "siglip2": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}


class DualEncoder:
    """Image and text tower of one model, loaded.

    Args:
        source: a folder in transformers' form, or the name of a model on a hub.
        device: "cpu" or a CUDA device.
    Raises:
        WeightsError: there is none, its weights are missing, or it is of another kind.
    """

    def __init__(self, source: str | Path, *, device: str = "cpu") -> None:
        self.source = str(source)
        local = Path(source).is_dir()
        try:
            config = AutoConfig.from_pretrained(source, local_files_only=local)
            if config.model_type not in KINDS:
                raise WeightsError(
                    f"{source} holds a {config.model_type}; a dual encoder is one of {KINDS}"
                )
            self.network = AutoModel.from_pretrained(source, local_files_only=local)
            self._tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=local)
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise WeightsError(
                f"the dual encoder {source} cannot be loaded ({_first_line(error)}); name a folder "
                "with config.json, weights and tokenizer, or connect to a hub once"
            ) from error
        self.kind: str = config.model_type
        self.device = torch.device(device)
        self.network = self.network.eval().requires_grad_(False).to(self.device)
        self._text_length = int(config.text_config.max_position_embeddings)
        vision = config.vision_config
        self._patch = int(vision.patch_size)
        if self.kind == "siglip2":  # any size up to a number of patches: take the largest square
            self.side = int(vision.num_patches**0.5) * self._patch
        else:
            self.side = int(vision.image_size)
        mean, std = _statistics(Path(source), self.kind) if local else _STATISTICS[self.kind]
        self._mean = torch.tensor(mean, device=self.device).view(3, 1, 1)
        self._std = torch.tensor(std, device=self.device).view(3, 1, 1)
        self.channels = self.texts(["a photo"]).shape[1]

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits of weights, tokenizer and preprocessing."""
        words = sorted(self._tokenizer.get_vocab().items())
        vocabulary = hashlib.sha256(json.dumps(words).encode()).hexdigest()
        statistics = json.dumps([self._mean.flatten().tolist(), self._std.flatten().tolist()])
        return fingerprint((PREPROCESSING, self.kind, vocabulary, statistics), (self.network,))

    @torch.inference_mode()
    def images(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed squashed photos (B, S, S, 3) uint8 RGB as unit vectors (B, D).

        Photos come squashed to a square, as every network here takes them.  SigLIP was trained so;
        CLIP was trained on crops and loses a little with very long or tall photos.
        """
        x = torch.from_numpy(np.ascontiguousarray(pixels)).to(self.device)
        x = x.permute(0, 3, 1, 2).float()  # NHWC -> NCHW
        if x.shape[-1] != self.side:
            size = (self.side, self.side)
            x = F.interpolate(x, size=size, mode="bicubic", antialias=True, align_corners=False)
            x = x.clamp(0, 255)
        x = (x / 255 - self._mean) / self._std
        inputs: dict[str, Tensor] = {"pixel_values": x}
        if self.kind == "siglip2":
            inputs = self._patches(x)
        return _unit(self.network.get_image_features(**inputs))

    @torch.inference_mode()
    def texts(self, expressions: Sequence[str]) -> NDArray[np.float32]:
        """Embed expressions as unit vectors (E, D).

        Raises:
            ExpressionError: an expression is empty or too long.
        """
        texts = [clean(expression) for expression in expressions]
        if self.kind != "clip":
            texts = [text.lower() for text in texts]  # as SigLIP's training texts were
        batch = self._tokenizer(
            texts,
            padding="max_length",
            truncation=True,
            max_length=self._text_length,
            return_tensors="pt",
        ).to(self.device)
        inputs = {"input_ids": batch["input_ids"]}
        if self.kind == "clip":  # SigLIP attends to its padding, as it was trained
            inputs["attention_mask"] = batch["attention_mask"]
        return _unit(self.network.get_text_features(**inputs))

    def _patches(self, x: Tensor) -> dict[str, Tensor]:
        """Cut (B, 3, H, W) into the flat patches that SigLIP 2's variable form takes."""
        count = self.side // self._patch
        patches = x.unfold(2, self._patch, self._patch).unfold(3, self._patch, self._patch)
        # (B, 3, n, n, p, p) -> (B, n * n, p * p * 3)
        patches = patches.permute(0, 2, 3, 4, 5, 1).reshape(len(x), count * count, -1)
        return {
            "pixel_values": patches,
            "pixel_attention_mask": torch.ones(patches.shape[:2], dtype=torch.int32).to(x.device),
            "spatial_shapes": torch.tensor([[count, count]] * len(x), device=x.device),
        }


class DualPrefilter(Predictor):
    """A predictor whose prefilter vectors come from a dual encoder, one a photo.

    Args:
        predictor: judges and renders; its own region vectors are not used.
        dual: makes the vectors and the expression's side of them.
    """

    def __init__(self, predictor: Predictor, dual: DualEncoder) -> None:
        self.__dict__.update(
            {k: v for k, v in predictor.__dict__.items() if k not in ("fingerprints",)}
        )
        self._predictor, self.dual = predictor, dual
        self.name = f"{predictor.name}+{dual.source}"
        self.dtypes = {
            **predictor.dtypes,
            "vectors": np.dtype([("vectors", np.float16, (1, dual.channels))]),
        }

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        """The predictor's, but for vectors; no pyramid, for vectors can't be made from one."""
        own = {k: v for k, v in self._predictor.fingerprints.items() if k != "pyramid"}
        return {**own, "vectors": self.dual.fingerprint}

    def encode(
        self, pixels: NDArray[np.uint8], tiers: Sequence[str] = ("tokens", "masks", "vectors")
    ) -> dict[str, Records]:
        """As ``Predictor.encode``; the network does not run where only vectors are wanted."""
        own = [tier for tier in tiers if tier != "vectors"]
        made = self._predictor.encode(pixels, own) if own else {}
        if "vectors" in tiers:
            records = np.zeros(len(pixels), self.dtypes["vectors"])
            records["vectors"][:, 0] = self.dual.images(pixels)
            made["vectors"] = records
        return made

    def encode_from_pyramid(
        self, records: Records, tiers: Sequence[str] = ("tokens", "masks", "vectors")
    ) -> dict[str, Records]:
        """As ``Predictor.encode_from_pyramid``, without vectors.

        Raises:
            ModelVersionMismatch: vectors are wanted, which need the photo itself.
        """
        if "vectors" in tiers:
            raise ModelVersionMismatch(
                f"{self.name} cannot make vectors from kept Swin features; index the photos again"
            )
        return self._predictor.encode_from_pyramid(records, tiers)

    @property
    def reranks(self) -> bool:
        """No: its order is what it is for; the predictor may know nothing of such photos."""
        return False

    def vectors_of(self, records: Records) -> NDArray[np.float32]:
        """Vectors records (B,) -> (B, 1, D) float32 for FAISS, inner product."""
        self.check("vectors", records)
        vectors: NDArray[np.float32] = records["vectors"].astype(np.float32)
        return vectors

    def read(self, expressions: Sequence[str]) -> Words:
        """As ``Predictor.read``; sentence vectors lie in the dual encoder's space."""
        words = self._predictor.read(expressions)
        return replace(words, sentence=self.dual.texts(expressions))


def _unit(output: Any) -> NDArray[np.float32]:
    features: Tensor = getattr(output, "pooler_output", output)
    unit: NDArray[np.float32] = F.normalize(features.float(), dim=-1).cpu().numpy()
    return unit


def _statistics(folder: Path, kind: str) -> tuple[Sequence[float], Sequence[float]]:
    """Mean and deviation that the folder's processor names, or those of its kind."""
    path = folder / "preprocessor_config.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        mean, std = values.get("image_mean"), values.get("image_std")
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read ({error}); fetch the folder again") from error
    own = _STATISTICS[kind]
    return (mean or own[0], std or own[1])


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0][:200]
