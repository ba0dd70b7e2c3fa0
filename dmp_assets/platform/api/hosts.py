"""By which names the service may be called, and where a request of a browser comes from."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from fastapi import Request

from dmp_assets.platform.base.addresses import is_loopback
from dmp_assets.settings import Settings

WRONG_HOST = (
    "this service does not go by the name in `Host`; DMP_API_HOSTS lists the names that it goes by"
)


@dataclass(frozen=True)
class Hosts:
    """Names under which the service is called; none: whatever the caller says.

    On loopback they are this machine's own: a page of another site that has its name lead here
    cannot read what is answered. Beyond it they are told by settings, because nobody else knows.
    """

    names: frozenset[str] = frozenset()
    loopback: bool = False

    @classmethod
    def of(cls, settings: Settings) -> "Hosts":
        """What the settings say: `api_hosts`, and the host of `public_url`."""
        told = {name.lower() for name in settings.api_hosts}
        only_here = is_loopback(settings.api_host) and not settings.api_behind_proxy
        if settings.public_url and (told or only_here):
            told.add((urlsplit(settings.public_url).hostname or "").lower())
        return cls(frozenset(told - {""}), only_here or bool(told))

    @property
    def are_told(self) -> bool:
        """Whether the `Host` of a request that is answered is one of ours."""
        return bool(self.names or self.loopback)

    def serve(self, host: str) -> bool:
        """Whether a request with this `Host` is meant for us."""
        if not host or not self.are_told:  # browsers name one always
            return True
        try:
            name = (urlsplit(f"//{host}").hostname or "").lower()
        except ValueError:
            return False
        name = name.removesuffix(".")
        return name in self.names or (self.loopback and is_loopback(name))


def address_of(request: Request, path: str, settings: Settings, *, is_told: bool) -> str | None:
    """The address of a path of ours as people reach it; None where nobody said under which name.

    `is_told`: the request's `Host` was compared with our names. It is believed only then.
    """
    if is_told:
        return str(request.url.replace(path=path, query="", fragment=""))
    if settings.public_url:
        public = urlsplit(settings.public_url)
        return f"{public.scheme}://{public.netloc}{path}"
    return None


def is_from_us(request: Request, *, secure: bool) -> bool:
    """Whether the browser says that the request comes from this site (or says nothing).

    `secure`: the site is reached by TLS, so that its plain namesake is another one.
    """
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = request.headers.get("origin")
    if origin is None:
        return True
    scheme = "https" if secure else request.url.scheme
    try:
        found = urlsplit(origin)
        asked = urlsplit(f"{scheme}://{request.headers.get('host', '')}")
        ports = {"http": 80, "https": 443}
        return (found.scheme, found.hostname, found.port or ports.get(found.scheme)) == (
            scheme, asked.hostname, asked.port or ports[scheme],
        )  # fmt: skip
    except ValueError:
        return False
