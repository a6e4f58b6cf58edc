"""Audio: bytes that are proven to play, and the way into and out of them.

An `Audio` is only made by the functions here, after its container was parsed, a frame
was found and the length was plausible. Who holds one need not check again.

WAV is read by hand, because it is what nearly every upstream sends and must neither be
copied nor decoded to be proven. Everything else goes through libsndfile (`soundfile`),
imported only then: it brings NumPy along, which a gateway at rest should not carry.
"""

from __future__ import annotations

import io
import math
import struct
import tempfile
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final, Literal, get_args

import pybase64

from app.errors import UpstreamBadResponse

if TYPE_CHECKING:
    from soundfile import SoundFile

AudioFormat = Literal["wav", "flac", "ogg", "mp3"]
AUDIO_FORMATS: Final[tuple[AudioFormat, ...]] = get_args(AudioFormat)
MEDIA_TYPES: Final[Mapping[AudioFormat, str]] = {
    "wav": "audio/wav",
    "flac": "audio/flac",
    "ogg": "audio/ogg",
    "mp3": "audio/mpeg",
}

MIN_DURATION_S: Final = 0.5
MAX_DURATION_S: Final = 600.0
MAX_CHANNELS: Final = 8
MIN_RATE_HZ: Final = 4_000
MAX_RATE_HZ: Final = 192_000

_BLOCK_FRAMES: Final = 65_536


@dataclass(frozen=True, slots=True)
class Audio:
    """Encoded audio that was proven to play.

    Attributes:
        content: The whole file.
        format: Its container, as in the `format` field of a request.
        duration_s: Length in seconds, counted from its frames.
        rate_hz: Frames a second.
        channels: 1 to 8.
    """

    content: bytes
    format: AudioFormat
    duration_s: float
    rate_hz: int
    channels: int

    @property
    def media_type(self) -> str:
        return MEDIA_TYPES[self.format]


# ---------------------------------------------------------------------- in


def decode_base64(text: str | bytes | memoryview, *, limit_bytes: int) -> bytes:
    """Return the bytes that `text` encodes.

    Args:
        text: RFC 4648 base64, standard or URL-safe, padding optional, line breaks and a
            `data:…;base64,` prefix allowed.
        limit_bytes: Largest decoded size; checked before anything is decoded.
    Raises:
        UpstreamBadResponse: not base64, empty, or too large.
    """
    # Most text is plain base64 and decodes as it is; looking for oddities first would cost as much again.
    content = _decoded(text) if _decoded_bytes(text) <= limit_bytes else None
    if content is None:
        encoded = _tidied(text)
        if _decoded_bytes(encoded) > limit_bytes + 2:
            raise UpstreamBadResponse(f"The audio is larger than {limit_bytes} bytes.")
        content = _decoded(encoded)
    if content is None:
        raise UpstreamBadResponse("The audio in the answer is not valid base64.")
    if not content:
        raise UpstreamBadResponse("The audio in the answer is empty.")
    if len(content) > limit_bytes:
        raise UpstreamBadResponse(f"The audio is larger than {limit_bytes} bytes.")
    return content


_FROM_URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")


def _decoded_bytes(encoded: str | bytes | memoryview) -> int:
    """Return how many bytes the text may decode to; padding may make it one or two fewer."""
    return len(encoded) // 4 * 3


def _decoded(encoded: str | bytes | memoryview) -> bytes | None:
    try:
        return pybase64.b64decode(encoded, validate=True)
    except ValueError:  # binascii.Error is one
        return None


def _tidied(text: str | bytes | memoryview) -> bytes:
    """Return the text as standard base64: no prefix, no white space, padded."""
    try:
        encoded = (text.encode("ascii") if isinstance(text, str) else bytes(text)).lstrip()
    except UnicodeEncodeError:
        raise UpstreamBadResponse("The answer holds text where base64 was expected.") from None
    if encoded[:5].lower() == b"data:":
        head, _, encoded = encoded.partition(b",")
        if not head.lower().rstrip().endswith(b";base64"):
            raise UpstreamBadResponse("The answer holds a data URL that is not base64.")
    encoded = encoded.translate(_FROM_URL_SAFE, b"\r\n\t ")
    return encoded + b"=" * (-len(encoded) % 4)


Kind = AudioFormat | Literal["mp4", "aac", "webm", "hls"]


