/** The studio page: one piece at a time, and those that were made before. */

import {
  History,
  POLLS_BEFORE_GIVING_UP,
  Player,
  Wave,
  announce,
  byId,
  call,
  clock,
  diagnosisOf,
  el,
  failureCard,
  fetchFile,
  follow,
  hasKey,
  isOver,
  json,
  offerThemes,
  problemIn,
  showFieldErrors,
  submit,
  toast,
  whenKeyIsNeeded,
} from "./shared.js";

/**
 * @typedef {import("./shared.js").Job} Job
 * @typedef {import("./shared.js").Problem} Problem
 * @typedef {import("./shared.js").Take} Take
 * @typedef {{take: Take, state: "asking"|"known"|"trouble"|"lost"|"gone", job: Job|null, problem: Problem|null,
 *   failures: number, stop: () => void}} Track
 * @typedef {{element: HTMLElement, update?: (track: Track) => void, close?: () => void}} View
 * @typedef {{name: string, in_use: boolean, configured: boolean, formats: string[], min_duration: number,
 *   max_duration: number, styles: string[], moods: string[], instruments: {name: string, family: string}[]}} Engine
 */

const EXAMPLES = [
  "lo-fi hip hop, rain on the window",
  "calm piano at dusk",
  "bossa nova in a small café",
  "slow ambient pads, far away",
  "upbeat swing with brass",
];
const FORMATS = { wav: "WAV", flac: "FLAC", ogg: "OGG", mp3: "MP3", mid: "MIDI notes", stems: "Stems (ZIP)" };
const TRY_AGAIN = "Try again";
const SOUNDLESS = ["mid", "stems"];

const form = /** @type {HTMLFormElement} */ (byId("studio"));
const stage = byId("stage");
const takes = new History("studio.history");

/** How each take of the list stands, as far as it is known. @type {Map<string, Track>} */
const tracks = new Map();
/** What the stage shows: of which take, in which shape. @type {{id: string, kind: string, view: View}|null} */
let shown = null;
/** @type {Engine|null} */
let engine = null;

// ---------------------------------------------------------------------- the form

/** @param {string} format */
const formatName = (format) => FORMATS[/** @type {keyof typeof FORMATS} */ (format)] ?? format.toUpperCase();

/** What the form asks for. Whether that can be had is the API's to say. */
function asked() {
  const told = Object.fromEntries([...new FormData(form)].map(([name, text]) => [name, String(text).trim()]));
  const { prompt, seed, duration, ...others } = told;
  const filled = Object.fromEntries(Object.entries(others).filter(([, text]) => text));
  const number = /^\d+$/.test(seed) ? Number(seed) : seed;
  return { prompt, duration: Number(duration), ...filled, ...(seed ? { seed: number } : {}) };
}

/** Put what a take was asked for into the form. @param {Record<string, any>} request */
function fill(request) {
  for (const name of ["prompt", "duration", "mood", "tempo", "seed", "format"]) byId(name).value = request[name] ?? "";
  byId("instruments").value = (request.instruments ?? []).join(", ");
  showFieldErrors(form, []);
  tellForm();
  byId("prompt").focus();
}

function tellForm() {
  const duration = byId("duration");
  byId("duration-value").textContent = `${duration.value} s`;
  duration.setAttribute("aria-valuetext", `${duration.value} seconds`);
  duration.style.setProperty("--share", `${((duration.value - duration.min) / (duration.max - duration.min)) * 100}%`);
  const chosen = instruments();
  for (const each of byId("families").querySelectorAll("button")) {
    each.setAttribute("aria-pressed", String(chosen.includes(each.textContent)));
  }
}

/** @returns {string[]} */
const instruments = () =>
  byId("instruments")
    .value.split(",")
    .map((/** @type {string} */ each) => each.trim())
    .filter(Boolean);

/** @param {string} name */
function toggleInstrument(name) {
  const chosen = instruments();
  const others = chosen.filter((each) => each !== name);
  byId("instruments").value = (others.length < chosen.length ? others : [...chosen, name]).join(", ");
  tellForm();
}

