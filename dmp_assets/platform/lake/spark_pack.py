"""What Spark's executors run of this program, in one file that a run sends to them.

The file is a PEX (https://docs.pex-tool.org), one of the ways that Spark's own guide names
(https://spark.apache.org/docs/latest/api/python/tutorial/python_packaging.html). Executors need a
Python of the same minor version on their PATH; pyspark they have from their Spark.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from dmp_assets.platform.lake.spark_cluster import ClusterError

PACKAGES = ("idna", "numpy", "pandas", "phonenumbers", "pyarrow", "pyyaml", "ua-parser[regex]")
"""Distributions that the functions of `mapInArrow`, and pyspark's worker, import beside our own."""


def pack(file: Path, package: Path) -> int:
    """Write the file: those packages as installed here, and our own (`package`); its bytes.

    Raises ClusterError where the packer is missing or fails; a file that was there stays then.
    """
    if find_spec("pex") is None:
        raise ClusterError(
            "packing needs pex; install the extra `cluster`: "
            "`.venv/bin/uv sync --frozen --inexact --extra cluster`"
        )
    file = file.absolute()
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=".dmp-pack-") as folder:
        sources, made = Path(folder) / "sources", Path(folder) / "packed.pex"
        shutil.copytree(
            package, sources / package.name, ignore=shutil.ignore_patterns("__pycache__")
        )
        done = subprocess.run(
            [
                sys.executable, "-m", "pex", *PACKAGES,
                "--venv-repository", sys.prefix,
                "--sources-directory", str(sources),
                "--inherit-path=fallback",  # pyspark comes by the executors' PYTHONPATH
                "--no-compress",
                "--pex-root", str(Path(folder) / "root"),
                "--output-file", str(made),
            ],
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            capture_output=True,
            text=True,
        )  # fmt: skip
        if done.returncode or not made.exists():
            said = [line for line in done.stderr.splitlines() if line.strip()]
            raise ClusterError(f"pex could not pack: {said[-1] if said else 'no reason given'}")
        made.chmod(0o755)
        made.replace(file)
    return file.stat().st_size
