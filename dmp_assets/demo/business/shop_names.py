"""Names in the scripts that people write them in, and what else honest people of the world bring.

Constants, and how they are laid over the accounts. Half of the family names of a country with a
script of its own are typed in it, those of a household alike.
"""

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from dmp_assets.demo.business import shop_world as world
from dmp_assets.demo.business.shop_text import Ints, chance, patch, pool


class Script(NamedTuple):
    """First and family names of one script."""

    first: tuple[str, ...]
    last: tuple[str, ...]


SCRIPTS: dict[str, Script] = {
    "JP": Script(
        ("健二", "由紀", "はな", "太郎", "美咲", "翔", "ケンジ", "さくら", "直樹", "陽子"),
        ("田中", "鈴木", "佐藤", "渡辺", "高橋", "伊藤", "山本", "中村", "小林", "加藤"),
    ),
    "TW": Script(
        ("偉", "美玲", "志明", "雅婷", "家豪", "淑芬", "俊傑", "怡君", "建宏", "惠雯"),
        ("王", "李", "陳", "林", "黃", "張", "劉", "吳", "蔡", "楊"),
    ),
    "KR": Script(
        ("민수", "지영", "서연", "준호", "하은", "도윤", "수진", "현우", "예린", "태양"),
        ("김", "이", "박", "최", "정", "강", "조", "윤", "장", "임"),
    ),
    "UA": Script(
        ("Олена", "Іван", "Наталія", "Андрій", "Юлія", "Дмитро", "Ольга", "Петро", "Софія",
         "Марія"),
        ("Шевченко", "Коваленко", "Бондаренко", "Ткаченко", "Кравченко", "Олійник", "Мельник",
         "Лисенко", "Поліщук", "Гончар"),
    ),
    "GR": Script(
        ("Ελένη", "Γιώργος", "Μαρία", "Νίκος", "Κατερίνα", "Δημήτρης", "Σοφία", "Πέτρος", "Άννα",
         "Γιάννης"),
        ("Παπαδόπουλος", "Νικολάου", "Γεωργίου", "Δημητρίου", "Ιωάννου", "Βασιλείου", "Αθανασίου",
         "Οικονόμου", "Μακρής", "Σταύρου"),
    ),
    "AE": Script(
        ("فاطمة", "محمد", "عائشة", "أحمد", "مريم", "خالد", "نورة", "عمر", "سارة", "يوسف"),
        ("الهاشمي", "المنصوري", "الشامسي", "النعيمي", "الكعبي", "المزروعي", "حسن", "علي", "إبراهيم",
         "صالح"),
    ),
    "IL": Script(
        ("נועה", "דוד", "תמר", "יוסף", "מאיה", "אורי", "שירה", "איתן", "רחל", "משה"),
        ("כהן", "לוי", "מזרחי", "פרץ", "ביטון", "דהן", "אברהם", "פרידמן", "אזולאי", "שפירא"),
    ),
    "TH": Script(
        ("สมชาย", "มาลี", "อนันต์", "สุดา", "วิชัย", "นภา", "ประเสริฐ", "กมล", "พิมพ์", "ธนา"),
        ("สุขใจ", "ทองดี", "ศรีสุข", "แก้วมณี", "บุญมี", "วงศ์ไทย", "รัตนา", "พงษ์ศรี", "จันทร์", "ใจดี"),
    ),
    "IN": Script(
        ("प्रिया", "रवि", "अर्जुन", "अनन्या", "सुनीता", "राहुल", "मीना", "विजय", "पूजा", "अमित"),
        ("शर्मा", "पटेल", "सिंह", "गुप्ता", "रेड्डी", "वर्मा", "जोशी", "मिश्रा", "यादव", "मेहता"),
    ),
}  # fmt: skip
"""Country → names in its script."""
_SHARE = {"IN": 8}
"""Of so many family names one is typed in the script; else of two."""

ALIASES: dict[str, tuple[str, float]] = {
    "America/New_York": ("US/Eastern", 0.05),
    "America/Los_Angeles": ("US/Pacific", 0.05),
    "Asia/Kolkata": ("Asia/Calcutta", 0.5),
    "Europe/Kyiv": ("Europe/Kiev", 0.5),
    "Asia/Taipei": ("ROC", 0.02),
    "Europe/London": ("GB", 0.02),
}
"""Time zone → another name of it that systems send, and how often."""


def written(people_first: Ints, people_last: Ints, country: Ints) -> tuple[pa.Array, pa.Array]:
    """First and family names as they are typed."""
    first, last = pool(world.FIRST_NAMES, people_first), pool(world.LAST_NAMES, people_last)
    for code, names in SCRIPTS.items():
        own = people_last * 31 % 97 % _SHARE.get(code, 2) == 0
        rows = np.flatnonzero(own & (country == world.COUNTRIES.index(code)))
        if len(rows):
            first = patch(first, rows, pool(names.first, people_first[rows] % len(names.first)))
            last = patch(last, rows, pool(names.last, people_last[rows] % len(names.last)))
    return first, last


def zones(zone: Ints, created: Ints) -> pa.Array:
    """Time zones as browsers and apps send them, now and then by an old name."""
    names = [city.timezone for city in world.CITIES]
    text = pool(names, zone)
    rng = np.random.default_rng(int(created.sum()) % 2**32)  # draws of its own
    for name, (alias, share) in ALIASES.items():
        places = [place for place, zone_name in enumerate(names) if zone_name == name]
        rows = np.flatnonzero(np.isin(zone, places) & chance(rng, share, len(zone)))
        if len(rows):
            text = patch(text, rows, pool([alias], np.zeros(len(rows), dtype=np.int64)))
    return text
