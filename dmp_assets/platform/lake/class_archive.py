"""An archive of the classes that Spark loads, so that every later JVM starts with them parsed.

A Spark run loads some 20,000 classes; reading and verifying them takes a third of a small run.
The JVM can keep them in a file (application class-data sharing, https://openjdk.org/jeps/350),
which `dmp setup` makes once for this Java, this Spark and these JARs. Without the file, or after
an upgrade of Java, everything works the same and starts more slowly.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from dmp_assets.platform.lake import java

DUMP_VARIABLE = "DMP_CLASS_ARCHIVE_TO"


def path(home: Path) -> Path:
    """Where the archive for the Java at `home`, this Spark and these JARs is, made or not."""
    release = home / "release"
    parts = [str(home), version("pyspark"), *java.jar_paths()]
    if release.exists():
        parts.append(release.read_text())
    name = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    return java.jars_dir() / f"spark-{name}.jsa"


def jvm_options(home: Path) -> str:
    """Options by which a JVM uses the archive, or makes it in the process that `make` started."""
    if target := os.environ.get(DUMP_VARIABLE):
        return f'"-XX:ArchiveClassesAtExit={target}" -Xlog:disable'
    archive = path(home)
    return (
        f'"-XX:SharedArchiveFile={archive}" -Xlog:disable -Xlog:all=error:stderr'
        if archive.exists()
        else ""
    )


def make(archive: Path) -> bool:
    """Make the archive at its `path`; False where this JVM cannot."""
    with tempfile.TemporaryDirectory(dir=archive.parent) as folder:
        part = Path(folder) / archive.name
        done = subprocess.run(
            [sys.executable, "-m", f"{__package__}.class_rehearsal", folder],
            env=os.environ | {DUMP_VARIABLE: str(part)},
            capture_output=True,
        )
        if done.returncode or not part.exists():
            return False
        for old in archive.parent.glob("spark-*.jsa"):
            old.unlink()
        shutil.move(part, archive)
    return True
