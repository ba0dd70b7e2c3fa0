"""What the simulated shop's world consists of: places, names, mail providers, browsers, networks.

Constants only. Shares are rough, public-knowledge figures of a mid-size international web shop;
none was fitted to a model.
"""

from typing import NamedTuple


class City(NamedTuple):
    """A place that customers live in; `country` keys the tables below."""

    name: str
    country: str
    timezone: str
    weight: float


CITIES = (
    City("New York", "US", "America/New_York", 9),
    City("Chicago", "US", "America/Chicago", 5),
    City("Houston", "US", "America/Chicago", 4),
    City("Los Angeles", "US", "America/Los_Angeles", 7),
    City("Seattle", "US", "America/Los_Angeles", 3),
    City("Boston", "US", "America/New_York", 3),
    City("Toronto", "CA", "America/Toronto", 4),
    City("London", "GB", "Europe/London", 8),
    City("Manchester", "GB", "Europe/London", 3),
    City("Berlin", "DE", "Europe/Berlin", 6),
    City("München", "DE", "Europe/Berlin", 4),
    City("Köln", "DE", "Europe/Berlin", 3),
    City("Zürich", "CH", "Europe/Zurich", 2),
    City("Paris", "FR", "Europe/Paris", 6),
    City("Lyon", "FR", "Europe/Paris", 2),
    City("Madrid", "ES", "Europe/Madrid", 4),
    City("Málaga", "ES", "Europe/Madrid", 2),
    City("Milano", "IT", "Europe/Rome", 3),
    City("Amsterdam", "NL", "Europe/Amsterdam", 3),
    City("Kraków", "PL", "Europe/Warsaw", 3),
    City("Malmö", "SE", "Europe/Stockholm", 2),
    City("Lisboa", "PT", "Europe/Lisbon", 2),
    City("São Paulo", "BR", "America/Sao_Paulo", 5),
    City("Ciudad de México", "MX", "America/Mexico_City", 4),
    City("Mumbai", "IN", "Asia/Kolkata", 6),
    City("Tokyo", "JP", "Asia/Tokyo", 3),
    City("Singapore", "SG", "Asia/Singapore", 2),
    City("Sydney", "AU", "Australia/Sydney", 3),
    City("Johannesburg", "ZA", "Africa/Johannesburg", 2),
    City("Manila", "PH", "Asia/Manila", 3),
    City("Kyiv", "UA", "Europe/Kyiv", 2),
    City("Athina", "GR", "Europe/Athens", 2),
    City("Dubai", "AE", "Asia/Dubai", 2),
    City("Tel Aviv", "IL", "Asia/Jerusalem", 1),
    City("Bangkok", "TH", "Asia/Bangkok", 2),
    City("Taipei", "TW", "Asia/Taipei", 2),
    City("Seoul", "KR", "Asia/Seoul", 2),
)

# Country calling code, prefixes of mobile numbers, digits that follow (ITU numbering plans).
PHONE_PLANS: dict[str, tuple[str, tuple[str, ...], int]] = {
    "US": ("1", ("212", "312", "415", "206", "617", "713", "213", "718", "503", "305"), 7),
    "CA": ("1", ("416", "604", "514", "403"), 7),
    "GB": ("44", ("7400", "7401", "7402", "7415", "7720", "7810"), 6),
    "DE": ("49", ("151", "160", "170", "171", "175"), 8),
    "CH": ("41", ("78", "79", "76"), 7),
    "FR": ("33", ("61", "62", "66"), 7),
    "ES": ("34", ("61", "62", "65"), 7),
    "IT": ("39", ("328", "333", "347"), 7),
    "NL": ("31", ("61", "62", "64"), 7),
    "PL": ("48", ("512", "601", "660"), 6),
    "SE": ("46", ("70", "72", "73"), 7),
    "PT": ("351", ("91", "93", "96"), 7),
    "BR": ("55", ("1196", "1197", "1198"), 7),
    "MX": ("52", ("55",), 8),
    "IN": ("91", ("98", "99", "97"), 8),
    "JP": ("81", ("90", "80"), 8),
    "SG": ("65", ("91", "92", "96", "97"), 6),
    "AU": ("61", ("41", "40", "43"), 7),
    "ZA": ("27", ("82", "83", "71"), 7),
    "PH": ("63", ("917", "918", "920"), 7),
    "UA": ("380", ("50", "67", "97"), 7),
    "GR": ("30", ("694", "697", "698"), 7),
    "AE": ("971", ("50", "52", "55"), 7),
    "IL": ("972", ("50", "52", "54"), 7),
    "TH": ("66", ("81", "86", "89"), 7),
    "TW": ("886", ("912", "932", "978"), 6),
    "KR": ("82", ("102", "103", "104", "106"), 7),
}
COUNTRIES = tuple(PHONE_PLANS)

