"""Alembic's environment: `indexer.db.migrate` hands it a connection inside a transaction."""

from alembic import context

from indexer.db.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
