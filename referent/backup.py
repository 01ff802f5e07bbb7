"""``referent backup`` and ``referent restore``: the library, whole, elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from referent.terminal import say

_BYTES_UNIT = 10**6


def backup(
    folder: Annotated[
        Path, typer.Argument(help="A folder that is new, empty or an earlier backup of this one.")
    ],
    features: Annotated[
        bool,
        typer.Option(help="Copy features too; without, a restored library encodes photos anew."),
    ] = True,
    check: Annotated[
        bool, typer.Option("--check", help="Copy nothing: read a backup and compare its digests.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Copy all that the library cannot do without: catalog, features, uploads, exports, models.

    The library serves meanwhile. Photos in your own folders are not copied. The same command again
    goes on where it was cut off, or brings an earlier backup up to date, copying what is new. The
    folder holds the secret of the page's sessions: keep it where only you can read it.
    """
    from indexer.backup.archive import Archive
    from indexer.backup.backup import back_up
    from indexer.db.catalog import Catalog
    from indexer.settings import Settings

    if check:
        archive = Archive(folder)
        manifest = archive.manifest()
        files = archive.files(manifest)
        faults = [fault for _, fault in archive.faults(manifest, files)]
        for fault in faults:
            say(fault)
        say(f"{folder}: {len(files):,} files and the catalog read, {len(faults):,} damaged")
        if faults:
            say("remove what is damaged; the next `referent backup` copies it again", err=True)
        raise typer.Exit(1 if faults else 0)
    settings = Settings()
    with Catalog.open(settings) as catalog, _Shown("backup", quiet=quiet) as shown:
        done = back_up(catalog, settings, folder, features=features, progress=shown.tell)
    for path in done.gone:
        say(f"not there, and so not in the backup: {path}", err=True)
    say(
        f"{folder}: {done.rows:,} rows, {done.files:,} files of {_size(done.bytes)} "
        f"({done.copied_files:,} of {_size(done.copied_bytes)} copied now)"
        + ("" if features else "; without features")
    )


def restore(
    source: Annotated[
        Path, typer.Argument(help="A backup, or the home of a library whose catalog is SQLite.")
    ],
    features: Annotated[bool, typer.Option(help="Bring features, where the source has them.")] = (
        True
    ),
    moved: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            help="Photos that lay at OLD or below lie at NEW on this machine.", metavar="OLD NEW"
        ),
    ] = None,
    accept_damage: Annotated[
        bool, typer.Option("--accept-damage", help="Go on without files that are damaged.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Fill an empty library from a backup: REFERENT_HOME and REFERENT_DATABASE_URL say which.

    Every byte is compared with its digest on the way. What was cut off goes on when the command is
    given again. From SQLite to PostgreSQL: end the server, set REFERENT_DATABASE_URL to an empty
    database, and restore the library's own home, whose files then stay where they are.
    """
    from indexer.backup.restore import restore as bring_back
    from indexer.db.catalog import Catalog
    from indexer.settings import Settings

    settings = Settings()
    with Catalog.open(settings) as catalog, _Shown("restore", quiet=quiet) as shown:
        done = bring_back(
            catalog,
            settings,
            source,
            features=features,
            moved=[moved] if moved else [],
            accept_damage=accept_damage,
            progress=shown.tell,
        )
    for path in done.damaged:
        say(f"damaged, and so left out: {path}", err=True)
    for path in done.offline:
        say(
            f"not on this machine: {path} (mount it there, or: "
            "referent albums NAME --moved OLD NEW)",
            err=True,
        )
    say(f"{settings.home}: {done.rows:,} rows, {done.files:,} files of {_size(done.bytes)}")
    if done.damaged or not features:
        say("photos without features wait: run `referent index`", err=True)


backup.epilog = (  # type: ignore[attr-defined]
    "Example: `referent backup /mnt/disk/referent`, `referent backup /mnt/disk/referent "
    "--no-features`, `referent backup /mnt/disk/referent --check`"
)
restore.epilog = (  # type: ignore[attr-defined]
    "Example: `referent restore /mnt/disk/referent --moved /home/ann/Photos /srv/photos`, "
    "`REFERENT_DATABASE_URL=postgresql://referent@db/referent referent restore "
    "~/.local/share/referent`"
)


class _Shown:
    """Progress of rows and bytes, on one line."""

    def __init__(self, name: str, *, quiet: bool) -> None:
        from referent.progress import ProgressLine

        self._line = ProgressLine(name, quiet=quiet)

    def __enter__(self) -> _Shown:
        self._line.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._line.__exit__(*exception)

    def tell(self, what: str, done: int, total: int | None) -> None:
        """As `indexer.backup.backup.Progress`."""
        if what == "bytes":
            of = None if total is None else total // _BYTES_UNIT
            self._line.count("megabytes", done // _BYTES_UNIT, of)
        else:
            self._line.count(what, done, total)


def _size(size: int) -> str:
    return f"{size / 10**9:.1f} GB" if size >= 10**9 else f"{size / 10**6:.1f} MB"
