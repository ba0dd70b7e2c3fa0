"""Which accounts count against which: nobody is made suspect by accounts that anybody can make.

Whoever knows somebody's address, number or device id can sign up with it, but cannot confirm it.
So an account sees all that came before it, and of those that came after it only the verified ones:
by e-mail where a mailbox is shared, by phone where a phone is shared, by either for anything else.
A ring is found all the same, by each of its accounts that is not the first.
"""

from typing import Literal

import numpy as np
import numpy.typing as npt

Verified = Literal["email", "phone", "either"]

_EMAIL = "coalesce(is_email_verified, false)"
_PHONE = "coalesce(is_phone_verified, false)"
SQL: dict[Verified, str] = {
    "email": _EMAIL,
    "phone": _PHONE,
    "either": f"({_EMAIL} OR {_PHONE})",
}
"""Over a row of cleaned/users: whether the account counts against those before it."""

COUNTS: dict[Verified, npt.NDArray[np.bool_]] = {
    "email": np.array([False, True, False, True]),
    "phone": np.array([False, False, True, True]),
    "either": np.array([False, True, True, True]),
}
"""The same by what is verified (`verified`)."""

MOST_COUNTED = 100
"""Of linked accounts that count against one, so many are counted."""


def verified(email: bool | None, phone: bool | None) -> int:
    """What of an account is verified: 1 its e-mail address, 2 its phone, 3 both, 0 nothing."""
    return (email is True) + 2 * (phone is True)


def counted_sql(key: str, by: Verified, mark: str = "true", counts: str = "") -> str:
    """How many accounts with the same `key` count against each, itself included.

    Over rows of cleaned/users. `mark`: only rows where this holds; `counts`: instead of `by`.
    """
    counts = counts or SQL[by]
    return (
        f"count(*) FILTER ({mark} AND {counts}) OVER (PARTITION BY {key}) "
        f"+ count(*) FILTER ({mark} AND NOT {counts}) OVER (PARTITION BY {key} ORDER BY created_at)"
    )


def near_sql(key: str, by: Verified, width: str) -> str:
    """The same of accounts that registered within an interval (`1 DAY`) of each."""
    over = f"PARTITION BY {key} ORDER BY created_at RANGE BETWEEN INTERVAL {width} PRECEDING AND"
    return (
        f"count(*) FILTER ({SQL[by]}) OVER ({over} INTERVAL {width} FOLLOWING) "
        f"+ count(*) FILTER (NOT {SQL[by]}) OVER ({over} CURRENT ROW)"
    )


def firsts_sql(key: str, by: Verified, of: str) -> str:
    """Columns that `distinct_sql` needs."""
    return (
        f"({of} IS NOT NULL AND row_number() OVER (PARTITION BY {key}, {of} ORDER BY created_at) "
        f"= 1) AS first_{of}, bool_or({SQL[by]}) OVER (PARTITION BY {key}, {of}) AS counts_{of}"
    )


def distinct_sql(key: str, by: Verified, of: str) -> str:
    """How many values of a column the accounts have that count against each, its own included."""
    return counted_sql(key, by, f"first_{of}", f"counts_{of}")
