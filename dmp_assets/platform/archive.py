"""A folder in one signed file, and out of it again whoever made it.

The file is a gzipped tar of plain files and folders. Its last entry is a signature over the names
and contents of all others; who has the key can tell a file of their own.
"""

import gzip
import hashlib
import hmac
import io
import os
import shutil
import tarfile
import zlib
from collections.abc import Collection
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import IO, BinaryIO, cast

from dmp_assets.home import HomeError

SIGNATURE = "signature"
MOST_ENTRIES = 5_000_000
_PIECE = 1 << 20
_LONGEST_HEADER = 1 << 20  # of names and attributes; contents are read in pieces
_LATEST = 1 << 32
_SPARE = 256 << 20  # of the disk, left free


class Packed:
    """A file that is being written; leaving it in good order signs it."""

    def __init__(self, out: BinaryIO, *, key: bytes) -> None:
        self._tar = tarfile.open(fileobj=out, mode="w:gz", compresslevel=1)  # noqa: SIM115 - closed by __exit__
        self._signing = hmac.new(key, digestmod=hashlib.sha256)

    def __enter__(self) -> "Packed":
        return self

    def add(self, path: Path, name: Path) -> None:
        """Add a folder (without what is in it) or a file. Raises OSError."""
        if path.is_dir():
            entry = self._entry(name.as_posix(), tarfile.DIRTYPE)
            self._tar.addfile(entry)
            _sign(self._signing, entry.name, None)
            return
        with path.open("rb") as file:
            entry = self._entry(name.as_posix(), tarfile.REGTYPE)
            stat = os.fstat(file.fileno())
            entry.size, entry.mtime = stat.st_size, int(stat.st_mtime)
            reading = _Hashed(file)
            self._tar.addfile(entry, cast(IO[bytes], reading))
        _sign(self._signing, entry.name, reading.digest.digest())

    @staticmethod
    def _entry(name: str, kind: bytes) -> tarfile.TarInfo:
        entry = tarfile.TarInfo(name)
        entry.type = kind
        entry.mode = 0o700 if kind == tarfile.DIRTYPE else 0o600
        return entry

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        if error is None:
            said = self._signing.hexdigest().encode()
            entry = self._entry(SIGNATURE, tarfile.REGTYPE)
            entry.size = len(said)
            self._tar.addfile(entry, io.BytesIO(said))
        self._tar.close()


class _Hashed:
    def __init__(self, file: BinaryIO) -> None:
        self._file, self.digest = file, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        piece = self._file.read(size)
        self.digest.update(piece)
        return piece


def _sign(signing: "hmac.HMAC", name: str, digest: bytes | None) -> None:
    signing.update(f"{len(name)} {name} ".encode() + (digest or b"folder") + b"\n")


class _Bounded(gzip.GzipFile):
    """Refuses to read much at once: a header that asks for it is none of ours."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= _LONGEST_HEADER:
            raise tarfile.ReadError("a header is too large")
        return super().read(size)


def unpack(file: Path, root: Path, *, key: bytes, never: Collection[str] = ()) -> bool:
    """Write a file's folders and files below `root`; whether it was signed with this key.

    `never`: names below `root` that nobody packs; what they hold would be believed.

    Raises HomeError for what is damaged, leads elsewhere, is no plain file or folder, is there
    twice, has such a name, or is larger than the disk.
    """
    signing = hmac.new(key, digestmod=hashlib.sha256)
    signature: bytes | None = None
    seen: set[str] = set()
    left = shutil.disk_usage(root).free - _SPARE
    try:
        with _Bounded(file, "rb") as stream, tarfile.open(fileobj=stream, mode="r:") as packed:
            while (entry := packed.next()) is not None:
                packed.members = []  # type: ignore[attr-defined]  # it keeps all, which may be many
                if signature is not None:
                    raise HomeError(f"{file} is no backup of a home: it goes on after its end")
                name = _checked(file, entry, seen, never)
                left -= entry.size
                if left < 0:
                    raise HomeError(f"{file} holds more than the disk of {root} has room for")
                if name == ".":
                    continue
                if name == SIGNATURE:
                    content = packed.extractfile(entry)
                    signature = content.read(128) if content is not None else b""
                    continue
                target = root / name
                if entry.isdir():
                    target.mkdir(mode=0o700, parents=True, exist_ok=True)
                    _sign(signing, name, None)
                    continue
                target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                _sign(signing, name, _written(packed, entry, target))
    except (OSError, EOFError, zlib.error, tarfile.TarError, ValueError, RecursionError) as error:
        raise HomeError(f"{file} is no whole backup of a home: {error}") from error
    return signature is not None and hmac.compare_digest(signature, signing.hexdigest().encode())


def _checked(file: Path, entry: tarfile.TarInfo, seen: set[str], never: Collection[str]) -> str:
    """An entry's name. Raises HomeError for one that must not be unpacked."""
    name = entry.name.removeprefix("./") or "."
    path = PurePosixPath(name)
    why = ""
    if entry.type not in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE) or entry.sparse:
        why = "neither a plain file nor a folder"
    elif path.is_absolute() or ".." in path.parts or "\0" in name or str(path) != name:
        why = "no plain path below the home"
    elif path.parts and path.parts[0] in never:
        why = "never packed"
    elif name in seen:
        why = "there twice"
    elif len(seen) >= MOST_ENTRIES:
        why = "one too many"
    if why:
        raise HomeError(f"{file} is no backup of a home: the entry {name[:200]!r} is {why}")
    seen.add(name)
    return name


def _written(packed: tarfile.TarFile, entry: tarfile.TarInfo, target: Path) -> bytes:
    """Write a file that is not there yet; the SHA-256 of what it holds."""
    content, digest, left = packed.extractfile(entry), hashlib.sha256(), entry.size
    if content is None:
        raise tarfile.ReadError("an entry without content")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with os.fdopen(os.open(target, flags, 0o600), "wb") as out:
        while left:
            piece = content.read(min(left, _PIECE))
            if not piece:
                raise tarfile.ReadError("unexpected end of data")
            out.write(piece)
            digest.update(piece)
            left -= len(piece)
    seconds = min(max(int(entry.mtime), 0), _LATEST)
    os.utime(target, (seconds, seconds))  # old files are told from new ones by it
    return digest.digest()
