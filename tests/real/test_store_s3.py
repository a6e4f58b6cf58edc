"""Finished files in a bucket: a real server that speaks S3 (moto), and servers that fail in every way."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

import pytest

from app import store as store_module
from app.errors import JobStoreUnavailable
from app.store import FileCorrupt, FileGone, FileStore

pytestmark = pytest.mark.real

CONTENT: Final = bytes(range(256)) * 40
SHA256: Final = hashlib.sha256(CONTENT).hexdigest()
NAME: Final = "0123456789abcdef.wav"
NO_FOLDER: Final = Path("/nowhere")

MakeStore = Callable[..., FileStore]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Return the URL of a server that speaks S3 and has a bucket `music`."""
    from moto.server import ThreadedMotoServer

    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    url = f"http://{host}:{port}"
    try:
        with urllib.request.urlopen(urllib.request.Request(f"{url}/music", method="PUT"), timeout=10):
            yield url
    finally:
        moto.stop()


@pytest.fixture
def store_at(monkeypatch: pytest.MonkeyPatch) -> MakeStore:
    """Return how to open a store at a server, as an operator would: by the variables of the cloud's own tools."""

    def make(server: str, url: str = "s3://music") -> FileStore:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        return FileStore(url, folder=NO_FOLDER)

    return make


@pytest.fixture
def store(store_at: MakeStore, server: str, request: pytest.FixtureRequest) -> FileStore:
    """Return a store with a prefix that no other test uses."""
    return store_at(server, f"s3://music/{request.node.originalname}")


# ---------------------------------------------------------------------- what is put is what is read


def test_a_file_comes_back_as_it_was_and_can_be_replaced(store: FileStore) -> None:
    store.put(NAME, b"an earlier attempt")
    store.put(NAME, CONTENT, media_type="audio/wav")

    assert store.read(NAME, sha256=SHA256) == CONTENT
    assert list(store.names()) == [NAME]


@pytest.mark.parametrize(("start", "end"), [(0, 1), (0, 10_240), (1, 10_240), (10_239, 10_240), (5_000, None)])
def test_a_part_is_that_part(store: FileStore, start: int, end: int | None) -> None:
    store.put(NAME, CONTENT)

    assert store.read(NAME, sha256=SHA256, start=start, end=end) == CONTENT[start:end]


def test_a_file_of_many_megabytes_is_put_in_one_piece(store: FileStore) -> None:
    content = CONTENT * 2_000
    store.put(NAME, content)

    assert store.read(NAME, sha256=hashlib.sha256(content).hexdigest()) == content


def test_an_empty_file_is_a_file(store: FileStore) -> None:
    store.put(NAME, b"")

    assert store.read(NAME, sha256=hashlib.sha256(b"").hexdigest()) == b""


def test_what_is_not_there_is_gone_and_can_be_deleted(store: FileStore) -> None:
    for _ in range(2):
        with pytest.raises(FileGone):
            store.read(NAME, sha256=SHA256)
        with pytest.raises(FileGone):
            store.read(NAME, sha256=SHA256, start=1, end=2)
        assert list(store.names()) == []
        store.delete(NAME)
        store.put(NAME, CONTENT)
        store.delete(NAME)


def test_prefixes_are_apart(store_at: MakeStore, server: str) -> None:
    one, other = store_at(server, "s3://music/prefix/one/"), store_at(server, "s3://music/prefix/other")
    one.put(NAME, CONTENT)

    assert list(other.names()) == []
    assert list(one.names()) == [NAME]


def test_names_come_page_after_page(store: FileStore) -> None:
    for number in range(60):
        store.put(f"{number:03}.wav", b"x")

    assert sorted(store.names()) == [f"{number:03}.wav" for number in range(60)]


def test_another_content_than_what_was_put_is_corrupt(store: FileStore) -> None:
    store.put(NAME, b"something else")

    for end in (None, 14):
        with pytest.raises(FileCorrupt, match="another digest"):
            store.read(NAME, sha256=SHA256, end=end)
    with pytest.raises(FileCorrupt, match="14 bytes"):
        store.read(NAME, sha256=SHA256, start=10, end=20)


