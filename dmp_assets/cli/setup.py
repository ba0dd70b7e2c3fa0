"""`dmp setup`: what a run needs of the machine beside Python's packages."""

import os
from typing import Annotated

import typer

from dmp_assets.cli.shared import explained, out
from dmp_assets.platform.lake import class_archive, java


def setup(
    kafka: Annotated[
        bool, typer.Option("--kafka", help="Also what Spark needs to read from Kafka.")
    ] = False,
) -> None:
    """Find or install Java, and fetch the JARs that Spark needs (once)."""
    os.umask(0o022)  # what is public: the service's user reads what root has set up
    with explained():
        home = java.install_java(out.print)
        fetched = java.fetch_jars(sets=["kafka"] if kafka else [])
        out.print(f"Java: {home}; Spark's libraries (JARs): {fetched} fetched, all there")
        archive = class_archive.path(home)
        if not archive.exists():
            out.print("archiving Spark's classes (about 200 MB, once), so that runs start faster")
            if not class_archive.make(archive):
                out.print("this Java cannot archive classes; runs work, and start more slowly")
