"""The account view: what is known of an account when it is scored, one row per account.

`ACCOUNT_VIEW` builds it for all accounts by DuckDB from the lakehouse. A service that scores one
new account fills the same columns (`VIEW`) from counts that it holds in memory. Counts include
the account itself and everything known up to the moment of scoring; null means unknown. How many
share something: those that count against the account (`identity.witness`). Behind an IP address
each account without a device, or with one that is no identity, counts as a device.
"""

import pyarrow as pa

from dmp_assets.abuse.model.counts import COUNTS
from dmp_assets.identity.evidence import CAPS, IDENTITIES, most_holders_sql

TABLES = (
    "cleaned/users",
    "cleaned/promo_codes",
    "cleaned/promo_usages",
    "modeled/promo_usage_by_user",
    "modeled/account_clusters",
)

_TEXT, _WHOLE, _REAL, _FLAG = pa.string(), pa.int64(), pa.float64(), pa.bool_()
_TIME = pa.timestamp("us")

VIEW = pa.schema(
    [
        ("user_id", _TEXT),
        # the account's own attributes, as in cleaned/users
        ("created_at", _TIME),
        ("email_received", _TEXT),
        ("email", _TEXT),
        ("email_domain", _TEXT),
        ("is_email_valid", _FLAG),
        ("has_email_alias", _FLAG),
        ("is_email_verified", _FLAG),
        ("phone_received", _TEXT),
        ("phone_country", _TEXT),
        ("is_phone_valid", _FLAG),
        ("is_phone_verified", _FLAG),
        ("first_name", _TEXT),
        ("last_name", _TEXT),
        ("ip", _TEXT),
        ("is_ip_valid", _FLAG),
        ("device_id", _TEXT),
        ("user_agent_received", _TEXT),
        ("browser_family", _TEXT),
        ("browser_version", _WHOLE),
        ("city", _TEXT),
        ("date_of_birth", pa.date32()),
        ("is_date_of_birth_valid", _FLAG),
        ("timezone", _TEXT),
        # accounts that share an attribute and count against it (itself included)
        ("device_accounts", _WHOLE),
        ("device_last_names", _WHOLE),
        ("device_networks", _WHOLE),
        ("device_day", _WHOLE),  # registered within a day of this one
        ("device_code_accounts", _WHOLE),  # that redeemed a code this account redeemed
        ("phone_accounts", _WHOLE),
        ("phone_last_names", _WHOLE),
        ("email_accounts", _WHOLE),
        ("email_series", _WHOLE),  # same before the @ but for digits (and at least 4 letters)
        ("email_series_day", _WHOLE),
        ("identity_accounts", _WHOLE),  # same names and date of birth
        ("ip_accounts", _WHOLE),
        ("ip_devices", _WHOLE),
        ("network_accounts", _WHOLE),
        ("network_hour", _WHOLE),  # registered within an hour of this one
        ("user_agent_accounts", _WHOLE),
        ("user_agent_hour", _WHOLE),
        ("city_user_agent_hour", _WHOLE),  # both the same, registered within an hour
        ("all_hour", _WHOLE),
        ("email_domain_accounts", _WHOLE),
        ("name_form_accounts", _WHOLE),  # names typed in the same form (capitals, digits)
        ("phone_form_accounts", _WHOLE),  # phone typed in the same form (digits read as 9)
        ("city_accounts", _WHOLE),
        ("city_timezone_accounts", _WHOLE),
        # the shop as a whole, the same in each row
        ("accounts", _WHOLE),
        ("accounts_with_name", _WHOLE),
        ("accounts_with_email", _WHOLE),
        ("accounts_with_valid_email", _WHOLE),
        ("accounts_with_phone", _WHOLE),
        ("accounts_with_valid_phone", _WHOLE),
        ("accounts_with_city", _WHOLE),
        ("accounts_with_device", _WHOLE),
        ("accounts_with_ip", _WHOLE),  # one that is an address
        ("accounts_with_invalid_ip", _WHOLE),
        ("accounts_with_user_agent", _WHOLE),
        ("accounts_with_date_of_birth", _WHOLE),  # one that a person can have
        ("accounts_with_impossible_birth", _WHOLE),
        ("accounts_with_home_phone", _WHOLE),  # phone of the country of their time zone
        # links
        ("links", _WHOLE),  # whether they count or not
        ("cluster_size", _WHOLE),  # accounts that count, reached by links that count
        ("link_weight", _REAL),
        # redemptions (null: none yet)
        ("usages", _WHOLE),
        ("codes", _WHOLE),
        ("last_used_at", _TIME),
        ("minutes_to_first_use", _REAL),
        ("usages_first_day", _WHOLE),  # within a day of registration
        ("usages_first_week", _WHOLE),
        ("busiest_day", _WHOLE),  # most redemptions within 24 hours
        ("code_repeats", _WHOLE),  # most redemptions of one code
        ("over_limit", _WHOLE),  # redemptions beyond the codes' limits per user
        ("code_users", _REAL),  # mean number of users of its codes
        ("days_asleep", _REAL),  # longest time without a redemption before one
        ("woke_uses", _WHOLE),  # redemptions within a week after it
        ("woke_together", _WHOLE),  # accounts registered and woken within a day of this one
        ("woke_expected", _REAL),  # as many would by chance
        ("discount_rank", _REAL),  # mean rank (0–1) of its discounts among all redemptions
        ("discount_percent", _REAL),
        ("discount_fixed", _REAL),
    ]
)

