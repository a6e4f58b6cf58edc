"""Conditions that the rules share: what was going on when it failed.

Words of the text, frames and, above all, the keys of the configuration speak for or against; none decides alone.
"""

from __future__ import annotations

from typing import Final

from app.failures.report import Report

_ONLY_TRAINING_KEYS: Final = (
    "train_batch_size",
    "gradient_accumulation",
    "learning_rate",
    "num_train_epochs",
    "max_train_steps",
    "lora_",
)
"""These outrank the keys of generation, which runs that sample while they train have as well."""

_TRAINING_KEYS: Final = (
    *_ONLY_TRAINING_KEYS,
    "deepspeed",
    "fsdp",
    "optim",
    "warmup",
    "weight_decay",
    "train_steps",
    "epochs",
    "save_steps",
    "eval_steps",
    "max_seq_length",
    "micro_batch",
    "peft",
    "train_",
)
_GENERATION_KEYS: Final = (
    "duration",
    "prompt",
    "top_k",
    "top_p",
    "cfg_coef",
    "guidance",
    "max_new_tokens",
    "num_inference_steps",
    "temperature",
    "num_beams",
    "tensor_parallel",
    "gpu_memory_utilization",
    "max_model_len",
)

_TRAINING_WORDS: Final = (
    (3, r"\.backward\(|run_backward|autograd/__init__|optimizer\.step|optimizer_step|training_step|_inner_training_loop|trainer\.py|trainer\.train|accelerator\.prepare|in prepare(?:_model|_ddp|_fsdp)?(?m:$)|in prepare_model\b"),
    (3, r"\b(?:when|while|during|start(?:ed|ing)?|in) (?:the )?(?:\w{1,20} ){0,2}(?:training|fine-?tuning|finetun)"),
    (2, r"\btrain(?:_\w{1,40})?\.py|\bfine-?tun|\bfinetune|\btorchrun\b|accelerate launch|deepspeed|(?:^|[\n_ /.-])(?:sft|dpo|grpo|ppo|rlhf)\b|dreambooth|\blora\b|\btraining\b|(?:= ?|\b(?:self|model)\.|^\s{0,12}|\()train(?:_\w{1,30})?\(|in train(?:_\w{1,30})?\b|(?<!预)训练|微调|学習|학습|обучени"),
    (2, r"per_device_train|gradient_acc|gradient_checkpoint|train_batch_size|zero_?(?:stage|optim)|stage3\.py|stage_1_and_2|fsdp|megatron|llama_?factory|\bswift\b|axolotl|kohya|sd-scripts"),
    (1, r"\bepoch\b|\btrain(?:er|ing)?\b|\bbatch[_ ]size\b|\bgradients?\b|\boptimizer\b|elastic/multiprocessing|distributed[./]elastic|closing signal sigterm|\bglobal_step\b|\bnccl\b|\blosses?\b|\bcriterion\b"),
)  # fmt: skip
_GENERATION_WORDS: Final = (
    (3, r"\.generate\(|in generate\b|\bsampler?s?\.py|in (?:decode|sample|p_sample_loop|transcribe|synthesi[sz]e|tts)\b|first_stage_model|\bvae\b|decode_first_stage|ksampler"),
    (3, r"\b(?:when|while|during|at|for|in) (?:the )?(?:\w{1,20} ){0,2}(?:generat|inference|sampling|decoding|loading the model|model load)"),
    (2, r"推理|生成|出图|推論|추론|генераци|\binference|\bgenerat(?:e|ing|ion)\b|comfy|webui|txt2img|img2img|\bworkflow\b|allocation on device|_sampler\b|stable-diffusion|gradio|\bvllm\b|ollama|llama[._]cpp|ggml|transcri|text-generation|diffusers/pipelines|pipeline_|whisper|musicgen|audiogen|audioldm|\bbark\b"),
    (2, r"from_pretrained|load_model|_load_state_dict_into|load_checkpoint_and_dispatch|\bpredict(?:_batch)?\b|factory_kwargs|in _apply|in convert\b|module\.to\(|\.to\(device|\.cuda\(\)|kv[ _]cache|\bdemo|\bapp\.py|zerogpu|infer\w{0,10}\.py"),
    (1, r"\bprompt|\bimages?\b|\bsteps/s|\bsampl(?:e|ing)\b|\bchat\b|\bseconds of audio|\bduration|no_grad|\bdecod|\bload(?:ing|ed)?\b"),
)  # fmt: skip
_SAID_BY_A_KEY: Final = 6
_LAUNCHED: Final = 2
_CLEAR: Final = 2


def training_balance(report: Report) -> int:
    """Return how much more speaks for training than for generation; negative when less does."""
    balance = 0
    if report.sets(*_ONLY_TRAINING_KEYS):
        balance += _SAID_BY_A_KEY
    elif report.sets(*_GENERATION_KEYS):
        balance -= _SAID_BY_A_KEY
    elif report.sets(*_TRAINING_KEYS):
        balance += _SAID_BY_A_KEY
    if report.ranked:
        balance += _LAUNCHED
    balance += sum(weight for weight, pattern in _TRAINING_WORDS if report.says(pattern))
    return balance - sum(weight for weight, pattern in _GENERATION_WORDS if report.says(pattern))


