"""What is known of accounts at this moment, for who asks: in the review, and on pages."""

from datetime import datetime
from typing import Any

from dmp_assets.abuse.model.clusters import Cluster
from dmp_assets.abuse.model.index import AccountIndex
from dmp_assets.abuse.model.snapshot import Snapshot
from dmp_assets.abuse.model.store import Model
from dmp_assets.abuse.service.judged import Judgement
from dmp_assets.abuse.service.judging import Judge
from dmp_assets.abuse.service.present import Present
from dmp_assets.abuse.service.refs import named_publicly, public
from dmp_assets.platform.values import words
from dmp_assets.sources.shop.settings import ShopSettings


class Accounts:
    """Answers questions about the present, one at a time and between two batches."""

    def __init__(self, present: Present, judge: Judge) -> None:
        self._present, self._judge = present, judge

    @property
    def index(self) -> AccountIndex:
        """The accounts, for who is sure that nothing is scored meanwhile."""
        return self._present.index

    @property
    def model(self) -> Model:
        return self._present.now.model

    @property
    def promoted_at(self) -> datetime | None:
        return self._present.now.promoted_at

    def attributes(self, account_id: str) -> dict[str, Any] | None:
        """The account's own attributes and `is_new`; None when nobody knows it."""
        with self._present.lock:
            return self.index.attributes(self._present.owners.latest(account_id))

    @property
    def snapshot(self) -> Snapshot:
        """The known accounts."""
        return self.index.snapshot

    def codes(self, account_id: str) -> list[str]:
        """Codes that the account redeemed by the snapshot, or is about to redeem."""
        with self._present.lock:
            index = self.index
            row = index.snapshot.row_of(account_id)
            if row is not None:
                return list(index.snapshot.value_of(row, "codes_used") or ())
            live = index.live_of(self._present.owners.latest(account_id))
            return [live.promo_code] if live is not None and live.promo_code else []

    def search(self, text: str) -> list[str]:
        """Accounts by id, e-mail, phone, device or IP, at most 50."""
        with self._present.lock:
            found = self.index.search(text, self._present.settings.of(ShopSettings).phone_region)
            name = self._present.owners.latest(words.plain("id", text))
            if self.index.number(name) is not None:
                found.insert(0, name)
        return list(dict.fromkeys(map(public, found)))

    def cluster(self, account_id: str, at_most: int = 60) -> Cluster:
        """The account's cluster; that of an account that nobody knows is itself."""
        with self._present.lock:
            name = self._present.owners.latest(account_id)
            if self.index.number(name) is None:
                return Cluster((account_id,), (), 1)
            return named_publicly(self.index.cluster(name, at_most))

    def judge(self, account_id: str) -> Judgement | None:
        """What the model says of an account now; None when nobody knows it. Logs nothing."""
        with self._present.lock:
            return self._judge.now(account_id)
