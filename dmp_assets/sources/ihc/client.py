"""Client of the IHC attribution service: journeys in, credits out, no answer paid for twice.

`POST <url>/v1/compute_ihc?conv_type_id=…` with the key in `x-api-key` takes whole journeys, up to
100 in a request and 3,000 sessions (200 on the free plan). Each answer is checked and on disk
before it counts, so a run that ends half-way is taken up where it stopped.
"""

import hashlib
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count, islice
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
from pydantic import SecretStr

from dmp_assets.platform.base.addresses import is_loopback
from dmp_assets.platform.base.answers import retry_after, said
from dmp_assets.platform.connect.answer import HttpAnswer
from dmp_assets.platform.connect.errors import (
    AddressError,
    ConnectError,
    NoAnswerError,
    StatusError,
    TryAgainError,
)
from dmp_assets.platform.connect.http import HttpClient, HttpService, Patience
from dmp_assets.sources.ihc.answers import (
    CREDITS,
    Answer,
    AnswerError,
    AnswerStore,
    Credits,
    Verdict,
    judge,
    parse,
    shorten,
    unnamed,
)
from dmp_assets.sources.ihc.journeys import (
    IhcError,
    Journey,
    Redistribution,
    batches,
    split_journeys,
)

_PATH = "v1/compute_ihc"
_LONGEST_PAUSE = 30.0
_LOST_BATCHES = 3
"""So many batches in a row that gave no credits end the run: the service is down or broken."""
_REFUSALS = 25
"""So many refusals in a row for each request at a time end the run: no single journey is the cause.

Halving down to one bad journey among 100 takes up to 8 before something is accepted."""
_CHUNK = 1_000


@dataclass(frozen=True)
class IhcConfig:
    """How to reach the service.

    `url`: its base URL. `conversion_type`: id of a conversion type that the service was trained
    for. `max_journeys`, `max_sessions`: limits of one request. `concurrency`: requests at a time.
    `timeout`: seconds to wait for each step of a request. A batch is tried `attempts` times, the
    first pause is `pause` seconds and doubles, and all pauses and tries together end after
    `patience` seconds. Raises IhcError for values that cannot work.
    """

    url: str
    api_key: SecretStr
    conversion_type: str
    max_journeys: int = 100
    max_sessions: int = 200
    concurrency: int = 4
    timeout: float = 30
    attempts: int = 6
    redistribution: Redistribution | None = None
    pause: float = 0.5
    patience: float = 300

    def __post_init__(self) -> None:
        address = urlsplit(self.url)
        if address.scheme not in ("http", "https") or not address.hostname:
            raise IhcError("the IHC address must be a URL such as https://api.example.com")
        if address.scheme == "http" and not is_loopback(address.hostname):
            raise IhcError("the IHC address must start with https: the key travels with a request")
        key = self.api_key.get_secret_value()
        if not key or not key.isascii() or not key.isprintable() or key != key.strip():
            raise IhcError("the IHC key is empty or holds characters that no header can carry")
        if not self.conversion_type:
            raise IhcError("set the IHC conversion type to the id of a trained one")
        if min(self.max_journeys, self.max_sessions, self.concurrency, self.attempts) < 1:
            raise IhcError("the limits of the IHC client must be at least 1")


@dataclass(frozen=True)
class Calls:
    """What a run cost.

    `sent`: requests, of which `repeated` were tries after a failed one; `halved`: batches cut in
    two because the service refused them; `reused`: conversions whose answer was on disk.
    """

    sent: int
    repeated: int
    halved: int
    reused: int


@dataclass(frozen=True)
class Attribution:
    """Credits, and what has none.

    `credits`: conv_id, session_id, initializer, holder, closer, ihc, in the order of the journeys.
    `failed`: conv_id → reason. `oversized`: conv_ids with more sessions than a request takes.
    Every conversion is in exactly one of the three.
    """

    credits: pa.Table
    failed: dict[str, str]
    oversized: tuple[str, ...]
    calls: Calls


def service_of(url: str) -> str:
    """Which service a URL names: on loopback its path alone, because a stand-in's port changes."""
    address = urlsplit(url)
    return address.path if is_loopback(address.hostname or "") else url


