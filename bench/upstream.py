"""An upstream that costs next to nothing: one prepared answer for every POST."""

from __future__ import annotations

import base64
import json
import math
import struct
import sys
from array import array
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECONDS, RATE_HZ = 30, 44_100


def wav() -> bytes:
    """Return 30 s of a stereo tone, 5.3 MB."""
    tone = array("h", [round(9_000 * math.sin(index / 30)) for index in range(RATE_HZ)])
    stereo = array("h", [sample for sample in tone for _ in range(2)]).tobytes() * SECONDS
    header = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + len(stereo), b"WAVE", b"fmt ", 16, 1, 2, RATE_HZ,
                         4 * RATE_HZ, 4, 16, b"data", len(stereo))  # fmt: skip
    return header + stereo


ANSWER = json.dumps({"data": [{"name": "audio.wav", "data": base64.b64encode(wav()).decode()}]}).encode()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(ANSWER)))
        self.end_headers()
        self.wfile.write(ANSWER)

    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, format: str, *args: object) -> None:
        pass


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