def sniff(content: bytes) -> Kind | None:
    """Return what kind of media the first bytes say this is, or None.

    The names are those of `AudioFormat` for what can be proven, and `mp4`, `aac`, `webm`,
    `hls` for what is recognised only to be refused by name.
    """
    if content[:4] in (b"RIFF", b"RIFX", b"RF64") and content[8:12] == b"WAVE":
        return "wav"
    for magic, kind in _MAGIC:
        if content.startswith(magic):
            return kind
    if content[4:8] == b"ftyp":
        return "mp4"
    # An ADTS frame (AAC) has the layer bits 00, an MPEG audio frame any other; both share the sync word.
    if len(content) >= 4 and content[0] == 0xFF and content[1] & 0xF6 == 0xF0:
        return "aac"
    if len(content) >= 4 and content[0] == 0xFF and content[1] & 0xE0 == 0xE0:
        is_frame = content[1] & 0x06 and content[2] & 0xF0 != 0xF0 and content[2] & 0x0C != 0x0C
        return "mp3" if is_frame else None
    return None


_MAGIC: Final[Sequence[tuple[bytes, Kind]]] = (
    (b"fLaC", "flac"),
    (b"OggS", "ogg"),
    (b"ID3", "mp3"),
    (b"\x1aE\xdf\xa3", "webm"),
    (b"#EXTM3U", "hls"),
)


def prove(content: bytes) -> Audio:
    """Return `content` as Audio, after proving that it plays.

    WAV comes back unchanged, except that unknown lengths in its header (0 or 0xFFFFFFFF,
    as streaming writers leave them) are replaced by the real ones.

    Raises:
        UpstreamBadResponse: not audio, truncated, silent throughout, or not 0.5 s to 10 min long.
    """
    kind = sniff(content)
    if kind == "wav":
        return _prove_wav(content)
    if kind == "flac" or kind == "ogg" or kind == "mp3":  # noqa: PLR1714 - mypy narrows this form only
        return _prove_compressed(content, kind)
    if kind is None:
        raise UpstreamBadResponse("The answer is not audio.")
    raise UpstreamBadResponse(f"The answer is {kind.upper()} media, which this service cannot prove to play.")


def _check_format(rate_hz: int, channels: int) -> None:
    """Raise when no music has these figures."""
    if not (MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ and 1 <= channels <= MAX_CHANNELS):
        raise UpstreamBadResponse(f"The audio has an implausible format ({rate_hz} Hz, {channels} channels).")


def _check_plausible(frames: int, rate_hz: int, channels: int) -> float:
    """Return the duration in seconds, or raise when no music has these figures."""
    _check_format(rate_hz, channels)
    duration_s = frames / rate_hz
    if not MIN_DURATION_S <= duration_s <= MAX_DURATION_S:
        raise UpstreamBadResponse(
            f"The audio is {duration_s:.2f} s long; accepted are {MIN_DURATION_S:g} to {MAX_DURATION_S:g} s."
        )
    return duration_s


# ---------------------------------------------------------------------- WAV

_PCM, _FLOAT, _ALAW, _MULAW, _EXTENSIBLE = 1, 3, 6, 7, 0xFFFE
_SAMPLE_BITS: Final[Mapping[int, tuple[int, ...]]] = {
    _PCM: (8, 16, 24, 32),
    _FLOAT: (32, 64),
    _ALAW: (8,),
    _MULAW: (8,),
}

# What makes a GUID of an encoding's number in an extensible header.
_SUBFORMAT_TAIL: Final = bytes.fromhex("0000 0000 1000 8000 00aa 0038 9b71")

# Writers that cannot seek back leave 0, 0xFFFFFFFF (ffmpeg, Gradio's streams) or a figure just
# under 2 GiB (sox) where the length belongs.
_UNKNOWN_LENGTH_FROM: Final = 0x7FFF0000

# Real files have a handful; a walk over millions of empty ones would take seconds.
_MAX_CHUNKS: Final = 1_000


def _is_unknown_length(size: int) -> bool:
    return size == 0 or size >= _UNKNOWN_LENGTH_FROM


@dataclass(frozen=True, slots=True)
class _WavLayout:
    """Where a WAV file's samples lie and how they are written; offsets and sizes in bytes."""

    encoding: int
    channels: int
    rate_hz: int
    block_bytes: int
    bits: int
    data_header_at: int
    data_size: int

    @property
    def data_at(self) -> int:
        return self.data_header_at + 8


