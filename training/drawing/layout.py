"""Laying a scene out: where its groups stand and how large they are."""

from __future__ import annotations

from random import Random

from training.drawing.backgrounds import STUDIO
from training.drawing.groups import Group


def _fits(
    boxes: list[tuple[float, float, float, float]], box: tuple[float, float, float, float]
) -> float:
    """The largest share of either box that a new box and a placed one have in common."""
    worst = 0.0
    x0, y0, x1, y1 = box
    area = (x1 - x0) * (y1 - y0)
    for a0, b0, a1, b1 in boxes:
        common = max(0.0, min(x1, a1) - max(x0, a0)) * max(0.0, min(y1, b1) - max(y0, b0))
        if common:
            worst = max(worst, common / min(area, (a1 - a0) * (b1 - b0)))
    return worst


def place(
    groups: list[Group], aspect: float, horizon: float, setting: str, rng: Random
) -> list[tuple[float, float, float, float, Group]]:
    """Where each group stands: (depth, x, y, unit, group), painter's order."""
    n = sum(len(g.members) for g in groups)
    base = rng.uniform(*((0.55, 0.88) if n <= 3 else (0.44, 0.74) if n <= 6 else (0.38, 0.6)))
    base *= 1.0 if aspect >= 1 else 0.72
    studio = setting in STUDIO
    layout = rng.choices(
        ("ground", "row", "scatter"), (0.1, 0.3, 0.6) if studio else (0.78, 0.22, 0.0)
    )[0]
    strength = rng.uniform(0.0, 0.55) if layout == "ground" and not studio else rng.uniform(0, 0.15)
    near = rng.uniform(0.9, 0.985)
    far = max(horizon + rng.uniform(0.06, 0.16), 0.5 if studio else 0.0)
    far = min(far, near - 0.12)
    row = rng.uniform(max(far, 0.7), near)
    order = list(range(len(groups)))
    rng.shuffle(order)
    widths = [max(g.width, 0.3) for g in groups]
    total = sum(widths)
    if layout == "row":
        base = min(base, 0.92 * aspect / total)
    boxes: list[tuple[float, float, float, float]] = []
    placed: list[tuple[float, float, float, float, Group]] = []
    run = rng.uniform(0.0, 0.08)
    for rank, k in enumerate(order):
        group = groups[k]
        best: tuple[float, float, float, float, tuple[float, float, float, float]] | None = None
        tolerance = 0.02 if rng.random() < 0.6 else 0.35
        for _ in range(14):
            if layout == "row":
                share = sum(widths[j] for j in order[:rank]) + widths[k] / 2
                x = aspect * (share / total * (1 - run) + run / 2)
                y = row + rng.uniform(-0.02, 0.02)
                t = (y - far) / max(near - far, 1e-6)
            else:
                t = rng.random() ** 0.8
                y = far + (near - far) * t
                x = -1.0
            unit = base * (1 - strength * (1 - min(t, 1.0)))
            if layout == "scatter":
                unit = base * rng.uniform(0.62, 1.1)
            if group.width * unit > 0.6 * aspect:
                unit = 0.6 * aspect / group.width
            if group.height * unit > 0.9:
                unit = 0.9 / group.height
            height = group.height * unit
            half = group.width * unit / 2
            if setting in ("beach", "lake") and group.members[0].category == "boat":
                y = horizon + rng.uniform(0.05, 0.14)
            # Depth is what the ground shows; where it shows nothing, all are level.
            ground = horizon if not studio else 0.4
            depth = 0.5 if layout == "row" or group.airborne else (y - ground) / (1 - ground)
            if layout == "scatter":
                y = rng.uniform(min(height + 0.02, 0.95), 0.985)
                depth = 0.5
            elif group.airborne:
                y = rng.uniform(min(height, 0.5), max(0.55, y - height))
            elif y - height < 0.01:
                y = min(0.99, height + 0.01)
                depth = 0.5 if layout == "row" else (y - ground) / (1 - ground)
            if x < 0:
                low, high = min(half * 0.92, aspect / 2), max(aspect - half * 0.92, aspect / 2)
                x = rng.uniform(low, high)
            box = (x - half, y - height, x + half, y)
            overlap = _fits(boxes, box)
            if best is None or overlap < best[0]:
                best = (overlap, depth, x, y, box)
                chosen = unit
            if overlap <= tolerance:
                break
        assert best is not None
        boxes.append(best[4])
        placed.append((best[1], best[2], best[3], chosen, group))
    placed.sort(key=lambda item: item[0])
    return placed
