"""What the command line says of what a user can mend."""

import pytest
import typer

from dmp_assets.cli.shared import explained
from dmp_assets.home import HomeError


def test_a_message_is_shown_as_it_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended, explained():
        raise HomeError("for Redis: pip install dmp_assets[redis]")
    assert ended.value.exit_code == 1
    assert capsys.readouterr().err.strip() == "✗ for Redis: pip install dmp_assets[redis]"
