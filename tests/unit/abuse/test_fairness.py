"""Whose accounts are flagged, by script and country."""

import duckdb
import pytest

from dmp_assets.abuse.model import fairness


@pytest.mark.parametrize(
    ("name", "script"),
    [
        ("Zoë", "Latin"), ("Олена", "Cyrillic"), ("Ελένη", "Greek"), ("فاطمة", "Arabic"),
        ("נועה", "Hebrew"), ("สมชาย", "Thai"), ("प्रिया", "Devanagari"), ("민수", "Hangul"),
        ("はな", "Kana"), ("ケンジ", "Kana"), ("王", "Han"), ("", "no name"), ("123", "other"),
        ("ლანა", "other"),
    ],
)  # fmt: skip
def test_a_name_is_told_by_its_script(name: str, script: str) -> None:
    with duckdb.connect() as connection:
        found = connection.execute(f"SELECT {fairness.script_sql('?')}".replace("?", "$name"),
                                   {"name": name}).fetchall()  # fmt: skip
    assert found == [(script,)]


def test_flags_are_counted_among_honest_people_and_small_groups_together() -> None:
    with duckdb.connect() as connection:
        connection.execute(
            """CREATE SCHEMA cleaned; CREATE SCHEMA ml; CREATE SCHEMA modeled;
            CREATE TABLE cleaned.users AS SELECT 'u' || n AS user_id,
                CASE WHEN n < 30 THEN 'Олена' WHEN n < 35 THEN 'Ελένη' ELSE 'Ann' END AS first_name,
                NULL AS last_name, 'DE' AS phone_country FROM range(100) t(n);
            CREATE TABLE ml.abuse_scores AS SELECT 'u' || n AS user_id,
                CASE n % 10 WHEN 0 THEN 'review' ELSE 'allow' END AS decision
                FROM range(100) t(n);
            CREATE TABLE modeled.abuse_labels AS SELECT 'u' || n AS user_id, n = 50 AS is_abuser
            FROM range(0, 100, 2) t(n)"""
        )
        rows = connection.sql(fairness.GROUPS).fetchall()
    assert rows == [
        ("script of the name", "Latin", 64, 5, 31, 5),
        ("script of the name", "Cyrillic", 30, 3, 15, 3),
        ("script of the name", "others", 5, 1, 3, 1),
        ("country of the phone", "DE", 99, 9, 49, 9),
    ]  # fmt: skip
