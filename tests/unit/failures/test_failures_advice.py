"""Advice names what the message and the configuration name."""

from __future__ import annotations

import re

import pytest

from app.failures import TYPES, Evidence, analyse
from app.failures.advice.fact import Fact
from app.failures.advice.facts import FACTS
from app.failures.advice.general import NEEDS
from app.failures.advice.waits import WAITS


def advice(text: str, **more: object) -> tuple[str, ...]:
    return analyse(Evidence(text, **more)).suggestions  # type: ignore[arg-type]


def suggestions(text: str, **more: object) -> str:
    return "\n".join(advice(text, **more))


OOM = "CUDA out of memory. Tried to allocate 2.50 GiB"


BATCH, STEPS = "per_device_train_batch_size", "gradient_accumulation_steps"
LIMITED = "429 Too Many Requests. "
QUOTA = "You have exceeded your GPU quota "
LOADING = "Model x is currently loading, estimated_time: "
FULL = "[Errno 28] No space left on device"
BUS = "DataLoader worker (pid 7) is killed by signal: Bus error"
NAN = "Step 3: training loss is nan"
MISSING = "ModuleNotFoundError: No module named "


def test_the_batch_comes_first() -> None:
    assert advice("CUDA out of memory", config={BATCH: 8})[0] == (
        "Lower per_device_train_batch_size (now 8) to 4 and raise gradient_accumulation_steps to 2 to keep the effective batch"
    )


