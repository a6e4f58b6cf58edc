"""Finished files, by name: in a folder of this machine, or in a bucket that many machines share.

Where: `STUDIO_STORE_URL`. How to get into a bucket is not said by settings of ours: obstore reads
the variables that the cloud's own tools read, when the bucket is used for the first time.

- `s3://bucket/prefix`: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`,
  `AWS_REGION`, and `AWS_ENDPOINT_URL` for any other server that speaks S3 (MinIO, R2, Ceph, …);
- `gs://bucket/prefix`: `GOOGLE_APPLICATION_CREDENTIALS` or `GOOGLE_SERVICE_ACCOUNT_KEY`;
- `az://container/prefix`: `AZURE_STORAGE_ACCOUNT_NAME` with `AZURE_STORAGE_ACCOUNT_KEY` or a client's
  id and secret.

Without them the identity of the machine is used, where it has one.

A file is written once, whole, and appears under its name in one step. The local folder is not
obstore's: that writes files which everybody may read, and renames them before they are on the
disk, so that a power failure could leave an empty file behind a job that has succeeded.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, Protocol
from urllib.parse import urlsplit

from app.errors import JobStoreUnavailable

if TYPE_CHECKING:
    from obstore.store import AzureStore, ClientConfig, GCSStore, RetryConfig, S3Config, S3Store

MAX_FILE_BYTES: Final = 2**28
"""Largest file that is written or read; a piece and its stems stay far below."""

CHUNK_BYTES: Final = 2**16
"""What is read at a time for a caller."""

LEFTOVER_AGE_S: Final = 3_600.0
"""A temporary file of this age, in seconds, is that of a process which was killed: writing takes seconds."""

RETRY_AFTER_S: Final = 10.0
"""What `Retry-After` says when the store cannot be used."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)
_TEMPORARY: Final = ".part"


class FileGone(Exception):
    """There is no file of this name."""


class FileCorrupt(Exception):
    """The file is there and is not what was written."""


class Place(Protocol):
    """Where files are. One object serves all threads; each method raises `JobStoreUnavailable`."""

    def put(self, name: str, content: bytes, media_type: str) -> None: ...

    def chunks(self, name: str, start: int, end: int | None, sha256: str | None) -> Iterator[bytes]:
        """See `FileStore.chunks`."""

    def delete(self, name: str) -> None: ...

    def names(self) -> Iterator[str]: ...

    def address(self, name: str, expires_s: float) -> str | None: ...


