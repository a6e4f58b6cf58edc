"""How gunicorn serves Studio: one process, many threads, because a generation is mostly waiting.

gunicorn reads this file by itself when it is started in this folder: `gunicorn wsgi:app`.
"""

from __future__ import annotations

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
from app.settings import SettingsError, load

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


# Threads beyond the generations: for `/health`, for refusing what is too much, and for
# callers who take their time to fetch an answer.
_SPARE_THREADS = 32
# What the platform allows from SIGTERM to SIGKILL is 30 s (Render's default).
_GRACEFUL_STOP_S = 25
_BACKGROUND_STOP_S = 20

bind = _settings.bind
workers = 1
worker_class = "gthread"
threads = _settings.max_active + _settings.max_streams + _SPARE_THREADS
# Connections kept open between two requests cost no thread, but count here.
worker_connections = threads + 1_000
preload_app = False

# A thread may take as long as the deadline allows: this is about a worker whose main loop
# no longer turns. It is longer than any request all the same, should the class be changed.
timeout = math.ceil(_settings.deadline_s) + 30
graceful_timeout = _GRACEFUL_STOP_S
# Longer than proxies keep idle connections, or they send a request into one that just closes.
keepalive = 75

limit_request_line = 4_094
limit_request_fields = 64
limit_request_field_size = 8_190

loglevel = _settings.log_level.lower()
logger_class = _Logger
accesslog = None

# The heartbeat is a file: on a disk that stalls, a healthy worker would look dead.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - gunicorn makes it unguessable
control_socket_disable = True


class _Worker(Protocol):
    """What is used here of gunicorn's worker."""

    wsgi: Flask


def post_worker_init(worker: _Worker) -> None:
    """Start what goes on beside the requests, and have it end together with them."""
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
