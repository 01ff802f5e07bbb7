"""How fast `referent index` is against its own network: photos a second, CPU and memory.

Run: python -m benchmarks.ingest [--model rela-tiny:random-1] [--photos 80] [--json]

Both figures come from one run, with the same batch and threads: the bare vision half on tensors in
memory, before and after, and the whole of indexing (scan, hash, decode, encode, commit) from JPEGs
on disk.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from PIL import Image, ImageFilter

from indexer.db.catalog import Catalog
from indexer.encoding.alone import index_album
from indexer.folders.albums import ensure_album
from indexer.settings import Settings
from model.build import load_predictor
from model.predictor import Predictor

SIZES = {"12 MP": (4000, 3000), "640 px": (640, 480)}
PICTURES = 4
# Share of the bare network's speed that indexing should reach where the network is the bottleneck.
BAR = 0.90


def write_photos(folder: Path, count: int, size: tuple[int, int]) -> float:
    """Write JPEGs with a photo's detail (about 2.5 bits a pixel); return megabytes a photo.

    A few pictures are drawn; each file ends in a number of its own, which decoders ignore, so that
    every content is another one.
    """
    folder.mkdir(parents=True)
    rng = np.random.default_rng(1)
    total = 0
    drawn = []
    for _ in range(PICTURES):
        rough = Image.fromarray(rng.integers(0, 255, (12, 16, 3), np.uint8))
        smooth = np.asarray(rough.resize(size, Image.Resampling.BICUBIC), np.int16)
        grain = Image.fromarray(rng.integers(0, 255, (size[1], size[0]), np.uint8))
        fine = np.asarray(grain.filter(ImageFilter.GaussianBlur(1.2)), np.int16) - 128
        picture = np.clip(smooth + fine[..., None], 0, 255).astype(np.uint8)
        path = folder / "drawn.jpg"
        Image.fromarray(picture).save(path, quality=85)
        drawn.append(path.read_bytes())
        path.unlink()
    for number in range(count):
        data = drawn[number % PICTURES] + number.to_bytes(8, "little")
        (folder / f"{number:05}.jpg").write_bytes(data)
        total += len(data)
    return total / count / 1e6


class Meter:
    """CPU seconds and peak memory of this process and its children while a block runs."""

    def __init__(self) -> None:
        self.me = psutil.Process()
        self.peak = 0
        self.seconds: dict[int, float] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Meter:
        self.before = sum(self.me.cpu_times()[:2])
        self.begun = time.perf_counter()
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.wall = time.perf_counter() - self.begun
        self._over.set()
        self._thread.join()
        self.own = sum(self.me.cpu_times()[:2]) - self.before

    @property
    def children(self) -> float:
        """CPU seconds of the decoding processes."""
        return sum(self.seconds.values())

    def _watch(self) -> None:
        while not self._over.wait(0.1):
            memory = self.me.memory_info().rss
            for child in self.me.children(recursive=True):
                try:
                    memory += child.memory_info().rss
                    self.seconds[child.pid] = sum(child.cpu_times()[:2])
                except psutil.Error:
                    continue
            self.peak = max(self.peak, memory)


def bare(predictor: Predictor, batch: int, photos: int) -> dict[str, float]:
    """Run the vision half over tensors in memory; photos a second, of wall and of CPU time."""
    rng = np.random.default_rng(0)
    side = predictor.input_size
    pixels = rng.integers(0, 255, (batch, side, side, 3), np.uint8)
    predictor.encode(pixels)
    rounds = max(2, photos // batch)
    cpu, begun = time.process_time(), time.perf_counter()
    for _ in range(rounds):
        predictor.encode(pixels)
    done = rounds * batch
    return {
        "photos_a_second": done / (time.perf_counter() - begun),
        "cpu_s_a_photo": (time.process_time() - cpu) / done,
    }


def indexing(
    predictor: Predictor, batch: int, photos: int, size: tuple[int, int]
) -> dict[str, Any]:
    """Index new JPEGs from disk, then the same album again, unchanged."""
    with tempfile.TemporaryDirectory(prefix="referent-bench-") as place:
        megabytes = write_photos(Path(place) / "photos", photos, size)
        settings = Settings(home=Path(place) / "home", encode_batch=batch)
        with Catalog.open(settings) as catalog:
            with catalog.session() as session:
                ensure_album(session, [Path(place) / "photos"], name="bench")
            with Meter() as meter:
                report = index_album(settings, "bench", predictor, catalog=catalog)
            assert report.indexed == photos, report.failures
            with Meter() as again:
                index_album(settings, "bench", predictor, catalog=catalog)
    return {
        "megabytes_a_photo": megabytes,
        "photos_a_second": photos / meter.wall,
        "cpu_s_a_photo": (meter.own + meter.children) / photos,
        "decoder_cpu_s_a_photo": meter.children / photos,
        "cores_used": (meter.own + meter.children) / meter.wall,
        "peak_mib": meter.peak / 2**20,
        "unchanged_s": again.wall,
    }


def swin_once(predictor: Predictor, batch: int, photos: int) -> dict[str, float]:
    """Compare encoding from pixels with encoding from a kept pyramid, seconds a photo."""
    rng = np.random.default_rng(0)
    side = predictor.input_size
    pixels = rng.integers(0, 255, (batch, side, side, 3), np.uint8)
    kept = predictor.encode(pixels, ("pyramid",))["pyramid"]
    predictor.encode_from_pyramid(kept)
    rounds = max(1, photos // batch // 2)
    begun = time.perf_counter()
    for _ in range(rounds):
        predictor.encode(pixels)
    whole = time.perf_counter() - begun
    begun = time.perf_counter()
    for _ in range(rounds):
        predictor.encode_from_pyramid(kept)
    cached = time.perf_counter() - begun
    return {
        "from_pixels_s": whole / rounds / batch,
        "from_pyramid_s": cached / rounds / batch,
        "ratio": whole / cached,
        "pyramid_megabytes": kept.dtype.itemsize / 1e6,
    }


def main(arguments: list[str] | None = None) -> int:
    """Run all of it; the status is 0 whatever the figures, which depend on the machine's load."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--model", default="rela-tiny:random-1")
    parser.add_argument("--photos", type=int, default=80)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    predictor = load_predictor(options.model)
    figures: dict[str, Any] = {
        "model": options.model,
        "batch": options.batch,
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0],
        "bare": bare(predictor, options.batch, options.photos // 2),
    }
    for name, size in SIZES.items():
        figures[name] = indexing(predictor, options.batch, options.photos, size)
    figures["bare_after"] = bare(predictor, options.batch, options.photos // 2)
    figures["swin_once"] = swin_once(predictor, options.batch, options.photos)
    speed = (figures["bare"]["photos_a_second"] + figures["bare_after"]["photos_a_second"]) / 2
    for name in SIZES:
        figures[name]["of_bare"] = figures[name]["photos_a_second"] / speed
    if options.json:
        sys.stdout.write(json.dumps(figures, indent=2) + "\n")
        return 0
    out = [
        f"{options.model}, batch {options.batch}, threads {figures['threads']}, "
        f"load {figures['load']:.1f}",
        f"bare vision half   {speed:7.2f} photos/s  {figures['bare']['cpu_s_a_photo']:.3f} CPU s "
        f"({figures['bare']['photos_a_second']:.2f} before, "
        f"{figures['bare_after']['photos_a_second']:.2f} after)",
    ]
    for name in SIZES:
        each = figures[name]
        out.append(
            f"index {name:8}     {each['photos_a_second']:7.2f} photos/s  "
            f"{each['cpu_s_a_photo']:.3f} CPU s ({each['decoder_cpu_s_a_photo']:.3f} decoding), "
            f"{each['of_bare']:.3f} of bare (bar {BAR}), {each['cores_used']:.1f} cores, "
            f"{each['peak_mib']:.0f} MiB, unchanged again in {each['unchanged_s']:.2f} s"
        )
    once = figures["swin_once"]
    out.append(
        f"a new head from the kept pyramid: {once['from_pyramid_s']:.3f} s a photo instead of "
        f"{once['from_pixels_s']:.3f} s ({once['ratio']:.1f} times quicker), "
        f"{once['pyramid_megabytes']:.1f} MB a photo kept"
    )
    sys.stdout.write("\n".join(out) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
