"""An exhaustive search judged by 1, 2 and 4 worker processes beside the one that searches.

Run: python benchmarks/shared_search.py [--photos 20000] [--searches 3] [--json]

Starts a Redis of its own. The album is copies of a small real one with noise (see `_replicas`);
every process computes with one thread. Told are the seconds of a search, the ratio to the search
without help, how many ranges others judged, and what a range costs beyond its judging: the
processors' time of a search with the workers away, against that of one that shares nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

import torch  # noqa: E402
from pydantic import SecretStr  # noqa: E402

from benchmarks._replicas import grow  # noqa: E402
from benchmarks.latency import REAL, real_album  # noqa: E402
from indexer.encoding.alone import index_album  # noqa: E402
from indexer.folders.albums import ensure_album  # noqa: E402
from indexer.settings import Settings  # noqa: E402
from model.build import load_predictor  # noqa: E402
from search_api.search.engine import Engine  # noqa: E402
from search_api.search.pipeline import collect  # noqa: E402
from search_api.search.query import Query  # noqa: E402
from tests.support.servers import Fleet, OwnRedis  # noqa: E402
from workers.judging import Board, Workers  # noqa: E402


def searched(engine: Engine, number: int, helpers: Workers | None) -> dict[str, Any]:
    """Seconds of some searches, their answers, and how many ranges others judged."""
    helped = 0
    answers = Board.answers

    def counted(board: Board) -> list[tuple[int, bytes]]:
        nonlocal helped
        found = answers(board)
        helped += len(found)
        return found

    Board.answers = counted  # type: ignore[method-assign]
    seconds, cpu, hits = [], [], []
    for text in ("a dog", "man in black", "the red car on the left", "two people")[:number]:
        query = Query(expression=text, album="grown", mode="exhaustive")
        begun, used = time.perf_counter(), time.process_time()
        done = collect(engine, query, helpers=helpers)
        seconds.append(time.perf_counter() - begun)
        cpu.append(time.process_time() - used)
        hits.append([(d.photo_id, d.confidence, d.coefficients.tobytes()) for d in done.matched])
    Board.answers = answers  # type: ignore[method-assign]
    return {"seconds": round(statistics.median(seconds), 2), "cpu": round(sum(cpu), 3),
            "helped": helped, "hits": hits}  # fmt: skip


def measure(place: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Index, grow, then search alone and with more and more workers."""
    redis = OwnRedis(place / "redis")
    redis.start()
    settings = Settings(home=place / "home", model=options.model).model_copy(
        update={"redis_url": SecretStr(redis.url), "judge_workers": 8}
    )
    folder, _ = real_album(place, options.album, options.real)
    torch.set_num_threads(1)
    predictor = load_predictor(options.model, head_dtype=settings.head_dtype)
    rows = []
    with Engine.open(settings, predictor) as engine:
        with engine.catalog.session() as session:
            ensure_album(session, [folder], name=REAL, exclude=["ids-*"])
        index_album(settings, REAL, predictor, catalog=engine.catalog)
        grow(engine.catalog, engine.store, predictor, REAL, "grown", options.photos)
        searched(engine, 1, None)  # opens the album
        alone = searched(engine, options.searches, None)
        shared = searched(engine, options.searches, Workers(settings))
        ranges = options.searches * options.photos / 400
        overhead = (shared["cpu"] - alone["cpu"]) / ranges
        environment = {"REFERENT_HOME": str(settings.home), "REFERENT_MODEL": options.model,
                       "REFERENT_REDIS_URL": redis.url}  # fmt: skip
        for workers in (1, 2, 4):
            with Fleet(place / "logs", environment) as fleet:
                for number in range(workers):
                    fleet.start("worker", "--queues", "judge", "--name", f"w{number}",
                                name=f"judge{number}")  # fmt: skip
                for _ in range(60):  # every one has loaded its model and opened the album
                    if searched(engine, 1, Workers(settings))["helped"] and time.sleep(8) is None:
                        break
                searched(engine, 1, Workers(settings))
                found = searched(engine, options.searches, Workers(settings))
            same = found.pop("hits") == alone["hits"]
            rows.append({"workers": workers, **found, "same": same,
                         "speed": round(alone["seconds"] / found["seconds"], 2)})  # fmt: skip
    redis.stop()
    return {
        "photos": options.photos,
        "cores": os.cpu_count(),
        "alone_s": alone["seconds"],
        "shared_alone_s": shared["seconds"],
        "overhead_ms_a_range": round(1000 * overhead, 2),
        "rows": rows,
    }


def main() -> None:
    """Measure and tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=20_000)
    parser.add_argument("--searches", type=int, default=3)
    parser.add_argument("--real", type=int, default=200, help="photos of the real part")
    parser.add_argument("--album", type=Path, default=None, help="a folder of photos as real part")
    parser.add_argument("--model", default="rela-mini")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        found = measure(Path(place), options)
    if options.json:
        print(json.dumps(found, indent=2))
        return
    print(f"{found['photos']:,} photos, {found['cores']} cores, alone {found['alone_s']} s")
    print(
        f"shared with nobody {found['shared_alone_s']} s, {found['overhead_ms_a_range']} ms a range"
    )
    for row in found["rows"]:
        print(f"{row['workers']} workers: {row['seconds']} s ({row['speed']} x), {row['helped']} "
              f"ranges by others, {'the same' if row['same'] else 'ANOTHER'} answer")  # fmt: skip


if __name__ == "__main__":
    main()
