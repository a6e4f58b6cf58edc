/**
 * What all pages use: talking to the API, following jobs, the player, downloads, cards for failures, and the takes of a
 * page with the stage that shows one of them.
 *
 * What the API says is only ever written as text, never as HTML.
 */

/**
 * @typedef {{title: string, detail: string, hint: string, status: number, code: string, retryable: boolean,
 *   request_id: string, errors: {field: string, message: string}[], retry_after?: number, attempts?: number}} Problem
 * @typedef {{id: string, status: "queued"|"running"|"succeeded"|"failed"|"cancelled", message: string,
 *   progress: number|null, queue_position: number|null, attempt: number, max_attempts: number, retryable: boolean,
 *   poll_after_ms: number|null, engine: string, fallback_reason: string|null, request: Record<string, any>,
 *   sections: Section[]|null, created_at: string, finished_at: string|null, expires_at: string, audio_url: string|null, remarks: string[],
 *   error: Problem|null, links: {self: string, events: string, cancel: string|null, analysis: string|null,
 *   remake: string|null}}} Job
 * @typedef {{number: number, name: string, start: number, duration: number, job_id: string|null, status: Job["status"],
 *   message: string, progress: number|null, audio_url: string|null, error: Problem|null}} Section
 * @typedef {{name: string, in_use: boolean, configured: boolean, formats: string[], min_duration: number,
 *   max_duration: number, styles: string[], moods: string[], instruments: {name: string, family: string}[]}} Engine
 * @typedef {{id: string, prompt: string, at: number, asked?: Record<string, any>, gone?: string}} Take What is said of one
 *   that has expired is kept with it.
 */

const POLL_MS = 3000;
const RETRY_MS = 5000;
const LONGEST_RETRY_MS = 60_000; // beyond it a person may decide
const POLLS_BEFORE_GIVING_UP = 5;
const ANSWER_LIMIT_MS = 20_000;
const STREAM_LIMIT_MS = 600_000; // the service ends each after five minutes
const SILENCE_LIMIT_MS = 30_000; // and says something every ten seconds
const SUBMIT_ATTEMPTS = 3;
const SUBMIT_RETRY_MS = 2000;
const PAGE_TITLE = document.title;
export const TRY_AGAIN = "Try again";

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

/** @param {string} text @param {(event: Event) => void} click @param {string} [look] */
export const action = (text, click, look = "") => el("button", { type: "button", class: look, click }, text);

/** Names and values side by side; what is not known is left out. @param {[string, any][]} rows */
export function factList(rows) {
  const known = rows.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return el("dl", { class: "facts" }, ...known.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}

/**
 * Let a button rest while what it asked for is on its way; it keeps the focus.
 *
 * @param {HTMLElement} button
 * @param {string} text What it says meanwhile.
 * @returns {(() => void)|null} what wakes it again; nothing when it rests already
 */
export function rest(button, text) {
  if (button.getAttribute("aria-disabled") === "true") return null;
  const before = button.textContent;
  button.setAttribute("aria-disabled", "true");
  button.textContent = text;
  return () => {
    button.removeAttribute("aria-disabled");
    button.textContent = before;
  };
}

/** The sentence with what stands between backticks as code. @param {string} sentence @returns {(Node|string)[]} */
export function prose(sentence) {
  return sentence.split("`").map((part, index) => (index % 2 ? el("code", {}, part) : part));
}

/** @type {ReturnType<typeof setTimeout>|undefined} */
let announcing;

/** Say something to those who hear the page; emptied first, as nobody is told of a text that stays. @param {string} sentence */
export function announce(sentence) {
  byId("live").textContent = "";
  clearTimeout(announcing);
  announcing = setTimeout(() => (byId("live").textContent = sentence), 50);
}

/** The sentence with what it quotes kept from turning its own words around. @param {string} sentence @returns {(Node|string)[]} */
export function quotes(sentence) {
  const [, before, quoted, after] = /^([^“]*“)(.*)(”[^”]*)$/s.exec(sentence) ?? [];
  return quoted ? [before, el("bdi", {}, quoted), after] : [sentence];
}

const LONG_HEADING = 160;

/** What somebody wrote as a heading; of a long one some lines, and a button for the rest. @param {string} text @returns {HTMLElement[]} */
export function heading(text) {
  const title = el("h3", { dir: "auto" }, text);
  if (text.length <= LONG_HEADING) return [title];
  title.classList.add("clamped");
  const button = action("Show all", () => {
    const isClamped = title.classList.toggle("clamped");
    button.textContent = isClamped ? "Show all" : "Show less";
  }, "quiet");
  return [title, button];
}

/**
 * Tell what was done, with a button that takes it back; it stays until it is used or the next one comes.
 *
 * @param {HTMLElement} place
 * @param {string} sentence
 * @param {() => void} undo
 * @returns {HTMLButtonElement}
 */
export function offerUndo(place, sentence, undo) {
  const button = action("Undo", undo);
  place.replaceChildren(el("p", { class: "notice row-apart" }, el("span", {}, ...quotes(sentence)), button));
  announce(`${sentence} Undo brings it back.`);
  return button;
}

/** Let Ctrl + Enter (⌘ + Enter) in a text of many lines send its form. @param {HTMLFormElement} form */
export function submitByKeys(form) {
  form.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || !(event.target instanceof HTMLTextAreaElement)) return;
    event.preventDefault();
    form.requestSubmit();
  });
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
const timeIn = (seconds) => new Intl.DateTimeFormat(undefined, { timeStyle: "short" }).format(Date.now() + seconds * 1000);

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

/** Let a button choose: first the light that the system has not, then that which it has, then again the system's. @param {HTMLButtonElement} button */
export function offerThemes(button) {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const following = () => {
    const { theme } = document.documentElement.dataset;
    const [own, other] = system.matches ? ["dark", "light"] : ["light", "dark"];
    return theme === undefined ? other : theme === other ? own : "system";
  };
  const tell = () => {
    const next = following();
    button.textContent = { light: "Light", dark: "Dark", system: "As the system" }[next];
    button.setAttribute("aria-label", next === "system" ? "As the system: use its colours" : `Use ${next} colours`);
    for (const canvas of document.querySelectorAll("canvas.wave")) canvas.dispatchEvent(new Event("theme"));
  };
  button.addEventListener("click", () => {
    const next = following();
    if (next === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = next;
    keep(localStore(), "studio.theme", document.documentElement.dataset.theme ?? null);
    tell();
  });
  system.addEventListener("change", tell);
  addEventListener("storage", ({ key, newValue }) => {
    if (key !== "studio.theme") return; // another tab has chosen
    if (newValue === "light" || newValue === "dark") document.documentElement.dataset.theme = newValue;
    else delete document.documentElement.dataset.theme;
    tell();
  });
  tell();
}

// ---------------------------------------------------------------------- storage

/** What the browser's storage did not take: it lasts until the page is left. */
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
  if (memory.has(name)) return memory.get(name);
  try {
    return where?.getItem(name) ?? null;
  } catch {
    return null;
  }
}

