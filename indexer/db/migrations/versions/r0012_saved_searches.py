"""Searches under a name that are asked of new photos; identical ones are told apart from others.

Revision 0012, revises 0011. Earlier runs stay rows of their own in the history.
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("search_runs", sa.Column("asked", sa.String(40)))
    op.add_column("search_runs", sa.Column("saved_id", sa.BigInteger()))
    op.create_index("ix_search_runs_asked", "search_runs", ["asked"])
    op.create_index("ix_search_runs_saved_id", "search_runs", ["saved_id"])
    op.create_table(
        "saved_searches",
        sa.Column("id", _ID, nullable=False),
        sa.Column("key_id", sa.BigInteger(), nullable=True),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("expression", sa.Text(), nullable=False),
        sa.Column("album_id", _ID, nullable=True),
        sa.Column("filters", sa.JSON(), nullable=False),
        sa.Column("webhook", sa.Text(), nullable=True),
        sa.Column("trouble", sa.Text(), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["album_id"],
            ["albums.id"],
            name=op.f("fk_saved_searches_album_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_saved_searches")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_saved_searches_album_id"), "saved_searches", ["album_id"])
    op.create_table(
        "saved_judged",
        sa.Column("saved_id", _ID, nullable=False),
        sa.Column("content_hash", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(
            ["saved_id"],
            ["saved_searches.id"],
            name=op.f("fk_saved_judged_saved_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("saved_id", "content_hash", name=op.f("pk_saved_judged")),
        sqlite_with_rowid=False,
    )
