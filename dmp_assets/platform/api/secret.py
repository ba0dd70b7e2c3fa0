"""The secret that seals cursors: from the environment, else generated once into the home."""

import base64
import binascii

from cryptography.fernet import Fernet

from dmp_assets.home import Home, HomeError
from dmp_assets.platform.config import secret_files

FILE = "api_secret"


def of(home: Home) -> bytes:
    """The home's secret as Fernet takes it. Raises HomeError for one that is malformed."""
    configured = home.settings().api_secret
    if configured is not None:
        return _checked(configured.get_secret_value().encode(), "DMP_API_SECRET")
    path = home.secrets / FILE
    secret = secret_files.of(home, FILE, lambda: Fernet.generate_key().decode())
    return _checked(secret.encode(), str(path))


def is_generated(home: Home) -> bool:
    """Whether the secret is one of our own making, which may only serve on loopback."""
    return home.settings().api_secret is None


def _checked(secret: bytes, where: str) -> bytes:
    try:
        if len(base64.urlsafe_b64decode(secret)) != 32:
            raise ValueError("not 32 bytes")
    except (ValueError, binascii.Error) as error:
        raise HomeError(
            f"{where} is not 32 bytes in url-safe base64; make one with "
            "`python -c 'from cryptography.fernet import Fernet; "
            "print(Fernet.generate_key().decode())'`"
        ) from error
    return secret
