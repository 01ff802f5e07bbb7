"""Numbers of deleted rows never come back, and the library knows the folders that it made

Revision 0007, revises 0006. SQLite takes a deleted row's number for the next row unless the table
says AUTOINCREMENT, which only a rebuild of the table can add. Folders of uploads and cut-outs were
named by such numbers alone; those of albums and jobs that are still there are written down under
the names that they have.
"""

import os

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

NUMBERED = (
    "albums", "roots", "photos", "model_versions", "index_versions", "segments",
    "jobs", "job_failures", "marks", "api_keys",
)  # fmt: skip


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    if op.get_bind().dialect.name == "sqlite":
        for table in NUMBERED:
            with op.batch_alter_table(
                table, recreate="always", table_kwargs={"sqlite_autoincrement": True}
            ):
                pass
    op.create_table(
        "own_folders",
        sa.Column("id", number, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("owner_id", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("swept_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_own_folders")),
        sa.UniqueConstraint("kind", "owner_id", name=op.f("uq_own_folders_kind_owner_id")),
        sa.UniqueConstraint("kind", "name", name=op.f("uq_own_folders_kind_name")),
        sqlite_autoincrement=True,
    )
    _adopt()


def _adopt() -> None:
    """Write down the folders that albums and jobs have from before."""
    bind = op.get_bind()
    albums = sa.table("roots", sa.column("album_id"), sa.column("path", sa.LargeBinary()))
    jobs = sa.table("jobs", *map(sa.column, ("id", "kind", "created_at")))
    folders = sa.table("own_folders", *map(sa.column, ("kind", "name", "owner_id", "created_at")))
    found = [
        {"kind": "uploads", "name": str(album_id), "owner_id": album_id, "created_at": 0.0}
        for album_id, path in bind.execute(sa.select(albums.c.album_id, albums.c.path).distinct())
        if path.endswith(os.fsencode(f"/uploads/{album_id}"))
    ]
    found += [
        {"kind": kind, "name": f"{kind}-{job_id}", "owner_id": job_id, "created_at": created_at}
        for job_id, kind, created_at in bind.execute(
            sa.select(jobs.c.id, jobs.c.kind, jobs.c.created_at).where(
                jobs.c.kind.in_(("matte", "export"))
            )
        )
    ]
    unique = {(each["kind"], each["owner_id"]): each for each in found}
    if unique:
        bind.execute(sa.insert(folders), list(unique.values()))
