"""Finished files in a folder: whole or not there, private, and honest about a disk that is none."""

from __future__ import annotations

import errno
import hashlib
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import store as store_module
from app.errors import JobStoreUnavailable
from app.store import LEFTOVER_AGE_S, FileCorrupt, FileGone, FileStore, Folder

CONTENT: Final = bytes(range(256)) * 40
SHA256: Final = hashlib.sha256(CONTENT).hexdigest()
NAME: Final = "0123456789abcdef.wav"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return where the files will be; nobody has made it yet, nor what it lies in."""
    return tmp_path / "data" / "files"


@pytest.fixture
def store(folder: Path) -> FileStore:
    return FileStore(None, folder=folder)


# ---------------------------------------------------------------------- what is put is what is read


def test_a_file_comes_back_as_it_was(store: FileStore) -> None:
    store.put(NAME, CONTENT, media_type="audio/wav")

    assert store.read(NAME, sha256=SHA256) == CONTENT
    assert store.read(NAME, sha256=None) == CONTENT
    assert list(store.names()) == [NAME]


@pytest.mark.parametrize(("start", "end"), [(0, 1), (0, 10_240), (1, 10_240), (10_239, 10_240), (5_000, None)])
def test_a_part_is_that_part(store: FileStore, start: int, end: int | None) -> None:
    store.put(NAME, CONTENT)

    assert store.read(NAME, sha256=SHA256, start=start, end=end) == CONTENT[start:end]


def test_an_empty_file_is_a_file(store: FileStore) -> None:
    store.put(NAME, b"")

    assert store.read(NAME, sha256=hashlib.sha256(b"").hexdigest()) == b""


def test_a_file_that_is_put_again_replaces_the_first(store: FileStore) -> None:
    store.put(NAME, b"an earlier attempt, which was longer")
    store.put(NAME, CONTENT)

    assert store.read(NAME, sha256=SHA256) == CONTENT
    assert list(store.names()) == [NAME]


def test_what_is_not_there_is_gone(store: FileStore) -> None:
    for _ in ("before the folder is there", "and after"):
        with pytest.raises(FileGone):
            store.read(NAME, sha256=SHA256)
        assert list(store.names()) == []
        store.delete(NAME)
        store.put(NAME, CONTENT)
        store.delete(NAME)


def test_another_content_than_what_was_put_is_corrupt(store: FileStore, folder: Path) -> None:
    store.put(NAME, CONTENT)
    (folder / NAME).write_bytes(CONTENT[:-1] + b"\0")

    for end in (None, len(CONTENT)):
        with pytest.raises(FileCorrupt, match="another digest"):
            store.read(NAME, sha256=SHA256, end=end)


@pytest.mark.parametrize("start", [0, 100, 20_000])
def test_a_file_that_ends_early_is_corrupt(store: FileStore, folder: Path, start: int) -> None:
    store.put(NAME, CONTENT)
    os.truncate(folder / NAME, 5_000)

    with pytest.raises(FileCorrupt):
        store.read(NAME, sha256=SHA256, start=start, end=start + 10_000)


def test_a_file_too_large_to_be_ours_is_not_read(store: FileStore, folder: Path) -> None:
    store.put(NAME, b"")
    os.truncate(folder / NAME, store_module.MAX_FILE_BYTES + 1)  # without a byte on the disk

    with pytest.raises(FileCorrupt, match="bytes"):
        store.read(NAME, sha256=None, end=10)


def test_a_file_too_large_is_not_written(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "MAX_FILE_BYTES", 10)

    with pytest.raises(ValueError, match="larger than 10"):
        store.put(NAME, b"eleven byte")


BAD_NAMES: Final = ("", ".", "..", ".hidden", "a/b", "../a", "a\\b", "a\0", "a\n", "é", "a" * 129, "-a", "~")


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_cannot_lead_anywhere_else(store: FileStore, name: str) -> None:
    uses: tuple[Callable[[], object], ...] = (
        lambda: store.put(name, b""),
        lambda: store.read(name, sha256=None),
        lambda: store.delete(name),
        lambda: store.presigned_url(name, expires_s=60),
    )
    for use in uses:
        with pytest.raises(ValueError, match="not the name of a file"):
            use()


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", fullmatch=True), st.binary(max_size=300))
def test_any_content_comes_back_under_any_name(
    tmp_path_factory: pytest.TempPathFactory, name: str, content: bytes
) -> None:
    store = FileStore(None, folder=tmp_path_factory.mktemp("files"))
    store.put(name, content)

    assert store.read(name, sha256=hashlib.sha256(content).hexdigest()) == content
    assert list(store.names()) == [name]


def test_a_folder_has_no_addresses(store: FileStore) -> None:
    store.put(NAME, CONTENT)

    assert store.presigned_url(NAME, expires_s=60) is None


def test_an_unknown_kind_of_place_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="ftp://"):
        FileStore("ftp://host/files", folder=Path()).delete(NAME)


# ---------------------------------------------------------------------- whole, private, and on the disk


def test_nobody_else_can_read_the_files(store: FileStore, folder: Path) -> None:
    before = os.umask(0)
    try:
        store.put(NAME, CONTENT)
    finally:
        os.umask(before)

    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / NAME).stat().st_mode & 0o777 == 0o600


def test_a_file_is_on_the_disk_before_it_gets_its_name(
    store: FileStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power failure must not leave an empty file under the name of a finished one."""
    synced: list[tuple[bool, int, bool]] = []
    really_sync = os.fsync

    def sync(descriptor: int) -> None:
        is_folder = Path(f"/dev/fd/{descriptor}").is_dir()
        synced.append((is_folder, os.fstat(descriptor).st_size, (folder / NAME).exists()))
        really_sync(descriptor)

    monkeypatch.setattr(os, "fsync", sync)
    store.put(NAME, CONTENT)

    (file_is_folder, size_bytes, had_name), (folder_is_folder, _, has_name) = synced
    assert (file_is_folder, size_bytes, had_name) == (False, len(CONTENT), False)
    assert (folder_is_folder, has_name) == (True, True)


