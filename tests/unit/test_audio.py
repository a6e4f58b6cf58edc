"""What `app.audio` takes for audio, what it refuses, and what comes out of it.

Files are made here: by soundfile where a real encoder matters, byte by byte where a header lies.
"""

from __future__ import annotations

import base64
import io
import math
import struct
import time
from collections.abc import Callable

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from app.audio import (
    AUDIO_FORMATS,
    MAX_CHANNELS,
    MAX_DURATION_S,
    MAX_RATE_HZ,
    MEDIA_TYPES,
    MIN_DURATION_S,
    MIN_RATE_HZ,
    Audio,
    AudioFormat,
    decode_base64,
    encode_pcm16,
    encode_samples,
    prove,
    sniff,
    transcode,
)
from app.errors import UpstreamBadResponse

RATE_HZ = 8_000
LIMIT_BYTES = 2**20

PCM, FLOAT, ALAW, MULAW, EXTENSIBLE = 1, 3, 6, 7, 0xFFFE
GUID_TAIL = bytes.fromhex("0000 0000 1000 8000 00aa 0038 9b71")


def tone(
    container: str = "WAV",
    subtype: str = "PCM_16",
    *,
    rate_hz: int = RATE_HZ,
    channels: int = 1,
    duration_s: float = 1.0,
    peak: float = 0.5,
) -> bytes:
    """Return a file with a sine of another pitch in each channel."""
    at_s = np.arange(round(rate_hz * duration_s)) / rate_hz
    samples = np.stack([peak * np.sin(2 * np.pi * (220 + 55 * channel) * at_s) for channel in range(channels)], axis=1)
    return encoded(samples, container, subtype, rate_hz=rate_hz)


def encoded(samples: object, container: str, subtype: str, *, rate_hz: int = RATE_HZ) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format=container, subtype=subtype)
    return file.getvalue()


def loudness(samples: np.ndarray) -> list[float]:
    """Return the root of the mean square of each channel."""
    return [float(level) for level in np.sqrt(np.mean(samples**2, axis=0))]


def decoded(content: bytes) -> tuple[np.ndarray, int]:
    samples, rate_hz = soundfile.read(io.BytesIO(content), always_2d=True)
    return samples, rate_hz


def chunk(name: bytes, body: bytes, *, size: int | None = None) -> bytes:
    return name + struct.pack("<I", len(body) if size is None else size) + body + b"\0" * (len(body) % 2)


def fmt(
    encoding: int = PCM,
    bits: int = 16,
    *,
    channels: int = 1,
    rate_hz: int = RATE_HZ,
    block_bytes: int | None = None,
    extra: bytes = b"",
) -> bytes:
    block_bytes = channels * bits // 8 if block_bytes is None else block_bytes
    bytes_a_second = rate_hz * block_bytes % 2**32
    return chunk(
        b"fmt ", struct.pack("<HHIIHH", encoding, channels, rate_hz, bytes_a_second, block_bytes, bits) + extra
    )


def wav(*chunks: bytes, magic: bytes = b"RIFF", riff_size: int | None = None) -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return magic + struct.pack("<I", len(body) if riff_size is None else riff_size) + body


