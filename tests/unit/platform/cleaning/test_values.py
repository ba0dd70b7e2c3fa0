"""Received values: words that mean nothing, for every kind, and what a value's crowd comes to."""

from datetime import UTC, datetime

import pytest

from dmp_assets.abuse.model.received import normal_form
from dmp_assets.identity.evidence import LEAST_CROWD, most_holders
from dmp_assets.platform.values import words
from dmp_assets.platform.values.words import KINDS, STANDARD
from dmp_assets.settings import load

NOW = datetime(2024, 3, 1, 12, tzinfo=UTC)
EVERYWHERE = (
    "NULL", "null", "Null", "undefined", "None", "N/A", "n/a", "(not set)", "(Not Set)", "-", "--",
    "unknown", "UNKNOWN", "nan", "NaN", "", "  ", "\t", "\u00a0", "\ufeff", " NULL ",
    "\u00a0null\u200b",
    "#N/A", "keine Angabe", "desconocido", "Неизвестно", "未知", 
    "{{user_id}}", "${DEVICE}", "該当なし", "未設定", "未登録", "－", "ー", "‐", "⸺", "・・・",
    "~~", "<nil.>", "ＮＵＬＬ", "［未登録］", "【該当なし】", "“null”", "-none-", "n.v.t.", "s/d",
    "n / a", "BİLİNMİYOR", "não informado", "NAO INFORMADO", "해당 없음", "暂无",
    "غير معروف", "अज्ञात", "neuvedeno", "nie dotyczy", "entfällt",
)  # fmt: skip
BY_KIND = {
    "id": ("00000000-0000-0000-0000-000000000000", "0000", "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF"),
    "visitor": ("0", "-1", "guest", "Gast", "ゲスト", "anonymous",
                "00000000-0000-0000-0000-000000000000"),
    "email": ("test@test.com", "TEST@test", "none@none.com", "noemail@noemail.com", "n/a@n/a",
              "no@email.com"),
    "phone": ("０００－００００", "無", "000-000-0000", "+1 (000) 000-0000", "0", "1111111111",
              "(999) 999-9999", "1234567890", "123-456-7890", "00000000000"),
    "device": ("無し", "ＮＡ", "(0)", "<nil>", "ｘ", "0", "000000000000000",
               "{00000000-0000-0000-0000-000000000000}",
               "02:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "9774D56D682E549C",
               "d41d8cd98f00b204e9800998ecf8427e"),
    "ip": ("0.0.0.0", "::", "0:0:0:0:0:0:0:0", "127.0.0.1", "::1", "::ffff:0.0.0.0", "localhost"),
    "name": ("First Name", "guest"),
    "timezone": ("Factory", "0"),
    "channel": ("(not set)", "0"),
}  # fmt: skip
MEAN_SOMETHING = {
    "id": ("0", "a", "x", "1003", "null-17", "0a00-0000"),
    "visitor": ("u-1", "guest-17", "10"),
    "email": ("ann@test-kitchen.com", "test@gmail.com", "ann@example.com", "null.smith@web.de"),
    "phone": ("+1 202 555 0143", "0800 000 123", "+49 30 2000000", "030 901820"),
    "device": ("d-0", "0000-0001", "00:00:5e:00:53:01"),
    "ip": ("10.0.0.1", "1::", "::2", "100.0.0.0", "2001:db8::1"),
    "name": ("Na", "O", "Nil", "Xx", "李", "Nullmeyer", "空", "一", "미정", "Nada", "Bos", "S.D."),
    "city": ("Na", "Brak", "Å", "Y", "Ures", "灘", "Ingen"),
    "code": ("X", "VOID", "WELCOME", "🎉", "NUL"),
    "flag": ("無し", "x", "✔", "-1"),
    "channel": ("direct", "not set yet"),
}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "as received"])
def test_what_programs_write_without_a_value_is_no_value(kind: words.Kind) -> None:
    for text in (*EVERYWHERE, *BY_KIND.get(kind, ())):
        assert STANDARD.given(kind, text) is None, text
    for text in MEAN_SOMETHING.get(kind, ()):
        assert STANDARD.given(kind, f" {text}\n") == text


@pytest.mark.parametrize(
    ("kind", "text", "is_"),
    [("id", "\ufeff1003\u200b", "1003"), ("id", "10\u200b03", "1003"), ("id", '="0012"', "0012"),
     ("id", "\u202a1003.0\u202c", "1003"), ("visitor", "'0012", "0012"), ("code", "A\u00adB", "AB"),
     ("phone", "'+4930901820", "+4930901820"), ("id", "o'1", "o'1"), ("id", "'", None),
     ("name", "'t Hooft", "'t Hooft"), ("name", "می\u200cرود", "می\u200cرود"),
     ("other", '="NULL"', None), ("id", '"1003"', "1003"), ("id", "1.23457E+15", None),
     ("device", "1e+05", None), ("time", "0000-00-00 00:00:00", None), ("time", "9999-12-31", None),
     ("time", "0001-01-01T00:00:00Z", None), ("time", "1900-01-02", "1900-01-02"),
     ("name", '"Ann"', '"Ann"'), ("flag", "нет", "нет"), ("other", "нет", None),
     ("other", "%", "%"), ("other", "€", "€"), ("name", '"Nil"', '"Nil"'), ("name", "<nil>", None)],
)  # fmt: skip
def test_what_programs_put_around_and_into_a_value_is_no_part_of_it(
    kind: words.Kind, text: str, is_: str | None
) -> None:
    assert STANDARD.given(kind, text) == is_


def test_a_long_text_means_something_whatever_it_is() -> None:
    assert STANDARD.given("phone", "0" * 1_000_000) == "0" * 1_000_000
    assert STANDARD.given("other", "-" * 65) == "-" * 65


def test_a_setting_adds_words_for_one_kind_or_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DMP_NO_VALUES", '{"device": ["Kiosk"], "any": [" Nix "]}')
    found = load(sandbox=True).no_value_words
    assert found.given("device", " KIOSK ") is None
    assert found.given("city", "kiosk") == "kiosk"
    assert [found.given(kind, "NIX") for kind in ("device", "city", "channel")] == [None] * 3
    assert found.given("device", "null") is None
    monkeypatch.setenv("DMP_NO_VALUES", '{"devise": ["Kiosk"]}')
    with pytest.raises(ValueError, match=r"'devise' is no kind of value .*mean device"):
        load(sandbox=True)


def test_a_caller_of_the_service_who_says_nothing_is_heard_so() -> None:
    nothing = {
        "email": "test@test.com", "phone": "000-000-0000", "first_name": "(null)",
        "last_name": "-", "ip": "::", "device_id": "NULL", "user_agent": "undefined",
        "city": "N/A", "timezone": "Factory",
    }  # fmt: skip
    assert normal_form("a", nothing, NOW, "US") == normal_form("a", {}, NOW, "US")
    own = words.of({"device": ["kiosk"]})
    assert normal_form("a", {"device_id": "KIOSK"}, NOW, "US", own)["device_id"] is None


def test_more_holders_than_a_kind_can_have_depend_on_the_shop() -> None:
    assert most_holders(200, 400) == LEAST_CROWD
    assert most_holders(200, 2_000) == 100
    assert most_holders(200, 1_000_000) == 200
    assert most_holders(20, 1_000_000) == 20
