"""A small network that needs no training: it sees pure colours."""

from dataclasses import dataclass

import numpy as np
import torch

from model.calibration import Calibration
from model.masks import Mask
from model.predictor import Judgement

COLOURS = ("red", "green", "blue")
SIDE = 48


@dataclass(frozen=True)
class ColourWords:
    texts: tuple[str, ...]
    sentence: np.ndarray

    def __getitem__(self, index: int) -> "ColourWords":
        return ColourWords(self.texts[index : index + 1], self.sentence[index : index + 1])


class ColourPredictor:
    """Finds the parts of a photo that have the colour an expression names; 4 % is its doubt."""

    name = "colours"
    input_size = SIDE
    calibration = Calibration()
    fingerprints = {"head": "c0"}
    reranks = False

    def encode(self, pixels, tiers):
        share = (pixels > 128).mean(axis=(1, 2)).astype(np.float32)
        made = {}
        for tier in tiers:
            wide = tier == "masks"
            record = np.zeros(
                len(pixels), [("x", "u1", (SIDE, SIDE, 3)) if wide else ("x", "f4", 3)]
            )
            record["x"] = pixels if wide else share
            made[tier] = record
        return made

    def vectors_of(self, records):
        return records["x"][:, None, :]

    def read(self, expressions):
        named = [[colour in text for colour in COLOURS] for text in expressions]
        return ColourWords(tuple(expressions), np.array(named, np.float32))

    def judge(self, tokens, words):
        share = tokens["x"] @ words.sentence[0]
        coefficients = np.repeat(words.sentence, len(tokens), axis=0)
        return Judgement((0.04 - share) * 100, share[:, None], coefficients)

    def judge_pairs(self, tokens, words):
        share = (tokens["x"] * words.sentence).sum(axis=1)
        return Judgement((0.04 - share) * 100, share[:, None], words.sentence)

    def mask_logits(self, records, judgement):
        lit = (records["x"][0] > 128) @ judgement.coefficients[0]
        return torch.from_numpy(np.where(lit > 0, 8.0, -8.0).astype(np.float32))[None]

    def render(self, record, judgement, width, height):
        lit = (record["x"] > 128) @ judgement.coefficients[0]
        return Mask(np.where(lit > 0, 8.0, -8.0).astype(np.float32), width, height)
