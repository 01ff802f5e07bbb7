"""What a released network costs a photo, beside the head from cache (`benchmarks.head`).

Weights are random, since only shapes matter. `python -m benchmarks.verifier [--device cuda]`
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch

from model.official.config import OFFICIAL
from model.official.verifier import load_verifier


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--device", default="cpu")
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--precision", choices=["float32", "bfloat16"], default=None)
    options.add_argument("--models", nargs="*", default=sorted(OFFICIAL))
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    for name in chosen.models:
        verifier = load_verifier(
            f"{name}:random-0", device=chosen.device, precision=chosen.precision
        )
        begun = time.perf_counter()
        words = verifier.read("everyone except the two kids in blue on the left")
        text_s = time.perf_counter() - begun
        count = max(2, 2 * verifier.batch) if verifier.device.type != "cpu" else 2
        side = verifier.input_size
        pixels = np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)
        verifier.judge(pixels[: verifier.batch], words)
        runs = []
        for _ in range(3):
            begun = time.perf_counter()
            verifier.judge(pixels, words)
            runs.append((time.perf_counter() - begun) / count)
        print(
            f"{name}: {min(runs):.3f} s a photo ({verifier.precision}, {chosen.device}, "
            f"batch {verifier.batch}), expression {text_s * 1e3:.0f} ms once a query"
        )


if __name__ == "__main__":
    main()
