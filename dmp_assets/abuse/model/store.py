"""Model files: `<folder>/<version>.joblib`, loaded only from that folder and with its hash checked.

joblib executes code when it loads, so a file is opened only after its SHA-256 equals the one that
the registry noted when we wrote it ourselves.
"""

import hashlib
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dmp_assets.abuse.model.features import NAMES, Floats
from dmp_assets.abuse.model.money import Thresholds
from dmp_assets.platform.base import whole_file

RULES_ONLY = "rules"
"""Version of the rule list as it is, which needs no file: it serves when nothing else can."""


class ModelError(Exception):
    """A model file that cannot serve; the message names the file and what is wrong with it."""


@dataclass(frozen=True)
class Model:
    """A fitted candidate with all that scoring needs.

    `typical`: the feature medians of its training sample, against which reasons are measured.
    """

    version: str
    candidate: str
    pipeline: Any
    thresholds: Thresholds
    typical: Floats
    features: tuple[str, ...] = NAMES


def path(folder: Path, version: str) -> Path:
    """Where the file of a version lies; raises ModelError for a version that is no plain name."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", version):
        raise ModelError(f"{version!r} is not the name of a model version")
    return folder / f"{version}.joblib"


def save(folder: Path, model: Model) -> str:
    """Write the model's file whole (a crash leaves none or the old one); returns its SHA-256."""
    import joblib

    folder.mkdir(parents=True, exist_ok=True)
    target = path(folder, model.version)
    with whole_file.replacing(target) as part:
        joblib.dump(model, part)
    return _sha256(target)


def damage(folder: Path, version: str, sha256: str) -> str | None:
    """What is wrong with the model's file; None when it is the one that was written."""
    try:
        _written(path(folder, version), sha256)
    except ModelError as error:
        return str(error)
    return None


def _written(target: Path, sha256: str) -> bytes:
    """The file's bytes, read once: what is opened is what the hash was taken of."""
    try:
        content = target.read_bytes()
    except (FileNotFoundError, IsADirectoryError):
        raise ModelError(f"the model file {target} is missing") from None
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise ModelError(
            f"the model file {target} is corrupt or was changed: its SHA-256 is {found[:12]}…, "
            f"the registry noted {sha256[:12]}…"
        )
    return content


def load(folder: Path, version: str, sha256: str) -> Model:
    """Read a model; raises ModelError when the file is missing, changed or not of this code."""
    target = path(folder, version)
    content = _written(target, sha256)
    try:
        model = _unpickled(content)
    except (AttributeError, ImportError, EOFError, KeyError, ValueError, TypeError) as error:
        raise ModelError(f"the model file {target} cannot be read by this code: {error}") from error
    if not isinstance(model, Model):
        raise ModelError(f"{target} holds a {type(model).__name__}, not a model")
    if model.features != NAMES:
        raise ModelError(f"the model {version} was trained on other features; train it again")
    try:
        model.pipeline.predict_proba(np.full((1, len(NAMES)), np.nan))
    except (AttributeError, ValueError, TypeError, IndexError) as error:
        raise ModelError(
            f"the model {version} was fitted by other code and cannot score with this one; "
            f"train it again ({error})"
        ) from error
    return model


def _unpickled(content: bytes) -> Any:
    """The object in a model file, also of one written while our modules lay in other places."""
    from joblib.numpy_pickle import NumpyUnpickler

    class Unpickler(NumpyUnpickler):  # type: ignore[misc]  # joblib has no types
        def find_class(self, module: str, name: str) -> Any:
            return super().find_class(_moved(module), name)

    return Unpickler("", io.BytesIO(content), ensure_native_byte_order=True).load()


def _moved(module: str) -> str:
    """Where a module lies that a file names: ours were `dmp_assets.abuse.models` and so on."""
    return re.sub(r"^dmp_assets\.abuse\.(\w+)$", r"dmp_assets.abuse.model.\1", module)


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
