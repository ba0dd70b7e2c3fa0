"""What a case has cost: the codes that its account redeemed, and the discounts that it got."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import sqlalchemy as sa

from dmp_assets.abuse.service.store.schema import code_usage, user_usage


@dataclass(frozen=True)
class Code:
    """A redeemed code and its discount; `value` is None where the shop does not say it."""

    name: str
    kind: str | None
    value: Decimal | None


@dataclass(frozen=True)
class Redemptions:
    """What an account redeemed. `least_discount`: the fixed discounts among its codes, each once;
    None where no code's is known to be fixed. `open_codes`: codes whose amount is not known."""

    usages: int
    codes: int
    first_used_at: datetime
    last_used_at: datetime
    named: tuple[Code, ...]
    least_discount: Decimal | None
    open_codes: int


def redemptions(store: sa.Connection, account_id: str, used: Collection[str]) -> Redemptions | None:
    """What the account redeemed by the last run; None when it redeemed nothing.

    `used`: names of its codes, where they are known.
    """
    row = store.execute(
        sa.select(user_usage).where(user_usage.c.user_id == account_id)
    ).one_or_none()
    if row is None:
        return None
    names = sorted(used)
    terms = {
        code.promo_code: code
        for code in store.execute(sa.select(code_usage).where(code_usage.c.promo_code.in_(names)))
    }
    named = tuple(
        Code(name, terms[name].discount_type, terms[name].discount_value)
        if name in terms
        else Code(name, None, None)
        for name in names
    )
    fixed = [code.value for code in named if _is_fixed(code) and code.value is not None]
    return Redemptions(
        usages=row.usages,
        codes=row.codes,
        first_used_at=row.first_used_at,
        last_used_at=row.last_used_at,
        named=named,
        least_discount=sum(fixed, Decimal(0)) if fixed else None,
        open_codes=max(row.codes - len(fixed), 0),
    )


def _is_fixed(code: Code) -> bool:
    return code.kind == "fixed_amount"
