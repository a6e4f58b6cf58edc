"""What a message may tell, and the advice that follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from app.failures.advice import amounts, modules
from app.failures.advice.amounts import DURATION, SIZE
from app.failures.advice.fact import Fact
from app.failures.compiled import compiled


def _timeout(groups: Mapping[str, str]) -> str | None:
    said = amounts.about(_seconds(groups))
    return said and f"Raise the read timeout (now {said}) above the expected generation time"


def _collective(groups: Mapping[str, str]) -> str | None:
    said = amounts.about(float(groups["ms"]) / 1_000)
    return said and f"Raise ddp_timeout / init_process_group timeout (now {said}) if one rank does long work alone"


def _no_connection(groups: Mapping[str, str]) -> str | None:
    said = amounts.about(_seconds(groups))
    return said and f"Check firewall, proxy and region blocks: the connection did not stand after {said}"


def _seconds(groups: Mapping[str, str]) -> float:
    return float(groups["seconds"]) if "seconds" in groups else amounts.seconds(groups["time"])


def _gpu_time(groups: Mapping[str, str]) -> str | None:
    asked, left = int(groups["asked"]), int(groups["left"])
    return f"Ask for at most {left} s of GPU time (the call asks for {asked} s)" if 0 < left < asked else None


def _old_driver(groups: Mapping[str, str]) -> str:
    major, minor = divmod(int(groups["found"]) // 10, 100)
    return f"Update the NVIDIA driver (it knows CUDA up to {major}.{minor}), or install PyTorch for an older CUDA"


def _npm(groups: Mapping[str, str]) -> str:
    package = "/".join(groups["package"].split("/")[: 2 if groups["package"].startswith("@") else 1])
    return f"Install {package} where the program runs: npm install {package}"


def _reserved(groups: Mapping[str, str]) -> str | None:
    size = groups["size"]
    if amounts.bytes_in(size) < _MUCH_BYTES:
        return None
    return f"Set PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True: {size} are reserved but unused"


def _allocation(groups: Mapping[str, str]) -> str | None:
    if amounts.bytes_in(groups["size"]) < _MUCH_BYTES:
        return None
    return f"Look for what wants {amounts.readable(groups['size'])} at once: that was asked for when it failed"


def _limit(groups: Mapping[str, str]) -> str:
    limit = groups["limit"].strip()
    limit = amounts.readable(f"{limit} bytes" if limit.isdecimal() else limit)
    if limit.endswith(("second", "minute", "hour")):
        limit = f"{limit}s"
    return f"Keep the request below {limit}, the limit that the message names"


def _scope(groups: Mapping[str, str]) -> str:
    return f"Give the key the permission {groups['scope'].strip('.')}, or use one that has it"


def _correct(groups: Mapping[str, str]) -> str | None:
    return None if groups["option"] in _NO_OPTIONS else f"Correct {groups['option']}: it {groups['wrong']}"


_NO_OPTIONS: Final = frozenset(
    [
        "it",
        "option",
        "argument",
        "key",
        "this",
        "that",
        "you",
        "we",
        "request",
        "value",
        "they",
        "which",
        "input",
        "parameter",
        "model",
        "and",
        "or",
        "not",
        "one",
    ]
)
_MUCH_BYTES: Final = 2**30
_OOM: Final = ("oom_training", "oom_generation")
_IMPORTS: Final = ("missing_module", "backend_missing")
_PATH: Final = r"[^'\"\n]{1,160}"
_WEIGHTS_FILE: Final = r"(?:^|[\s'\"`(=])(?P<path>[^\s'\"`(=]{1,160}\.(?:safetensors|ckpt|pth?|gguf|bin|onnx|h5|npz))\b"
_AUDIO_FILE: Final = r"(?:^|[\s'\"`(=])(?P<path>[^\s'\"`(=]{1,160}\.(?i:wav|mp3|flac|ogg|opus|m4a|aac|mp4|webm))\b"
_HOST: Final = (
    r"host='(?P<host>[\w.-]{1,100})', port=\d{1,5}",
    r"(?:ECONNREFUSED|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|dial tcp|connect to host|connect to|resolve host:?) (?:\[?::1\]?|(?P<host>[\w-]{1,63}\.[\w.-]{1,100}|localhost|[\w-]{1,63}(?=:\d)))(?:[: ](?:port )?\d{1,5})?",
    r"(?:ENOTFOUND|EAI_AGAIN) (?P<host>[\w-]{1,63}(?:\.[\w-]{1,63}){0,6})",
    r"(?i:lookup|resolve|resolve host:?) ['\"]?(?P<host>[\w-]{1,63}(?:\.[\w-]{1,63}){1,6})",
)
_HOST_PORT: Final = (
    r"host='(?P<host>[\w.-]{1,100})', port=(?P<port>\d{1,5})",
    r"(?:ECONNREFUSED|ETIMEDOUT|dial tcp|connect to host|connect to) (?P<host>\[?::1\]?|[\w.-]{1,100})(?::| port )(?P<port>\d{1,5})\b",
)
_VARIABLE: Final = r"(?P<variable>[A-Z][A-Z0-9]{1,30}_[A-Z0-9_]{1,40})\b"
_REPOSITORY: Final = r"(?P<name>[A-Za-z0-9][\w.-]{0,60}/[A-Za-z0-9][\w.-]{0,90}[\w])"

FACTS: Final = (
    # Modules and libraries.
    Fact(
        _IMPORTS,
        (
            r"(?i:no module named) ['\"]?[\w.]{1,80}['\"]?; ['\"]?(?P<shadow>[\w.]{1,60})['\"]? is not a package",
            r"(?:pip3?|uv pip) install (?:(?:-U|--upgrade|-q) )?[`'\"]?(?P<module>[A-Za-z][\w-]{1,60})",
            r"(?i:no module named) ['\"`]?(?P<module>\w[\w.-]{0,80})",
            r"(?i:moved to the) [`'\"](?P<module>[A-Za-z][\w-]{1,40})[`'\"] package",
            r"(?i:please install|you need to install|install the) (?i:the )?[`'\"](?P<module>[A-Za-z][\w-]{1,40})[`'\"]",
            r"(?i:requires? (?:the )?)[`'\"]?(?P<module>[A-Za-z][\w-]{1,40})[`'\"]? (?i:library|package)? ?(?:but|to be installed|which is not)",
            r"(?i:No package metadata was found for|The) '?(?P<module>[A-Za-z][\w-]{1,40})(?:[<>=!~][^']{0,40})?' distribution was not found",
        ),
        modules.missing,
        ("Install the named package", "Install system libraries"),
    ),
    Fact(
        _IMPORTS,
        (
            r"cannot import name '(?P<name>\w{1,60})' from (?P<partly>partially initialized module )'(?P<module>[\w.]{1,80})'",
            r"cannot import name ['\"]?(?P<name>\w{1,60})['\"]? from ['\"]?(?P<module>\w[\w.]{0,80})",
        ),
        modules.lacking,
        ("Install the named package", "Install system libraries"),
    ),
    Fact(_IMPORTS, (r"module '(?P<module>[A-Za-z][\w]{0,40})(?:\.[\w.]{1,60})?' has no attribute '(?P<name>\w{1,60})'",), modules.lacking, ("Install the named package", "Install system libraries")),
    Fact(_IMPORTS, (r"(?P<library>\w[\w.+-]{1,60}\.so[\w.]{0,12}): undefined symbol",), "Install versions that belong together again: {library} was built for another version of what it uses", ("Install the named package", "Install system libraries", "Install the system library that", "Use a newer", "Install torch,")),
    Fact(
        (*_IMPORTS, "cuda_environment"),
        (
            r"(?P<library>lib[\w.+-]{2,60}\.(?:so|dylib)[\w.]{0,12}): (?:cannot open|version|undefined|wrong ELF|no such)",
            r"(?i:could not load (?:dynamic )?library|error loading|library|unable to load|not found:?) ['\"]?(?:[^'\"\s]{0,120}[/\\])?(?P<library>lib[\w.+-]{2,60}\.(?:so|dylib)[\w.]{0,12}|[\w-]{2,40}\.dll)",
            r"(?:^|[\s'\"\\/])(?P<library>[\w-]{2,40}\.dll)\b",
        ),
        modules.library,
        ("Install the named package", "Install system libraries", "Check that CUDA libraries"),
    ),
    Fact(("missing_module",), (r"(?i:no such file or directory): '(?P<program>ff(?:mpeg|probe)|sox|espeak(?:-ng)?)'", r"(?i:couldn't find|could not find|cannot find|not find|install) (?P<program>(?i:ffmpeg|ffprobe|sox|espeak(?:-ng)?))\b", r"\b(?P<program>ffmpeg|ffprobe|sox|espeak(?:-ng)?) (?:is )?not (?:installed|found)", r"\b(?P<program>ffmpeg|ffprobe|sox|espeak(?:-ng)?): (?:command )?not found"), "Install {program} and check that it is on the PATH of the service", ("Install the named package", "Install system libraries")),
    Fact(("missing_module",), (r"Cannot find (?:module|package) '(?P<package>@?[A-Za-z][\w./-]{0,60})'",), _npm, ("Install the named package", "Install system libraries", "Pin versions")),
    Fact(("backend_missing",), (r"(?i:FlashAttention2? only supports Ampere|flash.?attn.{0,40}(?:ampere|not support))",), "Set attn_implementation='sdpa': FlashAttention needs an Ampere GPU or a newer one", ("Or switch it off", "Install a wheel")),
    Fact(("missing_module",), (r"model type [`'\"](?P<model>[\w-]{1,40})[`'\"] but Transformers does not",), "Upgrade transformers, which does not know {model}: pip install --upgrade transformers", ("Install the named package",)),
    Fact(("missing_module",), (r"(?i:libtorchcodec)",), "Install torchcodec in the version for your torch, and an FFmpeg of versions 4 to 7 with its shared libraries", ("Install the named package", "Install system libraries", "Install torch,")),
    Fact(("missing_module",), (r"(?i:sndfile library not found)",), "Install the system library libsndfile (apt install libsndfile1)", ("Install the named package", "Install system libraries")),
    Fact(("backend_missing",), (r"(?i:libbitsandbytes_cpu|compiled without gpu support)",), "Install a bitsandbytes that finds your CUDA: this one has no GPU support (python -m bitsandbytes tells why)", ("Install a wheel", "Run python -m bitsandbytes", "Install the system library")),
    Fact(("missing_module",), (r"(?P<wanted>[A-Za-z][\w.-]{1,40}[<>=!~][\w.,<>=!~]{1,40}) is required .{0,80}but found (?P<found>[\w.-]{1,40}==[\w.+]{1,20}\w)",), 'Install {wanted} in place of {found}: pip install "{wanted}"', ("Install the named package",)),
    Fact(("missing_module",), (r"satisfies the requirement (?P<wanted>[\w.\[\]-]{1,50}(?:[<>=!~]{1,2}[\w.+,<>=!~]{1,30})?)",), "Ask for a version of {wanted} that exists for this Python and system, or for another Python", ("Install the named package",)),
    Fact(("missing_module",), (r"(?i:needs) (?P<package>[A-Za-z]\w{1,30}) (?P<version>\d[\d.]{0,12}) or less",), 'Install an older {package}: pip install "{package}<={version}"', ("Install the named package",)),
    Fact(("missing_module",), (r"(?i:numpy\.core\.multiarray failed|compiled using numpy 1)",), 'Install versions that belong to one NumPy: pip install "numpy<2", or newer versions of what imports it', ("Install the named package",)),
    Fact(_IMPORTS, (r"DLL load failed while importing (?P<module>\w{1,60})",), "Install the Visual C++ redistributable and the packages behind {module} again: one of its DLLs is missing or of another version", ("Install the named package", "Install system libraries")),
    # GPUs.
    Fact(("cuda_environment",), (r"(?i:capability) (?P<architecture>sm_\d{2,3})\b",), "Install a PyTorch build that was compiled for {architecture}", ("Update the driver or",)),
    Fact(("cuda_environment",), (r"(?i:driver).{0,60}too old \(found version (?P<found>\d{4,6})\)",), _old_driver, ("Update the driver or",)),
    Fact(("cuda_environment",), (r"(?i:torch not compiled with cuda enabled)",), "Install a PyTorch with CUDA in place of the one for CPUs (pytorch.org has the index URL)", ("Update the driver or", "Compare nvidia-smi", "Check that CUDA libraries")),
    Fact(_OOM, (r"Process (?P<pid>\d{1,8}) has (?P<size>" + SIZE + r") memory in use",), "End process {pid} if it is not needed: it holds {size} of that GPU", ("Free the GPU of other processes",)),
    Fact(_OOM, (r"(?i:(?:tried|trying|failed|unable|attempt(?:ed|ing)?) to allocate) (?P<size>(?i:" + SIZE + "))",), _allocation, late=True),
    Fact(_OOM, (r"(?P<size>" + SIZE + r") (?:is )?reserved (?:in total )?by PyTorch but unallocated",), _reserved, ("Free the GPU of other processes; set",)),
    Fact(("host_oom_killed",), (r"(?i:used over|memory limit(?: of|:)?|limit:?|exceeded) (?P<limit>(?i:" + SIZE + r"))",), "Raise the memory of the container/instance (now {limit}), or add swap", ("Raise the container/instance memory",)),
    Fact(("host_oom_killed",), (r"(?i:requires more system memory) \((?P<needed>" + SIZE + r")\) than is available \((?P<free>" + SIZE + r")\)",), "Use a smaller or more strongly quantised model: this one needs {needed}, and {free} are free"),
    Fact(("host_oom_killed",), (r"(?i:javascript heap|reached heap limit)",), "Raise the heap: NODE_OPTIONS=--max-old-space-size=4096", ("Run fewer web workers", "Stream or memory-map", "Confirm with")),
    Fact(("distributed_timeout",), (r"(?i:timeout\(ms\))=(?P<ms>\d{1,9})\b", r"(?i:timeout|timed out|waiting).{0,80}?(?i:after|for|of) (?P<ms>\d{4,9}) ?(?:ms|milliseconds)\b"), _collective, ("Raise ddp_timeout / init_process_group timeout if", "Raise ddp_timeout (", "Raise timeout (")),
    Fact(("dataloader_worker",), (r"(?i:shared memory|/dev/shm|bus error|\bshm\b|'/torch_\d)",), "Raise /dev/shm: it is too small for what the workers hand over (docker --shm-size=8g or --ipc=host)", ("Raise /dev/shm (",)),
    Fact(("dataloader_worker",), (r"(?i:ancdata|too many open files)",), "Raise the number of open files (ulimit -n), or call torch.multiprocessing.set_sharing_strategy('file_system')"),
    Fact(("dataloader_worker",), (r"(?i:killed by signal:? ?killed)",), "Use fewer workers or smaller batches: the kernel kills for want of memory", ("Use fewer workers or smaller prefetch",)),
    Fact(("device_side_assert",), (r"(?i:n_classes|nll_?loss|cross_?entropy|cur_target|classnll)",), "Check that label ids are in 0..num_labels-1: the assertion is the loss's", ("Check that label ids", "Check that token ids")),
    Fact(("device_side_assert",), (r"(?i:srcselectdimsize|indexselect|embedding)",), "Check that token ids are < the embedding size (resize_token_embeddings after adding tokens): a row that is not there was looked up", ("Check that token ids", "Check that label ids")),
    # Time.
    Fact(("gpu_quota_exceeded",), (r"(?P<asked>\d{1,5})s requested vs\.? (?P<left>\d{1,5})s left", r"(?P<left>\d{1,5})s left vs\.? (?P<asked>\d{1,5})s requested"), _gpu_time, ("Declare/ask a shorter",)),
    Fact(("read_timeout",), (r"(?i:read timeout|readtimeout|read_timeout)[=:] ?(?P<seconds>\d{1,6}(?:\.\d{1,3})?)\b", r"(?i:timeout of|timed out after|timeout after|exceeded timeout of|within|timeout error \() ?(?P<time>(?i:" + DURATION + r"))"), _timeout, ("Raise the read timeout above", "Raise timeout (", "Raise read_timeout (")),
    Fact(("connect_timeout",), (r"(?i:connect timeout)=(?P<seconds>\d{1,6}(?:\.\d{1,3})?)\b", r"(?i:timed out after|no connection within|connect(?:ion)? timeout of|timeout of) (?P<time>(?i:" + DURATION + r"))"), _no_connection, ("Check firewall, proxy and region blocks",)),
    # Hosts.
    Fact(("dns_failure",), _HOST, "Check that the name {host} is right, and that it resolves where the service runs", ("Check the host name",)),
    Fact(("connection_refused",), _HOST_PORT, "Start what should listen at {host}:{port}, or correct that address (localhost inside a container is the container)", ("Start the server",)),
    Fact(("connect_timeout",), (*_HOST_PORT, _HOST[1]), "Check that {host} can be reached from where the service runs"),
    # Settings and parameters.
    Fact(
        ("invalid_config",),
        (
            r"(?i:environment variable|env var|variable|setting|set|export|provide|missing|define)s? (?i:the |a |your |valid )?[`'\"$]{0,2}" + _VARIABLE,
            _VARIABLE + r"[`'\"]? ?(?:=|:)? ?(?i:(?:environment |env )?variable|(?:is |was |are )?(?:not|n't) (?:set|found|defined|configured|provided|specified)|is (?:missing|required|unset|empty|undefined|none)|must be set|not set|missing|未设置|未配置)",
            r"KeyError: '" + _VARIABLE,
            rf"^{_VARIABLE}$",
            r"(?i:key is missing).{0,60}the " + _VARIABLE,
        ),
        "Set {variable} in the environment of the service",
        ("Set the named variable",),
    ),
    Fact(("invalid_config",), (r"(?i:train_batch_size is not equal to).{0,80}? (?P<all>\d{1,7}) != (?P<micro>\d{1,6}) \* (?P<steps>\d{1,6}) \* (?P<ranks>\d{1,6})",), "Make train_batch_size ({all}) the product of micro batch ({micro}), accumulation steps ({steps}) and GPUs ({ranks}), or set it to auto", ("Set the named variable", "Remove options")),
    Fact(("invalid_config", "invalid_parameter"), (r"unexpected keyword argument '(?P<option>\w{1,60})'",), "Remove {option}, or use a version of the library that knows it", ("Remove options", "Set the named variable", "Drop parameters", "Read the parameter")),
    Fact(("invalid_config",), (r"unrecognized arguments?: (?P<option>--?[\w-]{1,60})", r"(?i:no such option|unknown (?:option|flag|argument)|unexpected argument):? '?(?P<option>--?[\w-]{1,60})"), "Remove {option}, which this version does not know", ("Remove options", "Set the named variable")),
    Fact(("invalid_config", "invalid_parameter"), (r"missing \d{1,3} required (?:positional|keyword-only) arguments?: (?P<option>'\w{1,60}'(?:(?:, and |, | and )'\w{1,60}'){0,8})", r"(?i:must provide (?:an? )?)[`'\"]?(?P<option>\w{0,30}(?:api_key|token|_id|_path))\b", r"(?i:please specify) [`'\"](?P<option>\w{2,60})[`'\"]"), "Give {option}, which must not be left out", ("Set the named variable", "Read the parameter", "Drop parameters", "Remove options")),
    Fact(("invalid_config",), (r"(?i:save and eval(?:uation)? strategy to match)",), "Make save and eval strategy match, as load_best_model_at_end asks", ("Set the named variable", "Make save and eval strategy match when", "Remove options")),
    Fact(("invalid_config",), (r"\((?P<whole>\d{1,7})\) must be divisible by .{0,60}?\((?P<part>\d{1,6})\)",), "Choose a divisor of {whole} in place of {part}", ("Set the named variable", "Remove options")),
    Fact(("invalid_config",), (r"(?i:wandb.{0,40}(?:api_key|api key|wandb\.login))",), "Run wandb login, set WANDB_API_KEY, or go without: WANDB_MODE=offline", ("Set the named variable", "Set WANDB_API_KEY in")),
    Fact(("invalid_config",), (r"the following arguments are required: (?P<option>[\w-]{1,60}(?:, [\w-]{1,60}){0,5})",), "Give {option}, which must not be left out", ("Set the named variable",)),
    Fact(("invalid_config",), (r"\bKey '(?P<option>\w{1,60})' is not in struct", r"(?i:unknown|unsupported|invalid) (?:config(?:uration)? )?(?:key|option|setting)s?:? ['\"`]?(?P<option>[\w.]{1,60})"), "Correct or remove {option}, which the configuration does not know", ("Remove options", "Set the named variable")),
    Fact(("invalid_parameter",), (r"['\"`](?P<option>[\w.]{1,60})['\"`] is not supported with this model\. Use ['\"`](?P<instead>[\w.]{1,60})['\"`]",), "Send {instead} in place of {option}", ("Drop {", "Drop parameters", "Read the parameter", "Drop ")),
    Fact(("invalid_parameter",), (r"(?i:unsupported (?:parameter|value)):? ['\"]?(?P<option>[\w.]{1,60}\w)", r"(?i:unknown|unrecognized|unexpected|extra|invalid) (?i:parameter|field|argument|request argument supplied|property)s?(?: name)?:? ?['\"`](?P<option>[\w.]{1,60})['\"`]"), "Drop {option}, or give it a value that the model supports", ("Drop parameters", "Read the parameter")),
    Fact(("invalid_parameter",), (r"maximum context length is (?P<most>\d{1,9}) tokens.{0,60}?(?P<asked>\d{1,9}) tokens", r"(?i:prompt is too long): (?P<asked>\d{1,9}) tokens > (?P<most>\d{1,9})"), "Shorten the input or max_tokens: {asked} tokens are asked for, and {most} is the most", ("Drop parameters", "Read the parameter")),
    Fact(("invalid_parameter",), (r"\"loc\": ?\[(?:\"\w{1,20}\", ?)?\"(?P<option>\w{1,60})\"\], ?\"msg\": ?\"(?P<wrong>[^\"\n]{1,80})\"", r"'loc': ?[\[(](?:'\w{1,20}', ?)?'(?P<option>\w{1,60})'[\])], ?'msg': ?'(?P<wrong>[^'\n]{1,80})'"), "Correct {option}: {wrong}", ("Read the parameter", "Drop parameters")),
    Fact(("invalid_config",), (r"(?i:(?:yaml|toml|ini|config|json).{0,40}(?:scanner|parser|decode|parse|syntax)\w{0,9}error)",), "Correct the syntax of the settings file, at the line that the message gives", ("Set the named variable", "Remove options")),
    Fact(("invalid_config", "invalid_parameter"), (r"(?:^|[\s'\"`:])[`'\"]?(?P<option>[a-z]\w{0,40}(?:\.\w{1,40})?)[`'\"]? (?P<wrong>(?:must|should|needs to|cannot|can't|is out of range)\b[^\n\"']{0,80}\w)",), _correct, ("Read the parameter", "Drop parameters", "Set the named variable")),
    # Data and files.
    Fact(("dataset_format",), (r"KeyError: ['\"](?P<column>[\w-]{1,60})['\"]", r"(?i:column|field) ['\"`](?P<column>[\w-]{1,60})['\"`] (?i:is |does )?not", r"(?i:must (?:contain|have)) an? ['\"`](?P<column>[\w-]{1,60})['\"`] (?i:column|field)", r"\bColumn (?P<column>[\w-]{1,60}) not in", r"no (?:column|field) (?:named )?['\"`](?P<column>[\w-]{1,60})['\"`]"), "Check that every row has the column '{column}', or map yours to it", ("Print the dataset's",)),
    Fact(("dataset_format",), (r"(?i:no (?:\(supported\) )?data files found in) ['\"]?(?P<place>[^\s'\"]{1,120})",), "Put data files of a known type (JSON, CSV, Parquet, audio) into {place}, or correct that path", ("Print the dataset's", "Rename/map columns", "Give every data file")),
    Fact(("dataset_format",), (r"(?i:num_samples=0|dataset is empty|empty dataset|no samples)",), "Check the path of the data and what filters it: no sample is left", ("Print the dataset's", "Rename/map columns")),
    Fact(("dataset_format",), (r"(?i:stack expects each tensor to be equal size)",), "Pad or crop the samples of a batch to one length (a collator that pads)", ("Print the dataset's", "Rename/map columns")),
    Fact(("dataset_format",), (r"Expected (?P<expected>\d{1,6}) fields in line (?P<line>\d{1,9}), saw (?P<saw>\d{1,6})",), "Correct line {line}: it has {saw} fields in place of {expected} (quote separators within texts)", ("Validate the JSONL",)),
    Fact(("checkpoint_not_found", "resume_failed"), (r"(?i:no such file or directory):? ['\"](?P<path>" + _PATH + ")['\"]", r"(?i:not found|cannot find|can't find|could not find|does not exist)[^'\"\n]{0,40}['\"](?P<path>[^'\"\n]{0,150}\.\w{2,12})['\"]", _WEIGHTS_FILE), "Check that {file} is there, as the process sees it", ("Check the path",)),
    Fact(("checkpoint_not_found",), (r"(?i:no file named) (?P<file>[\w.-]{1,80}\w)",), "Check that the folder holds {file} or another of the names that the message lists", ("Check that ", "Check the path")),
    Fact(("checkpoint_corrupt",), (r"(?i:version https://git-lfs|git.?lfs|invalid load key, 'v')",), "Run git lfs pull: the file is a pointer to the weights, not the weights", ("Install git-lfs", "Delete the file", "Compare size")),
    Fact(("checkpoint_corrupt",), (_WEIGHTS_FILE,), "Delete {file} and its cache entry and download it again", ("Delete the file",)),
    Fact(("checkpoint_mismatch",), (r"size mismatch for (?P<weight>[\w.]{1,100}): copying a param with shape (?P<saved>(?:torch\.Size\()?[\[(][\d, ]{0,60}[\])]).{0,60}(?:model is|model:) (?P<own>(?:torch\.Size\()?[\[(][\d, ]{0,60}[\])])", ), lambda groups: f"Compare the configurations: {groups['weight']} is {_shape(groups['saved'])} in the checkpoint and {_shape(groups['own'])} in the model"),
    Fact(("checkpoint_mismatch",), (r"size mismatch for (?P<weight>[\w.]{1,100})(?!.{0,400}copying)",), "Compare the configurations: {weight} has another shape in the checkpoint than in the model"),
    Fact(("permission_denied",), (r"(?i:permission denied|read-only file system|operation not permitted|access is denied|used by another process|access denied)[^'\"\n]{0,12}['\"](?P<path>[\w/~.][^'\"\n]{0,160})['\"]", r"(?i:write in your cache folder \()(?P<path>[^)\n]{1,160})\)", r"['\"](?P<path>[/~.][^'\"\n]{0,160})['\"]?: (?i:permission denied|read-only)", r"(?:^|[\s:])(?P<path>[/~][^\s:'\"]{1,160}): (?i:permission denied|read-only)"), lambda groups: _make_writable(groups["path"]), ("Set HF_HOME / output", )),
    Fact(("permission_denied",), (r"(?i:winerror 32|used by another process)",), "Close the program that still holds the file open, in this process too (a file that was not closed)", ("Close programs", "Make ", "Set HF_HOME", "Fix ownership")),
    Fact(("disk_full",), (r"(?i:no space left on device|disk quota exceeded)[^'\"\n]{0,12}['\"](?P<path>" + _PATH + ")['\"]",), "Free space on the disk that holds {path} (df -h): old checkpoints, the Hugging Face cache", ("Free space (df -h)",)),
    Fact(("corrupt_audio",), (_AUDIO_FILE,), "Look at the size and the first bytes of {file}: an HTML/JSON error page is often saved under such a name", ("Check size and magic",)),
    Fact(("unsupported_format",), (_AUDIO_FILE,), "Convert {file} to 16-bit PCM WAV (ffmpeg -i in -ac 2 -ar 44100 out.wav)", ("Convert to 16-bit",)),
    Fact(
        ("payload_too_large",),
        (
            r"(?i:" + SIZE + r" ?> ?(?P<limit>" + SIZE + "))",
            r"(?i:\blimit[^\d\n]{0,20}(?P<limit>\d{5,12})\b(?! ?(?:[kmgt]i?b|bytes)))",
            r"(?i:(?:\blimit(?:ed)?|\bmax(?:imum|imal)?|at most|up to|allowed|cannot exceed|(?:less|smaller) than|under|below)\b[^\d\n]{0,40}(?P<limit>" + SIZE + "))",
            r"(?i:\bexceed(?:s|ed|ing)? [^\d\n(]{0,40}(?P<limit>" + SIZE + "))",
            r"(?i:(?P<limit>" + SIZE + r")[ -](?:(?:file|upload|size|request|body|payload|content|audio|api)[ -]){0,3}(?:limit|max))",
            r"(?i:(?P<limit>\d{1,6}[ -](?:seconds?|minutes?|hours?))[ -](?:(?:audio|api|duration|length|time)[ -]){0,3}(?:limit|max))",
        ),
        _limit,
    ),
    # Access and names.
    Fact(("auth_failed",), (r"(?i:nocredentialserror|unable to locate credentials)",), "Give the process AWS credentials: aws configure, a role, or AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY", ("Check which key", "Send it as")),
    Fact(("auth_failed",), (r"(?i:(?:in)?sufficient (?:authentication )?(?:permissions?|scopes?))",), "Give the token the scopes that this call needs, and check the account", ("Check the token's scopes",)),
    Fact(("auth_failed",), (r"when calling the (?P<operation>\w{1,60}) operation: (?i:access ?denied|user: .{0,200}not authorized)",), "Allow {operation} in the IAM policy of the role or user", ("Check the token's scopes", "Send it as")),
    Fact(("auth_failed",), (r"(?i:default credentials)",), "Log in with gcloud auth application-default login, or point GOOGLE_APPLICATION_CREDENTIALS at a key file", ("Check which key", "Send it as")),
    Fact(("space_unavailable",), (r"(?i:huggingface\.co/spaces/|Space )(?P<name>[\w.-]{1,60}/[\w.-]{1,80}\w)",), "Open https://huggingface.co/spaces/{name}: it shows the stage and logs", ("Open the Space page",)),
    Fact(("cancelled",), (r"(?i:due to time limit)",), "Raise the time limit of the batch job (sbatch --time), and resume from the last checkpoint", ("Nothing is broken", "Resume from")),
    Fact(("auth_failed",), (r"\b(?P<variable>[A-Z][A-Z0-9]{1,30}_(?:[A-Z0-9]{1,20}_){0,3}(?:KEY|TOKEN|SECRET))\b",), "Check the value of {variable} that the process really sees; create a new one if it is right", ("Check which key",)),
    Fact(("auth_failed",), (r"(?i:missing (?:scopes?|the permission|permissions?)|lacks? (?:the )?(?:scope|permission)|permission)[: ]{1,2}['\"`]?(?P<scope>[a-z]\w{0,40}(?:[._:]\w{1,40}){1,4})",), _scope, ("Check the token's scopes",)),
    Fact(("gated_repo",), (r"(?:huggingface|hf)\.co/(?!settings|docs|join|api|spaces)" + _REPOSITORY, r"(?i:model|dataset|repo(?:sitory)?|repo for|access to) " + _REPOSITORY + r"(?= |\.|$)"), lambda groups: f"Open https://huggingface.co/{_repository(groups['name'])} while logged in and accept/request access", ("Open the model page",)),
    Fact(("not_found",), (r"(?i:model) [`'\"]?(?P<name>[\w./:-]{1,100}\w)[`'\"]? (?i:not found), try pulling",), "Pull the model first: ollama pull {name}", ("Check spelling", "Check that the token", "Check the spelling")),
    Fact(
        ("not_found",),
        (
            r"(?i:model|repository|repo|version|deployment|space|dataset|engine|voice)[ :]{1,2}[`'\"](?P<name>[\w./:-]{1,100})[`'\"]",
            r"[`'\"](?P<name>[\w./:-]{1,100})[`'\"] (?i:is not a local folder|does not exist|not found|is not a valid model)",
            r"^(?:\w{1,60}: )?" + _REPOSITORY + r" (?i:is not a local folder|does not appear)",
            r"(?i:for url:?) '?https?://(?:huggingface\.co|hf-mirror\.com)/(?:api/(?:models|datasets|spaces)/)?(?!api/)" + _REPOSITORY,
            r"(?i:for url:?) '?(?P<name>https?://[\w.-]{1,100}[^\s'\"?@#]{0,160}[\w/])",
        ),
        lambda groups: _look_for(_repository(groups["name"])),
        ("Check spelling", "Check that the token"),
    ),
    Fact(("rate_limited",), (r"(?i:on (?P<what>(?:tokens|requests) per (?:min|minute|day|hour))).{0,40}?(?i:limit):? (?P<limit>\d{1,12})", r"(?i:limit).{0,60}? of (?P<limit>\d{1,3}(?:,\d{3}){0,3}|\d{1,9}) (?P<what>(?:input |output )?(?:tokens|requests) per (?:minute|hour|day))"), "Stay below {limit} {what}, the limit that the message names"),
    # Certificates, JSON, base64.
    Fact(("tls_error",), (r"(?i:certificate has expired|cert_has_expired|certificate is expired)",), "Renew the certificate, which has expired, or set this machine's clock", ("Check proxy, clock", "Install or point")),
    Fact(("tls_error",), (r"(?i:hostname mismatch|doesn't match|not valid for|altname|name mismatch)",), "Connect by a name that the certificate is for, or have it made for this one", ("Install or point", "Check proxy, clock")),
    Fact(("tls_error",), (r"(?i:wrong.version.number|http request to https|first record does not look like)",), "Use http:// or the port of https://: what answers there does not speak TLS", ("Install or point", "Check proxy, clock")),
    Fact(("tls_error",), (r"(?i:eof occurred|unexpected.eof|ssleoferror|proxyerror)",), "Check proxy, VPN and firewall: the connection was cut while TLS was agreed upon", ("Install or point", "Check proxy, clock")),
    Fact(("tls_error",), (r"(?i:self.signed)",), "Give the CA that signed it to REQUESTS_CA_BUNDLE / SSL_CERT_FILE (Node: NODE_EXTRA_CA_CERTS): the certificate, or a proxy's, is self-signed", ("Install or point",)),
    Fact(("invalid_json",), (r"(?i:unexpected token '?<|<!doctype)",), "Look at the status and the address: the body is a page (HTML), not JSON", ("Check the status", "For model output")),
    Fact(("invalid_json",), (r"(?i:line 1 column 1 \(char 0\))",), "Look at the status and the first bytes: the body is empty, or a page or plain text from its first character", ("Check the status", "For model output", "Log status code")),
    Fact(("invalid_json",), (r"(?i:extra data)",), "Read it line by line: several JSON documents follow one another (JSONL, or an event stream)", ("Check the status",)),
    Fact(("invalid_json",), (r"(?i:unterminated string|unexpected end|eof while parsing|unexpected eof)",), "Look for what cut the text off: a limit such as max_tokens, or a body that was not read to its end", ("Check the status",)),
    Fact(("missing_data",), (r"KeyError: ['\"](?P<field>[A-Za-z_][\w-]{0,60})['\"]", r"(?i:reading|read property) '(?P<field>[A-Za-z_][\w-]{0,60})'", r"(?i:no|missing|without) ['\"`](?P<field>[A-Za-z_][\w-]{0,60})['\"`]"), "Check for '{field}' before using it: an answer that tells of an error has none", ("Check for the field",)),
    Fact(("invalid_base64",), (r"(?i:incorrect padding|invalid padding)",), "Pad to a multiple of 4 with =; try the URL-safe alphabet", ("Pad to",)),
    Fact(("invalid_base64",), (r"(?i:cannot be 1 more than a multiple)",), "Look for what cut the string off: no padding makes this length right", ("Pad to", "Check that the string")),
    Fact(("precision_unsupported",), (r"not implemented for '(?P<type>Half|BFloat16)'",), "Use fp32 there: {type} has no such operation on this device", ("Use fp32 on CPU",)),
)  # fmt: skip


def _repository(name: str) -> str:
    return compiled(r"/(?:resolve|tree|blob|revision)(?:/.{0,200})?$").sub("", name).rstrip(".")


def _look_for(name: str) -> str:
    if name.startswith("http"):
        return f"Check the address {name}: nothing was found there, or nothing for this account"
    return f"Check the spelling of {name}, and that your account may see it"


def _shape(size: str) -> str:
    return size.removeprefix("torch.Size(").strip("()")


def _make_writable(path: str) -> str:
    path = path.replace("\\\\", "\\")
    return f"Make {path} writable for the user of the process, or set HF_HOME / the output folder elsewhere"
