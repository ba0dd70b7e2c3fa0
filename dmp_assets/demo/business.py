"""The simulated business of the demo: a shop and the web visits of its people, in one folder."""

from datetime import date
from pathlib import Path

from dmp_assets.demo import shop, web


def generate(folder: Path, *, users: int, seed: int, end: date) -> None:
    """Write the shop (`export/`, `truth/`) and its web database (`web/web.sqlite`, `web/truth/`).

    Deterministic by `seed`; `end` is the last day (UTC).
    """
    shop.generate(folder, users=users, seed=seed, end=end)
    web.generate_web(folder / "web", folder / "export", seed=seed, end=end)
