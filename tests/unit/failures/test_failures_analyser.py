"""What the analyser says, on messages written for it in each library's wording."""

from __future__ import annotations

import time

import pytest

from app.failures import PHASES, TYPES, UNKNOWN, Evidence, analyse
from app.failures.rules import RULES
from app.failures.text import MAX_TEXT_CHARS

WORST_MS = 50.0
MEDIAN_MS = 5.0


def type_of(text: str, **more: object) -> str:
    return analyse(Evidence(text, **more)).error_type  # type: ignore[arg-type]


def test_the_example_that_must_hold() -> None:
    diagnosis = analyse(Evidence("CUDA out of memory", config={"per_device_train_batch_size": 8}))

    assert (diagnosis.error_type, diagnosis.error_phase, diagnosis.confidence) == ("oom_training", "training", "high")
    assert "now 8" in diagnosis.suggestions[0]
    assert not diagnosis.retryable


OOM = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1.50 GiB."


@pytest.mark.parametrize(
    ("text", "config", "expected"),
    [
        (OOM, {"lora_r": 16, "learning_rate": 2e-4}, "oom_training"),
        (OOM, {"duration": 60, "prompt": "calm piano"}, "oom_generation"),
        (OOM, {"trainer": {"gradient_accumulation_steps": 4}}, "oom_training"),
        (OOM, {"stages": [1, {"Train_Batch_Size": 4}]}, "oom_training"),
        (OOM, {"per_device_train_batch_size": 8, "max_prompt_length": 512, "top_p": 1.0}, "oom_training"),
        (OOM, {"learning_rate": 1e-6, "generation_num_beams": None, "predict_with_generate": False}, "oom_training"),
        (OOM, {"weight_decay": 0.1}, "oom_training"),
        (OOM, {"prompt": "calm", "warmup_runs": 1, "optimize": True}, "oom_generation"),
        (OOM, {"max_new_tokens": 30, "deepspeed": None}, "oom_generation"),
        (OOM, {"constrain_length": 3}, "oom_generation"),
        (f"    scaler.scale(loss).backward()\n{OOM}", None, "oom_training"),
        (f'  File "/app/handler.py", line 4, in run\n    audio = model.generate(tokens)\n{OOM}', None, "oom_generation"),
        (f"[rank2]: {OOM}\n[rank0]: [E ProcessGroupNCCL.cpp:630] Watchdog caught collective operation timeout", None, "oom_training"),
        ("[CRITICAL] WORKER TIMEOUT (pid:9)\nWorker (pid:9) was sent SIGKILL! Perhaps out of memory?", None, "worker_timeout"),
        ("Worker (pid:9) was sent SIGKILL! Perhaps out of memory?", None, "host_oom_killed"),
        ("RuntimeError: DataLoader worker (pid 9) is killed by signal: Killed.", None, "dataloader_worker"),
        ("429 Too Many Requests {'code': 'insufficient_quota'}", None, "insufficient_credits"),
        ("429 Too Many Requests, please slow down", None, "rate_limited"),
        ("No GPU was available after 60 s", None, "queue_full"),
        ('503 Service Unavailable {"error":"Model x is currently loading","estimated_time":12.0}', None, "model_loading"),
        ("503 Service Unavailable", None, "upstream_error"),
        ("401 Client Error. Repository Not Found for url: https://hub.example/api/x", None, "not_found"),
        ("401 Client Error. Cannot access gated repo for url https://hub.example/x", None, "gated_repo"),
        ("FileNotFoundError: No such file or directory: 'out/model.safetensors'", None, "checkpoint_not_found"),
        ("FileNotFoundError: No such file: 'out/model.safetensors'", {"resume_from_checkpoint": "out"}, "resume_failed"),
        ("FileNotFoundError: No such file: 'out/model.safetensors'", {"resume_from_checkpoint": None}, "checkpoint_not_found"),
        ("resuming from out\nFileNotFoundError: No such file or directory: 'out/model.safetensors'", None, "resume_failed"),
        ("IndexError: index out of range in self", None, "tokenizer_mismatch"),
        ("ConnectionError: HTTPSConnectionPool(host='x.example', port=443): Read timed out.", None, "read_timeout"),
        ("slurmstepd: error: Detected 1 oom-kill event, perhaps of the cgroup out-of-memory handler", None, "host_oom_killed"),
        ("微调时显存不足", None, "oom_training"),
        ("推理时显存不足", None, "oom_generation"),
        ("ssl.SSLError: _ssl.c:1112: The handshake operation timed out", None, "connect_timeout"),
        ("The connection was closed: throttled due to too many requests", None, "rate_limited"),
        ("TimeoutException: The operation was cancelled", None, "read_timeout"),
        ("ResourceExhaustedError: OOM when allocating tensor with shape[64,9]", None, "oom_training"),
        ("ResourceExhaustedError: OOM when allocating tensor with shape[1,9]", None, "oom_generation"),
        ('  File "lib/multiprocessing/spawn.py", line 8, in main\nEOFError: Ran out of input', None, "dataloader_worker"),
        ('  File "a.py", line 8, in go\n    optimizer.load_state_dict(state)\nTypeError: it is an int', None, "resume_failed"),
        ('{"hate":{"filtered":false}}\nKeyError: \'choices\'', None, "missing_data"),
    ],
)  # fmt: skip
def test_the_boundaries_between_kinds(text: str, config: dict[str, object] | None, expected: str) -> None:
    assert type_of(text, config=config) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n\t\n",
        "it does not work, please help",
        "{'loss': 1.2, 'grad_norm': 0.8, 'learning_rate': 1e-05, 'epoch': 0.1}",
        "best_loss: inf, max_grad_norm: inf",
        "export PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True",
        "python train.py --resume_from_checkpoint out/checkpoint-500",
        "INFO:     Started server process [7]\nINFO:     Application startup complete.",
        "UserWarning: torch.nn.utils.weight_norm is deprecated",
        "- `transformers` version: 4.41.0\n- Platform: Linux\n- Python version: 3.11.7\n- PyTorch version (GPU?): 2.3.0 (True)",
        "Some weights of GPT2 were not initialized from the model checkpoint at gpt2 and are newly initialized",
        "numpy==1.26.4\nbitsandbytes==0.43.0\nflash-attn==2.5.8",
        "Segmentation fault (core dumped)",
        "| NVIDIA-SMI 550.54    Driver Version: 550.54    CUDA Version: 12.4 |",
    ],
)
def test_what_is_no_failure_is_unknown_and_low(text: str) -> None:
    diagnosis = analyse(Evidence(text))

    assert (diagnosis.error_type, diagnosis.error_phase, diagnosis.confidence) == (UNKNOWN, UNKNOWN, "low")
    assert diagnosis.suggestions