/** @param {Storage|null} where @param {string} name @param {string|null} text */
function keep(where, name, text) {
  memory.set(name, text);
  if (!where) return;
  try {
    if (text === null) where.removeItem(name);
    else where.setItem(name, text);
    memory.delete(name);
  } catch {
    // Full, or forbidden: until the page is left, memory has it.
  }
}

/**
 * What was kept, if it is what it should be: an older version may have written it, or anybody.
 *
 * @param {Storage|null} where
 * @param {string} name
 * @param {(found: any) => boolean} isSound
 * @returns {any}
 */
function read(where, name, isSound) {
  try {
    const found = JSON.parse(kept(where, name) ?? "null");
    return isSound(found) ? found : null;
  } catch {
    return null; // not from us
  }
}

/** What this browser was given to keep, by whichever page. @param {string} name @param {(found: any) => boolean} isSound */
export const recall = (name, isSound) => read(localStore(), name, isSound);

/** @param {unknown} found @returns {found is Record<string, any>} */
export const isRecord = (found) => typeof found === "object" && found !== null && !Array.isArray(found);

/** @param {string} name @param {unknown} value */
export const remember = (name, value) => keep(localStore(), name, JSON.stringify(value));

/** Earlier takes: the ids of jobs, newest first. How they stand is asked from the API. */
class History {
  /** @param {string} name @param {(asked: any) => boolean} isAsked Whether that can have been asked for. @param {number} [limit] */
  constructor(name, isAsked, limit = 20) {
    this.name = name;
    this.isAsked = isAsked;
    this.limit = limit;
  }

  /** @returns {Take[]} */
  get takes() {
    const found = recall(this.name, Array.isArray) ?? [];
    return found.filter((/** @type {any} */ each) => this.#isTake(each)).slice(0, this.limit);
  }

  /** @param {any} found */
  #isTake(found) {
    if (!isRecord(found) || typeof found.id !== "string" || typeof found.prompt !== "string") return false;
    if (found.gone !== undefined && typeof found.gone !== "string") return false;
    const isTime = typeof found.at === "number" && !Number.isNaN(new Date(found.at).getTime());
    return isTime && (found.asked === undefined || this.isAsked(found.asked));
  }

  /** @param {Take} take */
  add(take) {
    const others = this.takes.filter((each) => each.id !== take.id);
    remember(this.name, [take, ...others].slice(0, this.limit));
  }

  /** Keep of a take that it is over for good. @param {string} id @param {string} gone What is said of it. */
  mark(id, gone) {
    remember(
      this.name,
      this.takes.map((each) => (each.id === id ? { ...each, gone } : each)),
    );
  }

  /** @param {string} id */
  remove(id) {
    remember(
      this.name,
      this.takes.filter((each) => each.id !== id),
    );
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
  /** @param {string} [detail] What is known of it. */
  constructor(detail = "No answer came: the connection failed, or took too long.") {
    super(detail);
    this.detail = detail;
  }

  /** What a card can say about it. @returns {Problem} */
  get problem() {
    return {
      title: "The server cannot be reached.",
      detail: this.detail,
      hint: "Look whether you are online, then try again.",
      status: 0,
      code: "no-answer",
      retryable: true,
      request_id: "",
      errors: [],
    };
  }
}

/** @type {Promise<string|null>|null} */
let asking = null;
const KEY = "studio.key";

/** Whether a header can carry it. @param {string} text */
const isKey = (text) => /^[\x20-\x7e]+$/.test(text);

/** The key that a person gave this tab. */
function keyHere() {
  const key = kept(tabStore(), KEY);
  return key && isKey(key) ? key : null;
}

const hasKey = () => keyHere() !== null;

/** Let a person say an API key. @param {Problem} why @returns {Promise<string|null>} */
function askForKey(why) {
  const input = el("input", { id: "key", type: "password", autocomplete: "off", spellcheck: "false", "aria-describedby": "key-error" });
  const use = (/** @type {Event} */ event) => {
    event.preventDefault();
    const key = input.value.trim();
    if (!key || isKey(key)) return dialog.close(key);
    byId("key-error").textContent = "This is no key: it holds characters that no key has, such as accents or curly quotes.";
    input.setAttribute("aria-invalid", "true");
    input.focus();
  };
  const dialog = el(
    "dialog",
    { "aria-labelledby": "key-title" },
    el(
      "form",
      { novalidate: true, submit: use },
      el("h2", { id: "key-title" }, "An API key, please"),
      el("p", { class: "muted" }, why.detail || why.title),
      el("label", { for: "key" }, "API key"),
      input,
      el("p", { class: "field-error", id: "key-error", role: "alert" }),
      el("p", { class: "muted" }, "It is kept until this tab is closed."),
      el(
        "div",
        { class: "actions" },
        el("button", { type: "submit", class: "primary" }, "Use this key"),
        action("Not now", () => dialog.close("")),
      ),
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    const done = () => {
      dialog.remove();
      resolve(dialog.returnValue || null);
    };
    dialog.addEventListener("close", done, { once: true });
  });
}

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
 *   limit_ms?: number, isFile?: boolean}} [request] The limit is on the whole answer, but of a file on its beginning.
 * @returns {Promise<Response>}
 * @throws {Refused|Unreachable}
 */
export async function call(path, request = {}) {
  for (;;) {
    const key = keyHere();
    const response = await send(path, key, request);
    if (response.ok) return response;
    const problem = await problemOf(response);
    if (problem.status !== 401) throw new Refused(problem);
    const isOld = key !== keyHere(); // somebody was asked meanwhile
    if (!isOld && !(await newKey(problem))) throw new Refused(problem);
  }
}

