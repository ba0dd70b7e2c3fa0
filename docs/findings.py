"""Recounts every figure of docs/findings.md from the CSV exports: `findings.py FOLDER`."""

import sys
from pathlib import Path

import duckdb

PREPARE = """
    CREATE VIEW users AS SELECT * EXCLUDE (is_abuser), is_abuser = 'TRUE' AS abuser,
        created_at::TIMESTAMP AS registered, dob::DATE AS born,
        regexp_replace(phone, '[0-9]', '9', 'g') AS phone_form
    FROM read_csv('{folder}/users.csv', all_varchar = true);
    CREATE VIEW codes AS FROM read_csv('{folder}/promo_codes.csv', all_varchar = true);
    CREATE VIEW usages AS SELECT * REPLACE (used_at::TIMESTAMP AS used_at)
    FROM read_csv('{folder}/promo_usages.csv', all_varchar = true);
    CREATE VIEW first_use AS SELECT u.*, used_at, epoch(used_at - registered) / 60 AS minutes
    FROM users u LEFT JOIN usages USING (user_id);
    CREATE VIEW given_away AS SELECT abuser,
        year(registered) >= 2023 AS late, phone_form <> '99999999999' AS phone,
        lower(first_name) = first_name AS name,
        date_diff('day', born, registered::DATE) / 365.25 > 90 AS age,
        split_part(email, '@', 2) NOT LIKE 'example.%' AS domain
    FROM users;
"""
_ABUSERS = "count(*) FILTER (abuser)"
FIGURES = (
    ("Users", "SELECT count(*) FROM users"),
    ("Users labelled abusers", f"SELECT {_ABUSERS} FROM users"),
    ("First registration", "SELECT min(registered)::DATE FROM users"),
    ("Last registration", "SELECT max(registered)::DATE FROM users"),
    ("Different user ids", "SELECT count(DISTINCT user_id) FROM users"),
    ("Different IP addresses", "SELECT count(DISTINCT ip_address) FROM users"),
    ("Different device ids", "SELECT count(DISTINCT device_id) FROM users"),
    ("Different phone numbers as text", "SELECT count(DISTINCT phone) FROM users"),
    ("E-mail addresses held by several users",
     "SELECT count(*) FROM (SELECT 1 FROM users GROUP BY email HAVING count(*) > 1)"),
    ("Users who share an e-mail address",
     "SELECT count(*) FROM users WHERE email IN "
     "(SELECT email FROM users GROUP BY email HAVING count(*) > 1)"),
    ("… labelled abusers among them",
     f"SELECT {_ABUSERS} FROM users WHERE email IN "
     "(SELECT email FROM users GROUP BY email HAVING count(*) > 1)"),
    ("Users without a city", "SELECT count(*) FROM users WHERE city IS NULL"),
    ("Private IP addresses",
     "SELECT count(*) FROM users WHERE regexp_matches(ip_address, "
     "'^(10|192\\.168|172\\.(1[6-9]|2[0-9]|3[01]))\\.')"),
    ("Rows of promo codes", "SELECT count(*) FROM codes"),
    ("Different promo codes", "SELECT count(DISTINCT promo_code) FROM codes"),
    ("Codes defined twice or three times",
     "SELECT count(*) FROM (SELECT 1 FROM codes GROUP BY promo_code HAVING count(*) > 1)"),
    ("Redemptions", "SELECT count(*) FROM usages"),
    ("… of codes with several definitions",
     "SELECT count(*) FROM usages WHERE promo_code IN "
     "(SELECT promo_code FROM codes GROUP BY promo_code HAVING count(*) > 1)"),
    ("First redemption", "SELECT min(used_at)::DATE FROM usages"),
    ("Last redemption", "SELECT max(used_at)::DATE FROM usages"),
    ("Users with a redemption", "SELECT count(DISTINCT user_id) FROM usages"),
    ("Most redemptions of one user",
     "SELECT max(n) FROM (SELECT count(*) AS n FROM usages GROUP BY user_id)"),
    ("Most redemptions of one code",
     "SELECT max(n) FROM (SELECT count(*) AS n FROM usages GROUP BY promo_code)"),
    ("Redemptions before the registration", "SELECT count(*) FROM first_use WHERE minutes < 0"),
    ("Redemptions within an hour of the registration",
     "SELECT count(*) FROM first_use WHERE minutes BETWEEN 0 AND 60"),
    ("… labelled abusers among them",
     f"SELECT {_ABUSERS} FROM first_use WHERE minutes BETWEEN 0 AND 60"),
    ("Redemptions between an hour and 90 days after",
     "SELECT count(*) FROM first_use WHERE minutes > 60 AND minutes <= 90 * 1440"),
    ("Median days from registration to redemption",
     "SELECT round(median(minutes) / 1440)::INT FROM first_use WHERE minutes >= 0"),
    ("Users without a redemption", "SELECT count(*) FROM first_use WHERE used_at IS NULL"),
    ("… labelled abusers among them", f"SELECT {_ABUSERS} FROM first_use WHERE used_at IS NULL"),
    ("Registered 2023 or later", "SELECT count(*) FROM given_away WHERE late"),
    ("… labelled abusers among them", f"SELECT {_ABUSERS} FROM given_away WHERE late"),
    ("Phones not written as eleven digits", "SELECT count(*) FROM given_away WHERE phone"),
    ("… labelled abusers among them", f"SELECT {_ABUSERS} FROM given_away WHERE phone"),
    ("First names in lower case", "SELECT count(*) FROM given_away WHERE name"),
    ("… labelled abusers among them", f"SELECT {_ABUSERS} FROM given_away WHERE name"),
    ("Older than 90 at registration", "SELECT count(*) FROM given_away WHERE age"),
    ("… labelled abusers among them", f"SELECT {_ABUSERS} FROM given_away WHERE age"),
    ("E-mail domains other than example.com, .net, .org",
     "SELECT count(*) FROM given_away WHERE domain"),
    ("… labelled abusers among them", f"SELECT {_ABUSERS} FROM given_away WHERE domain"),
    ("Neither e-mail nor phone verified",
     "SELECT count(*) FROM users WHERE is_email_verified = 'FALSE' "
     "AND is_phone_verified = 'FALSE'"),
    ("… labelled abusers among them",
     f"SELECT {_ABUSERS} FROM users WHERE is_email_verified = 'FALSE' "
     "AND is_phone_verified = 'FALSE'"),
    ("Labelled abusers with none of these but “not verified”",
     f"SELECT {_ABUSERS} FROM given_away WHERE NOT (late OR phone OR name OR age OR domain)"),
    ("Internet Explorer 5 to 9",
     "SELECT count(*) FROM users WHERE user_agent LIKE '%MSIE%'"),
    ("Windows 95, 98 or CE",
     "SELECT count(*) FROM users WHERE regexp_matches(user_agent, 'Windows (95|98|CE)')"),
    ("Time zones", "SELECT count(DISTINCT timezone) FROM users"),
    ("Cities", "SELECT count(DISTINCT city) FROM users"),
    ("Users in a time zone that most of their city's users do not have",
     "SELECT sum(n)::INT FROM (SELECT count(*) AS n, count(*) / "
     "sum(count(*)) OVER (PARTITION BY city) AS share FROM users WHERE city IS NOT NULL "
     "GROUP BY city, timezone) WHERE share < 0.5"),
)  # fmt: skip


def table(folder: Path) -> str:
    """All figures as a Markdown table."""
    lines = ["| figure | value |", "| --- | ---: |"]
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(PREPARE.format(folder=folder))
        for name, query in FIGURES:
            row = connection.execute(query).fetchone()
            value = row[0] if row else None
            lines.append(f"| {name} | {f'{value:,}' if isinstance(value, int) else value} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(Path(sys.argv[1])))
