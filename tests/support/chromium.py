"""Headless Chromium for browser tests: found, or installed where apt-get may be used."""

import os
import shutil
import subprocess

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


def find() -> str | None:
    """Path of a Chromium on this machine."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def find_or_install() -> str:
    """Path of Chromium, installed as root where it is missing; else RuntimeError says how."""
    if path := find():
        return path
    apt = shutil.which("apt-get")
    if apt and os.geteuid() == 0:
        print("installing Chromium for the browser tests with apt-get", flush=True)
        env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run([apt, "update", "-qq"], env=env, check=True)
        subprocess.run(
            [
                apt,
                "install",
                "-y",
                "-qq",
                "--no-install-recommends",
                "chromium",
                "fonts-dejavu-core",
            ],
            env=env,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        if path := find():
            return path
    raise RuntimeError("the browser tests need Chromium: apt-get install chromium")
