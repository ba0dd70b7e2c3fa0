"""What the model, and limits, say of accounts: of one that the tables have, of those in turn."""

from collections.abc import Mapping, Sequence
from itertools import islice
from types import MappingProxyType

import structlog

from dmp_assets.abuse.model import features
from dmp_assets.abuse.model.limits import DeviceLimit, stricter
from dmp_assets.abuse.model.view import VIEW
from dmp_assets.abuse.service.judged import Draft, Judgement
from dmp_assets.abuse.service.present import Present
from dmp_assets.abuse.service.refs import public

log = structlog.get_logger("dmp.api")

MOST_KEPT = 100_000
"""Judgements on known accounts that are kept in memory."""
MOST_LINKED = 20
"""Linked accounts that an answer names."""


class Judge:
    """Judges the accounts of this moment; its user holds the lock of the present."""

    def __init__(self, present: Present, limit: DeviceLimit) -> None:
        self._present, self._limit = present, limit

    def now(self, account_id: str) -> Judgement | None:
        """On an account by its id as everybody knows it; None when nobody knows it."""
        number, index = self._present.number(account_id), self._present.index
        if number is None:
            return None
        if number < index.snapshot.size and not index.touched(number):
            return self.known(number)
        return self.of_drafts([self.draft(number)])[0]

    def known(self, row: int, *, keep: bool = True) -> Judgement:
        """A known account with which no live one shares a value, as the tables have it."""
        from dmp_assets.abuse.model.explain import explain

        now = self._present.now
        found = now.judged.get(row)
        if found is not None:
            return found
        likely = now.probabilities[row : row + 1]
        decision = str(now.model.thresholds.decide(likely)[0])
        linked: list[str] = []
        cluster_id: str | None = None
        size, expected = 1, float(likely[0])
        if now.linked[row]:
            members = now.index.members(row)
            linked, cluster_id = self._named(row), public(now.index.first_of(members))
            size, expected = len(members), self._expected(self._rows_and_ids(members))
        reasons = (
            []
            if decision == "allow"
            else explain(now.model, now.index.snapshot.features_of(row)).of(0)
        )
        found = Judgement(
            probability=float(likely[0]),
            decision=decision,
            is_limited=False,
            reasons=reasons,
            linked=linked,
            cluster_id=cluster_id,
            cluster_size=size,
            expected_abusers=expected,
            model_version=now.model.version,
        )
        if keep and len(now.judged) < MOST_KEPT:
            now.judged[row] = found
        return found

    def draft(self, number: int, *, is_dry: bool = True) -> Draft:
        index = self._present.index
        members = index.members(number)
        return Draft(
            is_live=number >= index.snapshot.size,
            is_dry=is_dry,
            view=index.view_of(number),
            linked=self._named(number),
            cluster_id=public(index.first_of(members)) if len(members) > 1 else None,
            others=self._rows_and_ids(members[1:]),
        )

    def of_all_drafts(self, drafts: Sequence[Draft]) -> list[Judgement | None]:
        """The judgements on these; None on those that alone cannot be judged."""
        try:
            return list(self.of_drafts(drafts))
        except Exception:
            if len(drafts) == 1:
                raise
        judged: list[Judgement | None] = []
        for draft in drafts:
            try:
                judged += self.of_drafts([draft])
            except Exception as error:  # of this account alone
                log.error("an account cannot be scored", error=type(error).__name__, exc_info=error)
                judged.append(None)
        return judged

    def of_drafts(self, drafts: Sequence[Draft]) -> list[Judgement]:
        from dmp_assets.abuse.model.explain import explain
        from dmp_assets.abuse.model.models import probability

        if not drafts:
            return []
        now = self._present.now
        columns = {name: [draft.view.get(name) for draft in drafts] for name in VIEW.names}
        found = features.matrix(columns)
        likely = probability(now.model.pipeline, found)
        decisions = now.model.thresholds.decide(likely).tolist()
        flagged = [n for n, decision in enumerate(decisions) if decision != "allow"]
        explained = explain(now.model, found[flagged]) if flagged else None
        reasons: dict[int, list[dict[str, str | float]]] = {}
        if explained is not None:
            reasons = {n: explained.of(place) for place, n in enumerate(flagged)}
        ours = {
            str(draft.view["user_id"]): p
            for draft, p in zip(drafts, likely.tolist(), strict=True)
            if draft.is_live
        }
        judged = []
        for n, (draft, p, decision) in enumerate(
            zip(drafts, likely.tolist(), decisions, strict=True)
        ):
            why = reasons.get(n, [])
            limit = self._limit.on(draft.view) if draft.is_live else "allow"
            if limit != "allow":
                why = [self._limit.reason(draft.view), *why]
            is_limited = stricter(limit, decision)
            judged.append(
                Judgement(
                    probability=p,
                    decision=limit if is_limited else decision,
                    is_limited=is_limited,
                    reasons=why,
                    linked=draft.linked,
                    cluster_id=draft.cluster_id,
                    cluster_size=1 + len(draft.others),
                    expected_abusers=p + self._expected(draft.others, ours),
                    model_version=now.model.version,
                    features=found[n],
                )
            )
            if draft.is_live and not draft.is_dry:
                self._present.probability[str(draft.view["user_id"])] = p
                if draft.others:
                    now.judged.clear()  # their expected abusers count this one
        return judged

    def _named(self, number: int) -> list[str]:
        index = self._present.index
        named = (public(index.id_of(other)) for other in index.neighbours(number))
        return list(islice(dict.fromkeys(named), MOST_LINKED))

    def _rows_and_ids(self, numbers: list[int]) -> list[int | str]:
        """Known accounts by their row, live ones by their id, which outlives their number."""
        index = self._present.index
        return [n if n < index.snapshot.size else index.id_of(n) for n in numbers]

    def _expected(
        self, members: Sequence[int | str], ours: Mapping[str, float] = MappingProxyType({})
    ) -> float:
        """How many of these accounts abuse, by the sum of their probabilities.

        `ours`: probabilities that were found just now.
        """
        now = self._present.now
        return sum(
            float(now.probabilities[member])
            if isinstance(member, int)
            else ours.get(member, self._present.probability.get(member, 0.0))
            for member in members
        )