def test_the_cause_decides_and_not_the_last_line() -> None:
    text = """
Traceback (most recent call last):
  File "urllib3/connection.py", line 198, in _new_conn
    sock = connection.create_connection(
socket.gaierror: [Errno -3] Temporary failure in name resolution

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "requests/adapters.py", line 700, in send
    raise ConnectionError(e, request=request)
requests.exceptions.ConnectionError: Max retries exceeded with url: /x
"""

    assert type_of(text) == "dns_failure"


def test_advice_that_is_printed_with_every_gpu_error_does_not_decide() -> None:
    text = (
        "RuntimeError: CUDA error: no kernel image is available for execution on the device\n"
        "CUDA kernel errors might be asynchronously reported at some other API call.\n"
        "Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions."
    )

    assert type_of(text) == "cuda_environment"


@pytest.mark.parametrize(
    "disguise",
    [
        lambda text: f"\x1b[31m{text}\x1b[0m",
        lambda text: f"[rank3]: {text}",
        lambda text: f"│ {text}          │",
        lambda text: f"E           {text}",
        lambda text: f"2026-01-02 03:04:05,678 - app - ERROR - {text}",
        lambda text: '{"log": "started\\n' + text + '\\n"}',
        lambda text: text.replace("'", "\u2019"),
        lambda text: "\n".join(f"[rank{rank}]: {text}" for rank in range(8)),
        lambda text: "step 1/10\r" * 50 + text,
        lambda text: f"训练时报错{text}怎么办",
    ],
)
def test_a_message_is_found_in_whatever_it_is_wrapped(disguise: object) -> None:
    assert callable(disguise)
    assert type_of(disguise("ModuleNotFoundError: No module named 'demucs'")) == "missing_module"


