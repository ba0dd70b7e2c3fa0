"""Grants and tokens of the sandbox's Shopify, kept in SQLite: a home holds its tokens longer than a
sandbox runs.

A refresh token is good until its successor, or the access token that came with that, is used; while
the answer to a refresh is lost it opens once more. Each refresh gives both tokens anew.
"""

import base64
import hashlib
import hmac
import json
import secrets
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from dmp_assets.demo.sandbox.shopify_manner import Manner

CLIENT_ID = "sandbox-shopify-client"
CLIENT_SECRET = "shpss_sandbox-secret:+/&="  # noqa: S105 # nosec B105
OLD_CLIENT_SECRET = "shpss_sandbox-secret-of-before"  # noqa: S105 # nosec B105
SCOPES = frozenset({
    "read_orders", "read_all_orders", "read_products", "read_inventory", "read_customers",
    "read_discounts", "read_reports",
})  # fmt: skip

_SCHEMA = """
CREATE TABLE IF NOT EXISTS consent_code(code TEXT PRIMARY KEY, shop TEXT NOT NULL,
  scopes TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS granted(grant_id INTEGER PRIMARY KEY, shop TEXT NOT NULL,
  scopes TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS access_token(token TEXT PRIMARY KEY, grant_id INTEGER NOT NULL,
  ends REAL, refresh TEXT);  -- ends null: never; refresh: what was given with it
CREATE TABLE IF NOT EXISTS refresh_token(token TEXT PRIMARY KEY, grant_id INTEGER NOT NULL,
  ends REAL NOT NULL, state TEXT NOT NULL);  -- newest, replaced, over
CREATE TABLE IF NOT EXISTS subscription(subscription_id INTEGER PRIMARY KEY, shop TEXT NOT NULL,
  topic TEXT NOT NULL, uri TEXT NOT NULL, include_fields TEXT NOT NULL,
  UNIQUE (shop, topic, uri));
CREATE TABLE IF NOT EXISTS token_request(id INTEGER PRIMARY KEY, shop TEXT NOT NULL,
  grant_type TEXT NOT NULL, status INTEGER NOT NULL);
"""


@dataclass(frozen=True)
class Granted:
    """What an access token opens."""

    shop: str
    scopes: tuple[str, ...]
    is_lasting: bool


