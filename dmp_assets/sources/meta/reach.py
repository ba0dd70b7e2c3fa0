"""How many people an object reached over several days, each counted once, as Meta estimates."""

from dmp_assets.platform.connect.errors import UnreadableAnswerError
from dmp_assets.sources.meta.client import MetaClient
from dmp_assets.sources.meta.days import Days


def reach(client: MetaClient, account: str, object_id: str, days: Days) -> int:
    """People whom a campaign or an ad set reached in these days; 0 where nothing was delivered.

    `account`: `act_…`, whose allowance it uses. Raises what `MetaClient` raises, and
    UnreadableAnswerError for a number that is none.
    """
    rows = list(
        client.listed(
            account,
            f"{object_id}/insights",
            fields="reach",
            time_range={"since": days.first.isoformat(), "until": days.last.isoformat()},
            time_increment="all_days",
        )
    )
    if not rows:
        return 0
    told = str(rows[0].get("reach", ""))
    if len(rows) > 1 or not told.isdecimal():
        raise UnreadableAnswerError("Meta: a reach over several days came that is no number")
    return int(told)
