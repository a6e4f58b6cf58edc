/**
 * What all pages use: talking to the API, following jobs, the player, cards for failures, and the list of earlier takes.
 *
 * What the API says is only ever written as text, never as HTML.
 */

/**
 * @typedef {{title: string, detail: string, hint: string, status: number, code: string, retryable: boolean,
 *   request_id: string, errors: {field: string, message: string}[], retry_after?: number, attempts?: number}} Problem
 * @typedef {{id: string, status: "queued"|"running"|"succeeded"|"failed"|"cancelled", message: string,
 *   progress: number|null, queue_position: number|null, attempt: number, max_attempts: number, retryable: boolean,
 *   poll_after_ms: number|null, engine: string, fallback_reason: string|null, request: Record<string, any>,
 *   created_at: string, finished_at: string|null, expires_at: string, audio_url: string|null, remarks: string[],
 *   error: Problem|null, links: {self: string, events: string, cancel: string|null, analysis: string|null}}} Job
 * @typedef {{id: string, prompt: string, at: number}} Take
 */

const POLL_MS = 3000;
const RETRY_MS = 5000;
export const POLLS_BEFORE_GIVING_UP = 5;
const ANSWER_LIMIT_MS = 20_000;
const FILE_LIMIT_MS = 120_000;
const STREAM_LIMIT_MS = 600_000; // the service ends each after five minutes
const SILENCE_LIMIT_MS = 30_000; // and says something every ten seconds
const SUBMIT_ATTEMPTS = 3;
const SUBMIT_RETRY_MS = 2000;

// ---------------------------------------------------------------------- elements

/** @param {string} id */
export const byId = (id) => /** @type {any} */ (document.getElementById(id));

/**
 * Make an element. Attributes that are functions listen, those that are true or false are there or not, and whatever
 * stands inside is text or another element.
 *
 * @param {string} name
 * @param {Record<string, any>} [attributes]
 * @param {...(Node|string|number|null|undefined|false)} inside
 * @returns {any}
 */
export function el(name, attributes = {}, ...inside) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(key, value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value != null) made.setAttribute(key, String(value));
  }
  made.append(...inside.filter((each) => each != null && each !== false).map((each) => /** @type {Node} */ (each)));
  return made;
}

/** The sentence with what stands between backticks as code. @param {string} sentence @returns {(Node|string)[]} */
export function prose(sentence) {
  return sentence.split("`").map((part, index) => (index % 2 ? el("code", {}, part) : part));
}

/** @param {string} sentence */
export function announce(sentence) {
  const live = byId("live");
  if (live.textContent !== sentence) live.textContent = sentence;
}

/** Say something that is over in a moment. @param {string} sentence */
export function toast(sentence) {
  const note = el("p", { class: "toast" }, sentence);
  byId("toasts").append(note);
  announce(sentence);
  setTimeout(() => note.remove(), 4000);
}

/** @param {number} seconds */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

