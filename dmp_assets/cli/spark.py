"""Commands for Spark beyond this machine."""

from pathlib import Path
from typing import Annotated

import typer

from dmp_assets.cli.shared import explained, out
from dmp_assets.settings import PACKAGE_DIR

spark = typer.Typer(
    help="Spark beyond this machine (DMP_SPARK_MASTER, DMP_SPARK_REMOTE).", no_args_is_help=True
)


@spark.callback()
def _group() -> None:
    """Spark beyond this machine (DMP_SPARK_MASTER, DMP_SPARK_REMOTE)."""


@spark.command("pack")
def pack(
    file: Annotated[Path, typer.Argument(help="A file to write, e.g. /srv/dmp/executors.pex.")],
) -> None:
    """Pack what executors run of this program, for DMP_SPARK_ARCHIVE; again after each upgrade."""
    with explained():
        from dmp_assets.platform.lake import spark_pack

        size = spark_pack.pack(file, PACKAGE_DIR)
        out.print(
            f"{file}: {size / 2**20:.0f} MB; set DMP_SPARK_ARCHIVE={file.absolute()}",
            highlight=False,
            soft_wrap=True,
        )
