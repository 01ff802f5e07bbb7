"""Whose a search was, so that each key has a history of its own

Revision 0009, revises 0008. Nobody knows of those that are there.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("search_runs", sa.Column("key_id", sa.BigInteger(), nullable=True))
    op.create_index("ix_search_runs_key_id_created_at", "search_runs", ["key_id", "created_at"])
