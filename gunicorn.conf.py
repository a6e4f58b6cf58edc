"""How gunicorn serves Studio: one process, many threads, because a generation is mostly waiting.

gunicorn reads this file by itself when it is started in this folder: `gunicorn wsgi:app`.
"""

from __future__ import annotations

import gc
import logging
import math
import os
import signal
import sys
from types import FrameType
from typing import Protocol

from flask import Flask
from gunicorn import glogging

from app import background, logs
from app.serving.files import allow_open_files
from app.serving.worker import Limits, Worker
from app.settings import SettingsError, load
from app.web.body import LARGE_BODIES, MAX_BODY_BYTES, MAX_TEXT_BODY_BYTES

try:
    _settings = load()
except SettingsError as error:
    sys.exit(f"These settings cannot be used:\n{error}")

logs.configure(_settings)


class _Logger(glogging.Logger):  # type: ignore[misc]  # gunicorn has no types
    """Hands gunicorn's own lines to the handler of `app.logs`, and keeps its access log off."""

    def setup(self, cfg: object) -> None:
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True
        logging.captureWarnings(capture=True)


# Threads that nobody can occupy for long: for `/health`, and for refusing what is too much.
_SPARE_THREADS = 32
# Callers who take their time to fetch an answer: as many as generations may end at once. An answer is in memory until
# it is taken, and a piece of 30 s in stereo has 5.3 MB.
_SLOW_READERS = max(_settings.max_active, 64)
_SLOW_BYTES = max(_settings.max_active, 16) * 6_000_000
# Connections that have nothing to do yet, with what came of their requests: the worst that slow senders can cost.
# All who may be answered at once may also come at once.
_MAX_WAITING = 1_000 + _settings.max_active
_MAX_WAITING_BYTES = 16 * 2**20
# Logs that are collected at a time to be analysed: half of those bytes, so that others can send meanwhile.
_MAX_LARGE = 4
# Complete requests that no thread has taken up yet, and their size together; beyond these callers are refused.
_MAX_QUEUED = 1_000 + _settings.max_active
_MAX_QUEUED_BYTES = 16 * 2**20
# What is open besides connections: listeners, logs, the jobs' database and files, code that is being imported.
_OTHER_FILES = 200
# What the platform allows from SIGTERM to SIGKILL is 30 s (Render's default).
_GRACEFUL_STOP_S = 25
_BACKGROUND_STOP_S = 20

bind = _settings.bind
workers = 1
threads = _settings.max_active + _settings.max_streams + _SLOW_READERS + _SPARE_THREADS
worker_connections = threads + _MAX_WAITING + _MAX_QUEUED
preload_app = False

_files = allow_open_files(worker_connections + _settings.max_active + _OTHER_FILES)


class StudioWorker(Worker):
    """gunicorn's threads, within what callers may take up here."""

    limits = Limits(
        max_body_bytes=MAX_BODY_BYTES,
        larger_bodies=tuple((start, MAX_TEXT_BODY_BYTES) for start in LARGE_BODIES),
        max_large=_MAX_LARGE,
        request_timeout_s=_settings.request_timeout_s,
        send_timeout_s=_settings.send_timeout_s,
        # Where the system allows few open files, half of them are for those who are being answered.
        max_waiting=min(_MAX_WAITING, _files // 2),
        max_waiting_bytes=_MAX_WAITING_BYTES,
        max_queued=min(_MAX_QUEUED, _files // 4),
        max_queued_bytes=_MAX_QUEUED_BYTES,
        max_slow_readers=_SLOW_READERS,
        max_slow_bytes=_SLOW_BYTES,
        # Whoever runs this service ends it when this goes unanswered; it touches nothing that could be slow.
        express=(b"GET /health ", b"HEAD /health "),
    )


worker_class = StudioWorker


# A thread may take as long as the deadline allows: this is about a worker whose main loop
# no longer turns. It is longer than any request all the same, should the class be changed.
timeout = math.ceil(_settings.deadline_s) + 30
graceful_timeout = _GRACEFUL_STOP_S
# Longer than proxies keep idle connections, or they send a request into one that just closes.
keepalive = 75

limit_request_line = 4_094
limit_request_fields = 64
limit_request_field_size = 8_190
# Who is believed about `X-Forwarded-…` is for `STUDIO_TRUSTED_PROXIES` to say; gunicorn would believe this machine.
forwarded_allow_ips = ""

loglevel = _settings.log_level.lower()
logger_class = _Logger
accesslog = None

# The heartbeat is a file: on a disk that stalls, a healthy worker would look dead.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - gunicorn makes it unguessable
control_socket_disable = True


class _Worker(Protocol):
    """What is used here of gunicorn's worker."""

    wsgi: Flask


def post_fork(_: object, __: object) -> None:
    """Do not look for garbage while the application is loaded: all that is made there stays."""
    gc.disable()


def post_worker_init(worker: _Worker) -> None:
    """Start what goes on beside the requests, and have it end together with them."""
    gc.freeze()
    gc.enable()
    aside = background(worker.wsgi)
    stop_serving = signal.getsignal(signal.SIGTERM)

    def stop(number: int, frame: FrameType | None) -> None:
        # gunicorn waits for open requests first and calls `worker_exit` after them: event streams would
        # not end by themselves, and running jobs would get what time is left.
        aside.stop()
        if callable(stop_serving):
            stop_serving(number, frame)

    signal.signal(signal.SIGTERM, stop)
    aside.start()


def worker_exit(_: object, worker: _Worker) -> None:
    """End the process, with whatever is still at work: an ordinary end would wait for the threads of jobs."""
    if not hasattr(worker, "wsgi"):  # it could not load the application
        return
    aside = background(worker.wsgi)
    aside.stop()
    aside.join(_BACKGROUND_STOP_S)
    logging.shutdown()
    aside.leave()
    os._exit(0)