/** @param {string} text @param {() => void} click */
const chip = (text, click) => el("button", { type: "button", class: "chip", click }, text);

function offerExamples() {
  const use = (/** @type {string} */ example) => () => {
    byId("prompt").value = example;
    byId("prompt").focus();
  };
  byId("examples").append(...EXAMPLES.map((each) => chip(each, use(each))));
}

/** Ask what can be asked for. Without an answer the form works all the same, with fewer suggestions. */
async function loadEngine() {
  byId("engine").textContent = "unknown";
  try {
    const { engines } = await json("/api/engines");
    engine = engines.find((/** @type {Engine} */ each) => each.in_use) ?? null;
  } catch (error) {
    return problemIn(error).status !== 401;
  }
  if (engine) offerWhatItCan(engine);
  return true;
}

/** @param {Engine} engine */
function offerWhatItCan(engine) {
  byId("engine").textContent = engine.name;
  byId("notice").hidden = engine.configured;
  byId("notice").textContent = `The engine “${engine.name}” is not configured yet: nothing can be generated.`;
  Object.assign(byId("duration"), { min: engine.min_duration, max: engine.max_duration });
  byId("moods").replaceChildren(...engine.moods.map((each) => el("option", { value: each })));
  byId("format").replaceChildren(...engine.formats.map((each) => el("option", { value: each }, formatName(each))));
  byId("families").replaceChildren(...families(engine));
  byId("players").hidden = engine.instruments.length === 0;
  tellForm();
}

/** @param {Engine} engine */
function families(engine) {
  return [...new Set(engine.instruments.map((each) => each.family))].map((family) =>
    el(
      "div",
      { class: "chips", role: "group", "aria-label": family },
      el("span", { class: "family", "aria-hidden": "true" }, family),
      ...engine.instruments
        .filter((each) => each.family === family)
        .map(({ name }) => chip(name, () => toggleInstrument(name))),
    ),
  );
}

/** @param {SubmitEvent} event */
async function onSubmit(event) {
  event.preventDefault();
  showFieldErrors(form, []);
  await generate(asked());
}

/** Have a piece made and show it on the stage. @param {Record<string, unknown>} body */
async function generate(body) {
  const button = byId("generate");
  if (button.getAttribute("aria-disabled") === "true") return; // still on its way; the button keeps the focus
  button.setAttribute("aria-disabled", "true");
  button.textContent = "Sending…";
  try {
    const job = await submit("/api/jobs", body, (attempt, of) => toast(`No answer, sending it again… (${attempt}/${of})`));
    const take = { id: job.id, prompt: String(body.prompt), at: Date.now() };
    takes.add(take);
    track(take, job);
    put(take.id);
    stage.scrollIntoView({ block: "nearest" });
    if (!engine && (await loadEngine())) restore();
  } catch (error) {
    refuse(problemIn(error), body);
  } finally {
    button.removeAttribute("aria-disabled");
    button.textContent = "Generate";
  }
}

/** @param {Problem} problem @param {Record<string, unknown>} body */
function refuse(problem, body) {
  if (problem.errors.length > 0 && showFieldErrors(form, problem.errors)) {
    announce("Some fields cannot be used as they are.");
    return;
  }
  const actions = problem.retryable ? [action(TRY_AGAIN, () => generate(body), "primary")] : [];
  show("", "refused", { element: failureCard("It could not be submitted", problem, { actions }) });
  announce(problem.title);
}

// ---------------------------------------------------------------------- takes and how they stand

/** Follow a take until it is over. @param {Take} take @param {Job|null} [job] */
function track(take, job = null) {
  tracks.get(take.id)?.stop();
  const aborter = new AbortController();
  /** @type {Track} */
  const found = { take, state: job ? "known" : "asking", job, problem: null, failures: 0, stop: () => aborter.abort() };
  const become = (/** @type {Partial<Track>} */ news) => {
    Object.assign(found, news);
    tell(found);
  };
  tracks.set(take.id, found);
  follow(
    take.id,
    {
      onJob: (job) => become({ state: "known", job, failures: 0 }),
      onTrouble: (failures) => become({ state: "trouble", failures }),
      onGone: (problem) => become({ state: "gone", problem }),
      onLost: (problem) => become({ state: "lost", problem }),
    },
    aborter.signal,
  );
  listTakes();
}