/**
 * @param {string} path
 * @param {string|null} key
 * @param {{method?: string, body?: unknown, headers?: Record<string, string>, signal?: AbortSignal,
 *   limit_ms?: number, isFile?: boolean}} request
 */
async function send(path, key, { method = "GET", body, headers = {}, signal, limit_ms = ANSWER_LIMIT_MS, isFile = false }) {
  const aborter = new AbortController();
  const timer = setTimeout(() => aborter.abort(), limit_ms); // the body is to be there by then too; what is complete does not mind
  signal?.addEventListener("abort", () => aborter.abort(), { once: true });
  // Made outside: what cannot be asked is our mistake, and says nothing about the server.
  const request = new Request(path, {
    method,
    headers: {
      ...(key ? { Authorization: `Bearer ${key}` } : {}),
      ...(body === undefined ? {} : { "Content-Type": "application/json" }),
      ...headers,
    },
    body: body === undefined ? undefined : JSON.stringify(body),
    signal: aborter.signal,
  });
  try {
    const response = await fetch(request);
    if (isFile) clearTimeout(timer);
    return response;
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

/**
 * Fetch a file, however long it takes: ten minutes of WAV are 100 MB. Only silence ends it.
 *
 * @param {string} url
 * @param {AbortSignal} [signal]
 * @param {(share: number) => void} [onShare] Hears how much of it is there, where that is known.
 * @returns {Promise<File>} by the name that the service gives it
 */
export async function fetchFile(url, signal, onShare = () => undefined) {
  const aborter = new AbortController();
  signal?.addEventListener("abort", () => aborter.abort(), { once: true });
  const response = await call(url, { limit_ms: SILENCE_LIMIT_MS, isFile: true, signal: aborter.signal });
  const { headers } = response;
  const name = /filename="([^"]+)"/.exec(headers.get("Content-Disposition") ?? "")?.[1];
  const chunks = await chunksOf(response, aborter, onShare);
  return new File(chunks, name ?? "studio", { type: headers.get("Content-Type") ?? "" });
}

/** @param {Response} response @param {AbortController} aborter @param {(share: number) => void} onShare */
async function chunksOf(response, aborter, onShare) {
  const total = Number(response.headers.get("Content-Length"));
  const reader = /** @type {ReadableStream<Uint8Array<ArrayBuffer>>} */ (response.body).getReader();
  const chunks = [];
  for (let size = 0; ; ) {
    const timer = setTimeout(() => aborter.abort(), SILENCE_LIMIT_MS);
    try {
      const { done, value } = await reader.read();
      if (done) return chunks;
      chunks.push(value);
      size += value.length;
    } catch {
      throw new Unreachable(`The file stopped coming after ${(size / 1e6).toFixed(1)} MB.`);
    } finally {
      clearTimeout(timer);
    }
    if (total > 0) onShare(Math.min(1, size / total));
  }
}

/** @typedef {"all"|"takes"|"nothing"} Known What can be had: without a key that is known, not even takes. */

/**
 * Ask what can be asked for, and tell it where both forms have a place for it. Without an answer they work all the same,
 * with fewer suggestions.
 *
 * @param {(engine: Engine) => void} offer What else the page makes of it.
 * @returns {Promise<Known>}
 */
async function loadEngine(offer) {
  byId("engine").textContent = "unknown";
  try {
    const { engines } = await json("/api/engines");
    const engine = engines.find((/** @type {Engine} */ each) => each.in_use);
    if (!engine) return "all";
    byId("engine").textContent = engine.name;
    byId("notice").hidden = engine.configured;
    byId("notice").textContent = `The engine “${engine.name}” is not configured yet: nothing can be generated.`;
    byId("moods").replaceChildren(...engine.moods.map((/** @type {string} */ each) => el("option", { value: each })));
    offer(engine);
    return "all";
  } catch (error) {
    return problemIn(error).status === 401 ? "nothing" : "takes";
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
      forgetSubmission(key);
      return job;
    } catch (error) {
      // With 409 the first of them is still on its way.
      if (error instanceof Refused && error.problem.status < 500 && error.problem.status !== 409) forgetSubmission(key);
      if (!(error instanceof Unreachable) || attempt === SUBMIT_ATTEMPTS) throw error;
      onRetry(attempt + 1, SUBMIT_ATTEMPTS);
      await pause(SUBMIT_RETRY_MS);
    }
  }
}

const SUBMISSIONS = "studio.submissions";
const MAX_SUBMISSIONS = 20;

/** @typedef {{what: string, key: string}} Submission What was asked, and under which key, while no answer has come. */

/** @returns {Submission[]} newest first */
function submissions() {
  const isSubmission = (/** @type {any} */ each) => typeof each?.what === "string" && /^[0-9a-f]{32}$/.test(each.key);
  return (read(tabStore(), SUBMISSIONS, Array.isArray) ?? []).filter(isSubmission);
}

/** @param {Submission[]} open */
const keepSubmissions = (open) => keep(tabStore(), SUBMISSIONS, JSON.stringify(open.slice(0, MAX_SUBMISSIONS)));

/** @param {string} key */
const forgetSubmission = (key) => keepSubmissions(submissions().filter((each) => each.key !== key));

/** @param {string} path @param {unknown} body */
function submissionKey(path, body) {
  const what = JSON.stringify([path, body]);
  const open = submissions();
  const before = open.find((each) => each.what === what);
  if (before) return before.key;
  // Not `randomUUID`, which a page that came over plain HTTP does not have.
  const key = [...crypto.getRandomValues(new Uint8Array(16))].map((each) => each.toString(16).padStart(2, "0")).join("");
  keepSubmissions([{ what, key }, ...open]);
  return key;
}

// ---------------------------------------------------------------------- following a job

/** @param {Job} job */
export const isOver = (job) => !["queued", "running"].includes(job.status);

/** @param {unknown} error */
export const isGone = (error) => error instanceof Refused && [404, 410].includes(error.problem.status);

/**
 * @typedef {{onJob: (job: Job) => void, onTrouble: (failures: number, wait_ms: number) => void, onGone: (problem: Problem) => void,
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
 * @param {boolean} [hasEvents] Whether its events tell all there is to tell.
 */
