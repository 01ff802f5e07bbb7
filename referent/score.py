"""``referent score``: what predictions are worth, with intervals; two files are compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from training.measuring.scoring import Protocol


def score(
    predictions: Annotated[
        list[Path], typer.Argument(help="A .jsonl of `referent predict`, or two to compare.")
    ],
    data: Annotated[str, typer.Option(help="What they are of, as for `referent evaluate`.")],
    protocol: Annotated[
        str, typer.Option(help="paper, gres480 (the authors' evaluator), or both.")
    ] = "both",
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse a folder with rows or photos of no use.")
    ] = False,
    quick: Annotated[
        bool, typer.Option(help="Predicted with --quick: a tenth of a set without a folder.")
    ] = False,
    pack: Annotated[
        Path | None, typer.Option(help="Annotated photographs in COCO's form, for photos:val.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False,
) -> None:
    """Score files against the truth: both protocols, by kind, with 95 % intervals over photos.

    Other people's models are scored too: a row needs ref_id, sent_id, rle (COCO's, at photo size)
    and p_no_target or no_target. Of two files the second is compared with the first by photo.
    """
    from referent.evaluate import pairs_of, parse
    from training.measuring import scoring

    protocols = protocols_of(protocol)
    if len(predictions) > 2:
        raise typer.BadParameter("one file is scored, two are compared")
    files = [scoring.read_predictions(path) for path in predictions]
    pairs = pairs_of(*parse(data), quick=quick, pack=pack, strict=strict)
    told = scoring.scored(files, pairs, protocols)
    typer.echo(json.dumps(told, indent=2) if as_json else table(told))


def protocols_of(named: str) -> tuple[Protocol, ...]:
    """The protocols that an option names: paper, gres480, or both."""
    from training.measuring.scoring import PROTOCOLS

    if named not in (*PROTOCOLS, "both"):
        raise typer.BadParameter("--protocol is paper, gres480 or both")
    return tuple(each for each in PROTOCOLS if named in (each, "both"))


def table(told: dict[str, Any]) -> str:
    """The same for a terminal."""
    from training.measuring.scoring import METRICS, PROTOCOLS

    lines = [str(told["data"])]
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
