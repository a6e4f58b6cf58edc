"""What the upstream sends: WAVs, and their base64 in the JSON that a Gradio 3 server wraps them in."""

from __future__ import annotations

import base64
import functools
import json
import math
import struct
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Sample:
    """One answer.

    Attributes:
        path: Where the upstream gives it.
        duration_s: Its length; `rate_hz`, `channels` and `bits` describe it as a WAV's header does.
        delay_s: How long the upstream takes; such answers are held back until none has come in for so long.
    """

    path: str
    duration_s: float
    rate_hz: int
    channels: int
    bits: int
    delay_s: float = 0.0

    def wav(self) -> bytes:
        """Return a tone as a WAV file."""
        return _wav(self)

    def answer(self) -> bytes:
        """Return the body of the upstream's answer."""
        return json.dumps({"data": [{"name": "audio.wav", "data": base64.b64encode(self.wav()).decode()}]}).encode()


@functools.cache
def _wav(sample: Sample) -> bytes:
    values = (round(9_000 * math.sin(index / 30)) for index in range(sample.rate_hz))
    if sample.bits == 8:
        frames = ((128 + value // 256).to_bytes(1, "little") for value in values)
    else:
        frames = (value.to_bytes(2, "little", signed=True) for value in values)
    one_second = b"".join(frame * sample.channels for frame in frames)
    frame_bytes = sample.channels * sample.bits // 8
    data = (one_second * math.ceil(sample.duration_s))[: round(sample.duration_s * sample.rate_hz) * frame_bytes]
    header = struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        *(b"RIFF", 36 + len(data), b"WAVE", b"fmt ", 16, 1, sample.channels, sample.rate_hz),
        *(sample.rate_hz * frame_bytes, frame_bytes, sample.bits, b"data", len(data)),
    )
    return header + data


LONG: Final = Sample("/long", 30.0, 44_100, 2, 16)
"""5.3 MB, in an answer of 7.1 MB."""

SHORT: Final = Sample("/short", 0.5, 4_000, 1, 8)
"""2 KB, in an answer of 2.8 KB: the shortest and coarsest sound that this service lets pass."""

SLOW: Final = Sample("/slow", 5.0, 44_100, 2, 16, delay_s=10.0)
"""0.9 MB, in an answer of 1.2 MB."""

SAMPLES: Final = (LONG, SHORT, SLOW)
