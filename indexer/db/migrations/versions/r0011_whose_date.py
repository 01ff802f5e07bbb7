"""Where a photo's date comes from: the camera, as all of those that are there, or its name.

Revision 0011, revises 0010.
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("photos", sa.Column("taken_source", sa.String(16)))