/** @param {Track} track */
function tell(track) {
  listTake(track);
  if (shown?.id === track.take.id) put(track.take.id);
}

/** @param {Track} track */
function standing({ state, job, failures }) {
  if (state === "gone") return "expired";
  if (state === "lost") return "no answer";
  if (state === "trouble") return `no answer (${failures}/${POLLS_BEFORE_GIVING_UP})`;
  if (!job) return "…";
  return { queued: "waiting", running: "in the making", succeeded: "ready", failed: "failed", cancelled: "cancelled" }[job.status];
}

/** Take up where the page was left: every take is asked for, and the newest is on the stage. */
function restore() {
  for (const take of takes.takes) if (!tracks.has(take.id)) track(take);
  const newest = takes.takes[0];
  if (newest && !shown?.id) put(newest.id);
  listTakes();
}

function listTakes() {
  const all = takes.takes;
  byId("no-history").hidden = all.length > 0;
  const list = byId("history");
  for (const row of [...list.children]) if (!all.some((take) => row.id === `take-${take.id}`)) row.remove();
  all.forEach((take, index) => {
    const row = byId(`take-${take.id}`) ?? rowOf(take);
    if (list.children[index] !== row) list.insertBefore(row, list.children[index] ?? null);
    const known = tracks.get(take.id);
    if (known) listTake(known);
  });
}

/** @param {Take} take */
function rowOf(take) {
  const when = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" }).format(take.at);
  const open = el(
    "button",
    { type: "button", class: "take", click: () => openTake(take) },
    el("span", { class: "take-prompt" }, take.prompt),
    el("span", { class: "take-state" }, "…"),
    el("span", { class: "take-time" }, when),
  );
  const label = `Remove “${take.prompt}” from the list`;
  const remove = el("button", { type: "button", class: "quiet", "aria-label": label, click: () => forget(take) }, "Remove");
  return el("li", { id: `take-${take.id}` }, open, remove);
}

/** @param {Track} track */
function listTake(track) {
  const row = byId(`take-${track.take.id}`);
  if (!row) return;
  row.dataset.state = track.state === "known" ? (track.job?.status ?? "") : track.state;
  row.querySelector(".take-state").textContent = standing(track);
  const isShown = shown?.id === track.take.id;
  if (isShown) row.querySelector(".take").setAttribute("aria-current", "true");
  else row.querySelector(".take").removeAttribute("aria-current");
}

/** @param {Take} take */
function openTake(take) {
  if (!tracks.has(take.id)) track(take);
  put(take.id);
  stage.focus({ preventScroll: true });
  stage.scrollIntoView({ block: "nearest" });
}

/** @param {Take} take */
function forget(take) {
  tracks.get(take.id)?.stop();
  tracks.delete(take.id);
  takes.remove(take.id);
  if (shown?.id === take.id) show("", "idle", idle());
  listTakes();
  toast("Removed from the list.");
  byId("history-title").focus();
}

// ---------------------------------------------------------------------- the stage

/** Show how a take stands. @param {string} id */
function put(id) {
  const found = /** @type {Track} */ (tracks.get(id));
  const kind = kindOf(found);
  if (shown?.id !== id || shown.kind !== kind) show(id, kind, VIEWS[kind](found));
  shown?.view.update?.(found);
  announce(sentenceOf(found));
}

/** @param {string} id @param {string} kind @param {View} view */
function show(id, kind, view) {
  const before = shown?.id;
  const hadFocus = stage.contains(document.activeElement);
  shown?.view.close?.();
  shown = { id, kind, view };
  stage.dataset.kind = kind;
  stage.replaceChildren(view.element);
  if (hadFocus) stage.focus({ preventScroll: true });
  for (const each of [before, id]) if (each && tracks.has(each)) listTake(/** @type {Track} */ (tracks.get(each)));
}