# First octets of IPv4 addresses of homes, and the IPv6 /32 of a large provider, per country.
HOME_OCTETS: dict[str, tuple[int, ...]] = {
    "US": (24, 67, 68, 71, 73, 98), "CA": (70, 99, 142), "GB": (81, 82, 86), "DE": (79, 84, 91),
    "CH": (85, 178), "FR": (78, 88, 90), "ES": (83, 95), "IT": (79, 93, 151), "NL": (77, 94),
    "PL": (83, 89), "SE": (81, 90), "PT": (85, 188), "BR": (177, 179, 189), "MX": (187, 201),
    "IN": (103, 117, 122), "JP": (114, 118, 126), "SG": (116, 175), "AU": (101, 120),
    "ZA": (102, 105), "PH": (112, 124), "UA": (46, 91), "GR": (79, 94), "AE": (94, 86),
    "IL": (77, 84), "TH": (110, 171), "TW": (111, 114), "KR": (121, 211),
}  # fmt: skip
IPV6_HOMES = ("2a02:8109", "2600:1700", "2a01:e0a", "2001:8003", "2804:14d", "2405:201")

FIRST_NAMES = (
    "Anna", "Maria", "Laura", "Sofia", "Emma", "Julia", "Sarah", "Olivia", "Chloé", "Zoë",
    "Inés", "María", "Lucía", "Renée", "Jürgen", "Björn", "José", "André", "François", "Søren",
    "Łukasz", "Jörg", "Liam", "Noah", "James", "Lucas", "Daniel", "Michael", "David", "Thomas",
    "Peter", "Marco", "Luca", "Pedro", "Carlos", "Miguel", "Ravi", "Priya", "Arjun", "Ananya",
    "Kenji", "Yuki", "Hana", "Wei", "Mei", "Thabo", "Lerato", "Grace", "Ruth", "Helen",
    "Kate", "Amelia", "Isla", "Ella", "Mia", "Nina", "Eva", "Ida", "Agata", "Marta",
    "Piotr", "Jan", "Henk", "Joost", "Erik", "Lars", "Nils", "Oscar", "Hugo", "Paul",
    "Simon", "Felix", "Max", "Leon", "Tim", "Ben", "Jack", "Harry", "George", "Charlie",
    "Ethan", "Logan", "Mason", "Aiden", "Caleb", "Dylan", "Ryan", "Kevin", "Brian", "Eric",
    "Karen", "Susan", "Linda", "Nancy", "Betty", "Diana", "Tina", "Rosa", "Clara", "Alice",
)  # fmt: skip
LAST_NAMES = (
    "Müller", "Schröder", "Köhler", "Weiß", "Jäger", "García", "Fernández", "López", "Martínez",
    "Gonçalves", "Araújo", "Nuñez", "Lefèvre", "Bérard", "Sjögren", "Åkesson", "Nowak",
    "Wójcik", "Zieliński", "Smith", "Johnson", "Williams", "Brown", "Jones", "Miller", "Davis",
    "Wilson", "Anderson", "Taylor", "Moore", "Jackson", "Martin", "Lee", "Thompson", "White",
    "Harris", "Clark", "Lewis", "Walker", "Hall", "Young", "King", "Wright", "Hill", "Scott",
    "Green", "Adams", "Baker", "Nelson", "Carter", "Mitchell", "Roberts", "Turner", "Phillips",
    "Campbell", "Parker", "Evans", "Edwards", "Collins", "Stewart", "Morris", "Rogers", "Reed",
    "Cook", "Morgan", "Bell", "Murphy", "Bailey", "Cooper", "Richardson", "Cox", "Howard",
    "Ward", "Peterson", "Gray", "Watson", "Brooks", "Kelly", "Sanders", "Price", "Bennett",
    "Wood", "Barnes", "Ross", "Henderson", "Coleman", "Jenkins", "Perry", "Powell", "Long",
    "Rossi", "Russo", "Ferrari", "Bianchi", "Romano", "Dubois", "Laurent", "Moreau", "Girard",
    "Roux", "Schmidt", "Fischer", "Weber", "Wagner", "Becker", "Hoffmann", "Schulz", "Koch",
    "Richter", "Klein", "Wolf", "Neumann", "Braun", "Silva", "Santos", "Oliveira", "Souza",
    "Pereira", "Costa", "Sharma", "Patel", "Singh", "Gupta", "Reddy", "Tanaka", "Suzuki",
    "Sato", "Watanabe", "Tan", "Lim", "Wong", "Nkosi", "Dlamini", "Reyes", "Cruz", "Bautista",
    "Visser", "Bakker", "Meijer", "Jansen", "Lindberg", "Berg", "Holm", "Dahl", "Lund", "Vega",
)  # fmt: skip
NICKNAMES = (
    "sunny", "tiger", "pixel", "coffee", "runner", "music", "book", "happy", "blue", "star",
    "moon", "garden", "cloud", "river", "cat", "dog", "skate", "chess", "lucky", "travel",
)  # fmt: skip