class Grants:
    """The tokens of all shops."""

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._file, self._lock = file, threading.Lock()
        with self.opened() as db:
            db.executescript(_SCHEMA)

    @contextmanager
    def opened(self) -> Iterator[sqlite3.Connection]:
        """One transaction; it need not survive a power failure."""
        with self._lock, closing(sqlite3.connect(self._file, timeout=30)) as db:
            db.row_factory = sqlite3.Row
            db.execute("PRAGMA synchronous = OFF")
            with db:
                yield db

    def code(self, shop: str, scopes: tuple[str, ...]) -> str:
        """A code for what was consented to, good once."""
        code = secrets.token_hex(16)
        with self.opened() as db:
            db.execute("INSERT INTO consent_code VALUES (?, ?, ?)", (code, shop, ",".join(scopes)))
        return code

    def answer(
        self, shop: str, form: Mapping[str, str], manner: Manner, now: datetime
    ) -> tuple[int, dict[str, Any]]:
        """(status, body) of a request to the token endpoint."""
        kind = form.get("grant_type", "authorization_code")
        status, body = self._answered(shop, kind, form, manner, now)
        with self.opened() as db:
            db.execute(
                "INSERT INTO token_request(shop, grant_type, status) VALUES (?, ?, ?)",
                (shop, kind, status),
            )
        return status, body

    def _answered(
        self, shop: str, kind: str, form: Mapping[str, str], manner: Manner, now: datetime
    ) -> tuple[int, dict[str, Any]]:
        if form.get("client_id") != CLIENT_ID:
            return 400, {"error": "application_cannot_be_found"}
        if form.get("client_secret") != CLIENT_SECRET:
            return 400, {"error": "invalid_client"}
        with self.opened() as db:
            if kind == "client_credentials":
                scopes = tuple(sorted(SCOPES - set(manner.withheld)))
                return 200, self._given(db, shop, scopes, manner, now, "credentials")
            if kind == "authorization_code":
                row = db.execute(
                    "DELETE FROM consent_code WHERE code = ? AND shop = ? RETURNING scopes",
                    (form.get("code", ""), shop),
                ).fetchone()
                if row is None:
                    return 400, {"error": "invalid_request"}
                scopes = tuple(filter(None, row["scopes"].split(",")))
                way = "expiring" if form.get("expiring") == "1" else "lasting"
                return 200, self._given(db, shop, scopes, manner, now, way)
            if kind == "refresh_token":
                return self._refreshed(db, shop, form.get("refresh_token", ""), manner, now)
        return 400, {"error": "unsupported_grant_type"}

    def _given(
        self,
        db: sqlite3.Connection,
        shop: str,
        scopes: tuple[str, ...],
        manner: Manner,
        now: datetime,
        way: str,
    ) -> dict[str, Any]:
        made = db.execute(
            "INSERT INTO granted(shop, scopes) VALUES (?, ?)", (shop, ",".join(scopes))
        )
        assert made.lastrowid is not None
        return self._tokens(db, made.lastrowid, scopes, manner, now, way)

    def _tokens(
        self,
        db: sqlite3.Connection,
        grant_id: int,
        scopes: tuple[str, ...],
        manner: Manner,
        now: datetime,
        way: str,
    ) -> dict[str, Any]:
        access = f"shpat_{secrets.token_hex(16)}"
        body: dict[str, Any] = {"access_token": access, "scope": ",".join(scopes)}
        life = 86_399 if way == "credentials" else manner.lifetime
        ends = None if way == "lasting" else (now + timedelta(seconds=life)).timestamp()
        refresh = None
        if way == "expiring":
            refresh = f"shprt_{secrets.token_hex(16)}"
            until = (now + timedelta(seconds=manner.refresh_lifetime)).timestamp()
            db.execute(
                "INSERT INTO refresh_token VALUES (?, ?, ?, 'newest')", (refresh, grant_id, until)
            )
            body |= {
                "refresh_token": refresh,
                "refresh_token_expires_in": int(manner.refresh_lifetime),
            }
        if ends is not None and not manner.silent_lifetime:
            body["expires_in"] = int(life)
        db.execute(
            "INSERT INTO access_token VALUES (?, ?, ?, ?)", (access, grant_id, ends, refresh)
        )
        return body

    def _refreshed(
        self, db: sqlite3.Connection, shop: str, token: str, manner: Manner, now: datetime
    ) -> tuple[int, dict[str, Any]]:
        known = db.execute(
            "SELECT t.grant_id, t.ends, t.state, g.scopes FROM refresh_token t "
            "JOIN granted g USING (grant_id) WHERE token = ? AND shop = ?",
            (token, shop),
        ).fetchone()
        if known is None or known["state"] == "over" or known["ends"] <= now.timestamp():
            return 400, {"error": "invalid_grant"}
        grant = known["grant_id"]
        if known["state"] == "newest":
            self._use(db, grant)
            db.execute("UPDATE refresh_token SET state = 'replaced' WHERE token = ?", (token,))
        else:  # the answer was lost: what it gave is over, and so is this one
            db.execute("UPDATE refresh_token SET state = 'over' WHERE grant_id = ?", (grant,))
        scopes = tuple(
            one for one in known["scopes"].split(",") if one and one not in manner.withheld
        )
        return 200, self._tokens(db, grant, scopes, manner, now, "expiring")

    def _use(self, db: sqlite3.Connection, grant_id: int) -> None:
        db.execute(
            "UPDATE refresh_token SET state = 'over' WHERE grant_id = ? AND state = 'replaced'",
            (grant_id,),
        )

    def opens(self, shop: str, token: str, now: datetime) -> Granted | None:
        """What a token opens at a shop; None for none."""
        with self.opened() as db:
            row = db.execute(
                "SELECT a.grant_id, a.ends, g.scopes, r.state FROM access_token a "
                "JOIN granted g USING (grant_id) LEFT JOIN refresh_token r ON r.token = a.refresh "
                "WHERE a.token = ? AND g.shop = ?",
                (token, shop),
            ).fetchone()
            if row is None or (row["ends"] is not None and row["ends"] <= now.timestamp()):
                return None
            if row["state"] == "newest":
                self._use(db, row["grant_id"])
            scopes = tuple(filter(None, row["scopes"].split(",")))
            return Granted(shop, scopes, row["ends"] is None)

    def end(self, shop: str) -> None:
        """End every grant of a shop, as an uninstall does."""
        with self.opened() as db:
            of = "SELECT grant_id FROM granted WHERE shop = ?"
            for table in ("access_token", "refresh_token"):
                db.execute(f"DELETE FROM {table} WHERE grant_id IN ({of})", (shop,))
            db.execute("DELETE FROM granted WHERE shop = ?", (shop,))

    def requests(self) -> list[dict[str, Any]]:
        """Every token request: shop, grant_type, status."""
        with self.opened() as db:
            rows = db.execute("SELECT shop, grant_type, status FROM token_request ORDER BY id")
            return [dict(row) for row in rows]


def query_hmac(query: Mapping[str, str], secret: str) -> str:
    """Shopify's signature of a query string: keys in order, `hmac` left out."""

    def written(text: str, *, key: bool) -> str:
        text = text.replace("%", "%25").replace("&", "%26")
        return text.replace("=", "%3D") if key else text

    message = "&".join(
        f"{written(name, key=True)}={written(query[name], key=False)}"
        for name in sorted(query)
        if name != "hmac"
    )
    return hmac.new(secret.encode(), message.encode(), hashlib.sha256).hexdigest()


def body_hmac(body: bytes, secret: str) -> str:
    """Shopify's signature of a delivery."""
    return base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest()).decode()


def host_of(shop: str) -> str:
    """The parameter `host` of the way back."""
    name = shop.partition(".")[0]
    return base64.b64encode(f"admin.shopify.com/store/{name}".encode()).decode().rstrip("=")


def fields_of(text: str) -> list[str]:
    """The `includeFields` of a subscription as stored."""
    return [str(one) for one in json.loads(text)]
