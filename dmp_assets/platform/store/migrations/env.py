"""How alembic runs our migrations: on the connection, in the transaction, of `database.migrate`."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
with context.begin_transaction():
    context.run_migrations()
