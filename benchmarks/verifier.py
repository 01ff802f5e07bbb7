"""What a released network costs a photo, beside the head from cache (as in `benchmarks.head`).

Run: python -m benchmarks.verifier [--models NAME ...] [--device cuda] [--seconds 60]

Weights are random, since only shapes matter. Each case (network, precision, batch) is timed after
one run that does not count, as often as `--seconds` allows, once at least; the quickest counts.
On two quiet cores all of it takes about three minutes.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np
import torch

from benchmarks.head import EXPRESSION, best, from_cache
from model.build import config_of
from model.network.rla import RlaHead
from model.official.config import OFFICIAL
from model.official.verifier import OfficialVerifier, Precision, load_verifier

RUNS_MAX = 5


def seconds_a_photo(verifier: OfficialVerifier, batch: int, limit_s: float) -> float:
    """The quickest of some runs on a batch; the first one is not counted."""
    verifier.batch = batch
    words = verifier.read(EXPRESSION)
    side = verifier.input_size
    pixels = np.random.default_rng(0).integers(0, 256, (batch, side, side, 3), dtype=np.uint8)
    runs: list[float] = []
    until = time.perf_counter() + limit_s
    while len(runs) <= RUNS_MAX and (len(runs) < 2 or time.perf_counter() < until):
        begun = time.perf_counter()
        verifier.judge(pixels, [words] * batch)
        runs.append((time.perf_counter() - begun) / batch)
    return min(runs[1:])


def head_seconds(dtype: torch.dtype) -> float:
    """Seconds a photo of `rela-base`'s head from cache, at its best batch."""
    config = config_of("rela-base")
    with torch.inference_mode():
        words, mask = torch.randn(1, 20, config.channels), torch.ones(1, 20, dtype=torch.bool)
        return best(from_cache(RlaHead(config).eval(), config, words, mask, dtype), (32, 64))[0]


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--device", default="cpu")
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--models", nargs="*", default=sorted(OFFICIAL))
    options.add_argument("--batches", nargs="*", type=int, default=[1, 4])
    options.add_argument("--seconds", type=float, default=20, help="a case, beyond two runs")
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    torch.manual_seed(0)
    precisions: dict[Precision, torch.dtype] = {
        "float32": torch.float32, "bfloat16": torch.bfloat16
    }  # fmt: skip
    heads = {name: head_seconds(dtype) for name, dtype in precisions.items()}
    for name in chosen.models:
        verifier = load_verifier(f"{name}:random-0", device=chosen.device)
        begun = time.perf_counter()
        verifier.read(EXPRESSION)
        read_s = time.perf_counter() - begun
        print(f"{name} on {chosen.device}: the expression once a query, {read_s * 1e3:.0f} ms")
        for precision in precisions:
            verifier.precision = precision
            for batch in chosen.batches:
                each = seconds_a_photo(verifier, batch, chosen.seconds)
                print(
                    f"  {precision:8} batch {batch:2}: {each:7.3f} s a photo, "
                    f"{each / heads[precision]:8,.0f} times the head's "
                    f"{heads[precision] * 1e3:.3f} ms",
                    flush=True,
                )
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MiB")


if __name__ == "__main__":
    main()
