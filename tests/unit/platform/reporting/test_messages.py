"""What a report's message says, that it fits Slack and a phone, and that it names nobody."""

import base64
import html
import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from dmp_assets.abuse.report.charts import usage_chart
from dmp_assets.demo.sandbox.slack_blocks import block_errors
from dmp_assets.platform.reporting.delivery import Message
from dmp_assets.platform.reporting.messages import (
    MAX_ROWS,
    PHONE_WIDTH,
    Figure,
    ReportFigures,
    change,
    last_full_week,
    report_message,
    text_table,
)
from dmp_assets.platform.reporting.privacy import (
    find_personal_data,
    mask_device,
    mask_email,
    mask_id,
    mask_ip,
    mask_phone,
    redact,
)

FIGURES = ReportFigures(
    title="Promo-code abuse",
    period_start=date(2024, 3, 18),
    period_end=date(2024, 3, 24),
    data_through=datetime(2024, 3, 25, 4, tzinfo=UTC),
    headline=(
        Figure("Codes used", 1_234, 1_000),
        Figure("Discount given to abusers", 250.5, 501, "EUR"),
        Figure("Share flagged", 3.2, 2.7, "%"),
        Figure("New clusters", 4, 0),
    ),
    table_headers=("Code", "Uses", "Flagged"),
    table_rows=[("SPRING-SALE-2024-EXTRA-LONG", 412, 31), ("WELCOME10", 98, 2)],
)


def message_of(figures: ReportFigures, **changes: Any) -> Message:
    arguments: dict[str, Any] = {
        "report": "promo_abuse",
        "version": "1",
        "channel": "C_REPORTS",
        "tz": "UTC",
    }
    return report_message(figures, **(arguments | changes))


def words(message: Message) -> str:
    return json.dumps(message.blocks, ensure_ascii=False)


def test_the_message_shows_numbers_with_change_table_freshness_and_link(tmp_path: Path) -> None:
    message = message_of(
        FIGURES,
        image=tmp_path / "chart.png",
        files=[(tmp_path / "report.html", "Report")],
        link="https://dmp.example/promo_abuse.html",
    )
    shown = words(message)
    for part in (
        "Mon 18 Mar to Sun 24 Mar 2024",
        "1,234",
        "▲ 23 %",
        "250.50 EUR",
        "▼ 50 %",
        "▲ 0.5 points",
        "▲ from 0",
        "WELCOME10",
        "Data through Mon 25 Mar 2024 04:00 (UTC)",
        "<https://dmp.example/promo_abuse.html|open the report>",
        "in the thread",
    ):
        assert part in shown
    assert "Codes used 1,234 (▲ 23 %)" in message.text
    assert message.image_at == 3 and message.image is not None
    assert list(block_errors(list(message.blocks), lambda _: None)) == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"data_through": datetime(2024, 3, 24, 22, tzinfo=UTC)}, "reaches Sun 24 Mar 2024 22:00"),
        ({"data_through": None}, "No data has been loaded yet"),
        ({"problem": "Check promo_usages_keys_unique failed."}, "keys_unique failed"),
    ],
)
def test_the_first_line_says_why_there_are_no_numbers(
    changes: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    message = message_of(replace(FIGURES, **changes), image=tmp_path / "chart.png")
    assert reason in message.blocks[0]["text"]["text"]
    assert reason in message.text
    assert "1,234" not in words(message) + message.text
    assert message.image is None
    assert list(block_errors(list(message.blocks), lambda _: None)) == []


def test_fresh_means_to_the_end_of_the_period_in_the_reports_zone() -> None:
    figures = replace(FIGURES, data_through=datetime(2024, 3, 25, 3, 59, tzinfo=UTC))
    assert "1,234" in words(message_of(figures, tz="UTC"))
    assert "1,234" not in words(message_of(figures, tz="America/New_York"))


def test_a_message_links_to_where_its_reader_goes_next() -> None:
    links = [("cases to decide", "https://dmp.example/review"), ("case <1>", "javascript:x")]
    message = message_of(replace(FIGURES, links=links))
    shown = words(message)
    assert "<https://dmp.example/review|cases to decide>" in shown
    assert "case &lt;1&gt;" in shown and "javascript" not in shown
    assert list(block_errors(list(message.blocks), lambda _: None)) == []


def test_a_period_without_rows_says_so() -> None:
    message = message_of(replace(FIGURES, table_rows=()))
    assert "Nothing to list" in words(message)


def test_text_from_the_data_cannot_break_the_message() -> None:
    hostile = [("<!channel> & ```x``` *b*", 1, 1)]
    message = message_of(replace(FIGURES, title="x" * 400, table_rows=hostile, problem=None))
    shown = words(message)
    assert "<!channel>" not in shown
    assert shown.count("```") == 2
    assert list(block_errors(list(message.blocks), lambda _: None)) == []


def test_names_that_would_be_cut_to_the_same_keep_their_ends() -> None:
    names = ["Summer 2024 prospecting DE", "Summer 2024 prospecting AT", "Short"]
    table = text_table(("Name", "EUR", "Change"), [(name, 1234, "▲ 12 %") for name in names])
    lines = [line.split("  ")[0].strip() for line in table.splitlines()[1:]]
    assert len(set(lines)) == 3 and lines[0].endswith("DE") and lines[1].endswith("AT")
    assert max(map(len, table.splitlines())) <= PHONE_WIDTH


@given(
    rows=st.lists(
        st.tuples(st.text(max_size=60), st.integers(0, 10**6), st.integers(0, 10**4)), max_size=30
    )
)
def test_a_table_fits_a_phone_whatever_is_in_it(rows: list[tuple[str, int, int]]) -> None:
    table = text_table(("Name", "Uses", "Flagged"), rows)
    lines = html.unescape(table).splitlines()
    assert all(len(line) <= PHONE_WIDTH for line in lines)
    assert len(lines) <= 1 + MAX_ROWS + 1


@pytest.mark.parametrize(
    ("figure", "text"),
    [
        (Figure("x", 5, None), "no week before to compare"),
        (Figure("x", 5, 5), "same as the week before"),
        (Figure("x", 1001, 1000), "▲ under 1 %"),
        (Figure("x", 0, 4), "▼ 100 %"),
        (Figure("x", 30, 1), "▲ 2,900 %"),
    ],
)
def test_a_change_is_said_in_words_that_hold(figure: Figure, text: str) -> None:
    assert change(figure) == text


@given(moment=st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)))
def test_the_last_full_week_is_over_and_starts_on_a_monday(moment: datetime) -> None:
    start, end = last_full_week(moment.date(), "UTC")
    assert (start.weekday(), end - start) == (0, timedelta(days=6))
    assert 1 <= (moment.date() - end).days <= 7