class FileStore:
    """Finished files, by name. One object serves all threads, and nothing is touched before its first use.

    Every method raises `JobStoreUnavailable` when folder or bucket cannot be used, and ValueError for
    a name that is not up to 128 letters, digits, dots, hyphens and underscores, a letter or digit first.
    """

    def __init__(self, url: str | None, *, folder: Path) -> None:
        """
        Args:
            url: `s3://bucket/prefix`, `gs://…` or `az://…`; None for the folder.
            folder: Where files are without `url`; made when it is missing, for this user alone.
        """
        self._place: Place = Bucket(url) if url else Folder(folder)

    def put(self, name: str, content: bytes, *, media_type: str = "application/octet-stream") -> None:
        """Write the file, in place of an earlier one of this name. Nobody ever sees a part of it."""
        if len(content) > MAX_FILE_BYTES:
            raise ValueError(f"a file of {len(content)} bytes is larger than {MAX_FILE_BYTES}")
        self._place.put(_checked(name), content, media_type)

    def read(self, name: str, *, sha256: str | None, start: int = 0, end: int | None = None) -> bytes:
        """Return what `chunks` yields, in one piece."""
        return b"".join(self.chunks(name, sha256=sha256, start=start, end=end))

    def chunks(self, name: str, *, sha256: str | None, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Return the bytes from `start` up to `end` (None: the end of the file), as chunks.

        What is raised is raised by this call, before the first chunk.

        Args:
            name: Of the file.
            sha256: Digest that the whole file must have, in hexadecimal. Of a file in a bucket a part is not
                checked: the rest would have to be loaded for that.
            start: First byte, from 0.
            end: First byte that is not wanted, above `start`.
        Raises:
            FileGone: there is no such file.
            FileCorrupt: the digest is another, the file ends before `end`, or it is too large to be ours.
        """
        return self._place.chunks(_checked(name), start, end, sha256)

    def delete(self, name: str) -> None:
        """Delete the file; it need not be there."""
        self._place.delete(_checked(name))

    def names(self) -> Iterator[str]:
        """Yield the names of all files, in no order; those that come and go meanwhile may be missed."""
        return (name for name in self._place.names() if _NAME.fullmatch(name))

    def presigned_url(self, name: str, *, expires_s: float) -> str | None:
        """Return where anybody can load the file for the next `expires_s` seconds; None for a folder.

        The bucket's answer has the media type that was given to `put`, and no other header of ours.
        """
        return self._place.address(_checked(name), expires_s)


def _check_size(name: str, size_bytes: int, start: int, end: int | None) -> None:
    if size_bytes > MAX_FILE_BYTES:
        raise FileCorrupt(f"{name} has {size_bytes} bytes")
    if size_bytes < (start if end is None else end):
        raise FileCorrupt(f"{name} has {size_bytes} bytes where {start} to {end} were asked for")


def _check_digest(name: str, found: str, expected: str) -> None:
    if found != expected:
        raise FileCorrupt(f"{name} has another digest than when it was written")


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"not the name of a file in the store: {name!r}")
    return name


# ---------------------------------------------------------------------- a folder


class Folder:
    """Files in a folder of this machine, readable by this user alone. Several processes may share it."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        """
        Args:
            path: The folder.
            clock: What time it is, in Unix seconds.
        """
        self._path = path
        self._clock = clock
        self._swept_at_s = -LEFTOVER_AGE_S

    def put(self, name: str, content: bytes, media_type: str) -> None:  # noqa: ARG002 - a folder keeps no types
        temporary = self._path / f".{name}.{secrets.token_hex(8)}{_TEMPORARY}"
        with _disk_trouble():
            self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._sweep()
            try:
                _write(temporary, content)
                temporary.replace(self._path / name)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
            _sync_folder(self._path)

    def chunks(self, name: str, start: int, end: int | None, sha256: str | None) -> Iterator[bytes]:
        with _disk_trouble(), ExitStack() as closing:
            try:
                file = closing.enter_context((self._path / name).open("rb"))
            except FileNotFoundError:
                raise FileGone(name) from None
            size_bytes = os.fstat(file.fileno()).st_size
            _check_size(name, size_bytes, start, end)
            if sha256 is not None:
                # Read twice for that: a file costs no memory while its reader takes the time it takes.
                _check_digest(name, hashlib.file_digest(file, "sha256").hexdigest(), sha256)
            closing.pop_all()
        return _chunks_of(file, start, size_bytes if end is None else end)

    def delete(self, name: str) -> None:
        with _disk_trouble():
            (self._path / name).unlink(missing_ok=True)

    def names(self) -> Iterator[str]:
        with _disk_trouble():
            yield from (path.name for path in self._path.iterdir()) if self._path.exists() else ()

    def address(self, name: str, expires_s: float) -> None:  # noqa: ARG002 - files of a folder have none
        return None

    def _sweep(self) -> None:
        """Delete what killed processes left half written, once in a while."""
        now_s = self._clock()
        if now_s - self._swept_at_s < LEFTOVER_AGE_S:
            return
        self._swept_at_s = now_s
        for path in self._path.glob(f".*{_TEMPORARY}"):
            try:
                if now_s - path.stat().st_mtime > LEFTOVER_AGE_S:
                    path.unlink()
            except FileNotFoundError:  # its process finished it, or another one swept
                continue


def _chunks_of(file: BinaryIO, start: int, end: int) -> Iterator[bytes]:
    with file:
        file.seek(start)
        while start < end and (chunk := file.read(min(CHUNK_BYTES, end - start))):
            start += len(chunk)
            yield chunk


def _write(path: Path, content: bytes) -> None:
    """Write a new file that is on the disk when this returns."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    """Have the names in a folder on the disk: without it a power failure can undo a rename."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_DISK_TROUBLE: Final = {
    errno.ENOSPC: "The disk of the finished files is full.",
    errno.EDQUOT: "The disk of the finished files is full.",
    errno.EFBIG: "The disk of the finished files is full.",
    errno.EROFS: "The disk of the finished files can only be read.",
    errno.EACCES: "The folder of the finished files may not be used by this service.",
    errno.EPERM: "The folder of the finished files may not be used by this service.",
    errno.ENOTDIR: "The folder of the finished files is no folder.",
    errno.EEXIST: "The folder of the finished files is no folder.",
}


@contextmanager
def _disk_trouble() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        detail = _DISK_TROUBLE.get(error.errno or 0, "The disk of the finished files has a problem.")
        raise _unavailable(detail, error) from error


# ---------------------------------------------------------------------- a bucket

