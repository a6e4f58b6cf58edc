"""The kinds of failure: what each one means, where it happens, and what helps.

A kind is one row of `TYPES`. `docs/failures.md` is made from the rows (`make docs`), and the rules in
`app/failures/rules/` name them; a test holds that every rule names a row and that every row but
`unknown` has rules.

What follows from the facts of a case is added to the advice by `app/failures/advice/`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

PHASES: Final = (
    "request",
    "configuration",
    "connection",
    "authentication",
    "quota",
    "upstream",
    "generation",
    "decoding",
    "storage",
    "training",
    "data",
    "checkpoint",
    "environment",
    "unknown",
)

UNKNOWN: Final = "unknown"


@dataclass(frozen=True, slots=True)
class FailureType:
    """A kind of failure.

    Attributes:
        name: What answers call it.
        phase: The part of the work in which it usually happens, one of `PHASES`.
        meaning: One line for people.
        advice: What helps, the likeliest first.
        other_phases: Where the same failure also happens.
        retryable: Whether doing the same again later, unchanged and with nobody acting, is sensible.
    """

    name: str
    phase: str
    meaning: str
    advice: tuple[str, ...]
    other_phases: tuple[str, ...] = ()
    retryable: bool = False


_ROWS: Final = (
    FailureType(
        "oom_training",
        "training",
        "GPU (or MPS/TPU) memory exhausted while training or fine-tuning",
        (
            "Lower per_device_train_batch_size and raise gradient_accumulation_steps by the same factor",
            "Turn on gradient_checkpointing and bf16/fp16",
            "Use LoRA/QLoRA, an 8-bit optimizer, or a shorter max_seq_length / audio crop",
            "Free the GPU of other processes; set PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True if much is reserved",
        ),
    ),
    FailureType(
        "oom_generation",
        "generation",
        "GPU (or MPS) memory exhausted while loading a model for inference or generating",
        (
            "Ask for a shorter duration, fewer samples or a smaller model",
            "Load in half precision or 8-bit; enable CPU offload or tiled/chunked decode",
            "Run one request at a time on the GPU and free cached memory between requests",
        ),
    ),
    FailureType(
        "host_oom_killed",
        "environment",
        "Process or container killed by the kernel/platform for host RAM (SIGKILL, exit 137/-9, OOMKilled, R14)",
        (
            "Raise the container/instance memory or add swap",
            "Run fewer web workers; preload and share the model",
            "Stream or memory-map data and weights (low_cpu_mem_usage, safetensors) instead of loading all",
            "Confirm with dmesg / kubectl describe that it was the OOM killer",
        ),
        other_phases=("training",),
    ),
    FailureType(
        "device_side_assert",
        "training",
        "CUDA device-side assertion: an index, label or token id out of range on the GPU",
        (
            "Re-run on CPU or with CUDA_LAUNCH_BLOCKING=1 to get the true line",
            "Check that label ids are in 0..num_labels-1",
            "Check that token ids are < the embedding size; call resize_token_embeddings after adding tokens",
            "Restart the process: the CUDA context is unusable afterwards",
        ),
        other_phases=("generation",),
    ),
    FailureType(
        "nan_loss",
        "training",
        "NaN/Inf in loss, gradients or sampling probabilities",
        (
            "Lower the learning rate, add warm-up and gradient clipping",
            "Use bf16 or fp32 instead of fp16",
            "Look for empty, silent or corrupt samples and for log/division of zero",
            "At generation: load weights in fp32/bf16, and check temperature/top_p",
        ),
        other_phases=("generation",),
    ),
    FailureType(
        "distributed_timeout",
        "training",
        "NCCL/distributed collective or rendezvous timed out (one rank stuck, dead or unreachable)",
        (
            "Look for the first rank that failed: its own error is the cause",
            "Raise ddp_timeout / init_process_group timeout if one rank does long work alone",
            "Check NCCL_SOCKET_IFNAME, firewall and that every rank runs the same number of steps",
            "Run with NCCL_DEBUG=INFO; resume from the last checkpoint",
        ),
        retryable=True,
    ),
    FailureType(
        "dataloader_worker",
        "data",
        "DataLoader worker died (shared memory, segfault, kill)",
        (
            "Run with num_workers=0 to see the true error",
            "Raise /dev/shm (docker --shm-size=8g or --ipc=host)",
            "Use fewer workers or smaller prefetch_factor; check RAM",
            "Look for a corrupt sample that crashes the decoder",
        ),
        other_phases=("training",),
    ),
    FailureType(
        "dataset_format",
        "data",
        "Dataset columns, schema or file contents are not what the trainer expects",
        (
            "Print the dataset's column names and one row",
            "Rename/map columns (e.g. to 'text' or 'messages') or set dataset_text_field / formatting_func",
            "Give every data file the same columns and types",
            "Validate the JSONL/CSV line by line",
        ),
    ),
    FailureType(
        "tokenizer_mismatch",
        "data",
        "Tokenizer and model disagree (missing pad token, ids beyond the vocabulary)",
        (
            "Set tokenizer.pad_token (e.g. = eos_token) and model.config.pad_token_id",
            "Load tokenizer and model from the same checkpoint",
            "Call model.resize_token_embeddings(len(tokenizer)) after adding tokens",
        ),
        other_phases=("checkpoint",),
    ),
    FailureType(
        "checkpoint_not_found",
        "checkpoint",
        "Weights or checkpoint file/directory is missing at the given path",
        (
            "Check the path, working directory and file names",
            "Download the weights again (git lfs pull / huggingface-cli download)",
            "For an adapter, check adapter_model.safetensors vs .bin",
        ),
    ),
    FailureType(
        "checkpoint_corrupt",
        "checkpoint",
        "Weights file is truncated, an HTML page or LFS pointer, or otherwise unreadable",
        (
            "Delete the file and its cache entry and download again",
            "Compare size/sha256 with the source",
            "Install git-lfs if the file is a few hundred bytes",
        ),
    ),
    FailureType(
        "checkpoint_mismatch",
        "checkpoint",
        "Weights do not fit the model: size mismatch, missing or unexpected keys",
        (
            "Use the same base model, config and rank as when the weights were saved",
            "Resize embeddings before loading if tokens were added",
            "Check library versions; strict=False only if the missing keys are known to be harmless",
        ),
    ),
    FailureType(
        "resume_failed",
        "checkpoint",
        "Resuming a training run failed (no valid checkpoint, trainer/optimizer state missing or mismatched)",
        (
            "Point resume_from_checkpoint at a folder with trainer_state.json and weights",
            "Resume with the same model, LoRA config and optimizer as the saved run",
            "If only the weights matter, load them and start a new run without the optimizer state",
        ),
        other_phases=("training",),
    ),
    FailureType(
        "cuda_environment",
        "environment",
        "GPU driver, CUDA toolkit, GPU architecture and PyTorch build do not fit together",
        (
            "Compare nvidia-smi's CUDA version with torch.version.cuda",
            "Update the driver or install the PyTorch wheel for your CUDA/GPU architecture",
            "Check that CUDA libraries are on LD_LIBRARY_PATH",
        ),
    ),
    FailureType(
        "precision_unsupported",
        "configuration",
        "The requested precision (bf16, fp16, tf32) is not supported by this device or kernel",
        (
            "Set bf16=False and use fp16 on pre-Ampere GPUs",
            "Use fp32 on CPU and on MPS without bf16",
            "Set tf32=False on GPUs before Ampere",
        ),
        other_phases=("environment",),
    ),
    FailureType(
        "backend_missing",
        "environment",
        "An accelerator library (flash-attn, bitsandbytes, xformers) is missing, broken or built for another CUDA",
        (
            "Install a wheel that matches your torch, CUDA and Python",
            "Or switch it off: attn_implementation='sdpa', no 4/8-bit loading",
            "Run python -m bitsandbytes (or import flash_attn) to see the cause",
        ),
    ),
    FailureType(
        "missing_module",
        "environment",
        "A Python package or shared library is not installed or has the wrong version",
        (
            "Install the named package in the environment that runs the service",
            "Pin versions that fit together",
            "Install system libraries (ffmpeg, libsndfile) where the message names a .so/.dll",
        ),
    ),
    FailureType(
        "disk_full",
        "storage",
        "No space or quota left while writing a checkpoint, cache or output",
        (
            "Free space (df -h); clear the Hugging Face cache and old checkpoints",
            "Set save_total_limit; move output_dir / HF_HOME to a larger disk",
        ),
    ),
    FailureType(
        "permission_denied",
        "storage",
        "File or folder not readable/writable by the process, or read-only file system",
        (
            "Set HF_HOME / output folder to a writable path",
            "Fix ownership of the mounted volume (uid of the container user)",
            "Close programs that hold the file open (Windows); check the path is a file",
        ),
    ),
    FailureType(
        "invalid_config",
        "configuration",
        "Contradictory, unknown or missing settings found before work starts (incl. a missing API key variable)",
        (
            "Set the named variable or option",
            "Remove options this library version does not know",
            "Make save and eval strategy match when load_best_model_at_end is on",
        ),
    ),
    FailureType(
        "auth_failed",
        "authentication",
        "Credentials missing, wrong, expired or without the needed scope (401/403)",
        (
            "Check which key/token the process really uses; create a new one",
            "Send it as 'Authorization: Bearer …'",
            "Check the token's scopes and the account",
        ),
    ),
    FailureType(
        "gated_repo",
        "authentication",
        "Model repository is gated: licence not accepted or access not granted to this token",
        (
            "Open the model page while logged in and accept/request access",
            "Pass a token of that account (HF_TOKEN); fine-grained tokens need gated-repo read",
            "Use an ungated model meanwhile",
        ),
    ),
    FailureType(
        "rate_limited",
        "quota",
        "Too many requests in a time window (429)",
        (
            "Honour Retry-After / wait, then retry with exponential backoff and jitter",
            "Send a token: anonymous limits are lower",
            "Lower concurrency; cache results",
        ),
        retryable=True,
    ),
    FailureType(
        "gpu_quota_exceeded",
        "quota",
        "ZeroGPU (shared GPU) time allowance used up for this user or IP",
        (
            "Wait until the time the message gives",
            "Pass your own HF token (or PRO) so the user's quota is used",
            "Declare/ask a shorter GPU duration",
            "Fall back to another backend",
        ),
    ),
    FailureType(
        "insufficient_credits",
        "quota",
        "No credit or paid quota left (402, insufficient_quota)",
        (
            "Add credit or a payment method at the provider",
            "Switch to a provider/model with credit left",
            "Do not retry until billing is fixed",
        ),
    ),
    FailureType(
        "model_loading",
        "upstream",
        "Upstream answers that the model is still loading (503, estimated_time)",
        (
            "Wait estimated_time and retry",
            "Send wait_for_model / x-wait-for-model where supported",
            "Keep the endpoint warm or use one that does not scale to zero",
        ),
        retryable=True,
    ),
    FailureType(
        "space_unavailable",
        "upstream",
        "The Space/endpoint is paused, sleeping, building or in error",
        (
            "Open the Space page: it shows the stage and logs",
            "Sleeping/building: retry after a minute; paused/error: the owner must restart it",
            "Duplicate the Space or fall back to another",
        ),
    ),
    FailureType(
        "queue_full",
        "upstream",
        "Upstream at capacity: queue full, overloaded, no GPU slot free in time",
        (
            "Retry later with backoff",
            "Lower concurrency",
            "Fall back to another backend",
        ),
        retryable=True,
    ),
    FailureType(
        "gateway_timeout",
        "upstream",
        "A gateway/router gave up waiting for the upstream (504, H12)",
        (
            "Retry with backoff",
            "Ask for less work per request",
            "Use an asynchronous job + polling for long generations",
            "Raise the proxy's timeout where it is yours",
        ),
        retryable=True,
    ),
    FailureType(
        "upstream_error",
        "upstream",
        "Upstream failed on its side (500/502/503 without a more exact reason, model exception)",
        (
            "Retry a few times with backoff",
            "Check the provider's status page",
            "Fall back to another backend; report the request id",
        ),
        retryable=True,
    ),
    FailureType(
        "worker_timeout",
        "environment",
        "Our web worker (gunicorn) was aborted for exceeding its timeout",
        (
            "Move the generation to a background job and poll",
            "Raise --timeout; use gthread/async workers",
            "Load the model before the worker takes requests",
        ),
        other_phases=("generation",),
    ),
    FailureType(
        "connect_timeout",
        "connection",
        "No connection (TCP/TLS handshake) within the time limit",
        (
            "Retry with backoff",
            "Check firewall, proxy and region blocks",
            "Use a mirror (HF_ENDPOINT) or local files",
        ),
        retryable=True,
    ),
    FailureType(
        "read_timeout",
        "connection",
        "Connected, but the answer did not come within the time limit",
        (
            "Raise the read timeout above the expected generation time",
            "Stream or poll instead of one long request",
            "Retry idempotent requests",
        ),
        retryable=True,
    ),
    FailureType(
        "dns_failure",
        "connection",
        "Host name could not be resolved",
        (
            "Check the host name and the URL",
            "Check DNS/network of the container",
            "Retry after a short wait",
        ),
        retryable=True,
    ),
    FailureType(
        "connection_refused",
        "connection",
        "Nothing listens at that address/port, or no route to it",
        (
            "Start the server; check host and port (localhost inside a container is the container)",
            "Check firewall and bind address",
        ),
        retryable=True,
    ),
    FailureType(
        "connection_reset",
        "connection",
        "Peer closed or reset the connection before a full answer",
        (
            "Retry with a fresh connection",
            "Check proxies, keep-alive and upload size limits",
        ),
        retryable=True,
    ),
    FailureType(
        "tls_error",
        "connection",
        "TLS/certificate failure",
        (
            "Install or point to the right CA bundle (REQUESTS_CA_BUNDLE, SSL_CERT_FILE)",
            "Check proxy, clock and that https:// is used on an https port",
            "Do not switch verification off in production",
        ),
    ),
    FailureType(
        "invalid_json",
        "decoding",
        "Text expected to be JSON could not be parsed",
        (
            "Log status code, content type and the first bytes of the body",
            "Check the status before parsing; HTML means a proxy or error page",
            "For model output: ask for JSON mode, repair or retry",
        ),
        retryable=True,
    ),
    FailureType(
        "missing_data",
        "decoding",
        "The answer parsed but lacks the expected field, choice or audio",
        (
            "Log the whole body: it often holds an 'error' field",
            "Check for the field before using it",
            "Retry once; then fall back",
        ),
        retryable=True,
    ),
    FailureType(
        "invalid_base64",
        "decoding",
        "Base64 payload is malformed (padding, length, alphabet)",
        (
            "Strip the 'data:...;base64,' prefix and white space",
            "Pad to a multiple of 4; try the URL-safe alphabet",
            "Check that the string was not truncated",
        ),
    ),
    FailureType(
        "corrupt_audio",
        "decoding",
        "Bytes are not audio, or the audio file is damaged/truncated",
        (
            "Check size and magic bytes; an HTML/JSON error page is often saved as .mp3/.wav",
            "Download/upload the file again",
            "Re-encode with ffmpeg",
        ),
    ),
    FailureType(
        "unsupported_format",
        "decoding",
        "The audio container/codec is not supported by the decoder or backend",
        (
            "Convert to 16-bit PCM WAV (ffmpeg -i in -ac 2 -ar 44100 out.wav)",
            "Give the format explicitly for file-like objects",
            "Install a backend that reads it (soundfile >= 1.1 libsndfile, ffmpeg)",
        ),
        other_phases=("environment",),
    ),
    FailureType(
        "content_policy",
        "request",
        "The request or its result was refused by a safety/content filter",
        (
            "Rephrase: take out artist names, copyrighted lyrics, sexual or violent wording",
            "Tell the user it was refused; do not retry unchanged",
        ),
    ),
    FailureType(
        "invalid_parameter",
        "request",
        "A parameter is wrong, unknown or out of range (400/422)",
        (
            "Read the parameter named in the message and its allowed values",
            "Drop parameters the model does not support",
            "Validate before sending",
        ),
    ),
    FailureType(
        "not_found",
        "request",
        "The model, version, repository, file or route does not exist (404, or hidden as 401/422)",
        (
            "Check spelling, owner/name, version and revision",
            "Check that the token may see a private repository",
        ),
    ),
    FailureType(
        "payload_too_large",
        "request",
        "Request body or file is over the size limit (413)",
        (
            "Send a URL instead of base64",
            "Compress, trim or split the audio",
            "Raise client_max_body_size / MAX_CONTENT_LENGTH where the server is yours",
        ),
    ),
    FailureType(
        "cancelled",
        "request",
        "Stopped by the user or the client (Ctrl-C, cancel)",
        (
            "Nothing is broken: start it again if wanted",
            "Resume from the last checkpoint",
        ),
        other_phases=("training", "generation", "upstream"),
    ),
    FailureType(
        "unknown",
        "unknown",
        "Not a failure, or not enough to tell",
        (
            "Ask for the full log around the first error",
            "Check exit status and earlier lines",
        ),
    ),
)

TYPES: Final[Mapping[str, FailureType]] = {row.name: row for row in _ROWS}
"""Every kind, by name."""


def markdown_table() -> str:
    """Return a list of the kinds for `docs/failures.md`."""
    return "\n".join(map(_section, TYPES.values()))


def _section(row: FailureType) -> str:
    elsewhere = f", also {', '.join(row.other_phases)}" if row.other_phases else ""
    again = "asking again later is sensible" if row.retryable else "asking again unchanged does not help"
    advice = "\n".join(f"- {each}" for each in row.advice)
    return f"### {row.name}\n\n{row.meaning}. Phase: {row.phase}{elsewhere}; {again}.\n\n{advice}\n"