async function follow(id, watcher, signal, hasEvents = true) {
  let failures = 0;
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
      // A place in the queue moves without an event.
      if (job.status === "running" && hasEvents && !isListening) hasEvents = await listen(id, tell, signal);
      else if (!isDone) await pause(job.poll_after_ms ?? POLL_MS, signal);
      if (isDone) return;
    } catch (error) {
      if (signal.aborted) return;
      const problem = problemIn(error);
      if (isGone(error)) return watcher.onGone(problem);
      failures += 1;
      const wait_ms = Math.max(RETRY_MS, (problem.retry_after ?? 0) * 1000);
      const isTooMuch = failures === POLLS_BEFORE_GIVING_UP || wait_ms > LONGEST_RETRY_MS;
      if (isTooMuch || problem.status === 401) return watcher.onLost(problem);
      watcher.onTrouble(failures, wait_ms);
      await pause(wait_ms, signal);
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
const PICTURE_RATE_HZ = 8000;
/** From here on a step by keys is five seconds instead of one. */
const LONG_S = 120;
/** @type {Record<string, number>} */
const STEPS = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -5, PageUp: 5 };

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
const silence = () => Array.from({ length: PEAKS }, (_, at) => 0.03 + 0.025 * Math.sin(at / 9) ** 2);

/** @param {ArrayBuffer} bytes @returns {Promise<number[]>} the loudest of each slice, the loudest of all being 1 */
async function peaksOf(bytes) {
  // A low rate is enough for a picture: ten minutes at a high one would fill a phone.
  const sound = await new OfflineAudioContext(1, 1, PICTURE_RATE_HZ).decodeAudioData(bytes);
  const samples = sound.getChannelData(0);
  const slice = samples.length / PEAKS;
  const peaks = Array.from({ length: PEAKS }, (_, index) => {
    let peak = 0;
    for (let at = Math.floor(index * slice); at < (index + 1) * slice; at++) peak = Math.max(peak, Math.abs(samples[at]));
    return peak;
  });
  const top = Math.max(...peaks, 1e-6);
  return peaks.map((peak) => peak / top);
}

/** The one that is heard: never two at once. @type {Player|null} */
let sounding = null;

/** Plays one file, whose picture is the slider to seek with. */
export class Player {
  /**
   * @param {number} duration_s As far as it is known already.
   * @param {{name?: string, under?: HTMLElement, onTime?: (seconds: number) => void, onLength?: (seconds: number) => void}} [more]
   *   What it plays, where there are several; what stands between the picture and the button; whom to tell where it is,
   *   and how long it turns out to be.
   */
  constructor(duration_s, { name = "", under, onTime = () => undefined, onLength = () => undefined } = {}) {
    this.duration_s = duration_s;
    this.onTime = onTime;
    this.onLength = onLength;
    this.audio = new Audio();
    this.closing = new AbortController();
    /** @type {(() => Promise<void>)|null} */
    this.pending = null;
    this.suffix = name && ` ${name}`;
    this.loading = "";
    const label = name ? `Position in ${name}` : "Position";
    this.seek = el("input", { type: "range", class: "seek", min: 0, max: duration_s, step: 0.1, value: 0, "aria-label": label });
    this.button = el("button", { type: "button", class: "play", disabled: true });
    this.time = el("span", { class: "figure time" });
    const canvas = el("canvas", { class: "wave", "aria-hidden": "true" });
    const picture = el("div", { class: "window" }, canvas, this.seek);
    const transport = el("div", { class: "transport" }, this.button, this.time);
    // One of several is a line, which begins with its button, for eyes and for the tab key.
    this.element = el("div", { class: "player" }, ...(name ? [transport, picture] : [picture, under, transport]));
    this.wave = new Wave(canvas);
    this.#listen();
    this.#tell();
  }

  /** Fetch the file, draw it and make it ready to play. @param {string} url @throws {Refused|Unreachable} */
  async load(url) {
    const onShare = (/** @type {number} */ share) => this.#tellLoading(` ${Math.floor(share * 100)} %`);
    this.#tellLoading("");
    const file = await fetchFile(url, this.closing.signal, onShare).finally(() => {
      this.loading = "";
      this.#tell();
    });
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

  /** Load nothing before somebody wants to hear it. @param {() => Promise<void>} load */
  loadWhenPlayed(load) {
    this.pending = load;
    this.button.disabled = false;
  }

  /** @param {number} seconds */
  seekTo(seconds) {
    this.audio.currentTime = seconds;
    this.#tell();
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
    seek.addEventListener("input", () => this.seekTo(Number(seek.value)));
    for (const each of ["play", "pause", "ended", "timeupdate"]) audio.addEventListener(each, () => this.#tell());
    audio.addEventListener("play", () => this.#animate());
    audio.addEventListener("loadedmetadata", () => {
      if (Number.isFinite(audio.duration)) this.duration_s = audio.duration;
      seek.max = String(this.duration_s);
      this.onLength(this.duration_s);
      this.#tell();
    });
    seek.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => this.#step(event));
  }

  /** Go on by steps that can be heard; those of the slider are for pointers. @param {KeyboardEvent} event */
  #step(event) {
    const steps = STEPS[event.key];
    if (!steps || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const seconds = this.audio.currentTime + steps * (this.duration_s > LONG_S ? 5 : 1);
    this.seekTo(Math.min(Math.max(seconds, 0), this.duration_s));
  }

  async #play() {
    const { pending } = this;
    this.pending = null;
    await pending?.();
    if (!this.address) {
      this.pending = pending; // whoever loads it has said why it is not there
      return;
    }
    if (sounding !== this) sounding?.audio.pause();
    sounding = this;
    try {
      await this.audio.play();
    } catch (error) {
      // Some browsers want the button pressed once more when loading took its time.
      if (/** @type {Error} */ (error).name === "NotSupportedError") {
        toast("This browser cannot play that file. It can be downloaded all the same.");
      }
    }
  }

  #animate() {
    if (this.audio.paused) return;
    this.wave.mark(this.audio.currentTime / this.duration_s);
    requestAnimationFrame(() => this.#animate());
  }

  /** @param {string} share */
  #tellLoading(share) {
    this.loading = `Loading…${share}`;
    this.time.textContent = this.loading;
  }

  #tell() {
    const { audio, seek, button, time, duration_s } = this;
    const [now, end] = [clock(audio.currentTime), clock(duration_s)];
    seek.value = String(audio.currentTime);
    seek.setAttribute("aria-valuetext", `${now} of ${end}`);
    time.textContent = this.loading || `${now} / ${end}`;
    button.setAttribute("aria-label", (audio.paused ? "Play" : "Pause") + this.suffix);
    button.classList.toggle("playing", !audio.paused);
    this.wave.mark(audio.currentTime / duration_s);
    this.onTime(audio.currentTime);
  }
}