# `zone_country(timezone, country)` is registered beside the tables: see
# `features.zone_countries`.
ACCOUNT_VIEW = """
WITH u AS NOT MATERIALIZED (
    SELECT *, {keys}
    FROM cleaned.users
),
most AS (SELECT {most} FROM cleaned.users),
device_held AS (
    SELECT device_key, count(*) > (SELECT device FROM most) AS is_crowd
    FROM u WHERE device_key IS NOT NULL GROUP BY ALL HAVING count(*) > 1
),
device AS (
    SELECT user_key, {device_accounts} AS device_accounts, {device_last_names} AS device_last_names,
        {device_networks} AS device_networks, {device_day} AS device_day
    FROM (
        SELECT *, {device_firsts} FROM u
        SEMI JOIN (FROM device_held WHERE NOT is_crowd) USING (device_key)
    )
),
phone AS (
    SELECT user_key, {phone_accounts} AS phone_accounts, {phone_last_names} AS phone_last_names
    FROM (
        SELECT *, {phone_firsts} FROM u WHERE phone_key IS NOT NULL
        QUALIFY count(*) OVER (PARTITION BY phone_key) BETWEEN 2 AND (SELECT phone FROM most)
    )
),
phone_typed AS (
    SELECT user_key, {typed_accounts} AS phone_accounts, {typed_last_names} AS phone_last_names
    FROM (
        SELECT *, {typed_firsts} FROM u WHERE typed_key IS NOT NULL
        QUALIFY count(*) OVER (PARTITION BY typed_key) BETWEEN 2 AND (SELECT phone FROM most)
    )
),
mailbox AS (
    SELECT user_key, {email_accounts} AS email_accounts FROM u WHERE email_key IS NOT NULL
    QUALIFY count(*) OVER (PARTITION BY email_key) BETWEEN 2 AND (SELECT email FROM most)
),
identity AS (
    SELECT user_key, {identity_accounts} AS identity_accounts FROM u
    WHERE identity_key IS NOT NULL
    QUALIFY count(*) OVER (PARTITION BY identity_key)
        BETWEEN 2 AND (SELECT name_and_birth FROM most)
),
series AS (
    SELECT user_key, {email_series} AS email_series, {email_series_day} AS email_series_day
    FROM u WHERE series_key IS NOT NULL QUALIFY count(*) OVER (PARTITION BY series_key) > 1
),
ip AS (
    SELECT user_key, {ip_accounts} AS ip_accounts, {ip_devices} AS ip_devices
    FROM (
        SELECT *, {ip_firsts}
        FROM (
            SELECT u.*, CASE WHEN is_crowd IS NOT TRUE THEN device_key END AS machine
            FROM u LEFT JOIN device_held USING (device_key)
        ) u WHERE ip_key IS NOT NULL QUALIFY count(*) OVER (PARTITION BY ip_key) > 1
    )
),
network AS (
    SELECT network_key, count(*) AS network_accounts FROM u WHERE network_key IS NOT NULL
    GROUP BY ALL HAVING count(*) > 1
),
agent AS (
    SELECT agent_key, count(*) AS user_agent_accounts
    FROM u WHERE agent_key IS NOT NULL
    GROUP BY ALL HAVING count(*) > 1
),
domain AS (
    SELECT domain_key, count(*) AS email_domain_accounts
    FROM u WHERE domain_key IS NOT NULL GROUP BY ALL
),
form AS (
    SELECT form_key, count(*) AS phone_form_accounts
    FROM u WHERE form_key IS NOT NULL GROUP BY ALL
),
name AS (
    SELECT name_key, count(*) AS name_form_accounts
    FROM u WHERE name_key IS NOT NULL GROUP BY ALL
),
city AS (
    SELECT city_key, count(*) AS city_accounts FROM u WHERE city_key IS NOT NULL GROUP BY ALL
),
place AS (
    SELECT city_key, zone_key, count(*) AS city_timezone_accounts
    FROM u WHERE city_key IS NOT NULL AND zone_key IS NOT NULL GROUP BY ALL
),
network_time AS (
    SELECT user_key, {network_hour} AS network_hour
    FROM u SEMI JOIN network USING (network_key)
),
agent_time AS (
    SELECT user_key, {user_agent_hour} AS user_agent_hour
    FROM u SEMI JOIN agent USING (agent_key)
),
city_agent_time AS (
    SELECT user_key, {city_user_agent_hour} AS city_user_agent_hour
    FROM u SEMI JOIN agent USING (agent_key)
    WHERE city_key IS NOT NULL
),
all_time AS (
    SELECT user_key, count(*) OVER (ORDER BY created_at
        RANGE BETWEEN INTERVAL 1 HOUR PRECEDING AND INTERVAL 1 HOUR FOLLOWING) AS all_hour
    FROM u
),
shop AS (
    SELECT count(*) AS accounts,
        count(name_key) AS accounts_with_name,
        count(email_received) AS accounts_with_email,
        count(*) FILTER (is_email_valid) AS accounts_with_valid_email,
        count(phone_received) AS accounts_with_phone,
        count(*) FILTER (is_phone_valid) AS accounts_with_valid_phone,
        count(city) AS accounts_with_city,
        count(device_key) AS accounts_with_device,
        count(ip) AS accounts_with_ip,
        count(*) FILTER (NOT is_ip_valid) AS accounts_with_invalid_ip,
        count(agent_key) AS accounts_with_user_agent,
        count(date_of_birth) AS accounts_with_date_of_birth,
        count(*) FILTER (NOT is_date_of_birth_valid) AS accounts_with_impossible_birth,
        count(*) FILTER (phone_country = zone_country.country) AS accounts_with_home_phone
    FROM u LEFT JOIN zone_country USING (timezone)
),
redeemed AS (
    SELECT user_key, promo_code, used_at, max_uses_per_user, discount_type, discount_value,
        count(*) OVER (PARTITION BY user_key ORDER BY used_at
            RANGE BETWEEN CURRENT ROW AND INTERVAL 1 DAY FOLLOWING) AS within_day,
        count(*) OVER (PARTITION BY user_key ORDER BY used_at
            RANGE BETWEEN CURRENT ROW AND INTERVAL 7 DAY FOLLOWING) AS within_week,
        created_at::DATE - DATE '1970-01-01' AS made,
        epoch(used_at) - coalesce(
            lag(epoch(used_at)) OVER (PARTITION BY user_key ORDER BY used_at), epoch(created_at)
        ) AS asleep
    FROM (SELECT *, hash(user_id) AS user_key FROM cleaned.promo_usages)
    LEFT JOIN cleaned.promo_codes USING (promo_code)
    JOIN (SELECT user_key, created_at FROM u) USING (user_key)
),
user_code AS (
    SELECT user_key, promo_code, count(*) AS uses, max(within_day) AS within_day,
        any_value(max_uses_per_user) AS allowed, any_value(discount_type) AS discount_type,
        any_value(discount_value) AS discount_value
    FROM redeemed GROUP BY ALL
),
code AS (SELECT promo_code, count(*) AS code_users FROM user_code GROUP BY ALL),
ranked AS (
    SELECT user_key, avg(rank::DECIMAL(18, 17)) AS discount_rank
    FROM (
        SELECT user_key, discount_value,
            cume_dist() OVER (PARTITION BY discount_type ORDER BY discount_value) AS rank
        FROM user_code WHERE discount_value IS NOT NULL
    ) GROUP BY ALL
),
woken AS (
    SELECT user_key, any_value(made) AS made,
        arg_max(used_at, longest)::DATE - DATE '1970-01-01' AS woke,
        max(asleep) / 86400 AS days_asleep, arg_max(within_week, longest) AS woke_uses
    FROM (SELECT *, struct_pack(asleep, used_at) AS longest FROM redeemed)
    GROUP BY user_key
),
woken_days AS (SELECT made, woke, count(*) AS n FROM woken GROUP BY ALL),
made_days AS (SELECT made, sum(n) AS n FROM woken_days GROUP BY ALL),
woke_days AS (SELECT woke, sum(n) AS n FROM woken_days GROUP BY ALL),
near AS (SELECT unnest([-1, 0, 1]) AS step),
woken_near AS (
    SELECT made + a.step AS made, woke + b.step AS woke, sum(n)::BIGINT AS woke_together
    FROM woken_days, near a, near b GROUP BY ALL
),
made_near AS (SELECT made + step AS made, sum(n) AS n FROM made_days, near GROUP BY ALL),
woke_near AS (SELECT woke + step AS woke, sum(n) AS n FROM woke_days, near GROUP BY ALL),
together AS (
    SELECT user_key, days_asleep, woke_uses, woke_together,
        made_near.n * woke_near.n / (SELECT sum(n) FROM woken_days) AS woke_expected
    FROM woken JOIN woken_near USING (made, woke) JOIN made_near USING (made)
    JOIN woke_near USING (woke)
),
shared_code AS (
    SELECT user_key, max(device_code_accounts) AS device_code_accounts
    FROM (
        SELECT user_key, {device_code_accounts} AS device_code_accounts
        FROM user_code JOIN u USING (user_key) SEMI JOIN device USING (user_key)
    ) GROUP BY ALL
),
behaviour AS (
    SELECT user_key, max(within_day) AS busiest_day, max(uses) AS code_repeats,
        sum(greatest(uses - allowed, 0))::BIGINT AS over_limit,
        avg(code_users) AS code_users,
        avg(discount_value) FILTER (discount_type = 'percentage') AS discount_percent,
        avg(discount_value) FILTER (discount_type = 'fixed_amount') AS discount_fixed
    FROM user_code JOIN code USING (promo_code) GROUP BY ALL
),
usage AS (
    SELECT hash(user_id) AS user_key, usages, codes, last_used_at, minutes_to_first_use,
        usages_first_day, usages_first_week
    FROM modeled.promo_usage_by_user
),
clusters AS (
    SELECT hash(user_id) AS user_key, links, nullif(counted_size, 1) AS cluster_size,
        CASE WHEN counted_size > 1 THEN counted_weight END AS link_weight
    FROM modeled.account_clusters
)
SELECT {columns}
FROM u
LEFT JOIN device USING (user_key)
LEFT JOIN phone USING (user_key)
LEFT JOIN phone_typed USING (user_key)
LEFT JOIN mailbox USING (user_key)
LEFT JOIN identity USING (user_key)
LEFT JOIN series USING (user_key)
LEFT JOIN ip USING (user_key)
LEFT JOIN network USING (network_key)
LEFT JOIN agent USING (agent_key)
LEFT JOIN domain USING (domain_key)
LEFT JOIN form USING (form_key)
LEFT JOIN name USING (name_key)
LEFT JOIN city USING (city_key)
LEFT JOIN place USING (city_key, zone_key)
LEFT JOIN network_time USING (user_key)
LEFT JOIN agent_time USING (user_key)
LEFT JOIN city_agent_time USING (user_key)
LEFT JOIN all_time USING (user_key)
LEFT JOIN usage USING (user_key)
LEFT JOIN shared_code USING (user_key)
LEFT JOIN behaviour USING (user_key)
LEFT JOIN ranked USING (user_key)
LEFT JOIN together USING (user_key)
LEFT JOIN clusters USING (user_key)
CROSS JOIN shop
"""