@pytest.mark.parametrize(
    ("text", "config", "expected"),
    [
        (OOM, {BATCH: 8, STEPS: 2}, "Lower per_device_train_batch_size (now 8) to 4 and raise gradient_accumulation_steps (now 2) to 4 to keep the effective batch"),
        (OOM, {BATCH: 12, STEPS: 5}, "(now 12) to 6 and raise gradient_accumulation_steps (now 5) to 10 to keep the effective"),
        (OOM, {BATCH: 3, STEPS: 4}, "(now 3) to 1 and raise gradient_accumulation_steps (now 4) to 12 to keep the effective"),
        (OOM, {BATCH: 9, STEPS: 1}, "(now 9) to 4 and raise gradient_accumulation_steps (now 1) to 2 to keep about the same effective"),
        (OOM, {BATCH: 8, STEPS: "auto"}, "raise gradient_accumulation_steps by the same factor"),
        (OOM, {BATCH: 8, STEPS: -4}, "raise gradient_accumulation_steps by the same factor"),
        (OOM, {"train_batch_size": "6"}, "train_batch_size (now 6) to 3"),
        (OOM, {BATCH: 1}, "is 1 already"),
        (OOM, {BATCH: 2, "gradient_checkpointing": True}, "Turn on bf16 or fp16 (gradient_checkpointing is on already)"),
        (OOM, {BATCH: 2, "gradient_checkpointing": True, "bf16": True}, "gradient_checkpointing is on already: use"),
        (OOM, {BATCH: 4.0, "cutoff_len": 2048}, "Lower cutoff_len (now 2048)"),
        (OOM, {"lora_r": 8, "learning_rate": 1e-4}, "Load the base model in 4 bits (QLoRA)"),
        (OOM, {"learning_rate": 1e-4}, "Look for what wants 2.50 GiB at once"),
        (OOM, {"duration": 30}, "Ask for a shorter duration (now 30)"),
        (OOM, {"duration": 12.5}, "Ask for a shorter duration (now 12.5)"),
        (f"{OOM}. Process 41 has 20.5 GiB memory in use.", None, "End process 41 if it is not needed: it holds 20.5 GiB"),
        (f"{OOM}. 5.00 GiB is reserved by PyTorch but unallocated", None, "5.00 GiB are reserved but unused"),
        ("==> Out of memory (used over 512Mi)", None, "(now 512Mi)"),
        ("ImportError: cannot import name 'x' from 'torch.fft' (unknown location)", None, "a version of torch that has x"),
        ("ImportError: cannot import name 'Mapping' from 'collections'", None, "Use the version of Python that the code was written for"),
        ("ImportError: libGL.so.1: cannot open shared object file: No such file or directory", None, "apt install libgl1"),
        (f"{QUOTA}(60s requested vs. 12s left).", None, "at most 12 s of GPU time"),
        ("Read timed out. (read timeout=10)", None, "now 10 s"),
        ("AxiosError: timeout of 30000ms exceeded", None, "now 30 s"),
        ("Read timed out.", {"timeout": 300}, "Raise timeout (now 300)"),
        ("Read timed out.", {"timeout": 0.5}, "Raise timeout (now 0.5)"),
        ("connect ECONNREFUSED 127.0.0.1:11434", None, "127.0.0.1:11434"),
        ("getaddrinfo ENOTFOUND api.example.com", None, "the name api.example.com is right"),
        ("The OPENAI_API_KEY environment variable is missing", None, "Set OPENAI_API_KEY"),
        ("train.py: error: unrecognized arguments: --fp17", None, "Remove --fp17"),
        ("FileNotFoundError: No such file or directory: 'a/b/voice.pth'", None, "voice.pth is there"),
        ("PermissionError: [Errno 13] Permission denied: '/data/out'", None, "Make /data/out writable"),
        ("bf16 is not supported on this device", {"bf16": True}, "Set bf16=False (now on)"),
        ("tf32 requires an Ampere GPU and is not supported on this device", {"bf16": True, "tf32": True}, "Set tf32=False (now on)"),
        (NAN, {"learning_rate": 0.01, "fp16": "true"}, "learning_rate (now 0.01)"),
        (NAN, {"learning_rate": "2e-5"}, "learning_rate (now 2e-05)"),
        (NAN, {"learning_rate": 1}, "learning_rate (now 1)"),
        (BUS, {"num_workers": 8}, "num_workers (now 8) to 0"),
        (BUS, {"num_workers": 0}, "num_workers is 0 already"),
        (FULL, {"save_steps": 100}, "every 100 steps"),
        (FULL, {"save_steps": 100, "save_total_limit": 3}, "Lower save_total_limit (now 3)"),
        ("RuntimeError: CUDA error: device-side assert triggered", {"num_labels": 5}, "label ids are in 0..4"),
        ("OSError: acme/tiny is not a local folder and is not a valid model identifier", None, "the spelling of acme/tiny"),
        ("403 Cannot access gated repo for url https://huggingface.co/meta/big/resolve/main/config.json", None, "Open https://huggingface.co/meta/big while"),
        ("ssl.SSLError: [SSL: WRONG_VERSION_NUMBER] wrong version number", None, "does not speak TLS"),
        ("KeyError: \"Column length not in the dataset. Current columns in the dataset: ['input_ids']\"", None, "the column 'length'"),
        ("The NVIDIA driver on your system is too old (found version 11040).", None, "CUDA up to 11.4"),
        ("XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory while trying to allocate 17179869184 bytes.", None, "wants 16 GiB"),
        ("PermissionError: [WinError 32] The process cannot access the file because it is being used by another process: 'C:\\\\a.wav'", None, "Close the program"),
        ("json.decoder.JSONDecodeError: Extra data: line 2 column 1 (char 120)", None, "line by line"),
        ("TypeError: generate() missing 1 required positional argument: 'prompt'", None, "Give 'prompt'"),
        ("ValueError: --load_best_model_at_end requires the save and eval strategy to match", {"save_strategy": "steps", "eval_strategy": "no"}, "Make eval_strategy (now no) and save_strategy (now steps) the same"),
        ("ollama._types.ResponseError: model 'llama2' not found, try pulling it first", None, "ollama pull llama2"),
        ("Watchdog caught collective operation timeout: WorkNCCL(SeqNum=4, OpType=BROADCAST, Timeout(ms)=1800000) ran for 1800100 milliseconds", None, "(now 30 min)"),
        ("CUDA error: RTX 5090 with CUDA capability sm_120 is not compatible with the current PyTorch installation.\nThe current PyTorch install supports CUDA capabilities sm_50 sm_60", None, "compiled for sm_120"),
    ],
)  # fmt: skip
def test_advice_uses_the_evidence(text: str, config: dict[str, object] | None, expected: str) -> None:
    assert expected in suggestions(text, config=config)