SECOND = bytes(range(1, 251)) * (2 * RATE_HZ // 250)
"""One second of 16-bit mono noise."""


def refused(call: Callable[[], object]) -> UpstreamBadResponse:
    with pytest.raises(UpstreamBadResponse) as caught:
        call()
    return caught.value


# ---------------------------------------------------------------------- what plays

FILES = {
    "wav-16": tone(),
    "wav-8": tone(subtype="PCM_U8"),
    "wav-24": tone(subtype="PCM_24", channels=2),
    "wav-32": tone(subtype="PCM_32"),
    "wav-float32": tone(subtype="FLOAT"),
    "wav-float64": tone(subtype="DOUBLE", channels=2),
    "wav-alaw": tone(subtype="ALAW"),
    "wav-mulaw": tone(subtype="ULAW"),
    "wav-extensible": tone("WAVEX", channels=2),
    "wav-extensible-24": tone("WAVEX", "PCM_24"),
    "wav-extensible-float": tone("WAVEX", "FLOAT"),
    "flac-16": tone("FLAC", channels=2),
    "flac-24": tone("FLAC", "PCM_24"),
    "ogg-vorbis": tone("OGG", "VORBIS", channels=2),
    "ogg-opus": tone("OGG", "OPUS"),
    "mp3": tone("MP3", "MPEG_LAYER_III"),
}


def format_of(name: str) -> AudioFormat:
    return next(each for each in AUDIO_FORMATS if name.startswith(each))


@pytest.mark.parametrize("name", FILES)
def test_a_good_file_is_proven_and_stays_as_it_is(name: str) -> None:
    audio = prove(FILES[name])
    samples, rate_hz = decoded(FILES[name])
    assert audio.content is FILES[name]
    assert (audio.format, audio.media_type) == (format_of(name), MEDIA_TYPES[format_of(name)])
    assert (audio.rate_hz, audio.channels) == (rate_hz, samples.shape[1])
    assert audio.duration_s == len(samples) / rate_hz == 1.0


@pytest.mark.parametrize("channels", range(1, MAX_CHANNELS + 1))
@pytest.mark.parametrize("rate_hz", [MIN_RATE_HZ, 44_100, MAX_RATE_HZ])
def test_every_plausible_rate_and_number_of_channels_is_taken(rate_hz: int, channels: int) -> None:
    audio = prove(tone(rate_hz=rate_hz, channels=channels, duration_s=0.5))
    assert (audio.rate_hz, audio.channels, audio.duration_s) == (rate_hz, channels, 0.5)


def test_other_chunks_around_the_data_stay() -> None:
    """Odd chunks are followed by a byte that their length does not count."""
    content = wav(chunk(b"LIST", b"odd"), fmt(), chunk(b"fact", bytes(4)), chunk(b"data", SECOND), chunk(b"id3 ", b"x"))
    assert prove(content).content == content


def test_bytes_of_a_last_unfinished_frame_are_not_counted() -> None:
    assert prove(wav(fmt(), chunk(b"data", SECOND + b"\x01"))).duration_s == 1.0


def test_loudness_does_not_matter() -> None:
    samples = np.zeros(RATE_HZ)
    samples[-1] = 2 / 32_768
    for container, subtype in (("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("WAV", "FLOAT")):
        assert prove(encoded(samples, container, subtype)).duration_s == 1.0


# ---------------------------------------------------------------------- lengths that writers left open


@pytest.mark.parametrize("open_size", [0, 0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000, 0x7FFF0000, 0x80000000])
def test_an_unknown_length_is_replaced_by_the_real_one(open_size: int) -> None:
    """0 and 0xFFFFFFFF are ffmpeg's and Gradio's into a pipe, 0x7FFFF000 less the header is sox's."""
    audio = prove(wav(fmt(), chunk(b"data", SECOND, size=open_size), riff_size=open_size))
    assert audio.content == wav(fmt(), chunk(b"data", SECOND))
    assert audio.duration_s == 1.0


@pytest.mark.parametrize("riff_size", [0, 0xFFFFFFFF, 0x7FFFF024, 10**6])
def test_a_riff_size_beyond_the_file_is_corrected_and_nothing_else(riff_size: int) -> None:
    content = wav(fmt(), chunk(b"data", SECOND), chunk(b"LIST", b"tail"))
    assert prove(content[:4] + struct.pack("<I", riff_size) + content[8:]).content == content


@pytest.mark.parametrize("riff_size", [1, 36, 1_000])
def test_a_riff_size_inside_the_file_is_left_alone(riff_size: int) -> None:
    content = wav(fmt(), chunk(b"data", SECOND), riff_size=riff_size)
    assert prove(content).content is content
    assert len(decoded(content)[0]) == RATE_HZ


@pytest.mark.parametrize("open_size", [0, 0xFFFFFFFF])
def test_an_odd_number_of_bytes_is_padded_when_the_length_is_filled_in(open_size: int) -> None:
    samples = SECOND[: RATE_HZ + 1]
    open_ended = wav(fmt(bits=8)) + b"data" + struct.pack("<I", open_size) + samples
    audio = prove(open_ended)
    assert audio.content == wav(fmt(bits=8), chunk(b"data", samples))
    assert len(audio.content) % 2 == 0
    assert len(decoded(audio.content)[0]) == RATE_HZ + 1


def test_half_a_frame_at_the_open_end_is_cut_off() -> None:
    """A pipe that broke within a frame leaves bytes that belong to no frame."""
    audio = prove(wav(fmt(channels=2), chunk(b"data", SECOND + b"\x01", size=0xFFFFFFFF)))
    assert audio.content == wav(fmt(channels=2), chunk(b"data", SECOND))


def test_a_missing_pad_byte_at_the_end_is_forgiven() -> None:
    content = wav(fmt(bits=8), chunk(b"data", SECOND[: RATE_HZ + 1]))[:-1]
    audio = prove(content)
    assert audio.duration_s == (RATE_HZ + 1) / RATE_HZ
    assert struct.unpack_from("<I", audio.content, 4)[0] == len(audio.content) - 8


def without_total(flac: bytes) -> bytes:
    """Return the file as an encoder that writes into a pipe leaves it: STREAMINFO says 0 samples."""
    assert flac[:4] == b"fLaC"
    assert flac[4] & 0x7F == 0
    return flac[:21] + bytes([flac[21] & 0xF0, 0, 0, 0, 0]) + flac[26:]


@pytest.mark.parametrize("duration_s", [1.0, 20.0])
def test_a_flac_of_unknown_length_is_counted_to_its_end(duration_s: float) -> None:
    """soundfile fails at the end of such a file, because it seeks to where it already is."""
    content = without_total(tone("FLAC", duration_s=duration_s))
    audio = prove(content)
    assert (audio.content, audio.duration_s) == (content, duration_s)
    assert transcode(audio, "wav").duration_s == duration_s


def test_a_flac_of_unknown_length_that_was_cut_is_refused() -> None:
    content = without_total(tone("FLAC", duration_s=5))
    assert refused(lambda: prove(content[: len(content) // 2])).repeat


# ---------------------------------------------------------------------- what does not play


@pytest.mark.parametrize("kept", [0.99, 0.9, 0.5, 0.1])
@pytest.mark.parametrize("name", FILES)
def test_a_file_that_was_cut_is_refused(name: str, kept: float) -> None:
    refused(lambda: prove(FILES[name][: int(len(FILES[name]) * kept)]))


@pytest.mark.parametrize("name", ["wav-16", "wav-extensible-24", "flac-16", "ogg-vorbis", "ogg-opus", "mp3"])
def test_a_file_that_lacks_its_last_bytes_is_worth_another_attempt(name: str) -> None:
    assert refused(lambda: prove(FILES[name][:-3])).repeat


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_an_ogg_cut_between_two_pages_is_refused(subtype: str) -> None:
    """libsndfile takes it for a whole, shorter file."""
    content = tone("OGG", subtype, rate_hz=48_000, duration_s=5)
    cut = content[: content.rfind(b"OggS")]
    assert len(decoded(cut)[0]) >= 48_000
    assert "truncated" in refused(lambda: prove(cut)).detail
    assert prove(content).duration_s == 5.0


@pytest.mark.parametrize("length", [1, 4, 11, 12, 27, 40, 44, 48])
@pytest.mark.parametrize("name", FILES)
def test_a_header_alone_is_refused(name: str, length: int) -> None:
    refused(lambda: prove(FILES[name][:length]))


@pytest.mark.parametrize(
    ("subtype", "zeros"),
    [
        ("PCM_U8", b"\x80"),
        ("PCM_16", b"\0"),
        ("PCM_24", b"\0"),
        ("ALAW", b"\xd5"),
        ("ALAW", b"\x55"),
        ("ULAW", b"\xff"),
        ("ULAW", b"\x7f"),
        ("ULAW", b"\xff\x7f"),
        ("FLOAT", b"\0\0\0\x80"),
        ("DOUBLE", b"\0"),
    ],
)
def test_silence_is_refused_in_each_way_to_write_it(subtype: str, zeros: bytes) -> None:
    """µ-law, A-law and floats have a negative zero, too."""
    content = tone(subtype=subtype, duration_s=9)
    data_at = content.index(b"data") + 8
    silent = content[:data_at] + zeros * ((len(content) - data_at) // len(zeros))
    assert np.abs(decoded(silent)[0]).max() <= 8 / 32_768
    assert refused(lambda: prove(silent)).detail == "The audio is silent from start to end."


@pytest.mark.parametrize(("container", "subtype"), [("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III")])
def test_silence_is_refused_when_it_is_compressed(container: str, subtype: str) -> None:
    content = encoded(np.zeros(RATE_HZ), container, subtype)
    assert refused(lambda: prove(content)).detail == "The audio is silent from start to end."


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_samples_that_are_not_numbers_are_refused(subtype: str, value: float) -> None:
    samples = np.full(RATE_HZ, 0.1)
    samples[RATE_HZ // 2] = value
    assert "not numbers" in refused(lambda: prove(encoded(samples, "WAV", subtype))).detail


@pytest.mark.parametrize("magic", [b"RIFX", b"RF64"])
def test_the_other_riff_files_are_refused_by_name(magic: bytes) -> None:
    detail = refused(lambda: prove(wav(fmt(), chunk(b"data", SECOND), magic=magic))).detail
    assert detail == f"The audio is a {magic.decode()} file, not a plain WAV."


DATA = chunk(b"data", SECOND)
DAMAGED_WAVS = {
    "nothing after WAVE": wav(),
    "no data": wav(fmt()),
    "no fmt": wav(DATA),
    "data before fmt": wav(DATA, fmt()),
    "fmt of 14 bytes": wav(chunk(b"fmt ", bytes(14)), DATA),
    "fmt says it is short": wav(b"fmt \x02\0\0\0", fmt(), DATA),
    "fmt cut": wav(fmt())[:30],
    "fmt of 4 GiB": wav(chunk(b"fmt ", fmt()[8:], size=0xFFFFFFF0), DATA),
    "chunk of 4 GiB": wav(fmt(), chunk(b"LIST", b"", size=0xFFFFFFFF), DATA),
    "chunk name is not text": wav(fmt(), chunk(b"\x00\x01\x02\x03", b"abcd"), DATA),
    "chunk name is not ASCII": wav(fmt(), chunk(b"\xe9act", b"abcd"), DATA),
    "no encoding": wav(fmt(0), DATA),
    "ADPCM": tone(subtype="IMA_ADPCM"),
    "MP3 in WAV": wav(fmt(0x55, 0, block_bytes=1), DATA),
    "12 bits": wav(fmt(bits=12), DATA),
    "0 bits": wav(fmt(bits=0), DATA),
    "float of 16 bits": wav(fmt(FLOAT, 16), DATA),
    "A-law of 16 bits": wav(fmt(ALAW, 16), DATA),
    "no channels": wav(fmt(channels=0), DATA),
    "no channels, blocks of 2": wav(fmt(channels=0, block_bytes=2), DATA),
    "9 channels": wav(fmt(channels=9), chunk(b"data", SECOND * 9)),
    "65,535 channels": wav(fmt(bits=8, channels=65_535), chunk(b"data", SECOND * 5)),
    "blocks of 0": wav(fmt(block_bytes=0), DATA),
    "blocks of 3": wav(fmt(block_bytes=3), DATA),
    "0 Hz": wav(fmt(rate_hz=0), DATA),
    "3,999 Hz": wav(fmt(rate_hz=3_999), DATA),
    "192,001 Hz": wav(fmt(rate_hz=192_001), chunk(b"data", SECOND * 24)),
    "4 GHz": wav(fmt(rate_hz=0xFFFFFFFF), DATA),
    "extensible without its GUID": wav(fmt(EXTENSIBLE), DATA),
    "extensible with half a GUID": wav(fmt(EXTENSIBLE, extra=struct.pack("<HHIH", 22, 16, 0, PCM)), DATA),
    "extensible with an unknown GUID": wav(
        fmt(EXTENSIBLE, extra=struct.pack("<HHIH", 22, 16, 0, PCM) + GUID_TAIL[::-1]), DATA
    ),
    "extensible in extensible": wav(
        fmt(EXTENSIBLE, extra=struct.pack("<HHIH", 22, 16, 0, EXTENSIBLE) + GUID_TAIL), DATA
    ),
    "a million empty chunks": wav(chunk(b"JUNK", b"") * 1_000_000),
    "an AVI": b"RIFF\x10\0\0\0AVI LIST",
}


@pytest.mark.parametrize("name", DAMAGED_WAVS)
def test_an_absurd_wav_header_is_refused_at_once(name: str) -> None:
    started_s = time.monotonic()
    refused(lambda: prove(DAMAGED_WAVS[name]))
    assert time.monotonic() - started_s < 0.5


def test_an_extensible_header_names_its_encoding_in_the_guid() -> None:
    extra = struct.pack("<HHIH", 22, 16, 0, PCM) + GUID_TAIL
    assert prove(wav(fmt(EXTENSIBLE, extra=extra), DATA)).duration_s == 1.0


def test_a_wav_that_promises_more_than_it_holds_is_truncated() -> None:
    error = refused(lambda: prove(wav(fmt(), chunk(b"data", SECOND, size=len(SECOND) + 1))))
    assert error.detail == f"The audio is truncated: {len(SECOND)} of {len(SECOND) + 1} bytes."
    assert error.repeat


OTHER_MEDIA = {
    "mp4": b"\0\0\0\x20ftypM4A \0\0\0\0" + bytes(64),
    "aac": bytes.fromhex("fff15080 2ebffc21") + bytes(64),
    "webm": bytes.fromhex("1a45dfa3 9f428681") + bytes(64),
    "hls": b"#EXTM3U\n#EXT-X-VERSION:3\nsegment.aac\n",
}


@pytest.mark.parametrize("kind", OTHER_MEDIA)
def test_media_that_cannot_be_proven_is_refused_by_name(kind: str) -> None:
    assert sniff(OTHER_MEDIA[kind]) == kind
    assert refused(lambda: prove(OTHER_MEDIA[kind])).detail.startswith(f"The answer is {kind.upper()} media")


@pytest.mark.parametrize("name", FILES)
def test_the_first_bytes_say_what_a_file_is(name: str) -> None:
    assert sniff(FILES[name]) == format_of(name)


@pytest.mark.parametrize("first_bytes", ["fffb9000", "fff38000", "ffe31800", "fffd9000", "494433"])
def test_mpeg_frames_and_tags_are_taken_for_mp3(first_bytes: str) -> None:
    assert sniff(bytes.fromhex(first_bytes)) == "mp3"


@pytest.mark.parametrize("first_bytes", ["fff15080", "fff95080", "fff05080", "fff85080"])
def test_adts_frames_are_taken_for_aac(first_bytes: str) -> None:
    assert sniff(bytes.fromhex(first_bytes)) == "aac"


NO_AUDIO = {
    "nothing": b"",
    "one byte": b"\xff",
    "sync word only": b"\xff\xfb",
    "MPEG frame with the reserved layer": b"\xff\xe1\x90\x00",
    "MPEG frame with a bad bitrate": b"\xff\xfb\xf0\x00",
    "MPEG frame with a bad rate": b"\xff\xfb\x9c\x00",
    "UTF-16 HTML": b"\xff\xfe" + "<html>".encode("utf-16-le"),
    "HTML": b"<!DOCTYPE html><title>Space</title>",
    "JSON": b'{"error": "no"}',
    "JPEG": b"\xff\xd8\xff\xe0\0\x10JFIF\0",
    "PNG": b"\x89PNG\r\n\x1a\n",
    "AIFF": b"FORM\0\0\0\x10AIFFCOMM",
    "ZIP": b"PK\x03\x04",
    "RIFF only": b"RIFF",
    "zeros": bytes(4_096),
}


@pytest.mark.parametrize("name", NO_AUDIO)
def test_what_is_not_media_is_refused(name: str) -> None:
    assert sniff(NO_AUDIO[name]) is None
    assert refused(lambda: prove(NO_AUDIO[name])).detail == "The answer is not audio."


def test_a_file_that_is_not_what_its_tag_promises_is_refused() -> None:
    """An ID3 tag usually means MP3, but libsndfile also finds a FLAC behind one."""
    tagged = b"ID3\x03\0\0\0\0\0\x0a" + bytes(10) + FILES["flac-16"]
    assert decoded(tagged)[1] == RATE_HZ
    assert refused(lambda: prove(tagged)).detail == "The answer is not the audio that its first bytes promise."


@pytest.mark.parametrize("magic", [b"fLaC", b"OggS", b"ID3\x04", b"\xff\xfb\x90\x00"])
def test_magic_bytes_before_rubbish_do_not_make_a_file(magic: bytes) -> None:
    refused(lambda: prove(magic + bytes(range(256)) * 64))
    refused(lambda: prove(magic + bytes(16_384)))


def test_a_flac_that_is_damaged_inside_is_refused() -> None:
    content = tone("FLAC", duration_s=5)
    middle = len(content) // 2
    refused(lambda: prove(content[:middle] + bytes(2_000) + content[middle + 2_000 :]))


def test_an_ogg_that_ends_without_saying_so_is_refused() -> None:
    content = bytearray(FILES["ogg-vorbis"])
    content[content.rfind(b"OggS") + 5] &= ~0x04
    assert refused(lambda: prove(bytes(content))).repeat


def test_a_compressed_file_must_have_a_plausible_rate_before_it_is_decoded() -> None:
    """At 1 GHz no number of frames would be too long, and a small file unfolds to billions of them."""
    content = bytearray(FILES["ogg-vorbis"])
    at = content.index(b"\x01vorbis") + 12
    content[at : at + 4] = struct.pack("<I", 10**9)
    assert "truncated" not in refused(lambda: prove(bytes(content))).detail


def test_a_compressed_file_with_a_high_rate_is_refused() -> None:
    content = tone("FLAC", rate_hz=384_000, duration_s=0.6)
    assert refused(lambda: prove(content)).detail.startswith("The audio has an implausible format (384000 Hz")


@pytest.mark.parametrize("container", ["WAV", "FLAC"])
@pytest.mark.parametrize(
    ("frames", "fits"),
    [
        (int(MIN_RATE_HZ * MIN_DURATION_S), True),
        (int(MIN_RATE_HZ * MIN_DURATION_S) - 1, False),
        (int(MIN_RATE_HZ * MAX_DURATION_S), True),
        (int(MIN_RATE_HZ * MAX_DURATION_S) + 1, False),
        (int(MIN_RATE_HZ * MAX_DURATION_S) + 70_000, False),
    ],
)
def test_only_lengths_of_half_a_second_to_ten_minutes_are_taken(container: str, frames: int, fits: bool) -> None:
    content = encoded(np.full(frames, 0.25), container, "PCM_16", rate_hz=MIN_RATE_HZ)
    if fits:
        assert prove(content).duration_s == frames / MIN_RATE_HZ
    else:
        assert "accepted are 0.5 to 600 s" in refused(lambda: prove(content)).detail


# ---------------------------------------------------------------------- base64

RAW = bytes(range(256))
STANDARD = base64.b64encode(RAW).decode()
BASE64_FORMS: dict[str, str | bytes] = {
    "standard": STANDARD,
    "as bytes": STANDARD.encode(),
    "URL-safe": base64.urlsafe_b64encode(RAW).decode(),
    "without padding": STANDARD.rstrip("="),
    "URL-safe without padding": base64.urlsafe_b64encode(RAW).decode().rstrip("="),
    "half of the padding": STANDARD.removesuffix("="),
    "line breaks": base64.encodebytes(RAW).decode(),
    "CRLF, tabs and blanks": "\r\n\t ".join(STANDARD[at : at + 50] for at in range(0, len(STANDARD), 50)),
    "space around": f" \n{STANDARD}\n ",
    "data URL": f"data:audio/wav;base64,{STANDARD}",
    "data URL without a type": f"data:;base64,{STANDARD}",
    "data URL with parameters": f"data:audio/ogg;codecs=opus;base64,{STANDARD}",
    "data URL in capitals": f"DATA:audio/wav;BASE64,{STANDARD}",
    "data URL, space around": f"\n data:audio/wav;base64 ,\n{STANDARD}\n",
    "data URL, URL-safe, bare": f"data:audio/wav;base64,{base64.urlsafe_b64encode(RAW).decode().rstrip('=')}",
}


@pytest.mark.parametrize("name", BASE64_FORMS)
def test_base64_is_read_in_every_form_it_comes_in(name: str) -> None:
    assert decode_base64(BASE64_FORMS[name], limit_bytes=LIMIT_BYTES) == RAW


@pytest.mark.parametrize("length", range(1, 10))
def test_base64_of_every_length_is_read_with_and_without_padding(length: int) -> None:
    text = base64.b64encode(RAW[:length]).decode()
    assert decode_base64(text, limit_bytes=length) == RAW[:length]
    assert decode_base64(text.rstrip("="), limit_bytes=length) == RAW[:length]


BAD_BASE64: dict[str, tuple[str | bytes, str]] = {
    "nothing": ("", "empty"),
    "nothing, as bytes": (b"", "empty"),
    "space": (" \n", "empty"),
    "an empty data URL": ("data:audio/wav;base64,", "empty"),
    "a data URL cut in its head": ("data:audio/wav;base64", "empty"),
    "a data URL that is not base64": ("data:audio/wav,RIFF", "not base64"),
    "a word": ("null!", "not valid base64"),
    "a sentence": ("The prompt is not acceptable.", "not valid base64"),
    "a path": ("/tmp/gradio/a.wav", "not valid base64"),  # noqa: S108 - text, not a file
    "a URL": ("https://example.org/a.wav", "not valid base64"),
    "one character": ("A", "not valid base64"),
    "a length no bytes have": (STANDARD.rstrip("=")[:-1], "not valid base64"),
    "padding only": ("====", "not valid base64"),
    "padding inside": ("QQ==QQ==", "not valid base64"),
    "too much padding": ("QUJD=", "not valid base64"),
    "other alphabets": ("QUJD.QUJ", "not valid base64"),
    "NUL": ("QUJD\0QUJ", "not valid base64"),
    "bytes beyond ASCII": (b"QUJD\xff\xff\xff\xff", "not valid base64"),
    "text beyond ASCII": ("QUJDé", "text where base64 was expected"),
    "full-width letters": ("ＱＵＪＤ", "text where base64 was expected"),
    "half an emoji": ("\ud83c", "text where base64 was expected"),
}


@pytest.mark.parametrize("name", BAD_BASE64)
def test_what_is_not_base64_is_refused(name: str) -> None:
    text, reason = BAD_BASE64[name]
    assert reason in refused(lambda: decode_base64(text, limit_bytes=LIMIT_BYTES)).detail


@pytest.mark.parametrize("length", [1, 2, 3, 4, 99, 100, 101, 102, 103, 5_000])
def test_the_limit_counts_decoded_bytes_exactly(length: int) -> None:
    text = base64.b64encode(bytes(length)).decode()
    assert len(decode_base64(text, limit_bytes=length)) == length
    for limit_bytes in (length - 1, length // 2):
        detail = refused(lambda: decode_base64(text, limit_bytes=limit_bytes)).detail  # noqa: B023 - called at once
        assert detail == f"The audio is larger than {limit_bytes} bytes."


def test_what_is_far_too_large_is_refused_before_it_is_decoded() -> None:
    """The text is no base64, which decoding would find out first."""
    assert "larger than" in refused(lambda: decode_base64("!" * LIMIT_BYTES * 2, limit_bytes=LIMIT_BYTES)).detail


# ---------------------------------------------------------------------- from one format to another


@pytest.mark.parametrize("format", AUDIO_FORMATS)
@pytest.mark.parametrize("name", FILES)
def test_every_file_becomes_every_format_and_keeps_its_length_and_sound(name: str, format: AudioFormat) -> None:
    """libsndfile 1.2.2 garbles a stereo MP3 that is written in 16-bit samples."""
    source = prove(FILES[name])
    audio = transcode(source, format)
    assert (audio.format, audio.rate_hz, audio.channels) == (format, source.rate_hz, source.channels)
    assert audio.duration_s == source.duration_s
    assert sniff(audio.content) == format
    proven = prove(audio.content)
    assert proven.duration_s == pytest.approx(source.duration_s, abs=0.01)
    before, after = decoded(source.content)[0], decoded(audio.content)[0]
    assert loudness(after) == pytest.approx(loudness(before), rel=0.05)


@pytest.mark.parametrize("format", AUDIO_FORMATS)
def test_the_same_format_is_passed_on_untouched(format: AudioFormat) -> None:
    audio = transcode(prove(FILES["wav-16"]), format)
    assert transcode(audio, format) is audio


def test_sixteen_bits_survive_a_lossless_round_trip() -> None:
    loudest = encoded(np.array([-32_768, 32_767] * RATE_HZ, dtype="int16"), "WAV", "PCM_16")
    for content in (FILES["wav-16"], loudest):
        there = transcode(prove(content), "flac")
        back = transcode(there, "wav")
        assert np.array_equal(decoded(back.content)[0], decoded(content)[0])


@pytest.mark.parametrize("peak", [2.0, 1e6, 1e37])
@pytest.mark.parametrize("format", AUDIO_FORMATS[1:])
def test_floats_beyond_full_scale_are_clipped(format: AudioFormat, peak: float) -> None:
    """LAME aborts the whole process on floats of 1e6, and Vorbis makes silence of 1e37."""
    audio = transcode(prove(tone(subtype="FLOAT", peak=peak)), format)
    samples, _ = decoded(audio.content)
    assert 0.5 < loudness(samples)[0] < 1.2


@pytest.mark.parametrize("format", AUDIO_FORMATS[1:])
def test_floats_too_small_for_sixteen_bits_are_silence_once_transcoded(format: AudioFormat) -> None:
    audio = prove(tone(subtype="FLOAT", peak=1e-12))
    assert "silent" in refused(lambda: transcode(audio, format)).detail


@pytest.mark.parametrize(
    ("format", "rate_hz", "channels"),
    [("mp3", 4_000, 1), ("mp3", 96_000, 1), ("mp3", 44_101, 2), ("mp3", 44_100, 3), ("flac", 96_001, 1)],
)
def test_a_format_that_cannot_hold_the_rate_or_channels_is_refused(
    format: AudioFormat, rate_hz: int, channels: int
) -> None:
    audio = prove(tone(rate_hz=rate_hz, channels=channels))
    assert "ask for another format" in refused(lambda: transcode(audio, format)).detail


@pytest.mark.parametrize("rate_hz", [MIN_RATE_HZ, 8_001, 44_100, 96_000, MAX_RATE_HZ])
@pytest.mark.parametrize("channels", [1, MAX_CHANNELS])
@pytest.mark.parametrize("format", ["flac", "ogg"])
def test_flac_and_ogg_hold_the_whole_range(format: AudioFormat, rate_hz: int, channels: int) -> None:
    audio = transcode(prove(tone(rate_hz=rate_hz, channels=channels, duration_s=0.6)), format)
    assert prove(audio.content).duration_s == pytest.approx(0.6, abs=0.01)


def test_long_audio_is_transcoded_block_by_block() -> None:
    audio = transcode(prove(tone("FLAC", rate_hz=32_000, duration_s=30)), "wav")
    assert (audio.duration_s, len(decoded(audio.content)[0])) == (30.0, 30 * 32_000)


# ---------------------------------------------------------------------- from raw samples

WAVE = [0.5 * math.sin(at / 5) for at in range(RATE_HZ)]


@pytest.mark.parametrize("channels", [1, 2, MAX_CHANNELS])
def test_samples_become_a_sixteen_bit_wav(channels: int) -> None:
    audio = encode_samples([WAVE] * channels, rate_hz=RATE_HZ)
    assert (audio.format, audio.duration_s, audio.rate_hz, audio.channels) == ("wav", 1.0, RATE_HZ, channels)
    assert np.abs(decoded(audio.content)[0] - np.array([WAVE] * channels).T).max() <= 1 / 16_384
    assert soundfile.info(io.BytesIO(audio.content)).subtype == "PCM_16"


def test_channels_keep_their_order() -> None:
    quiet = [sample / 4 for sample in WAVE]
    samples, _ = decoded(encode_samples([WAVE, quiet], rate_hz=RATE_HZ).content)
    assert np.abs(samples[:, 0]).max() == pytest.approx(0.5, abs=0.001)
    assert np.abs(samples[:, 1]).max() == pytest.approx(0.125, abs=0.001)


def test_none_is_silence() -> None:
    """JSON has no NaN: what was one arrives as null."""
    samples, _ = decoded(encode_samples([[None, *WAVE[1:-1], None]], rate_hz=RATE_HZ).content)
    assert samples[0, 0] == samples[-1, 0] == 0.0


def test_whole_numbers_are_taken_for_sixteen_bit_samples() -> None:
    whole: list[float | None] = [round(sample * 32_768) for sample in WAVE]
    samples, _ = decoded(encode_samples([whole], rate_hz=RATE_HZ).content)
    assert np.abs(samples[:, 0] - np.array(WAVE)).max() <= 1 / 8_192


def test_the_loudest_sixteen_bit_sample_does_not_wrap() -> None:
    samples, _ = decoded(encode_samples([[-32_768, 32_767] * RATE_HZ], rate_hz=RATE_HZ).content)
    assert np.all(samples[0::2] < -0.99)
    assert np.all(samples[1::2] > 0.99)


@pytest.mark.parametrize("peak", [1.0, 1.2, 8.0])
def test_overshoot_is_clipped_and_not_wrapped(peak: float) -> None:
    """MusicGen's peaks are a little beyond full scale; wrapped, they would be loud clicks."""
    samples, _ = decoded(encode_samples([[sample * 2 * peak for sample in WAVE]], rate_hz=RATE_HZ).content)
    wanted = np.clip(np.array(WAVE) * 2 * peak, -1, 1)
    assert np.abs(samples[:, 0] - wanted).max() <= 1 / 8_192


BAD_SAMPLES: dict[str, tuple[list[list[object]], str]] = {
    "no channels": ([], "implausible format"),
    "an empty channel": ([[]], "0.00 s long"),
    "nine channels": ([[*WAVE]] * 9, "implausible format"),
    "uneven channels": ([[*WAVE], [*WAVE[1:]]], "differ in length"),
    "too short": ([[*WAVE[:100]]], "0.01 s long"),
    "silence": ([[0.0] * RATE_HZ], "silent"),
    "nulls only": ([[None] * RATE_HZ], "silent"),
    "quieter than sixteen bits can say": ([[1e-9] * RATE_HZ], "silent"),
    "text": ([["0.5"] * RATE_HZ], "not all numbers"),
    "lists": ([[[0.5]] * RATE_HZ], "not all numbers"),
    "one object": ([[*WAVE[1:], {}]], "not all numbers"),
    "a whole number beyond floats": ([[*WAVE[1:], 10**400]], "not all numbers"),
    "a number beyond single precision": ([[*WAVE[1:], 1e300]], "not all numbers"),
    "infinity": ([[*WAVE[1:], math.inf]], "not all numbers"),
    "NaN first": ([[math.nan, *WAVE[1:]]], "not all numbers"),
    "NaN last": ([[*WAVE[1:], math.nan]], "not all numbers"),
}


@pytest.mark.parametrize("name", BAD_SAMPLES)
def test_samples_that_are_no_music_are_refused(name: str) -> None:
    samples, reason = BAD_SAMPLES[name]
    assert reason in refused(lambda: encode_samples(samples, rate_hz=RATE_HZ)).detail  # type: ignore[arg-type]


@pytest.mark.parametrize("rate_hz", [0, -1, MIN_RATE_HZ - 1, MAX_RATE_HZ + 1, 10**20])
def test_samples_at_an_absurd_rate_are_refused(rate_hz: int) -> None:
    assert "implausible format" in refused(lambda: encode_samples([WAVE], rate_hz=rate_hz)).detail


def test_sixteen_bit_pcm_becomes_a_wav() -> None:
    audio = encode_pcm16(SECOND, rate_hz=RATE_HZ // 2, channels=2)
    assert audio.content == wav(fmt(channels=2, rate_hz=RATE_HZ // 2), chunk(b"data", SECOND))
    assert audio.duration_s == 1.0


@pytest.mark.parametrize(
    ("pcm", "rate_hz", "channels"),
    [
        (SECOND, 2**32, 1),
        (SECOND, RATE_HZ, 0),
        (SECOND, RATE_HZ, 2**16),
        (b"", RATE_HZ, 1),
        (bytes(16_000), RATE_HZ, 1),
    ],
)
def test_pcm_that_is_no_music_is_refused(pcm: bytes, rate_hz: int, channels: int) -> None:
    refused(lambda: encode_pcm16(pcm, rate_hz=rate_hz, channels=channels))


# ---------------------------------------------------------------------- whatever comes

FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def assert_plays_as_claimed(audio: Audio) -> None:
    assert MIN_DURATION_S <= audio.duration_s <= MAX_DURATION_S
    with soundfile.SoundFile(io.BytesIO(audio.content)) as file:
        file.seekable = lambda: False  # or soundfile seeks at the end of a FLAC of unknown length, and fails
        assert (file.samplerate, file.channels) == (audio.rate_hz, audio.channels)
        frames = 0
        while len(block := file.read(65_536, dtype="int16")):
            frames += len(block)
    assert frames / audio.rate_hz == pytest.approx(audio.duration_s, abs=1e-6)


def assert_proven_or_refused(content: bytes) -> None:
    try:
        audio = prove(content)
    except UpstreamBadResponse:
        return
    assert_plays_as_claimed(audio)


MAGICS = [b"", *OTHER_MEDIA.values(), *(content[:64] for content in FILES.values())]


@FUZZ
@given(magic=st.sampled_from(MAGICS), rest=st.binary(max_size=4_096))
@example(magic=b"RIFF\0\0\0\0WAVEdata", rest=b"")
@example(magic=b"OggS", rest=b"")
def test_any_bytes_are_proven_or_refused(magic: bytes, rest: bytes) -> None:
    assert_proven_or_refused(magic + rest)


# libsndfile refuses a file over a damaged PEAK chunk, which no player looks at.
WHOLE_FILES = [content.replace(b"PEAK", b"JUNK", 1) for content in FILES.values()]
ODD_FIGURES = st.sampled_from([0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFF000, 0x7FFFFFFF, 0xFFFFFFFF])


@st.composite
def damaged_files(draw: st.DrawFn) -> bytes:
    """A good file after a few of the accidents that happen to files, most of them in the header."""
    content = bytearray(draw(st.sampled_from(WHOLE_FILES)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, min(len(content), draw(st.sampled_from([48, 200, 10**6]))) - 1))
        accident = draw(st.sampled_from(["flip", "figure", "short figure", "insert", "remove", "cut"]))
        if accident == "flip":
            content[at] ^= 1 << draw(st.integers(0, 7))
        elif accident == "figure":
            content[at : at + 4] = struct.pack("<I", draw(ODD_FIGURES))
        elif accident == "short figure":
            content[at : at + 2] = struct.pack("<H", draw(ODD_FIGURES) & 0xFFFF)
        elif accident == "insert":
            content[at:at] = draw(st.binary(min_size=1, max_size=16))
        elif accident == "remove":
            del content[at : at + draw(st.sampled_from([1, 2, 4, 100, 5_000]))]
        else:
            del content[at:]
        if not content:
            break
    return bytes(content)


@FUZZ
@given(content=damaged_files())
def test_a_damaged_file_is_proven_or_refused(content: bytes) -> None:
    assert_proven_or_refused(content)


@FUZZ
@given(content=damaged_files(), format=st.sampled_from(AUDIO_FORMATS))
def test_what_was_proven_can_be_transcoded_or_is_refused(content: bytes, format: AudioFormat) -> None:
    try:
        audio = transcode(prove(content), format)
    except UpstreamBadResponse:
        return
    assert audio.format == format == sniff(audio.content)


BASE64_TEXT = st.text(alphabet="ABCxyz019+/-_= \n\r\t,;:é\0", max_size=200)


@FUZZ
@given(text=st.one_of(st.text(), st.binary(), BASE64_TEXT, BASE64_TEXT.map("data:audio/wav;base64,{}".format)))
def test_any_text_is_decoded_or_refused(text: str | bytes) -> None:
    try:
        content = decode_base64(text, limit_bytes=100)
    except UpstreamBadResponse:
        return
    assert 1 <= len(content) <= 100


@FUZZ
@given(
    content=st.binary(min_size=1, max_size=300), gap=st.sampled_from(["", "\n", "\r\n", " \t"]), url_safe=st.booleans()
)
def test_whatever_was_encoded_is_decoded(content: bytes, gap: str, url_safe: bool) -> None:
    text = (base64.urlsafe_b64encode if url_safe else base64.b64encode)(content).decode()
    assert decode_base64(gap.join([text[:7], text[7:]]), limit_bytes=len(content)) == content
