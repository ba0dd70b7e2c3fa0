"""Whose the ad accounts, campaigns and ad sets are that somebody names: by the published tables."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from dmp_assets.ads.service.store.schema import ad_accounts, ads
from dmp_assets.platform.store.schema import service_connection
from dmp_assets.sources.meta.connection import SERVICE as META

_COLUMNS = {"campaigns": ads.c.campaign_id, "adsets": ads.c.adset_id}
_WORDS = {"campaigns": "campaigns", "adsets": "ad sets"}
_SHOWN = 5


def not_own(
    connection: sa.Connection, advertiser_id: str, study: Mapping[str, Any]
) -> dict[str, str]:
    """What of a split test is not the advertiser's: field of the study → what is wrong; {}: none.

    An account must be listed as of the last run, a campaign or ad set have an ad in it.
    """
    account = study["account_id"]
    is_own = sa.exists().where(
        ad_accounts.c.advertiser_id == advertiser_id,
        ad_accounts.c.account_id == account,
        ad_accounts.c.is_listed,
    )
    if not connection.scalar(sa.select(is_own)):
        return {"account_id": f"{account} is no ad account of {advertiser_id} as of the last run"}
    column, named = (
        _COLUMNS[study["entities"]],
        {o for cell in study["cells"].values() for o in cell},
    )
    known = connection.scalars(
        sa.select(column)
        .distinct()
        .where(
            ads.c.advertiser_id == advertiser_id,
            ads.c.account_id == account,
            column.in_(named),
        )
    )
    return _unknown(named - set(known), _WORDS[study["entities"]], account)


def _unknown(ids: Collection[str], what: str, account: str) -> dict[str, str]:
    if not ids:
        return {}
    shown = ", ".join(sorted(ids)[:_SHOWN]) + (" and others" if len(ids) > _SHOWN else "")
    return {"cells": f"account {account} has no {what} {shown} with ads as of the last run"}


def held_by_others(
    connection: sa.Connection,
    advertiser_id: str,
    ticked: Mapping[str, Sequence[str]],
    by_settings: str | None = None,
) -> list[str]:
    """Ad accounts that were ticked for an advertiser and that another one has: they are left out.

    ticked: advertiser → the accounts of its consent, the earliest consent first. by_settings: the
    advertiser whose token is in the settings. One who has the rows has the account, else who
    consented first.
    """
    if advertiser_id not in ticked:
        return []
    own, order = ticked[advertiser_id], list(ticked)
    earlier = {one for whose in order[: order.index(advertiser_id)] for one in ticked[whose]}
    table = service_connection.c
    connected = {*connection.scalars(sa.select(table.account).where(table.service == META))}
    with_rows: dict[str, set[str]] = {}
    query = sa.select(ad_accounts.c.account_id, ad_accounts.c.advertiser_id).where(
        ad_accounts.c.is_listed, ad_accounts.c.account_id.in_(own)
    )
    for account, whose in connection.execute(query):
        if whose in connected or whose == by_settings:
            with_rows.setdefault(account, set()).add(whose)
    return sorted(
        account
        for account in own
        if (advertiser_id not in with_rows[account] if account in with_rows else account in earlier)
    )