def compute(journeys: pa.Table, config: IhcConfig, store: AnswerStore) -> Attribution:
    """Credits of the journeys (see `ihc_journeys`), asked of the service unless in the store.

    A service that fails, refuses or answers nonsense raises nothing: what it costs is in `failed`,
    what was answered before is kept. Raises IhcError for journeys that are not in order and for a
    store that cannot be written.
    """
    client = HttpClient(
        HttpService(
            url=config.url,
            headers={
                "x-api-key": config.api_key.get_secret_value(),
                "content-type": "application/json",
            },
            patience=Patience(config.attempts, config.pause, _LONGEST_PAUSE, config.patience),
            timeout=config.timeout,
            connections=config.concurrency,
        )
    )
    with client:
        run = _Run(config, store, client, journeys.num_rows)
        run.all(journeys)
    known = ~np.isnan(run.credits[:, 0])
    columns = {
        "conv_id": journeys["conv_id"].cast(pa.string()),
        "session_id": journeys["session_id"].cast(pa.string()),
    } | {name: run.credits[:, place] for place, name in enumerate(CREDITS)}
    return Attribution(
        credits=pa.table(columns).filter(pa.array(known)),
        failed=run.failed,
        oversized=tuple(run.oversized),
        calls=Calls(run.sent, run.repeated, run.halved, run.reused),
    )


class _Again(TryAgainError):
    """The request failed in a way that may pass."""


class _Refused(Exception):
    """The service does not take this batch."""


class _Closed(Exception):
    """The service takes no batch at all."""


