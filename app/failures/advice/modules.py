"""What to do about a Python module or a system library that is missing: few are installed under their own name."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Final

_PACKAGES: Final[Mapping[str, str]] = {
    "bio": "biopython",
    "bs4": "beautifulsoup4",
    "causal_conv1d_cuda": "causal-conv1d",
    "crypto": "pycryptodome",
    "cryptodome": "pycryptodomex",
    "cv2": "opencv-python",
    "dateutil": "python-dateutil",
    "discord": "discord.py",
    "docx": "python-docx",
    "dotenv": "python-dotenv",
    "exllamav2_ext": "exllamav2",
    "faiss": "faiss-cpu",
    "ffmpeg": "ffmpeg-python",
    "fitz": "pymupdf",
    "flash_attn": "flash-attn",
    "flash_attn_2_cuda": "flash-attn",
    "gi": "PyGObject",
    "git": "GitPython",
    "hydra": "hydra-core",
    "imblearn": "imbalanced-learn",
    "jose": "python-jose",
    "jwt": "PyJWT",
    "llama_cpp": "llama-cpp-python",
    "magic": "python-magic",
    "megatron": "megatron-core",
    "mpl_toolkits": "matplotlib",
    "multipart": "python-multipart",
    "mysqldb": "mysqlclient",
    "nemo": "nemo_toolkit[all]",
    "opengl": "PyOpenGL",
    "openssl": "pyOpenSSL",
    "paddle": "paddlepaddle",
    "pil": "pillow",
    "pptx": "python-pptx",
    "psycopg2": "psycopg2-binary",
    "pythoncom": "pywin32",
    "pywintypes": "pywin32",
    "selective_scan_cuda": "mamba-ssm",
    "serial": "pyserial",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "skopt": "scikit-optimize",
    "slugify": "python-slugify",
    "socks": "PySocks",
    "speech_recognition": "SpeechRecognition",
    "telegram": "python-telegram-bot",
    "transformer_engine": "transformer-engine[pytorch]",
    "tts": "coqui-tts",
    "umap": "umap-learn",
    "usb": "pyusb",
    "whisper": "openai-whisper",
    "win32api": "pywin32",
    "win32com": "pywin32",
    "yaml": "pyyaml",
    "zmq": "pyzmq",
    "_cffi_backend": "cffi",
    "_portaudio": "PyAudio",
    "_soundfile": "soundfile",
    "_soundfile_data": "soundfile",
    "_yaml": "pyyaml",
    "google.auth": "google-auth",
    "google.genai": "google-genai",
    "google.generativeai": "google-generativeai",
    "google.oauth2": "google-auth",
    "google.protobuf": "protobuf",
    "googleapiclient": "google-api-python-client",
    "ruamel": "ruamel.yaml",
    "pyannote": "pyannote.audio",
}
"""Packages whose name is not that of the module they bring, by the module in small letters."""

_ELSEWHERE: Final[Mapping[str, str]] = {
    "apex": "Install NVIDIA's apex from its repository (github.com/NVIDIA/apex): the apex of PyPI is something else",
    "clip": "Install CLIP from its repository: pip install git+https://github.com/openai/CLIP.git",
    "mmcv": "Install mmcv in the build for your torch and CUDA: pip install openmim, then mim install mmcv",
    "pip": "Give this Python its pip: python -m ensurepip --upgrade",
    "ensurepip": "Install what the system split off from Python: apt install python3-venv",
    "venv": "Install what the system split off from Python: apt install python3-venv",
    "google.cloud": "Install the package of the service that is imported: pip install google-cloud-<service>",
    "google.colab": "Leave google.colab out: it exists on Colab alone",
    "transformers_modules": "Load the model with trust_remote_code=True from a folder without dots in its name, and clear the cache of remote code",
    "__main__": "Start a script or a module of the package: it has no __main__",
    "imp": "imp was removed from Python 3.12: use Python 3.11, or newer versions of the packages that import it",
    "asynchat": "asynchat was removed from Python 3.12: pip install pyasynchat",
    "asyncore": "asyncore was removed from Python 3.12: pip install pyasyncore",
    "audioop": "audioop was removed from Python 3.13: pip install audioop-lts",
    "pyaudioop": "audioop was removed from Python 3.13: pip install audioop-lts",
    "cgi": "cgi was removed from Python 3.13: pip install legacy-cgi",
    "distutils": "distutils was removed from Python 3.12: pip install setuptools",
    "pkg_resources": 'pkg_resources comes with older setuptools: pip install "setuptools<81"',
    "_distutils_hack": "Install setuptools again, whose part that is: pip install --force-reinstall setuptools",
    **{
        name: f"{name} was removed from Python 3.13: pip install standard-{name}"
        for name in ("aifc", "chunk", "crypt", "imghdr", "pipes", "sndhdr", "sunau", "telnetlib", "uu", "xdrlib")
    },
}
"""What no `pip install` of the same name brings, and what Python has lost; by the module in small letters."""

_BUILT_WITH: Final[Mapping[str, str]] = {
    "_bz2": "libbz2-dev",
    "_ctypes": "libffi-dev",
    "_curses": "libncurses-dev",
    "_dbm": "libgdbm-dev",
    "_hashlib": "libssl-dev",
    "_lzma": "liblzma-dev",
    "_sqlite3": "libsqlite3-dev",
    "_ssl": "libssl-dev",
    "_tkinter": "python3-tk",
    "bz2": "libbz2-dev",
    "ctypes": "libffi-dev",
    "lzma": "liblzma-dev",
    "readline": "libreadline-dev",
    "sqlite3": "libsqlite3-dev",
    "ssl": "libssl-dev",
    "tkinter": "python3-tk",
    "turtle": "python3-tk",
}
"""What Debian calls that without which Python is built without a module of its own."""

_OF_THE_PROGRAM: Final = frozenset(
    [
        "api",
        "app",
        "backend",
        "cfg",
        "cli",
        "comfy",
        "common",
        "conf",
        "config",
        "configs",
        "core",
        "data",
        "dataset",
        "dataloader",
        "folder_paths",
        "functions",
        "helper",
        "helpers",
        "hparams",
        "hubconf",
        "infer",
        "inference",
        "ldm",
        "lib",
        "library",
        "libs",
        "loader",
        "losses",
        "main",
        "model",
        "models",
        "module",
        "modules",
        "mymodule",
        "network",
        "networks",
        "nodes",
        "options",
        "preprocess",
        "project",
        "routes",
        "scripts",
        "server",
        "settings",
        "src",
        "test",
        "tests",
        "text",
        "tools",
        "train",
        "trainer",
        "training",
        "transforms",
        "util",
        "utils",
        "utility",
        "views",
        "web",
        "vocoder",
    ]
)
"""Names that programs give their own modules; packages of these names on PyPI are something else."""

_NAMESPACES: Final = ("azure.", "google.")

_LIBRARIES: Final[tuple[tuple[str, str], ...]] = (
    ("libcuda.", "Give the process the NVIDIA driver, which brings {library} (in a container: --gpus all and the NVIDIA toolkit)"),
    ("libnvinfer", "Install the TensorRT that brings {library}, and check that the loader finds it"),
    ("libcu", "Install the CUDA libraries that bring {library} (a PyTorch wheel has its own), and check LD_LIBRARY_PATH"),
    ("libn", "Install the CUDA libraries that bring {library} (a PyTorch wheel has its own), and check LD_LIBRARY_PATH"),
    ("cu", "Install the CUDA version that brings {library}, and check that its bin folder is on the PATH"),
    ("libgl.", "Install the system library that brings {library} (apt install libgl1), or use opencv-python-headless"),
    ("libgthread", "Install the system library that brings {library} (apt install libglib2.0-0)"),
    ("libglib", "Install the system library that brings {library} (apt install libglib2.0-0)"),
    ("libsm.", "Install the system library that brings {library} (apt install libsm6 libxext6 libxrender1)"),
    ("libxext", "Install the system library that brings {library} (apt install libsm6 libxext6 libxrender1)"),
    ("libxrender", "Install the system library that brings {library} (apt install libsm6 libxext6 libxrender1)"),
    ("libsndfile", "Install the system library that brings {library} (apt install libsndfile1)"),
    ("libgomp", "Install the system library that brings {library} (apt install libgomp1)"),
    ("libsox", "Install the system library that brings {library} (apt install libsox-dev)"),
    ("libportaudio", "Install the system library that brings {library} (apt install libportaudio2)"),
    ("libespeak", "Install the system library that brings {library} (apt install espeak-ng)"),
    ("libav", "Install an FFmpeg that brings {library} (apt install ffmpeg): its number must be the one asked for"),
    ("libaio", "Install the system library that brings {library} (apt install libaio-dev)"),
    ("libstdc++", "Use a newer {library}: conda install -c conda-forge libstdcxx-ng, or a newer system"),
    ("libc.so", "Use a newer system or a wheel built for this one: {library} here is older than the one asked for"),
    ("libtorch", "Install torch, torchaudio and torchvision in versions that belong together: {library} is torch's own"),
    ("libc10", "Install torch, torchaudio and torchvision in versions that belong together: {library} is torch's own"),
    ("c10", "Install the Visual C++ redistributable, and torch again: {library} is torch's own"),
    ("fbgemm", "Install the Visual C++ redistributable, and torch again: {library} is torch's own"),
    ("", "Install the system library that brings {library}, and check that the loader finds it"),
)  # fmt: skip


def missing(groups: Mapping[str, str]) -> str:
    """Return what to do when Python does not find the module."""
    if groups.get("shadow"):
        return f"Rename your file {groups['shadow']}.py: it hides the package of that name"
    module = groups["module"].strip(".-")
    top = module.partition(".")[0]
    for name in (module.lower(), top.lower()):
        if name in _ELSEWHERE or name in _PACKAGES:
            return _ELSEWHERE.get(name) or _install(_PACKAGES[name])
    return _no_package(module, top) or _of_that_name(module, top)


def _no_package(module: str, top: str) -> str | None:
    """Return what to do about a module that no package brings, or None."""
    if module == "google":
        return "Install the package of Google that is imported: google-genai, google-auth, google-cloud-…"
    if top in _BUILT_WITH:
        return f"{module} belongs to Python: use a build that has it (on Debian, {_BUILT_WITH[top]} was missing)"
    if top in sys.stdlib_module_names:
        return f"{module} belongs to Python: use a build or a version that has it"
    if top.startswith("_"):
        return f"{module} is the compiled part of another package: install the package that imports it again"
    if top in _OF_THE_PROGRAM:
        return (
            f"{module} is a module of the program itself: start it in the project's folder, or put that on PYTHONPATH"
        )
    return None


def lacking(groups: Mapping[str, str]) -> str:
    """Return what to do when a module lacks a name that is imported from it."""
    name, module = groups["name"], groups["module"]
    top = module.partition(".")[0]
    if groups.get("partly"):
        return f"Check for a file of yours named {top}.py, and for modules that import each other: {module} was only half loaded"
    if top in sys.stdlib_module_names:
        return f"Use the version of Python that the code was written for: {module} of this one has no {name}"
    if top in _OF_THE_PROGRAM:
        return f"Check {module}: it defines no {name}, or another module of that name was found first"
    package = _PACKAGES.get(top.lower(), top)
    return f"Install a version of {package} that has {name}, or one that the code was written for"


def library(groups: Mapping[str, str]) -> str:
    """Return what to do when the loader does not find the system library, or an old one."""
    name = groups["library"]
    return next(advice for start, advice in _LIBRARIES if name.lower().startswith(start)).format(library=name)


def _install(package: str) -> str:
    return f"Install {package} in the environment that runs the service: pip install {package}"


def _of_that_name(module: str, top: str) -> str:
    if module.lower().startswith(_NAMESPACES):
        return _install(module.replace(".", "-"))
    if "." in module:
        # Python names the first part that it does not find: the package itself is there.
        return f"Install a version of {top} that has {module}: pip install --upgrade {top}"
    return _install(module)
