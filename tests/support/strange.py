"""Values that no account should have and some do: for every attribute, by every path."""

ATTRIBUTES = (
    "email", "phone", "first_name", "last_name", "ip", "device_id", "user_agent", "city",
    "timezone", "date_of_birth", "email_verified", "phone_verified", "registered_at", "promo_code",
)  # fmt: skip

TEXTS = (
    # what means nothing
    "NULL", "(not set)", "N/A", "-", "0", "", " ", "\t", "nan", "inf", "-inf", "1e400", "undefined",
    # other libraries' values
    "Factory", "US/Eastern", "posixrules", "Etc/GMT+14", "../../etc/passwd", "localtime",
    "0.0.0.0", "::", "127.0.0.1", "fe80::1%eth0", "::ffff:1.2.3.4", "1.2.3.4/32", "256.256.256.256",
    "1::2::3", "01.02.03.04", "2001:db8::/32", "xn--", "a@xn--.com", "a@xn--a-\u00e9.com",
    "@", "a@", "a@b@c", "x@" + "a" * 250 + ".com",
    "\u0438\u0432\u0430\u043d@\u043f\u043e\u0447\u0442\u0430.\u0440\u0444",
    "a@\u3002com", "a@\u00df\u200d.de", "+", "+0", "00", "+999999999999999999", "4.9302E+10",
    "49302000000.0",
    "\u0661\u0662\u0663\u0664\u0665\u0666\u0667", "\uff0b\uff14\uff19 30 901820", "1" * 250,
    ";ext=9999999", "tel:", "#1", "x1",
    "Mozilla/5.0 (Linux; Android 13; CUBOT X30)", "Chrome/\u0661\u0662.0",
    "Chrome/99999999999999999999",
    "okhttp/4.9.3", "Chrome/\u00b2.0 Safari/537.36", "(((((((((((((((((((((((", "\\", "'", '"',
    "%", "{}", "$1",
    # days and times
    "0001-01-01", "9999-12-31", "10000-01-01", "262143-01-01", "-4712-01-01", "0000-00-00",
    "1900-01-01", "2024-02-30", "31/12/1990", "12/31/1990", "45321", "45321.5", "1709273107",
    "1709273107000", "99999999999999999999", "-1", "1e9", "2024-03-01T25:61:61Z", "infinity",
    "2024-03-01T10:00:00+99:99", "24:00:00", "1990-1-2", "12:30",
    # numbers
    "99999999999999999999999999999999999999", "1e38", "0.000000000000000000001", "-0", "0x10",
    "1_000",
    "1,234.56", "1.234,56", "\u221e", "\u00bd",
    # text
    "O", "\u674e", "\u041e\u043b\u0435\u043a\u0441\u0430\u043d\u0434\u0440\u0430",
    "\u0645\u062d\u0645\u062f", "\u0e2a\u0e21\u0e0a\u0e32\u0e22",
    "\u0928\u0930\u0947\u0928\u094d\u0926\u094d\u0930", "O'Brien-\u0141ukasz",
    "Nguy\u1ec5n Th\u1ecb Minh Khai",
    "\u0130\u0130\u0130", "\u01c4", "\u03a3\u03b1\u03c2", "\ufb01\ufdfa",
    "\U0001f9d1\u200d\U0001f692", "a\u0301" * 50, "\u202egnirts", "\ufeff", "\u200b", "\ufffd",
    "\U0010ffff", "a\u2028b", "a\rb", "a" * 64, "a" * 200, "=cmd()", "<script>", "a\x85b", "\x7f",
)  # fmt: skip
"""Texts of any source, short enough for a caller of the service."""

HUGE = (
    "9" * 100_000, "a b" * 50_000, "1" + " " * 100_000 + "1", "a@" + "b." * 50_000,
    "\u00e9" * 100_000,
)  # fmt: skip
"""Texts as only a database or file can send them."""

NO_TEXTS = (
    None, True, False, 0, -1, 1.5, 1e308, 10**40, [], {}, ["a"], {"a": 1},
)  # fmt: skip
"""What JSON can say where a text is meant."""

RAW_JSON = (
    r'"\ud800"', r'"\udfff\ud800"', r'"\u0000"', r'"a\u0000b"', "NaN", "Infinity", "1e999",
    "99999999999999999999999999999999999999999", '"' + "9" * 5000 + '"',
)  # fmt: skip
"""JSON as it travels, which Python's own writer would not write."""
