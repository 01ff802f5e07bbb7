"""What read-outs want of real photographs, as far as somebody marked it.

Shape legend: B photos, N regions, K kinds, h side of the map at stride 8.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

UNKNOWN = -1.0


@dataclass
class PhotoTargets:
    """What the read-outs want of a batch's photos.

    Attributes:
        region_kind: (B, N) index of the kind of a region's thing, IGNORE where none is marked.
        pixel_kind: (B, h, h) the same a pixel, of masks alone.
        presence: (B, K) 1 where the photo shows the kind, 0 where not, UNKNOWN where nobody said.
        classes: (B, 1000) what a stem's classifier says, as probabilities; None without a stem.
        region_masks: (B, N, h, h) the region's thing, zero where none or only its box is known.
    """

    region_kind: Tensor
    pixel_kind: Tensor
    presence: Tensor
    classes: Tensor | None
    region_masks: Tensor
