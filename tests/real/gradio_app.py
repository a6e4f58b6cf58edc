"""One Gradio application that answers in every way that was seen of music Spaces, on Gradio 3 to 6.

It runs in the environments of `environments.py`, never in ours: it may import Gradio, NumPy
and the standard library, and nothing of this project. One process can open several doors,
because importing Gradio takes seconds and a door does not:

    python gradio_app.py plain=7001 auth=7002 full=7003 mounted=7004 mortal=7005

    plain     every function below, at the root
    mounted   the same under /studio, and small applications under /small, /interface, /unnamed
    auth      a small application behind a login
    full      a small application whose queue holds one waiting job
    verbose   a small application that shows the text of exceptions (show_error)
    mortal    a small application that can be killed, and is started again soon after

`SYSTEM=spaces` with `SPACE_ID` and its kin in the environment makes all of it behave like a
Space, and `GRADIO_SSR_MODE=True` puts Node in front of it, as there. `INPUTS_LOG` names a file
that gets one line of JSON for every call. The process and all that it started end when its
standard input does, so they cannot outlive the tests.
"""

import base64
import json
import math
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import wave
from pathlib import Path

import gradio as gr
import numpy as np

MAJOR = int(gr.__version__.split(".", maxsplit=1)[0])
RATE_HZ = 16_000
FOLDER = Path(tempfile.mkdtemp(prefix="clips-"))

QUOTA_TEXT = (
    "You have exceeded your free ZeroGPU quota (60s requested vs. 0s left). Try again in 1:23:45. "
    'Subscribe to Hugging Face <a href="https://example.invalid/pro">PRO</a> for more.'
)
REFUSAL = "The prompt is not acceptable: <b>no drums</b>"


# ---------------------------------------------------------------------- audio


def tone(seconds, channels=1, rate_hz=RATE_HZ, hz=440.0):
    """Return float samples of a fading tone, one column per channel."""
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    samples = 0.5 * np.sin(2 * math.pi * hz * time_s) * np.exp(-time_s / max(seconds, 0.1))
    if channels == 1:
        return samples
    return np.stack([samples * (1 - 0.3 * channel) for channel in range(channels)], axis=1)


def clip(seconds, channels=1):
    """Return what a function hands to `gr.Audio`: the rate and 16-bit samples."""
    return RATE_HZ, (tone(seconds, channels) * 32_767).astype(np.int16)


def wav_file(name, seconds, samples=None, channels=1, rate_hz=RATE_HZ):
    """Return the path of a WAV file with that name in a folder of its own."""
    path = Path(tempfile.mkdtemp(dir=str(FOLDER))) / name
    samples = tone(seconds, channels, rate_hz) if samples is None else samples
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes((samples * 32_767).astype("<i2").tobytes())
    return str(path)


def encoded(name, seconds, *arguments):
    """Return the path of a file that ffmpeg made from a WAV file."""
    source, target = wav_file("source.wav", seconds), FOLDER / name
    command = ["ffmpeg", "-y", "-loglevel", "error", *arguments, "-i", source, "-shortest", str(target)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, timeout=60)
    return str(target)


def wav_base64(seconds, **options):
    return base64.b64encode(Path(wav_file("b64.wav", seconds, **options)).read_bytes()).decode()


# ---------------------------------------------------------------------- what arrived

_log_lock = threading.Lock()


def record(function, **inputs):
    """Append a line to the log of calls; values that are not plain JSON are written as their type's name."""
    line = json.dumps({"function": function, "inputs": inputs}, default=lambda value: type(value).__name__)
    if os.environ.get("INPUTS_LOG"):
        with _log_lock, Path(os.environ["INPUTS_LOG"]).open("a", encoding="utf-8") as file:
            file.write(line + "\n")


# ---------------------------------------------------------------------- ways to answer with audio


def predict(prompt, duration):
    record("predict", prompt=prompt, duration=duration)
    return clip(duration)


def numpy_float(prompt):
    return RATE_HZ, tone(1.0).astype(np.float32)


def numpy_stereo(prompt):
    return clip(1.25, channels=2)


