"""The sandbox's Meta at the door: consent page, codes, tokens of people and system users.

Tokens and codes are kept in SQLite beside what is served, so a later run knows them. Times are
those of the stand-in's clock. Who consents sees a page with the scopes and accounts that are asked
for, each of which can be ticked off.
"""

import hmac
import html
import json
import secrets
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from dmp_assets.demo.sandbox.meta_manner import GraphError, Manner, bad
from dmp_assets.demo.sandbox.meta_world import World
from dmp_assets.platform.base.addresses import is_loopback

REDIRECTS = ("https://dmp.example/connect/callback",)
"""Addresses that are registered; those of this machine need not be (an app in development)."""
SCOPES = ("ads_read", "ads_management", "business_management")
CONFIGURATION = "sandbox-login-configuration"
"""`config_id` of a Login for Business: all that it asks for or nothing, for a system user."""
CODE_SECONDS = 600
SIXTY_DAYS = 60 * 86_400
_PERSON, _SYSTEM_USER = "10150000000000001", "10150000000000077"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS app(app_id TEXT NOT NULL, secret TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS code(code TEXT PRIMARY KEY, redirect_uri TEXT NOT NULL,
  kind TEXT NOT NULL, scopes TEXT NOT NULL, targets TEXT NOT NULL, made_at REAL NOT NULL,
  used INT NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS token(token TEXT PRIMARY KEY, kind TEXT NOT NULL, scopes TEXT NOT NULL,
  targets TEXT NOT NULL, issued_at REAL NOT NULL, expires_at REAL NOT NULL,
  data_ends_at REAL NOT NULL, subcode INT);
"""


@dataclass(frozen=True)
class Access:
    """What a token opens. kind: USER, SYSTEM_USER or APP; targets: ids of the accounts."""

    kind: str
    scopes: tuple[str, ...]
    targets: tuple[str, ...]

    @property
    def user_id(self) -> str:
        return _PERSON if self.kind == "USER" else _SYSTEM_USER


class Login:
    """Who may do what. Raises GraphError for what it refuses."""

    def __init__(self, folder: Path, world: World) -> None:
        self._file, self._world = folder / "login.db", world
        self._lock = threading.Lock()
        with self._db() as db:
            db.executescript(_SCHEMA)
            if db.execute("SELECT * FROM app").fetchone() is None:
                db.execute("INSERT INTO app VALUES (?, ?)", ("900100200300", secrets.token_hex(16)))
            app = db.execute("SELECT * FROM app").fetchone()
        self.app_id, self.app_secret = str(app["app_id"]), str(app["secret"])

    @contextmanager
    def _db(self) -> Iterator[sqlite3.Connection]:
        with self._lock, closing(sqlite3.connect(self._file, timeout=30)) as db:
            db.row_factory = sqlite3.Row
            db.execute("PRAGMA synchronous = OFF")
            with db:
                yield db

    # the consent page ----------------------------------------------------------------------------
    def page(self, asked: Mapping[str, str]) -> Response:
        """The page on which a person consents; a mistake is told to them, not to the app."""
        if (wrong := self._mistake(asked)) is not None:
            return wrong
        wanted = _wanted(asked)
        hidden = "".join(
            f'<input type="hidden" name="{name}" value="{html.escape(asked.get(name, ""))}">'
            for name in ("client_id", "redirect_uri", "state", "scope", "config_id")
        )
        fixed = " disabled" if asked.get("config_id") else ""
        boxes = "".join(
            f'<p><label><input type="checkbox" name="granted" value="{scope}" checked{fixed}> '
            f"{scope}</label></p>"
            for scope in wanted
        )
        accounts = "".join(
            f'<p><label><input type="checkbox" name="account" value="{row["account_id"]}" checked> '
            f"{html.escape(row['name'])} ({row['account_id']})</label></p>"
            for row in self._world.rows("SELECT account_id, name FROM account ORDER BY account_id")
        )
        body = (
            "<!doctype html><html lang=en><meta charset=utf-8><title>Sandbox login</title>"
            "<h1>An app wants to read your ad accounts</h1>"
            f'<form method="post">{hidden}<h2>It may</h2>{boxes}<h2>with these accounts</h2>'
            f'{accounts}<button name="answer" value="yes">Continue</button> '
            '<button name="answer" value="no">Cancel</button></form>'
        )
        parts = urlsplit(asked["redirect_uri"])
        policy = (
            "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; "
            f"form-action 'self' {parts.scheme}://{parts.netloc}"
        )
        return HTMLResponse(body, headers={"Content-Security-Policy": policy})

    def consented(self, form: Mapping[str, str], granted: Sequence[str],
                  accounts: Sequence[str]) -> Response:  # fmt: skip
        """Send the browser back with what the person answered."""
        if (wrong := self._mistake(form)) is not None:
            return wrong
        target, state = form["redirect_uri"], {"state": form.get("state", "")}
        if form.get("answer") != "yes":
            refused = {
                "error": "access_denied",
                "error_reason": "user_denied",
                "error_code": "200",
                "error_description": "Permissions error",
            }
            return RedirectResponse(f"{target}?{urlencode(refused | state)}", status_code=303)
        wanted, is_business = _wanted(form), bool(form.get("config_id"))
        scopes = wanted if is_business else tuple(s for s in wanted if s in granted)
        known = {row["account_id"] for row in self._world.rows("SELECT account_id FROM account")}
        code = secrets.token_urlsafe(32)
        with self._db() as db:
            db.execute(
                "INSERT INTO code VALUES (?, ?, ?, ?, ?, ?, 0)",
                (code, target, "SYSTEM_USER" if is_business else "USER", json.dumps(scopes),
                 json.dumps([a for a in accounts if a in known]), self._world.now()),
            )  # fmt: skip
        return RedirectResponse(f"{target}?{urlencode({'code': code} | state)}#_=_", 303)

    def _mistake(self, asked: Mapping[str, str]) -> Response | None:
        target = asked.get("redirect_uri", "")
        try:
            host = urlsplit(target).hostname or ""
        except ValueError:
            host = ""
        is_ours = target in REDIRECTS or is_loopback(host)
        if asked.get("client_id") != self.app_id or not is_ours:
            return HTMLResponse("<h1>URL blocked</h1><p>This redirect failed.", status_code=400)
        if asked.get("config_id") not in (None, "", CONFIGURATION):
            return HTMLResponse("<h1>No such configuration</h1>", status_code=400)
        return None

    # tokens --------------------------------------------------------------------------------------
    def exchange(self, asked: Mapping[str, str], manner: Manner) -> dict[str, Any]:
        """`oauth/access_token`: for a code, or a longer one for a token that is valid."""
        if asked.get("client_id") != self.app_id:
            raise GraphError(101, "Error validating application. Cannot get application info")
        if not hmac.compare_digest(asked.get("client_secret", ""), self.app_secret):
            raise GraphError(1, "Error validating client secret.")
        if asked.get("grant_type") == "fb_exchange_token":
            old = self._valid(asked.get("fb_exchange_token", ""))
            sixty = asked.get("set_token_expires_in_60_days") == "true"
            if old["kind"] == "SYSTEM_USER":
                life = SIXTY_DAYS if sixty else 0.0
            else:
                life = manner.long_life
            return self._issue(old["kind"], old["scopes"], old["targets"], life, manner)
        with self._db() as db:
            row = db.execute(
                "SELECT * FROM code WHERE code = ?", (asked.get("code", ""),)
            ).fetchone()
            db.execute("UPDATE code SET used = 1 WHERE code = ?", (asked.get("code", ""),))
        if row is None:
            raise GraphError(100, "Invalid verification code format.", subcode=36007)
        if row["used"]:
            raise GraphError(100, "This authorization code has been used.", subcode=36009)
        if row["made_at"] + CODE_SECONDS < self._world.now():
            raise GraphError(100, "This authorization code has expired.", subcode=36007)
        if row["redirect_uri"] != asked.get("redirect_uri"):
            raise GraphError(
                100,
                "Error validating verification code. Please make sure your redirect_uri is "
                "identical to the one you used in the OAuth dialog request",
                subcode=36008,
            )
        life = 0.0 if row["kind"] == "SYSTEM_USER" else manner.token_life
        return self._issue(row["kind"], row["scopes"], row["targets"], life, manner)

    def mint(self, access: Access, asked: Mapping[str, str], manner: Manner) -> dict[str, Any]:
        """`{system-user-id}/access_tokens`: a token of a system user, by an admin's."""
        if "business_management" not in access.scopes:
            raise GraphError(200, "(#200) Requires business_management permission", status=403)
        if asked.get("business_app") != self.app_id:
            raise bad("Invalid business_app", "business_app")
        scopes = [scope for scope in asked.get("scope", "").split(",") if scope in SCOPES]
        life = SIXTY_DAYS if asked.get("set_token_expires_in_60_days") == "true" else 0.0
        answer = self._issue(
            "SYSTEM_USER", json.dumps(scopes), json.dumps(access.targets), life, manner
        )
        return {"access_token": answer["access_token"]}

    def _issue(
        self, kind: str, scopes: str, targets: str, life: float, manner: Manner
    ) -> dict[str, Any]:
        token, now = (
            f"EAAB{secrets.token_urlsafe(48).replace('-', 'Z').replace('_', 'Y')}",
            (self._world.now()),
        )
        with self._db() as db:
            db.execute(
                "INSERT INTO token VALUES (?, ?, ?, ?, ?, ?, ?, NULL)",
                (token, kind, scopes, targets, now, now + life if life else 0.0,
                 now + manner.data_life if kind == "USER" else 0.0),
            )  # fmt: skip
        answer: dict[str, Any] = {"access_token": token, "token_type": "bearer"}  # nosec B105
        return answer | ({"expires_in": int(life)} if life else {})

    def _row(self, token: str) -> dict[str, Any] | None:
        with self._db() as db:
            row = db.execute("SELECT * FROM token WHERE token = ?", (token,)).fetchone()
        return dict(row) if row is not None else None

    def _valid(self, token: str) -> dict[str, Any]:
        """The row of a token that opens. Raises GraphError 190."""
        row = self._row(token)
        if row is None:
            raise GraphError(190, "Invalid OAuth access token - Cannot parse access token")
        if row["subcode"] is not None:
            raise GraphError(
                190,
                "Error validating access token: The session has been invalidated.",
                subcode=row["subcode"],
                status=401,
            )
        if row["expires_at"] and row["expires_at"] <= self._world.now():
            raise GraphError(
                190,
                "Error validating access token: Session has expired.",
                subcode=463,
                status=401,
            )
        return row

    def access(self, token: str, proof: str | None, *, needs_proof: bool) -> Access:
        """What a token opens; the proof is checked where there is one, or one is needed."""
        if not token:
            raise GraphError(104, "An access token is required to request this resource.")
        if token == f"{self.app_id}|{self.app_secret}":
            return Access("APP", (), ())
        row = self._valid(token)
        if proof is None and needs_proof:
            raise GraphError(
                100,
                "API calls from the server require an appsecret_proof argument",
                kind="GraphMethodException",
            )
        if proof is not None and not hmac.compare_digest(proof, self.proof(token)):
            raise GraphError(
                100,
                "Invalid appsecret_proof provided in the API argument",
                kind="GraphMethodException",
            )
        scopes, targets = json.loads(row["scopes"]), json.loads(row["targets"])
        if row["data_ends_at"] and row["data_ends_at"] <= self._world.now():
            targets = []
        return Access(row["kind"], tuple(scopes), tuple(targets))

    def proof(self, token: str) -> str:
        """`appsecret_proof` of a token."""
        return hmac.new(self.app_secret.encode(), token.encode(), sha256).hexdigest()

    def debug(self, token: str) -> dict[str, Any]:
        """`debug_token`."""
        if token == f"{self.app_id}|{self.app_secret}":
            about = {"app_id": self.app_id, "type": "APP", "application": "Sandbox app"}
            return {"data": about | {"is_valid": True, "scopes": []}}
        try:
            row = self._valid(token)
        except GraphError as error:
            told = {"code": error.code, "message": error.message}
            told |= {} if error.subcode is None else {"subcode": error.subcode}
            return {"data": {"error": told, "is_valid": False, "scopes": []}}
        scopes, targets = json.loads(row["scopes"]), json.loads(row["targets"])
        data = {
            "app_id": self.app_id,
            "type": row["kind"],
            "application": "Sandbox app",
            "is_valid": True,
            "issued_at": int(row["issued_at"]),
            "expires_at": int(row["expires_at"]),
            "data_access_expires_at": int(row["data_ends_at"]),
            "user_id": _PERSON if row["kind"] == "USER" else _SYSTEM_USER,
            "scopes": scopes,
            "granular_scopes": [
                {"scope": scope, "target_ids": targets} if scope.startswith("ads_")
                else {"scope": scope}
                for scope in scopes
            ],
        }  # fmt: skip
        return {"data": data}

    def revoke(self, asked: Mapping[str, str]) -> Response:
        """`oauth/revoke`."""
        if asked.get("client_id") != self.app_id or not hmac.compare_digest(
            asked.get("client_secret", ""), self.app_secret
        ):
            raise GraphError(1, "Error validating client secret.")
        self.end(460, token=asked.get("revoke_token", ""))
        return JSONResponse({"success": "true"})

    # what happens to tokens elsewhere ------------------------------------------------------------
    def end(self, subcode: int, *, token: str | None = None) -> None:
        """End a token, or all: from now on 190 with this subcode (460: the password changed)."""
        with self._db() as db:
            db.execute(
                "UPDATE token SET subcode = ? WHERE token = coalesce(?, token)", (subcode, token)
            )

    def untick(self, account_id: str) -> None:
        """Take an account from all that was granted."""
        with self._db() as db:
            for row in db.execute("SELECT token, targets FROM token").fetchall():
                left = [one for one in json.loads(row["targets"]) if one != account_id]
                db.execute(
                    "UPDATE token SET targets = ? WHERE token = ?", (json.dumps(left), row["token"])
                )

    def count(self) -> int:
        """How many tokens open something."""
        with self._db() as db:
            sql = "SELECT count(*) FROM token WHERE subcode IS NULL"
            return int(db.execute(sql).fetchone()[0])


def _wanted(asked: Mapping[str, str]) -> tuple[str, ...]:
    if asked.get("config_id"):
        return SCOPES
    return tuple(scope for scope in SCOPES if scope in asked.get("scope", "").split(","))
