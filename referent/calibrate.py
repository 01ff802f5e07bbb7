"""`referent calibrate`: fit how a model's no-target score is read, and the operating points."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from referent.evaluate import parse


def calibrate(
    model: Annotated[str, typer.Argument(help="a model's name, or a weights file")] = "rela-mini",
    data: Annotated[
        str, typer.Option(help="synthetic:val; never the set that you report figures on")
    ] = "synthetic:val",
    precision: Annotated[
        float | None,
        typer.Option(
            min=0.0, max=1.0, help="aim at this precision in albums instead of the best F1"
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="write here instead of beside the weights")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print the calibration as JSON")] = False,
    quick: Annotated[bool, typer.Option(help="a tenth of the synthetic sets")] = False,
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
) -> None:
    """Fit temperature, bias, prior and operating points on held-out data.

    They are kept in NAME.calibration.json beside the weights, under a revision of their own: no
    photo has to be indexed again. The default operating point is the one for albums, where most
    photos do not match.
    """
    import json

    from model.build import load_predictor, weights_of
    from model.calibration import path_beside
    from training import suite, testsets
    from training.errors import DatasetError

    name, split = parse(data)
    if name != "synthetic":
        raise DatasetError("calibration needs albums with known truth: give synthetic:val")
    # A random network has no weights file to lie beside.
    path = out or path_beside(weights_of(model))
    predictor = load_predictor(model, device=device)
    sizes = testsets.QUICK if quick else testsets.FULL
    fitted = suite.calibrate(predictor, split or "val", sizes, precision=precision)
    fitted.save(path)
    if as_json:
        typer.echo(json.dumps({"path": str(path), **fitted.to_dict()}, indent=2))
    else:
        typer.echo(
            f"{path}: revision {fitted.revision}, temperature {fitted.temperature:.3f}, bias "
            f"{fitted.bias:+.3f}, prior shift {fitted.prior_shift:+.3f}, threshold "
            f"{fitted.threshold:.3f}"
        )


EXAMPLE = "Example: `referent calibrate rela-mini --data synthetic:val`"
setattr(calibrate, "epilog", EXAMPLE)  # noqa: B010
