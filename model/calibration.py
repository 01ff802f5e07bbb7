"""From a no-target logit to a probability that can be trusted, and to a decision.

A network's no-target logit z orders pairs of photo and expression well but is over-confident, and
it was trained where half of all pairs match, whereas in an album nearly none does. So

    p(no target) = sigmoid(z / temperature + bias + prior_shift),

with temperature and bias fitted on held-out pairs, and the prior shift on held-out albums (0 keeps
the prior of the pairs). A photo is a match when p(target) = 1 - p(no target) reaches the threshold.
A calibration lies beside the weights under a revision of its own: calibrating again changes no
cached feature.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from model.errors import ModelError
from model.replacing import replacing

Floats = NDArray[np.float64]

FORMAT = 1
TEMPERATURES = (0.02, 50.0)  # beyond these a fit says nothing about the network any more
_FIELDS = ("temperature", "bias", "prior_shift", "threshold", "points", "fitted_to")
_SEARCHES = ("least_expected", "measured_on")  # told where a search asks for anything


class CalibrationError(ModelError):
    """A calibration cannot be fitted, read or used; the message says why."""


@dataclass(frozen=True)
class Calibration:
    """How a no-target logit is read.

    Attributes:
        temperature: divides the logit, positive.
        bias: added to it, in logits of p(no target).
        prior_shift: log-odds of no target in an album minus those in the fitted pairs.
        threshold: a photo is returned when p(target) is at least this; 0 to 1.
        points: further operating points by name, such as "t_acc_95": thresholds on p(target)
            *without* the prior shift, since they are chosen on pairs.
        fitted_to: fingerprint of the head that made the logits, "" where nobody said.
        curve: how p(target) held on the album that it was chosen on, for people; by tenths of p
            the mean p, the share that had a target, and how many pairs. () where nobody measured.
        least_expected: a search of an album answers where its matches' confidences sum to this:
            so many of them can be expected to be right. 0 asks for nothing. Of many photos that
            show nothing one or another always looks a little like it.
        measured_on: photos of the album that it was chosen on; see `expected_of`.
        revision: 12 hex digits of the hash of the content but the curve, which decides nothing.
    """

    temperature: float = 1.0
    bias: float = 0.0
    prior_shift: float = 0.0
    threshold: float = 0.5
    points: dict[str, float] = field(default_factory=dict)
    fitted_to: str = ""
    curve: tuple[tuple[float, float, int], ...] = ()
    least_expected: float = 0.0
    measured_on: int = 0
    revision: str = field(init=False)

    def __post_init__(self) -> None:
        numbers = (
            self.temperature, self.bias, self.prior_shift, self.threshold, self.least_expected
        )  # fmt: skip
        if not all(math.isfinite(v) for v in (*numbers, *self.points.values())):
            raise CalibrationError("a calibration holds numbers that are not finite; fit it again")
        if self.temperature <= 0:
            raise CalibrationError(f"temperature must be positive, not {self.temperature}")
        if not 0 <= self.threshold <= 1:
            raise CalibrationError(f"threshold must lie in 0 to 1, not {self.threshold}")
        if self.least_expected < 0 or self.measured_on < 0:
            raise CalibrationError("a number of photos is not negative")
        content = json.dumps(self._content(), sort_keys=True)
        object.__setattr__(self, "revision", hashlib.sha256(content.encode()).hexdigest()[:12])

    def __hash__(self) -> int:
        return hash(self.revision)

    def _content(self) -> dict[str, Any]:
        names = (*_FIELDS, *_SEARCHES) if self.least_expected else _FIELDS
        return {name: getattr(self, name) for name in names}

    def confidence(self, no_target_logit: ArrayLike, *, shifted: bool = True) -> Floats:
        """Say how likely each pair has a target.

        Args:
            no_target_logit: any shape; positive means that nothing is there.
            shifted: with the album's prior; False keeps the prior of the fitted pairs.
        Returns:
            p(target), float64 in [0, 1], the shape of the logits.
        """
        z = np.asarray(no_target_logit, dtype=np.float64) / self.temperature + self.bias
        return sigmoid(-(z + self.prior_shift) if shifted else -z)

    def accepts(self, no_target_logit: ArrayLike) -> NDArray[np.bool_]:
        """Tell which pairs count as a match, at the album's operating point."""
        return np.asarray(self.confidence(no_target_logit) >= self.threshold)

    def expected_of(self, photos: int) -> float:
        """How many right photos a search of so many photos must expect for it to answer.

        What looks a little like a thing that is not there grows with the number of photos, so an
        album smaller than the measured one asks for less, in proportion. A larger one asks for no
        more: a thing that is there once would be lost in it.
        """
        return self.least_expected * min(1.0, photos / self.measured_on if self.measured_on else 1)

    def returned(self, no_target_logits: ArrayLike) -> NDArray[np.bool_]:
        """Tell which photos searches of a whole album return.

        Args:
            no_target_logits: (E, N) of E expressions and N photos.
        Returns:
            (E, N): matches, of the expressions whose search answers.
        """
        confidence = self.confidence(no_target_logits)
        matches = confidence >= self.threshold
        expected = np.where(matches, confidence, 0).sum(1, keepdims=True)
        return np.asarray(matches & (expected >= self.expected_of(confidence.shape[1])))

    def to_dict(self) -> dict[str, Any]:
        """Give the JSON form, which `from_dict` reads."""
        told = {"curve": [list(each) for each in self.curve]} if self.curve else {}
        return {"format": FORMAT, **self._content(), **told, "revision": self.revision}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Calibration:
        """Read the JSON form.

        Raises:
            CalibrationError: fields are missing or unknown, or the revision is not the content's.
        """
        known = {"format", *_FIELDS, *_SEARCHES, "curve", "revision"}
        if content.get("format") != FORMAT or set(content) - known or set(_FIELDS) - set(content):
            raise CalibrationError("not a calibration of this version; run `referent calibrate`")
        try:
            made = cls(
                temperature=float(content["temperature"]),
                bias=float(content["bias"]),
                prior_shift=float(content["prior_shift"]),
                threshold=float(content["threshold"]),
                least_expected=float(content.get("least_expected", 0)),
                measured_on=int(content.get("measured_on", 0)),
                points={str(k): float(v) for k, v in content["points"].items()},
                fitted_to=str(content["fitted_to"]),
                curve=tuple((float(p), float(s), int(n)) for p, s, n in content.get("curve", ())),
            )
        except (TypeError, ValueError, AttributeError) as error:
            raise CalibrationError(f"something there is not a number: {error}") from error
        if content.get("revision", made.revision) != made.revision:
            raise CalibrationError("a calibration was edited by hand; run `referent calibrate`")
        return made

    def save(self, path: Path) -> None:
        """Write the JSON file, whole or not at all."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part:
            part.write_text(json.dumps(self.to_dict(), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Calibration:
        """Read the JSON file.

        Raises:
            CalibrationError: names the file, when it is missing, damaged or of another version.
        """
        try:
            return cls.from_dict(json.loads(Path(path).read_text(encoding="utf-8")))
        except (OSError, ValueError, AttributeError, CalibrationError) as error:
            raise CalibrationError(f"calibration {path}: {error}") from error


def path_beside(weights: Path) -> Path:
    """Name the calibration file of a weights file: `x.safetensors` has `x.calibration.json`."""
    return Path(weights).with_suffix(".calibration.json")


def sigmoid(x: ArrayLike) -> Floats:
    """1 / (1 + exp(-x)) without overflow, float64."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * np.asarray(x, dtype=np.float64))))


