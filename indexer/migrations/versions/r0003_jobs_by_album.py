"""An album's jobs are listed by number: an index in that order, instead of one by kind

Revision 0003, revises 0002.
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_jobs_album_id_id", "jobs", ["album_id", "id"])
    op.drop_index("ix_jobs_album_id_kind", "jobs")
