"""Finding Java 17 or 21 and the JARs that Spark needs beside its own."""

import hashlib
import os
import re
import shutil
import ssl
import subprocess
import sys
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import certifi

from dmp_assets.platform.base.errors import UserError

if TYPE_CHECKING:
    from dmp_assets.settings import Settings

MAVEN_CENTRAL = "https://repo1.maven.org/maven2"
SUPPORTED = (17, 21)
ALWAYS = "jar"
"""The set of JARs that every run needs; others are named for what needs them."""
_NAMED = 8  # of missing JARs, in a message
_LOCALES = ("LC_ALL", "LC_CTYPE", "LANG")
"""Variables that name the locale, the first that is set wins (POSIX, Environment Variables)."""


class PrerequisiteError(UserError):
    """Something that must be on the machine is missing; the message says how to get it."""


@dataclass(frozen=True)
class Jar:
    """One JAR of Maven Central: `path` below the repository and the SHA-256 of its content."""

    path: str
    sha256: str

    @property
    def name(self) -> str:
        return self.path.rsplit("/", 1)[-1]


def jars_dir() -> Path:
    """Folder of the JARs: $DMP_JARS_DIR, else inside the virtual environment."""
    return Path(os.environ.get("DMP_JARS_DIR", Path(sys.prefix) / "share" / "dmp_assets" / "jars"))


def wanted_jars(which: str = ALWAYS) -> tuple[Jar, ...]:
    """The pinned JARs of a set: `jar` (Delta Lake, the PostgreSQL driver), `s3` (S3A), `kafka`."""
    pinned = tomllib.loads((Path(__file__).with_name("jars.toml")).read_text())
    return tuple(Jar(entry["path"], entry["sha256"]) for entry in pinned[which])


def sets_of(settings: "Settings") -> tuple[str, ...]:
    """The sets of JARs on the class path of a home with these settings."""
    return (ALWAYS, "kafka") if settings.kafka_bootstrap_servers else (ALWAYS,)


def jar_paths(which: str = ALWAYS) -> list[str]:
    """Paths of a set's JARs; raises PrerequisiteError when `dmp setup` has not fetched them."""
    paths = [jars_dir() / jar.name for jar in wanted_jars(which)]
    missing = [path.name for path in paths if not path.exists()]
    if missing:
        option = "" if which == ALWAYS else f" --{which}"
        raise PrerequisiteError(
            f"JARs are missing in {jars_dir()}: {_some(missing)}; run `dmp setup{option}`"
        )
    return [str(path) for path in paths]


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def fetch_jars(report: Callable[[str], None] = lambda _: None, which: str = ALWAYS) -> int:
    """Download what is missing of a set, and return the number of JARs fetched; see `fetch`."""
    return fetch(wanted_jars(which), jars_dir(), report)


def fetch(jars: Iterable[Jar], folder: Path, report: Callable[[str], None] = lambda _: None) -> int:
    """Download what a folder lacks, verify its hash, and return the number of JARs fetched.

    Raises PrerequisiteError when Maven Central cannot be reached or a hash is wrong.
    """
    folder.mkdir(parents=True, exist_ok=True)
    fetched = 0
    trust = ssl.create_default_context()
    if not trust.cert_store_stats()["x509_ca"]:  # a minimal system has no certificates of its own
        trust.load_verify_locations(certifi.where())
    for jar in jars:
        target = folder / jar.name
        if target.exists() and _sha256(target) == jar.sha256:
            continue
        report(f"fetching {jar.name}")
        url = f"{os.environ.get('DMP_MAVEN_URL', MAVEN_CENTRAL).rstrip('/')}/{jar.path}"
        part = target.with_suffix(".part")
        try:
            # A mirror may be a folder (`file:`): whatever it gives, its SHA-256 is checked below.
            answer = urllib.request.urlopen(url, timeout=120, context=trust)  # noqa: S310 # nosec B310
            with answer, part.open("wb") as out:
                shutil.copyfileobj(answer, out)
        except (urllib.error.URLError, OSError) as error:
            raise PrerequisiteError(
                f"cannot download {url} ({error}); check the network, or set DMP_MAVEN_URL to a "
                f"mirror, or put the file into {folder}"
            ) from error
        if _sha256(part) != jar.sha256:
            part.unlink()
            raise PrerequisiteError(f"{url} does not have the pinned SHA-256; not used")
        part.replace(target)
        fetched += 1
    return fetched


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def java_version(java: Path) -> int | None:
    """Major version of a `java` program, None when it cannot be run."""
    try:
        shown = subprocess.run(
            [java, "-version"], capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r'version "(\d+)', shown.stderr)
    return int(found.group(1)) if found else None


def environment() -> Path:
    """Set what every JVM needs that this process starts: JAVA_HOME, which it gives, and the locale.

    A JVM knows only such names of files as its locale can write, under `C` none with an umlaut;
    Python writes UTF-8 there, so the JVM is told to. Raises PrerequisiteError as `find_java` does.
    """
    home = find_java()
    os.environ["JAVA_HOME"] = str(home)
    chosen = next((said for name in _LOCALES if (said := os.environ.get(name))), "")
    if sys.getfilesystemencoding() == "utf-8" and not re.search("utf-?8", chosen, re.IGNORECASE):
        os.environ["LC_ALL"] = "C.UTF-8"
    return home


def find_java() -> Path:
    """JAVA_HOME of a supported Java: $JAVA_HOME, `java` on the PATH, then the usual folders.

    Raises PrerequisiteError saying what was found and how to install one.
    """
    candidates: list[Path] = []
    if home := os.environ.get("JAVA_HOME"):
        candidates.append(Path(home))
    if on_path := shutil.which("java"):
        candidates.append(Path(on_path).resolve().parent.parent)
    for pattern in (
        "/usr/lib/jvm/*",
        "/opt/java/*",
        "/Library/Java/JavaVirtualMachines/*/Contents/Home",
    ):
        candidates += sorted(Path("/").glob(pattern.lstrip("/")))
    seen: dict[Path, int] = {}
    for home_dir in candidates:
        version = java_version(home_dir / "bin" / "java")
        if version in SUPPORTED:
            return home_dir
        if version is not None:
            seen[home_dir] = version
    found = ", ".join(f"{path} is Java {version}" for path, version in seen.items())
    raise PrerequisiteError(
        f"Java 17 or 21 is needed{f' ({found})' if found else ' and no Java was found'}. "
        "Install it, e.g. `sudo apt-get install openjdk-17-jre-headless` (Debian, Ubuntu), "
        "`sudo dnf install java-21-openjdk-headless` (Fedora), `brew install openjdk@21` (macOS), "
        "or set JAVA_HOME."
    )


def install_java(report: Callable[[str], None] = lambda _: None) -> Path:
    """Find Java, or install it where the system's package manager can be used without asking.

    Raises PrerequisiteError with instructions otherwise.
    """
    try:
        return find_java()
    except PrerequisiteError as missing:
        apt = shutil.which("apt-get")
        if apt is None or os.geteuid() != 0:
            raise
        report("installing Java with apt-get")
        env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        for packages in (["openjdk-21-jre-headless"], ["openjdk-17-jre-headless"]):
            subprocess.run([apt, "update", "-qq"], env=env, check=False, capture_output=True)
            done = subprocess.run(
                [apt, "install", "-y", "-qq", "--no-install-recommends", *packages],
                env=env,
                check=False,
                capture_output=True,
                text=True,
            )
            if done.returncode == 0:
                return find_java()
        raise PrerequisiteError(
            f"apt-get could not install Java: {done.stderr.strip()}"
        ) from missing
