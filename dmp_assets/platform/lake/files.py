"""The files of a lakehouse beside its tables' rows: what lies where, and removing it.

A root is a folder of this machine, an S3 address, or what else Arrow knows an address of (Google,
Azure, HDFS).
"""

import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pyarrow.fs as pafs
from deltalake import DeltaTable

from dmp_assets.platform.base import whole_file
from dmp_assets.platform.lake.s3 import S3, is_s3, place

Mark = tuple[int, int]
"""What tells a file from another one of its name: size and time of change in nanoseconds."""

LOG = "_delta_log"
CHECKPOINTS = "_checkpoints"
"""Folder of a root where queries of streams note how far they are (`stream/landing.py`)."""
_FIRST_DIGIT = "0"  # of a commit's number, which has twenty
_AT_ONCE = 1_000  # objects that S3 deletes by one request


class Files(Protocol):
    """What is done with files; a path is the whole one, its root's address before it.

    Each raises OSError, or on S3 an error of botocore, where the storage does not do it.
    """

    def folders(self, path: str) -> list[str]:
        """Names of the folders in a folder, in order; none where it is not there."""

    def below(self, path: str) -> Mapping[str, Mark]:
        """All files below a folder, by their whole paths."""

    def is_table(self, path: str) -> bool:
        """Whether a folder is a Delta table: its log has a commit or a checkpoint."""

    def mark(self, path: str) -> Mark | None:
        """Of a file; None where it is not there."""

    def read(self, path: str) -> bytes | None:
        """What a file holds; None where it is not there."""

    def write(self, path: str, content: bytes) -> None:
        """Make or replace a file whole."""

    def remove(self, path: str) -> None:
        """Remove a file, or a folder with all that is in it: of a table the log first.

        One that is removed in part is no table any more, and none whose files are missing. What is
        not there is removed already.
        """


@dataclass(frozen=True)
class LocalFiles:
    """A folder of this machine."""

    def folders(self, path: str) -> list[str]:
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(path) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir())
        return []

    def below(self, path: str) -> Mapping[str, Mark]:
        return {
            os.path.join(folder, name): _local_mark(os.stat(os.path.join(folder, name)))
            for folder, _, names in os.walk(path)
            for name in names
        }

    def is_table(self, path: str) -> bool:
        return bool(DeltaTable.is_deltatable(path))

    def mark(self, path: str) -> Mark | None:
        try:
            return _local_mark(os.stat(path))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def read(self, path: str) -> bytes | None:
        try:
            return Path(path).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def write(self, path: str, content: bytes) -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        whole_file.write(Path(path), content.decode())

    def remove(self, path: str) -> None:
        if not Path(path).is_dir():
            Path(path).unlink(missing_ok=True)
            return
        for folder in (Path(path, LOG), Path(path)):
            if folder.is_dir():
                shutil.rmtree(folder)


@dataclass(frozen=True)
class S3Files:
    """Objects below an address on S3; a folder is what keys have before a slash."""

    s3: S3

    def folders(self, path: str) -> list[str]:
        bucket, key = place(path)
        prefix = f"{key}/" if key else ""
        pages = self.s3.client().get_paginator("list_objects_v2")
        found = pages.paginate(Bucket=bucket, Prefix=prefix, Delimiter="/")
        return sorted(
            one["Prefix"][len(prefix) :].rstrip("/")
            for page in found
            for one in page.get("CommonPrefixes", ())
        )

    def below(self, path: str) -> Mapping[str, Mark]:
        scheme, bucket = path.partition("://")[0], place(path)[0]
        return {
            f"{scheme}://{bucket}/{key}": (size, changed)
            for key, size, changed in self.s3.objects(path)
        }

    def is_table(self, path: str) -> bool:
        # delta-rs keeps Python's other threads waiting while it asks, for a minute where S3 hangs.
        bucket, key = place(f"{path}/{LOG}/{_FIRST_DIGIT}")
        found = self.s3.client().list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1)
        return bool(found["KeyCount"])

    def mark(self, path: str) -> Mark | None:
        bucket, key = place(path)
        if (found := _unless_missing(self.s3.client().head_object, Bucket=bucket, Key=key)) is None:
            return None
        return found["ContentLength"], int(found["LastModified"].timestamp() * 1_000_000_000)

    def read(self, path: str) -> bytes | None:
        bucket, key = place(path)
        found = _unless_missing(self.s3.client().get_object, Bucket=bucket, Key=key)
        return None if found is None else found["Body"].read()

    def write(self, path: str, content: bytes) -> None:
        bucket, key = place(path)
        self.s3.client().put_object(Bucket=bucket, Key=key, Body=content, **self.s3.written_with())

    def remove(self, path: str) -> None:
        bucket, key = place(path)
        keys = [found for found, _, _ in self.s3.objects(path)]
        # Objects that stand for folders last, the inner ones first: some servers keep folders, and
        # refuse to remove one that holds something.
        keys.sort(key=lambda one: (one.endswith("/"), f"/{LOG}/" not in one, -len(one)))
        keys.append(key)
        for first in range(0, len(keys), _AT_ONCE):
            some = [{"Key": one} for one in keys[first : first + _AT_ONCE]]
            done = self.s3.client().delete_objects(
                Bucket=bucket, Delete={"Objects": some, "Quiet": True}
            )
            if refused := done.get("Errors"):
                why = refused[0]
                raise OSError(f"{why.get('Key')} is not removed: {why.get('Code')}")