// ---------------------------------------------------------------------- failures

/** @typedef {{engine?: string, request?: unknown, finished_at?: string|null}} About What a report says of a job besides. */

/**
 * @param {string} title
 * @param {Problem} problem
 * @param {{job?: string, analysis?: string|null, actions?: Node[], about?: About}} [more]
 * @returns {HTMLElement}
 */
export function failureCard(title, problem, { job, analysis, actions = [], about = {} } = {}) {
  const facts = [
    ["Job", job],
    ["Code", problem.code],
    ["Status", problem.status || null],
    ["Attempts", problem.attempts],
    ["Request", problem.request_id],
  ].filter(([, value]) => value);
  const more = [
    ...facts,
    ["Engine", about.engine],
    ["Asked", about.request && JSON.stringify(about.request)],
    ["Time", about.finished_at ?? new Date().toISOString()],
    ["Page", location.origin + location.pathname],
  ].filter(([, value]) => value);
  const report = [title, problem.title, problem.detail, problem.hint, ...more.map(([name, value]) => `${name}: ${value}`)];
  const diagnosis = el("div", { class: "analysis" });
  if (analysis) analyse(analysis, diagnosis, report);
  return el(
    "article",
    { class: "failure" },
    el("p", { class: "kicker" }, ...quotes(title)),
    el("h3", {}, ...prose(problem.title)),
    // What to ask of the API is for those who call it: they have it in the answer.
    !problem.hint.includes("POST /") && el("p", { class: "hint" }, ...prose(problem.hint)),
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

/**
 * Say beside what failed that it did, in place of what failed there before.
 *
 * @param {any} beside The card comes before it; what is there already stays.
 * @param {string} title
 * @param {Problem} problem
 * @param {Parameters<typeof failureCard>[2]} [more]
 */
export function tellFailure(beside, title, problem, more) {
  forgetFailure(beside);
  beside.before(el("div", { class: "refused" }, failureCard(title, problem, more)));
  announce(`${title}: ${problem.title}`);
}

/** @param {any} beside What it was told beside. */
export function forgetFailure(beside) {
  if (beside.previousElementSibling?.matches(".refused")) beside.previousElementSibling.remove();
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
      if (!copyTheOldWay(text(), button)) return;
    }
    toast("The report is in the clipboard.");
  };
  const button = action("Copy report", copy);
  return button;
}

/**
 * For pages that came over plain HTTP, which have no clipboard. Where that fails too, the text is shown to be copied by
 * hand.
 *
 * @param {string} text
 * @param {HTMLElement} button
 * @returns {boolean} whether it is copied
 */
function copyTheOldWay(text, button) {
  const row = /** @type {HTMLElement} */ (button.parentElement);
  row.parentElement?.querySelector("textarea.report")?.remove();
  const area = el("textarea", { class: "report", "aria-label": "Report", readonly: true, rows: 8 }, text);
  row.after(area);
  area.select();
  const isCopied = document.execCommand("copy");
  if (isCopied) {
    area.remove();
    button.focus();
  } else {
    toast("The report could not be copied. Its text is selected: copy it from there.");
  }
  return isCopied;
}

/**
 * Load what a player plays, or say why not and offer to try again.
 *
 * @param {Player} player
 * @param {string} url
 * @param {HTMLElement} trouble Where that is said.
 */
export async function load(player, url, trouble) {
  try {
    await player.load(url);
    trouble.replaceChildren();
  } catch (error) {
    const actions = [action(TRY_AGAIN, () => load(player, url, trouble))];
    trouble.replaceChildren(failureCard("The audio could not be loaded", problemIn(error), { actions }));
  }
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
    const input = form.elements.namedItem(field);
    const place = input instanceof HTMLElement && byId(`${input.id}-error`);
    if (!place) return null;
    input.setAttribute("aria-invalid", "true");
    input.closest("details")?.setAttribute("open", "");
    place.textContent = `This ${message}.`;
    return input;
  });
  found.find(Boolean)?.focus();
  return found.every(Boolean);
}

// ---------------------------------------------------------------------- takes and how they stand

/**
 * @typedef {"running"|"result"|"deleted"|"failed"|"cancelled"|"lost"|"gone"} Kind
 * @typedef {{take: Take, state: "asking"|"known"|"trouble"|"lost"|"gone", job: Job|null, problem: Problem|null,
 *   failures: number, wait_ms: number, stop: () => void}} Track
 * @typedef {{element: HTMLElement, update?: (track: Track) => void, close?: () => void}} View
 * @typedef {(track: Track, takes: Takes) => View} MakeView
 */

export const STATUS_WORDS = {
  queued: "waiting",
  running: "in the making",
  succeeded: "ready",
  failed: "failed",
  cancelled: "cancelled",
};

/** @param {Track} track @returns {Kind} */
export function kindOf({ state, job }) {
  if (state === "gone" || state === "lost") return state;
  if (!job || !isOver(job)) return "running";
  if (job.status === "succeeded") return job.audio_url ? "result" : "deleted";
  return job.status === "failed" ? "failed" : "cancelled";
}

/** @param {Track} track */
function standing({ state, job, failures }) {
  if (state === "gone") return "expired";
  if (state === "lost") return "no answer";
  if (state === "trouble") return `no answer (${failures}/${POLLS_BEFORE_GIVING_UP})`;
  return job ? STATUS_WORDS[job.status] : "…";
}

/** @param {Track} track */
function sentenceOf({ state, job, failures, wait_ms, problem }) {
  const wait = wait_ms > RETRY_MS ? ` in ${inWords(wait_ms / 1000)}` : "";
  if (state === "trouble") return `Server issue, retrying${wait}… (${failures}/${POLLS_BEFORE_GIVING_UP})`;
  if (state === "lost") return "The server does not answer.";
  if (state === "gone") return problem?.detail || "This has expired.";
  return job?.message ?? "Asking how it stands…";
}

