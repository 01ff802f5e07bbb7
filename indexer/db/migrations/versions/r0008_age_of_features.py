"""When each record of features was encoded, so that "index everything anew" does each photo once

Revision 0008, revises 0007. Unknown of those that are there, which counts as long ago.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("feature_rows", sa.Column("encoded_at", sa.Double(), nullable=True))
