#!/bin/bash
# Stands in for the entry point of the image postgres:18, with the variables that compose.yaml gives.
set -euo pipefail
bin=$(ls -d /usr/lib/postgresql/*/bin)
data=/var/lib/postgresql/data
if [ ! -s "$data/PG_VERSION" ]; then
  install -d -m 700 -o postgres -g postgres "$data"
  printf '%s' "$POSTGRES_PASSWORD" > /tmp/password && chown postgres /tmp/password
  su postgres -c "$bin/initdb -D $data -U $POSTGRES_USER --auth=scram-sha-256 --pwfile=/tmp/password" >/dev/null
  rm /tmp/password
  echo "host all all all scram-sha-256" >> "$data/pg_hba.conf"
  echo "local all all trust" > "$data/pg_hba.local" && cat "$data/pg_hba.local" "$data/pg_hba.conf" > "$data/pg_hba.both"
  mv "$data/pg_hba.both" "$data/pg_hba.conf" && chown postgres "$data/pg_hba.conf"
  su postgres -c "$bin/pg_ctl -D $data -w -o '-c listen_addresses= -c unix_socket_directories=/tmp' start" >/dev/null
  su postgres -c "$bin/createdb -h /tmp -U $POSTGRES_USER $POSTGRES_DB"
  su postgres -c "$bin/pg_ctl -D $data -w stop" >/dev/null
fi
exec su postgres -c "exec $bin/postgres -D $data -c listen_addresses='*'"