def test_a_failure_is_found_in_the_middle_of_a_long_log() -> None:
    noise = "".join(f"2026-01-01 00:00:00 INFO step {step} went well\n" for step in range(2_000))

    assert type_of(f"{noise}OSError: [Errno 28] No space left on device\n{noise}") == "disk_full"


@pytest.mark.parametrize(
    "noise",
    [
        "2026-01-01 00:00:00 INFO try {} was fine, status 200, errors: 0, failed: 0, missing: 0\n" * 1_200,
        "step {} went well\n" * 4_500,
        "step {} is fine\n" * 350,
        "İzmir, step {} went well, 0 errors\n" * 2_000,
    ],
)
@pytest.mark.parametrize(
    ("cause", "expected"),
    [
        ("No space left on device", "disk_full"),
        ("429 Too Many Requests", "rate_limited"),
        ("size mismatch for head.weight: copying a param with shape [3] from the checkpoint", "checkpoint_mismatch"),
        ("    loss.backward()\ntorch.OutOfMemoryError: CUDA out of memory.", "oom_training"),
        ("Resuming training from out\nFileNotFoundError: No such file: 'out/model.safetensors'", "resume_failed"),
    ],
)
def test_a_log_hides_no_cause_in_its_middle(noise: str, cause: str, expected: str) -> None:
    numbered = noise.format(*range(noise.count("{}")))

    assert type_of(f"{numbered}{cause}\n{numbered}") == expected


@pytest.mark.parametrize("times", [1, 4, 40])
def test_a_failure_that_is_told_again_and_again_is_found(times: int) -> None:
    one = (
        "attempt {}: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of"
        " 23.68 GiB of which 6.06 MiB is free. Process {} has 23.67 GiB memory in use. Of the allocated memory 22.5 GiB is"
        " allocated by PyTorch. If reserved but unallocated memory is large try setting"
        " PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True to avoid fragmentation."
    )

    assert type_of("\n".join(one.format(number, 4000 + number) for number in range(times))) == "oom_generation"


def test_what_a_long_report_says_around_its_failure_counts() -> None:
    noise = "\n".join(
        f"{first}{second} went well, said the log" for first in "abcdefghijkl" for second in "mnopqrstuvwxyz"
    )
    failure = "FileNotFoundError: No such file: 'out/model.safetensors'"

    assert type_of(f"{noise}\n{failure}\n{noise.upper()}") == "checkpoint_not_found"
    assert type_of(f"{noise}\nResuming training from out\n{failure}\n{noise.upper()}") == "resume_failed"


def test_what_came_beside_the_text_counts() -> None:
    assert type_of("it failed", status=413) == "payload_too_large"
    assert type_of("it failed", status=401, headers={"X-Error-Code": "GatedRepo"}) == "gated_repo"
    assert type_of("all is well", status=200) == UNKNOWN


def test_every_answer_is_of_the_catalogue() -> None:
    for rule in RULES:
        diagnosis = analyse(Evidence(rule.example, config=rule.config))
        kind = TYPES[diagnosis.error_type]
        assert diagnosis.error_phase in {kind.phase, *kind.other_phases} <= set(PHASES)
        assert diagnosis.retryable == kind.retryable
        assert diagnosis.confidence in {"high", "medium", "low"}
        assert diagnosis.to_json("7").keys() == {
            "job_id", "error_type", "error_phase", "description", "confidence", "suggestions", "retryable",
        }  # fmt: skip


