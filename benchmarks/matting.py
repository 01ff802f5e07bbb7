"""Cut-outs: quality on drawn photos of known alpha, speed and memory by photo size.

Run: python -m benchmarks.matting [--sides 1024,2048,3464] [--quality-side 320] [--json]
     python -m benchmarks.matting --counts 640
     python -m benchmarks.matting --people FOLDER [--most 20]

Quality: SAD (sum of absolute differences, in thousands), MSE over the unknown band's photo, and
gradient error, for the hard mask, the best of four feathered masks, ours, and pymatting called
plainly at full size on the same trimap. Speed: the same ways on square photos; 3464 is 12
megapixels. pymatting is left out above 1024 pixels, where it takes minutes. Context, published
elsewhere and not measured here: rembg states 2 to 3 photos a second on CPU.
Counts: what a cut-out's solver does, which no other work on the machine moves: unknown pixels and
steps of each of its sizes, multiply-adds of its products, and the SAD that they give.
People: seconds of a cut-out with the true masks of people, as a network blurs them (56 cells a
side), in the photos of a folder in COCO's form (images/, instances.json), as they are and at 12
megapixels, on every core.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from benchmarks._soft_photos import KINDS, Kind, SoftPhoto, draw, errors, predicted
from model.matting import closed_form
from model.matting.matte import matte, resampled
from model.matting.trimap import make_trimap

CELLS = 56
SEEDS = (1, 2, 3)
PYMATTING_UP_TO = 1024
LEAST_SHARE = 0.1  # of a photo that people take, to be among those timed


def ours(photo: SoftPhoto, seed: int) -> np.ndarray:
    """Alpha of the whole photo, by `model.matting.matte`."""
    made = matte(Image.fromarray(photo.pixels), predicted(photo.alpha, CELLS, seed))
    alpha = np.zeros(photo.alpha.shape, np.float32)
    if made is not None:
        x, y, width, height = made.box
        alpha[y : y + height, x : x + width] = made.alpha / 255
    return alpha


def pymatting_alpha(photo: SoftPhoto, seed: int) -> np.ndarray:
    """Alpha by pymatting at full size, on the trimap that ours would have there."""
    from pymatting import estimate_alpha_cf

    side = len(photo.alpha)
    whole = (0, 0, side, side)
    large = resampled(predicted(photo.alpha, CELLS, seed), whole, whole, (side, side))
    trimap = make_trimap(large, side / CELLS)
    return np.asarray(estimate_alpha_cf(photo.pixels / 255, trimap / 255))


def quality(side: int, *, with_pymatting: bool) -> list[dict[str, Any]]:
    """Mean errors a kind and a way."""
    rows = []
    for kind in KINDS:
        found: dict[str, list[dict[str, float]]] = {}
        for seed in SEEDS:
            photo = draw(kind, side, seed)
            hard = cv2.resize(predicted(photo.alpha, CELLS, seed), (side, side)) >= 0.5
            solid = hard.astype(np.float32)
            soft = [
                errors(cv2.GaussianBlur(solid, (0, 0), w * side / 224), photo.alpha)
                for w in (0.5, 1, 2, 4)
            ]
            ways = {
                "hard mask": errors(solid, photo.alpha),
                "feathered": min(soft, key=lambda each: each["mse"]),
                "referent": errors(ours(photo, seed), photo.alpha),
            }
            if with_pymatting:
                ways["pymatting"] = errors(pymatting_alpha(photo, seed), photo.alpha)
            for way, values in ways.items():
                found.setdefault(way, []).append(values)
        rows += [
            {"kind": kind, "way": way, **{n: float(np.mean([v[n] for v in each])) for n in each[0]}}
            for way, each in found.items()
        ]
    return rows


def counts(side: int) -> list[dict[str, Any]]:
    """Work of the solver, a photo of each kind."""
    solve, steps = closed_form.cg, []

    def counted(matrix: Any, right: Any, **options: Any) -> Any:
        steps.append([matrix.shape[0], 0])

        def step(_: Any) -> None:
            steps[-1][1] += 1

        return solve(matrix, right, callback=step, **options)

    closed_form.cg = counted
    rows = []
    for kind in KINDS:
        steps.clear()
        photo = draw(kind, side, SEEDS[0])
        sad = errors(ours(photo, SEEDS[0]), photo.alpha)["sad"]
        madds = sum(25 * unknown * taken for unknown, taken in steps)
        rows.append({"kind": kind, "sad": sad, "steps": steps[::-1], "multiply_adds": madds})
    closed_form.cg = solve
    return rows


def people(folder: Path, most: int) -> list[dict[str, Any]]:
    """Seconds of cut-outs of people, median and worst, by size of the photo."""
    told = json.loads((folder / "instances.json").read_text())
    person = next(each["id"] for each in told["categories"] if each["name"] == "person")
    outlines: dict[int, list[Any]] = {}
    for each in told["annotations"]:
        if each["category_id"] == person and not each["iscrowd"]:
            outlines.setdefault(each["image_id"], []).extend(each["segmentation"])
    taken: dict[str, list[float]] = {"0.3 MP": [], "12 MP": []}
    shares = []
    for each in told["images"]:
        if each["id"] not in outlines or len(shares) == most:
            continue
        mask = np.zeros((each["height"], each["width"]), np.float32)
        rings = [np.array(ring).reshape(-1, 2).round().astype(np.int32)
                 for ring in outlines[each["id"]]]  # fmt: skip
        cv2.fillPoly(mask, rings, 1.0)
        blurred = cv2.resize(mask, (CELLS, CELLS), interpolation=cv2.INTER_AREA)
        if blurred.mean() < LEAST_SHARE:
            continue
        shares.append(float(blurred.mean()))
        [path] = (folder / "images").rglob(each["file_name"])
        photo = Image.open(path).convert("RGB")
        scale = (12e6 / (photo.width * photo.height)) ** 0.5
        large = photo.resize((round(photo.width * scale), round(photo.height * scale)))
        for name, picture in (("0.3 MP", photo), ("12 MP", large)):
            begun = time.perf_counter()
            matte(picture, cv2.GaussianBlur(blurred, (0, 0), 0.7))
            taken[name].append(time.perf_counter() - begun)
    return [
        {"size": name, "photos": len(each), "share": float(np.mean(shares)),
         "median_s": float(np.median(each)), "worst_s": max(each)}
        for name, each in taken.items()
    ]  # fmt: skip


def _timed(way: str, kind: Kind, side: int, out: Any) -> None:
    photo = draw(kind, min(side, 1024), 1)
    if side > 1024:
        photo = SoftPhoto(*(cv2.resize(v, (side, side)) for v in vars(photo).values()))
    if way == "pymatting":
        import pymatting  # noqa: F401  # its compilation is not what is measured
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    wall, cpu = time.perf_counter(), time.process_time()
    (ours if way == "referent" else pymatting_alpha)(photo, 1)
    taken = time.perf_counter() - wall, time.process_time() - cpu
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    out.put((*taken, after - before, after))


def speed(sides: list[int], *, with_pymatting: bool) -> list[dict[str, Any]]:
    """Seconds and memory of one cut-out, each in a process of its own."""
    rows = []
    context = multiprocessing.get_context("spawn")
    for side in sides:
        for way in ("referent", "pymatting"):
            if way == "pymatting" and (side > PYMATTING_UP_TO or not with_pymatting):
                continue
            out = context.Queue()
            process = context.Process(target=_timed, args=(way, "hair", side, out))
            process.start()
            wall, cpu, grown, peak = out.get()
            process.join()
            rows.append(
                {"side": side, "megapixels": round(side * side / 1e6, 1), "way": way,
                 "wall_s": wall, "cpu_s": cpu, "a_cpu_second": 1 / cpu,
                 "grown_mib": grown, "peak_mib": peak}
            )  # fmt: skip
    return rows


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sides", default="512,1024,2048,3464")
    parser.add_argument("--quality-side", type=int, default=320)
    parser.add_argument("--no-pymatting", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--counts", type=int, metavar="SIDE", help="count work, measure no time")
    parser.add_argument("--people", type=Path, metavar="FOLDER", help="time cut-outs of people")
    parser.add_argument("--most", type=int, default=20, help="photos of people")
    chosen = parser.parse_args(arguments)
    if chosen.people:
        for row in people(chosen.people, chosen.most):
            print(json.dumps(row))
        return
    if chosen.counts:
        for row in counts(chosen.counts):
            print(json.dumps(row))
        return
    with_pymatting = not chosen.no_pymatting
    result = {
        "speed": speed([int(s) for s in chosen.sides.split(",")], with_pymatting=with_pymatting),
        "quality": quality(chosen.quality_side, with_pymatting=with_pymatting),
    }
    if chosen.json:
        print(json.dumps(result, indent=2))
        return
    for row in result["speed"]:
        print(
            f"{row['side']:>5}² {row['megapixels']:>5} MP  {row['way']:<10} {row['wall_s']:7.2f} s "
            f"(CPU {row['cpu_s']:6.2f} s, {row['a_cpu_second']:.2f} a CPU second)  "
            f"+{row['grown_mib']:.0f} MiB, peak {row['peak_mib']:.0f} MiB"
        )
    for row in result["quality"]:
        print(
            f"{row['kind']:<6} {row['way']:<10} SAD {row['sad']:.3f}  MSE {row['mse']:.5f}  "
            f"gradient {row['gradient']:.3f}"
        )


if __name__ == "__main__":
    main()