# Letters of scripts without capitals (Hebrew to Georgian, Ethiopic, Thai, Han, Hangul …): a name in
# them is written as a name.
CASELESS = (
    "[\u0590-\u1c7f\u2e80-\ua4cf\ua840-\uab2f\uabc0-\ud7ff\uf900-\ufdff\ufe70-\ufefc"
    "\U00010a00-\U00011fff\U00020000-\U0003ffff]"
)

# Written like a name (A), all capitals (B), all small (a) or otherwise (?), first name then last.
_FORM = (
    """CASE WHEN regexp_matches({0}, '\\d') THEN '?'
    WHEN regexp_matches({0}, '"""
    + CASELESS
    + """') THEN 'A' WHEN upper({0}) = lower({0}) THEN '-'
    WHEN {0} = lower({0}) THEN 'a' WHEN {0} = upper({0}) AND length({0}) > 2 THEN 'B'
    ELSE 'A' END"""
)
NAME_FORM = f"({_FORM.format('trim(first_name)')}) || ({_FORM.format('trim(last_name)')})"

# Texts are joined by their 64-bit hash: among a million values two collide with a probability of
# 3 in 100 million, and the joins need a tenth of the memory.
KEYS = {
    "user_key": "user_id",
    "device_key": "device_id",
    "phone_key": "phone",
    "typed_key": "CASE WHEN phone IS NULL AND length(phone_received) >= 7 THEN phone_received END",
    "email_key": "email",
    "domain_key": "email_domain",
    "series_key": """CASE WHEN regexp_matches(email, '^[^@0-9]{4,}[0-9]')
        THEN regexp_replace(split_part(email, '@', 1), '[0-9]+', '#', 'g') END""",
    "identity_key": """lower(trim(first_name)) || '|' || lower(trim(last_name)) || '|'
        || date_of_birth::TEXT""",
    "name_key": NAME_FORM,
    "family": "nullif(lower(trim(last_name)), '')",
    # Numbers of other countries have other lengths: with a country code only what stands between
    # the digits is its form.
    "form_key": """nullif(CASE WHEN regexp_matches(trim(phone_received), '^([+]|00)')
        THEN regexp_replace(trim(phone_received), '[0-9]+', '9', 'g')
        ELSE regexp_replace(trim(phone_received), '[0-9]', '9', 'g') END, '')""",
    "ip_key": "ip",
    "network_key": "ip_prefix",
    "agent_key": "user_agent_received",
    "city_key": "city",
    "zone_key": "timezone",
}


