"""What `referent index` says to people: progress while it works, lines when it has ended."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from indexer.encoding.alone import IndexReport, Progress
from indexer.features.stats import Stats
from indexer.features.verify import Verified
from indexer.folders.offline import sentence
from referent.progress import ProgressLine, speed_of
from referent.terminal import duration

FAILURES_SHOWN = 20
_PHASES = {"scan": "scanning", "encode": "encoding", "finish": "finishing"}


def show(line: ProgressLine, at: Progress) -> None:
    """Tell how far an index is."""
    total = at.total if at.phase == "encode" else None
    line.count(_PHASES[at.phase], at.done, total, speed_of(at.rate, at.left_s, at.failed))


def summary(report: IndexReport) -> Iterator[str]:
    """Give the lines that end a run: one of figures, then what needs a person."""
    yield _figures(report)
    if report.activated:
        yield f"  {report.album} is searched with {report.model} from now on"
    if report.lacking:
        yield (
            f"  {report.model} lacks {report.lacking:,} photos yet: {report.album} is searched as "
            "before until the same command has encoded them, or you say: referent reindex --album "
            f"'{report.album}' --model {report.model} --accept-fewer"
        )
    if report.offline:
        yield f"  {sentence(report.offline)}"
    for path, reason in report.failures[:FAILURES_SHOWN]:
        yield f"  failed: {path} {reason}"
    if len(report.failures) > FAILURES_SHOWN:
        more = len(report.failures) - FAILURES_SHOWN
        yield f"  and {more:,} more: referent failed '{report.album}'"
    scan = report.scan
    if scan is None:
        return
    known = {path for path, _ in report.failures}
    for path, reason in scan.errors[:FAILURES_SHOWN]:
        if path not in known:
            yield f"  not read: {path} {reason}"
    for path, reason in scan.offline:
        yield f"  offline: {path} {reason}; its photos are kept"
    for note in scan.notes:
        yield f"  {note}"
    if scan.question:
        yield f"  {scan.question}"


def _figures(report: IndexReport) -> str:
    stands = _listed(
        (report.indexed, "indexed"), (report.failed, "failed"),
        (report.waiting, "left for the next run"), always=1,
    )  # fmt: skip
    scan = report.scan
    did = _listed(
        (report.encoded, "encoded"),
        *(
            ()
            if scan is None
            else (
                (scan.unchanged, "unchanged"),
                (scan.changed, "changed"),
                (scan.moved, "moved"),
                (scan.returned, "returned"),
                (scan.missing, "gone"),
                (scan.unreadable, "not readable any more"),
                (scan.busy, "still being written"),
            )
        ),
        (report.duplicates, "duplicates"),
        always=1,
    )
    rate = f", {report.encoded / report.seconds:.1f} photos/s" if report.encoded else ""
    return (
        f"{report.album}: {stands} of {report.total:,} photos ({did}) "
        f"in {duration(report.seconds)}{rate}"
    )


def _listed(*counts: tuple[int, str], always: int) -> str:
    """Name what there is of each; the first few even where there is none."""
    return ", ".join(
        f"{number:,} {what}" for at, (number, what) in enumerate(counts) if number or at < always
    )


def verified(report: Verified, again: int) -> Iterator[str]:
    """Give the lines that end a verification, after ``again`` photos were encoded again."""
    yield (
        f"verified {report.segments:,} segments with {report.rows:,} rows: "
        f"{len(report.damaged)} damaged, {report.lost_rows} rows lost, {again} photos encoded "
        f"again, {report.attached} rows attached"
    )
    for path, reason in report.damaged:
        yield f"  damaged: {path} {reason}"
    for path in report.photos:
        yield f"  encoded again: {path}"


def stats_lines(stats: Stats) -> Iterator[str]:
    """Give a line an album, a version and a tier, and one for the rest."""
    for album in stats.albums:
        yield (
            f"{album['name']}: {album['photos']:,} photos, {album['indexed']:,} indexed, "
            f"{album['failed']:,} failed, {album['new']:,} waiting, "
            f"{album['duplicates']:,} duplicates, {album['missing']:,} missing"
        )
    for version in stats.versions:
        yield _version(version)
    for tier in stats.tiers:
        each = f"{tier.bytes_a_photo:,.0f} bytes a photo" if tier.bytes_a_photo else "no rows"
        yield (
            f"{tier.tier:8} {tier.fingerprint}: {tier.rows:,} rows in {tier.segments:,} files, "
            f"{tier.bytes / 1e6:,.1f} MB, {each} ({tier.model})"
        )
    line = f"prefilter {stats.faiss_bytes / 1e6:,.1f} MB"
    if stats.database_bytes is not None:
        line += f", database {stats.database_bytes / 1e6:,.1f} MB"
    yield f"{line}, {stats.leftover_segments} leftover files"


def _version(version: dict[str, Any]) -> str:
    return (
        f"version {version['version']}: {version['album']} with {version['model']}, "
        f"{version['state']}"
    )