def path_audio(prompt):
    return wav_file("music out é.wav", 1.5)


def odd_path_audio(prompt):
    return wav_file("a#b%20c;d.wav", 1.5)


def mp3_audio(prompt):
    return encoded("s_out.mp3", 2.0)


def flac_audio(prompt):
    return encoded("s_out.flac", 2.0)


def video_out(prompt):
    return encoded("s_out.mp4", 2.0, "-f", "lavfi", "-i", "color=c=black:s=64x64:r=5:d=2")


def file_out(prompt):
    return wav_file("music out é.wav", 1.5)


def files_out(prompt):
    notes = FOLDER / "notes.txt"
    notes.write_text("not audio", encoding="utf-8")
    return [str(notes), wav_file("one.wav", 1.25), wav_file("two.wav", 2.0)]


def update_audio(prompt):
    return gr.update(value=wav_file("update.wav", 1.5), label="done", visible=True)


def b64_text(prompt):
    return wav_base64(1.5)


def dataurl_text(prompt):
    return "data:audio/wav;base64," + wav_base64(1.5)


def big_b64(prompt):
    return wav_base64(30.0, channels=2, rate_hz=44_100)


def json_b64(prompt):
    return {"name": "out.wav", "data": wav_base64(1.5)}


def json_list(prompt):
    return {"audio": [round(float(sample), 5) for sample in tone(1.5)], "sampling_rate": RATE_HZ}


def html_audio(prompt):
    return f'<p>Done.</p><audio controls src="data:audio/wav;base64,{wav_base64(1.5)}"></audio>'


def multi_out(prompt):
    return "a status text", wav_file("multi.wav", 1.75), {"bpm": 120}, None


def multi_audio(prompt):
    return None, wav_file("first.wav", 1.25), wav_file("second.wav", 2.0)


def gen_audio(prompt):
    yield None
    yield clip(1.0)
    yield clip(2.0)


def gen_status_audio(prompt):
    """End in an update without a value: the audio is in an earlier event only."""
    yield "working", None
    yield "audio", wav_file("music out é.wav", 1.5)
    yield "done", gr.update()


def gen_text(prompt):
    for step in range(3):
        yield f"step {step}", gr.update()
    yield "done", wav_file("late.wav", 1.75)


def stream_audio(prompt):
    for _ in range(3):
        yield clip(0.5)


def warn_info(prompt):
    gr.Info("Loading the model")
    gr.Warning("The prompt is short")
    return clip(1.0)


def with_state(prompt, calls):
    return clip(1.5), (calls or 0) + 1


def predict_batched(texts, melodies):
    record("predict_batched", texts=texts)
    return [[None for _ in texts], [wav_file("batch.wav", 1.5) for _ in texts]]


def unqueued(prompt):
    return clip(1.5)


def hidden(prompt):
    return clip(1.5)


def echo_headers(prompt, request: gr.Request):
    record("echo_headers", headers=dict(request.headers))
    return clip(1.0)


# ---------------------------------------------------------------------- parameters of real Spaces


def musicgen8(model, text, melody, duration, topk, topp, temperature, cfg_coef):
    """Have the signature of MusicGen's Space on Gradio 3."""
    record("musicgen8", **locals())
    return clip(duration)


def predict_full(model, model_path, decoder, text, melody, duration, topk, topp, temperature, cfg_coef):
    """Have the signature of the MusicGen demo with its waveform video, and its four outputs."""
    record("predict_full", **locals())
    return video_out(text), wav_file("full.wav", duration), None, None


def with_parameters(prompt, duration, tempo, mood, instruments, seed, randomize):
    record("with_parameters", **locals())
    return clip(duration)


def with_words(negative_prompt, description, genre, instruments, bpm, seconds):
    record("with_words", **locals())
    return clip(seconds)


# ---------------------------------------------------------------------- time


def sleep_as_told(function, prompt):
    record(function, prompt=prompt)
    told = re.search(r"sleep ([\d.]+)", prompt)
    time.sleep(float(told.group(1)) if told else 0.0)


def slow(prompt):
    """Take as long as the prompt says ("sleep 2.5"), one at a time."""
    sleep_as_told("slow", prompt)
    return clip(1.5)


