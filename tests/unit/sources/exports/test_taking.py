"""Files that people give: what they say of themselves is found out, what they do not is asked."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dmp_assets.home import Home
from dmp_assets.platform.base.errors import GivenError
from dmp_assets.sources.csv.header import plain
from dmp_assets.sources.exports import kept
from dmp_assets.sources.exports.kept import ExportError, checked_advertiser
from dmp_assets.sources.exports.kinds import KINDS
from dmp_assets.sources.exports.landing import batches, reopened
from dmp_assets.sources.exports.meta import META
from dmp_assets.sources.exports.taking import Account
from tests.support.exports import AD, ORDER, ad, line, order, taken, written

DAYS = ("2024-03-01", "2024-03-02")


def test_a_file_is_kept_as_it_was_received(home: Home, tmp_path: Path) -> None:
    file = written(tmp_path / "a.csv", AD, [ad(day) for day in DAYS])
    (one,) = taken(home, file)
    assert (one.is_new, one.kept.rows, one.kept.bad, one.kept.currency) == (True, 2, 0, "EUR")
    assert one.kept.path(home).read_bytes() == file.read_bytes()
    assert one.kept.path(home).stat().st_mode & 0o077 == 0
    assert kept.kept(home) == [one.kept]


def test_the_same_file_again_changes_nothing(home: Home, tmp_path: Path) -> None:
    file = written(tmp_path / "a.csv", AD, [ad(day) for day in DAYS])
    (first,) = taken(home, file)
    copy = tmp_path / "copy.csv"
    copy.write_bytes(file.read_bytes())
    (again,) = taken(home, copy)
    assert not again.is_new
    assert kept.kept(home) == [first.kept]


def test_what_a_file_tells_anew_is_said(home: Home, tmp_path: Path) -> None:
    first = [ad(day, name=name) for day in (*DAYS, "2024-03-03") for name in ("Ad 1", "Ad 2")]
    one = written(tmp_path / "a.csv", AD, first)
    assert not any("replaces" in note for note in taken(home, one)[0].notes)
    later = [[*ad(day, "9.00"), "501"] for day in ("02.03.2024", "03.03.2024", "31.03.2024")]
    both = (
        written(tmp_path / "b.csv", (*AD, "Ad ID"), later),
        written(tmp_path / "c.csv", (*AD, "Ad ID"), [[*ad(DAYS[1], "7.00"), "502"]]),
    )
    (b, c) = taken(home, *both)
    assert "replaces 2 days of 1 ads that an earlier file told" in b.notes
    assert "replaces 1 days of 1 ads that an earlier file told" in c.notes  # 501 is another ad
    other = written(tmp_path / "d.csv", AD, [ad(day, "8.00") for day in DAYS])
    assert not any("replaces" in note for note in taken(home, other, account="9")[0].notes)
    zone = "Europe/Berlin"
    taken(home, written(tmp_path / "o.csv", ORDER, [order("#1"), order("#2")]), timezone=zone)
    again = [order("#2", Refunded_Amount="5.00"), line("#2", "1", "2.00"), order("#3")]
    (orders,) = taken(home, written(tmp_path / "p.csv", ORDER, again), timezone=zone)
    assert "replaces 1 orders that an earlier file told" in orders.notes


def test_a_file_whose_columns_are_known_by_now_is_to_be_given_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path / "live").prepare("live")
    file = written(tmp_path / "a.csv", (*AD, "Bought"), [[*ad(DAYS[0]), "3"]])
    (one,) = taken(home, file)
    assert taken(home, file)[0].notes == []
    monkeypatch.setenv("DMP_ADS_EXPORT_COLUMNS", json.dumps({"Bought": "purchases"}))
    (again,) = taken(home, file)
    assert not again.is_new
    assert f"dmp ads files --remove {one.kept.sha256[:12]}" in again.notes[0]


def test_a_file_that_was_taken_back_can_be_taken_anew(home: Home, tmp_path: Path) -> None:
    file = written(tmp_path / "a.csv", AD, [ad(day) for day in DAYS])
    (one,) = taken(home, file)
    kept.remove(home, one.kept)
    assert kept.kept(home) == []
    assert kept.noted(home)[0].is_removed
    assert not one.kept.path(home).exists()
    (again,) = taken(home, file)
    assert again.is_new
    assert again.kept.number > one.kept.number


def test_of_several_files_all_are_taken_or_none(home: Home, tmp_path: Path) -> None:
    good = written(tmp_path / "good.csv", AD, [ad(DAYS[0])])
    bad = written(tmp_path / "bad.csv", AD[:3], [["Spring", "Set A", "Ad 1"]])
    with pytest.raises(ExportError, match=r"bad\.csv is no export of Ads Manager: it lacks"):
        taken(home, good, bad)
    assert kept.kept(home) == []


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_delimiter_and_encoding_are_found_out(
    home: Home, tmp_path: Path, encoding: str, delimiter: str
) -> None:
    file = written(
        tmp_path / "a.csv", AD, [ad(DAYS[0], name="Übergröße")], delimiter=delimiter,
        encoding=encoding,
    )  # fmt: skip
    (one,) = taken(home, file)
    (batch,) = batches(reopened(home, one.kept), home)
    assert batch.column("ad_name").to_pylist() == ["Übergröße"]
    assert batch.column("line").to_pylist() == [2]


@pytest.mark.parametrize(
    "header",
    [
        ("Anzeigenname", "Tag", "Ausgegebener Betrag (EUR)", "Impressionen", "Link-Klicks"),
        ("Nom de la publicité", "Jour", "Montant dépensé (EUR)", "Impressions",
         "Clics sur un lien"),
        ("Nombre del anuncio", "Día", "Importe gastado (EUR)", "Impresiones",
         "Clics en el enlace"),
        ("Nome do anúncio", "Dia", "Valor usado (EUR)", "Impressões", "Cliques no link"),
        ("Nome dell'inserzione", "Giorno", "Importo speso (EUR)", "Impression", "Clic sul link"),
        ("AD NAME", "day", "amount spent (EUR)", "impressions", "link clicks"),
    ],
)  # fmt: skip
def test_headers_are_known_in_several_languages_and_any_order(
    home: Home, tmp_path: Path, header: tuple[str, ...]
) -> None:
    row = ("Ad 1", "2024-03-01", "1.234,50", "1.000", "7")
    file = written(tmp_path / "a.csv", header[::-1], [row[::-1]], delimiter=";")
    (one,) = taken(home, file)
    assert set(one.kept.columns) == {
        "ad_name", "day", "spend", "impressions", "inline_link_clicks",
    }  # fmt: skip
    assert (one.kept.currency, one.kept.numbers) == ("EUR", "comma")


CLAIMS = {
    "de": (("Kampagnen-ID", "Anzeigengruppen-ID", "Anzeigen-ID", "Konto-ID"),
           ("Käufe", "Conversion-Wert für Käufe"), ("Berichtsstart", "Berichtsende")),
    "fr": (("ID de la campagne", "ID de l’ensemble de publicités", "ID de la publicité",
            "ID du compte"),
           ("Achats", "Valeur de conversion des achats"),
           ("Début des rapports", "Fin des rapports")),
    "es": (("Identificador de la campaña", "Identificador del conjunto de anuncios",
            "Identificador del anuncio", "Identificador de la cuenta"),
           ("Compras", "Valor de conversión de compras"),
           ("Inicio del informe", "Fin del informe")),
    "pt": (("Identificação da campanha", "Identificação do conjunto de anúncios",
            "Identificação do anúncio", "Identificação da conta"),
           ("Compras", "Valor de conversão da compra"),
           ("Início dos relatórios", "Término dos relatórios")),
    "it": (("ID campagna", "ID gruppo di inserzioni", "ID inserzione", "ID account"),
           ("Acquisti", "Valore di conversione degli acquisti"),
           ("Inizio dei report", "Fine dei report")),
    "nl": (("Campagne-ID", "Advertentieset-ID", "Advertentie-ID", "Advertentieaccount-ID"),
           ("Aankopen", "Conversiewaarde aankopen"), ("Start rapportage", "Einde rapportage")),
}  # fmt: skip


@pytest.mark.parametrize("language", CLAIMS)
def test_ids_claims_and_days_are_known_in_each_language(language: str) -> None:
    ids, claims, days = CLAIMS[language]
    for headers, columns in (
        (ids, ("campaign_id", "adset_id", "ad_id", "account_id")),
        (claims, ("purchases", "purchase_value")),
        (days, ("reporting_starts", "reporting_ends")),
    ):
        assert [META.meant(one, {})[0] for one in headers] == list(columns)


def test_a_file_without_claims_is_noticed_before_all_else(home: Home, tmp_path: Path) -> None:
    (one,) = taken(home, written(tmp_path / "a.csv", (*AD, "Kaufe"), [[*ad(DAYS[0]), "1"]]))
    assert one.notes[0].startswith("ATTENTION: no column of purchases was found: Meta's claims are")
    assert "no column of their value was found" in one.notes[1]
    assert "not used: Kaufe" in one.notes
    header = (*AD, "Website purchases", "Purchase ROAS (return on ad spend)")
    (other,) = taken(home, written(tmp_path / "b.csv", header, [[*ad(DAYS[0]), "", ""]]))
    assert not any("ATTENTION" in note for note in other.notes)


def test_other_headers_are_told_by_a_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path / "live").prepare("live")
    file = written(tmp_path / "a.csv", ("Ad name", "Day", "Kosten (CHF)"), [["A", DAYS[0], "1.5"]])
    with pytest.raises(ExportError, match="DMP_ADS_EXPORT_COLUMNS"):
        taken(home, file)
    monkeypatch.setenv("DMP_ADS_EXPORT_COLUMNS", json.dumps({"Kosten": "spend"}))
    (one,) = taken(home, file)
    assert list(one.kept.columns["spend"]) == [2]
    assert one.kept.currency == "CHF"


def test_numbers_that_could_be_both_are_asked_back(home: Home, tmp_path: Path) -> None:
    file = written(tmp_path / "a.csv", AD, [ad(DAYS[0], "1.234", "1.000")])
    with pytest.raises(ExportError, match=r"2 values can be read in two ways.*--numbers"):
        taken(home, file)
    (one,) = taken(home, file, numbers="decimal-comma")
    assert one.kept.numbers == "comma"


def test_numbers_of_any_column_tell_how_all_are_written(home: Home, tmp_path: Path) -> None:
    file = written(tmp_path / "a.csv", AD, [ad(DAYS[0], "12,50", "1.000")])
    assert taken(home, file)[0].kept.numbers == "comma"


def test_days_that_could_be_two_are_asked_back(home: Home, tmp_path: Path) -> None:
    file = written(tmp_path / "a.csv", AD, [ad("03/04/2024"), ad("05/06/2024")])
    with pytest.raises(ExportError, match=r"2 values can be read in two ways.*--dates"):
        taken(home, file)
    assert taken(home, file, dates="month-first")[0].kept.dates == "month"
    clear = written(tmp_path / "b.csv", AD, [ad("03/04/2024"), ad("30/06/2024")])
    assert taken(home, clear)[0].kept.dates == "day"


def test_the_files_own_totals_are_recognised_and_compared(home: Home, tmp_path: Path) -> None:
    rows = [ad(day) for day in DAYS]
    file = written(tmp_path / "a.csv", AD, [["", "", "", "", "25.00", "200"], *rows])
    (one,) = taken(home, file)
    assert one.kept.rows == 2
    assert "its row of totals (line 2) agrees with its rows" in one.notes
    short = written(tmp_path / "b.csv", AD, [["", "", "", "All", "37.50", "200"], *rows])
    (other,) = taken(home, short)
    assert other.kept.totals == ["spend: rows add up to 25.000000000, its total is 37.500000000"]


def test_a_sum_by_ad_is_no_row_either(home: Home, tmp_path: Path) -> None:
    file = written(tmp_path / "a.csv", AD, [ad("All", "25.00", "200"), *(ad(day) for day in DAYS)])
    assert taken(home, file)[0].kept.rows == 2


def test_rows_of_several_days_are_refused(home: Home, tmp_path: Path) -> None:
    header = ("Ad name", "Amount spent (EUR)", "Reporting starts", "Reporting ends")
    file = written(tmp_path / "a.csv", header, [["A", "1.50", "2024-03-01", "2024-03-31"]])
    with pytest.raises(ExportError, match="line 2 is of several days: export with the breakdown"):
        taken(home, file)
    daily = written(tmp_path / "b.csv", header, [["A", "1.50", "2024-03-01", "2024-03-01"]])
    assert taken(home, daily)[0].kept.rows == 1


def test_rows_that_cannot_be_used_are_counted_and_too_many_refused(
    home: Home, tmp_path: Path
) -> None:
    good = [ad(f"2024-03-{day:02}") for day in range(1, 10)]
    file = written(tmp_path / "a.csv", AD, [*good, ad("2024-03-10", "twelve"), ad("2024-02-30")])
    (one,) = taken(home, file)
    assert one.kept.bad == 2
    assert "2 rows cannot be used, the first in line 11 (spend is no number)" in one.notes
    short = written(tmp_path / "b.csv", AD, [*good[:2], ["Spring", "Set A"]])
    with pytest.raises(ExportError, match="1 of 3 rows cannot be used, the first in line 4"):
        taken(home, short)


def test_parts_of_an_ads_day_that_nothing_tells_apart_are_refused_or_said(
    home: Home, tmp_path: Path
) -> None:
    rows = [[*ad(DAYS[0], "1.50"), "00:00"], [*ad(DAYS[0], "2.50"), "01:00"]]
    named = written(tmp_path / "a.csv", (*AD, "Time of day"), rows)
    (one,) = taken(home, named)
    assert any("they are added up" in note for note in one.notes)
    with_ids = written(
        tmp_path / "b.csv", (*AD, "Time of day", "Ad ID"), [[*row, "23851"] for row in rows]
    )
    with pytest.raises(ExportError, match="without the breakdown that parts them"):
        taken(home, with_ids)


def test_a_column_that_is_there_twice_must_hold_the_same(home: Home, tmp_path: Path) -> None:
    same = written(tmp_path / "a.csv", (*AD, "Day"), [[*ad(DAYS[0]), DAYS[0]]])
    assert taken(home, same)[0].kept.rows == 1
    other = written(tmp_path / "b.csv", (*AD, "Day"), [[*ad(DAYS[0]), DAYS[1]]])
    with pytest.raises(ExportError, match=r"b\.csv line 2: .* in columns 4, 7, which differ"):
        taken(home, other)


def test_the_currency_is_that_of_header_column_account_or_person(
    home: Home, tmp_path: Path
) -> None:
    plain = ("Ad name", "Day", "Amount spent", "Currency")
    row = ["A", DAYS[0], "1.50"]
    file = written(tmp_path / "a.csv", plain[:3], [row])
    with pytest.raises(ExportError, match="add --currency"):
        taken(home, file)
    assert taken(home, file, currency="sek")[0].kept.currency == "SEK"
    named = written(tmp_path / "b.csv", plain, [[*row, "usd"]])
    assert taken(home, named)[0].kept.currency == "USD"
    with pytest.raises(ExportError, match="its amounts are in EUR, and --currency is in USD"):
        taken(home, written(tmp_path / "c.csv", AD, [ad(DAYS[0])]), currency="USD")
    mixed = written(tmp_path / "d.csv", plain, [[*row, "USD"], [*row[:2], "2.50", "EUR"]])
    with pytest.raises(ExportError, match="amounts of one account are in"):
        taken(home, mixed)


def test_the_account_is_the_advertisers_only_one_or_said(home: Home, tmp_path: Path) -> None:
    file = written(tmp_path / "a.csv", AD, [ad(DAYS[0])])
    one, other = Account("1", "EUR", "Europe/Berlin"), Account("2", "EUR", "UTC")
    with pytest.raises(ExportError, match=r"acme has several accounts: .* \(1, 2\)"):
        taken(home, file, known={"meta": [one, other], "shopify": []})
    (found,) = taken(home, file, known={"meta": [one], "shopify": []})
    assert (found.kept.account, found.kept.timezone) == ("1", "Europe/Berlin")
    dollars = written(tmp_path / "b.csv", (*AD[:4], "Amount spent (USD)"), [ad(DAYS[1])[:5]])
    with pytest.raises(ExportError, match="its amounts are in USD, and the account is in EUR"):
        taken(home, dollars, account="act_1", known={"meta": [one, other], "shopify": []})


def test_times_of_another_zone_than_the_shops_are_refused(home: Home, tmp_path: Path) -> None:
    file = written(tmp_path / "o.csv", ORDER, [order("#1")])
    with pytest.raises(ExportError, match=r"another zone than UTC \(none was said\).*\+0100"):
        taken(home, file)
    with pytest.raises(ExportError, match="another zone than America/New_York"):
        taken(home, file, timezone="America/New_York")
    with pytest.raises(ExportError, match="'Berlin' is no time zone"):
        taken(home, file, timezone="Berlin")
    assert taken(home, file, timezone="Europe/Berlin")[0].kept.kind == "shopify"


def test_of_a_buyer_nothing_is_read_but_a_keyed_hash(home: Home, tmp_path: Path) -> None:
    rows = [order("#1"), line("#1", "1", "5.00"), order("#2", Email=" Buyer@Example.com ")]
    (one,) = taken(home, written(tmp_path / "o.csv", ORDER, rows), timezone="Europe/Berlin")
    (batch,) = batches(reopened(home, one.kept), home)
    assert "example.com" not in str(batch.to_pylist()).casefold()
    assert "Ada" not in str(batch.to_pylist())
    marks = set(batch.column("customer_id").to_pylist())
    assert len(marks) == 1
    other = Home(tmp_path / "other").prepare("sandbox")
    (elsewhere,) = batches(reopened(home, one.kept), other)
    assert set(elsewhere.column("customer_id").to_pylist()).isdisjoint(marks)
    assert "example.com" not in f"{one.notes}".casefold()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is empty"),
        ("Ad name,Day,Amount spent (EUR)\n", "has no row behind its header"),
        ('Ad name,Day,Amount spent (EUR)\n"A,2024-03-01,1.50\n', "unexpected end of data"),
        ("Ad name,Day,Amount spent (EUR),Purchases conversion value (USD)\nA,2024-03-01,1.5,2\n",
         "names several currencies: EUR, USD"),
    ],
)  # fmt: skip
def test_what_is_no_export_is_refused(home: Home, tmp_path: Path, text: str, why: str) -> None:
    file = tmp_path / "a.csv"
    file.write_text(text)
    with pytest.raises(ExportError, match=why):
        taken(home, file)
    assert kept.kept(home) == []


def test_a_kind_that_is_said_is_asked_for(home: Home, tmp_path: Path) -> None:
    file = written(tmp_path / "a.csv", AD, [ad(DAYS[0])])
    with pytest.raises(ExportError, match="is no export of Shopify's orders: it lacks Name"):
        taken(home, file, kind="shopify")


BINARY = {
    "workbook": (b"PK\x03\x04\x14\0\0\0[Content_Types].xml xl/workbook.xml", "an Excel workbook"),
    "archive": (b"PK\x03\x04\x14\0\0\0a.csv Ad name,Day", r"packed \(ZIP\): unpack it"),
    "old workbook": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0\0", "a workbook of an older Excel"),
    "page": (b"\xef\xbb\xbf<html><table>", "a web page, or XML: export it as CSV"),
    "gzip": (b"\x1f\x8b\x08\0", "packed"),
    "picture": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\x01\x02\x03\x04\x05", "no text"),
}


@pytest.mark.parametrize("kind", BINARY)
def test_what_is_no_text_is_named_and_not_shown(home: Home, tmp_path: Path, kind: str) -> None:
    start, why = BINARY[kind]
    file = tmp_path / "a.csv"
    file.write_bytes(start + bytes(range(256)) * 2)
    with pytest.raises(ExportError, match=f"a.csv is {why}") as refused:
        taken(home, file)
    assert str(refused.value).isprintable()


def test_text_of_two_bytes_a_character_is_text(home: Home, tmp_path: Path) -> None:
    rows = [ad(DAYS[0], name="Реклама " * 20)]
    for encoding in ("utf-16", "utf-16-le", "utf-16-be"):
        file = written(tmp_path / f"{encoding}.csv", AD, rows, encoding=encoding)
        assert taken(home, file)[0].kept.rows == 1


def test_headers_that_are_shown_are_plain_and_short(home: Home, tmp_path: Path) -> None:
    file = written(tmp_path / "a.csv", ("Day", "\x1b[31mred", "x" * 200), [[DAYS[0], "1", "2"]])
    with pytest.raises(ExportError, match="is no export of Ads Manager") as refused:
        taken(home, file)
    assert "\x1b" not in str(refused.value)
    assert "x" * 100 not in str(refused.value)


def test_a_row_of_the_future_cannot_be_used(home: Home, tmp_path: Path) -> None:
    past = [ad(day) for day in DAYS * 10]
    today = datetime.now(UTC).date()
    late = [ad(str(today + timedelta(days=ahead))) for ahead in (1, 2)]
    (one,) = taken(home, written(tmp_path / "a.csv", AD, [*past, *late]))
    assert "1 rows cannot be used, the first in line 23 (day is in the future)" in one.notes
    with pytest.raises(ExportError, match=r"1 of 1 rows .*day is in the future"):
        taken(home, written(tmp_path / "b.csv", AD, [ad("2099-03-04")]))
    later = {"Created at": "2099-03-05 10:00:00 +0100"}
    with pytest.raises(ExportError, match="created_at is in the future"):
        taken(home, written(tmp_path / "o.csv", ORDER, [order("#1", **later)]),
              timezone="Europe/Berlin")  # fmt: skip
    month = (*AD, "Reporting starts", "Reporting ends")
    (other,) = taken(home, written(tmp_path / "c.csv", month,
                                   [[*ad(DAYS[0]), DAYS[0], "2099-12-31"]]))  # fmt: skip
    assert other.kept.bad == 0


def test_what_can_be_read_in_two_ways_is_quoted_as_it_stands(home: Home, tmp_path: Path) -> None:
    days = written(tmp_path / "a.csv", AD, [ad("2024-03-04"), ad("05.06.24")])
    with pytest.raises(ExportError, match=r"1 values .* in line 3 \(day: 05\.06\.24\), and no"):
        taken(home, days)
    numbers = written(tmp_path / "b.csv", AD, [ad(DAYS[0]), ad(DAYS[1], "1,234")])
    (file,) = taken(home, numbers)
    assert file.kept.numbers == "point"
    unsure = written(tmp_path / "c.csv", AD, [ad(DAYS[0], "1,234", "17")])
    with pytest.raises(ExportError, match=r"1 values .* in line 2 \(spend: 1,234\), and no"):
        taken(home, unsure)


@pytest.mark.parametrize(
    ("days", "side"),
    [
        (("04.03.24", "14.03.24"), "day"),
        (("14.03.24",), "day"),
        (("24.03.04", "24.03.05"), None),  # the year first, or one day of two years
        (("04.03.24", "05.03.24"), None),
        (("04/03/24", "14/03/24"), None),
    ],
)
def test_days_with_dots_are_told_by_a_first_part_over_twelve(
    home: Home, tmp_path: Path, days: tuple[str, ...], side: str | None
) -> None:
    file = written(tmp_path / "a.csv", AD, [ad(day) for day in days])
    if side is None:
        with pytest.raises(ExportError, match="can be read in two ways"):
            taken(home, file)
    else:
        assert taken(home, file)[0].kept.dates == side


def test_a_file_of_sums_alone_and_one_with_rewritten_ids_are_refused(
    home: Home, tmp_path: Path
) -> None:
    with pytest.raises(ExportError, match="each of its rows is a sum"):
        taken(home, written(tmp_path / "a.csv", AD, [["", "", "", DAYS[0], "1.50", "10"]]))
    for number in ("1,2021E+17", "5.02E+12"):
        file = written(tmp_path / "b.csv", (*AD, "Ad ID"), [[*ad(DAYS[0]), number]])
        with pytest.raises(ExportError, match="a spreadsheet has rewritten ad_id"):
            taken(home, file)


@pytest.mark.parametrize("given", ["", "../acme", "a/b", ".hidden", "x" * 65])
def test_an_advertiser_is_part_of_a_path(given: str) -> None:
    with pytest.raises(GivenError, match="--advertiser"):
        checked_advertiser(given)


def test_no_header_means_two_columns_of_one_kind() -> None:
    for export in KINDS.values():
        names = [plain(name) for headers in export.headers.values() for name in headers]
        assert len(names) == len(set(names)), export.kind
        assert set(export.headers) == set(export.columns)


def test_a_damaged_note_is_named(home: Home, tmp_path: Path) -> None:
    (one,) = taken(home, written(tmp_path / "a.csv", AD, [ad(DAYS[0])]))
    one.kept.path(home).with_suffix(".json").write_text("{")
    with pytest.raises(ExportError, match="cannot be read: restore it from a backup"):
        kept.kept(home)
