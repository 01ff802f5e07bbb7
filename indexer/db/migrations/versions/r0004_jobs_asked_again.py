"""A job that is asked for while it runs remembers it, so that it looks at the folders once more

Revision 0004, revises 0003.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "jobs", sa.Column("again", sa.Boolean(), nullable=False, server_default=sa.false())
    )