def is_training(report: Report) -> bool:
    """Tell whether a model was being trained."""
    return training_balance(report) >= _CLEAR


def is_generating(report: Report) -> bool:
    """Tell whether a model was being loaded for use, or used."""
    return training_balance(report) <= -_CLEAR


def is_rather_training(report: Report) -> bool:
    """Tell whether a little speaks for training, and not enough to be sure."""
    return 0 < training_balance(report) < _CLEAR


def is_rather_generating(report: Report) -> bool:
    """Tell whether little or nothing speaks for either, so that the commoner one is to be assumed."""
    return -_CLEAR < training_balance(report) <= 0


def has_training_config(report: Report) -> bool:
    """Tell whether the configuration is that of a training run."""
    return report.sets(*_TRAINING_KEYS)


_SHORTEST_OUTCOME: Final = 6

_RESUMING: Final = (
    r"(?<!args\.)(?<!cfg\.)\bresum(?:e|es|ed|ing)\b(?!=(?:args|cfg|false|none|opt))|resume_from|resume_path|trainer_state|optimizer_state|optimizer state|restor(?:e|ing) (?:the )?(?:training|optimizer)"
    r"|continue training|--resume|_load_optimizer_and_scheduler|_load_from_checkpoint|load_optimizer|auto_resume|last_checkpoint|\.fit\b.{0,120}ckpt_path|\bcheckpoint-\d"
)


def is_resuming(report: Report) -> bool:
    """Tell whether a training run was being resumed."""
    return report.says(_RESUMING) or report.sets("resume")


_DATA: Final = (
    r"\bdatasets?\b|data_collat|collat|dataset\.py|data/|\bcolumns?\b|jsonl|\.csv|parquet|\btokenize|sft_trainer|dataset_map|dataloader|preprocess|formatting\.py"
    r"|batch\[|examples?\[|sample\[|row\[|train_"
)


def is_about_data(report: Report) -> bool:
    """Tell whether rows of a dataset were being read or prepared."""
    return report.says(_DATA)


_ROWS: Final = (
    r"data_utils|dataset\.py|datasets?/|data_?loader|__getitem__|_and_text|audiopath|filelist|file_list|transcript|manifest|metadata|preprocess|collate"
    r"|prepare_data|\.split\(|\.csv|\.jsonl|annotation|read_csv"
)


def is_reading_rows(report: Report) -> bool:
    """Tell whether lines of a list of training files were being taken apart."""
    return report.says(_ROWS)


_WEIGHTS: Final = (
    r"checkpoint|state_dict|torch\.load|\.safetensors|\.ckpt|\.pth\b|\.pt\b|\.gguf|\.bin\b|\.h5\b|\.onnx|weights|load_model|from_pretrained|load_file|pickle|read_state_dict"
    r"|serialization\.py|model_path|load_checkpoint|\.pkl|models?/"
)


def is_about_weights(report: Report) -> bool:
    """Tell whether a model's weights were being read."""
    return report.says(_WEIGHTS)


_AUDIO: Final = r"audio|sound|\.wav|\.mp3|\.ogg|\.flac|\.m4a|\.opus|\.mp4|\.webm|\bwav\b|\bmp3\b|ffmpeg|librosa|pydub|torchaudio|ffprobe|libav|speech|music|\bcodec|\bpcm\b|\bsample_?rate"


def is_about_audio(report: Report) -> bool:
    """Tell whether sound was being read or written."""
    return report.says(_AUDIO)


_HUB: Final = r"huggingface\.co|hf\.co|huggingface_hub|hf_hub|repo_id|hugging face|hf-mirror"


def is_about_the_hub(report: Report) -> bool:
    """Tell whether the Hugging Face Hub was asked."""
    return report.says(_HUB)


_SPACE: Final = r"\bspaces?\b|hf\.space|gradio_client|zerogpu|zero-?gpu"


def is_about_a_space(report: Report) -> bool:
    """Tell whether a Space was asked."""
    return report.says(_SPACE)


def generation_phase(report: Report) -> str | None:
    """Return the phase of failures that happen in training unless a model was being used."""
    return "generation" if training_balance(report) <= -2 else None


def training_phase(report: Report) -> str | None:
    """Return the phase of failures that belong to the machine unless a training run is known to have had them."""
    return "training" if has_training_config(report) else None


def is_out_of_time(report: Report) -> bool:
    """Tell whether something took too long."""
    return report.has("timed out", "timeout", "time out")


def lacks_an_outcome(report: Report) -> bool:
    """Tell whether the report shows where it happened but not what: quotations often end before the last line."""
    return not any(
        line.role == "error" and len(line.small.partition(":")[2]) > _SHORTEST_OUTCOME for line in report.lines
    )