/** @param {Track} track @returns {keyof typeof VIEWS} */
function kindOf({ state, job }) {
  if (state === "gone" || state === "lost") return state;
  if (!job || !isOver(job)) return "running";
  if (job.status === "succeeded") return job.audio_url ? "result" : "deleted";
  return job.status === "failed" ? "failed" : "cancelled";
}

/** @param {Track} track */
function sentenceOf({ state, job, failures, problem }) {
  if (state === "trouble") return `Server issue, retrying… (${failures}/${POLLS_BEFORE_GIVING_UP})`;
  if (state === "lost") return "The server does not answer.";
  if (state === "gone") return problem?.detail || "This take has expired.";
  return job?.message ?? "Asking how it stands…";
}

const VIEWS = { running, result, failed, cancelled, deleted, lost, gone };

/** @param {string} text @param {() => void} click @param {string} [look] */
const action = (text, click, look = "") => el("button", { type: "button", class: look, click }, text);

/** The same request in the words of `POST /api/jobs`. @param {Record<string, any>} request */
function again(request) {
  return Object.fromEntries(Object.entries(request).filter(([, value]) => value !== null && value?.length !== 0));
}

/** @param {Job} job */
function anotherSeed(job) {
  const { seed, ...others } = again(job.request);
  return generate(others);
}

/** @param {Job} job @param {string} [same] */
function repeats(job, same = "Same again") {
  return [
    action(same, () => generate(again(job.request)), same === TRY_AGAIN ? "primary" : ""),
    action("Again with another seed", () => anotherSeed(job)),
    action("Change it", () => fill(job.request)),
  ];
}

/** A sketch of the tape while there is no sound on it. */
function emptyTape() {
  const canvas = el("canvas", { class: "wave", "aria-hidden": "true" });
  return { wave: new Wave(canvas), element: el("div", { class: "window empty" }, canvas) };
}

/** @returns {View} */
function idle() {
  const { element } = emptyTape();
  return { element: el("div", {}, element, el("p", { class: "muted" }, "The tape is empty. What you generate plays here.")) };
}

