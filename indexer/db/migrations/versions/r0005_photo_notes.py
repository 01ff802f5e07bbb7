"""What should be known of a photo that is indexed all the same, such as that its file is cut short

Revision 0005, revises 0004.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("photos", sa.Column("note", sa.Text(), nullable=True))