/** @param {string} text */
const shortened = (text) => (text.length > 60 ? `${text.slice(0, 60)}…` : text);

/** The takes of a page: what its form asks for is followed until it is over, listed, and shown on the stage. */
export class Takes {
  /** How each take of the list stands, as far as it is known. @type {Map<string, Track>} */
  #tracks = new Map();
  /** The take whose end is news. */
  #waitedFor = "";
  /** What the stage shows: of which take, made by what, and what was said of it last.
   * @type {{id: string, make: unknown, view: View, said: string}} */
  #shown = { id: "", make: null, view: { element: document.body }, said: "" };

  /**
   * @param {string} name Of the list in the browser's storage.
   * @param {HTMLFormElement} form
   * @param {Record<Exclude<Kind, "running"|"lost">, MakeView> & {idle: () => View, running?: MakeView}} views How a
   *   take is shown, by how it stands. Where two are the same function, the one view stays and is told.
   * @param {{hasEvents?: boolean, offer?: (engine: Engine) => void, isAsked?: (asked: any) => boolean}} [more] Whether the
   *   events of a job tell all that its views show; what the form makes of the engine; whether what was kept of a take
   *   is what the form asks for.
   */
  constructor(name, form, views, { hasEvents = true, offer = () => undefined, isAsked = isRecord } = {}) {
    this.history = new History(name, isAsked);
    this.form = form;
    this.stage = byId("stage");
    this.views = { running, lost, ...views };
    this.hasEvents = hasEvents;
    this.offer = offer;
    this.knows = /** @type {Known} */ ("nothing");
    /** @type {Promise<void>|null} */
    this.beginning = null;
    this.#show("", "idle", views.idle());
    this.#list();
    addEventListener("online", () => {
      this.begin();
      this.#askAgain(0);
    });
    addEventListener("storage", ({ key }) => {
      if (key === name || key === null) this.#restore(); // another tab has written, or emptied all
    });
  }

  /** Take up where the page was left, as far as that has not been done: whoever hears of the service may ask for it. */
  begin() {
    if (this.knows === "all") return;
    this.beginning ??= this.#begin().finally(() => (this.beginning = null));
    return this.beginning;
  }

  async #begin() {
    this.knows = await loadEngine(this.offer);
    this.#restore();
    const [newest] = this.history.takes;
    if (this.#tracks.has(newest?.id) && this.#shown.make === "idle") this.#put(newest.id);
  }

  /** Ask for the takes that were given up for this reason. @param {number} status Of the problem, 0 where no answer came. */
  #askAgain(status) {
    for (const { take, state, problem, job } of [...this.#tracks.values()]) {
      if (state === "lost" && problem?.status === status) this.#follow(take, job);
    }
  }

