"""The smallest service that can say that it is up."""

from __future__ import annotations

from flask import Flask

app = Flask(__name__)


@app.get("/health")
def is_up() -> dict[str, str]:
    return {"status": "ok"}
