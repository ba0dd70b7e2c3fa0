"""What the command line says and does where no whole demo is needed."""

import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
import typer
from deltalake import write_deltalake
from pydantic import SecretStr
from typer.testing import CliRunner

import dmp_assets
from dmp_assets import domains
from dmp_assets.cli.main import app
from dmp_assets.cli.shared import explained
from dmp_assets.cli.summary import print_summary
from dmp_assets.definitions import defs
from dmp_assets.home import Home, HomeError
from dmp_assets.platform.base.errors import UserError
from dmp_assets.platform.lake import class_archive, java
from dmp_assets.platform.run.child import _selected
from dmp_assets.platform.run.outside import missing_parts
from dmp_assets.platform.run.results import RunSummary
from dmp_assets.platform.store import database


def test_a_message_is_shown_as_it_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended, explained():
        raise HomeError("for Redis: pip install dmp_assets[redis]")
    assert ended.value.exit_code == 1
    assert capsys.readouterr().err.strip() == "✗ for Redis: pip install dmp_assets[redis]"


@pytest.mark.parametrize(
    ("given", "seed", "code"),
    [
        (["sample", "{}/out"], "seven", 2),
        (["client", "add", "shop", "--scope", "abuse:score", "--expires", "soon"], "7", 2),
        (["report", "nowhere"], "7", 1),
    ],
)
def test_what_was_given_and_cannot_be_used_is_told_from_what_is_missing(
    given: list[str], seed: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DMP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DMP_DEMO_SEED", seed)
    ran = CliRunner().invoke(app, [word.format(tmp_path) for word in given])
    assert ran.exit_code == code, ran.output
    assert ran.output.count("\u2717") == 1 and "Traceback" not in ran.output


def test_a_fault_of_the_program_is_not_told_as_if_a_person_could_mend_it() -> None:
    with pytest.raises(ValueError, match="not enough values"), explained():
        raise ValueError("not enough values to unpack")


def test_people_are_made_with_a_password_or_for_openid_connect(
    tmp_path: Path, shop_url: SecretStr, monkeypatch: pytest.MonkeyPatch
) -> None:
    Home(tmp_path / "home").prepare("live")
    monkeypatch.setenv("DMP_PROJECT_DIR", str(tmp_path))
    monkeypatch.setenv("DMP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DMP_STORE_URL", shop_url.get_secret_value())
    store = database.engine(shop_url)
    database.migrate(store)
    store.dispose()

    def dmp(*words: str, given: str = "") -> str:
        ran = CliRunner().invoke(app, words, input=given)
        assert ran.exit_code == 0, ran.output
        return ran.output

    password = "correct horse battery\n"
    said = dmp("user", "add", "ann@x.io", "--role", "risk", "--oidc")
    assert said == "ann@x.io can log in as risk by OpenID Connect\n"
    assert dmp("user", "add", "ben@x.io", "--role", "admin", given=password) == (
        "ben@x.io can log in as admin\n"
    )
    dmp("user", "password", "ann@x.io", given=password)
    dmp("user", "password", "ben@x.io", "--oidc")
    _, ann, ben = dmp("user", "list").splitlines()
    assert ann.split() == ["ann@x.io", "risk", "password", "active"]
    assert ben.split() == ["ben@x.io", "admin", "OpenID", "Connect", "active"]


def test_what_one_user_has_set_up_another_can_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jars = tmp_path / "jars"
    monkeypatch.setenv("DMP_JARS_DIR", str(jars))
    monkeypatch.setattr(java, "install_java", lambda _: tmp_path)

    def fetch(report: Callable[[str], None], which: str) -> int:
        jars.mkdir()
        (jars / "some.jar").touch()
        return 1

    def archive(path: Path) -> bool:
        path.touch()
        return True

    monkeypatch.setattr(java, "fetch_jars", fetch)
    monkeypatch.setattr(java, "jar_paths", list)
    monkeypatch.setattr(class_archive, "make", archive)
    before = os.umask(0o077)
    try:
        ran = CliRunner().invoke(app, ["setup"])
    finally:
        os.umask(before)
    assert ran.exit_code == 0, ran.output
    assert len(made := list(jars.iterdir())) == 2
    assert [oct(path.stat().st_mode & 0o777) for path in (jars, *made)] == [
        "0o755", "0o644", "0o644",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "likely"),
    [
        (["show", "cleaned/userz"], "cleaned/users"),
        (["show", "clean/users"], "cleaned/users"),
        (["show", "cleaned.user"], "cleaned/users"),
        (["show", "user"], "cleaned/users"),
        (["report", "promo_abus"], "promo_abuse"),
        (["report", "Data-Quality"], "data_quality"),
    ],
)
def test_a_misspelled_name_is_answered_with_the_likely_one(
    words: list[str], likely: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path / "home").prepare("live")
    monkeypatch.setenv("DMP_HOME", str(home.root))
    for table in ("users", "promo_codes"):
        write_deltalake(str(home.lakehouse / "cleaned" / table), pa.table({"user_id": ["1"]}))
    ran = CliRunner().invoke(app, words)
    assert ran.exit_code == 1
    assert f"did you mean {likely}?" in " ".join(ran.output.split())


def test_the_catalogue_prints_one_page_at_a_time() -> None:
    ran = CliRunner().invoke(app, ["catalogue", "--access", "--settings"])
    assert ran.exit_code == 2
    assert "name one of them" in ran.output
    assert "DMP_" not in ran.output


def test_a_summary_says_nothing_of_domains_that_were_not_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = Home(tmp_path / "home").prepare("live")
    said = {}
    for names in ((), ("attribution",), domains.DOMAINS):
        found = frozenset(names)
        skipped = tuple(missing_parts(home, found))
        print_summary(home, RunSummary("0" * 32, False, 1.0, skipped=skipped, domains=found), False)
        said[found] = capsys.readouterr().out
    none, one, every = said.values()
    assert "DMP_WEB_DATABASE" not in none and "DMP_SHOP_DATABASE_URL" not in none
    assert "DMP_WEB_DATABASE" in one and "DMP_SHOP_DATABASE_URL" not in one
    assert "DMP_WEB_DATABASE" in every and "DMP_SHOP_DATABASE_URL" in every


def test_what_is_selected_of_a_domain_without_tables_is_said_to_be_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "hollow"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "domain.py").touch()
    graph = defs.get_repository_def().asset_graph
    monkeypatch.setattr(dmp_assets, "__path__", [*dmp_assets.__path__, str(tmp_path)])
    monkeypatch.setattr(domains, "DOMAINS", (*domains.DOMAINS, "hollow"))
    with pytest.raises(UserError, match=r"names hollow, .* no dmp_assets/hollow/lake\.py"):
        _selected("tag:domain=hollow", graph)
    with pytest.raises(UserError, match="no asset matches"):
        _selected("group:hollows", graph)
