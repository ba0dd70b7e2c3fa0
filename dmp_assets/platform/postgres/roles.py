"""Who works with the embedded PostgreSQL's databases: roles with no more rights than they need.

The server's administrator makes databases and roles, and does nothing else: whatever runs inside
of a database, functions and triggers of a restored one included, runs as one of these.
"""

import secrets
from typing import Literal, get_args

from psycopg import sql

from dmp_assets.platform.postgres.endpoint import Endpoint, opened

Role = Literal["dmp_owner", "dmp_shop_reader", "dmp_service"]
"""`dmp_owner` owns the databases: loads, migrates, restores. `dmp_shop_reader` reads the shop.
`dmp_service` works with the operational store; its rights are in `store/rights.py`."""
ROLES: tuple[Role, ...] = get_args(Role)
_CONNECTS: dict[str, tuple[Role, ...]] = {
    "shop": ("dmp_shop_reader",),
    "store": ("dmp_service",),
}
_PLAIN = "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"

# What earlier versions made as the administrator. Names are quoted by format(): %I.
_OWN = """
DO $own$
DECLARE found record;
BEGIN
  FOR found IN
    SELECT format('ALTER SCHEMA %I OWNER TO dmp_owner', nspname) AS command
    FROM pg_catalog.pg_namespace
    WHERE nspowner = 'dmp'::regrole AND nspname NOT LIKE 'pg\\_%'
    AND nspname <> 'information_schema'
    UNION ALL
    SELECT format('ALTER %s %I.%I OWNER TO dmp_owner',
        CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW'
        WHEN 'S' THEN 'SEQUENCE' WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END,
        n.nspname, c.relname)
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relowner = 'dmp'::regrole AND n.nspname NOT LIKE 'pg\\_%'
    AND n.nspname <> 'information_schema' AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
    AND NOT (c.relkind = 'S' AND EXISTS (  -- these follow their table
        SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_class'::regclass
        AND d.objid = c.oid AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0))
    UNION ALL
    SELECT format('ALTER ROUTINE %s OWNER TO dmp_owner', p.oid::regprocedure)
    FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
    WHERE p.proowner = 'dmp'::regrole AND n.nspname NOT LIKE 'pg\\_%'
    AND n.nspname <> 'information_schema'
  LOOP
    EXECUTE found.command;
  END LOOP;
END $own$
"""

_READ = """
GRANT USAGE ON SCHEMA public TO dmp_shop_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO dmp_shop_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE dmp_owner, dmp IN SCHEMA public
GRANT SELECT ON TABLES TO dmp_shop_reader;
"""

_SCHEMA = """
DO $schema$ BEGIN
  IF to_regclass('public.alembic_version') IS NOT NULL THEN
    GRANT SELECT ON public.alembic_version TO dmp_service;
  END IF;
END $schema$
"""


def make(endpoint: Endpoint) -> dict[str, str]:
    """Make the roles unless they are there; their new passwords. Raises PostgresError."""
    passwords: dict[str, str] = {}
    with opened(endpoint) as connection:
        known = {name for (name,) in connection.execute("SELECT rolname FROM pg_roles")}
        for role in ROLES:
            passwords[role] = secrets.token_urlsafe(24)
            verb = "ALTER" if role in known else "CREATE"
            command = sql.SQL(f"{verb} ROLE {{}} {_PLAIN} PASSWORD {{}}")
            connection.execute(command.format(sql.Identifier(role), sql.Literal(passwords[role])))
    return passwords


def ensure_database(endpoint: Endpoint, name: str) -> None:
    """Create a database of `dmp_owner`'s unless it is there. Raises PostgresError."""
    with opened(endpoint) as connection:
        known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,))
        if known.fetchone():
            return
        command = sql.SQL("CREATE DATABASE {} OWNER dmp_owner").format(sql.Identifier(name))
        connection.execute(command)
    own(endpoint, name)


def own(endpoint: Endpoint, name: str) -> None:
    """Give a database and what the administrator made in it to `dmp_owner`; let in who may in.

    Raises PostgresError.
    """
    database = sql.Identifier(name)
    with opened(endpoint, name) as connection, connection.transaction():
        connection.execute("SET LOCAL search_path = pg_catalog")
        connection.execute(sql.SQL("ALTER DATABASE {} OWNER TO dmp_owner").format(database))
        connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database))
        connection.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        connection.execute(_OWN)
        for role in _CONNECTS.get(name, ()):
            grant = sql.SQL("GRANT CONNECT, TEMPORARY ON DATABASE {} TO {}")
            connection.execute(grant.format(database, sql.Identifier(role)))
        if name == "shop":
            connection.execute(_READ)
        if name == "store":  # the rest is given when it is migrated
            connection.execute(_SCHEMA)