@pytest.mark.parametrize(
    ("text", "config", "unwanted"),
    [
        (OOM, {BATCH: 0}, "now 0"),
        (OOM, {BATCH: 0}, "already"),
        (OOM, {BATCH: -8}, "-8"),
        (OOM, {BATCH: 8.5}, "now 8"),
        (OOM, {BATCH: 8, STEPS: 0}, "now 0"),
        (OOM, {BATCH: 8, "max_seq_length": -1}, "-1"),
        (OOM, {BATCH: 1}, "Lower per_device"),
        (OOM, {BATCH: 2, "gradient_checkpointing": True}, "Turn on gradient_checkpointing"),
        (f"{OOM}. 12.00 MiB is reserved by PyTorch but unallocated", None, "12.00 MiB"),
        ("CUDA out of memory. Tried to allocate 18.00 MiB", None, "18.00 MiB"),
        (NAN, {"learning_rate": "auto"}, "auto"),
        (NAN, {"learning_rate": -0.001}, "0.001"),
        (NAN, {"learning_rate": float("nan")}, "now nan"),
        (NAN, {"learning_rate": "line1\nline2"}, "line1"),
        (NAN, {"learning_rate": 0.01}, "Lower the learning rate"),
        ("RuntimeError: probability tensor contains either inf, nan or element < 0", None, "learning rate"),
        (BUS, {"num_workers": -1}, "-1"),
        (BUS, {"num_workers": 8}, "Run with num_workers=0"),
        (BUS, {"num_workers": 0}, "Run with num_workers=0"),
        (FULL, {"save_steps": -1}, "every"),
        (FULL, {"save_steps": 100, "save_strategy": "no"}, "save_total_limit"),
        (FULL, {"save_steps": 100, "save_total_limit": 3}, "every 100 steps"),
        (FULL, {"save_steps": 100, "save_total_limit": 1}, "save_total_limit"),
        ("Read timed out.", {"timeout": 0}, "now 0"),
        ("Read timed out.", {"timeout": -1}, "now -1"),
        ("HTTPSConnectionPool(host='x.example', port=443): Read timed out. (read timeout=10)", None, "x.example"),
        ("ConnectionResetError: HTTPSConnectionPool(host='x.example', port=443): Connection reset by peer", None, "x.example"),
        ("The OPENAI_API_KEY environment variable is missing", None, "save and eval"),
        ("KeyboardInterrupt", None, "checkpoint"),
        (f"{MISSING}'demucs'", None, "the named package"),
        (f"{QUOTA}(60s requested vs. 0s left).", None, "0 s"),
    ],
)  # fmt: skip
def test_advice_neither_repeats_nor_contradicts(text: str, config: dict[str, object] | None, unwanted: str) -> None:
    assert unwanted not in suggestions(text, config=config)


