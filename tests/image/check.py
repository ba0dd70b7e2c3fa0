"""`make docker-check`: build the image and run it and compose's services, without a registry.

Needs root and, of Debian's packages, debootstrap, buildah, podman and runc. The base images that
the Dockerfile and compose.yaml name are made here: a minimal Debian with Python, tagged as
`python:3.11-slim-bookworm`, and on it Debian's PostgreSQL (an older one than compose's), tagged as
`postgres:18`. Quarto's download is left out unless QUARTO_VERSION is set. What is shown is
therefore that the Dockerfile builds, and that the image works as its unprivileged user with
volumes, ports and health; not that today's official base images do.
"""

import base64
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
HERE = Path(__file__).resolve().parent
NEEDED = ("debootstrap", "buildah", "podman", "runc")
PYTHON = "docker.io/library/python:3.11-slim-bookworm"
POSTGRES = "docker.io/library/postgres:18"
IMAGE = "localhost/dmp_assets:latest"
NETWORK = "dmp-check"
os.environ.setdefault("STORAGE_DRIVER", "vfs")  # works also where overlays may not be nested


def tell(text: str) -> None:
    print(f"--- {text}", flush=True)


def sh(*command: str, **options: Any) -> str:
    """Run a program to its end; its output, and SystemExit with it when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if done.returncode:
        sys.exit(
            f"{' '.join(command[:4])} …: {done.returncode}\n{(done.stdout + done.stderr)[-4000:]}"
        )
    return done.stdout


def podman(*arguments: str) -> str:
    return sh("podman", "--runtime", "runc", "--cgroup-manager", "cgroupfs", *arguments)


def run(*arguments: str, network: str = "none") -> str:
    """`podman run` within the limits of this process, which a container may not raise."""
    limits = ("--ulimit", "nofile=20000:20000", "--ulimit", "nproc=30000:30000")
    return podman("run", *limits, "--network", network, *arguments)


def base(folder: Path) -> None:
    """Debian with Python, this machine's certificates among its own, as the Dockerfile's base."""
    root = folder / "root"
    sources = "\n".join(p.read_text() for p in Path("/etc/apt").rglob("*.sources"))
    sources += "\n".join(p.read_text() for p in Path("/etc/apt").rglob("*.list"))
    words = [word for word in sources.split() if word.endswith(("/debian", "/debian/"))]
    mirror = next(
        (word for word in words if word.startswith("http") and "snapshot" not in word), ""
    )
    packages = "--include=python3,python3-venv,python3-pip,ca-certificates"
    sh("unshare", "--mount", "--propagation", "private", "debootstrap", "--variant=minbase",
       packages, "bookworm", str(root), *([mirror] if mirror else []))  # fmt: skip
    certificates = Path("etc/ssl/certs/ca-certificates.crt")
    shutil.copyfile(Path("/") / certificates, root / certificates)
    (root / "usr/lib/python3.11/EXTERNALLY-MANAGED").unlink(missing_ok=True)
    (root / "usr/bin/python").symlink_to("python3")
    tar = folder / "base.tar"
    sh("tar", "-C", str(root), "--one-file-system", "--exclude=./dev", "--exclude=./proc",
       "--exclude=./sys", "-cf", str(tar), ".")  # fmt: skip
    changes = [
        f"ENV {name}=/{certificates}" for name in ("SSL_CERT_FILE", "PIP_CERT", "CURL_CA_BUNDLE")
    ]
    changes.append("ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    podman("import", *(w for change in changes for w in ("--change", change)), str(tar), PYTHON)


def build(tag: str, file: Path, context: Path, *arguments: str) -> None:
    sh("buildah", "bud", "--isolation", "chroot", "--network", "host", "--pull-never",
       "--build-arg", f"QUARTO_VERSION={os.environ.get('QUARTO_VERSION', '')}", *arguments,
       "-f", str(file), "-t", tag, str(context))  # fmt: skip


def images(folder: Path) -> None:
    """The three images, made when they are not there; ours always."""
    have = podman("images", "--format", "{{.Repository}}:{{.Tag}}").split()
    if PYTHON not in have:
        tell("making the base image")
        base(folder)
    if POSTGRES not in have:
        tell("making the image of PostgreSQL")
        containerfile = folder / "Containerfile"
        containerfile.write_text(
            f"FROM {PYTHON}\nRUN apt-get update && apt-get install -y --no-install-recommends "
            "postgresql && rm -rf /var/lib/apt/lists/* /var/lib/postgresql/*\n"
            "COPY postgres.sh /\nENV PATH=$PATH:/usr/lib/postgresql/15/bin\n"
            'ENTRYPOINT ["bash", "/postgres.sh"]\n'
        )
        build(POSTGRES, containerfile, HERE)
    tell("building the image")
    build(IMAGE, ROOT / "Dockerfile", ROOT)


def wait_for(what: str, ready: Callable[[], bool], seconds: int = 180) -> None:
    until = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > until:
            sys.exit(f"{what}: not within {seconds} s")
        time.sleep(2)
    tell(f"{what}: yes")


def _succeeds(command: list[str]) -> bool:
    return subprocess.run(command, capture_output=True).returncode == 0


def answers(url: str, codes: tuple[int, ...] = (200,)) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status in codes
    except urllib.error.HTTPError as error:
        return error.code in codes
    except OSError:
        return False


def ports_are_free() -> None:
    """Refuse where something answers already: it would be taken for the image's own."""
    for port in (3000, 8000):
        with socket.socket() as taken:
            if taken.connect_ex(("127.0.0.1", port)) == 0:
                sys.exit(f"port {port} is taken: stop what listens there, then try again")


