"""Which webhooks are still to be told of what, and when each was told last.

Revision 0013, revises 0012. What failed before is not tried again.
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("saved_searches", sa.Column("told_at", sa.Double()))
    op.create_table(
        "saved_tellings",
        sa.Column("run_id", sa.String(length=36), nullable=False),
        sa.Column("saved_id", _ID, nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["search_runs.id"],
            name=op.f("fk_saved_tellings_run_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["saved_id"],
            ["saved_searches.id"],
            name=op.f("fk_saved_tellings_saved_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_saved_tellings")),
    )
    op.create_index("ix_saved_tellings_due_at", "saved_tellings", ["due_at"])
    op.create_index(op.f("ix_saved_tellings_saved_id"), "saved_tellings", ["saved_id"])