@pytest.mark.parametrize(
    "text",
    [
        "".join(f"step {number}: all is well\n" for number in range(1_500)) + f"{MISSING}'einops'",
        "\0".join(f"{MISSING}'einops'"),
        f"x.py:3: UserWarning: No module named 'triton', falling back\n{MISSING}'einops'",
        f"{MISSING}'triton'\ngoing on without\n{MISSING}'einops'",
        f"{MISSING}'einops'\n{MISSING}'triton' (ignored)",
        f"{MISSING}'triton' (ignored)\nImportError: No module named einops",
    ],
)
def test_what_was_fatal_is_advised(text: str) -> None:
    assert advice(text)[0] == "Install einops in the environment that runs the service: pip install einops"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("413 Payload Too Large\nthe limit is 25 MB\nx.py:3: UserWarning: the limit of version.txt is 10 MB", "below 25 MB,"),
        ("KeyError: 'shape'\nnever mind\nin dataset.map\nKeyError: 'text'", "the column 'text'"),
        ("STEP_TWO INFO_LOG starting with HTTP_PROXY\nOPENAI_API_KEY not set", "Set OPENAI_API_KEY in"),
        ("No such file or directory: 'cache/version.txt' (ignored)\nFileNotFoundError: No such file or directory: 'models/voice.pth'", "voice.pth"),
    ],
)  # fmt: skip
def test_what_was_survived_is_not(text: str, expected: str) -> None:
    given = suggestions(text)

    assert expected in given
    assert not re.search("shape|STEP_TWO|INFO_LOG|HTTP_PROXY|version.txt|10 MB", given)


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("yaml", "pip install pyyaml"),
        ("Crypto", "pip install pycryptodome"),
        ("git", "pip install GitPython"),
        ("google.cloud.storage", "pip install google-cloud-storage"),
        ("google", "google-genai"),
        ("demucs.api", "Install a version of demucs that has demucs.api"),
        ("_lzma", "belongs to Python: use a build that has it (on Debian, liblzma-dev was missing)"),
        ("_sqlite3", "belongs to Python"),
        ("tkinter", "belongs to Python"),
        ("tomllib", "belongs to Python"),
        ("distutils", "pip install setuptools"),
        ("pkg_resources", "setuptools<81"),
        ("audioop", "pip install audioop-lts"),
        ("pyaudioop", "pip install audioop-lts"),
        ("imp", "removed from Python 3.12"),
        ("utils", "PYTHONPATH"),
        ("src.models", "PYTHONPATH"),
        ("__main__", "no __main__"),
        ("_speedups", "compiled part of another package"),
        ("apex", "github.com/NVIDIA/apex"),
    ],
)
def test_not_every_module_is_a_package_of_its_name(module: str, expected: str) -> None:
    given = advice(f"{MISSING}'{module}'")[0]

    assert expected in given
    assert not given.endswith(f"pip install {module}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{LIMITED}Please try again in 20s.", "Wait 20 s, then retry"),
        (f"{LIMITED}Try again in 1 minute, 30 seconds", "Wait 90 s, then retry"),
        (f"{LIMITED}try again in 1m30s", "Wait 90 s, then retry"),
        (f"{LIMITED}Please try again in 6m0s.", "Wait 6 min, then retry"),
        (f"{LIMITED}please wait 10 seconds", "Wait 10 s, then retry"),
        (f"{LIMITED}Please retry in 31.5s", "Wait 32 s, then retry"),
        (f"{LIMITED}retry_after: 0.5", "Wait 1 s, then retry"),
        (f"{LIMITED}retry-after-ms: 1500", "Wait 2 s, then retry"),
        (f"{LIMITED}请在30秒后重试", "Wait 30 s, then retry"),
        (f"{LIMITED}Try again in 7 days", "Wait 168 h, then retry"),
        (f"{LIMITED}Retry-After: 0", None),
        (f"{LIMITED}Try again in 8 days", None),
        (f"{LIMITED}Try again in 999999 hours", None),
        (f"{LIMITED}Try again in 99999999999 s", None),
        (f"{LIMITED}Try again in 20 September", None),
        (f"{LIMITED}Will retry in 5s", None),
        (f"{QUOTA}(60s requested vs. 12s left). Try again in 1:02:03", "Wait 1 h 2 min 3 s, then retry"),
        (f"{QUOTA}Try again in 1 day, 1:00:00", "Wait 25 h, then retry"),
        (f"{QUOTA}Try again in 0:00:00", None),
        (f"{LOADING}20.5", "Wait 21 s (the estimate of the upstream), then retry"),
        (f"{LOADING}123.4567890123456", "Wait 2 min 4 s (the estimate of the upstream), then retry"),
        (f"{LOADING}9999999", "Wait until the model has loaded, then retry"),
        ("500 Internal Server Error. Please try again in 20s", None),
    ],
)
def test_a_wait_is_read_whole_or_not_at_all(text: str, expected: str | None) -> None:
    assert [each for each in advice(text) if each.startswith("Wait ")] == ([expected] if expected else [])


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Retry-After": "42"}, "Wait 42 s (Retry-After), then retry"),
        ({"retry-after": "1.5"}, "Wait 2 s (Retry-After), then retry"),
        ({"retry-after": "604800"}, "Wait 168 h (Retry-After), then retry"),
        ({"retry-after": "604801"}, None),
        ({"retry-after": "999999999999"}, None),
        ({"retry-after": "0"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "Wed, 99 Foo 2026"}, None),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, "Wait until 2026-10-21 07:28:00 UTC (Retry-After), then retry"),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT", "Date": "Wed, 21 Oct 2026 07:27:30 GMT"}, "Wait 30 s (Retry-After), then retry"),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT", "Date": "Wed, 21 Oct 2026 07:29:00 GMT"}, None),
    ],
)  # fmt: skip
def test_the_header_says_how_long(headers: dict[str, str], expected: str | None) -> None:
    given = advice("429 Too Many Requests", headers=headers)

    assert [each for each in given if each.startswith("Wait ")] == ([expected] if expected else [])
    assert ("Honour Retry-After" in given[0]) == (expected is None)