def hostile_texts() -> list[str]:
    pieces = sorted({word for rule in RULES for word in rule.example.split()})
    every = " ".join(pieces)
    fill = MAX_TEXT_CHARS
    return [
        "a" * fill,
        " " * fill,
        "\n" * fill,
        "\r" * fill,
        "&amp;" * (fill // 5),
        "&#" + "9" * 5_000,
        "\\" * fill,
        "." + "\\" * 12_000,
        "\\n" * (fill // 2),
        "\x1b[3" * (fill // 3),
        "\0" * fill,
        "İ" * fill,
        "error: " * (fill // 7),
        "".join(f"error {number}: timed out, killed, status 500, oom, not found\n" for number in range(5_000))[:fill],
        (every * (fill // len(every) + 1))[:fill],
        ("\n".join(pieces) * 40)[:fill],
        "".join(
            f'  File "/x/y{number}.py", line {number}, in f\n    raise ValueError({number})\n'
            for number in range(6_000)
        ),
        "💥" * (fill // 2),
        "\ud800" * 1_000,
    ]


@pytest.mark.real  # with those, where no tracer counts lines: it takes several times as long as the lines
def test_hostile_text_is_read_in_bounded_time() -> None:
    analyse(Evidence("warm up"))
    for text in hostile_texts():
        analyse(Evidence(text))
        elapsed_ms = min(_measured_ms(text) for _ in range(3))
        assert elapsed_ms < WORST_MS * 2, text[:40]  # Measured on a machine that may be doing something else as well.


@pytest.mark.real  # with those, where no tracer counts lines: it takes several times as long as the lines
def test_ordinary_messages_are_read_quickly() -> None:
    for rule in RULES:
        analyse(Evidence(rule.example, config=rule.config))
    times = sorted(_measured_ms(rule.example) for rule in RULES)

    assert times[len(times) // 2] < MEDIAN_MS


def _measured_ms(text: str) -> float:
    started = time.process_time()
    analyse(Evidence(text))
    return (time.process_time() - started) * 1_000


@pytest.mark.parametrize(
    "text",
    [
        "$(touch /tmp/x) `id` ; rm -rf /",
        "'\"\\{}%s{0}",
        "<script>alert(1)</script>",
        "\x00\x01\x02",
        "{" * 5_000,
        "😀" * 100,
    ],
)
def test_any_characters_are_plain_data(text: str) -> None:
    assert analyse(Evidence(text)).error_type in TYPES


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the lora refuses to load, bad luck", "checkpoint_not_found"),
        ("a problem with the base64 of the cover", "invalid_base64"),
        ("Our parquet is wrong somehow", "dataset_format"),
    ],
)
def test_a_thing_in_trouble_is_better_than_no_answer(text: str, expected: str) -> None:
    diagnosis = analyse(Evidence(text))

    assert (diagnosis.error_type, diagnosis.confidence) == (expected, "low")


def test_a_vague_word_is_no_doubt_upon_a_clear_one() -> None:
    clear = "ModuleNotFoundError: No module named 'loudness'"

    assert analyse(Evidence(clear)) == analyse(Evidence(f"{clear}\nI think that my tokenizer is broken, too"))


@pytest.mark.parametrize(
    "text",
    [
        "llama_model_loader: - kv 14: tokenizer.ggml.model str = gpt2",
        "Stream #0:0 -> #0:0 (mp3 (mp3float) -> pcm_s16le (native))",
        "Loaded 12 wavs, each with its text",
        "请问训练数据的格式是什么样的",
        "Will opus be supported some day?",
    ],
)
def test_what_healthy_runs_and_questions_say_is_no_failure(text: str) -> None:
    assert type_of(text) == UNKNOWN


@pytest.mark.parametrize(
    ("text", "phase"),
    [
        ("KeyboardInterrupt", "request"),
        ("KeyboardInterrupt\n8 workers were still busy with the job", "request"),
        ("The prediction was canceled", "upstream"),
        ("Trainer.train()\nloss.backward()\nKeyboardInterrupt", "training"),
    ],
)
def test_where_a_stop_came(text: str, phase: str) -> None:
    assert analyse(Evidence(text)).error_phase == phase