def fit(
    no_target_logits: ArrayLike,
    has_target: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    around: Calibration | None = None,
    strength: float = 0.0,
) -> Calibration:
    """Fit temperature and bias by maximum likelihood; prior shift 0, threshold 0.5.

    Newton's method on a = 1 / temperature and bias, with Platt's smoothed targets, so that
    separable data has a finite answer.

    Args:
        no_target_logits: (n,) finite.
        has_target: (n,) True where the expression refers to something in the photo.
        weights: (n,) how much each pair counts; 1 each by default.
        around: where few pairs exist, a calibration to stay near to (its prior shift is kept).
        strength: how many pairs that calibration is worth.
    Raises:
        CalibrationError: fewer than one pair of either kind (unless `around` is given).
    Source: Platt, Probabilistic outputs for support vector machines, 1999; Guo et al.,
        On calibration of modern neural networks, ICML 2017.
    """
    z, target, weight = _pairs(no_target_logits, has_target, weights)
    positive, negative = weight[target].sum(), weight[~target].sum()
    if around is None and (positive == 0 or negative == 0):
        raise CalibrationError("calibration needs pairs with a target and pairs without one")
    wanted = np.where(target, 1 / (positive + 2), (negative + 1) / (negative + 2))  # p(no target)
    start = around or Calibration()
    shift = start.prior_shift
    centre = np.array([1 / start.temperature, start.bias])
    # One pair at logit z of uncertain p weighs (z², 1) / 4 in the Hessian of (a, bias).
    penalty = strength * 0.25 * np.array([max(float(np.mean(z**2)) if len(z) else 1.0, 1.0), 1.0])
    low, high = 1 / TEMPERATURES[1], 1 / TEMPERATURES[0]

    def loss(point: Floats) -> float:
        u = point[0] * z + point[1] + shift
        # softplus(u) - wanted * u is the cross-entropy of sigmoid(u) against wanted.
        return float(weight @ (np.logaddexp(0, u) - wanted * u)) + float(
            0.5 * penalty @ (point - centre) ** 2
        )

    point = centre.copy()
    point[0] = np.clip(point[0], low, high)
    value = loss(point)
    for _ in range(100):
        p = sigmoid(point[0] * z + point[1] + shift)
        slope, curve = weight * (p - wanted), weight * p * (1 - p)
        gradient = np.array([slope @ z, slope.sum()]) + penalty * (point - centre)
        hessian = np.array([[curve @ z**2, curve @ z], [curve @ z, curve.sum()]])
        hessian += np.diag(penalty + 1e-9)
        step = np.linalg.solve(hessian, gradient)
        scale = 1.0
        while scale > 1e-8:
            trial = point - scale * step
            trial[0] = np.clip(trial[0], low, high)
            if (trial_value := loss(trial)) <= value:
                break
            scale /= 2
        else:
            break
        moved = float(np.abs(trial - point).max())
        point, value = trial, trial_value
        if moved < 1e-10:
            break
    return replace(start, temperature=float(1 / point[0]), bias=float(point[1]), curve=())