def test_one_wait_is_advised_and_only_where_waiting_helps() -> None:
    header = {"Retry-After": "42"}

    assert suggestions(f"{LIMITED}Try again in 20s", headers=header).count("Wait ") == 1
    assert suggestions(f"{LOADING}20. Please try again in 30s").count("Wait ") == 1
    assert "Wait 42 s" in suggestions(QUOTA, headers=header)
    assert "Wait" not in suggestions("401 Unauthorized: invalid API key", headers=header)
    assert "Wait" not in suggestions("402 Payment Required: insufficient credits", headers=header)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("File size 35 MB exceeds the limit of 25 MB", "below 25 MB,"),
        ("File limit 10 MB for logs\n413 Request Entity Too Large: max 25 MB", "below 25 MB,"),
        ("413: Maximum content size limit (26214400) exceeded (27000000 bytes read)", "below 25 MiB,"),
        ("413 Payload Too Large: the file size limit is 25MB", "below 25MB,"),
        ("413 Payload Too Large: over the 20 MB file size limit", "below 20 MB,"),
        ("413 Payload Too Large: got 35 MB", None),
    ],
)
def test_the_limit_is_not_the_size(text: str, expected: str | None) -> None:
    given = advice(f"413 Payload Too Large\n{text}")

    assert expected in given[0] if expected else not any("below" in each for each in given)


@pytest.mark.parametrize(
    ("elapsed_s", "expected"),
    [(61.2, "it failed after 61 s"), (400, "it failed after 6 min 40 s"), (0.4, None), (float("inf"), None), (float("nan"), None), (1e9, None)],
)  # fmt: skip
def test_the_time_it_took_is_told(elapsed_s: float, expected: str | None) -> None:
    given = suggestions("504 Gateway Time-out", elapsed_s=elapsed_s)

    assert expected in given if expected else "it failed after" not in given


@pytest.mark.parametrize(
    "value", [True, None, "eight", [8], {}, 8.5, float("nan"), float("inf"), -3, "9" * 400, 10**400]
)
def test_a_strange_value_is_no_reason_to_fail(value: object) -> None:
    for text in (OOM, NAN, BUS, FULL, "Read timed out.", "429 Too Many Requests", "device-side assert triggered"):
        names = (BATCH, STEPS, "learning_rate", "num_workers", "save_steps", "save_strategy", "timeout", "num_labels")
        assert advice(text, config=dict.fromkeys(names, value))


def test_what_no_encoding_can_write_is_marked() -> None:
    assert "?.pth is there" in suggestions("FileNotFoundError: No such file or directory: 'a/\ud800.pth'")


@pytest.mark.parametrize("fact", [*FACTS, *WAITS], ids=lambda fact: str(fact.patterns)[:60])
def test_a_fact_is_about_kinds_that_exist_and_fills_its_sentence(fact: Fact) -> None:
    assert set(fact.types) <= set(TYPES)
    for pattern in fact.patterns:
        groups = set(re.compile(pattern).groupindex)
        if isinstance(fact.advice, str):
            assert set(re.findall(r"\{(\w+)\}", fact.advice)) <= groups | {"file" for _ in groups & {"path"}}
        assert not re.search(r"[.C)][*+]", re.sub(r"\\.|\[[^\]]*\]", "C", pattern)), "a repetition without bound"


def test_conditions_are_about_advice_that_is_given() -> None:
    general = [advice for kind in TYPES.values() for advice in kind.advice]

    for beginning in NEEDS:
        assert any(each.startswith(beginning) for each in general), beginning


def test_advice_is_not_repeated_and_not_endless() -> None:
    for kind in TYPES.values():
        given = analyse(Evidence(kind.name)).suggestions
        assert len(set(given)) == len(given) <= 6
    many = {BATCH: 8, "gradient_checkpointing": True, "bf16": True, "max_seq_length": 9, "lora_r": 8}
    assert (
        len(
            advice(
                f"{OOM}. Process 41 has 20.5 GiB memory in use. 5.00 GiB is reserved by PyTorch but unallocated",
                config=many,
            )
        )
        == 6
    )