def single() -> None:
    """The image alone: who it runs as, `doctor`, `demo`, `up`, and its volume afterwards."""
    volume = ("-v", "dmp-check-home:/data")
    assert "uid=10001(dmp)" in run("--rm", IMAGE, "id")
    tell("doctor")
    print(run("--rm", *volume, IMAGE, "dmp", "doctor"))
    podman("volume", "rm", "dmp-check-home")
    tell("demo")
    print(run("--rm", *volume, IMAGE, "dmp", "demo"))
    modes = run("--rm", *volume, IMAGE, "stat", "-c", "%a %u", "/data")
    assert modes.split() == ["700", "10001"], modes
    tell("up")
    run("-d", "--name", "dmp-check-up", *volume, IMAGE, network="host")
    wait_for("the API of `up` is ready", lambda: answers("http://127.0.0.1:8000/health/ready"))
    wait_for(
        "Dagster of `up` answers", lambda: answers("http://127.0.0.1:3000/", (200, 303, 401, 403))
    )
    began = time.monotonic()
    podman("stop", "-t", "60", "dmp-check-up")
    code = podman("inspect", "-f", "{{.State.ExitCode}}", "dmp-check-up").strip()
    assert code == "0", f"{code}: {podman('logs', 'dmp-check-up')[-4000:]}"
    tell(f"stopped with exit code 0 within {time.monotonic() - began:.0f} s")


def compose() -> None:
    """The services of compose.yaml with its settings, on a network of their own."""
    given = {
        "SHOP_PASSWORD": secrets.token_hex(8),
        "STORE_PASSWORD": secrets.token_hex(8),
        "DMP_API_SECRET": base64.urlsafe_b64encode(os.urandom(32)).decode(),
    }
    services: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    podman("network", "create", NETWORK)
    for name, service in services.items():
        environment = []
        for key, value in service["environment"].items():
            environment += ["-e", f"{key}={_filled(str(value), given)}"]
        volumes = [w for v in service["volumes"] for w in ("-v", f"dmp-check-{v}")]
        ports = [w for p in service.get("ports", ()) for w in ("-p", p)]
        again = ("--restart", service["restart"])  # of those that start before what they wait for
        run("-d", "--name", f"dmp-check-{name}", "--network-alias", name, *again, *environment,
            *volumes, *ports, service["image"].replace("dmp_assets", IMAGE),
            *service.get("command", ()), network=NETWORK)  # fmt: skip
        check = service.get("healthcheck", {}).get("test", ["CMD-SHELL", "true"])[1]
        command = ["podman", "exec", f"dmp-check-{name}", "sh", "-c", check]
        wait_for(f"{name} is up", partial(_succeeds, command))
    wait_for("the API answers", lambda: answers("http://127.0.0.1:8000/health/live"))
    wait_for("Dagster answers", lambda: answers("http://127.0.0.1:3000/", (200, 303, 401, 403)))
    # It finds fault with what is so here: an empty shop, nothing published, a store of one role.
    doctor = ["podman", "exec", "dmp-check-daemon", "dmp", "doctor"]
    print(subprocess.run(doctor, capture_output=True, text=True, check=False).stdout)


def _filled(text: str, given: dict[str, str]) -> str:
    """The text with compose's `${NAME:?…}` and `${NAME:-…}` replaced."""
    for name, value in given.items():
        start = text.find(f"${{{name}:?")
        while start >= 0:
            text = text[:start] + value + text[text.index("}", start) + 1 :]
            start = text.find(f"${{{name}:?")
    while text.startswith("${") and ":-" in text:
        text = text[text.index(":-") + 2 : -1]
    return text


def tidy() -> None:
    """Remove the containers, volumes and the network of this check, never another's."""
    for kind, arguments in (
        (("ps", "-a", "--format", "{{.Names}}"), ("rm", "-f")),
        (("volume", "ls", "--format", "{{.Name}}"), ("volume", "rm", "-f")),
    ):
        for name in podman(*kind).split():
            if name.startswith("dmp-check-"):
                podman(*arguments, name)
    podman("network", "rm", "-f", NETWORK)


def main() -> int:
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        print(f"this check needs root and {', '.join(NEEDED)}", file=sys.stderr)
        print(
            f"on Debian: apt-get install --no-install-recommends {' '.join(NEEDED)}",
            file=sys.stderr,
        )
        return 1
    ports_are_free()
    folder = Path(os.environ.get("DOCKER_CHECK_DIR", "/var/tmp/dmp-docker-check"))
    folder.mkdir(parents=True, exist_ok=True)
    images(folder)
    tidy()
    try:
        single()
        tidy()
        compose()
    finally:
        tidy()
    print("docker-check: all of it held")
    return 0


if __name__ == "__main__":
    sys.exit(main())
