"""The head from cache against the whole network, at rela-base's shapes, one RLA layer, 20 words.

Both sides run in the same precision, each at its best batch, in one run; weights are random, since
only shapes matter. `python -m benchmarks.head [--model rela-base] [--threads 2]`
"""

from __future__ import annotations

import argparse
import copy
import resource
import time
from collections.abc import Callable

import torch
from torch import Tensor

from model import packing
from model.build import config_of
from model.network.config import ReLAConfig
from model.network.rela import RelaNetwork, mask_logits
from model.network.rla import RlaHead
from model.text import TextEncoder

EXPRESSION = "everyone except the two kids in blue who are standing to the left of the man in white"


def best(run: Callable[[int], float], sizes: tuple[int, ...]) -> tuple[float, int]:
    """Seconds an item at the best batch size, and that size; the least of three runs counts."""
    found = [(min(run(size) for _ in range(3)), size) for size in sizes]
    return min(found)


def from_cache(
    head: RlaHead, config: ReLAConfig, words: Tensor, mask: Tensor, dtype: torch.dtype
) -> Callable[[int], float]:
    """Seconds a photo of the head on cached tokens, by batch size.

    Args:
        words: (1, T, C) F_t of one expression; mask (1, T), True on real words.
    """
    kind = packing.record_types(config)["tokens"]
    sums = torch.randn(1024, config.regions, config.channels)
    records = packing.pack_tokens(head.tokens(sums), kind)
    quick, words = copy.deepcopy(head).to(dtype), words.to(dtype)

    def seconds(batch: int, photos: int = 2048) -> float:
        begun = time.perf_counter()
        for start in range(0, photos, batch):
            at = start % len(records)
            chunk = packing.unpack_tokens(records[at : at + batch], torch.device("cpu"), dtype)
            quick(chunk, words, mask)
        return (time.perf_counter() - begun) / photos

    return seconds


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--model", default="rela-base")
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--fp32", action="store_true", help="float32 instead of bfloat16")
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    dtype = torch.float32 if chosen.fp32 else torch.bfloat16
    config = config_of(chosen.model)
    torch.manual_seed(0)
    network = RelaNetwork(config).eval().requires_grad_(False)
    text = TextEncoder(config.text, random_seed=0)
    types = packing.record_types(config)
    with torch.inference_mode():
        features, mask = text([EXPRESSION])
        words = network.words(features, mask)

        def whole(batch: int) -> float:
            pixels = torch.rand(batch, 3, config.input_size, config.input_size) * 255
            begun = time.perf_counter()
            with torch.autocast("cpu", torch.bfloat16, enabled=not chosen.fp32):
                encoded = network.decode(network.pyramid(pixels))
                spoken, heard = text([EXPRESSION])
                output = network.judge(
                    network.tokens(encoded.regions), network.words(spoken, heard), heard
                )
                mask_logits(output.coefficients, encoded.mask_features)
            return (time.perf_counter() - begun) / batch

        slow, slow_batch = best(whole, (1, 2, 4))
        cached = from_cache(network.head, config, words, mask, dtype)
        fast, fast_batch = best(cached, (16, 32, 64, 128))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{chosen.model}, {chosen.threads} threads, {'fp32' if chosen.fp32 else 'bf16'}")
    print(f"whole network  {slow * 1e3:9.1f} ms a (photo, expression) at batch {slow_batch}")
    print(f"head from cache {fast * 1e3:8.3f} ms at batch {fast_batch}: {1 / fast:,.0f} photos/s")
    print(f"ratio {slow / fast:,.0f}; {types['tokens'].itemsize:,} bytes of tokens a photo; "
          f"peak memory {peak:,.0f} MiB")  # fmt: skip


if __name__ == "__main__":
    main()