  /** Ask how all takes stand that are listed, and no others. */
  #restore() {
    const all = this.history.takes;
    for (const [id, track] of this.#tracks) {
      if (id === this.#shown.id || all.some((take) => take.id === id)) continue;
      track.stop();
      this.#tracks.delete(id);
    }
    // Without a key that is known, nothing is to be had.
    if (this.knows !== "nothing") for (const take of all) if (!this.#tracks.has(take.id)) this.#follow(take);
    this.#list();
  }

  /**
   * Have made what the form asks for, or say why not: at its fields, or on the stage.
   *
   * @param {string} path
   * @param {Record<string, any>} body
   * @param {{prompt: string, asked?: Record<string, any>}} about
   * @param {any} [button] What was pressed, when it was not that of the form.
   */
  async submit(path, body, about, button) {
    const wake = rest(/** @type {HTMLElement} */ (this.form.querySelector("[type=submit]")), "Sending…");
    if (!wake) return; // still on its way
    const wakeToo = button && rest(button, "Sending…");
    try {
      await this.make(path, body, about);
    } catch (error) {
      this.#refuse(problemIn(error), body, (again) => this.submit(path, body, about, again));
    } finally {
      wake();
      wakeToo?.();
    }
  }

  /**
   * Have something made and show it on the stage.
   *
   * @param {string} path
   * @param {unknown} body
   * @param {{prompt: string, asked?: Record<string, any>}} about What the list says of it, and what made it.
   * @throws {Refused|Unreachable}
   */
  async make(path, body, about) {
    const job = await submit(path, body, (attempt, of) => toast(`No answer, sending it again… (${attempt}/${of})`));
    const take = { ...about, id: job.id, at: Date.now() };
    this.history.add(take);
    this.#follow(take, job);
    this.#put(take.id);
    this.stage.scrollIntoView({ block: "nearest" });
  }

  /** Ask anew how a take stands. @param {Take} take */
  check(take) {
    this.#follow(take, this.#tracks.get(take.id)?.job);
    this.#put(take.id);
  }

  /** @param {Take} take @param {HTMLElement} button */
  async cancel(take, button) {
    const url = this.#tracks.get(take.id)?.job?.links.cancel;
    const wake = url && rest(button, "Cancelling…");
    if (!wake) return;
    try {
      await call(url, { method: "DELETE" });
      this.check(take);
    } catch (error) {
      tellFailure(button.closest(".actions"), "It could not be cancelled", problemIn(error));
      wake();
    }
  }

  /** Take it from the list. @param {Take} take */
  drop(take) {
    this.#tracks.get(take.id)?.stop();
    this.#tracks.delete(take.id);
    this.history.remove(take.id);
    if (this.#shown.id === take.id) this.#show("", "idle", this.views.idle());
    this.#list();
  }

  /** Take it from the list because a person says so. @param {Take} take */
  forget(take) {
    this.drop(take);
    toast("Removed from the list.");
    byId("history-title").focus();
  }

  /** @param {Problem} problem @param {unknown} request @param {(button: any) => void} again */
  #refuse(problem, request, again) {
    if (problem.errors.length > 0 && showFieldErrors(this.form, problem.errors)) {
      announce("Some fields cannot be used as they are.");
      return;
    }
    const actions = problem.retryable ? [action(TRY_AGAIN, (event) => again(event.currentTarget), "primary")] : [];
    tellFailure(this.stage.lastElementChild, "It could not be submitted", problem, { actions, about: { request } });
    this.stage.scrollIntoView({ block: "nearest" });
  }

  /** Follow a take until it is over. @param {Take} take @param {Job|null} [job] */
  #follow(take, job = null) {
    this.#tracks.get(take.id)?.stop();
    const aborter = new AbortController();
    /** @type {Track} */
    const track = { take, state: job ? "known" : "asking", job, problem: null, failures: 0, wait_ms: 0, stop: () => aborter.abort() };
    const become = (/** @type {Partial<Track>} */ news) => {
      Object.assign(track, news);
      this.#tellRow(track);
      if (this.#shown.id === take.id) this.#put(take.id);
    };
    this.#tracks.set(take.id, track);
    this.#list();
    if (take.gone !== undefined) return become({ state: "gone", problem: { ...problemOfOurs("", "gone"), detail: take.gone } });
    follow(
      take.id,
      {
        onJob: (job) => {
          become({ state: "known", job, failures: 0 });
          this.begin(); // where the service did not answer before, it does now
          this.#askAgain(401); // there is a key now
        },
        onTrouble: (failures, wait_ms) => become({ state: "trouble", failures, wait_ms }),
        onGone: (problem) => {
          // Of one that is not known, another key may know.
          if (problem.status === 410) this.history.mark(take.id, problem.detail);
          become({ state: "gone", problem });
        },
        onLost: (problem) => become({ state: "lost", problem }),
      },
      aborter.signal,
      this.hasEvents,
    );
  }

  // -------------------------------------------------------------------- the stage

  /** Show how a take stands. @param {string} id */
  #put(id) {
    const track = /** @type {Track} */ (this.#tracks.get(id));
    const kind = kindOf(track);
    const make = this.views[kind];
    if (this.#shown.id !== id || this.#shown.make !== make) this.#show(id, make, make(track, this));
    this.#shown.view.update?.(track);
    const sentence = sentenceOf(track);
    // Not over again what else was said meanwhile.
    if (this.#shown.said !== sentence) announce(`“${shortened(track.take.prompt)}”: ${sentence}`);
    this.#shown.said = sentence;
    this.#tellTitle(track);
  }

  /** Tell those who look at another tab how it goes, and how it went. @param {Track} track */
  #tellTitle({ take, job }) {
    const isRunning = job !== null && !isOver(job);
    const isWaitedFor = isRunning || this.#waitedFor === take.id;
    this.#waitedFor = isWaitedFor ? take.id : "";
    const share = isRunning && job.progress !== null ? ` ${Math.round(job.progress * 100)} %` : "";
    document.title = job && isWaitedFor ? `${STATUS_WORDS[job.status]}${share} – ${PAGE_TITLE}` : PAGE_TITLE;
  }

  /** @param {string} id @param {unknown} make @param {View} view */
  #show(id, make, view) {
    const before = this.#shown;
    const hadFocus = this.stage.contains(document.activeElement);
    before.view.close?.();
    this.#shown = { id, make, view, said: "" };
    this.stage.replaceChildren(view.element);
    if (hadFocus) this.stage.focus({ preventScroll: true });
    for (const each of [before.id, id]) this.#tellRow(this.#tracks.get(each));
  }

  /** @param {Take} take */
  #open(take) {
    if (!this.#tracks.has(take.id)) this.#follow(take);
    forgetFailure(this.stage.lastElementChild);
    this.#put(take.id);
    this.stage.focus({ preventScroll: true });
    this.stage.scrollIntoView({ block: "nearest" });
  }

  // -------------------------------------------------------------------- the list

  #list() {
    const all = this.history.takes;
    byId("no-history").hidden = all.length > 0;
    const list = byId("history");
    for (const row of [...list.children]) if (!all.some((take) => row.id === `take-${take.id}`)) row.remove();
    all.forEach((take, index) => {
      const row = byId(`take-${take.id}`) ?? this.#rowOf(take);
      if (list.children[index] !== row) list.insertBefore(row, list.children[index] ?? null);
      this.#tellRow(this.#tracks.get(take.id));
    });
  }

  /** @param {Take} take */
  #rowOf(take) {
    const when = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" }).format(take.at);
    const open = el(
      "button",
      { type: "button", class: "take", click: () => this.#open(take) },
      el("span", { class: "take-prompt", dir: "auto" }, take.prompt),
      el("span", { class: "take-state" }, "…"),
      el("span", { class: "take-time" }, when),
    );
    const remove = action("Remove", () => this.forget(take), "quiet");
    remove.setAttribute("aria-label", `Remove “${take.prompt}” from the list`);
    return el("li", { id: `take-${take.id}` }, open, remove);
  }

  /** @param {Track} [track] */
  #tellRow(track) {
    const row = track && byId(`take-${track.take.id}`);
    if (!row) return;
    row.dataset.state = track.state === "known" ? (track.job?.status ?? "") : track.state;
    row.querySelector(".take-state").textContent = standing(track);
    if (this.#shown.id === track.take.id) row.querySelector(".take").setAttribute("aria-current", "true");
    else row.querySelector(".take").removeAttribute("aria-current");
  }
}

// ---------------------------------------------------------------------- how a take is shown

/** A sketch of the tape while there is no sound on it. */
function emptyTape() {
  const canvas = el("canvas", { class: "wave", "aria-hidden": "true" });
  return { wave: new Wave(canvas), element: el("div", { class: "window empty" }, canvas) };
}

/** @param {string} sentence @returns {View} */
export function idle(sentence) {
  return { element: el("div", {}, emptyTape().element, el("p", { class: "muted" }, sentence)) };
}

/** @param {Track} track @param {Takes} takes @returns {View} */
export function running({ take }, takes) {
  const tape = emptyTape();
  const message = el("p", { class: "message" });
  const progress = el("progress", { max: 1, "aria-label": "Progress" });
  const figures = el("p", { class: "figure facts" });
  const cancel = action("Cancel", () => takes.cancel(take, cancel));
  let facts = "";
  const tick = () => (figures.textContent = [clock((Date.now() - take.at) / 1000), facts].filter(Boolean).join(" · "));
  const timer = setInterval(tick, 1000);
  return {
    element: el(
      "div",
      {},
      tape.element,
      progress,
      ...heading(take.prompt),
      message,
      figures,
      el("div", { class: "actions" }, cancel),
    ),
    update: (track) => {
      const { job } = track;
      message.textContent = sentenceOf(track);
      message.classList.toggle("trouble", track.state === "trouble");
      if (job?.progress == null) progress.removeAttribute("value");
      else progress.value = job.progress;
      tape.wave.mark(job?.progress ?? 0);
      cancel.hidden = !job?.links.cancel;
      facts = job ? factsOf(job) : "";
      tick();
    },
    close: () => clearInterval(timer),
  };
}