def _alone(count: str, key: str) -> str:
    """A count of which only values above one were joined."""
    return f"CASE WHEN {key} IS NOT NULL THEN coalesce({count}, 1) END"


_FAMILY = "(family IS NOT NULL)::INT"
_SPECIAL = {
    "device_accounts": _alone("device_accounts", "device_key"),
    "device_last_names": f"CASE WHEN device_key IS NOT NULL "
    f"THEN coalesce(device_last_names, {_FAMILY}) END",
    "device_networks": "CASE WHEN device_key IS NOT NULL "
    "THEN coalesce(device_networks, (network_key IS NOT NULL)::INT) END",
    "device_day": _alone("device_day", "device_key"),
    "phone_accounts": _alone(
        "coalesce(phone.phone_accounts, phone_typed.phone_accounts)",
        "coalesce(phone_key, typed_key)",
    ),
    "phone_last_names": "CASE WHEN coalesce(phone_key, typed_key) IS NOT NULL THEN coalesce("
    f"phone.phone_last_names, phone_typed.phone_last_names, {_FAMILY}) END",
    "email_accounts": _alone("email_accounts", "email_key"),
    "email_series": _alone("email_series", "series_key"),
    "email_series_day": _alone("email_series_day", "series_key"),
    "identity_accounts": _alone("identity_accounts", "identity_key"),
    "ip_accounts": _alone("ip_accounts", "ip_key"),
    "ip_devices": "CASE WHEN ip_key IS NOT NULL THEN coalesce(ip_devices, 1) END",
    "network_accounts": _alone("network_accounts", "network_key"),
    "network_hour": _alone("network_hour", "network_key"),
    "user_agent_accounts": _alone("user_agent_accounts", "agent_key"),
    "user_agent_hour": _alone("user_agent_hour", "agent_key"),
}


