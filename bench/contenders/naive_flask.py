"""The gateway as one would first write it: no limits, no proof, no mapping of failures."""

from __future__ import annotations

import base64
import os

import requests
from flask import Flask, Response, request

app = Flask(__name__)
UPSTREAM = os.environ["UPSTREAM_URL"]


@app.post("/studio-generate")
def generate() -> Response:
    body = request.get_json()
    answer = requests.post(UPSTREAM, json={"data": [body["prompt"], body["duration"]]}, timeout=60)
    answer.raise_for_status()
    return Response(base64.b64decode(answer.json()["data"][0]["data"]), mimetype="audio/wav")
