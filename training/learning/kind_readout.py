"""What regions and pixels of a photo say they show, in the space of texts; only training has it.

Shape legend: B photos, N regions, C channels, D text channels, K kinds, h side of the map at
stride 8.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.network.rela import Encoded
from model.text import TextEncoder
from training.data.batches import Source
from training.data.photo_targets import PhotoTargets
from training.data.region_targets import IGNORE
from training.language.everyday import forms_of
from training.photos.batches import PhotoSampler
from training.photos.trunk import name_vectors, sentences

_SHARPNESS = 14.0  # of cosines, where training begins
_RARE = 0.15  # absent kinds count so little together as this, each as one that is there
_PIXELS = 1500  # a batch, of those that are asked what they show
_POOLED = 4.0  # sharpness of the smooth maximum over regions


class KindReadout(nn.Module):
    """Cosines of what a region or pixel says with the names of kinds and of the trunk's classes.

    Args:
        channels: C.
        kinds: (K, D) unit vectors of the kinds' names.
        classes: (1000, D) unit vectors of the trunk's classes.
    """

    kinds: Tensor
    classes: Tensor

    def __init__(self, channels: int, kinds: Tensor, classes: Tensor) -> None:
        super().__init__()
        self.register_buffer("kinds", kinds, persistent=False)
        self.register_buffer("classes", classes, persistent=False)
        self.region = nn.Linear(channels, kinds.shape[1])
        self.pixel = nn.Linear(channels, kinds.shape[1])
        self.sharpness = nn.Parameter(torch.tensor(_SHARPNESS).log())
        self.level = nn.Parameter(torch.tensor(-6.0))

    def _cosines(self, said: Tensor, names: Tensor) -> Tensor:
        return F.normalize(said.float(), dim=-1) @ names.T * self.sharpness.exp()

    def regions(self, encoded: Encoded, targets: PhotoTargets) -> list[tuple[Tensor, Tensor]]:
        """F'_r -> (sum, count) of kind a region, kinds a photo, and a stem's classes if any."""
        said = self.region(encoded.regions)  # (B, N, D)
        logits = self._cosines(said, self.kinds)  # (B, N, K)
        kinds = _entropy(logits, targets.region_kind)
        # A kind is there if some region shows it: a smooth maximum over regions.
        pooled = (_POOLED * logits).logsumexp(1) / _POOLED + self.level  # (B, K)
        wanted = targets.presence
        loss = F.binary_cross_entropy_with_logits(pooled, wanted.clamp_min(0), reduction="none")
        weight = torch.where(wanted == 1, 1.0, torch.where(wanted == 0, _RARE, 0.0))
        presence = ((loss * weight).sum(), weight.sum())
        if targets.classes is None:
            return [kinds, presence]
        every = self._cosines(said, self.classes)  # (B, N, 1000)
        name = ((_POOLED * every).logsumexp(1) / _POOLED).log_softmax(-1)  # (B, 1000)
        taught = -(targets.classes * name).sum(-1)
        count = torch.tensor(float(len(taught)))
        return [kinds, presence, (0.3 * taught.sum(), count)]

    def dense(self, finest: Tensor, targets: PhotoTargets) -> list[tuple[Tensor, Tensor]]:
        """The decoder's finest scale (B, C, h, h) -> (sum, count) of the kind a pixel.

        Where masks are finer than that, every so many of their cells are asked.
        """
        every = targets.pixel_kind.shape[-1] // finest.shape[-1]
        shown = targets.pixel_kind[:, ::every, ::every].flatten()
        at = torch.nonzero(shown != IGNORE)[:, 0]
        at = at[:: max(1, len(at) // _PIXELS)]  # neighbours say much the same
        rows = finest.permute(0, 2, 3, 1).flatten(0, 2)[at]
        return [_entropy(self._cosines(self.pixel(rows), self.kinds), shown[at])]


def kind_readout(source: Source, channels: int, text: TextEncoder) -> KindReadout | None:
    """The read-out for a source of photographs; None for others."""
    if not isinstance(source, PhotoSampler):
        return None
    names = [forms_of((kind,))[0][0] for kind in source.vocabulary.kinds]
    return KindReadout(channels, sentences(text, names), name_vectors(text))


def _entropy(logits: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    rows, wanted = logits.flatten(0, -2), wanted.flatten()
    loss = F.cross_entropy(rows, wanted, ignore_index=IGNORE, reduction="sum")
    return loss, (wanted != IGNORE).sum().float()
