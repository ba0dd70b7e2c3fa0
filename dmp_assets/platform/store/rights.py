"""What the service may do with the operational store, and no more: the rights of its role.

It reads and writes rows. The audit log it can only add to; the schema, its own rights and the
server's programs and files are out of its reach. Its tables belong to another role, which migrates.
"""

import sqlalchemy as sa

from dmp_assets.platform.store.schema import PUBLISHED, audit_event, every

_DANGEROUS = (
    "pg_execute_server_program", "pg_read_server_files", "pg_write_server_files",
    "pg_read_all_data", "pg_write_all_data",
)  # fmt: skip
_MAINTAIN = 170_000
"""Since this version of PostgreSQL the right to ANALYZE can be given."""


def grant(owner: sa.Connection, role: str) -> None:
    """Give a role what the service needs and take the rest, as the tables' owner."""
    quoted = owner.dialect.identifier_preparer.quote_identifier
    to = quoted(role)
    there = {
        name
        for (name,) in owner.execute(
            sa.text(
                "SELECT schemaname || '.' || tablename FROM pg_tables "
                "WHERE schemaname IN ('public', :published)"
            ),
            {"published": PUBLISHED},
        )
    }
    version = int(str(owner.scalar(sa.text("SHOW server_version_num"))))
    commands = []
    for schema in ("public", PUBLISHED):
        if any(name.startswith(f"{schema}.") for name in there):
            commands += [
                f"REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM {to}",
                f"GRANT USAGE ON SCHEMA {schema} TO {to}",
            ]
    if "public.alembic_version" in there:
        commands.append(f"GRANT SELECT ON public.alembic_version TO {to}")
    for table in every().sorted_tables:
        if f"{table.schema or 'public'}.{table.name}" not in there:
            continue
        rights = "SELECT, INSERT" if table is audit_event else "SELECT, INSERT, UPDATE, DELETE"
        if table.schema == PUBLISHED and version >= _MAINTAIN:
            rights += ", MAINTAIN"
        commands.append(f"GRANT {rights} ON {table.schema or 'public'}.{table.name} TO {to}")
    for command in commands:
        owner.execute(sa.text(command))


def too_much(connection: sa.Connection) -> list[str]:
    """What the role that is connected could do and should not be able to."""
    found = []
    is_superuser, owns, changes, creates = connection.execute(
        sa.text(
            "SELECT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user), "
            "(SELECT pg_has_role(c.relowner, 'USAGE') FROM pg_class c "
            " WHERE c.oid = to_regclass('public.audit_event')), "
            "has_table_privilege('public.audit_event', 'UPDATE, DELETE, TRUNCATE, TRIGGER'), "
            "has_schema_privilege('public', 'CREATE')"
        )
    ).one()
    if is_superuser:
        found.append("is a superuser: it can run programs and read every file of the server")
    elif owns:
        found.append("owns the tables: it can change the audit log")
    elif changes:
        found.append("may change the audit log")
    if creates and not owns and not is_superuser:
        found.append("may create objects in the schema public")
    if not is_superuser:
        held = connection.execute(
            sa.text("SELECT rolname FROM pg_roles WHERE rolname = ANY(:names) "
                    "AND pg_has_role(rolname, 'USAGE')"),
            {"names": list(_DANGEROUS)},
        )  # fmt: skip
        found += [f"is a member of {name}" for (name,) in held]
    return found
