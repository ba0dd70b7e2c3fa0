"""A small made-up lakehouse with every table that marts and reports read, written by delta-rs.

Deterministic: the same arguments give the same rows. `SECRETS` of the rows (e-mails, phones, IPs,
devices) are recognisable, so that a test can scan what is delivered for them.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from deltalake import CommitProperties, write_deltalake

from dmp_assets.abuse.model.rules import TEXTS
from dmp_assets.cleaned.shop import promo_codes, promo_usages
from dmp_assets.cleaned.shop.users import RULES as USER_RULES
from dmp_assets.home import Home
from dmp_assets.platform.cleaning.rules import Rule
from dmp_assets.platform.lake.tables import STAMP
from dmp_assets.platform.reporting.report_spec import reports_of_domains
from tests.support import attribution_tables
from tests.support.declared import declared, types

UTC_TIME = pa.timestamp("us", tz="UTC")
FIRST_DAY = datetime(2023, 1, 1, tzinfo=UTC)
DAYS = 456  # 2023-01-01 … 2024-03-31
SIGNALS = ("DEVICE_CROWD", "EMAIL_ALIAS", "FAST_REDEMPTION", "OVER_LIMIT", "EMAIL_SERIES",
           "DEVICE_ROTATES_NETWORK")  # fmt: skip


def write(home: Home, key: str, table: pa.Table, *, stamp: str | None = None) -> None:
    """Overwrite one Delta table of the home, noting a data version as assets do."""
    noted = {"data_version": stamp, "fingerprint": stamp} if stamp else None
    write_deltalake(
        str(home.lakehouse / key),
        table,
        mode="overwrite",
        schema_mode="overwrite",
        commit_properties=CommitProperties(
            custom_metadata={STAMP: json.dumps(noted)} if noted else None
        ),
    )


def build(
    root: Path,
    *,
    users: int = 400,
    seed: int = 1,
    without: Sequence[str] = (),
    empty: bool = False,
) -> Home:
    """Make a sandbox home with all tables but those in `without`; `empty` keeps columns only."""
    home = Home(root).prepare("sandbox")
    for key, table in tables(users, seed).items():
        if key not in without and key.partition("/")[0] not in without:
            write(
                home,
                key,
                table.slice(0, 0) if empty else table,
                stamp=f"{seed}-{users}",
            )
    return home


def tables(users: int = 400, seed: int = 1) -> dict[str, pa.Table]:
    """Every table by key."""
    rng = np.random.default_rng(seed)
    people = _users(rng, users)
    codes = _codes(rng)
    usages = _usages(rng, people, codes)
    people, codes, usages = _received(people, 8), _received(codes, 3), _received(usages, 7)
    made = {
        "raw/users": _raw(people, "user_id", 12),
        "raw/promo_codes": _raw(codes, "promo_code", 4),
        "raw/promo_usages": _raw(usages, "user_id", 9),
        "cleaned/users": people,
        "cleaned/promo_codes": codes,
        "cleaned/promo_usages": usages,
        **_quarantine(),
        **_modeled(people, codes, usages),
        **_ml(rng, people),
        **attribution_tables.tables(),
    }
    read = {
        key for listed in reports_of_domains().values() for spec in listed for key in spec.reads
    }
    return {key: declared(key, table) for key, table in made.items()} | {
        key: _by_type(key) for key in sorted(read - set(made))
    }


def _by_type(key: str, rows: int = 12) -> pa.Table:
    """Rows of a table of which nothing is known here but its columns: each row has other values."""
    return pa.table({name: _values(name, kind, rows) for name, kind in types()[key].items()})


def _values(name: str, kind: pa.DataType, rows: int) -> pa.Array:
    numbers = range(rows)
    if pa.types.is_string(kind):
        return pa.array([f"{name} {n}" for n in numbers], kind)
    if pa.types.is_boolean(kind):
        return pa.array([n % 2 == 0 for n in numbers], kind)
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return _times(np.full(rows, DAYS) - np.arange(1, rows + 1), np.arange(rows)).cast(kind)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return pa.array(numbers, pa.int32()).cast(kind)
    return pa.nulls(rows, kind)


def _times(days: Any, seconds: Any) -> pa.Array:
    start = np.datetime64(FIRST_DAY.replace(tzinfo=None), "us")
    values = start + (days * 86_400 + seconds).astype("timedelta64[s]")
    return pa.array(values, UTC_TIME)


def _numbered(pattern: str, values: Any) -> pa.Array:
    return pa.array([pattern.format(int(value)) for value in values])


def _users(rng: Any, n: int) -> pa.Table:
    day = np.sort(rng.integers(0, DAYS, n))
    second = rng.integers(0, 86_400, n)
    ring = np.where(np.arange(n) % 20 == 0, 1, 0).astype(bool)  # device farms
    device = np.where(ring, np.arange(n) // 100, np.arange(n) + 1000)
    label = np.where(np.arange(n) % 7 == 0, ring, None)
    ids = [f"{(i * 2654435761) % 2**32:08x}-4242-4000-8000-{i:012d}" for i in range(n)]
    count = np.arange(n)
    return pa.table(
        {
            "user_id": pa.array(ids),
            "created_at": _times(day, second),
            "email_received": _numbered("secret.person{0}+x@example.org", count),
            "email": _numbered("secretperson{0}@example.org", count),
            "email_domain": pa.array(["example.org"] * n),
            "is_email_valid": pa.array([True] * n),
            "has_email_alias": pa.array((count % 9 == 0).tolist()),
            "is_email_verified": pa.array((count % 3 != 0).tolist()),
            "phone_received": _numbered("+4915112{0:06d}", count),
            "phone": _numbered("+4915112{0:06d}", count),
            "phone_country": pa.array(["DE"] * n),
            "is_phone_valid": pa.array((count % 11 != 0).tolist()),
            "is_phone_verified": pa.array((count % 4 != 0).tolist()),
            "first_name": pa.array(["Ada"] * n),
            "last_name": pa.array(["Lovelace"] * n),
            "ip_received": _numbered("203.0.113.{0}", count % 250),
            "ip": _numbered("203.0.113.{0}", count % 250),
            "ip_prefix": pa.array(["203.0.113.0/24"] * n),
            "is_ip_valid": pa.array([True] * n),
            "device_id": _numbered("device-secret-{0:05d}", device),
            "city": pa.array([("Berlin", "Paris", "Rome")[i % 3] for i in range(n)]),
            "timezone": pa.array(["Europe/Berlin"] * n),
            "date_of_birth": pa.array([datetime(1990, 1, 1).date()] * n),
            "is_date_of_birth_valid": pa.array((count % 13 != 0).tolist()),
            "is_abuser": pa.array(label.tolist(), pa.bool_()),
            "is_ambiguous": pa.array((count % 97 == 0).tolist()),
            "received_at": _times(day * 0 + DAYS - 1, second),
        }
    )


def _codes(rng: Any, n: int = 60) -> pa.Table:
    return pa.table(
        {
            "promo_code": pa.array([f"{1000 + i}" for i in range(n)]),
            "discount_type": pa.array(
                [("percentage", "fixed_amount", None)[i % 3] for i in range(n)]
            ),
            "discount_value": pa.array(
                [Decimal(int(v)) for v in rng.integers(5, 50, n)], pa.decimal128(12, 2)
            ),
            "min_purchase_amount": pa.array([Decimal(30)] * n, pa.decimal128(12, 2)),
            "valid_from": _times(np.zeros(n, int), np.zeros(n, int)),
            "valid_until": _times(np.full(n, DAYS), np.zeros(n, int)),
            "max_uses_per_user": pa.array([1] * n, pa.int32()),
            "is_ambiguous": pa.array([i == 7 for i in range(n)]),
            "received_at": _times(np.full(n, DAYS - 1), np.zeros(n, int)),
        }
    )


def _usages(rng: Any, people: pa.Table, codes: pa.Table) -> pa.Table:
    created = people["created_at"].to_numpy().astype("datetime64[s]")
    n = people.num_rows
    often = np.where(np.arange(n) % 20 == 0, 6, 1)
    who = np.repeat(np.arange(n), np.where(rng.random(n) < 0.8, often, 0))
    delay = np.where(
        who % 20 == 0,
        rng.integers(60, 3600, len(who)),
        rng.integers(0, 9_000_000, len(who)),
    )
    limit = np.datetime64(FIRST_DAY.replace(tzinfo=None), "s") + np.timedelta64(DAYS, "D")
    at = created[who] + delay.astype("timedelta64[s]")
    who, at = who[at < limit], at[at < limit]
    code = (rng.beta(0.8, 3, len(who)) * codes.num_rows).astype(int)
    keep = np.unique(np.stack([who, code, at.astype(int)]), axis=1, return_index=True)[1]
    who, code, at = who[keep], code[keep], at[keep]
    return pa.table(
        {
            "user_id": people["user_id"].combine_chunks().take(pa.array(who)),
            "promo_code": codes["promo_code"].combine_chunks().take(pa.array(code)),
            "used_at": pa.array(at.astype("datetime64[us]"), UTC_TIME),
            "used_promo": pa.array([True] * len(who)),
            "is_before_registration": pa.array([False] * len(who)),
            "received_at": pa.array([FIRST_DAY + timedelta(days=DAYS)] * len(who), UTC_TIME),
        }
    )


def _received(table: pa.Table, duplicates: int) -> pa.Table:
    """The first rows of the table were received twice."""
    counts = [2 if i < duplicates else 1 for i in range(table.num_rows)]
    return table.append_column("received_rows", pa.array(counts, pa.int64()))


def _raw(cleaned: pa.Table, key: str, extra: int) -> pa.Table:
    """As many rows as were received: the kept ones, `extra` duplicates and quarantined."""
    ids = cleaned[key].to_pylist()
    ids += ids[:extra]
    received = [FIRST_DAY + timedelta(days=DAYS)] * len(ids)
    return pa.table({key: pa.array(ids), "_loaded_at": pa.array(received, UTC_TIME)})


def _quarantine() -> dict[str, pa.Table]:
    at = FIRST_DAY + timedelta(days=DAYS)

    def rows(key: str, rules: Sequence[Rule], failed: list[list[str]]) -> pa.Table:
        said = {rule.name: rule.reason for rule in rules}
        return pa.table(
            {
                key: pa.array([f"bad-{i}" for i in range(len(failed))]),
                "failed_rules": pa.array(failed, pa.list_(pa.string())),
                "reason": pa.array(["; ".join(said[name] for name in names) for names in failed]),
                "quarantined_at": pa.array([at] * len(failed), UTC_TIME),
            }
        )

    return {
        "quarantine/users": rows(
            "user_id", USER_RULES, [["user_id_missing"], ["created_at_unreadable"]] * 2
        ),
        "quarantine/promo_codes": rows("promo_code", promo_codes.RULES, [["promo_code_missing"]]),
        "quarantine/promo_usages": rows(
            "user_id",
            promo_usages.RULES,
            [["user_unknown"], ["user_unknown", "used_at_unreadable"]],
        ),
    }


def _modeled(people: pa.Table, codes: pa.Table, usages: pa.Table) -> dict[str, pa.Table]:
    import duckdb

    with duckdb.connect() as c:
        c.execute("SET TimeZone = 'UTC'")
        c.register("users", people)
        c.register("codes", codes)
        c.register("usages", usages)

        def q(sql: str) -> pa.Table:
            return c.sql(sql).to_arrow_table()

        daily = q(
            """SELECT created_at::date AS date, count(*) AS registrations,
            count_if(is_email_verified) AS verified_email,
            count_if(is_phone_verified) AS verified_phone,
            count_if(is_abuser) AS labelled_abusers FROM users GROUP BY 1 ORDER BY 1"""
        )
        usage_daily = q(
            """SELECT used_at::date AS date, count(*) AS usages,
            count(DISTINCT user_id) AS users, count(DISTINCT promo_code) AS codes,
            count_if(n = 1) AS first_usages
            FROM (SELECT *, row_number() OVER (PARTITION BY user_id ORDER BY used_at) AS n
                  FROM usages) GROUP BY 1 ORDER BY 1"""
        )
        by_user = q(
            """SELECT user_id, count(*) AS usages, count(DISTINCT promo_code) AS codes,
            min(used_at) AS first_used_at, max(used_at) AS last_used_at,
            date_diff('second', any_value(created_at), min(used_at)) / 60.0 AS minutes_to_first_use,
            count_if(used_at < created_at + INTERVAL 1 DAY) AS usages_first_day,
            count_if(used_at < created_at + INTERVAL 7 DAY) AS usages_first_week
            FROM usages JOIN users USING (user_id) GROUP BY 1 ORDER BY 1"""
        )
        by_code = q(
            """SELECT promo_code, count(*) AS usages, count(DISTINCT user_id) AS users,
            min(used_at) AS first_used_at, max(used_at) AS last_used_at,
            any_value(discount_type) AS discount_type,
            any_value(discount_value) AS discount_value,
            any_value(min_purchase_amount) AS min_purchase_amount
            FROM usages JOIN codes USING (promo_code) GROUP BY 1 ORDER BY 1"""
        )
        links = q(
            """SELECT a.user_id AS user_a, b.user_id AS user_b, 3.5::DOUBLE AS weight,
            ['device'] AS shared FROM users a JOIN users b
            ON a.device_id = b.device_id AND a.user_id < b.user_id ORDER BY 1, 2"""
        )
        clusters = q(
            """SELECT user_id, first(user_id) OVER w AS cluster_id,
            count(*) OVER (PARTITION BY device_id) AS cluster_size,
            count(*) OVER (PARTITION BY device_id) - 1 AS links,
            3.5 * (count(*) OVER (PARTITION BY device_id) - 1)::DOUBLE AS link_weight
            FROM users
            WINDOW w AS (PARTITION BY device_id ORDER BY created_at, user_id
                         ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
            QUALIFY cluster_size > 1"""
        )
        labels = q(
            """SELECT user_id, is_abuser, 'shop' AS label_source, NULL::TIMESTAMPTZ AS labelled_at
            FROM users WHERE is_abuser IS NOT NULL"""
        )
    history = pa.table(
        {
            "cluster_id": pa.array([], pa.string()),
            "merged_into": pa.array([], pa.string()),
            "merged_at": pa.array([], UTC_TIME),
            "users": pa.array([], pa.int64()),
        }
    )
    return {
        "modeled/abuse_labels": labels,
        "modeled/registrations_daily": daily,
        "modeled/promo_usage_daily": usage_daily,
        "modeled/promo_usage_by_user": by_user,
        "modeled/promo_usage_by_code": by_code,
        "modeled/account_links": links,
        "modeled/account_clusters": clusters,
        "modeled/account_cluster_history": history,
    }


def _ml(rng: Any, people: pa.Table) -> dict[str, pa.Table]:
    n = people.num_rows
    farm = np.arange(n) % 20 == 0
    probability = np.where(farm, 0.97 - rng.random(n) * 0.3, rng.beta(1, 30, n))
    decision = np.where(probability > 0.8, "block", np.where(probability > 0.5, "review", "allow"))
    reasons: list[list[dict[str, Any]]] = []
    for i in range(n):
        named = [SIGNALS[0], SIGNALS[i // 20 % len(SIGNALS)]] if farm[i] else []
        reasons.append(
            [
                {"code": code, "text": TEXTS[code], "weight": 2.0 - j}
                for j, code in enumerate(dict.fromkeys(named))
            ]
        )
    kind = pa.list_(
        pa.struct([("code", pa.string()), ("text", pa.string()), ("weight", pa.float64())])
    )
    scored = [FIRST_DAY + timedelta(days=DAYS)] * n
    return {
        **_model(),
        "ml/abuse_scores": pa.table(
            {
                "user_id": people["user_id"],
                "probability": pa.array(probability),
                "decision": pa.array(decision.tolist()),
                "reasons": pa.array(reasons, kind),
                "model_version": pa.array(["m-test"] * n),
                "scored_at": pa.array(scored, UTC_TIME),
            }
        ),
        "ml/abuse_features": pa.table(
            {
                "user_id": people["user_id"],
                "device_others": pa.array(np.where(farm, 4.0, 0.0)),
                "email_alias": pa.array((np.arange(n) % 9 == 0).astype(float)),
                "minutes_to_first_use": pa.array(np.where(farm, 20.0, 5000.0)),
            }
        ),
    }


def _model() -> dict[str, pa.Table]:
    """A model version, how it was compared, its card, and one evaluation of drift."""
    at = FIRST_DAY + timedelta(days=DAYS)
    candidates = (
        ("informed_logistic", 0.92), ("rule_list", 0.74), ("gradient_boosting", 0.9),
        ("shares_a_device", 0.4),
    )  # fmt: skip
    figures: list[tuple[str, str, str, float, float | None, int]] = []
    for number, (name, value) in enumerate(candidates):
        figures.append((name, "pr_auc", "held_out_folds", value, 0.03, 10))
        figures.append((name, "pr_auc", "time_ordered", value - 0.1, None, 1))
        figures.append((name, "brier", "held_out_folds", 0.01 + number / 100, 0.001, 10))
    for setting in ("devices", "has_a_usage", "age"):
        figures.append(("informed_logistic", "pr_auc", f"without_{setting}", 0.9, 0.04, 5))
    names = ("candidate", "metric", "setting", "value", "spread", "folds")
    card = {
        "calibration": [
            {"from": i / 10, "accounts": 400 // (i + 1), "mean_probability": i / 10 + 0.05,
             "share_of_abusers": min(1.0, i / 10 + 0.02 * i)} for i in range(10)
        ],
        "cost_curve": [
            {"threshold": i / 20, "flagged": 400 - 20 * i,
             "cost_if_blocked": 0.4 + (10 - i) ** 2 / 80,
             "cost_if_reviewed": 0.3 + abs(4 - i) / 20}
            for i in range(21)
        ],
        "signals": [
            {"code": code, "text": TEXTS[code], "prior_weight": 1.0,
             "fitted_weight": 1.5 - i / 10, "share_of_abusers": 0.6 - i / 10,
             "share_of_honest": 0.01}
            for i, code in enumerate(SIGNALS)
        ],
        "at_thresholds": {"cost_per_account": 0.21, "cost_per_account_if_all_allowed": 0.43},
        "abusers_no_rule_finds": 0.12,
    }  # fmt: skip
    drift = [
        (name, kind, measure, "wasserstein", value, 0.1, value > 0.1)
        for name, kind, measure, value in (
            ("device_others", "feature", "distance", 0.03),
            ("minutes_to_first_use", "feature", "distance", 0.14),
            ("probability", "prediction", "distance", 0.02),
            ("label", "label", "distance", 0.01),
            ("email_alias", "quality", "missing_share_increase", 0.0),
            ("*", "dataset", "share_of_drifted_features", 0.5),
        )
    ]
    attacks = [
        ("e-mail", "unverified", 6, None, None, None, None, 0.02, 0.02),
        ("device", "verified", 6, 5.0, 2.0, None, 14.0, 0.02, 0.77),
    ]
    attack_names = (
        "shared", "newcomers", "holders", "to_review", "to_review_first", "to_block",
        "to_block_first", "probability_before", "probability_after",
    )  # fmt: skip
    drift_names = ("feature", "kind", "measure", "method", "value", "threshold", "is_drifted")
    version = {"model_version": "m-test"}
    registry = version | {
        "candidate": "informed_logistic",
        "is_serving": True,
        "reason": "informed_logistic has the best PR-AUC (0.920) on the same folds",
        "pr_auc_mean": 0.92,
        "pr_auc_spread": 0.03,
        "precision": 0.88,
        "recall": 0.81,
        "review_from": 0.15,
        "block_from": 0.95,
        "block_raised_to": 0.97,
        "labelled_abusers": 20,
        "labelled_honest": 38,
        "promoted_at": at,
        "created_at": at,
    }
    return {
        "ml/model_registry": pa.Table.from_pylist([registry]),
        "ml/abuse_evaluation": pa.Table.from_pylist(
            [version | dict(zip(names, row, strict=True)) for row in figures]
        ),
        "ml/model_card": pa.Table.from_pylist([version | {"card": json.dumps(card)}]),
        "ml/cost_to_incriminate": pa.Table.from_pylist(
            [version | dict(zip(attack_names, row, strict=True)) for row in attacks]
        ),
        "ml/abuse_drift": pa.Table.from_pylist(
            [
                version | {"evaluated_at": at} | dict(zip(drift_names, row, strict=True))
                for row in drift
            ]
        ),
    }
