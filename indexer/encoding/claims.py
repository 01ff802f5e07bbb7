"""Which photos still need features, and who encodes them.

Work is a content, not a photo: the same bytes in several albums are encoded once. A claim is a row
with a lease; two workers that race get different contents, and a claim of a worker that is gone is
void (`indexer.db.owner.is_gone`, or the lease's end).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, case, delete, exists, func, or_, select, true, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from indexer.db.catalog import Catalog
from indexer.db.clock import clock
from indexer.db.owner import is_gone
from indexer.db.tables import EncodeClaim, FeatureRow, Photo, Root
from indexer.folders.offline import NOWHERE, Away

# A claim covers decoding and encoding of a few seconds' photos; renewed by `renew`.
CLAIM_S = 120.0
# A file that fails (or takes its worker down) this often is left alone until it changes.
ATTEMPTS_MAX = 3
# A content whose worker died this often, in whatever company, is then encoded alone ...
SUSPECT_AFTER = 3
# ... and given up when it has taken down so many workers that did nothing else.
ALONE_MAX = 3


@dataclass(frozen=True)
class Work:
    """One content to encode, by the file that it is read from."""

    content_hash: str
    photo_id: int
    folder: bytes
    """The root's absolute path."""
    path: bytes
    """The file's path below it."""
    missing: frozenset[str]
    """Tiers that have no row yet."""
    attempts: int = 1
    """Claims that have not ended in a row or a failure, this one included (see `SUSPECT_AFTER`)."""


def missing_clause(fingerprints: Mapping[str, str]) -> ColumnElement[bool]:
    """Photos (`Photo`) that lack a row for one of the fingerprints, or their own facts."""
    return or_(missing_rows_clause(fingerprints), Photo.width.is_(None))


def missing_rows_clause(fingerprints: Mapping[str, str]) -> ColumnElement[bool]:
    """Photos (`Photo`) whose content lacks a row for one of the fingerprints."""
    # Counting rows by their key costs three probes of an index a photo. For "not exists, or not
    # exists, or ..." PostgreSQL reads all feature rows first, however few photos are asked for.
    rows = (
        select(func.count())
        .select_from(FeatureRow)
        .where(
            FeatureRow.fingerprint.in_(sorted(set(fingerprints.values()))),
            FeatureRow.content_hash == Photo.content_hash,
        )
        .correlate(Photo)
        .scalar_subquery()
    )
    return rows < len(set(fingerprints.values()))


def waiting_clause(album_id: int, away: Away = NOWHERE) -> ColumnElement[bool]:
    """Photos of an album that are there (none that is `away`) and whose content is known."""
    return and_(
        away.here(),
        Photo.album_id == album_id,
        Photo.deleted_at.is_(None),
        Photo.content_hash.is_not(None),
        Photo.status != "missing",
    )


def claim_key(fingerprints: Mapping[str, str]) -> str:
    """Return the fingerprint that stands for the set in `EncodeClaim`."""
    return fingerprints.get("tokens") or next(iter(fingerprints.values()))


def claim(
    catalog: Catalog,
    album_id: int,
    fingerprints: Mapping[str, str],
    owner: str,
    *,
    limit: int,
    after_photo_id: int = 0,
    away: Away = NOWHERE,
) -> tuple[list[Work], int | None]:
    """Claim up to `limit` contents of an album that lack features.

    Args:
        fingerprints: wanted tier → fingerprint.
        after_photo_id: go on behind this photo, so that a run reads the album once, not once a
            batch.
        away: what is offline is left alone.
    Returns:
        the work, and the photo behind which to go on (None: the end was reached).
    """
    key = claim_key(fingerprints)
    # Looked for outside of the writing transaction: behind a million indexed photos it takes long.
    with catalog.reading() as session:
        found = session.execute(
            select(Photo.id, Photo.content_hash, Root.path, Photo.path)
            .join(Root, Root.id == Photo.root_id)
            .where(
                waiting_clause(album_id, away),
                Photo.id > after_photo_id,
                missing_clause(fingerprints),
            )
            .order_by(Photo.id)
            .limit(limit)
        ).all()
    if not found:
        return [], None
    with catalog.session() as session:
        hashes = [str(digest) for _, digest, _, _ in found]
        taken = _take(session, key, hashes, owner)
        # Another worker may have finished some between the look and now.
        still = set(
            session.scalars(
                select(Photo.content_hash).where(
                    Photo.id.in_([row.id for row in found]), missing_clause(fingerprints)
                )
            )
        )
        finish(session, key, taken.keys() - still)
        have: dict[str, set[str]] = {}
        by_fingerprint = {fingerprint: tier for tier, fingerprint in fingerprints.items()}
        for fingerprint, digest in session.execute(
            select(FeatureRow.fingerprint, FeatureRow.content_hash).where(
                FeatureRow.fingerprint.in_(by_fingerprint), FeatureRow.content_hash.in_(hashes)
            )
        ):
            have.setdefault(digest, set()).add(by_fingerprint[fingerprint])
        work = []
        for (photo_id, _, folder, path), content in zip(found, hashes, strict=True):
            if content in taken and content in still:
                attempts = taken.pop(content)  # a duplicate further on rides along
                missing = frozenset(fingerprints) - have.get(content, set())
                work.append(Work(content, photo_id, folder, path, missing, attempts))
        return work, found[-1][0]