def slow_unqueued(prompt):
    sleep_as_told("slow_unqueued", prompt)
    return clip(1.5)


def slow_generator(prompt):
    yield "working", None
    sleep_as_told("slow_generator", prompt)
    yield "done", clip(1.5)


def endless(prompt):
    """Yield audio for ever, as radio-like Spaces do."""
    while True:
        yield clip(1.0)
        time.sleep(0.1)


def progress_fn(prompt, progress=gr.Progress()):  # noqa: B008 - Gradio finds its progress bar by this default
    for share, text in ((0.25, "Loading the model"), (0.75, "Composing")):
        progress(share, desc=text)
        time.sleep(0.4)
    return clip(1.5)


def progress_tqdm(prompt, progress=gr.Progress(track_tqdm=True)):  # noqa: B008
    from tqdm import tqdm

    for _ in tqdm(range(4), desc="Composing"):
        time.sleep(0.1)
    return clip(1.5)


# ---------------------------------------------------------------------- ways to fail


def none_audio(prompt):
    return None


def silent_audio(prompt):
    return RATE_HZ, np.zeros(2 * RATE_HZ, dtype=np.int16)


def tiny_audio(prompt):
    return clip(0.1)


def not_audio_file(prompt):
    path = FOLDER / "music.wav"
    path.write_bytes(b"<!doctype html><title>Not music</title>" * 100)
    return str(path)


def chat(prompt):
    return "I made you a song!"


def url_audio(prompt):
    return "https://files.example.invalid/music.wav"


def url_text(prompt):
    """Answer with the URL that stands in the prompt, as text."""
    found = re.search(r"https?://\S+", prompt)
    return found.group() if found else "https://files.example.invalid/music.wav"


def url_json(prompt):
    return {"audio": {"url": url_text(prompt)}}


def err_gr(prompt):
    record("err_gr", prompt=prompt)
    raise gr.Error(REFUSAL)


def err_quota(prompt):
    record("err_quota", prompt=prompt)
    try:
        raise gr.Error(QUOTA_TEXT, title="ZeroGPU quota exceeded")
    except TypeError:  # Gradio 3 and 4 have no titles
        raise gr.Error(QUOTA_TEXT) from None


def err_value(prompt):
    record("err_value", prompt=prompt)
    raise ValueError("boom at /srv/model.py with key hf_abcdefghijklmnop")


def gen_fail(prompt):
    yield "working", None
    raise gr.Error(REFUSAL)


def gen_raise(prompt):
    yield "working", None
    yield "half", clip(1.0)
    raise ValueError("boom in the middle")


def crash(prompt):
    """Die in the middle of the job, as a process does that ran out of memory."""
    record("crash", prompt=prompt)
    time.sleep(0.2)
    os.kill(os.getpid(), signal.SIGKILL)


# ---------------------------------------------------------------------- joining the parts


def offer(function, inputs, outputs, **options):
    """Attach a function to a button of its own, under its own name."""
    options.setdefault("api_name", function.__name__)
    gr.Button(function.__name__).click(function, inputs, outputs, **options)


def prompt_box():
    return gr.Textbox(label="Prompt")


PROMPT_TO_AUDIO = (
    numpy_float, numpy_stereo, path_audio, odd_path_audio, mp3_audio, flac_audio, update_audio, url_audio, none_audio,
    silent_audio, tiny_audio, not_audio_file, gen_audio, warn_info, endless, err_gr, err_quota, err_value, slow,
    progress_fn, progress_tqdm, echo_headers,
)  # fmt: skip
PROMPT_TO_TEXT = (b64_text, dataurl_text, big_b64, chat, url_text)
PROMPT_TO_JSON = (json_b64, json_list, url_json)
PROMPT_TO_STATUS_AND_AUDIO = (gen_status_audio, gen_text, gen_fail, gen_raise, slow_generator)