@dataclass(frozen=True)
class ArrowFiles:
    """What else Arrow knows an address of."""

    def folders(self, path: str) -> list[str]:
        system, folder = pafs.FileSystem.from_uri(path)
        found = _listed(system, pafs.FileSelector(folder, allow_not_found=True))
        return sorted(one.base_name for one in found if one.type == pafs.FileType.Directory)

    def below(self, path: str) -> Mapping[str, Mark]:
        system, folder = pafs.FileSystem.from_uri(path)
        found = _listed(system, pafs.FileSelector(folder, allow_not_found=True, recursive=True))
        return {
            path + one.path.removeprefix(folder): (one.size, one.mtime_ns or 0)
            for one in found
            if one.type == pafs.FileType.File
        }

    def is_table(self, path: str) -> bool:
        return bool(DeltaTable.is_deltatable(path))

    def mark(self, path: str) -> Mark | None:
        system, file = pafs.FileSystem.from_uri(path)
        found = system.get_file_info(file)
        return (found.size, found.mtime_ns or 0) if found.type == pafs.FileType.File else None

    def read(self, path: str) -> bytes | None:
        system, file = pafs.FileSystem.from_uri(path)
        try:
            with system.open_input_stream(file) as stream:
                return bytes(stream.read())
        except FileNotFoundError:
            return None

    def write(self, path: str, content: bytes) -> None:
        system, file = pafs.FileSystem.from_uri(path)
        system.create_dir(file.rpartition("/")[0], recursive=True)
        with system.open_output_stream(file) as stream:
            stream.write(content)

    def remove(self, path: str) -> None:
        system, place_ = pafs.FileSystem.from_uri(path)
        if system.get_file_info(place_).type == pafs.FileType.File:
            system.delete_file(place_)
            return
        for folder in (f"{place_}/{LOG}", place_):
            if system.get_file_info(folder).type == pafs.FileType.Directory:
                system.delete_dir_contents(folder)
                system.delete_dir(folder)


def of(root: str, s3: S3 | None) -> Files:
    """What handles the files below a root."""
    if "://" not in root:
        return LocalFiles()
    return S3Files(s3 or S3()) if is_s3(root) else ArrowFiles()


def _local_mark(found: os.stat_result) -> Mark:
    return found.st_size, found.st_mtime_ns


def _unless_missing(call: Callable[..., Any], **named: str) -> Any:
    from botocore.exceptions import ClientError

    try:
        return call(**named)
    except ClientError as error:
        if error.response["Error"]["Code"] in ("404", "NoSuchKey", "NotFound"):
            return None
        raise


def _listed(system: pafs.FileSystem, folder: pafs.FileSelector) -> list[pafs.FileInfo]:
    """What is in a folder; none where it is not there.

    Arrow, which finds none and then one that somebody makes at that moment, calls that an error.
    """
    try:
        return list(system.get_file_info(folder))
    except FileNotFoundError:
        return list(system.get_file_info(folder))
