/** The studio page: one piece at a time, and those that were made before. */

import {
  Player,
  TRY_AGAIN,
  Takes,
  action,
  announce,
  byId,
  cancelledProblem,
  diagnosisOf,
  downloads,
  el,
  factList,
  failureCard,
  formatName,
  heading,
  idle,
  isRecord,
  json,
  load,
  offerThemes,
  offerUndo,
  plain,
  problemIn,
  recall,
  remarks,
  remember,
  rest,
  showFieldErrors,
  submit,
  submitByKeys,
} from "./shared.js";

/**
 * @typedef {import("./shared.js").Engine} Engine
 * @typedef {import("./shared.js").Job} Job
 * @typedef {import("./shared.js").Track} Track
 * @typedef {import("./shared.js").View} View
 */

const EXAMPLES = [
  "lo-fi hip hop, rain on the window",
  "calm piano at dusk",
  "bossa nova in a small café",
  "slow ambient pads, far away",
  "upbeat swing with brass",
];
const SOUNDLESS = ["mid", "stems"];
const DRAFT = "studio.draft";

const form = /** @type {HTMLFormElement} */ (byId("studio"));
/** @type {Engine|null} */
let engine = null;

// ---------------------------------------------------------------------- the form

/** What the form asks for. Whether that can be had is the API's to say. */
function asked() {
  const told = Object.fromEntries([...new FormData(form)].map(([name, text]) => [name, String(text).trim()]));
  const { prompt, seed, duration, ...others } = told;
  const filled = Object.fromEntries(Object.entries(others).filter(([, text]) => text));
  const number = /^\d+$/.test(seed) ? Number(seed) : seed;
  return { prompt, duration: Number(duration), ...filled, ...(seed ? { seed: number } : {}) };
}

/** What stands in the form, as it stands there. @returns {Record<string, any>} */
const draft = () => Object.fromEntries(new FormData(form));

/** @param {Record<string, any>} texts */
function fill(texts) {
  for (const [name, text] of Object.entries(texts)) {
    const input = form.elements.namedItem(name);
    if (input) /** @type {HTMLInputElement} */ (input).value = String(text ?? "");
  }
  const format = byId("format");
  format.value ||= format.options[0].value; // another engine made the other
  showFieldErrors(form, []);
  tellForm();
}

/** Put what a take was asked for into the form, with a way back. @param {Record<string, any>} request */
function use({ prompt, duration, mood, tempo, seed, format, instruments }) {
  const before = draft();
  const undo = () => {
    fill(before);
    keepDraft();
    byId("undo").replaceChildren();
    byId("prompt").focus();
    announce("What was in the form is back.");
  };
  fill({ prompt, duration, mood, tempo, seed, format, instruments: [instruments ?? []].flat().join(", ") });
  keepDraft();
  offerUndo(byId("undo"), "The form has this take now.", undo);
  byId("prompt").focus();
}

/** For a reload, and for the way to the other page and back. */
const keepDraft = () => remember(DRAFT, draft());

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
  keepDraft();
  tellForm();
}

/** @param {string} text @param {() => void} click */
const chip = (text, click) => el("button", { type: "button", class: "chip", click }, text);

function offerExamples() {
  const use = (/** @type {string} */ example) => () => {
    byId("prompt").focus();
    byId("prompt").select();
    // As if it was typed, so that it can be undone like that.
    if (!document.execCommand("insertText", false, example)) byId("prompt").value = example;
  };
  byId("examples").append(...EXAMPLES.map((each) => chip(each, use(each))));
}