def whole_application():
    with gr.Blocks(title="every way to answer") as demo:
        offer(predict, [prompt_box(), gr.Slider(1, 20, value=10, label="Duration")], gr.Audio())
        for function in PROMPT_TO_AUDIO:
            offer(function, prompt_box(), gr.Audio())
        for function in PROMPT_TO_TEXT:
            offer(function, prompt_box(), gr.Textbox())
        for function in PROMPT_TO_JSON:
            offer(function, prompt_box(), gr.JSON())
        for function in PROMPT_TO_STATUS_AND_AUDIO:
            offer(function, prompt_box(), [gr.Textbox(), gr.Audio()])
        offer(video_out, prompt_box(), gr.Video())
        offer(file_out, prompt_box(), gr.File())
        offer(files_out, prompt_box(), gr.File(file_count="multiple"))
        offer(html_audio, prompt_box(), gr.HTML())
        offer(multi_out, prompt_box(), [gr.Textbox(), gr.Audio(), gr.JSON(), gr.Video()])
        offer(multi_audio, prompt_box(), [gr.Audio(), gr.Audio(), gr.Audio()])
        offer(stream_audio, prompt_box(), gr.Audio(streaming=True, autoplay=True))
        state = gr.State()
        offer(with_state, [prompt_box(), state], [gr.Audio(), state])
        offer(predict_batched, [prompt_box(), gr.Audio()], [gr.Video(), gr.Audio()], batch=True, max_batch_size=4)
        offer(unqueued, prompt_box(), gr.Audio(), queue=False)
        offer(slow_unqueued, prompt_box(), gr.Audio(), queue=False)
        private = {"api_visibility": "private", "api_name": "hidden"} if MAJOR >= 6 else {"api_name": False}
        offer(hidden, prompt_box(), gr.Audio(), **private)
        offer(musicgen8, musicgen_inputs(), gr.Audio(label="Generated Music"))
        offer(predict_full, musicgen_inputs(full=True), [gr.Video(), gr.Audio(), gr.Video(), gr.Audio()])
        offer(with_parameters, parameter_inputs(), gr.Audio())
        offer(with_words, word_inputs(), gr.Audio())
        if MAJOR >= 6:
            validator = lambda text: gr.validate(len(text) < 30, "prompt too long")  # noqa: E731
            offer(path_audio, prompt_box(), gr.Audio(), api_name="validated", validator=validator)
    return demo


def musicgen_inputs(full=False):
    models = ["facebook/musicgen-melody", "facebook/musicgen-medium", "facebook/musicgen-small"]
    inputs = [gr.Radio(models, label="Model", value=models[0])]
    if full:
        inputs += [
            gr.Textbox(label="Model Path (custom models)"),
            gr.Radio(["Default", "MultiBand_Diffusion"], label="Decoder", value="Default"),
        ]
    return [
        *inputs,
        gr.Textbox(label="Input Text"),
        gr.Audio(label="Melody Condition (optional)"),
        gr.Slider(1, 120, value=10, step=1, label="Duration"),
        gr.Number(label="Top-k", value=250),
        gr.Number(label="Top-p", value=0),
        gr.Number(label="Temperature", value=1),
        gr.Number(label="Classifier Free Guidance", value=3),
    ]


def parameter_inputs():
    return [
        gr.Textbox(label="Prompt"),
        gr.Slider(1, 20, value=10, label="Duration (seconds)"),
        gr.Slider(40, 220, value=120, step=1, label="Tempo (BPM)"),
        gr.Dropdown(["Happy", "Calm", "Sad"], value="Happy", label="Mood"),
        gr.CheckboxGroup(["Piano", "Strings", "Drums"], label="Instruments"),
        gr.Number(value=0, precision=0, label="Seed"),
        gr.Checkbox(value=True, label="Randomize seed"),
    ]


def word_inputs():
    return [
        gr.Textbox(value="noise", label="Negative prompt"),
        gr.Textbox(label="Describe your music"),
        gr.Textbox(label="Mood"),
        gr.Textbox(label="Instruments"),
        gr.Number(value=100, label="BPM"),
        gr.Number(value=8, label="Length in seconds"),
    ]


def make_music(prompt, duration):
    record("make_music", prompt=prompt, duration=duration)
    return clip(duration)