def fit_prior_shift(
    calibration: Calibration, no_target_logits: ArrayLike, has_target: ArrayLike
) -> float:
    """Fit the prior shift alone on an album's pairs, by maximum likelihood.

    The negatives of an album are mostly easier than those of the pairs, so the priors' log-odds
    alone shift too far; this takes what the album's pairs say.
    """
    z, target, _ = _pairs(no_target_logits, has_target, None)
    if target.all() or not target.any():
        raise CalibrationError("a prior needs an album with matching and other photos")
    u = z / calibration.temperature + calibration.bias
    share = 1 - float(target.mean())
    low, high = -60.0, 60.0  # the mean of p(no target) grows with the shift: bisect
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if sigmoid(u + middle).mean() < share else (low, middle)
    return (low + high) / 2


def threshold_for_f1(confidence: ArrayLike, has_target: ArrayLike) -> float:
    """Choose the threshold with the highest F1 of the returned pairs (micro)."""
    score, target = _ordered(confidence, has_target)
    found = np.cumsum(target)
    f1 = 2 * found / (np.arange(1, len(target) + 1) + target.sum())
    return _cut(score, int(np.argmax(np.where(_last_of_ties(score), f1, -1.0))))


def threshold_for_precision(
    confidence: ArrayLike, has_target: ArrayLike, precision: float
) -> float | None:
    """Choose the lowest threshold whose returned pairs hold this precision; None if none does."""
    score, target = _ordered(confidence, has_target)
    held = (np.cumsum(target) / np.arange(1, len(target) + 1) >= precision) & _last_of_ties(score)
    return _cut(score, int(np.flatnonzero(held)[-1])) if held.any() else None


