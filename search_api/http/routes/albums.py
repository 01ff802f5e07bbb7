"""Albums: make, describe, fill and remove them."""

from __future__ import annotations

from pathlib import Path as FilePath
from typing import Annotated

from fastapi import APIRouter, File, Path, Query, UploadFile

from indexer.encoding.failed import retry_failed
from indexer.folders.printable import shown_file
from indexer.jobs import jobs
from search_api.errors import BadQuery, Forbidden, NotFound
from search_api.http.access import whole_library
from search_api.http.album_schemas import (
    AlbumIn,
    AlbumList,
    AlbumOut,
    FolderList,
    FolderOut,
    RetryIn,
    RetryOut,
    RootIn,
    UploadedOut,
    UploadOut,
)
from search_api.http.deps import ActorDep, Admin, PrincipalDep, Reader, ServerDep, Writer
from search_api.http.model_schemas import CardOut, CurvePoint, ServedModelOut
from search_api.http.named_parts import NamedPartsRoute
from search_api.http.problems import documented
from search_api.http.schemas import NoteOut
from search_api.search import albums, folders, uploads
from search_api.search.albums import AlbumInfo
from search_api.search.engine import UNLIKE

router = APIRouter(prefix="/albums", tags=["albums"], route_class=NamedPartsRoute)
AlbumId = Annotated[int, Path(ge=1, le=2**53)]
Roots = Annotated[bool, Query(description="Tell the folders on the server (admins only).")]


def _out(info: AlbumInfo, who: PrincipalDep, roots: bool = False) -> AlbumOut:
    if roots and "admin" not in who.scopes:
        raise Forbidden("Only a key with the scope admin may ask for server paths.")
    return AlbumOut(
        id=info.id,
        name=info.name,
        created_at=info.created_at,
        photos=info.photos,
        by_status=info.by_status,
        model=info.model,
        threshold=info.threshold,
        unread=info.unread,
        roots=[shown_file(root) for root in info.roots] if roots else None,
    )


@router.get("", response_model=AlbumList, responses=documented(401, 403, 422))
def get_albums(server: ServerDep, who: Reader, roots: Roots = False) -> AlbumList:
    """Every album and how far it is indexed."""
    found = albums.list_albums(server.engine.catalog)
    mine = [each for each in found if who.albums is None or each.id in who.albums]
    return AlbumList(albums=[_out(each, who, roots) for each in mine])


@router.post(
    "",
    response_model=AlbumOut,
    status_code=201,
    responses=documented(400, 401, 403, 409, 413, 422),
)
def create_album(album: AlbumIn, server: ServerDep, who: Writer, by: ActorDep) -> AlbumOut:
    """Make an empty album; upload photos to it, or let an admin add a folder."""
    whole_library(who)
    return _out(albums.create_album(server.engine.catalog, album.name, actor=by), who)


@router.get("/{album_id}", response_model=AlbumOut, responses=documented(401, 403, 404, 422))
def get_album(album_id: AlbumId, server: ServerDep, who: Reader, roots: Roots = False) -> AlbumOut:
    """One album."""
    return _out(albums.album_info(server.engine.catalog, album_id), who, roots)


@router.patch(
    "/{album_id}",
    response_model=AlbumOut,
    responses=documented(400, 401, 403, 404, 409, 413, 422),
)
def rename_album(
    album_id: AlbumId, album: AlbumIn, server: ServerDep, who: Writer, by: ActorDep
) -> AlbumOut:
    """Give an album another name; searches, marks and folders stay with it."""
    return _out(albums.rename(server.engine.catalog, album_id, album.name, actor=by), who)


@router.get(
    "/{album_id}/folders", response_model=FolderList, responses=documented(401, 403, 404, 422)
)
def get_folders(album_id: AlbumId, server: ServerDep, who: Reader) -> FolderList:
    """The folders of an album: whether each is there, and how many photos lie in it."""
    engine = server.engine
    found = folders.list_folders(engine.catalog, engine.settings, album_id)
    return FolderList(
        folders=[
            FolderOut(
                id=each.id,
                path=shown_file(each.path) if "admin" in who.scopes else None,
                uploads=each.uploads,
                online=each.offline is None,
                reason=each.offline,
                seen_at=each.scanned_at,
                photos=each.photos,
                marks=each.marks,
            )
            for each in found
        ]
    )


@router.delete(
    "/{album_id}/folders/{folder_id}",
    status_code=204,
    responses=documented(400, 401, 403, 404, 422),
)
def remove_folder(
    album_id: AlbumId, folder_id: AlbumId, server: ServerDep, who: Admin, by: ActorDep
) -> None:
    """Take a folder of the server from an album, with its photos' rows; no file is touched."""
    engine = server.engine
    folders.remove_folder(engine.catalog, engine.settings, album_id, folder_id, actor=by)
    engine.let_outdated_go()