/** @param {number} seconds */
function inWords(seconds) {
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} minutes`;
  return `${Math.round(seconds / 3600)} hours`;
}

/** @param {number} milliseconds @param {AbortSignal} [signal] */
export function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => (clearTimeout(timer), resolve(undefined)), { once: true });
  });
}

// ---------------------------------------------------------------------- light and dark

/** Let a button choose between light and dark; at first it is as the system has it. @param {HTMLButtonElement} button */
export function offerThemes(button) {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (document.documentElement.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";
  const tell = () => {
    button.textContent = isDark() ? "Light" : "Dark";
    button.setAttribute("aria-label", isDark() ? "Use light colours" : "Use dark colours");
    for (const canvas of document.querySelectorAll("canvas.wave")) canvas.dispatchEvent(new Event("theme"));
  };
  button.addEventListener("click", () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    keep(localStore(), "studio.theme", document.documentElement.dataset.theme);
    tell();
  });
  system.addEventListener("change", tell);
  tell();
}

// ---------------------------------------------------------------------- storage

/** What stands in for a storage that the browser does not give us: it lasts until the page is left. */
const memory = new Map();

/** @param {() => Storage} find */
function storage(find) {
  try {
    return find();
  } catch {
    return null;
  }
}
const localStore = () => storage(() => localStorage);
const tabStore = () => storage(() => sessionStorage);

/** @param {Storage|null} where @param {string} name @returns {string|null} */
function kept(where, name) {
  try {
    return where ? where.getItem(name) : (memory.get(name) ?? null);
  } catch {
    return memory.get(name) ?? null;
  }
}

/** @param {Storage|null} where @param {string} name @param {string|null} text */
function keep(where, name, text) {
  memory.set(name, text);
  try {
    if (text === null) where?.removeItem(name);
    else where?.setItem(name, text);
  } catch {
    // Full, or forbidden: until the page is left, memory has it.
  }
}

/** Earlier takes: the ids of jobs, newest first. How they stand is asked from the API. */
export class History {
  /** @param {string} name @param {number} [limit] */
  constructor(name, limit = 20) {
    this.name = name;
    this.limit = limit;
  }

  /** @returns {Take[]} */
  get takes() {
    try {
      const found = JSON.parse(kept(localStore(), this.name) ?? "[]");
      return Array.isArray(found) ? found.filter((each) => typeof each?.id === "string").slice(0, this.limit) : [];
    } catch {
      return [];
    }
  }

  /** @param {Take} take */
  add(take) {
    const others = this.takes.filter((each) => each.id !== take.id);
    this.#write([take, ...others].slice(0, this.limit));
  }

  /** @param {string} id */
  remove(id) {
    this.#write(this.takes.filter((each) => each.id !== id));
  }

  /** @param {Take[]} takes */
  #write(takes) {
    keep(localStore(), this.name, JSON.stringify(takes));
  }
}

// ---------------------------------------------------------------------- the API

/** The service answered that it did not work. */
export class Refused extends Error {
  /** @param {Problem} problem */
  constructor(problem) {
    super(problem.title);
    this.problem = problem;
  }
}

/** No answer came. Whether the request arrived is not known. */
export class Unreachable extends Error {
  /** What a card can say about it. @returns {Problem} */
  get problem() {
    return {
      title: "The server cannot be reached.",
      detail: "No answer came: the connection failed, or took too long.",
      hint: "Look whether you are online, then try again.",
      status: 0,
      code: "no-answer",
      retryable: true,
      request_id: "",
      errors: [],
    };
  }
}

/** @type {(why: Problem) => Promise<string|null>} */
let askForKey = async () => null;
/** @type {Promise<string|null>|null} */
let asking = null;
const KEY = "studio.key";

/** Say how a person is asked for an API key, should the service want one. @param {typeof askForKey} ask */
export function whenKeyIsNeeded(ask) {
  askForKey = ask;
}

export const hasKey = () => kept(tabStore(), KEY) !== null;

/** Ask once for all requests that wait for it. @param {Problem} why */
function newKey(why) {
  asking ??= askForKey(why).then((key) => {
    if (key) keep(tabStore(), KEY, key);
    asking = null;
    return key;
  });
  return asking;
}

/**
 * Ask the API, with the key if there is one; a person is asked for another when it is not known.
 *
 * @param {string} path
 * @param {{method?: string, body?: unknown, headers?: Record<string, string>, signal?: AbortSignal,
 *   limit_ms?: number}} [request]
 * @returns {Promise<Response>}
 * @throws {Refused|Unreachable}
 */
export async function call(path, request = {}) {
  for (;;) {
    const key = kept(tabStore(), KEY);
    const response = await send(path, key, request);
    if (response.ok) return response;
    const problem = await problemOf(response);
    if (problem.status !== 401) throw new Refused(problem);
    const isOld = key !== kept(tabStore(), KEY); // somebody was asked meanwhile
    if (!isOld && !(await newKey(problem))) throw new Refused(problem);
  }
}

/**
 * @param {string} path
 * @param {string|null} key
 * @param {{method?: string, body?: unknown, headers?: Record<string, string>, signal?: AbortSignal,
 *   limit_ms?: number}} request
 */
async function send(path, key, { method = "GET", body, headers = {}, signal, limit_ms = ANSWER_LIMIT_MS }) {
  const aborter = new AbortController();
  setTimeout(() => aborter.abort(), limit_ms); // the body is to be there by then too; what is complete does not mind
  signal?.addEventListener("abort", () => aborter.abort(), { once: true });
  try {
    return await fetch(path, {
      method,
      headers: {
        ...(key ? { Authorization: `Bearer ${key}` } : {}),
        ...(body === undefined ? {} : { "Content-Type": "application/json" }),
        ...headers,
      },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: aborter.signal,
    });
  } catch {
    throw new Unreachable();
  }
}

/** Read a problem, or make one of what a proxy in between says. @param {Response} response @returns {Promise<Problem>} */
async function problemOf(response) {
  try {
    const found = await response.json();
    if (typeof found.code === "string" && typeof found.title === "string") return { errors: [], ...found };
  } catch {
    // Not ours.
  }
  return {
    title: `The server answered with an error (${response.status}).`,
    detail: "What it said is not from this service; perhaps something in front of it is in trouble.",
    hint: "Try again in a moment.",
    status: response.status,
    code: `http-${response.status}`,
    retryable: response.status >= 500,
    request_id: response.headers.get("X-Request-ID") ?? "",
    errors: [],
  };
}

/** @param {string} path @param {Parameters<typeof call>[1]} [request] @returns {Promise<any>} */
export async function json(path, request) {
  const response = await call(path, request);
  try {
    return await response.json();
  } catch {
    throw new Unreachable(); // cut off on its way
  }
}

/** @param {string} url @param {AbortSignal} [signal] @returns {Promise<File>} by the name that the service gives it */
export async function fetchFile(url, signal) {
  const response = await call(url, { limit_ms: FILE_LIMIT_MS, signal });
  const name = /filename="([^"]+)"/.exec(response.headers.get("Content-Disposition") ?? "")?.[1];
  try {
    return new File([await response.blob()], name ?? "studio", { type: response.headers.get("Content-Type") ?? "" });
  } catch {
    throw new Unreachable(); // cut off on its way
  }
}

/** What an error has to say on a card. @param {unknown} error @returns {Problem} */
export function problemIn(error) {
  if (error instanceof Refused || error instanceof Unreachable) return error.problem;
  throw error;
}

/**
 * Submit a job so that it is never made twice: as long as it is not known whether the request arrived, the same one
 * goes out with the same key, even if a person sends it again.
 *
 * @param {string} path
 * @param {unknown} body
 * @param {(attempt: number, of: number) => void} onRetry
 * @returns {Promise<Job>}
 */
export async function submit(path, body, onRetry) {
  const key = submissionKey(path, body);
  for (let attempt = 1; ; attempt++) {
    try {
      const job = await json(path, { method: "POST", body, headers: { "Idempotency-Key": key } });
      keep(tabStore(), SUBMISSION, null);
      return job;
    } catch (error) {
      if (error instanceof Refused && error.problem.status < 500) keep(tabStore(), SUBMISSION, null);
      if (!(error instanceof Unreachable) || attempt === SUBMIT_ATTEMPTS) throw error;
      onRetry(attempt + 1, SUBMIT_ATTEMPTS);
      await pause(SUBMIT_RETRY_MS);
    }
  }
}

const SUBMISSION = "studio.submission";

/** @param {string} path @param {unknown} body */
function submissionKey(path, body) {
  const what = JSON.stringify([path, body]);
  const last = JSON.parse(kept(tabStore(), SUBMISSION) ?? "{}");
  if (last.what === what) return last.key;
  // Not `randomUUID`, which a page that came over plain HTTP does not have.
  const key = [...crypto.getRandomValues(new Uint8Array(16))].map((each) => each.toString(16).padStart(2, "0")).join("");
  keep(tabStore(), SUBMISSION, JSON.stringify({ what, key }));
  return key;
}

// ---------------------------------------------------------------------- following a job

/** @param {Job} job */
export const isOver = (job) => !["queued", "running"].includes(job.status);

/** @param {unknown} error */
export const isGone = (error) => error instanceof Refused && [404, 410].includes(error.problem.status);

/**
 * @typedef {{onJob: (job: Job) => void, onTrouble: (failures: number) => void, onGone: (problem: Problem) => void,
 *   onLost: (problem: Problem) => void}} Watcher
 */

/**
 * Tell how a job stands until it is over, gone, or nothing can be heard of it.
 *
 * Events tell of it at once; they are a convenience, and where they fail the job is asked for every few seconds. A
 * question that fails says nothing about the job.
 *
 * @param {string} id
 * @param {Watcher} watcher
 * @param {AbortSignal} signal
 */
export async function follow(id, watcher, signal) {
  let failures = 0;
  let hasEvents = true;
  let isDone = false;
  const tell = (/** @type {Job} */ job) => {
    if (signal.aborted) return;
    failures = 0;
    isDone = isOver(job);
    watcher.onJob(job);
  };
  while (!signal.aborted) {
    try {
      const job = await json(`/api/status/${id}`, { signal });
      tell(job);
      if (!isDone && hasEvents && !isListening) hasEvents = await listen(id, tell, signal);
      else if (!isDone) await pause(job.poll_after_ms ?? POLL_MS, signal);
      if (isDone) return;
    } catch (error) {
      if (signal.aborted) return;
      const problem = problemIn(error);
      if (isGone(error)) return watcher.onGone(problem);
      failures += 1;
      if (failures === POLLS_BEFORE_GIVING_UP || problem.status === 401) return watcher.onLost(problem);
      watcher.onTrouble(failures);
      await pause(Math.max(RETRY_MS, (problem.retry_after ?? 0) * 1000), signal);
    }
  }
}

/** One stream at a time: browsers open six connections to a server, for all tabs together. */
let isListening = false;

/**
 * Read the job's events until they end. Not with `EventSource`, which can neither send a key nor tell why it failed.
 *
 * @param {string} id
 * @param {(job: Job) => void} tell
 * @param {AbortSignal} signal
 * @returns {Promise<boolean>} whether it held and ended well, so that it is worth coming back
 */
async function listen(id, tell, signal) {
  const aborter = new AbortController();
  signal.addEventListener("abort", () => aborter.abort(), { once: true });
  const began = Date.now();
  let timer = setTimeout(() => aborter.abort(), SILENCE_LIMIT_MS);
  isListening = true;
  try {
    const response = await call(`/api/jobs/${id}/events`, { signal: aborter.signal, limit_ms: STREAM_LIMIT_MS });
    if (response.status !== 200 || !response.body) return false;
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let text = ""; ; ) {
      clearTimeout(timer);
      timer = setTimeout(() => aborter.abort(), SILENCE_LIMIT_MS);
      const { done, value } = await reader.read();
      if (done) return Date.now() - began > POLL_MS;
      const events = (text + value).split("\n\n");
      text = events.pop() ?? "";
      for (const job of events.map(jobIn)) if (job) tell(job);
    }
  } catch {
    return false; // asking for the status will tell what is the matter
  } finally {
    clearTimeout(timer);
    isListening = false;
  }
}

/** @param {string} event @returns {Job|null} */
function jobIn(event) {
  const lines = event.split("\n");
  const data = lines.find((line) => line.startsWith("data: "));
  return data && lines.includes("event: status") ? JSON.parse(data.slice(6)) : null;
}

// ---------------------------------------------------------------------- the player

const PEAKS = 480;

/** Draws sound, or what there is while there is none. */
export class Wave {
  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    /** @type {number[]} */
    this.peaks = silence();
    this.done = 0;
    new ResizeObserver(() => this.draw()).observe(canvas);
    canvas.addEventListener("theme", () => this.draw());
  }

  /** @param {number[]} peaks Loudness from 0 to 1. */
  show(peaks) {
    this.peaks = peaks;
    this.draw();
  }

  /** @param {number} share How much of it is in the accent colour. */
  mark(share) {
    this.done = share;
    this.draw();
  }

  draw() {
    const { canvas } = this;
    const scale = devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    const brush = canvas.getContext("2d");
    if (!brush || !width) return;
    canvas.width = width * scale;
    canvas.height = height * scale;
    brush.scale(scale, scale);
    const { color, accentColor } = getComputedStyle(canvas);
    const bars = Math.floor(width / 5);
    for (let bar = 0; bar < bars; bar++) {
      const tall = Math.max(2, loudest(this.peaks, bar / bars, (bar + 1) / bars) * (height - 4));
      brush.fillStyle = (bar + 0.5) / bars <= this.done ? accentColor : color;
      brush.beginPath();
      brush.roundRect(bar * 5 + 1, (height - tall) / 2, 3, tall, 1.5);
      brush.fill();
    }
  }
}

/** @param {number[]} peaks @param {number} from @param {number} to */
function loudest(peaks, from, to) {
  const first = Math.floor(from * peaks.length);
  return Math.max(...peaks.slice(first, Math.max(first + 1, Math.floor(to * peaks.length))));
}

/** A calm ripple, plainly no sound. */
export const silence = () => Array.from({ length: PEAKS }, (_, at) => 0.03 + 0.025 * Math.sin(at / 9) ** 2);

/** @param {ArrayBuffer} bytes @returns {Promise<number[]>} the loudest of each slice, the loudest of all being 1 */
async function peaksOf(bytes) {
  const sound = await new OfflineAudioContext(1, 1, 44_100).decodeAudioData(bytes);
  const samples = sound.getChannelData(0);
  const slice = samples.length / PEAKS;
  const peaks = Array.from({ length: PEAKS }, (_, index) => {
    let peak = 0;
    // Every eighth sample is enough for a picture, and a phone has better things to do.
    for (let at = Math.floor(index * slice); at < (index + 1) * slice; at += 8) peak = Math.max(peak, Math.abs(samples[at]));
    return peak;
  });
  const top = Math.max(...peaks, 1e-6);
  return peaks.map((peak) => peak / top);
}

/** Plays one file, whose picture is the slider to seek with. */
export class Player {
  /** @param {number} duration_s As far as it is known already. */
  constructor(duration_s) {
    this.duration_s = duration_s;
    this.audio = new Audio();
    this.closing = new AbortController();
    this.seek = el("input", { type: "range", class: "seek", min: 0, max: duration_s, step: 0.1, value: 0, "aria-label": "Position" });
    this.button = el("button", { type: "button", class: "play", "aria-label": "Play", disabled: true });
    this.time = el("span", { class: "figure time" });
    const canvas = el("canvas", { class: "wave", "aria-hidden": "true" });
    this.element = el(
      "div",
      { class: "player" },
      el("div", { class: "window" }, canvas, this.seek),
      el("div", { class: "transport" }, this.button, this.time),
    );
    this.wave = new Wave(canvas);
    this.#listen();
    this.#tell();
  }

  /** Fetch the file, draw it and make it ready to play. @param {string} url @throws {Refused|Unreachable} */
  async load(url) {
    const file = await fetchFile(url, this.closing.signal);
    if (this.closing.signal.aborted) return;
    this.address = URL.createObjectURL(file);
    this.audio.src = this.address;
    this.button.disabled = false;
    try {
      this.wave.show(await peaksOf(await file.arrayBuffer()));
    } catch {
      // A format that this browser can perhaps play and cannot take apart; it has no picture then.
    }
  }

  /** Stop, and let the file go. */
  close() {
    this.closing.abort();
    this.audio.pause();
    this.audio.removeAttribute("src");
    if (this.address) URL.revokeObjectURL(this.address);
  }

  #listen() {
    const { audio, seek, button } = this;
    button.addEventListener("click", () => (audio.paused ? this.#play() : audio.pause()));
    seek.addEventListener("input", () => {
      audio.currentTime = Number(seek.value);
      this.#tell();
    });
    for (const each of ["play", "pause", "ended", "timeupdate"]) audio.addEventListener(each, () => this.#tell());
    audio.addEventListener("play", () => this.#animate());
    audio.addEventListener("loadedmetadata", () => {
      if (Number.isFinite(audio.duration)) this.duration_s = audio.duration;
      seek.max = String(this.duration_s);
      this.#tell();
    });
  }

  async #play() {
    try {
      await this.audio.play();
    } catch {
      toast("This browser cannot play that file. It can be downloaded all the same.");
    }
  }

  #animate() {
    if (this.audio.paused) return;
    this.wave.mark(this.audio.currentTime / this.duration_s);
    requestAnimationFrame(() => this.#animate());
  }

  #tell() {
    const { audio, seek, button, time, duration_s } = this;
    const [now, end] = [clock(audio.currentTime), clock(duration_s)];
    seek.value = String(audio.currentTime);
    seek.setAttribute("aria-valuetext", `${now} of ${end}`);
    time.textContent = `${now} / ${end}`;
    button.setAttribute("aria-label", audio.paused ? "Play" : "Pause");
    button.classList.toggle("playing", !audio.paused);
    this.wave.mark(audio.currentTime / duration_s);
  }
}

// ---------------------------------------------------------------------- failures

/**
 * @param {string} title
 * @param {Problem} problem
 * @param {{job?: string, analysis?: string|null, actions?: Node[]}} [more]
 * @returns {HTMLElement}
 */
export function failureCard(title, problem, { job, analysis, actions = [] } = {}) {
  const facts = [
    ["Job", job],
    ["Code", problem.code],
    ["Status", problem.status || null],
    ["Attempts", problem.attempts],
    ["Request", problem.request_id],
  ].filter(([, value]) => value);
  const report = [title, problem.title, problem.detail, ...facts.map(([name, value]) => `${name}: ${value}`)];
  report.push(`Time: ${new Date().toISOString()}`, `Page: ${location.origin}${location.pathname}`);
  const diagnosis = el("div", { class: "analysis" });
  if (analysis) analyse(analysis, diagnosis, report);
  return el(
    "article",
    { class: "failure" },
    el("p", { class: "kicker" }, title),
    el("h3", {}, ...prose(problem.title)),
    el("p", { class: "hint" }, ...prose(problem.hint)),
    problem.retry_after && el("p", {}, `Worth trying again in about ${inWords(problem.retry_after)}.`),
    el(
      "details",
      {},
      el("summary", {}, "Details"),
      problem.detail && el("p", { class: "detail" }, problem.detail),
      problem.errors.length > 0 && el("ul", {}, ...problem.errors.map((each) => el("li", {}, `${each.field} ${each.message}`))),
      el("dl", {}, ...facts.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)])),
    ),
    diagnosis,
    el("div", { class: "actions" }, ...actions, copyButton(() => report.filter(Boolean).join("\n"))),
  );
}

/** @param {string} url @param {HTMLElement} place @param {string[]} report Gets what is found. */
async function analyse(url, place, report) {
  place.replaceChildren(el("p", { class: "muted" }, "Looking for the cause…"));
  try {
    const found = await json(url);
    report.push(`Cause: ${found.error_type} (${found.error_phase}, confidence ${found.confidence})`);
    place.replaceChildren(...diagnosisOf(found));
  } catch (error) {
    const problem = problemIn(error);
    report.push(`Analysis: ${problem.title} ${problem.detail} (request ${problem.request_id})`);
    place.replaceChildren(
      el("h4", {}, "The cause could not be looked for"),
      el("p", {}, `${problem.title} ${problem.detail}`),
      problem.request_id && el("p", { class: "muted" }, "Request ", el("code", {}, problem.request_id)),
    );
  }
}

const FAULTS = {
  request: "Another request can help.",
  service: "Whoever runs this service must act.",
  upstream: "It is up to the music engine.",
};

/** @param {Record<string, any>} found @returns {HTMLElement[]} */
export function diagnosisOf(found) {
  return [
    el("h4", {}, "What probably happened"),
    el("p", {}, ...prose(found.description)),
    el(
      "p",
      { class: "tags" },
      el("span", { class: "tag" }, `kind ${found.error_type}`),
      el("span", { class: "tag" }, `phase ${found.error_phase}`),
      el("span", { class: `tag ${found.confidence}` }, `confidence ${found.confidence}`),
    ),
    el("ul", { class: "advice" }, ...found.suggestions.map((/** @type {string} */ each) => el("li", {}, ...prose(each)))),
    found.fault && el("p", { class: "muted" }, FAULTS[/** @type {keyof typeof FAULTS} */ (found.fault)] ?? ""),
  ].filter(Boolean);
}

/** @param {() => string} text */
function copyButton(text) {
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text());
    } catch {
      copyTheOldWay(text());
    }
    toast("The report is in the clipboard.");
  };
  return el("button", { type: "button", click: copy }, "Copy report");
}

/** For pages that came over plain HTTP, which have no clipboard. @param {string} text */
function copyTheOldWay(text) {
  const area = el("textarea", { class: "hidden", "aria-hidden": "true" });
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

/**
 * Say at the fields what is wrong with them.
 *
 * @param {HTMLFormElement} form
 * @param {{field: string, message: string}[]} errors
 * @returns {boolean} whether all of them have found their field
 */
export function showFieldErrors(form, errors) {
  for (const place of form.querySelectorAll(".field-error")) place.textContent = "";
  for (const field of form.querySelectorAll("[aria-invalid]")) field.removeAttribute("aria-invalid");
  const found = errors.map(({ field, message }) => {
    const [input, place] = [form.elements.namedItem(field), byId(`${field}-error`)];
    if (!(input instanceof HTMLElement) || !place || !form.contains(place)) return null;
    input.setAttribute("aria-invalid", "true");
    place.textContent = `This ${message}.`;
    return input;
  });
  found.find(Boolean)?.focus();
  return found.every(Boolean);
}