MAIL_DOMAINS = (
    ("gmail.com", 40), ("outlook.com", 9), ("hotmail.com", 7), ("yahoo.com", 9), ("icloud.com", 8),
    ("gmx.de", 4), ("web.de", 3), ("orange.fr", 3), ("libero.it", 2), ("proton.me", 2),
    ("btinternet.com", 2), ("wp.pl", 2), ("uol.com.br", 2), ("comcast.net", 2), ("aol.com", 1),
    ("example.com", 2), ("example.org", 2), ("häuser.example", 0.3), ("почта.example", 0.3),
    ("邮箱.example", 0.2),
)  # fmt: skip
GMAIL = 0
ICLOUD = 4
DISPOSABLE_DOMAINS = (
    "mailinator.com", "guerrillamail.com", "10minutemail.com", "tempmail.dev", "yopmail.com",
    "trashmail.com", "sharklasers.com", "getnada.com",
)  # fmt: skip

# Browsers: text before the version, text after it, version in January 2020, growth a month.
BROWSERS = (
    ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/",
     ".0.0.0 Safari/537.36", 79, 0.86, 30),
    ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) "
     "Chrome/", ".0.0.0 Safari/537.36", 79, 0.86, 10),
    ("Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/",
     ".0.0.0 Mobile Safari/537.36", 79, 0.86, 20),
    ("Mozilla/5.0 (iPhone; CPU iPhone OS 15_0 like Mac OS X) AppleWebKit/605.1.15 "
     "(KHTML, like Gecko) Version/", ".1 Mobile/15E148 Safari/604.1", 13.2, 0.083, 22),
    ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) "
     "Version/", ".1 Safari/605.1.15", 13.2, 0.083, 6),
    ("Mozilla/5.0 (X11; Linux x86_64; rv:100.0) Gecko/20100101 Firefox/", ".0", 72, 1.0, 2),
    ("Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:100.0) Gecko/20100101 Firefox/", ".0",
     72, 1.0, 5),
    ("Mozilla/5.0 (Linux; Android 13; SAMSUNG SM-A536B) AppleWebKit/537.36 (KHTML, like Gecko) "
     "SamsungBrowser/", ".0 Chrome/111.0.0.0 Mobile Safari/537.36", 10, 0.27, 5),
    ("Mozilla/5.0 (Linux; Android 12; CUBOT P80) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/",
     ".0.0.0 Mobile Safari/537.36", 79, 0.86, 0.5),
    ("ShopApp/", " (Android 13; okhttp/4.11.0)", 20, 0.9, 2),  # the shop's own app
    ("ShopApp/", " CFNetwork/1410.0.3 Darwin/22.6.0", 20, 0.9, 2),
)  # fmt: skip
# Emulators, headless browsers and scripts; a few honest people look like this too.
ODD_BROWSERS = (
    ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/",
     ".0.0.0 Safari/537.36", 79, 0.86, 4),
    ("Mozilla/5.0 (Linux; Android 9; Android SDK built for x86) AppleWebKit/537.36 "
     "(KHTML, like Gecko) Chrome/", ".0.0.0 Mobile Safari/537.36", 66, 0.1, 4),
    ("Mozilla/5.0 (Linux; Android 4.4.2; Nexus 5) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/",
     ".0.0.0 Mobile Safari/537.36", 30, 0.05, 3),
    ("python-requests/2.", ".0", 22, 0.17, 2),
    ("okhttp/4.", ".1", 2, 0.2, 2),
)  # fmt: skip

# Share of sign-ups and purchases per local hour (0 to 23): a low at night, a peak in the evening.
HOURS = (1.2, .7, .4, .3, .3, .5, 1.2, 2.4, 3.6, 4.4, 5, 5.3,
         5.6, 5.2, 4.8, 4.8, 5.1, 5.8, 6.6, 7.6, 8.2, 7.4, 5, 2.6)  # fmt: skip
MONTHS = (1.02, 0.92, 0.95, 0.96, 0.97, 0.9, 0.86, 0.88, 1.0, 1.05, 1.3, 1.25)
WEEKDAYS = (1.0, 0.97, 0.97, 0.98, 1.02, 1.08, 1.12)

CODE_WORDS = (
    "WELCOME", "SUMMER", "SPRING", "WINTER", "AUTUMN", "FLASH", "VIP", "SAVE", "EXTRA", "DEAL",
    "HELLO", "THANKS", "WEEKEND", "FRIDAY", "HOLIDAY", "BIRTHDAY", "APP", "FRIEND",
)  # fmt: skip
