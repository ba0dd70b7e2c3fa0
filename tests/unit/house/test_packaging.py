"""The wheel holds all that the package needs, and works away from the checkout."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support import lakehouse

ROOT = Path(__file__).resolve().parents[3]
BUILD = "from setuptools import build_meta; build_meta.build_wheel('dist')"
RENDER = """
import sys
from pathlib import Path
import dmp_assets
from dmp_assets.home import Home
from dmp_assets.platform.reporting.renderer import render
from dmp_assets.settings import project_dir
assert Path(dmp_assets.__file__).is_relative_to(sys.argv[1]), dmp_assets.__file__
print(render("index", project_dir=project_dir(), home=Home.current()).path)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "setup.cfg", "README.md"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(
        ROOT / "dmp_assets", source / "dmp_assets", ignore=shutil.ignore_patterns("__pycache__")
    )
    subprocess.run([sys.executable, "-c", BUILD], cwd=source, check=True, capture_output=True)
    return next((source / "dist").glob("*.whl"))


def test_the_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    files = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "dmp_assets").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert files - set(zipfile.ZipFile(wheel).namelist()) == set()


def test_an_installed_wheel_renders_the_reports_of_a_project_folder(
    wheel: Path, tmp_path: Path
) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    home = tmp_path / "home"
    lakehouse.build(home, users=50)
    environment = os.environ | {
        "PYTHONPATH": str(tmp_path / "site"),
        "DMP_PROJECT_DIR": str(ROOT),
        "DMP_HOME": str(home),
    }
    done = subprocess.run(
        [sys.executable, "-c", RENDER, str(tmp_path / "site")],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert (home / "reports" / "index.html").exists()
