"""``referent score``: what predictions are worth, with intervals; two files are compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from training.measuring.judging import PairSet


def score(
    predictions: Annotated[
        list[Path], typer.Argument(help="A .jsonl of `referent predict`, or two to compare.")
    ],
    data: Annotated[str, typer.Option(help="The folder they are of: DIR or DIR:SPLIT.")],
    protocol: Annotated[
        str, typer.Option(help="paper, gres480 (the authors' evaluator), or both.")
    ] = "both",
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse a folder with rows or photos of no use.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False,
) -> None:
    """Score files against the truth: both protocols, by kind, with 95 % intervals over photos.

    Other people's models are scored too: a row needs ref_id, sent_id, rle (COCO's, at photo size)
    and p_no_target or no_target. Of two files the second is compared with the first by photo.
    """
    from referent.evaluate import parse
    from training.errors import DatasetError
    from training.measuring import scoring, suite

    if protocol not in (*scoring.PROTOCOLS, "both"):
        raise typer.BadParameter("--protocol is paper, gres480 or both")
    if len(predictions) > 2:
        raise typer.BadParameter("one file is scored, two are compared")
    name, split = parse(data)
    if not Path(name).exists():
        raise DatasetError(f"{data}: predictions are of a folder in the gRefCOCO form")
    pairs = suite.folder_pairs(Path(name), split, strict=strict)
    told = scored(predictions, pairs, protocol)
    typer.echo(json.dumps(told, indent=2) if as_json else table(told))


def scored(predictions: list[Path], pairs: PairSet, protocol: str) -> dict[str, Any]:
    """What files say of a folder's pairs, as JSON.

    Args:
        protocol: one of `scoring.PROTOCOLS`, or "both".
    """
    from training.measuring import scoring, suite

    assert isinstance(pairs.photos, suite.FolderPhotos)
    files = [scoring.read_predictions(path) for path in predictions]
    told: dict[str, Any] = {"data": pairs.name, "left_out": dict(pairs.left_out)}
    for each in [name for name in scoring.PROTOCOLS if protocol in (name, "both")]:
        scores = [scoring.score(file, pairs.photos.data, each) for file in files]
        told[each] = [
            {"model": file.name, "figures": found.figures, "intervals": found.intervals(),
             "nearest_480": each == "gres480" and not file.squashed}
            for file, found in zip(files, scores, strict=True)
        ]  # fmt: skip
        if len(scores) == 2:
            told[f"{each}.compared"] = scoring.compared(*scores)
    return told


def table(told: dict[str, Any]) -> str:
    """The same for a terminal."""
    from training.measuring.scoring import METRICS, PROTOCOLS

    lines = [f"{told['data']}"]
    lines += [f"left out at reading: {n:,}  {why}" for why, n in told["left_out"].items()]
    for protocol in PROTOCOLS:
        for row in told.get(protocol, []):
            lines += ["", f"{row['model']}, protocol {protocol}"]
            if row["nearest_480"]:
                lines.append("masks of photo size, squashed to 480 x 480 by nearest pixels")
            for name in METRICS:
                value, interval = row["figures"][name], row["intervals"].get(name)
                if value is not None and interval is not None:
                    lines.append(f"  {name:8} {value:.4f}   {interval[0]:.4f} to {interval[1]:.4f}")
            for group in ("by_targets", "by_kind"):
                for key, part in row["figures"][group].items():
                    shown = "   ".join(f"{n} {part[n]:.4f}" for n in METRICS if part[n] is not None)
                    lines.append(f"  {group[3:]} {key:12} {part['samples']:>7,}   {shown}")
        for name, row in told.get(f"{protocol}.compared", {}).items():
            lines.append(
                f"second minus first, {protocol} {name:6} {row['difference']:+.4f}   "
                f"{row['low']:+.4f} to {row['high']:+.4f}, p = {row['p']:.3f}"
            )
    return "\n".join(lines)


score.epilog = (  # type: ignore[attr-defined]
    "Example: `referent score base.jsonl mine.jsonl --data grefcoco:val`"
)