def small_application():
    """Have one function that makes audio, and others around it that touch the same components."""
    with gr.Blocks(title="one way to answer") as demo:
        prompt, duration = prompt_box(), gr.Slider(1, 30, value=10, label="Duration")
        status, audio = gr.Textbox(label="Status"), gr.Audio(label="Music")
        gr.Button("Clear").click(lambda: ("", None), None, [prompt, audio], api_name="clear")
        gr.Button("Chat").click(chat, prompt, status, api_name="chat")
        gr.Button("Go").click(make_music, [prompt, duration], audio, api_name="make_music")
        gr.Button("Fail").click(err_value, prompt, status, api_name="err_value")
        gr.Button("Refuse").click(err_gr, prompt, status, api_name="err_gr")
        gr.Button("Wait").click(slow, prompt, gr.Audio(label="Late music"), api_name="slow")
    return demo


def mortal_application():
    with gr.Blocks(title="not for ever") as demo:
        offer(numpy_float, prompt_box(), gr.Audio())
        offer(crash, prompt_box(), gr.Audio())
    return demo


def unnamed_application():
    """Name nothing: Gradio 3 offers such functions by number only, later ones by the function's name."""
    with gr.Blocks(title="no names") as demo:
        prompt, audio, status = prompt_box(), gr.Audio(), gr.Textbox()
        gr.Button().click(lambda text: text.upper(), prompt, status)
        gr.Button().click(lambda text: clip(1.75 if text else 0.1), prompt, audio)
    return demo


def interface_application():
    inputs = [gr.Textbox(label="Describe the music"), gr.Slider(1, 30, value=10, label="Length (s)")]
    examples = [["a waltz", 5], ["a march", 8]]  # their events touch the same components
    return gr.Interface(make_music, inputs, gr.Audio(), title="an Interface", examples=examples, cache_examples=False)


# ---------------------------------------------------------------------- doors


def launch(demo, port, max_size=None, **options):
    demo.queue(max_size=max_size)
    demo.launch(server_name="127.0.0.1", server_port=port, prevent_thread_lock=True, quiet=True, share=False, **options)


def open_mounted(port):
    import uvicorn
    from fastapi import FastAPI

    app = FastAPI()
    applications = {
        "/studio": whole_application(),
        "/small": small_application(),
        "/interface": interface_application(),
        "/unnamed": unnamed_application(),
    }
    for path, demo in applications.items():
        app = gr.mount_gradio_app(app, demo.queue(), path=path)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port))
    threading.Thread(target=server.run, daemon=True).start()


PAUSE_AFTER_DEATH_S = 1.5
"""Long enough for a test to find nobody at the port."""


def open_mortal(port):
    """Keep a server on the port in a process of its own, and replace it when it dies, as a platform would.

    Forking saves the import of Gradio; it must be done before this process has threads.
    """
    end_of_parent, held_by_parent = os.pipe()
    if os.fork():
        os.close(end_of_parent)
        return
    os.close(held_by_parent)
    while True:
        worker = os.fork()
        if worker == 0:
            launch(mortal_application(), port)
            os.read(end_of_parent, 1)  # returns when the parent is gone
            os._exit(0)
        os.waitpid(worker, 0)
        if select.select([end_of_parent], [], [], PAUSE_AFTER_DEATH_S)[0]:
            os._exit(0)


DOORS = {
    "mortal": open_mortal,
    "plain": lambda port: launch(whole_application(), port),
    "auth": lambda port: launch(small_application(), port, auth=("musician", "secret")),
    "full": lambda port: launch(small_application(), port, max_size=1),
    "verbose": lambda port: launch(small_application(), port, show_error=True),
    "mounted": open_mounted,
}


def main(arguments):
    ports = dict(argument.split("=") for argument in arguments)
    # Node makes whatever it inherits non-blocking, so it must not inherit what is read below.
    standard_input = os.dup(0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for door, open_door in DOORS.items():
        if door in ports:
            open_door(int(ports[door]))
            print("open:", door, ports[door], flush=True)  # noqa: T201 - for the log
    os.read(standard_input, 1)
    shutil.rmtree(FOLDER, ignore_errors=True)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1:])
