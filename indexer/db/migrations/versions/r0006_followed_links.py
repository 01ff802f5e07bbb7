"""Whether links in a folder may lead out of the album: unknown of those that are there, so no

Revision 0006, revises 0005.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "roots",
        sa.Column("follow_links", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
