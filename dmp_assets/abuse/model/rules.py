"""The rule list: what a fraud analyst would look for, with a weight each; model version 1.

A rule turns features into a strength between 0 (does not apply, or unknown) and 1. Its weight is
the evidence in log-odds that a full strength adds, from domain reasons alone (the `reason` of each
rule), never from labels. Thresholds are those of the domain, too: a household has up to five
people, a person needs minutes to confirm an e-mail, a rare value is one in a hundred.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt

from dmp_assets.abuse.model.features import COLUMN, Floats

BASE_RATE = 0.02
"""Share of abusers assumed before any label is known (published rates are 1–3 %)."""


class Columns:
    """A feature matrix addressed by feature name; NaN stays NaN."""

    def __init__(self, features: Floats) -> None:
        self._features = features

    def __getitem__(self, name: str) -> Floats:
        return self._features[:, COLUMN[name]]

    @cached_property
    def counter(self) -> Floats:
        """1 for a shop counter's shared tablet: many accounts over time, hardly ever elsewhere."""
        others = np.maximum(_others(self["device_others"]), 1)
        stays = _ramp(_others(self["device_networks"]) / others, 0.5, 0.2)
        slowly = _ramp(_others(self["device_day"]) / others, 0.5, 0.2)
        return _ramp(others, 4, 7) * stays * slowly


def _ramp(values: Floats, start: float, full: float) -> Floats:
    """0 at `start`, 1 at `full`, straight between; NaN stays NaN. `full` may lie below `start`."""
    return np.minimum(np.maximum((values - start) / (full - start), 0.0), 1.0)


def _others(values: Floats) -> Floats:
    """The count that a log(1 + others) feature came from."""
    return np.expm1(values)


@dataclass(frozen=True)
class Rule:
    """One thing to look for. `reason`: why it should count.

    `weight` is its log-odds at full strength in the rule list, which was written before any
    result was seen and stays as it is. `prior` is what a model that learns starts from: another
    value corrects the list by what simulated shops showed (never labels of a real one); a weight
    of 0 is a signal that came later and serves only models that learn.
    """

    code: str
    text: str
    weight: float
    reason: str
    strength: Callable[[Columns], Floats]
    learnt_prior: float | None = None

    @property
    def prior(self) -> float:
        return self.weight if self.learnt_prior is None else self.learnt_prior