def test_the_last_full_week_depends_on_the_zone() -> None:
    sunday_night = datetime(2024, 3, 24, 23, 30, tzinfo=UTC)
    assert last_full_week(sunday_night, "UTC")[1] == date(2024, 3, 17)
    assert last_full_week(sunday_night, "Europe/Berlin")[1] == date(2024, 3, 24)
    assert last_full_week(sunday_night.astimezone(ZoneInfo("Asia/Tokyo")), "UTC")[1] == date(
        2024, 3, 17
    )


PERSONAL = {
    "e-mail": ["jane.doe+promo@mail.example.com"],
    "phone": [
        "+12125550199",
        "+49 30 901820-00",
        "(212) 555-0199",
        "1-212-555-0199",
        "212.555.0199",
        "12125550199",
        "(212)555-0199x779",
        "001-212-555-0199",
    ],
    "ip": ["203.0.113.9", "2001:db8:85a3::8a2e:370:7334"],
    "device": ["2e43e4f4-b2e1-4848-a9b9-a715667fa273"],
}
MASKS = {"e-mail": mask_email, "phone": mask_phone, "ip": mask_ip, "device": mask_device}


@pytest.mark.parametrize(("kind", "value"), [(k, v) for k, vs in PERSONAL.items() for v in vs])
def test_every_kind_of_personal_datum_is_found_and_its_mask_is_not(kind: str, value: str) -> None:
    for text in (f"user {value}, seen", f'{{"x": "{value}"}}', f"<td>{value}</td>"):
        assert find_personal_data(text) == [f"{kind}: {value}"]
        assert find_personal_data(redact(text)) == []
    assert find_personal_data(f"<td>{MASKS[kind](value)}</td>") == []
    assert find_personal_data(f"<td>{mask_id(value)}</td>") == []


def test_a_phone_without_plus_is_found_where_its_name_says_phone() -> None:
    assert find_personal_data('{"phone": "19834405088"}') == ["phone: 19834405088"]


@pytest.mark.parametrize(
    "text",
    [
        "2024-03-18 14:41:50.435432",
        "1,234,567.89 EUR",
        "version 1.13.27, scikit-learn 1.9",
        "12:34:56",
        "a::before{content:'x'}",
        "M12.5 3.25l-4.75.5",
        "0.123-456.789",
        "http://127.0.0.1:3000/runs/abc",
        "Mon 18 Mar to Sun 24 Mar 2024",
        "123456789012345678",
        "0.2125550199",
    ],
)
def test_ordinary_numbers_are_not_taken_for_personal_data(text: str) -> None:
    assert find_personal_data(text) == []


def test_personal_data_in_a_pngs_texts_is_found_also_inside_a_page(tmp_path: Path) -> None:
    info = PngInfo()
    info.add_text("Author", "jane@example.com")
    info.add_text("Comment", "203.0.113.9", zip=True)
    info.add_itxt("Note", "2e43e4f4-b2e1-4848-a9b9-a715667fa273", zip=True)
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png", pnginfo=info)
    content = (tmp_path / "a.png").read_bytes()
    expected = [
        "device: 2e43e4f4-b2e1-4848-a9b9-a715667fa273",
        "e-mail: jane@example.com",
        "ip: 203.0.113.9",
    ]
    assert find_personal_data(content) == expected
    page = f"<img src='data:image/png;base64,{base64.b64encode(content).decode()}'>"
    assert find_personal_data(page) == expected


def test_the_chart_is_a_png_without_texts_whose_bytes_depend_on_the_numbers_alone(
    tmp_path: Path,
) -> None:
    days = [date(2024, 3, 1) + timedelta(days=i) for i in range(28)]
    one = usage_chart(days, range(28), range(28, 56), tmp_path / "one.png")
    two = usage_chart(days, range(28), range(28, 56), tmp_path / "two.png")
    assert one.read_bytes() == two.read_bytes()
    with Image.open(one) as image:
        assert image.format == "PNG" and image.width >= 1_000
    assert find_personal_data(one.read_bytes()) == []


def test_a_chart_without_days_says_so_and_unequal_lengths_are_refused(tmp_path: Path) -> None:
    assert usage_chart([], [], [], tmp_path / "none.png").stat().st_size > 0
    with pytest.raises(ValueError, match="same length"):
        usage_chart([date(2024, 3, 1)], [1, 2], [1], tmp_path / "bad.png")