/** @param {Job} job */
function factsOf(job) {
  return [
    job.status === "queued" && job.queue_position !== null && `${job.queue_position} ahead`,
    job.attempt > 1 && `attempt ${job.attempt} of ${job.max_attempts}`,
    job.progress !== null && `${Math.round(job.progress * 100)} %`,
    job.engine,
  ]
    .filter(Boolean)
    .join(" · ");
}

/** @param {string} title @param {Take} take @param {...any} inside @returns {View} */
export function plain(title, take, ...inside) {
  return { element: el("article", { class: "plain" }, el("p", { class: "kicker" }, title), ...heading(take.prompt), ...inside) };
}

/** @param {Track} track @param {Takes} takes */
function lost({ take, problem }, takes) {
  return plain(
    "No answer",
    take,
    el("p", {}, `${problem?.title ?? ""} We have stopped asking, but the job may well be done.`),
    problem?.retry_after && el("p", {}, `Worth asking again in about ${inWords(problem.retry_after)}, at ${timeIn(problem.retry_after)}.`),
    factList([["Job", el("code", {}, take.id)]]),
    el("div", { class: "actions" }, action("Check again", () => takes.check(take), "primary")),
  );
}

/** What could not be done as asked, and who stepped in. @param {Job} job */
export function remarks(job) {
  return [
    job.remarks.length > 0 && el("ul", { class: "remarks", "aria-label": "Remarks" }, ...job.remarks.map((each) => el("li", {}, each))),
    job.fallback_reason &&
      el("p", { class: "notice" }, `Another engine stepped in (${job.engine}), because of: `, el("code", {}, job.fallback_reason)),
  ];
}

/** @param {string} title @param {string} code @returns {Problem} */
const problemOfOurs = (title, code) => ({
  title,
  detail: "",
  hint: "",
  status: 0,
  code,
  retryable: true,
  request_id: "",
  errors: [],
});

/** @param {Job} job */
export const cancelledProblem = (job) => problemOfOurs(job.message, "cancelled");

// ---------------------------------------------------------------------- downloads

const FORMATS = { wav: "WAV", flac: "FLAC", ogg: "OGG", mp3: "MP3", mid: "MIDI notes", stems: "Stems (ZIP)" };

/** @param {string} format */
export const formatName = (format) => FORMATS[/** @type {keyof typeof FORMATS} */ (format)] ?? format.toUpperCase();

/**
 * The file, and what it could be made into.
 *
 * @param {Job} job
 * @param {string[]} formats
 * @param {(format: string) => Promise<Job>} make Has the same made in another format.
 * @param {string} note What that means.
 * @param {AbortSignal} leaving Says when all this leaves the stage.
 */
export function downloads(job, formats, make, note, leaving) {
  const others = formats.filter((format) => format !== job.request.format);
  return el(
    "div",
    { class: "downloads" },
    el("h4", {}, "Download"),
    el("div", { class: "chips" }, fileLink(job), ...others.map((format) => formatButton(job, format, make, leaving))),
    others.length > 0 && el("p", { class: "muted" }, note),
  );
}

/** @param {Job} job */
function fileLink(job) {
  const link = el("a", { class: "button primary", href: job.audio_url, download: "" }, formatName(job.request.format));
  link.setAttribute("aria-label", `Download ${formatName(job.request.format)}`);
  // A link cannot send a key: with one, the file is fetched first.
  link.addEventListener("click", (/** @type {Event} */ event) => {
    if (!hasKey() || link.href.startsWith("blob:")) return;
    event.preventDefault();
    save(job, link);
  });
  return link;
}

/** @param {Job} job @param {HTMLAnchorElement} link */
async function save(job, link) {
  try {
    const file = await fetchFile(/** @type {string} */ (job.audio_url));
    link.href = URL.createObjectURL(file);
    link.download = file.name;
    link.click();
  } catch (error) {
    if (link.parentElement) tellFailure(link.parentElement, "It could not be downloaded", problemIn(error));
  }
}

/** The jobs of other formats, by job and format: who comes back to a take finds them. @type {Map<string, string>} */
const formatJobs = new Map();

/**
 * Has it made in another format, and becomes the link to it.
 *
 * @param {Job} job
 * @param {string} format
 * @param {(format: string) => Promise<Job>} make
 * @param {AbortSignal} leaving
 */
function formatButton(job, format, make, leaving) {
  const name = formatName(format);
  const made = `${job.id} ${format}`;
  const button = el("button", { type: "button", "aria-label": `Make and download ${name}` }, name);
  const go = async (/** @type {boolean} */ isAsked) => {
    const wake = rest(button, `${name}…`);
    if (!wake) return;
    if (isAsked) {
      forgetFailure(button.parentElement);
      announce(`Making ${name}…`);
    }
    const fail = (/** @type {Problem} */ problem) => {
      wake();
      if (!isAsked) return; // it can be asked for again
      if (button.parentElement) tellFailure(button.parentElement, `${name} could not be made`, problem);
    };
    try {
      const id = formatJobs.get(made) ?? (await make(format)).id;
      formatJobs.set(made, id);
      const onGone = (/** @type {Problem} */ problem) => {
        formatJobs.delete(made);
        fail(problem);
      };
      const onJob = (/** @type {Job} */ news) => {
        if (news.audio_url) become(button, news, isAsked);
        else if (isOver(news)) onGone(news.error ?? cancelledProblem(news));
      };
      await follow(id, { onJob, onTrouble: () => undefined, onGone, onLost: fail }, leaving);
    } catch (error) {
      fail(problemIn(error));
    }
  };
  button.addEventListener("click", () => go(true));
  if (formatJobs.has(made)) go(false);
  return button;
}

/** @param {HTMLElement} button @param {Job} job @param {boolean} isAsked Whether somebody waits for the file. */
function become(button, job, isAsked) {
  const link = fileLink(job);
  const hadFocus = button === document.activeElement;
  button.replaceWith(link);
  if (hadFocus) link.focus();
  if (!isAsked) return;
  link.click();
  announce(`${formatName(job.request.format)} is ready.`);
}