RULES: tuple[Rule, ...] = (
    Rule("FAST_REDEMPTION", "redeemed a code within minutes of signing up", 1.5,
         "Who comes for the code alone redeems it first; honest customers also do, less often.",
         lambda f: _ramp(f["minutes_to_first_use"], 60, 12) * (f["minutes_to_first_use"] >= 0)),
    Rule("EAGER_FIRST_DAY", "redeemed several codes on the first day", 1.5,
         "A basket takes one code; several on day one are several baskets of a new customer.",
         lambda f: _ramp(_others(f["usages_first_day"]), 1, 4)),
    Rule("DORMANT_THEN_BURST", "slept for weeks, then redeemed several codes in a day", 3.0,
         "Accounts are aged to pass new-account checks and then spent at once.",
         lambda f: _ramp(f["minutes_to_first_use"] / 1440, 14, 45) * _ramp(f["busiest_day"], 1, 3),
         learnt_prior=0.5),
    Rule("REDEMPTION_BURST", "redeemed several codes within 24 hours", 1.5,
         "Customers redeem per order; orders come days apart.",
         lambda f: _ramp(f["busiest_day"], 1, 4)),
    Rule("CODE_REPEATED", "redeemed one code again and again", 1.0,
         "A code is meant for one order per customer.",
         lambda f: _ramp(f["code_repeats"], 1, 4)),
    Rule("OVER_LIMIT", "redeemed a code more often than its limit allows", 2.0,
         "The shop itself forbids it.", lambda f: _ramp(f["over_limit"], 0, 2)),
    Rule("USED_BEFORE_REGISTRATION", "redeemed before it was registered", 0.5,
         "Mostly clocks and imports; sometimes a re-created account.",
         lambda f: f["used_before_registration"]),
    Rule("DEVICE_CROWD", "device used by more accounts than a household has people", 2.5,
         "A device farm runs many accounts; a family of five is the honest extreme.",
         lambda f: _ramp(_others(f["device_others"]), 4, 7), learnt_prior=0.5),
    Rule("DEVICE_STRANGERS", "device shared with people of other names", 2.0,
         "A family mostly shares its name; invented customers do not.",
         lambda f: _ramp(_others(f["device_strangers"]), 0, 3), learnt_prior=0.5),
    Rule("DEVICE_BURST", "several accounts made on the device within a day", 2.0,
         "A family signs up over years, a farm in one sitting.",
         lambda f: _ramp(_others(f["device_day"]), 0, 2)),
    Rule("DEVICE_ROTATES_NETWORK", "shared device that registered from several networks", 2.0,
         "Proxies hide a farm behind changing addresses; a home has one or two.",
         lambda f: _ramp(_others(f["device_networks"]), 1, 4)
         * _ramp(_others(f["device_others"]), 0, 3)),
    Rule("DEVICE_SAME_CODE", "several accounts on the device redeemed the same code", 1.5,
         "One code per customer, taken several times by several accounts of one machine.",
         lambda f: _ramp(_others(f["device_code_others"]), 0, 3), learnt_prior=0.5),
    Rule("IP_FEW_DEVICES", "many accounts but few devices behind the IP address", 2.0,
         "Offices, campuses and carriers have a device per person.",
         lambda f: _ramp(f["ip_accounts_per_device"], 2, 5), learnt_prior=0.0),
    Rule("NETWORK_BURST", "sign-ups came in a burst from its network", 1.5,
         "Beyond what the network's size explains, a burst is one person or a script.",
         lambda f: _ramp(_others(f["network_burst"]), 1, 5)),
    Rule("USER_AGENT_BURST", "sign-ups came in a burst with its user agent", 1.0,
         "A script keeps its user agent; popular browsers are accounted for.",
         lambda f: _ramp(_others(f["user_agent_burst"]), 1, 5)),
    Rule("USER_AGENT_AUTOMATED", "user agent of a script or headless browser", 2.5,
         "Customers use browsers.", lambda f: f["user_agent_automated"]),
    Rule("MAILBOX_SHARED", "several accounts reach the same mailbox", 3.0,
         "Plus tags and dots make one mailbox look like many.",
         lambda f: _ramp(_others(f["email_others"]), 0, 2)),
    Rule("EMAIL_ALIAS", "e-mail address hides its mailbox behind a tag or dots", 0.7,
         "Mostly tidy people, now and then a second account.", lambda f: f["email_alias"]),
    Rule("EMAIL_SERIES", "e-mail is one of a numbered series made within a day", 3.0,
         "Scripts count up; people of the same name do not sign up on the same day.",
         lambda f: _ramp(_others(f["email_series_day"]), 0, 3)),
    Rule("EMAIL_DISPOSABLE", "e-mail of a throw-away mailbox provider", 1.5,
         "Made to be lost after one confirmation.", lambda f: f["email_disposable"]),
    Rule("EMAIL_RARE_DOMAIN", "e-mail domain that hardly anybody here uses", 0.7,
         "Own domains are rare; cheap throw-away domains look the same.",
         lambda f: _ramp(f["email_domain_share"], -2.5, -3.5)),
    Rule("EMAIL_INVALID", "e-mail address that cannot be one", 1.0,
         "Nobody can be reached there.", lambda f: f["email_invalid"]),
    Rule("EMAIL_DIGITS", "e-mail with four or more digits", 0.5,
         "Generated addresses need digits to be unique; a year of birth has up to four.",
         lambda f: _ramp(f["email_digits"], 2, 6)),
    Rule("EMAIL_RANDOM", "e-mail looks like random characters", 0.8,
         "Names repeat letters; random strings hardly do.",
         lambda f: _ramp(f["email_entropy"], 3.1, 3.7) * (f["email_has_name"] == 0)),
    Rule("PHONE_SHARED", "phone used by several accounts", 2.0,
         "A recycled number verifies account after account.",
         lambda f: _ramp(_others(f["phone_others"]), 0, 2)),
    Rule("PHONE_STRANGERS", "phone shared with people of other names", 1.5,
         "A family's phone has the family's name.",
         lambda f: _ramp(_others(f["phone_strangers"]), 0, 2)),
    Rule("PHONE_IMPOSSIBLE", "phone number that cannot exist, where most can", 1.5,
         "Typed to fill the field. Says nothing where the shop's phones are mostly invalid.",
         lambda f: f["phone_invalid"] * _ramp(f["phone_invalid_share"], 0.4, 0.2)),
    Rule("PHONE_UNUSUAL_FORM", "phone typed in a form that hardly anybody here uses", 1.0,
         "The shop's own form gives phones one form; others entered elsewhere.",
         lambda f: _ramp(f["phone_form_share"], -2.0, -3.0)),
    Rule("PHONE_EXTENSION", "phone with an extension", 1.0,
         "No text message reaches an extension, so it can never be verified.",
         lambda f: f["phone_extension"]),
    Rule("NOTHING_VERIFIED", "neither e-mail nor phone verified", 0.5,
         "Invented contacts cannot be confirmed; many honest people do not bother either.",
         lambda f: f["nothing_verified"]),
    Rule("SAME_PERSON", "same names and date of birth as another account", 2.0,
         "One person with several accounts; twins of one name are rare.",
         lambda f: _ramp(_others(f["identity_others"]), 0, 2)),
    Rule("NAME_UNUSUAL_FORM", "names written unlike nearly everybody's here", 1.0,
         "People write their name as a name; filled-in words and keys pressed at random are not.",
         lambda f: _ramp(f["name_form_share"], -1.7, -2.3)),
    Rule("AGE_IMPLAUSIBLE", "age that a customer does not have", 1.5,
         "Nobody over 100 or under 13 shops; only plausibility counts, not age.",
         lambda f: f["age_implausible"]),
    Rule("LEFT_OUT", "left out what nearly everybody here fills in", 1.0,
         "The shop's own form asks for it; a script need not.",
         lambda f: _ramp(f["missing_unusual"], 1.5, 2.5)),
    Rule("PLACE_INCOHERENT", "time zone that other customers of the city do not have", 1.5,
         "A machine elsewhere than the address it gives; travellers are the honest case.",
         lambda f: _ramp(f["city_timezone_share"], 0.3, 0.05)
         * _ramp(_others(f["city_others"]), 3, 10)),
    Rule("IP_IMPOSSIBLE", "IP address that the internet does not route", 0.7,
         "A forged header, or a proxy of the shop's own.",
         lambda f: np.fmax(f["ip_invalid"], f["ip_private"])),
    Rule("NIGHT_SIGN_UP", "signed up between 1 and 5 o'clock at night", 0.3,
         "Few people shop then; scripts do not sleep.",
         lambda f: ((f["hour_local"] >= 1) & (f["hour_local"] < 5)).astype(float)),
    Rule("BROWSER_OUTDATED", "browser many years older than the sign-up", 0.3,
         "Browsers update themselves; forged user agents stay.",
         lambda f: _ramp(f["browser_age"], 3, 8)),
    Rule("LINKED_TO_MANY", "linked to many accounts by rare attributes", 1.0,
         "One hand behind several accounts, whatever it shares.",
         lambda f: _ramp(f["cluster_size"], np.log(3), np.log(12))
         * (1 - np.nan_to_num(f.counter))),
    # Signals that came later: weight 0 in the list, for models that learn.
    Rule("DEVICE_FARM", "shared device that is no shop counter's, with strangers or many", 0.0,
         "A shop counter's tablet stays in place and collects sign-ups over months.",
         lambda f: np.fmax(_ramp(_others(f["device_strangers"]), 0, 3),
                           _ramp(_others(f["device_others"]), 4, 7)) * (1 - f.counter),
         learnt_prior=2.5),
    Rule("SCRIPT_BURST", "others of its city signed up with its user agent within the hour", 0.0,
         "A script has one address and one user agent; a campaign brings customers of all cities.",
         lambda f: _ramp(_others(f["city_user_agent_hour"]), 0, 3), learnt_prior=2.5),
    Rule("AWOKE", "redeemed nothing for weeks, then several codes within a week", 0.0,
         "A first order covers the account; then it is aged and spent at once.",
         lambda f: _ramp(np.expm1(f["days_asleep"]), 14, 45) * _ramp(f["woke_uses"], 1, 3),
         learnt_prior=3.0),
    Rule("WOKE_TOGETHER", "made in the same days as others, and woken with them weeks later", 0.0,
         "Accounts of one hand are made together and spent together.",
         lambda f: _ramp(_others(f["woke_together"]), 0, 4)
         * _ramp(np.expm1(f["days_asleep"]), 7, 21), learnt_prior=2.5),
    Rule("TOP_DISCOUNTS", "redeems only the most valuable codes", 0.0,
         "Who collects discounts takes the best; customers take what their basket needs.",
         lambda f: _ramp(f["discount_rank"], 0.7, 0.95), learnt_prior=0.7),
    Rule("EMAIL_MIXED", "e-mail mixes digits between letters", 0.0,
         "People put digits last, generators anywhere.",
         lambda f: _ramp(f["email_mixed"], 0, 2) * (f["email_has_name"] == 0), learnt_prior=0.8),
)  # fmt: skip

