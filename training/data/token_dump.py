"""Region tokens and mask features of a data set, computed once, so that a head trains without Swin.

A dump holds `regions.npy` (n, k, N, C) and `features.npy` (n, k, C_m, h, h), fp16, memory-mapped;
k is 2 where mirrored photos are kept as well. `dump.json` tells the vision half's fingerprint and
how many photos are done: an interrupted dump goes on where it stopped, one of other weights is
refused. rela-mini takes 217 KB a photo, rela-base 1.9 MB, twice that with mirrored ones.

Shape legend as in `training.data.batches`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from model import checkpoint
from model.network.rela import RelaNetwork
from model.text import TextEncoder
from training.data.batches import Batch, Source
from training.data.dump import Dump, DumpError, finished, read, state_of
from training.data.sources import Data, source_of
from training.errors import Interrupted
from training.recipes.recipe import Recipe

PHOTO_BATCH = 16
NOTE = "dump.json"


@dataclass(frozen=True)
class TokenDump:
    """An open dump.

    Attributes:
        regions: (n, k, N, C) fp16. features: (n, k, C_m, h, h) fp16. Both on disk until read.
    """

    regions: NDArray[np.float16]
    features: NDArray[np.float16]

    def __len__(self) -> int:
        return len(self.regions)


def vision_fingerprint(network: RelaNetwork) -> str:
    """Of everything that a dump's content depends on."""
    parts = (network.backbone, network.pixel_decoder, network.ria)
    return checkpoint.fingerprint([str(network.config.input_size)], parts)


def _about(network: RelaNetwork, photos: int, flips: bool) -> dict[str, Any]:
    return {"vision": vision_fingerprint(network), "photos": photos, "flips": flips}


def dump_tokens(
    network: RelaNetwork,
    source: Source,
    path: Path,
    *,
    flips: bool = False,
    device: str = "cpu",
    should_stop: Callable[[], bool] = lambda: False,
) -> bool:
    """Encode every photo of a source once; goes on with a dump that was interrupted.

    Args:
        flips: keep mirrored photos as well.
        should_stop: asked after each batch; what is done by then is kept.
    Returns:
        Whether all photos are done.
    Raises:
        DumpError: the folder holds a dump of other weights or data.
    """
    network = network.to(device).eval()
    config, count, k = network.config, len(source), 1 + flips
    shapes = {
        "regions": (count, k, config.regions, config.channels),
        "features": (count, k, config.mask_channels, config.mask_side, config.mask_side),
    }
    dump = Dump(path / NOTE, _about(network, count, flips), shapes)
    bar = tqdm(total=count, initial=dump.done, unit="photo", desc="dumping tokens")
    with bar, torch.inference_mode():
        for start in range(dump.done, count, PHOTO_BATCH):
            stop = min(start + PHOTO_BATCH, count)
            pixels = np.stack([source.pixels(i) for i in range(start, stop)])
            x = torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2).float()
            for turn, images in enumerate([x, x.flip(-1)][:k]):
                encoded = network.decode(network.pyramid(images))
                dump.arrays["regions"][start:stop, turn] = encoded.regions.cpu().numpy()
                dump.arrays["features"][start:stop, turn] = encoded.mask_features.cpu().numpy()
            dump.keep(stop)
            bar.update(stop - start)
            if should_stop():
                break
    return dump.done == count


def open_dump(path: Path, network: RelaNetwork, photos: int) -> TokenDump:
    """Open a finished dump.

    Args:
        network, photos: that it must be of.
    Raises:
        DumpError: it is missing, unfinished, or of other weights or data.
    """
    state = finished(path / NOTE)
    if (state["vision"], state["photos"]) != (vision_fingerprint(network), photos):
        raise DumpError(f"{path} holds a dump of other weights or photos; delete it")
    return TokenDump(**read(path, ("regions", "features")))


def _finished(path: Path, photos: int) -> bool:
    return (path / NOTE).is_file() and state_of(path / NOTE).get("done") == photos


class DumpedSource:
    """Batches of another source, with a dump's tokens instead of its photos."""

    def __init__(self, source: Source, dump: TokenDump) -> None:
        self.source, self.dump = source, dump
        source.with_pixels = self.with_pixels = False

    @classmethod
    def of(
        cls,
        recipe: Recipe,
        data: Data,
        folder: Path,
        start: Path | None,
        device: str,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> DumpedSource:
        """Dump what a run's weights make of its data into `folder`/tokens, or open that.

        Args:
            start: the run's first weights; None where it is resumed from its last ones.
        Raises:
            DumpError: it is of other weights. Interrupted: it is not done yet.
        """
        rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
        path = folder / "tokens"
        network = checkpoint.load(start or folder / f"{recipe.config.name}.safetensors")
        text = TextEncoder(network.config.text)
        source = source_of(data, recipe, network.config, text, rank, world)
        if rank == 0 and not dump_tokens(
            network, source, path, flips=recipe.flip, device=device, should_stop=should_stop
        ):
            raise Interrupted("dumping tokens was interrupted; the same command goes on with it")
        network = network.cpu()
        while rank and not _finished(path, len(source)):  # the first process is at it
            time.sleep(1.0)
        return cls(source, open_dump(path, network, len(source)))

    def __len__(self) -> int:
        return len(self.source)

    def pixels(self, index: int) -> NDArray[np.uint8]:
        """One photo, (S, S, 3)."""
        return self.source.pixels(index)

    def phrases(self, rng: np.random.Generator, count: int) -> list[str]:
        """As the other source's."""
        return self.source.phrases(rng, count)

    def batch(self, step: int) -> Batch:
        """The other source's batch, with tokens."""
        batch = self.source.batch(step)
        at = batch.origin.numpy(), batch.flipped.numpy().astype(np.intp)
        return replace(
            batch,
            regions=torch.from_numpy(self.dump.regions[at]).float(),
            features=torch.from_numpy(self.dump.features[at]).float(),
        )
