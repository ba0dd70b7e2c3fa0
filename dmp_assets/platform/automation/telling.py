"""Telling people of what runs unattended, with an address where to look."""

from dmp_assets.home import Home
from dmp_assets.platform.reporting.alerts import Alert, raise_alert
from dmp_assets.platform.reporting.slack import SlackResource


def ui_url(home: Home, path: str) -> str:
    """Address in Dagster's UI: where people reach it, else the reports', else this machine's."""
    settings = home.settings()
    here = f"http://{settings.webserver_host}:{settings.webserver_port}"
    return f"{(settings.webserver_url or settings.public_url or here).rstrip('/')}/{path}"


def run_url(home: Home, run_id: str) -> str:
    """Address of a run in Dagster's UI."""
    return ui_url(home, f"runs/{run_id}")


def alert_people(home: Home, slack: SlackResource, alert: Alert) -> None:
    """Raise an alert in its owner's channel."""
    raise_alert(slack.client(), home.outbox, alert, home.settings())