CODES: tuple[str, ...] = tuple(rule.code for rule in RULES)
WEIGHTS: npt.NDArray[np.float64] = np.array([rule.weight for rule in RULES])
PRIORS: npt.NDArray[np.float64] = np.array([rule.prior for rule in RULES])
TEXTS: dict[str, str] = {rule.code: rule.text for rule in RULES}
INTERCEPT = float(np.log(BASE_RATE / (1 - BASE_RATE))) - 1.0
"""Log-odds of an account on which no rule fires: below the base rate, which includes those."""


KINDS = ("redemption", "device", "network", "e-mail", "phone", "identity")
"""Kinds of evidence that rules speak of."""
_KIND_OF = {
    "DORMANT_THEN_BURST": 0, "CODE_REPEATED": 0, "OVER_LIMIT": 0, "USED_BEFORE_REGISTRATION": 0,
    "FAST_REDEMPTION": 0, "EAGER_FIRST_DAY": 0, "REDEMPTION_BURST": 0, "AWOKE": 0,
    "WOKE_TOGETHER": 0, "TOP_DISCOUNTS": 0, "LINKED_TO_MANY": 1, "IP_FEW_DEVICES": 2,
    "NETWORK_BURST": 2, "USER_AGENT_BURST": 2, "USER_AGENT_AUTOMATED": 2, "SCRIPT_BURST": 2,
    "IP_IMPOSSIBLE": 2, "BROWSER_OUTDATED": 2, "NIGHT_SIGN_UP": 2, "PLACE_INCOHERENT": 2,
    "MAILBOX_SHARED": 3, "NOTHING_VERIFIED": 5, "SAME_PERSON": 5, "NAME_UNUSUAL_FORM": 5,
    "AGE_IMPLAUSIBLE": 5, "LEFT_OUT": 5,
}  # fmt: skip
_BY_PREFIX = {"DEVICE_": 1, "EMAIL_": 3, "PHONE_": 4}
KIND: npt.NDArray[np.int64] = np.array(
    [
        _KIND_OF[code]
        if code in _KIND_OF
        else next(kind for prefix, kind in _BY_PREFIX.items() if code.startswith(prefix))
        for code in CODES
    ]
)
"""Place in `KINDS` of what each rule speaks of."""