/** @param {Engine} found */
function offerWhatItCan(found) {
  engine = found;
  Object.assign(byId("duration"), { min: engine.min_duration, max: engine.max_duration });
  byId("format").replaceChildren(...engine.formats.map((each) => el("option", { value: each }, formatName(each))));
  byId("families").replaceChildren(...families(engine));
  byId("players").hidden = engine.instruments.length === 0;
  fill(recall(DRAFT, isRecord) ?? {}); // what it could not take before
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

/**
 * Have a piece made and show it on the stage.
 *
 * @param {Record<string, unknown>} body
 * @param {any} [button] What was pressed, when it was not that of the form.
 */
const generate = (body, button) => takes.submit("/api/jobs", body, { prompt: String(body.prompt), asked: body }, button);

// ---------------------------------------------------------------------- the stage

/** The same request in the words of `POST /api/jobs`. @param {Record<string, any>} request */
function again(request) {
  return Object.fromEntries(Object.entries(request).filter(([, value]) => value !== null && value?.length !== 0));
}

/** @param {Job} job @param {any} button */
function anotherSeed(job, button) {
  const { seed, ...others } = again(job.request);
  return generate(others, button);
}

/** @param {Job} job @param {string} [same] */
function repeats(job, same = "Same again") {
  return [
    action(same, (event) => generate(again(job.request), event.currentTarget), same === TRY_AGAIN ? "primary" : ""),
    action("Again with another seed", (event) => anotherSeed(job, event.currentTarget)),
    action("Change it", () => use(job.request)),
  ];
}

/** @param {Track} track @returns {View} */
function result(track) {
  const job = /** @type {Job} */ (track.job);
  const { request } = job;
  const sounds = !SOUNDLESS.includes(request.format);
  const length = el("span", {}, `${request.duration} s`);
  const onLength = (/** @type {number} */ seconds) => {
    const differs = Math.abs(seconds - request.duration) > 0.5;
    if (differs) length.textContent = `${Math.round(seconds)} s (${request.duration} s asked)`;
  };
  const player = sounds ? new Player(request.duration, { onLength }) : null;
  const leaving = new AbortController();
  const trouble = el("div", {});
  const element = el(
    "div",
    {},
    player?.element ?? el("p", { class: "notice" }, `${formatName(request.format)}: to be opened elsewhere; there is no sound in it.`),
    ...heading(request.prompt),
    facts(job, length),
    ...remarks(job),
    trouble,
    files(job, leaving.signal),
    el("div", { class: "actions" }, ...repeats(job)),
  );
  if (player) load(player, /** @type {string} */ (job.audio_url), trouble);
  return { element, close: () => (leaving.abort(), player?.close()) };
}

/** @param {Job} job @param {HTMLElement} length */
function facts({ request, engine }, length) {
  return factList([
    ["Seed", request.seed],
    ["Engine", engine],
    ["Length", length],
    ["Mood", request.mood],
    ["Tempo", request.tempo && `${request.tempo} BPM`],
    ["Instruments", request.instruments.join(", ")],
  ]);
}

/** @param {Job} job @param {AbortSignal} leaving */
function files(job, leaving) {
  const isExact = job.engine === "composer" && engine?.name === "composer";
  const note = isExact
    ? "Other formats are made anew from the same seed: the same piece, note for note."
    : "Other formats are made anew with the same seed; this engine may play it differently.";
  const make = (/** @type {string} */ format) => submit("/api/jobs", { ...again(job.request), format }, () => undefined);
  return downloads(job, engine?.formats ?? [], make, note, leaving);
}

/** @param {Track} track @returns {View} */
function failed(track) {
  const job = /** @type {Job} */ (track.job);
  const problem = job.error ?? cancelledProblem(job);
  const actions = repeats(job, job.retryable ? TRY_AGAIN : "Same again");
  const title = `“${track.take.prompt}” has failed`;
  return { element: failureCard(title, problem, { job: job.id, analysis: job.links.analysis, actions, about: job }) };
}

/** @param {Track} track */
function cancelled({ job, take }) {
  const { request } = /** @type {Job} */ (job);
  return plain(
    "Cancelled",
    take,
    el("p", {}, "It was stopped before it was done."),
    el("div", { class: "actions" }, action("Same again", (event) => generate(again(request), event.currentTarget)), action("Change it", () => use(request))),
  );
}

/** @param {Track} track */
function deleted({ take, ...track }) {
  const job = /** @type {Job} */ (track.job);
  return plain("The audio is gone", take, el("p", {}, job.message), el("div", { class: "actions" }, ...repeats(job)));
}

/** @param {Track} track @param {Takes} takes */
function gone({ take, problem }, takes) {
  return plain(
    "Expired",
    take,
    el("p", {}, problem?.detail || problem?.title || ""),
    el(
      "div",
      { class: "actions" },
      take.asked
        ? action("Use it again", () => use(/** @type {Record<string, any>} */ (take.asked)))
        : action("Use the prompt again", () => use({ ...draft(), prompt: take.prompt })),
      action("Remove from the list", () => takes.forget(take)),
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
  const { config, mistake } = settingsIn(byId("config").value);
  if (mistake) {
    showFieldErrors(diagnose, [{ field: "config", message: mistake }]);
    return;
  }
  const wake = rest(/** @type {HTMLElement} */ (diagnose.querySelector("[type=submit]")), "Diagnosing…");
  if (!wake) return;
  place.replaceChildren();
  try {
    const found = await json("/api/analyze-failure", { method: "POST", body: { error: byId("error").value, config } });
    place.replaceChildren(el("article", { class: "analysis" }, ...diagnosisOf(found)));
    announce(found.description);
  } catch (error) {
    const problem = problemIn(error);
    if (problem.errors.length > 0 && showFieldErrors(diagnose, problem.errors)) return;
    place.replaceChildren(failureCard("It could not be diagnosed", problem));
    announce(problem.title);
  } finally {
    wake();
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

// ---------------------------------------------------------------------- beginning

const takes = new Takes(
  "studio.history",
  form,
  { idle: () => idle("The tape is empty. What you generate plays here."), result, deleted, failed, cancelled, gone },
  { offer: offerWhatItCan },
);
offerThemes(byId("theme"));
offerExamples();
fill(recall(DRAFT, isRecord) ?? {});
form.addEventListener("input", () => {
  byId("undo").replaceChildren(); // it would undo what is being written now
  keepDraft();
  tellForm();
});
form.addEventListener("submit", onSubmit);
byId("diagnose").addEventListener("submit", onDiagnose);
submitByKeys(form);
submitByKeys(byId("diagnose"));
takes.begin();