/** @param {Track} track @returns {View} */
function running({ take }) {
  const tape = emptyTape();
  const message = el("p", { class: "message" });
  const progress = el("progress", { max: 1, "aria-label": "Progress" });
  const figures = el("p", { class: "figure facts" });
  const cancel = action("Cancel", () => cancelTake(take, cancel));
  let facts = "";
  const tick = () => (figures.textContent = [clock((Date.now() - take.at) / 1000), facts].filter(Boolean).join(" · "));
  const timer = setInterval(tick, 1000);
  return {
    element: el(
      "div",
      {},
      tape.element,
      progress,
      el("h3", {}, take.prompt),
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

/** @param {Take} take @param {HTMLButtonElement} button */
async function cancelTake(take, button) {
  const url = tracks.get(take.id)?.job?.links.cancel;
  if (!url || button.getAttribute("aria-disabled") === "true") return;
  button.setAttribute("aria-disabled", "true");
  button.textContent = "Cancelling…";
  try {
    await call(url, { method: "DELETE" });
  } catch (error) {
    toast(`It could not be cancelled: ${problemIn(error).title}`);
    button.removeAttribute("aria-disabled");
    button.textContent = "Cancel";
  }
}

/** @param {Track} track @returns {View} */
function result(track) {
  const job = /** @type {Job} */ (track.job);
  const { request } = job;
  const sounds = !SOUNDLESS.includes(request.format);
  const player = sounds ? new Player(request.duration) : null;
  const trouble = el("div", {});
  const element = el(
    "div",
    {},
    player?.element ?? el("p", { class: "notice" }, `${formatName(request.format)}: to be opened elsewhere; there is no sound in it.`),
    el("h3", {}, request.prompt),
    facts(job),
    job.remarks.length > 0 && el("ul", { class: "remarks", "aria-label": "Remarks" }, ...job.remarks.map((each) => el("li", {}, each))),
    job.fallback_reason &&
      el("p", { class: "notice" }, `Another engine stepped in (${job.engine}), because of: `, el("code", {}, job.fallback_reason)),
    trouble,
    downloads(job),
    el("div", { class: "actions" }, ...repeats(job)),
  );
  if (player) load(player, job, trouble);
  return { element, close: () => player?.close() };
}

/** @param {Player} player @param {Job} job @param {HTMLElement} trouble */
async function load(player, job, trouble) {
  try {
    await player.load(/** @type {string} */ (job.audio_url));
    trouble.replaceChildren();
  } catch (error) {
    const actions = [action(TRY_AGAIN, () => load(player, job, trouble))];
    trouble.replaceChildren(failureCard("The audio could not be loaded", problemIn(error), { job: job.id, actions }));
  }
}

/** @param {Job} job */
function facts(job) {
  const { request } = job;
  const rows = [
    ["Seed", request.seed],
    ["Engine", job.engine],
    ["Length", `${request.duration} s`],
    ["Mood", request.mood],
    ["Tempo", request.tempo && `${request.tempo} BPM`],
    ["Instruments", request.instruments.join(", ")],
  ].filter(([, value]) => value !== null && value !== "");
  return el("dl", { class: "facts" }, ...rows.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}

/** The file, and what it could be made into. @param {Job} job */
function downloads(job) {
  const others = (engine?.formats ?? []).filter((format) => format !== job.request.format);
  const isExact = job.engine === "composer" && engine?.name === "composer";
  const note = isExact
    ? "Other formats are made anew from the same seed: the same piece, note for note."
    : "Other formats are made anew with the same seed; this engine may play it differently.";
  return el(
    "div",
    { class: "downloads" },
    el("h4", {}, "Download"),
    el("div", { class: "chips" }, fileLink(job), ...others.map((format) => formatButton(job, format))),
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
    toast(`It could not be downloaded: ${problemIn(error).title}`);
  }
}

/** Makes the piece again in another format, and becomes the link to it. @param {Job} job @param {string} format */
function formatButton(job, format) {
  const name = formatName(format);
  const button = el("button", { type: "button", "aria-label": `Make and download ${name}` }, name);
  const say = (/** @type {string} */ text, /** @type {boolean} */ isBusy) => {
    button.textContent = text;
    button.setAttribute("aria-disabled", String(isBusy));
  };
  const fail = (/** @type {Problem} */ problem) => {
    say(name, false);
    toast(`${name} could not be made: ${problem.title}`);
  };
  button.addEventListener("click", async () => {
    if (button.getAttribute("aria-disabled") === "true") return;
    say(`${name}…`, true);
    announce(`Making ${name}…`);
    try {
      const made = await submit("/api/jobs", { ...again(job.request), format }, () => undefined);
      await follow(
        made.id,
        {
          onJob: (news) => {
            if (news.status === "succeeded") become(button, news);
            else if (isOver(news)) fail(news.error ?? cancelledProblem(news));
          },
          onTrouble: () => undefined,
          onGone: fail,
          onLost: fail,
        },
        new AbortController().signal,
      );
    } catch (error) {
      fail(problemIn(error));
    }
  });
  return button;
}

/** @param {HTMLElement} button @param {Job} job */
function become(button, job) {
  const link = fileLink(job);
  const hadFocus = button === document.activeElement;
  button.replaceWith(link);
  if (hadFocus) link.focus();
  if (link.isConnected) link.click();
  announce(`${formatName(job.request.format)} is ready.`);
}

/** @param {Job} job @returns {Problem} */
const cancelledProblem = (job) => ({
  title: job.message,
  detail: "",
  hint: "",
  status: 0,
  code: "cancelled",
  retryable: true,
  request_id: "",
  errors: [],
});

/** @param {Track} track @returns {View} */
function failed(track) {
  const job = /** @type {Job} */ (track.job);
  const problem = job.error ?? cancelledProblem(job);
  const actions = repeats(job, job.retryable ? TRY_AGAIN : "Same again");
  const title = `“${track.take.prompt}” has failed`;
  return { element: failureCard(title, problem, { job: job.id, analysis: job.links.analysis, actions }) };
}

/** @param {string} title @param {Take} take @param {...any} inside @returns {View} */
function plain(title, take, ...inside) {
  return { element: el("article", { class: "plain" }, el("p", { class: "kicker" }, title), el("h3", {}, take.prompt), ...inside) };
}

/** @param {Track} track */
function cancelled({ job, take }) {
  const { request } = /** @type {Job} */ (job);
  return plain(
    "Cancelled",
    take,
    el("p", {}, "It was stopped before it was done."),
    el("div", { class: "actions" }, action("Same again", () => generate(again(request))), action("Change it", () => fill(request))),
  );
}

/** @param {Track} track */
function deleted({ take, ...track }) {
  const job = /** @type {Job} */ (track.job);
  return plain("The audio is gone", take, el("p", {}, job.message), el("div", { class: "actions" }, ...repeats(job)));
}

/** @param {Track} track */
function lost({ take, problem }) {
  const check = () => {
    track(take);
    put(take.id);
  };
  return plain(
    "No answer",
    take,
    el("p", {}, `${problem?.title ?? ""} We have stopped asking, but the job may well be done.`),
    el("dl", { class: "facts" }, el("div", {}, el("dt", {}, "Job"), el("dd", {}, el("code", {}, take.id)))),
    el("div", { class: "actions" }, action("Check again", check, "primary")),
  );
}

/** @param {Track} track */
function gone({ take, problem }) {
  return plain(
    "Expired",
    take,
    el("p", {}, problem?.detail || problem?.title || ""),
    el(
      "div",
      { class: "actions" },
      action("Use the prompt again", () => fill({ ...asked(), instruments: instruments(), prompt: take.prompt })),
      action("Remove from the list", () => forget(take)),
    ),
  );
}

// ---------------------------------------------------------------------- diagnosing

/** @param {SubmitEvent} event */
async function onDiagnose(event) {
  event.preventDefault();
  const diagnose = /** @type {HTMLFormElement} */ (event.target);
  const place = byId("diagnosis");
  showFieldErrors(diagnose, []);
  place.replaceChildren();
  const { config, mistake } = settingsIn(byId("config").value);
  if (mistake) {
    showFieldErrors(diagnose, [{ field: "config", message: mistake }]);
    return;
  }
  try {
    const found = await json("/api/analyze-failure", { method: "POST", body: { error: byId("error").value, config } });
    place.replaceChildren(el("article", { class: "analysis" }, ...diagnosisOf(found)));
    announce(found.description);
  } catch (error) {
    const problem = problemIn(error);
    if (problem.errors.length > 0 && showFieldErrors(diagnose, problem.errors)) return;
    place.replaceChildren(failureCard("It could not be diagnosed", problem));
    announce(problem.title);
  }
}

/** @param {string} text @returns {{config?: unknown, mistake?: string}} */
function settingsIn(text) {
  if (!text.trim()) return {};
  try {
    return { config: JSON.parse(text) };
  } catch (error) {
    return { mistake: `is not JSON: ${/** @type {Error} */ (error).message}` };
  }
}

// ---------------------------------------------------------------------- the key

/** @param {Problem} why @returns {Promise<string|null>} */
function askForKey(why) {
  const [dialog, input] = [byId("key-dialog"), byId("key")];
  byId("key-why").textContent = why.detail || why.title;
  input.value = "";
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue || null), { once: true });
  });
}

function listenToKeyDialog() {
  const dialog = byId("key-dialog");
  byId("key-form").addEventListener("submit", (/** @type {Event} */ event) => {
    event.preventDefault();
    dialog.close(byId("key").value.trim());
  });
  byId("key-cancel").addEventListener("click", () => dialog.close(""));
}

// ---------------------------------------------------------------------- beginning

async function begin() {
  offerThemes(byId("theme"));
  offerExamples();
  tellForm();
  listTakes();
  show("", "idle", idle());
  form.addEventListener("input", tellForm);
  form.addEventListener("submit", onSubmit);
  byId("diagnose").addEventListener("submit", onDiagnose);
  listenToKeyDialog();
  whenKeyIsNeeded(askForKey);
  if (await loadEngine()) restore();
}

begin();