def threshold_for_target_accuracy(
    confidence: ArrayLike, has_target: ArrayLike, accuracy: float
) -> float:
    """Choose the highest threshold that keeps this share of the pairs with a target (T-acc)."""
    score, target = _ordered(confidence, has_target)
    kept = (np.cumsum(target) / target.sum() >= accuracy - 1e-12) & _last_of_ties(score)
    return _cut(score, int(np.flatnonzero(kept)[0]))


@dataclass(frozen=True)
class Reliability:
    """A reliability curve over equal-mass bins of p(target), least confident first.

    Attributes:
        confidence: (bins,) mean p(target) in each bin.
        frequency: (bins,) share of pairs that have a target.
        count: (bins,) pairs.
    """

    confidence: Floats
    frequency: Floats
    count: NDArray[np.int64]

    @property
    def error(self) -> float:
        """The expected calibration error, a fraction."""
        gap = np.abs(self.confidence - self.frequency)
        return float((gap * self.count).sum() / self.count.sum())


def reliability(confidence: ArrayLike, has_target: ArrayLike, *, bins: int = 15) -> Reliability:
    """Compare p(target) with how often there is one, in bins of equal numbers of pairs.

    Equal p(target) never straddles a decision of order: pairs are sorted stably, ties stay as
    they come.
    """
    p, target, _ = _pairs(confidence, has_target, None)
    if len(p) == 0:
        raise CalibrationError("a reliability curve needs at least one pair")
    order = np.argsort(p, kind="stable")
    parts = [part for part in np.array_split(order, min(bins, len(p))) if len(part)]
    return Reliability(
        np.array([p[part].mean() for part in parts]),
        np.array([target[part].mean() for part in parts]),
        np.array([len(part) for part in parts], dtype=np.int64),
    )


def curve_by_tenths(
    confidence: ArrayLike, has_target: ArrayLike
) -> tuple[tuple[float, float, int], ...]:
    """The curve of a `Calibration`: for each tenth of p(target) that has pairs, least first."""
    p, target, _ = _pairs(confidence, has_target, None)
    tenth = np.minimum(np.floor(p * 10 + 1e-9), 9)
    return tuple(
        (round(float(p[there].mean()), 4), round(float(target[there].mean()), 4), int(there.sum()))
        for there in (tenth == each for each in range(10))
        if there.any()
    )


def expected_calibration_error(
    confidence: ArrayLike, has_target: ArrayLike, *, bins: int = 15
) -> float:
    """ECE over equal-mass bins of p(target), a fraction."""
    return reliability(confidence, has_target, bins=bins).error


def _pairs(
    values: ArrayLike, has_target: ArrayLike, weights: ArrayLike | None
) -> tuple[Floats, NDArray[np.bool_], Floats]:
    z = np.asarray(values, dtype=np.float64).ravel()
    target = np.asarray(has_target).astype(bool).ravel()
    weight = np.ones_like(z) if weights is None else np.asarray(weights, np.float64).ravel()
    if not len(z) == len(target) == len(weight):
        raise CalibrationError(f"{len(z)} scores, {len(target)} truths, {len(weight)} weights")
    if not np.isfinite(z).all():
        raise CalibrationError("scores to calibrate must be finite")
    return z, target, weight


def _ordered(confidence: ArrayLike, has_target: ArrayLike) -> tuple[Floats, NDArray[np.bool_]]:
    score, target, _ = _pairs(confidence, has_target, None)
    if not target.any():
        raise CalibrationError("an operating point needs pairs that have a target")
    order = np.argsort(-score, kind="stable")
    return score[order], target[order]


def _last_of_ties(score: Floats) -> NDArray[np.bool_]:
    return np.append(score[1:] != score[:-1], True)


def _cut(score: Floats, last: int) -> float:
    """Cut between the last accepted score and the next: half-way, so that rounding moves none."""
    if last + 1 == len(score):
        return float(score[last] / 2)
    middle = float((score[last] + score[last + 1]) / 2)
    return middle if middle > score[last + 1] else float(score[last])