def test_whoever_reads_while_a_file_is_replaced_sees_one_of_both(store: FileStore) -> None:
    contents = [bytes([byte]) * 300_000 for byte in range(2)]
    digests = {hashlib.sha256(content).hexdigest() for content in contents}
    store.put(NAME, contents[0])
    is_over = threading.Event()

    def replace() -> None:
        for turn in range(60):
            store.put(NAME, contents[turn % 2])
        is_over.set()

    thread = threading.Thread(target=replace)
    thread.start()
    while not is_over.is_set():
        assert hashlib.sha256(store.read(NAME, sha256=None)).hexdigest() in digests
    thread.join()


def test_many_may_write_at_the_same_time(store: FileStore) -> None:
    threads = [threading.Thread(target=store.put, args=(f"{number}.wav", CONTENT)) for number in range(8)]
    threads += [threading.Thread(target=store.put, args=(NAME, CONTENT)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(store.names()) == sorted([NAME, *(f"{number}.wav" for number in range(8))])
    assert all(store.read(name, sha256=SHA256) for name in store.names())


WRITER: Final = """
import itertools, sys
from pathlib import Path
from app.store import FileStore

store = FileStore(None, folder=Path(sys.argv[1]))
for number in itertools.count():
    store.put(f"{number % 5}.wav", bytes([number % 256]) * 8_000_000)
    print("put", flush=True)
"""


def test_a_process_that_is_killed_while_it_writes_leaves_no_half_file(folder: Path) -> None:
    for delay_s in (0.0, 0.004, 0.009, 0.015):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
        ) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"put\n"
            time.sleep(delay_s)  # to be somewhere in the midst of the next file
            writer.send_signal(signal.SIGKILL)
    store = FileStore(None, folder=folder)

    assert list(store.names())
    for name in store.names():
        content = store.read(name, sha256=None)
        assert content == content[:1] * 8_000_000


def test_what_killed_processes_left_is_swept_once_nobody_can_be_writing_it(folder: Path) -> None:
    now_s = time.time()
    folder.mkdir(parents=True)
    leftovers = [folder / f".{NAME}.{number}.part" for number in range(2)]
    others = [folder / ".keep", folder / "b.part"]
    for path in (*leftovers, *others):
        path.write_bytes(b"half a file")
    clock_s = now_s
    place = Folder(folder, clock=lambda: clock_s)

    place.put("a.wav", CONTENT, "audio/wav")
    assert all(path.exists() for path in leftovers), "somebody may be writing them"

    clock_s = now_s + LEFTOVER_AGE_S + 60
    place.put("b.wav", CONTENT, "audio/wav")
    assert not any(path.exists() for path in leftovers)
    assert all(path.exists() for path in others)


def test_two_processes_may_sweep_at_the_same_time(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / f".{NAME}.0.part").symlink_to("what the other one has just deleted")

    Folder(folder).put(NAME, CONTENT, "audio/wav")

    assert (folder / NAME).exists()


def test_leftovers_have_no_names(store: FileStore, folder: Path) -> None:
    store.put(NAME, CONTENT)
    (folder / f".{NAME}.0.part").write_bytes(b"half a file")

    assert list(store.names()) == [NAME]


# ---------------------------------------------------------------------- a disk that fails


def test_a_full_disk_is_told_and_takes_nothing_away(store: FileStore, folder: Path) -> None:
    store.put(NAME, CONTENT)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, hard))
    try:
        with pytest.raises(JobStoreUnavailable) as failure:
            store.put(NAME, CONTENT * 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert failure.value.detail == "The disk of the finished files is full."
    assert failure.value.retry_after_s
    assert [path.name for path in folder.iterdir()] == [NAME]
    assert store.read(NAME, sha256=SHA256) == CONTENT


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "is full"),
        (errno.EDQUOT, "is full"),
        (errno.EROFS, "can only be read"),
        (errno.EACCES, "may not be used"),
        (errno.EIO, "has a problem"),
    ],
)
def test_each_trouble_of_the_disk_has_its_sentence(
    store: FileStore, folder: Path, monkeypatch: pytest.MonkeyPatch, code: int, words: str
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(code, "what the system says")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(JobStoreUnavailable, match=words) as failure:
        store.put(NAME, CONTENT)

    assert "what the system says" in failure.value.log_text
    assert "what the system says" not in failure.value.detail
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("path", ["file", "file/below"])
def test_a_folder_that_is_a_file_is_told(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    store = FileStore(None, folder=tmp_path / path)

    with pytest.raises(JobStoreUnavailable, match="is no folder"):
        store.put(NAME, CONTENT)


def test_a_file_that_cannot_be_read_is_no_lost_file(store: FileStore, folder: Path) -> None:
    (folder / NAME).mkdir(parents=True)

    with pytest.raises(JobStoreUnavailable, match="has a problem"):
        store.read(NAME, sha256=SHA256)
    with pytest.raises(JobStoreUnavailable, match="has a problem"):
        store.delete(NAME)
