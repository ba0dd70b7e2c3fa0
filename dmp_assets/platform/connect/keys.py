"""The keys that encrypt what services trust us with, and sealing with them.

Keys are Fernet's (AES-128-CBC with HMAC-SHA256), the newest first: that one seals, all of them
open. They are those of DMP_TOKEN_KEYS, else generated once into the home, which does on loopback
only. What is sealed says what it is for, inside of the ciphertext: moved elsewhere it opens
nothing.
"""

import hashlib
import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import filelock
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from pydantic import SecretStr

from dmp_assets.home import Home, HomeError
from dmp_assets.platform.base import whole_file
from dmp_assets.platform.base.addresses import is_loopback
from dmp_assets.platform.config import setting_values
from dmp_assets.platform.connect.errors import ConnectError

FILE = "token_keys"
SETTING = "DMP_TOKEN_KEYS"
_BETWEEN = b"\0"


class SealError(ConnectError):
    """What was sealed does not open: another key, another purpose, too old, or tampered with."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "unreadable token")


class TokenKeys:
    """Keys to seal and open with, the newest first."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = [Fernet(key) for key in keys]
        self._all = MultiFernet(self._keys)
        self.ids = tuple(hashlib.sha256(key.encode()).hexdigest()[:16] for key in keys)

    @property
    def newest(self) -> str:
        """What the key that seals is known by; says nothing about the key itself."""
        return self.ids[0]

    def seal(self, purpose: str, content: bytes) -> bytes:
        """Encrypt with the newest key, for one purpose."""
        return self._keys[0].encrypt(purpose.encode() + _BETWEEN + content)

    def open(self, purpose: str, sealed: bytes, *, seconds: int | None = None) -> bytes:
        """What was sealed for this purpose, at most so many seconds ago. Raises SealError."""
        try:
            whose, between, content = self._all.decrypt(sealed, ttl=seconds).partition(_BETWEEN)
        except InvalidToken:
            raise SealError(
                f"a stored token cannot be opened: it was sealed by a key that {SETTING} does not "
                "hold, or was changed"
            ) from None
        if not between or whose != purpose.encode():
            raise SealError("a stored token belongs to something else; it is not used")
        return content


@dataclass(frozen=True)
class KeyRing:
    """Where the keys are: `configured`, else in the file `path`, which is read each time.

    Another process may add or drop a key at any moment. `served`: hosts beyond loopback that the
    home serves, for which a generated key will not do.
    """

    path: Path
    configured: SecretStr | None = None
    served: tuple[str, ...] = ()

    @classmethod
    def of(cls, home: Home) -> "KeyRing":
        """A home's keys."""
        settings = home.settings()
        hosts = (settings.api_host, settings.webserver_host)
        served = tuple(host for host in hosts if not is_loopback(host))
        return cls(home.secrets / FILE, settings.token_keys, served)

    @property
    def is_generated(self) -> bool:
        """Whether keys of our own making are in use; whoever is reached by others refuses them."""
        return self.configured is None and self.path.exists()

    @property
    def is_there(self) -> bool:
        """Whether there are keys; where there are none, `load` makes one."""
        return self.configured is not None or self.path.exists()

    def load(self) -> TokenKeys:
        """All keys. Raises HomeError when they must be given and are not, or cannot be read."""
        return TokenKeys(self._texts())

    @contextmanager
    def rotating(self) -> Iterator[None]:
        """Keep other rotations out while keys of our own making are changed."""
        if self.configured is not None:
            yield
            return
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with filelock.FileLock(self.path.with_name(f".{FILE}.lock"), mode=0o600):
            yield

    def add(self) -> None:
        """Make a new key, the newest from now on. Raises HomeError where a setting names them."""
        self._write([Fernet.generate_key().decode(), *self._generated()])

    def keep_newest(self) -> None:
        """Drop all keys but the newest. Raises HomeError where a setting names them."""
        self._write(self._generated()[:1])

    def _generated(self) -> list[str]:
        if self.configured is not None:
            raise HomeError(f"the keys are those of {SETTING}: change them there")
        return self._texts()

    def _texts(self) -> list[str]:
        if self.configured is not None:
            return setting_values.split_keys(self.configured.get_secret_value())
        if self.served:
            raise HomeError(
                f"tokens would be encrypted by a generated key while {self.served[0]} is served: "
                f"set {SETTING}"
            )
        if not self.path.exists():
            self._make()
        try:
            text = self.path.read_text()
            setting_values.token_keys(text)
        except (OSError, ValueError) as error:
            raise HomeError(
                f"{self.path} holds no keys ({type(error).__name__}); put back the file of a "
                "backup, or remove it and connect every service anew"
            ) from None
        return setting_values.split_keys(text)

    def _write(self, keys: Sequence[str]) -> None:
        whole_file.write(self.path, "\n".join(keys) + "\n")
        self._settle()

    def _make(self) -> None:
        """Make the first key whole or not at all; of two who do so at once one's is kept."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = self.path.with_name(f".{FILE}.{uuid.uuid4().hex}.part")
        whole_file.write(part, Fernet.generate_key().decode() + "\n")
        try:
            os.link(part, self.path)
        except FileExistsError:
            return
        finally:
            part.unlink(missing_ok=True)
        self._settle()

    def _settle(self) -> None:
        """Return once the keys are on the disk: what they seal will be, and they are its only copy.

        Both the file and its name.
        """
        for path in (self.path, self.path.parent):
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
