"""What the configuration tells of a failure: which of its values to change, and to what."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Final

from app.failures.advice import amounts
from app.failures.advice.hint import Hint
from app.failures.report import Report

_Config = Mapping[str, object]
_MAX_TEXT_CHARS: Final = 80

_BATCHES: Final = (
    "per_device_train_batch_size",
    "train_batch_size",
    "micro_batch_size",
    "train_micro_batch_size_per_gpu",
    "per_gpu_train_batch_size",
    "batch_size",
)
_LENGTHS: Final = ("max_seq_length", "max_seq_len", "model_max_length", "cutoff_len", "max_length", "block_size", "resolution")  # fmt: skip
_TIMEOUTS: Final = ("read_timeout", "timeout", "timeout_s", "request_timeout")
_LIMITED: Final = ("Set save_total_limit;",)


def from_config(kind: str, report: Report) -> Iterator[Hint]:
    """Yield the advice that follows from the configuration for a kind of failure."""
    advisers = _ADVISERS.get(kind)
    if advisers and report.config:
        yield from advisers(report)


def _number(config: _Config, *names: str) -> tuple[str, float] | None:
    """Return the first of these settings that is a number above 0."""
    for name in names:
        value = amounts.positive(config.get(name))
        if value is not None:
            return name, value
    return None


def _whole(config: _Config, *names: str) -> tuple[str, int] | None:
    found = _number(config, *names)
    return (found[0], int(found[1])) if found and found[1].is_integer() else None


def _text(config: _Config, *names: str) -> tuple[str, str] | None:
    """Return the first of these settings that is a short line of text."""
    for name in names:
        value = config.get(name)
        if isinstance(value, str) and 0 < len(value.strip()) <= _MAX_TEXT_CHARS and value.isprintable():
            return name, value.strip()
    return None


def _is_on(config: _Config, *names: str) -> bool:
    return any(config.get(name) in (True, "true", "True", 1) for name in names)


def _smaller_batches(report: Report) -> Iterator[Hint]:
    config = report.config
    yield from _half_the_batch(config)
    in_half = _is_on(config, "bf16", "fp16") or config.get("mixed_precision") in ("bf16", "fp16")
    replaces = ("Turn on gradient_checkpointing and",)
    if _is_on(config, "gradient_checkpointing"):
        if in_half:
            yield Hint("gradient_checkpointing is on already: use an 8-bit optimizer or offload it (DeepSpeed ZeRO, FSDP)", replaces)  # fmt: skip
        else:
            yield Hint("Turn on bf16 or fp16 (gradient_checkpointing is on already)", replaces)
    elif in_half:
        yield Hint("Turn on gradient_checkpointing", replaces)
    yield from _lower(config, *_LENGTHS)
    if any(name.startswith("lora_") for name in config):
        is_small = _is_on(config, "load_in_4bit", "load_in_8bit", "quantize")
        yield Hint(
            "Use an 8-bit optimizer, or a shorter max_seq_length / audio crop"
            if is_small
            else "Load the base model in 4 bits (QLoRA), or use an 8-bit optimizer",
            ("Use LoRA/QLoRA",),
        )


def _half_the_batch(config: _Config) -> Iterator[Hint]:
    batch = _whole(config, *_BATCHES)
    if batch is None:
        return
    name, size = batch
    replaces = ("Lower per_device_train_batch_size and",)
    if size == 1:
        yield Hint(f"{name} is 1 already: shorten the samples (max_seq_length, audio crop)", replaces)
        return
    half = size // 2
    setting = "gradient_accumulation_steps"
    steps = _whole(config, setting)
    before = steps[1] if steps else 1
    after = math.ceil(before * size / half - 0.5)
    effective = "the effective batch" if after * half == before * size else "about the same effective batch"
    raised = f"{setting} (now {before}) to {after}" if steps else f"{setting} to {after}"
    if not steps and config.get(setting) is not None:
        raised = f"{setting} by the same factor"
    yield Hint(f"Lower {name} (now {size}) to {half} and raise {raised} to keep {effective}", replaces)


def _lower(config: _Config, *names: str, least: float = 0, replaces: tuple[str, ...] = ()) -> Iterator[Hint]:
    found = _number(config, *names)
    if found and found[1] > least:
        yield Hint(f"Lower {found[0]} (now {amounts.number(found[1])})", replaces)


def _shorter(config: _Config) -> Iterator[Hint]:
    duration = _number(config, "duration")
    if duration and duration[1] > 1:
        yield Hint(f"Ask for a shorter duration (now {amounts.number(duration[1])})", ("Ask for a shorter duration,", "Ask for less work"))  # fmt: skip


def _smaller_requests(report: Report) -> Iterator[Hint]:
    yield from _shorter(report.config)
    for name in ("num_samples", "batch_size", "num_images_per_prompt", "max_new_tokens", "max_model_len", "num_ctx"):
        yield from _lower(report.config, name, least=1)


def _other_precision(report: Report) -> Iterator[Hint]:
    """Yield what to switch off: the one that the message names, or the first that is on."""
    config = report.config
    on = [
        (name, said, instead)
        for name, said, instead in (
            ("bf16", r"bf16|bfloat16", "use fp16, or fp32 on a CPU"),
            ("fp16", r"fp16|float16|\bhalf\b", "use fp32 on this device"),
            ("tf32", r"tf32", "leave it off before Ampere"),
        )
        if _is_on(config, name)
    ]
    named = [each for each in on if report.says(rf"(?<!b)(?:{each[1]})")]
    for name, _, instead in (named or on)[:1]:
        replaces = (f"Set {name}=False and",) if name != "tf32" else ("Set tf32=False on", "Set bf16=False and")
        yield Hint(f"Set {name}=False (now on) and {instead}", replaces)


def _slower_learning(report: Report) -> Iterator[Hint]:
    config = report.config
    rate = _number(config, "learning_rate", "lr")
    if rate:
        yield Hint(f"Lower {rate[0]} (now {amounts.number(rate[1])}), add warm-up and gradient clipping", ("Lower the learning rate",))  # fmt: skip
    if _is_on(config, "fp16"):
        yield Hint("Set fp16=False (now on) and use bf16 or fp32", ("Use bf16 or fp32",))
    elif _is_on(config, "bf16"):
        yield Hint("Compute what overflows in fp32 (bf16 is on already)", ("Use bf16 or fp32",))
    temperature = config.get("temperature")
    if temperature in (0, 0.0, "0") and not isinstance(temperature, bool):
        yield Hint("Set do_sample=False in place of temperature=0, which divides by zero", ("At generation:",))


def _fewer_workers(report: Report) -> Iterator[Hint]:
    names = ("dataloader_num_workers", "num_workers")
    workers = _whole(report.config, *names)
    if workers:
        yield Hint(f"Set {workers[0]} (now {workers[1]}) to 0 to see the true error, then use fewer", ("Run with num_workers=0", "Use fewer workers"))  # fmt: skip
        return
    for name in names:
        if report.config.get(name) in (0, "0") and not isinstance(report.config[name], bool):
            yield Hint(f"Look for a sample that crashes the decoder ({name} is 0 already)", ("Run with num_workers=0", "Use fewer workers", "Look for a corrupt sample"))  # fmt: skip
            return


def _less_memory(report: Report) -> Iterator[Hint]:
    workers = _whole(report.config, "dataloader_num_workers", "num_workers", "num_proc", "workers", "web_concurrency")
    if workers and workers[1] > 1:
        yield Hint(f"Lower {workers[0]} (now {workers[1]}): each one takes memory of its own", ("Run fewer web workers",))  # fmt: skip


def _fewer_checkpoints(report: Report) -> Iterator[Hint]:
    config = report.config
    limit, steps, strategy = (
        _whole(config, "save_total_limit"),
        _whole(config, "save_steps"),
        config.get("save_strategy"),
    )
    if limit and limit[1] > 1:
        yield Hint(f"Lower save_total_limit (now {limit[1]})", _LIMITED)
    elif not limit and strategy == "epoch":
        yield Hint("Set save_total_limit: a checkpoint is kept of every epoch and none is deleted", _LIMITED)
    elif not limit and steps and strategy not in ("no", False):
        yield Hint(f"Set save_total_limit: a checkpoint is kept every {steps[1]} steps and none is deleted", _LIMITED)
    elif not limit and strategy not in ("no", False):
        return
    yield Hint("Move output_dir / HF_HOME to a larger disk", _LIMITED, late=True)


def _longer_timeout(report: Report, *names: str, general: str = "Raise the read timeout above") -> Iterator[Hint]:
    timeout = _number(report.config, *names)
    if timeout:
        yield Hint(f"Raise {timeout[0]} (now {amounts.number(timeout[1])})", (general,))


def _less_or_longer(report: Report) -> Iterator[Hint]:
    yield from _shorter(report.config)
    yield from _longer_timeout(report, *_TIMEOUTS)


def _fewer_at_once(report: Report) -> Iterator[Hint]:
    names = ("concurrency", "max_concurrency", "max_workers", "num_workers", "n_jobs", "concurrency_limit")
    yield from _lower(report.config, *names, least=1, replaces=("Lower concurrency",))


def _matching_strategies(report: Report) -> Iterator[Hint]:
    save = _text(report.config, "save_strategy")
    evaluate = _text(report.config, "eval_strategy", "evaluation_strategy")
    if save and evaluate and save[1] != evaluate[1]:
        yield Hint(f"Make {evaluate[0]} (now {evaluate[1]}) and {save[0]} (now {save[1]}) the same, as load_best_model_at_end asks", ("Make save and eval",))  # fmt: skip


def _fewer_labels(report: Report) -> Iterator[Hint]:
    classes = _whole(report.config, "num_labels", "num_classes")
    if classes:
        yield Hint(f"Check that label ids are in 0..{classes[1] - 1} ({classes[0]} is {classes[1]})", ("Check that label ids are in 0..num",))  # fmt: skip


def _other_checkpoint(report: Report) -> Iterator[Hint]:
    path = _text(report.config, "resume_from_checkpoint", "resume", "resume_path")
    if path and path[1].lower() not in ("true", "false", "latest", "auto"):
        yield Hint(f"Point {path[0]} (now {path[1]}) at a folder with trainer_state.json and weights", ("Point resume_from_checkpoint at",))  # fmt: skip


def _other_name(report: Report) -> Iterator[Hint]:
    model = _text(report.config, "model", "model_name_or_path", "model_name", "model_id", "repo_id", "base_model")
    if model:
        yield Hint(f"Check the spelling of {model[1]} ({model[0]}), and that your account may see it", ("Check spelling", "Check that the token", f"Check the spelling of {model[1]},"))  # fmt: skip


_ADVISERS: Final[Mapping[str, Callable[[Report], Iterator[Hint]]]] = {
    "oom_training": _smaller_batches,
    "oom_generation": _smaller_requests,
    "host_oom_killed": _less_memory,
    "precision_unsupported": _other_precision,
    "device_side_assert": _fewer_labels,
    "nan_loss": _slower_learning,
    "dataloader_worker": _fewer_workers,
    "disk_full": _fewer_checkpoints,
    "read_timeout": _less_or_longer,
    "worker_timeout": _less_or_longer,
    "gateway_timeout": _less_or_longer,
    "distributed_timeout": partial(_longer_timeout, general="Raise ddp_timeout / init_process_group timeout if"),
    "rate_limited": _fewer_at_once,
    "queue_full": _fewer_at_once,
    "invalid_config": _matching_strategies,
    "resume_failed": _other_checkpoint,
    "not_found": _other_name,
}