def loudest(strengths: Floats) -> npt.NDArray[np.int64]:
    """Place in `KINDS` of the evidence that weighs most on each account, by the priors."""
    weighed = strengths * PRIORS
    by_kind = [weighed[:, number == KIND].sum(axis=1) for number in range(len(KINDS))]
    return np.asarray(np.argmax(np.column_stack(by_kind), axis=1))


FEW = 32
"""Of so many accounts the strengths are remembered: who scores them asks for the reasons next."""


def strengths(features: Floats) -> Floats:
    """Strength of every rule on every account, shape (rows, len(RULES)), in [0, 1], no NaN."""
    if len(features) <= FEW:
        return _of_few(np.ascontiguousarray(features, dtype=np.float64).tobytes())
    return _strengths(features)


@lru_cache(maxsize=8)
def _of_few(rows: bytes) -> Floats:
    found = _strengths(np.frombuffer(rows, dtype=np.float64).reshape(-1, len(COLUMN)))
    found.flags.writeable = False
    return found


def _strengths(features: Floats) -> Floats:
    columns = Columns(features)
    result = np.empty((features.shape[0], len(RULES)))
    with np.errstate(over="ignore", invalid="ignore"):
        for position, rule in enumerate(RULES):
            result[:, position] = rule.strength(columns)
    return np.fmin(np.fmax(result, 0.0), 1.0)  # the number of the two, where one is none