def _wav_layout(content: bytes) -> _WavLayout:
    """Walk the chunks up to the audio data."""
    encoding, channels, rate_hz, block_bytes, bits = 0, 0, 0, 0, 0
    position = 12
    for _ in range(_MAX_CHUNKS):
        if position + 8 > len(content):
            break
        name, size = content[position : position + 4], struct.unpack_from("<I", content, position + 4)[0]
        start = position + 8
        if not (name.isascii() and name.decode().isprintable()):  # where libsndfile stops to look for the data, too
            break
        if name == b"data":
            return _WavLayout(encoding, channels, rate_hz, block_bytes, bits, position, size)
        if name == b"fmt ":
            if size < 16 or start + 16 > len(content):
                raise UpstreamBadResponse("The WAV file's header is damaged.")
            encoding, channels, rate_hz, _, block_bytes, bits = struct.unpack_from("<HHIIHH", content, start)
            if encoding == _EXTENSIBLE and size >= 40 and content[start + 26 : start + 40] == _SUBFORMAT_TAIL:
                (encoding,) = struct.unpack_from("<H", content, start + 24)
        position = start + size + size % 2
    raise UpstreamBadResponse("The WAV file has no audio data.")


def _prove_wav(content: bytes) -> Audio:
    if content[:4] != b"RIFF":
        raise UpstreamBadResponse(f"The audio is a {content[:4].decode()} file, not a plain WAV.")
    wav = _wav_layout(content)
    known_bits = wav.bits in _SAMPLE_BITS.get(wav.encoding, ())
    if not known_bits or wav.block_bytes != wav.channels * wav.bits // 8 or wav.block_bytes == 0:
        raise UpstreamBadResponse(f"The WAV encoding is not supported (format {wav.encoding}, {wav.bits} bits).")
    available = len(content) - wav.data_at
    unknown_length = _is_unknown_length(wav.data_size)
    if wav.data_size > available and not unknown_length:
        raise UpstreamBadResponse(f"The audio is truncated: {available} of {wav.data_size} bytes.", repeat=True)
    frames = (available if unknown_length else wav.data_size) // wav.block_bytes
    duration_s = _check_plausible(frames, wav.rate_hz, wav.channels)
    data_bytes = frames * wav.block_bytes
    _check_samples(memoryview(content)[wav.data_at : wav.data_at + data_bytes], wav.encoding, wav.bits)

    riff_size = struct.unpack_from("<I", content, 4)[0]
    if unknown_length:
        content = _with_sizes(content[: wav.data_at + data_bytes], wav.data_header_at, data_bytes)
    elif _is_unknown_length(riff_size) or riff_size > len(content) - 8:
        content = b"".join((content[:4], struct.pack("<I", len(content) - 8), content[8:]))
    return Audio(content, "wav", duration_s, wav.rate_hz, wav.channels)


def _with_sizes(content: bytes, data_header_at: int, data_bytes: int) -> bytes:
    """Return the file with its real sizes; chunks have even lengths, so an odd one is padded."""
    padding = b"\0" * (data_bytes % 2)
    riff_bytes = struct.pack("<I", len(content) + len(padding) - 8)
    head, tail = content[8 : data_header_at + 4], content[data_header_at + 8 :]
    return b"".join((content[:4], riff_bytes, head, struct.pack("<I", data_bytes), tail, padding))


def _check_samples(samples: memoryview, encoding: int, bits: int) -> None:
    """Raise when every sample is silence, or when a float sample is not a number."""
    quiet = _QUIET_BYTES.get((encoding, bits), b"\0")
    blocks = (bytes(samples[at : at + _BLOCK_FRAMES]) for at in range(0, len(samples), _BLOCK_FRAMES))
    if not any(block.translate(None, quiet) for block in blocks):
        raise UpstreamBadResponse("The audio is silent from start to end.")
    if encoding == _FLOAT:
        numbers = array("f" if bits == 32 else "d", bytes(samples))
        if not all(map(math.isfinite, numbers)):
            raise UpstreamBadResponse("The audio holds samples that are not numbers.")


# Zero has two codes where the sign is a bit of its own; a float of these bytes alone is below 1e-37.
_QUIET_BYTES: Final[Mapping[tuple[int, int], bytes]] = {
    (_PCM, 8): b"\x80",
    (_FLOAT, 32): b"\0\x80",
    (_FLOAT, 64): b"\0\x80",
    (_ALAW, 8): b"\xd5\x55",
    (_MULAW, 8): b"\xff\x7f",
}


# ---------------------------------------------------------------------- libsndfile