def _take(session: Session, key: str, hashes: Sequence[str], owner: str) -> dict[str, int]:
    """Insert or take over claims; return the contents that are ours now, with their attempts."""
    rows = session.execute(
        select(EncodeClaim.content_hash, EncodeClaim.lease_owner, EncodeClaim.error).where(
            EncodeClaim.fingerprint == key, EncodeClaim.content_hash.in_(hashes)
        )
    ).all()
    known = {digest for digest, _, _ in rows}
    taken: dict[str, int] = {}
    for digest, holder, error in rows:
        if error is not None:
            continue  # failed in this run; `reopen` tries it again
        free = or_(
            EncodeClaim.lease_until.is_(None),
            EncodeClaim.lease_until <= clock(),
            # Given before the database's clock was put back: nobody should wait for its end.
            EncodeClaim.lease_until > clock() + 2 * CLAIM_S,
            EncodeClaim.lease_owner == (holder if is_gone(holder) else None),
        )
        attempts = session.scalar(
            update(EncodeClaim)
            .where(EncodeClaim.fingerprint == key, EncodeClaim.content_hash == digest, free)
            .where(EncodeClaim.error.is_(None))
            .values(
                lease_owner=owner,
                lease_until=clock() + CLAIM_S,
                # A suspect's tries are counted when it is its turn (`try_alone`), so that the
                # deaths that it sees while it waits are not held against it.
                attempts=case(
                    (EncodeClaim.attempts < SUSPECT_AFTER, EncodeClaim.attempts + 1),
                    else_=EncodeClaim.attempts,
                ),
            )
            .returning(EncodeClaim.attempts)
        )
        if attempts is not None:
            taken[digest] = attempts
    new = [digest for digest in dict.fromkeys(hashes) if digest not in known]
    if new:
        dialect = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
        statement: Any = dialect.insert(EncodeClaim).values(
            [
                {
                    "fingerprint": key,
                    "content_hash": digest,
                    "lease_owner": owner,
                    "lease_until": clock() + CLAIM_S,
                    "attempts": 1,
                }
                for digest in new
            ]
        )
        statement = statement.on_conflict_do_nothing().returning(EncodeClaim.content_hash)
        taken.update(dict.fromkeys(session.execute(statement).scalars(), 1))
    return taken


def try_alone(catalog: Catalog, key: str, owner: str, content_hash: str) -> bool:
    """Count a try of a suspect that we have claimed, before it starts; False: give it up."""
    with catalog.session() as session:
        attempts = session.scalar(
            update(EncodeClaim)
            .where(
                EncodeClaim.fingerprint == key,
                EncodeClaim.content_hash == content_hash,
                EncodeClaim.lease_owner == owner,
                EncodeClaim.attempts < SUSPECT_AFTER + ALONE_MAX,
            )
            .values(attempts=EncodeClaim.attempts + 1)
            .returning(EncodeClaim.attempts)
        )
        return attempts is not None


def survived(catalog: Catalog, key: str, owner: str, content_hash: str) -> None:
    """Take back what `try_alone` counted: the worker still lives."""
    with catalog.session() as session:
        session.execute(
            update(EncodeClaim)
            .where(
                EncodeClaim.fingerprint == key,
                EncodeClaim.content_hash == content_hash,
                EncodeClaim.lease_owner == owner,
            )
            .values(attempts=EncodeClaim.attempts - 1)
        )


def renew(catalog: Catalog, key: str, owner: str) -> None:
    """Put off the end of all leases of one worker."""
    with catalog.session() as session:
        session.execute(
            update(EncodeClaim)
            .where(EncodeClaim.fingerprint == key, EncodeClaim.lease_owner == owner)
            .values(lease_until=clock() + CLAIM_S)
        )


def finish(session: Session, key: str, hashes: Iterable[str]) -> None:
    """Remove the claims of contents that have their features now."""
    session.execute(
        delete(EncodeClaim).where(
            EncodeClaim.fingerprint == key, EncodeClaim.content_hash.in_(list(hashes))
        )
    )


