"""Swin in timm's form: its windows are fitted, once, to the size of photo that it is built for.

Three things differ from `swin.Swin`, and trained weights know the difference: a window is never
larger than the map and does not move where it covers all of it; a map is shifted before it is
padded; and patches are merged at the start of a stage, which the names of weights show.

Source: Liu et al., Swin Transformer, ICCV 2021, as timm reads it.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from model.network.swin import (
    PatchEmbedding,
    PatchMerging,
    SwinBlock,
    drop_paths,
    initialise,
    shift_mask,
)


class FittedBlock(SwinBlock):
    """A block that shifts a map before it pads it."""

    def _attend(self, x: Tensor) -> Tensor:
        _, height, width, _ = x.shape
        back = (self.shift, self.shift)
        x = self._padded(x.roll((-self.shift, -self.shift), dims=(1, 2)) if self.shift else x)
        mask = None
        if self.shift:
            mask = shift_mask(x.shape[1], x.shape[2], self.side, self.shift, like=x)
        x = self._within_windows(x, mask)[:, :height, :width]
        return x.roll(back, dims=(1, 2)) if self.shift else x


class FittedStage(nn.Module):
    """Merging, in all but the first stage, and the blocks of one scale.

    Args:
        dim: channels of the stage.
        map_side: side in patches of the map that the windows are fitted to.
        window: side of a window where the map is larger.
    """

    def __init__(
        self,
        *,
        dim: int,
        heads: int,
        map_side: int,
        window: int,
        drop_paths: Sequence[float],
        first: bool,
    ) -> None:
        super().__init__()
        self.downsample = nn.Identity() if first else PatchMerging(dim // 2)
        moves = map_side > window
        self.blocks = nn.ModuleList(
            FittedBlock(
                dim=dim,
                heads=heads,
                side=min(window, map_side),
                shift=window // 2 if moves and index % 2 else 0,
                mlp_ratio=4.0,
                drop_path=drop_path,
            )
            for index, drop_path in enumerate(drop_paths)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map the last stage's (B, H, W, C) to (B, ceil(H / 2), ceil(W / 2), 2 C) and refine it."""
        x = self.downsample(x)
        for block in self.blocks:
            x = block(x)
        return x


class FittedSwin(nn.Module):
    """Swin without norms of its own on the stages; ``layers`` are called by the owner.

    Args:
        built_for: side in pixels of the photos that windows are fitted to; others are padded.
        embed_dim, depths, heads, window, drop_path: as `swin.Swin` has them.
        projection: what cuts the photo into patches, instead of one 4 x 4 convolution.
    """

    def __init__(
        self,
        *,
        built_for: int,
        embed_dim: int,
        depths: Sequence[int],
        heads: Sequence[int],
        window: int,
        drop_path: float = 0.0,
        projection: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.patch_embed = PatchEmbedding(embed_dim, projection)
        sides = [-(-(built_for // 4) // 2**stage) for stage in range(len(depths))]
        self.layers = nn.ModuleList(
            FittedStage(
                dim=embed_dim * 2**stage,
                heads=heads[stage],
                map_side=sides[stage],
                window=window,
                drop_paths=rates,
                first=stage == 0,
            )
            for stage, rates in enumerate(drop_paths(drop_path, depths))
        )
        initialise(self)
