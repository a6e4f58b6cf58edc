"""The WSGI entry point: `gunicorn wsgi:app`."""

from __future__ import annotations

import sys

from app import create_app
from app.settings import SettingsError

try:
    app = create_app()
except SettingsError as error:
    sys.exit(f"These settings cannot be used:\n{error}")
