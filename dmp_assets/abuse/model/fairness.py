"""Whether honest people of one script or country are flagged more often than the others.

SQL over cleaned/users, ml/abuse_scores and modeled/abuse_labels. Two counts stand for
honest people: accounts labelled honest, and all that nobody labelled an abuser, of which some are.
"""

SCRIPTS = ("Cyrillic", "Greek", "Arabic", "Hebrew", "Thai", "Devanagari", "Hangul", "Hiragana",
           "Katakana", "Han", "Latin")  # fmt: skip
FEWEST = 20
"""A group of fewer accounts is counted among `others`."""


def script_sql(text: str) -> str:
    """The script of a name, as a SQL expression; Japanese letters are one, the rest is `other`."""
    whens = " ".join(
        rf"WHEN regexp_matches({text}, '\p{{{name}}}') "
        f"THEN '{'Kana' if name in ('Hiragana', 'Katakana') else name}'"
        for name in SCRIPTS
    )
    return f"CASE WHEN {text} = '' THEN 'no name' {whens} ELSE 'other' END"


_NAME = "coalesce(first_name, '') || coalesce(last_name, '')"
GROUPS = f"""
    WITH person AS (
        SELECT {script_sql(_NAME)} AS script, coalesce(phone_country, 'no valid phone') AS country,
            s.decision <> 'allow' AS is_flagged, l.is_abuser IS FALSE AS is_honest
        FROM cleaned.users JOIN ml.abuse_scores s USING (user_id)
        LEFT JOIN modeled.abuse_labels l USING (user_id)
        WHERE l.is_abuser IS NOT TRUE
    ),
    grouped AS (
        SELECT 'script of the name' AS attribute, script AS grp, * FROM person
        UNION ALL SELECT 'country of the phone', country, * FROM person
    ),
    counted AS (
        SELECT attribute, grp, count(*) AS accounts, count(*) FILTER (is_flagged) AS flagged,
            count(*) FILTER (is_honest) AS honest,
            count(*) FILTER (is_honest AND is_flagged) AS honest_flagged
        FROM grouped GROUP BY attribute, grp
    )
    SELECT attribute, CASE WHEN accounts < {FEWEST} THEN 'others' ELSE grp END AS held_by,
        sum(accounts)::BIGINT AS accounts, sum(flagged)::BIGINT AS flagged,
        sum(honest)::BIGINT AS honest, sum(honest_flagged)::BIGINT AS honest_flagged
    FROM counted GROUP BY ALL ORDER BY attribute DESC, accounts DESC, 2
"""
"""attribute, held_by (the group), accounts and flagged (of those not labelled
abusers), honest and honest_flagged."""