def release(catalog: Catalog, owner: str, key: str | None = None) -> None:
    """Give a worker's claims back untouched (all, or those of one key): it stops."""
    mine = EncodeClaim.lease_owner == owner
    if key is not None:
        mine = and_(mine, EncodeClaim.fingerprint == key)
    with catalog.session() as session:
        session.execute(delete(EncodeClaim).where(mine, EncodeClaim.attempts <= 1))
        session.execute(
            update(EncodeClaim)
            .where(mine)
            .values(
                lease_owner=None,
                lease_until=None,
                # Of a suspect the claim counted nothing, so there is nothing to take back.
                attempts=case(
                    (EncodeClaim.attempts < SUSPECT_AFTER, EncodeClaim.attempts - 1),
                    else_=EncodeClaim.attempts,
                ),
            )
        )


def fail(session: Session, key: str, content_hash: str, reason: str) -> None:
    """Turn a claim into a failure, which nobody claims until `reopen`."""
    session.execute(
        update(EncodeClaim)
        .where(EncodeClaim.fingerprint == key, EncodeClaim.content_hash == content_hash)
        .values(lease_owner=None, lease_until=None, error=reason)
    )


def reopen(
    session: Session, key: str, album_id: int, *, all_failed: bool = False, away: Away = NOWHERE
) -> None:
    """Let the album's failures be tried again, those that failed too often only on demand."""
    of_album = select(Photo.content_hash).where(waiting_clause(album_id, away))
    again = true() if all_failed else EncodeClaim.attempts < ATTEMPTS_MAX
    session.execute(
        update(EncodeClaim)
        .where(
            EncodeClaim.fingerprint == key,
            EncodeClaim.error.is_not(None),
            EncodeClaim.content_hash.in_(of_album),
            again,
        )
        .values({"error": None, **({"attempts": 0} if all_failed else {})})
    )


def any_left(
    session: Session,
    album_id: int,
    fingerprints: Mapping[str, str],
    *,
    after_photo_id: int = 0,
    away: Away = NOWHERE,
) -> bool:
    """Whether a content lacks features, is here and has not failed; looks behind a photo first.

    Cheaper than `remaining` while there is work ahead, which is nearly always.
    """
    failed = exists().where(
        EncodeClaim.fingerprint == claim_key(fingerprints),
        EncodeClaim.content_hash == Photo.content_hash,
        EncodeClaim.error.is_not(None),
    )
    wanted = select(Photo.id).where(
        waiting_clause(album_id, away), missing_clause(fingerprints), ~failed
    )
    ahead = wanted.where(Photo.id > after_photo_id).order_by(Photo.id).limit(1)
    if session.scalar(ahead) is not None:
        return True
    return after_photo_id > 0 and session.scalar(wanted.limit(1)) is not None


def remaining(
    session: Session, album_id: int, fingerprints: Mapping[str, str], away: Away = NOWHERE
) -> tuple[int, int]:
    """Count contents that lack features: (claimed by nobody or by living workers, failed)."""
    contents = func.distinct(Photo.content_hash)
    return _remaining(session, album_id, fingerprints, away, contents)


def remaining_photos(
    session: Session, album_id: int, fingerprints: Mapping[str, str]
) -> tuple[int, int]:
    """The same of photos, each for itself; those that no scan could read have failed."""
    waiting, failed = _remaining(session, album_id, fingerprints, NOWHERE, Photo.id)
    unread = and_(
        Photo.album_id == album_id,
        Photo.deleted_at.is_(None),
        Photo.content_hash.is_(None),
        Photo.status == "failed",
    )
    return waiting, failed + (session.scalar(select(func.count(Photo.id)).where(unread)) or 0)


def _remaining(
    session: Session, album_id: int, fingerprints: Mapping[str, str], away: Away, what: Any
) -> tuple[int, int]:
    key = claim_key(fingerprints)
    claims = and_(EncodeClaim.fingerprint == key, EncodeClaim.content_hash == Photo.content_hash)
    failed = func.count(what).filter(EncodeClaim.error.is_not(None))
    row = session.execute(
        select(func.count(what), failed)
        .select_from(Photo)
        .outerjoin(EncodeClaim, claims)
        .where(waiting_clause(album_id, away), missing_clause(fingerprints))
    ).one()
    return row[0] - row[1], row[1]


def count_lacking(
    session: Session, album_id: int, fingerprints: Mapping[str, str], serving: Mapping[str, str]
) -> int:
    """Count photos that have all features of what serves, and not all of another version."""
    query = select(func.count(Photo.id)).where(
        waiting_clause(album_id), ~missing_rows_clause(serving), missing_rows_clause(fingerprints)
    )
    return session.scalar(query) or 0