def _prove_compressed(content: bytes, kind: AudioFormat) -> Audio:
    if kind == "ogg":
        _check_last_page(content)
    frames, is_silent = 0, True
    with _open(content) as file:
        if file.format not in _LIBRARY_FORMATS[kind]:
            raise UpstreamBadResponse("The answer is not the audio that its first bytes promise.")
        promised, rate_hz, channels = file.frames, file.samplerate, file.channels
        _check_format(rate_hz, channels)
        for block in _blocks(file, "int16"):
            frames += len(block) // (2 * channels)
            is_silent = is_silent and block.count(0) == len(block)
            if frames > MAX_DURATION_S * rate_hz:
                break
    duration_s = _check_plausible(frames, rate_hz, channels)
    # An encoder that wrote to a pipe could not fill in the length, which then reads as a huge one.
    if frames < promised <= MAX_DURATION_S * rate_hz:
        raise UpstreamBadResponse(f"The audio is truncated: {frames} of {promised} frames.", repeat=True)
    if is_silent:
        raise UpstreamBadResponse("The audio is silent from start to end.")
    return Audio(content, kind, duration_s, rate_hz, channels)


def _check_last_page(content: bytes) -> None:
    """Raise when an Ogg stream has no end: libsndfile takes one that was cut for a shorter one.

    Source: RFC 3533 §6, the page header.
    """
    page = content[content.rfind(b"OggS") :]
    segments = page[27 : 27 + page[26]] if len(page) > 26 else b""
    is_whole = len(page) > 26 and len(segments) == page[26] and len(page) >= 27 + len(segments) + sum(segments)
    if not is_whole or not page[5] & 0x04:
        raise UpstreamBadResponse("The audio is truncated: its last page is missing.", repeat=True)


_LIBRARY_FORMATS: Final[Mapping[AudioFormat, tuple[str, ...]]] = {
    "wav": ("WAV", "WAVEX"),
    "flac": ("FLAC",),
    "ogg": ("OGG",),
    "mp3": ("MP3", "MPEG"),
}
_ENCODINGS: Final[Mapping[AudioFormat, tuple[str, str]]] = {
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}
_MP3_RATES_HZ: Final = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)


_SampleType = Literal["int16", "float32"]
_SAMPLE_BYTES: Final[Mapping[_SampleType, int]] = {"int16": 2, "float32": 4}


def _open(content: bytes) -> SoundFile:
    import soundfile

    class Stream(soundfile.SoundFile):  # type: ignore[misc]  # it has no types
        # A seekable file is sought to its own position after each read, which fails at the end
        # of a FLAC that was written to a pipe: its header does not know the length.
        def seekable(self) -> bool:
            return False

    try:
        return Stream(io.BytesIO(content))
    except (soundfile.SoundFileError, TypeError, ValueError):
        raise UpstreamBadResponse("The audio file is damaged.") from None


def _blocks(file: SoundFile, dtype: _SampleType) -> Iterable[bytes]:
    import soundfile

    # `buffer_read` asserts that all frames it was promised come; `buffer_read_into` takes what there is.
    buffer = bytearray(_BLOCK_FRAMES * file.channels * _SAMPLE_BYTES[dtype])
    while True:
        try:
            frames = file.buffer_read_into(buffer, dtype=dtype)
        except soundfile.SoundFileError:
            raise UpstreamBadResponse("The audio file is damaged.", repeat=True) from None
        if not frames:
            return
        yield bytes(memoryview(buffer)[: frames * file.channels * _SAMPLE_BYTES[dtype]])


def decode(audio: Audio, *, at_most_s: float) -> bytearray:
    """Return the samples as interleaved 32-bit floats in the machine's own order, full scale 1.

    Args:
        audio: What is to be decoded.
        at_most_s: Of its beginning; few bytes can hold hours.

    Raises:
        UpstreamBadResponse: the audio cannot be decoded.
    """
    wanted_bytes = math.ceil(at_most_s * audio.rate_hz) * audio.channels * _SAMPLE_BYTES["float32"]
    samples = bytearray()
    with _open(audio.content) as file:
        for block in _blocks(file, "float32"):
            samples += block
            if len(samples) >= wanted_bytes:
                break
    return samples[:wanted_bytes]


def transcode(audio: Audio, format: AudioFormat) -> Audio:
    """Return `audio` in another container, 16-bit where the container is lossless.

    Raises:
        UpstreamBadResponse: the audio cannot be decoded, or the format cannot hold its rate.
    """
    if audio.format == format:
        return audio
    with _open(audio.content) as file:
        if file.subtype == "PCM_16":
            # libsndfile 1.2.2 garbles 16-bit stereo on its way into an MP3.
            dtype: _SampleType = "float32" if format == "mp3" else "int16"
            return _encode(_blocks(file, dtype), dtype, audio.rate_hz, audio.channels, format)
        # By way of 16 bits, which clips: LAME aborts the whole process on floats far beyond full scale.
        wav = _encode(_blocks(file, "float32"), "float32", audio.rate_hz, audio.channels, "wav")
    return transcode(prove(wav.content), format)


