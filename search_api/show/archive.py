"""A folder of cut-outs as a zip that is made while it is sent, and never sits in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from zipstream import ZIP_STORED, ZipStream

from indexer.db.catalog import Catalog
from indexer.folders.own_folders import known_folder, made_folder
from indexer.jobs.jobs import JobView
from indexer.settings import Settings
from search_api.errors import NotFound
from search_api.show.manifest import MANIFEST, read_entries


def folder_of_job(catalog: Catalog, settings: Settings, job: JobView) -> Path:
    """Where a job's cut-outs go: where its parameters say, else a folder of its own.

    Raises:
        OSError: its own cannot be made.
    """
    given = job.parameters.get("out")
    return Path(given) if given else made_folder(catalog, settings, "matte", job.id)


def kept_cut_outs(catalog: Catalog, settings: Settings, job: JobView) -> Path:
    """Where the cut-outs of an ended job lie.

    Raises:
        NotFound: it is no such job, or they are gone.
    """
    if job.kind != "matte":
        raise NotFound(f"Job {job.id} cuts nothing out.", field="job_id")
    given = job.parameters.get("out")
    folder = Path(given) if given else known_folder(catalog, settings, "matte", job.id)
    if folder is None or not (folder / MANIFEST).is_file():
        raise NotFound(f"There are no cut-outs of job {job.id} (any more).", field="job_id")
    return folder


def members(folder: Path) -> Iterator[tuple[str, Path]]:
    """The manifest and every cut-out that it names and that is there: (name in the zip, file)."""
    if (folder / MANIFEST).is_file():
        yield MANIFEST, folder / MANIFEST
    root = folder.resolve()
    for name, entry in read_entries(folder).items():
        file = (folder / name).resolve()
        if entry.status == "done" and file.is_relative_to(root) and file.is_file():
            yield name, file


def zip_of(folder: Path) -> ZipStream:
    """A stream of a folder's zip; its length is known before it is made.

    Pictures are compressed already, so they are stored as they are.
    """
    stream = ZipStream(compress_type=ZIP_STORED, sized=True)
    for name, file in members(folder):
        stream.add_path(str(file), arcname=name)
    return stream