def test_a_file_too_large_to_be_ours_is_not_read(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put(NAME, CONTENT)
    monkeypatch.setattr(store_module, "MAX_FILE_BYTES", 1_000)

    with pytest.raises(FileCorrupt, match=f"{len(CONTENT)} bytes"):
        store.read(NAME, sha256=SHA256)


def test_many_threads_may_use_it_from_the_first_moment(store: FileStore) -> None:
    threads = [threading.Thread(target=store.put, args=(f"{number}.wav", CONTENT)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert all(store.read(f"{number}.wav", sha256=SHA256) == CONTENT for number in range(8))


# ---------------------------------------------------------------------- addresses


def test_an_address_needs_no_credentials_and_ends(store: FileStore) -> None:
    store.put(NAME, CONTENT, media_type="audio/wav")
    url = store.presigned_url(NAME, expires_s=60)

    assert url is not None
    assert "X-Amz-Expires=60&" in url
    assert "secret" not in url
    with urllib.request.urlopen(url, timeout=10) as answer:
        assert answer.read() == CONTENT
        assert answer.headers["Content-Type"] == "audio/wav"


def test_azure_has_addresses_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "studio")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "c2VjcmV0")

    url = FileStore("az://music/pieces", folder=NO_FOLDER).presigned_url(NAME, expires_s=60)

    assert url is not None
    assert url.startswith(f"https://studio.blob.core.windows.net/music/pieces/{NAME}?")


# ---------------------------------------------------------------------- buckets that fail


@contextmanager
def answering(*statuses: int) -> Iterator[tuple[str, list[str]]]:
    """Serve these statuses, one after the other; the last one stays. Gives the URL and what was asked."""
    left, asked = list(statuses), list[str]()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            asked.append(self.command)
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(left.pop(0) if len(left) > 1 else left[0])
            self.send_header("ETag", '"1"')
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_PUT = do_HEAD = do_DELETE = answer  # noqa: N815 - the names are http.server's

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


def each_use(store: FileStore) -> dict[str, Callable[[], object]]:
    return {
        "put": lambda: store.put(NAME, CONTENT),
        "read": lambda: store.read(NAME, sha256=SHA256),
        "delete": lambda: store.delete(NAME),
        "names": lambda: list(store.names()),
    }


USES: Final = ("put", "read", "delete", "names")


@pytest.mark.parametrize("use", ["put", "read", "names"])
def test_a_bucket_that_does_not_exist_is_told(store_at: MakeStore, server: str, use: str) -> None:
    with pytest.raises(JobStoreUnavailable) as failure:
        each_use(store_at(server, "s3://another"))[use]()

    assert failure.value.detail == "The bucket of the finished files does not exist."


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("status", [401, 403])
def test_a_bucket_that_refuses_us_is_told(store_at: MakeStore, use: str, status: int) -> None:
    with answering(status) as (url, asked), pytest.raises(JobStoreUnavailable, match="refuses") as failure:
        each_use(store_at(url))[use]()

    assert len(asked) == 1
    assert failure.value.retryable
    assert failure.value.retry_after_s


@pytest.mark.parametrize("use", USES)
def test_a_bucket_that_cannot_be_reached_is_told_soon(store_at: MakeStore, use: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    started_s = time.monotonic()
    with pytest.raises(JobStoreUnavailable, match="cannot be reached"):
        each_use(store_at(f"http://127.0.0.1:{port}"))[use]()
    assert time.monotonic() - started_s < 10


def test_a_bucket_that_says_nothing_is_given_up(store_at: MakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(store_module._CLIENT, "timeout", "200ms")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        store = store_at(f"http://127.0.0.1:{listener.getsockname()[1]}")
        started_s = time.monotonic()
        with pytest.raises(JobStoreUnavailable, match="cannot be reached"):
            store.read(NAME, sha256=SHA256)
        assert time.monotonic() - started_s < 10


@pytest.mark.parametrize("use", ["put", "delete"])
def test_what_passes_by_itself_is_tried_again(store_at: MakeStore, use: str) -> None:
    with answering(503, 500, 200) as (url, asked):
        each_use(store_at(url))[use]()

    assert len(asked) == 3


def test_what_stays_is_not_tried_for_ever(store_at: MakeStore) -> None:
    with answering(503) as (url, asked), pytest.raises(JobStoreUnavailable, match="cannot be reached"):
        store_at(url).put(NAME, CONTENT)

    assert len(asked) == 4


def test_deleting_what_a_server_calls_missing_is_done(store_at: MakeStore) -> None:
    """S3 has nothing against it; Google's and Azure's servers, and some that speak S3, say 404."""
    with answering(404) as (url, asked):
        store_at(url).delete(NAME)

    assert asked == ["DELETE"]


def test_a_bucket_of_google_is_used_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(404) as (url, asked):
        key = {"gcs_base_url": url, "disable_oauth": True, "client_email": "", "private_key": "", "private_key_id": ""}
        monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT_KEY", json.dumps(key))
        FileStore("gs://music/pieces", folder=NO_FOLDER).delete(NAME)

    assert asked == ["DELETE"]


def test_credentials_that_are_missing_are_told(store_at: MakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(404) as (url, _):
        store = store_at(url)
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        monkeypatch.setenv("AWS_METADATA_ENDPOINT", url)  # where the identity of the machine would be
        with pytest.raises(JobStoreUnavailable):
            store.put(NAME, CONTENT)
