"""`dmp setup`: what a run needs of the machine beside Python's packages."""

import os
from typing import Annotated

import typer

from dmp_assets.cli.shared import explained, out
from dmp_assets.platform.lake import class_archive, java


def setup(
    s3: Annotated[
        bool, typer.Option("--s3", help="Fetch what Spark needs for tables on S3, too.")
    ] = False,
    kafka: Annotated[
        bool, typer.Option("--kafka", help="Fetch what Spark needs to read from Kafka, too.")
    ] = False,
) -> None:
    """Find or install Java, and fetch the JARs that Spark needs (once)."""
    os.umask(0o022)  # what is public: the service's user reads what root has set up
    with explained():
        home = java.install_java(out.print)
        sets = [java.ALWAYS, *(["s3"] if s3 else []), *(["kafka"] if kafka else [])]
        fetched = sum(java.fetch_jars(out.print, which) for which in sets)
        out.print(f"Java: {home}; Spark's libraries (JARs): {fetched} fetched, all there")
        archive = class_archive.path(home)
        if not archive.exists():
            out.print("archiving Spark's classes (about 200 MB, once), so that runs start faster")
            if not class_archive.make(archive):
                out.print("this Java cannot archive classes; runs work, and start more slowly")