@router.get(
    "/{album_id}/model",
    response_model=ServedModelOut,
    responses=documented(401, 403, 404, 409, 422, 429),
)
async def get_album_model(album_id: AlbumId, server: ServerDep, who: Reader) -> ServedModelOut:
    """What the model that judges this album can do, and whether its photos are of that kind."""

    def work() -> ServedModelOut:
        view = server.engine.view(album_id)
        if view is None:
            raise NotFound(f"There is no album {album_id}.", field="album_id")
        return ServedModelOut(
            model=view.predictor.name,
            threshold=view.calibration.threshold,
            curve=CurvePoint.all_of(view.calibration),
            notes=[NoteOut.of(note) for note in view.notes if note.code == UNLIKE],
            **CardOut.words_of(view.predictor.card),
        )

    async with server.pictures.one():
        return await server.pictures.compute(work)


@router.delete("/{album_id}", status_code=204, responses=documented(401, 403, 404, 422))
def remove_album(album_id: AlbumId, server: ServerDep, who: Admin, by: ActorDep) -> None:
    """Remove an album and what was uploaded to it; folders of the server are left alone.

    A job frees the disk of its features.
    """
    engine = server.engine
    albums.remove_album(engine.catalog, engine.settings, album_id, actor=by)
    engine.let_outdated_go()
    jobs.create(engine.catalog, "compact")
    server.wake()


@router.post(
    "/{album_id}/photos",
    response_model=UploadOut,
    responses=documented(400, 401, 403, 404, 413, 422, 429),
)
async def upload(
    album_id: AlbumId,
    server: ServerDep,
    who: Writer,
    files: Annotated[list[UploadFile], File(description="Photos.", min_length=1)],
) -> UploadOut:
    """Add photos to an album and index them.

    Each file is decoded under the indexer's limits first; one that is refused does not stop the
    others. A file whose name is no photo's gets the extension of what it holds; the same bytes
    again are answered with the photo that the album has. Archives are not unpacked.
    """
    if len(files) > server.limits.max_upload_files:
        raise BadQuery(
            f"Upload at most {server.limits.max_upload_files} files at once.", field="files"
        )

    def work() -> UploadOut:
        catalog = server.engine.catalog
        taken = uploads.take_upload(
            catalog,
            server.engine.settings,
            server.decoder,
            album_id,
            [(file.filename or "photo", file.file) for file in files],
        )
        job = None
        if any(each.path for each in taken):
            job = _index(server, album_id)
        return UploadOut(
            files=[
                UploadedOut(
                    name=each.name,
                    path=each.path,
                    reason=each.reason,
                    photo=each.photo,
                    known=each.known,
                )
                for each in taken
            ],
            job=job,
        )

    async with server.pictures.one():
        return await server.pictures.compute(work)


@router.post(
    "/{album_id}/roots",
    response_model=AlbumOut,
    responses=documented(400, 401, 403, 404, 413, 422),
)
def add_root(
    album_id: AlbumId, root: RootIn, server: ServerDep, who: Admin, by: ActorDep
) -> AlbumOut:
    """Let an album scan a folder of the server; only where REFERENT_ALLOW_SERVER_FOLDERS is set."""
    if not server.limits.allow_server_folders:
        raise Forbidden(
            "Adding folders of the server is switched off; set REFERENT_ALLOW_SERVER_FOLDERS=true."
        )
    info = albums.add_folder(
        server.engine.catalog,
        album_id,
        FilePath(root.path),
        actor=by,
        follow_links=server.limits.follow_links,
    )
    _index(server, album_id)
    return _out(info, who, roots=True)


@router.post(
    "/{album_id}/retry",
    response_model=RetryOut,
    responses=documented(400, 401, 403, 404, 413, 422),
)
def retry(album_id: AlbumId, which: RetryIn, server: ServerDep, who: Writer) -> RetryOut:
    """Try failed photos again, however often they have failed; `GET /v1/photos` lists them."""
    albums.album_info(server.engine.catalog, album_id)
    photos = retry_failed(
        server.engine.catalog, album_id, reason=which.reason, photo_ids=which.photos
    )
    return RetryOut(photos=photos, job=_index(server, album_id) if photos else None)


def _index(server: ServerDep, album_id: int) -> int:
    """Let an album be indexed; returns the job's number."""
    engine = server.engine
    job = jobs.create(engine.catalog, "index", album_id=album_id, width=engine.settings.job_width)
    server.wake()
    return job.id
