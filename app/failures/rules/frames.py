"""What the frames alone suggest, for tracebacks that were quoted without their last line."""

from __future__ import annotations

from typing import Final

from app.failures.contexts import lacks_an_outcome
from app.failures.report import Report
from app.failures.rule import HINT, VAGUE, Rule

_PLACES: Final = (
    ("weights-read", "checkpoint_corrupt", (r"torch[/\\\\]serialization\.py(?!.{0,40}(?:in _?save|writer))", r"safetensors[/\\\\]torch\.py", r"safe_open\(", r"pickle_module\.load", r"_legacy_load", r"gguf_reader", r"load_torch_file", r"_weights_only_unpickler", r"in load_file\b", r"pickle\.py\"?, line", r"zipfile\.py\"?, line", r"in _load_gguf|in load_gguf"), "    with safe_open(checkpoint_file) as f:"),
    ("weights-fitted", "checkpoint_mismatch", (r"\.load_state_dict\(", r"in load_state_dict\b", r"_load_state_dict_into", r"in set_weights\b|load_weights_from_hdf5|hdf5_format\.py|legacy_h5_format", r"_load_from_state_dict", r"in weight_loader\b|\.weight_loader\(|in load_weights\b", r"in load_lora\w{0,12}\b|set_peft_model_state_dict|load_lora_into"), '  File "x.py", line 3, in run\n    model.load_state_dict(weights)'),
    ("run-resumed", "resume_failed", (r"optimi[sz]er\w{0,12}\.load_state_dict\(", r"in (?:smart_)?resume\w{0,40}$|in load_optimizer", r"accelerator\.load_state\(|\bload_checkpoint\(.{0,40}resume"), '  File "train.py", line 3, in run\n    accelerator.load_state(args.resume)'),
    ("rows-prepared", "dataset_format", (r"datasets[/\\\\](?:builder|arrow_writer|arrow_dataset|load|table|features)", r"_prepare_split", r"data_collat", r"pyarrow[/\\\\]", r"load_dataset\(", r"_utils[/\\\\]collate|in default_collate", r"pandas[/\\\\]io", r"in _prepare_dataset\b|possibly_batched_index|self\.dataset\[|read_csv\(|in make_dataset\b", r"torchvision[/\\\\]datasets", r"in (?:preprocess|tokenize|map|format)\w{0,4}_(?:function|func|fn|row|example|sample)s?\b", r"dataset\w{0,20}\.py\"?, line \d{1,6}, in __(?:getitem|init)__", r"pycocotools"), '  File "/site-packages/datasets/builder.py", line 5, in _prepare_split_single'),
    ("base64-read", "invalid_base64", (r"b64decode", r"a2b_base64", r"base64\.py\"?, line", r"in b64decode|urlsafe_b64decode"), '  File "/usr/lib/python3.11/base64.py", line 88, in b64decode'),
    ("sound-read", "corrupt_audio", (r"soundfile\.py", r"pydub[/\\\\]", r"audioread", r"aifc\.py|[/\\\\]chunk\.py|sndhdr\.py", r"librosa[/\\\\]core", r"wave\.py", r"torchaudio\.load", r"ffmpeg[/\\\\]_run|ffmpeg\.run\(|speech_recognition[/\\\\]|\baudiofile\(|audiosegment\.from_|decodeaudiodata", r"decode_audio|load_audio", r"scipy[/\\\\]io[/\\\\]wavfile", r"torchaudio[/\\\\]", r"\bav[/\\\\](?:container|codec|audio)", r"whisper[/\\\\]audio", r"mutagen[/\\\\]", r"moviepy[/\\\\].{0,20}(?:audio|reader)"), '  File "/site-packages/soundfile.py", line 1216, in _open'),
    ("handshake", "tls_error", (r"ssl_wrap_socket", r"wrap_socket\(", r"in do_handshake"), '  File "/usr/lib/python3.11/ssl.py", line 1, in ssl_wrap_socket'),
    ("connecting", "connect_timeout", (r"raise connecttimeouterror", r"in create_connection", r"_new_conn\b"), '  File "urllib3/connection.py", line 1, in _new_conn'),
    ("answer-begun", "connection_reset", (r"_read_status", r"in getresponse", r"remote_end|raise remotedisconnected"), '  File "http/client.py", line 1, in _read_status'),
    ("answer-awaited", "read_timeout", (r"in readinto", r"raise readtimeouterror", r"in recv_into"), '  File "/usr/lib/python3.11/socket.py", line 7, in readinto'),
    ("gpu-asked", "cuda_environment", (r"_lazy_init", r"_cuda_init\b", r"in _check_driver", r"_load_dll_libraries", r"in _get_cuda_arch|in _cuda_get"), '  File "/site-packages/torch/cuda/__init__.py", line 4, in _lazy_init'),
    ("padding", "tokenizer_mismatch", (r"_get_padding_truncation_strategies", r"(?:word|token|tok|position)_?embeddings?\(|embed_tokens\(|\.wte\(", r"in pad_token", r"torch\.embedding\(", r"tokenization_\w{1,40}\.py\"?, line", r"in apply_chat_template|_compile_jinja", r"in text_to_sequence|_symbols_to_sequence|in phonemize", r"nn[/\\\\]modules[/\\\\]sparse\.py", r"convert_slow_tokenizer|sentencepiece[/\\\\]__init__"), '  File "tokenization_utils_base.py", line 2, in _get_padding_truncation_strategies'),
    ("settings-read", "invalid_config", (r"training_args\.py", r"hf_argparser\.py", r"parse_args_into_dataclasses", r"in parse_args\b", r"omegaconf[/\\\\]", r"yaml[/\\\\](?:scanner|parser|constructor)", r"argparse\.py\"?, line", r"hydra[/\\\\]", r"pydantic_settings[/\\\\]", r"configparser\.py"), '  File "/site-packages/transformers/hf_argparser.py", line 2, in parse'),
    ("library-opened", "missing_module", (r"_dlopen", r"ctypes[/\\\\]__init__\.py", r"load_library\(", r"import_module\(", r"<frozen importlib"), '  File "/usr/lib/python3.11/ctypes/__init__.py", line 374, in __init__'),
    ("folder-made", "permission_denied", (r"in makedirs", r"os\.mkdir\(|mkdir\(name", r"self\._accessor\.mkdir", r"in _?rmtree", r"os\.(?:rename|replace|remove|unlink|symlink|chmod)\("), '  File "/usr/lib/python3.9/os.py", line 225, in makedirs'),
    ("ranks-met", "distributed_timeout", (r"torch[/\\\\]distributed[/\\\\](?:rendezvous|distributed_c10d|elastic[/\\\\]rendezvous)",), '  File "/site-packages/torch/distributed/rendezvous.py", line 9, in _env_rendezvous_handler'),
    ("status-told", "upstream_error", (r"in raise_for_status\b", r"_make_status_error", r"raise (?:httperror|apierror|apistatuserror|modelerror|replicateerror)\b"), '  File "openai/_base_client.py", line 1020, in request\n    raise self._make_status_error_from_response(err.response)'),
    ("space-asked", "space_unavailable", (r"in (?:from_spaces|load_blocks_from_repo|from_spaces_blocks|_get_space_state)\b", r"gradio_client[/\\].{0,200}(?:_get_config|_space_state|_get_api_info|view_api)"), '  File "gradio/external.py", line 5, in from_spaces'),
    ("arguments-checked", "invalid_parameter", (r"_validate_model_kwargs", r"in check_inputs", r"_validate_generation", r"__pydantic_validator__", r"request_body_to_args", r"_validate_conversation", r"in _validate_args|in _validate_params"), '  File "generation/utils.py", line 3, in _validate_model_kwargs'),
    ("checkpoint-looked-for", "checkpoint_not_found", (r"torch\.(?:jit\.)?load\(|tf\.train\.checkpoint|inferencesession\(|saved_model\.load\(|lite\.interpreter\(|pickle\.load\(|joblib\.load\(", r"llama_cpp[/\\]|onnxruntime_inference_collection|modeling_utils\.py\"?, line \d{1,5}, in (?:from_pretrained|_?load)|restore_from\(|load_from_checkpoint\(", r"get_checkpoint_shard_files|in load_checkpoint\b", r"_load_checkpoint\b", r"in load_model\b"), '  File "mmcv/runner/checkpoint.py", line 3, in load_checkpoint'),
    ("name-looked-up", "dns_failure", (r"in getaddrinfo", r"socket\.getaddrinfo\("), '  File "/usr/lib/python3.11/socket.py", line 955, in getaddrinfo'),
    ("tokens-drawn", "nan_loss", (r"torch\.multinomial\(", r"in _check_finite|detect_anomaly"), '  File "generation/utils.py", line 7, in _sample\n    next_tokens = torch.multinomial(probs, num_samples=1)'),
    ("weights-written", "disk_full", (r"_open_zipfile_writer", r"torch\.save\(", r"_write_file\b", r"zip_file\.write_record", r"in _?save_checkpoint\b", r"in _legacy_save|pytorchfilewriter"), '  File "/site-packages/torch/serialization.py", line 441, in _open_zipfile_writer_file'),
    ("kernels-imported", "backend_missing", (r"(?:bitsandbytes|flash_attn|xformers|triton|auto_gptq|awq)[/\\]\w{1,40}",), '  File "/site-packages/bitsandbytes/cextension.py", line 20, in get_instance'),
    ("answer-read", "missing_data", (r"\.choices\[0\]", r"\[[\"'](?:choices|candidates)[\"']\]", r"(?:resp|response|result|data|output)\w{0,6}(?:\.json\(\)|\.data)?\[[\"']\w{1,20}[\"']\]\[0\]", r"\b(?:res|resp|response|result)\w{0,6}(?:\.data)?(?:\.output\[0|\.choices\[0|\.candidates\[0|\.data\[0)"), '  File "app.py", line 3, in ask\n    return answer["choices"][0]["message"]'),
    ("interrupted", "cancelled", (r"signal_handler", r"in interrupt\b", r"in default_int_handler|in handle_interrupt"), '  File "x.py", line 3, in signal_handler'),
)  # fmt: skip


def _shows_frames(report: Report) -> bool:
    return any(line.role == "frame" for line in report.lines)


RULES: Final = (
    *(
        Rule(f"frames-{name}", kind, HINT, patterns, example, when=lacks_an_outcome, anywhere=True)
        for name, kind, patterns, example in _PLACES
    ),
    # Where there is an outcome that no other rule has words for, the place is still better than nothing.
    *(
        Rule(f"frames-{name}-vaguely", kind, VAGUE, patterns, example, when=_shows_frames, anywhere=True)
        for name, kind, patterns, example in _PLACES
    ),
)
