"""What the account view counts of one account: those that share a value with it, and count."""

from collections import Counter
from typing import Any

import numpy as np

from dmp_assets.abuse.model.holders import CITY_AGENT, CITY_ZONE, IDENTITY_KEYS, Holders
from dmp_assets.abuse.model.keys import NO_KEY, POSITION
from dmp_assets.abuse.model.roster import Roster
from dmp_assets.abuse.model.totals import Totals

_DAY, _HOUR = 86_400_000_000, 3_600_000_000  # microseconds


class ViewCounts:
    """Counts as of now; the account itself is counted."""

    def __init__(self, roster: Roster, holders: Holders, totals: Totals) -> None:
        self._snapshot, self._live = roster.snapshot, roster.live
        self._holders, self._totals = holders, totals

    def of(self, own: tuple[int, ...], created: int, codes: list[str]) -> dict[str, Any]:
        """Of an account with these keys that registered at a time and redeemed these codes."""

        holders = self._holders

        def key(name: str) -> int:
            return own[POSITION[name]]

        crowds = {
            name for name, kind in IDENTITY_KEYS.items() if holders.is_crowd(name, kind, key(name))
        }

        def total(name: str) -> int | None:
            """All that share it, whatever they are."""
            return None if key(name) == NO_KEY else holders.total(POSITION[name], key(name))

        def against(name: str, width: int | None = None) -> int | None:
            if key(name) == NO_KEY:
                return None
            if name in crowds:
                return 1
            return holders.against(POSITION[name], key(name), created, width)

        def distinct(name: str, of: str) -> int | None:
            if key(name) == NO_KEY:
                return None
            if name in crowds:
                return int(key(of) != NO_KEY)
            return holders.distinct(POSITION[name], key(name), POSITION[of], created)

        phone = "phone_key" if key("phone_key") != NO_KEY else "typed_key"
        agents = total("agent_key")
        first, last = holders.window(created, _HOUR)
        return {
            "device_accounts": against("device_key"),
            "device_last_names": distinct("device_key", "family"),
            "device_networks": distinct("device_key", "network_key"),
            "device_day": against("device_key", _DAY),
            "device_code_accounts": self._same_code(key("device_key"), codes, created)
            if "device_key" not in crowds and (total("device_key") or 0) > 1
            else None,
            "phone_accounts": against(phone),
            "phone_last_names": distinct(phone, "family"),
            "email_accounts": against("email_key"),
            "email_series": against("series_key"),
            "email_series_day": against("series_key", _DAY),
            "identity_accounts": against("identity_key"),
            "ip_accounts": against("ip_key"),
            "ip_devices": self._ip_devices(key("ip_key"), created),
            "network_accounts": total("network_key"),
            "network_hour": against("network_key", _HOUR),
            "user_agent_accounts": agents,
            "user_agent_hour": against("agent_key", _HOUR),
            "city_user_agent_hour": self._city_agent(key("agent_key"), key("city_key"), created)
            if agents and agents > 1 and key("city_key") != NO_KEY
            else None,
            "all_hour": last - first + self._totals.live_within(created, _HOUR),
            "email_domain_accounts": total("domain_key"),
            "name_form_accounts": total("name_key"),
            "phone_form_accounts": total("form_key"),
            "city_accounts": total("city_key"),
            "city_timezone_accounts": self._place(key("city_key"), key("zone_key")),
        }

    def _ip_devices(self, ip: int, created: int) -> int | None:
        """Devices behind an address; accounts without a usable one count as one each."""
        if ip == NO_KEY:
            return None
        holders = self._holders
        place, device = POSITION["ip_key"], POSITION["device_key"]
        rows = holders.rows_against(place, ip, created)
        found = Counter(self._snapshot.keys[device][rows].tolist())
        found.update(self._live[n].keys[device] for n in holders.live_against(place, ip, created))
        return sum(
            accounts if key == NO_KEY or holders.is_no_device(key) else 1
            for key, accounts in found.items()
        )

    def _same_code(self, device: int, codes: list[str], created: int) -> int | None:
        """Most accounts of the device that redeemed one code of these; None without codes."""
        if not codes:
            return None
        holders = self._holders
        place = POSITION["device_key"]
        used = [
            self._snapshot.value_of(row, "codes_used") or []
            for row in holders.rows_against(place, device, created).tolist()
        ]
        used += [
            [code]
            for number in holders.live_against(place, device, created)
            if (code := self._live[number].promo_code)
        ]
        return max(sum(code in redeemed for redeemed in used) for code in codes)

    def _city_agent(self, agent: int, city: int, created: int) -> int:
        holders = self._holders
        place, city_place = POSITION["agent_key"], POSITION["city_key"]
        rows = holders.rows_against(place, agent, created, _HOUR)
        known = int((self._snapshot.keys[city_place][rows] == np.uint64(city)).sum())
        return known + len(
            holders.live_against(CITY_AGENT, (city, agent), created, _HOUR, by=place)
        )

    def _place(self, city: int, zone: int) -> int | None:
        if NO_KEY in (city, zone):
            return None
        holders = self._holders
        place, zone_place = POSITION["city_key"], POSITION["zone_key"]
        rows = self._snapshot.rows_of(place, city)
        known = int((self._snapshot.keys[zone_place][rows] == np.uint64(zone)).sum())
        return known + len(holders.live_with(CITY_ZONE, (city, zone)))
