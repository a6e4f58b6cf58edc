"""Stems: the players of a piece one by one, as WAVs in a ZIP."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable
from typing import Final

from app.audio import encode_pcm16

_DEFLATE_LEVEL: Final = 1
"""Samples hardly compress; the higher levels take several times as long for a few per cent."""

_OLDEST: Final = (1980, 1, 1, 0, 0, 0)
_UNIX: Final = 3
_READABLE: Final = 0o644 << 16


def zip_stems(stems: Iterable[tuple[str, bytes]], *, rate_hz: int, channels: int) -> bytes:
    """Return a ZIP of one WAV for each stem; the same stems give the same bytes.

    Args:
        stems: Names without an ending, and interleaved little-endian 16-bit samples. They are taken one at a
            time: only one is held uncompressed. A player who rests throughout is left out.
        rate_hz: Frames a second.
        channels: Samples a frame.
    """
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, pcm in stems:
            if pcm.count(0) == len(pcm):
                continue
            # The time and the system of this machine would make the same piece a different file each time.
            entry = zipfile.ZipInfo(f"{name}.wav", date_time=_OLDEST)
            entry.create_system, entry.external_attr = _UNIX, _READABLE
            wav = encode_pcm16(pcm, rate_hz=rate_hz, channels=channels)
            archive.writestr(entry, wav.content, zipfile.ZIP_DEFLATED, _DEFLATE_LEVEL)
    return out.getvalue()
