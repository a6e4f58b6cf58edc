"""The service with an engine that takes as many seconds as `TEST_ENGINE_TAKES_S` says; for gunicorn to serve."""

from __future__ import annotations

import os
import time

from fakes import FakeEngine

from app import create_app

_takes_s = float(os.environ["TEST_ENGINE_TAKES_S"])

app = create_app(engine=FakeEngine(while_working=lambda: time.sleep(_takes_s)))