_CLIENT: Final[ClientConfig] = {
    "connect_timeout": "5s",
    "timeout": "60s",
    # Addresses of clouds are https; one that an operator writes with http is meant so.
    "allow_http": True,
}
_RETRIES: Final[RetryConfig] = {"max_retries": 3, "retry_timeout": timedelta(seconds=30)}
"""Together: a request is given up 90 seconds after it began, at the latest."""


class Bucket:
    """Files in a bucket of S3 or whatever speaks like it, of Google Cloud Storage or Azure Blob Storage."""

    def __init__(self, url: str) -> None:
        """
        Args:
            url: `s3://bucket/prefix`, `gs://bucket/prefix` or `az://container/prefix`; the prefix may be missing.
        """
        parts = urlsplit(url)
        self._scheme, self._bucket, self._prefix = parts.scheme, parts.netloc, parts.path.strip("/") or None
        self._opened: S3Store | GCSStore | AzureStore | None = None

    def put(self, name: str, content: bytes, media_type: str) -> None:
        import obstore

        with self._trouble():
            try:
                # In one request: parts of an upload that was cut off would stay, be paid for, and be seen by nobody.
                obstore.put(self._store(), name, content, attributes={"Content-Type": media_type}, use_multipart=False)
            except FileNotFoundError as error:
                raise _unavailable("The bucket of the finished files does not exist.", error) from error

    def chunks(self, name: str, start: int, end: int | None, sha256: str | None) -> Iterator[bytes]:
        import obstore

        with self._trouble():
            is_whole = start == 0 and end is None
            result = obstore.get(self._store(), name, options={} if is_whole else {"range": (start, end or 2**62)})
            size_bytes = result.meta["size"]
            _check_size(name, size_bytes, start, end)  # what cannot be ours is not even begun to be read
            content = bytes(result.bytes())
        if sha256 is not None and len(content) == size_bytes:
            _check_digest(name, hashlib.sha256(content).hexdigest(), sha256)
        return iter((content,))

    def delete(self, name: str) -> None:
        import obstore

        try:
            with self._trouble():
                obstore.delete(self._store(), name)
        except FileGone:
            return

    def names(self) -> Iterator[str]:
        import obstore

        with self._trouble():
            for page in obstore.list(self._store()):
                yield from (entry["path"] for entry in page)

    def address(self, name: str, expires_s: float) -> str:
        import obstore

        with self._trouble():
            return obstore.sign(self._store(), "GET", name, timedelta(seconds=expires_s))

    def _store(self) -> S3Store | GCSStore | AzureStore:
        """Return the client; two threads that come first may make two, of which one is kept."""
        if self._opened is None:
            self._opened = self._open()
        return self._opened

    def _open(self) -> S3Store | GCSStore | AzureStore:
        from obstore.store import AzureStore, GCSStore, S3Store

        prefix = self._prefix
        match self._scheme:
            case "s3":
                # Deleting in bulk is something that many servers which speak S3 do not know.
                config: S3Config = {"disable_bulk_delete": True}
                return S3Store(
                    self._bucket, prefix=prefix, config=config, client_options=_CLIENT, retry_config=_RETRIES
                )
            case "gs":
                return GCSStore(self._bucket, prefix=prefix, client_options=_CLIENT, retry_config=_RETRIES)
            case "az":
                return AzureStore(self._bucket, prefix=prefix, client_options=_CLIENT, retry_config=_RETRIES)
            case _:
                raise ValueError(f"not a bucket of S3, Google or Azure: {self._scheme}://")

    @contextmanager
    def _trouble(self) -> Iterator[None]:
        from obstore.exceptions import BaseError

        try:
            yield
        except (BaseError, OSError) as error:
            details = (detail for words, detail in _BUCKET_TROUBLE if any(each in str(error) for each in words))
            detail = next(details, None)
            if detail is None and isinstance(error, FileNotFoundError):
                raise FileGone(str(error).partition("\n")[0]) from None
            raise _unavailable(detail or "The bucket of the finished files cannot be reached.", error) from error


# By its words, because the class is not enough: a missing bucket is a missing file to obstore, and
# whatever goes wrong with a list is "generic".
_BUCKET_TROUBLE: Final = (
    (
        ("NoSuchBucket", "ContainerNotFound", "bucket does not exist"),
        "The bucket of the finished files does not exist.",
    ),
    (("401 Unauthorized", "403 Forbidden"), "The bucket of the finished files refuses this service."),
)


def _unavailable(detail: str, error: Exception) -> JobStoreUnavailable:
    return JobStoreUnavailable(detail, retry_after_s=RETRY_AFTER_S, log_text=str(error))
