"""What the cost that was received is made of: reported, received twice, in quarantine."""

from dataclasses import dataclass

from dmp_assets.cleaned.web.web_values import MONEY
from dmp_assets.platform.cleaning import evidence
from dmp_assets.platform.reporting.reader import Report
from dmp_assets.platform.values import readers
from dmp_assets.sources.web.tables import WRITTEN

NEEDED = (
    "raw/web_session_costs", "cleaned/web_session_costs", "quarantine/web_session_costs",
    "modeled/channel_reporting",
)  # fmt: skip


@dataclass(frozen=True)
class ReceivedCost:
    """Sums over all days, in the shop's currency.

    `without_sessions`: reported besides, of campaigns that no session carries; the web never
    received it.
    """

    received: float
    reported: float
    duplicates: float
    quarantined: float
    without_sessions: float = 0.0

    @property
    def missing(self) -> float:
        """What is received and nowhere to be found; 0 to the cent when all is well."""
        return self.received - self.reported - self.duplicates - self.quarantined


def received_cost(report: Report, model: str) -> ReceivedCost:
    """The cost of all days by what became of it, read as the cleaning reads it."""
    tables = report.pinned(*NEEDED)
    form = evidence.of_columns(
        tables, report.settings.column_formats, "web_session_costs", WRITTEN["web_session_costs"]
    )["cost"]  # fmt: skip
    read = {name: readers.amount(name, MONEY, form) for name in ("cost", "trim(cost)")}
    row = report.row(
        f"""
        WITH known AS (
          SELECT (SELECT coalesce(sum(cost), 0) FROM modeled.channel_reporting
                  WHERE model = $1) AS reported,
                 (SELECT coalesce(sum(cost), 0) FROM cleaned.web_session_costs) AS of_sessions
        )
        SELECT (SELECT coalesce(sum({read["trim(cost)"]}), 0)
                FROM raw.web_session_costs) AS received,
               (SELECT least(reported, of_sessions) FROM known) AS reported,
               (SELECT greatest(reported - of_sessions, 0) FROM known) AS without_sessions,
               (SELECT coalesce(sum(cost * (received_rows - 1)), 0)
                FROM cleaned.web_session_costs) AS duplicates,
               (SELECT coalesce(sum({read["cost"]}), 0)
                FROM quarantine.web_session_costs) AS quarantined""",
        [model],
    )
    return ReceivedCost(*(float(row[name]) for name in ReceivedCost.__dataclass_fields__))
