"""Indexes for an album's jobs in the order of their numbers, and for the places that are held

Revision 0003, revises 0002.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_jobs_album_id_id", "jobs", ["album_id", "id"])
    op.drop_index("ix_jobs_album_id_kind", "jobs")
    held = sa.text("lease_owner is not null")
    op.create_index(
        "ix_job_slots_held", "job_slots", ["lease_owner"], sqlite_where=held, postgresql_where=held
    )
