"""Reports of insights by the sandbox's Meta: asked for, made in a while, read by pages."""

import json
import uuid
from collections.abc import Mapping
from typing import Any

from dmp_assets.demo.sandbox import meta_insights
from dmp_assets.demo.sandbox.meta_manner import Manner, bad, gone
from dmp_assets.demo.sandbox.meta_world import KEYS, World

_KEPT = 8
"""Reports whose rows are kept in memory."""

Row = dict[str, Any]


class Reports:
    """Reports, kept in the world. Raises GraphError."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._made: dict[str, list[Row]] = {}

    def asked(
        self, given: Mapping[str, str], of: tuple[str, Row], manner: Manner
    ) -> meta_insights.Asked:
        """A request for insights of an object (table, row), understood."""
        table, row = of
        if KEYS[table] not in meta_insights.LEVELS.values():
            raise bad("Tried accessing nonexisting field (insights)")
        account = row
        if table != "account":
            found = self._world.found(f"act_{row['account_id']}")
            assert found is not None
            account = found[1]
        scope = (KEYS[table], row[KEYS[table]])
        return meta_insights.understood(self._world, account, scope, given, manner)

    def found(self, report_id: str) -> Row | None:
        """The row of a report."""
        rows = self._world.rows("SELECT * FROM report WHERE report_id = ?", report_id)
        return rows[0] if rows else None

    def submit(self, given: Mapping[str, str], of: tuple[str, Row], manner: Manner) -> str:
        """Begin a report; its id. What is wrong with the question is said at once."""
        asked = self.asked(given, of, _patient(manner))
        ends = "well"
        if manner.job != "well" and manner.job_times > 0:
            ends, manner.job_times = manner.job, manner.job_times - 1
        days = (asked.until - asked.since).days + 1
        if manner.most_days is not None and days > manner.most_days:
            ends = "fails"
        if manner.most_ads is not None and self._ads(asked) > manner.most_ads:
            ends = "fails"
        report = str(uuid.uuid4().int % 10**12 + 6 * 10**12)
        self._world.add("report", [{
            "report_id": report, "account_id": asked.account["account_id"],
            "asked": json.dumps({"of": of[1][KEYS[of[0]]], "table": of[0], **given}),
            "submitted_at": self._world.now(), "seconds": manner.job_seconds, "ends": ends,
        }])  # fmt: skip
        return report

    def _ads(self, asked: meta_insights.Asked) -> int:
        """How many ads a report with a row an ad is about; 0 for a coarser one."""
        column, value = asked.scope
        sql = f"SELECT count(*) AS n FROM ad WHERE {column} = ?"
        return int(self._world.rows(sql, value)[0]["n"]) if asked.level == "ad" else 0

    def progress(self, report: Row, manner: Manner) -> Row:
        """How far a report is."""
        if manner.missing_run > 0:
            manner.missing_run -= 1
            raise gone(report["report_id"])
        done = self._share_done(report)
        status = "Job Running" if done > 0.5 else "Job Started"
        percent = int(100 * done)
        told: Row = {}
        if report["ends"] == "stuck":
            status, percent = "Job Started", min(percent, 50)
        elif report["ends"] == "skipped":
            status, percent = "Job Skipped", 0
        elif done >= 1 and report["ends"] == "fails":
            status = "Job Failed"
            told = {"error_code": 1, "error_subcode": 99, "error_message": "Unknown error",
                    "error_user_title": "Report failed"}  # fmt: skip
        elif done >= 1:
            status = "Job Completed"
        return {
            "id": report["report_id"],
            "account_id": report["account_id"],
            "time_ref": int(report["submitted_at"]),
            "async_status": status,
            "async_percent_completion": percent,
            "is_running": status in ("Job Started", "Job Running"),
        } | told

    def _share_done(self, report: Row) -> float:
        waited = self._world.now() - report["submitted_at"]
        return 1.0 if report["seconds"] <= 0 else min(1.0, waited / float(report["seconds"]))

    def rows(self, report: Row, manner: Manner) -> list[Row]:
        """The rows of a report that is complete, as they were when they were read first."""
        if report["report_id"] not in self._made:
            asked = self._complete(report, manner)
            self._made[report["report_id"]] = meta_insights.rows(self._world, asked, manner, 0, -1)
            while len(self._made) > _KEPT:
                self._made.pop(next(iter(self._made)))
        return self._made[report["report_id"]]

    def _complete(self, report: Row, manner: Manner) -> meta_insights.Asked:
        """What a report that is complete was asked."""
        if report["ends"] != "well" or self._share_done(report) < 1:
            raise bad("The report is not complete")
        given = json.loads(report["asked"])
        table, own = given.pop("table"), given.pop("of")
        found = self._world.found(f"act_{own}" if table == "account" else own)
        assert found is not None
        return self.asked(given, found, _patient(manner))


def _patient(manner: Manner) -> Manner:
    """The same manner, to which nothing is too much: reports are for that."""
    return manner.model_copy(update={"most_days": None})