class _Run:
    """One computation: its threads take batches in turn and settle each of them."""

    def __init__(
        self, config: IhcConfig, store: AnswerStore, client: HttpClient, rows: int
    ) -> None:
        self.credits = np.full((rows, len(CREDITS)), np.nan)
        self.failed: dict[str, str] = {}
        self.oversized: list[str] = []
        self.sent = self.repeated = self.halved = self.reused = 0
        self._config, self._store, self._client = config, store, client
        rule = config.redistribution
        self._parameters = rule and json.dumps(rule.model_dump(mode="json"), ensure_ascii=False)
        service = service_of(f"{config.url.rstrip('/')}/{_PATH}")
        asked = json.dumps([service, config.conversion_type, self._parameters])
        self._context = hashlib.sha256(asked.encode())
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._why_over = ""
        self._limits = {
            "lost batches": _LOST_BATCHES,
            "refusals": _REFUSALS * config.concurrency,
        }
        self._in_a_row = dict.fromkeys(self._limits, 0)

    def all(self, journeys: pa.Table) -> None:
        config = self._config
        todo = batches(self._unanswered(journeys), config.max_journeys, config.max_sessions)
        with ThreadPoolExecutor(config.concurrency, thread_name_prefix="ihc") as pool:
            threads = [pool.submit(self._work, todo) for _ in range(config.concurrency)]
            try:
                for thread in threads:
                    thread.result()
            except BaseException:
                self._end("the run was ended")
                raise

    def _unanswered(self, journeys: pa.Table) -> Iterator[Journey]:
        """The journeys that a request can take and whose answer is not in the store."""
        everything = split_journeys(journeys)
        while chunk := list(islice(everything, _CHUNK)):
            keys = [self._key(journey) for journey in chunk]
            found = self._store.find(keys)
            for journey, key in zip(chunk, keys, strict=True):
                if len(journey) > self._config.max_sessions:
                    self.oversized.append(journey.conv_id)
                elif key in found:
                    self._take(journey, found[key])
                    self.reused += 1
                else:
                    yield journey

    def _key(self, journey: Journey) -> str:
        digest = self._context.copy()
        digest.update(journey.content.encode())
        return digest.hexdigest()

    def _take(self, journey: Journey, credits: Credits) -> None:
        self.credits[journey.start : journey.start + len(journey)] = credits

    def _work(self, todo: Iterator[tuple[Journey, ...]]) -> None:
        try:
            while True:
                with self._lock:
                    batch = next(todo, None)
                if batch is None:
                    return
                self._settle(batch)
        except BaseException:
            self._end("the run was ended")
            raise

    def _settle(self, batch: tuple[Journey, ...]) -> None:
        """Ask until every journey of the batch has credits or a reason.

        What the service refuses is halved, so that one bad journey costs only itself.
        """
        parts = [batch]
        while parts:
            part = parts.pop()
            try:
                verdict = self._ask(part)
            except _Refused as refused:
                if len(part) == 1:
                    self._fail(part, str(refused))
                else:
                    half = len(part) // 2
                    parts += [part[half:], part[:half]]
                    self._count(halved=1)
                self._setback("refusals", str(refused))
            except _Again as lost:
                self._fail(part, str(lost))
                self._setback("lost batches", str(lost))
            except _Closed as closed:
                self._end(str(closed))
                self._fail(part, str(closed))
            else:
                self._keep(part, verdict)

    def _ask(self, part: tuple[Journey, ...]) -> Verdict:
        """The judged answer to one request, after as many tries as are granted.

        Raises _Refused, _Closed, and _Again when no try is left.
        """
        content = ",".join(journey.content for journey in part)
        extra = f',"redistribution_parameter":{self._parameters}' if self._parameters else ""
        body = f'{{"customer_journeys":[{content}]{extra}}}'.encode()
        tries = count(1)

        def before() -> None:
            if self._over.is_set():
                raise _Closed(self._why_over)
            self._count(sent=1, repeated=int(next(tries) > 1))

        def read(response: HttpAnswer) -> Verdict:
            try:
                return judge(part, self._answer(response, part))
            except AnswerError as error:
                raise _Again(self._clean(str(error))) from error

        try:
            return self._client.send(
                "POST", _PATH, params={"conv_type_id": self._config.conversion_type}, content=body,
                repeatable=True, read=read, before=before, stop=self._over,
            )  # fmt: skip
        except NoAnswerError as error:
            raise _Again(f"no answer from the service ({error.kind})") from error
        except (StatusError, AddressError) as error:
            raise _Closed(f"{error}; check the service's address") from error
        except TryAgainError:
            raise
        except ConnectError as error:
            raise _Again(str(error)) from error

    def _answer(self, response: HttpAnswer, part: tuple[Journey, ...]) -> Answer:
        """The answer of a response that holds one; raises by what its status means otherwise."""
        status, answer = response.status, Answer()
        if response.is_success:
            answer = parse(response.body)
            status = answer.statusCode or status
        if status in (200, 206):
            if answer.value is None:
                raise AnswerError("the answer holds no value")
            return answer
        told = f"the service answers {status}: {self._clean(unnamed(said(response.body), part))}"
        if status in (401, 403):
            raise _Closed(f"the service refuses the key ({status}); set the right one")
        if status in (408, 429) or status >= 500:
            wait = retry_after(response.headers.get("retry-after"), datetime.now(UTC))
            raise _Again(told, seconds=wait)
        if status in (400, 413, 422):
            raise _Refused(told)
        raise _Closed(f"{told}; check the service's address")

    def _clean(self, text: str) -> str:
        return shorten(text.replace(self._config.api_key.get_secret_value(), "<the key>"))

    def _keep(self, part: tuple[Journey, ...], verdict: Verdict) -> None:
        good = [journey for journey in part if journey.conv_id in verdict.credits]
        self._store.keep({self._key(j): (j.conv_id, verdict.credits[j.conv_id]) for j in good})
        with self._lock:
            if good:
                self._in_a_row = dict.fromkeys(self._limits, 0)
            self.failed |= {name: self._clean(why) for name, why in verdict.failed.items()}
            for journey in good:
                self._take(journey, verdict.credits[journey.conv_id])
        if not good:
            self._setback("lost batches", self.failed[part[0].conv_id])

    def _fail(self, part: tuple[Journey, ...], reason: str) -> None:
        with self._lock:
            self.failed |= dict.fromkeys((journey.conv_id for journey in part), reason)

    def _setback(self, kind: str, reason: str) -> None:
        """Count a setback; too many of its kind with no success between end the run."""
        with self._lock:
            self._in_a_row[kind] += 1
            ends = self._in_a_row[kind] >= self._limits[kind]
        if ends:
            self._end(f"not asked after {self._limits[kind]} {kind} in a row; the last: {reason}")

    def _end(self, reason: str) -> None:
        """Nothing is asked from now on; what is left fails for this reason."""
        with self._lock:
            self._why_over = self._why_over or reason
        self._over.set()

    def _count(self, *, sent: int = 0, repeated: int = 0, halved: int = 0) -> None:
        with self._lock:
            self.sent += sent
            self.repeated += repeated
            self.halved += halved
