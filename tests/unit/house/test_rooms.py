"""What domains bring to the command line, the store's history, settings and the index of reports;
what the platform gives to a source of theirs."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from alembic.script import ScriptDirectory
from pydantic import BaseModel, SecretStr

from dmp_assets import domains
from dmp_assets.attribution.settings import AttributionSettings
from dmp_assets.cli import main
from dmp_assets.home import Home
from dmp_assets.platform.api.app import templates
from dmp_assets.platform.cleaning import landed
from dmp_assets.platform.cleaning.received import Received
from dmp_assets.platform.cleaning.received_columns import FURTHER
from dmp_assets.platform.connect.errors import ConnectError, StatusError
from dmp_assets.platform.connect.http import HttpClient, HttpService
from dmp_assets.platform.connect.oauth import CLIENT_CREDENTIALS
from dmp_assets.platform.connect.own import connected
from dmp_assets.platform.faces.service import Entry
from dmp_assets.platform.lake.columns import differences
from dmp_assets.platform.reporting import document
from dmp_assets.platform.reporting.report_spec import reports_of_domains
from dmp_assets.platform.store import database
from dmp_assets.settings import project_dir
from tests.support.oauth import QUICK, Service, running


# commands ----------------------------------------------------------------------------------------
def test_the_commands_of_domains_are_listed_after_run_and_imported_when_asked_for() -> None:
    commands = main._Loaded()
    names = list(commands)
    assert len(names) == len(set(names)) == len(commands)
    brought = [n for room in domains.rooms("commands").values() for n in room.COMMANDS]
    at = names.index("run") + 1
    assert brought and names[at : at + len(brought)] == brought
    assert commands["attribution"].name == "attribution"
    with pytest.raises(KeyError):
        commands["no such command"]


def test_a_command_that_is_there_already_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    room = SimpleNamespace(COMMANDS={"run": print})
    monkeypatch.setattr(domains, "rooms", lambda name: {"other": room})
    with pytest.raises(ValueError, match="other brings the command run, which is there already"):
        main._brought()


# the store, settings, reports --------------------------------------------------------------------
def test_the_migrations_of_platform_and_domains_are_one_line(tmp_path: Path) -> None:
    scripts = list(ScriptDirectory.from_config(database._config()).walk_revisions())
    assert len(scripts) >= 5
    assert [int(script.revision) for script in scripts] == list(range(len(scripts), 0, -1))
    assert all(len(script.revision) == 4 for script in scripts)
    folders = {Path(script.path).parent.parent.parent.name for script in scripts}
    assert folders == {"store", "service"}
    assert database._said_to_alembic(tmp_path / "50%") == f"{tmp_path}/50%%"


def test_settings_are_given_as_a_domain_declares_them(home: Home) -> None:
    assert home.settings().of(AttributionSettings).half_life_days == 7

    class Others(BaseModel):
        """Of nobody."""

    with pytest.raises(TypeError, match="Others are the settings of no domain"):
        home.settings().of(Others)


def test_every_report_is_called_as_its_document_calls_it() -> None:
    specs = [spec for listed in reports_of_domains().values() for spec in listed]
    titles = {
        spec.name: document.read(project_dir() / "reports" / f"{spec.name}.qmd").front["title"]
        for spec in specs
    }
    assert {spec.name: spec.title for spec in specs} == titles


# rows of a service -------------------------------------------------------------------------------
def test_rows_of_a_service_are_kept_whole_as_text() -> None:
    rows = [{"id": "a", "n": 1.5, "list": [1, "ö"]}, {"id": None, "new": "x"}]
    received = {
        "id": Received("id", "The thing.", personal=None),
        "n": Received("amount", "How much.", personal=None),
    }
    table = landed.table(rows, received, "Service")
    assert differences(landed.columns(received), table.schema, FURTHER) == []
    kept = table.select(["id", "n", "list", "new", "_row_id", "_source"]).to_pylist()
    assert kept == [
        {
            "id": "a",
            "n": "1.5",
            "list": '[1, "ö"]',
            "new": None,
            "_row_id": 0,
            "_source": "Service",
        },
        {"id": None, "n": None, "list": None, "new": "x", "_row_id": 1, "_source": "Service"},
    ]
    empty = landed.table([], received, "Service")
    assert differences(landed.columns(received), empty.schema) == []


# a connection by our own credentials -------------------------------------------------------------
@pytest.fixture
def live(tmp_path: Path, store_url: SecretStr, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("DMP_STORE_URL", store_url.get_secret_value())
    return Home(tmp_path / "live").prepare("live")


def listed(home: Home, service: Service, path: str) -> int:
    client = service.client(renewal=CLIENT_CREDENTIALS)
    with (
        connected(home, client, "us") as credentials,
        HttpClient(
            HttpService(
                url=service.url, credentials=credentials, patience=QUICK, loopback_only=True
            )
        ) as http,
    ):
        return len(http.get(path).checked().object()["data"])


def state(url: SecretStr) -> tuple[str, bool, str | None]:
    """Of the only connection: state, whether it went well once, kind of the last failure."""
    store = database.engine(url, pool_size=1)
    with store.connect() as connection:
        row = connection.execute(
            sa.text(
                "SELECT state, last_success_at IS NOT NULL, last_failure_kind "
                "FROM service_connection"
            )
        ).one()
    store.dispose()
    return row[0], row[1], row[2]


def test_a_connection_is_made_once_and_how_it_goes_is_noted(
    live: Home, store_url: SecretStr, tmp_path: Path
) -> None:
    with running(tmp_path / "one") as service:
        assert [listed(live, service, "items") for _ in range(2)] == [10, 10]
        assert len(service.calls("token")) == 1
        assert state(store_url) == ("active", True, None)
        with pytest.raises(StatusError):
            listed(live, service, "nowhere")
        assert state(store_url)[2] is not None
    with running(tmp_path / "two") as service:  # which does not know the token any more
        assert listed(live, service, "items") == 10
        assert len(service.calls("token")) == 1


def test_without_a_store_nothing_is_connected(home: Home, tmp_path: Path) -> None:
    with (
        running(tmp_path / "one") as service,
        pytest.raises(ConnectError, match="there is none: run `dmp migrate`"),
    ):
        listed(home, service, "items")


# the first page ----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("link", "shown"),
    [
        ("Orders", '<a href="/x">Orders</a> that came back.'),
        ("", '<a href="/x"> that came back.</a>'),
    ],
)
def test_an_entry_of_the_first_page_leads_by_its_words(link: str, shown: str) -> None:
    entry = Entry("/x", " that came back.", "x:read", title="Refunds", link=link)
    page = templates().get_template("home.html")
    text = page.render(
        who=None, headlines=[], reports=[], may={"x:read"}, meanings={}, titles=[], entries=[entry]
    )
    assert f"<p>{shown}</p>" in text