def encode_samples(samples: Sequence[Sequence[float | None]], *, rate_hz: int) -> Audio:
    """Return a 16-bit WAV of raw samples, as Inference Endpoints send them.

    Args:
        samples: One sequence of equal length per channel, full scale ±1.0. Integers beyond
            ±1 are taken for 16-bit samples; None (a NaN, once it went through JSON) is silence.
        rate_hz: Frames a second.
    Raises:
        UpstreamBadResponse: uneven channels, or nothing that plays.
    """
    channels, frames = len(samples), len(samples[0]) if samples else 0
    _check_plausible(frames, rate_hz, channels)
    if any(len(channel) != frames for channel in samples):
        raise UpstreamBadResponse("The channels in the answer differ in length.")
    interleaved = array("f", bytes(4 * frames * channels))
    try:
        for index, channel in enumerate(samples):
            interleaved[index::channels] = array("f", [0.0 if sample is None else sample for sample in channel])
    except (TypeError, OverflowError):
        raise UpstreamBadResponse("The samples in the answer are not all numbers.") from None
    if not math.isfinite(sum(interleaved)):
        raise UpstreamBadResponse("The samples in the answer are not all numbers.")
    lowest, highest = min(interleaved), max(interleaved)
    if max(highest, -lowest) > _LARGEST_FLOAT_PEAK:
        interleaved = array("f", [sample / 32_768 for sample in interleaved])
    return prove(_encode([interleaved.tobytes()], "float32", rate_hz, channels, "wav").content)


# MusicGen overshoots full scale a little, and is clipped; nothing sends floats far beyond it,
# so larger figures are 16-bit integers.
_LARGEST_FLOAT_PEAK: Final = 8.0


def _encode(
    blocks: Iterable[bytes],
    dtype: _SampleType,
    rate_hz: int,
    channels: int,
    format: AudioFormat,
    *,
    out: BinaryIO | None = None,
) -> Audio:
    import soundfile

    if format == "mp3" and (rate_hz not in _MP3_RATES_HZ or channels > 2):
        raise UpstreamBadResponse(f"An MP3 cannot hold {rate_hz} Hz in {channels} channels; ask for another format.")
    container, subtype = _ENCODINGS[format]
    out, frames = out or io.BytesIO(), 0
    try:
        with soundfile.SoundFile(out, "w", rate_hz, channels, subtype, format=container) as file:
            for block in blocks:
                file.buffer_write(block, dtype)
                frames += len(block) // (_SAMPLE_BYTES[dtype] * channels)
    except soundfile.SoundFileError:  # FLAC has no odd rates above 65,535 Hz
        raise UpstreamBadResponse(f"No {container} can hold {rate_hz} Hz; ask for another format.") from None
    out.seek(0)
    return Audio(out.read(), format, frames / rate_hz, rate_hz, channels)


def encode_blocks(blocks: Iterable[bytes], *, rate_hz: int, channels: int, format: AudioFormat) -> Audio:
    """Return samples that come bit by bit in a container, 16-bit where that is lossless; proven like anything else.

    Args:
        blocks: Interleaved 32-bit floats in the machine's own order, full scale 1 and nothing beyond: as 16 bits,
            libsndfile 1.2.2 would garble stereo on its way into an MP3.
        rate_hz: Frames a second.
        channels: Of each frame.
        format: The container.

    Raises:
        UpstreamBadResponse: the format cannot hold that rate or so many channels, or nothing plays.
    """
    # Not in memory, where whoever makes the blocks is at work.
    with tempfile.TemporaryFile() as file:
        return prove(_encode(blocks, "float32", rate_hz, channels, format, out=file).content)


def encode_pcm16(pcm: bytes, *, rate_hz: int, channels: int) -> Audio:
    """Return interleaved little-endian 16-bit samples as a WAV; proven like anything else."""
    _check_format(rate_hz, channels)
    header = struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        *(b"RIFF", 36 + len(pcm), b"WAVE", b"fmt ", 16, _PCM, channels, rate_hz),
        *(rate_hz * channels * 2, channels * 2, 16, b"data", len(pcm)),
    )
    return prove(header + pcm)