def _sql_type(kind: pa.DataType) -> str:
    if kind == _TIME:
        return "TIMESTAMP"
    return {_TEXT: "VARCHAR", _WHOLE: "BIGINT", _REAL: "DOUBLE", _FLAG: "BOOLEAN"}.get(kind, "DATE")


def account_view_sql() -> str:
    """SQL that yields `VIEW` for all accounts; needs `TABLES` and `zone_country` as relations."""
    columns = ",\n    ".join(
        f"CAST({_SPECIAL.get(field.name, field.name)} AS {_sql_type(field.type)}) AS {field.name}"
        for field in VIEW
    )
    keys = ",\n        ".join(
        f"CASE WHEN ({text}) IS NOT NULL THEN hash({text}) END AS {key}"
        for key, text in KEYS.items()
    )
    most = ", ".join(f"{most_holders_sql(CAPS[kind], 'count(*)')} AS {kind}" for kind in IDENTITIES)
    whole = ACCOUNT_VIEW.replace("{columns}", columns).replace("{keys}", keys)
    whole = whole.replace("{most}", most)
    for name, count in COUNTS.items():
        whole = whole.replace("{" + name + "}", count)
    return whole


def as_view(rows: pa.Table | pa.RecordBatch) -> pa.Table:
    """The rows with all columns of `VIEW`, in order and type; what is not given is null."""
    table = pa.table(rows) if isinstance(rows, pa.RecordBatch) else rows
    if table.schema.equals(VIEW):
        return table
    given = set(table.column_names)
    return pa.table(
        [
            table[field.name].cast(field.type)
            if field.name in given
            else pa.nulls(table.num_rows, field.type)
            for field in VIEW
        ],
        schema=VIEW,
    )
