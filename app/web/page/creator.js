/** The creator page: songs made of sections, each of which is made, heard and made again on its own. */

import {
  Player,
  STATUS_WORDS,
  Takes,
  action,
  announce,
  byId,
  clock,
  downloads,
  el,
  factList,
  failureCard,
  forgetFailure,
  formatName,
  heading,
  idle,
  isOver,
  isRecord,
  kindOf,
  load,
  offerThemes,
  offerUndo,
  plain,
  problemIn,
  quotes,
  recall,
  remarks,
  remember,
  rest,
  running,
  showFieldErrors,
  submit,
  submitByKeys,
  tellFailure,
  toast,
} from "./shared.js";

/**
 * @typedef {import("./shared.js").Job} Job
 * @typedef {import("./shared.js").Kind} Kind
 * @typedef {import("./shared.js").MakeView} MakeView
 * @typedef {import("./shared.js").Section} Section
 * @typedef {import("./shared.js").Track} Track
 * @typedef {import("./shared.js").View} View
 * @typedef {Record<string, any> & {sections: Record<string, any>[]}} Song What `POST /api/songs` takes.
 */

const MAX_SECTIONS = 30;
const MIN_SECTION_S = 3;
const MAX_SECTION_S = 120;
const MAX_SONG_S = 600;
/** A longer track is not loaded before somebody wants to hear it: a reload on the road should not cost 100 MB. */
const LOADED_UNASKED_S = 180;
const FORMATS = ["wav", "flac", "ogg", "mp3"];
const KEYS = ["C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B"];
const ENERGIES = ["as it comes", "1 still", "2 gentle", "3 steady", "4 lively", "5 driving"];
const USUAL_ENERGY = 3;
const HUES = 6;
const NUMBERS = ["duration", "energy", "tempo", "seed"];
const DRAFT = "studio.song";

/** @type {Song} */
const EXAMPLE = {
  title: "Rain on the window",
  style: "lo-fi hip hop, warm electric piano",
  tempo: 80,
  key: "A minor",
  format: "wav",
  sections: [
    { name: "Intro", prompt: "sparse, only a few notes", duration: 8, energy: 1 },
    { name: "Verse", duration: 12, energy: 2 },
    { name: "Chorus", prompt: "fuller, with strings", duration: 12, energy: 4 },
    { name: "Outro", duration: 8, energy: 1 },
  ],
};
const NEW_SECTION = { duration: 12 };

const form = /** @type {HTMLFormElement} */ (byId("song"));
const list = byId("strips");

/** @returns {any[]} */
const strips = () => [...list.querySelectorAll(".strip")];

// ---------------------------------------------------------------------- the draft

/** The field of the API that an input is for. @param {{name: string}} input */
const fieldOf = (input) => input.name.replace(/^.*\./, "");

/** What inputs ask for. Whether that can be had is the API's to say. @param {Iterable<any>} inputs */
function asked(inputs) {
  const filled = [...inputs].map((input) => [fieldOf(input), input.value.trim()]).filter(([, text]) => text);
  const isNumber = (/** @type {string} */ name, /** @type {string} */ text) => NUMBERS.includes(name) && Number.isFinite(Number(text));
  return Object.fromEntries(filled.map(([name, text]) => [name, isNumber(name, text) ? Number(text) : text]));
}

/** @param {Element} strip */
const sectionIn = (strip) => asked(strip.querySelectorAll("[name]"));

/** @returns {Song} */
function draft() {
  const inputs = [...form.querySelectorAll("[name]")];
  return {
    ...asked(inputs.filter((input) => !input.closest(".sheet"))),
    sections: strips().map(sectionIn),
  };
}

/** Put a song into the form. @param {Song} song */
function fill(song) {
  list.replaceChildren(...song.sections.map(stripOf));
  for (const input of form.querySelectorAll("[name]")) {
    if (!input.closest(".sheet")) /** @type {any} */ (input).value = song[fieldOf(/** @type {any} */ (input))] ?? "";
  }
  byId("format").value ||= FORMATS[0];
  withdrawUndo();
  showFieldErrors(form, []);
  tellDraft();
}

/** It would undo what was written since. */
const withdrawUndo = () => ["undo", "undo-change"].forEach((id) => byId(id).replaceChildren());

/**
 * Put another song into the form, with a way back to the one that was there.
 *
 * @param {Song} song
 * @param {HTMLElement} place Where the way back is offered.
 * @param {string} sentence
 * @param {HTMLElement} next Where one goes on when it was taken back.
 */
function replaceDraft(song, place, sentence, next) {
  const before = draft();
  const undo = () => {
    fill(before);
    next.focus();
    announce("What was in the form is back.");
  };
  fill(song);
  return offerUndo(place, sentence, undo);
}

/** Keep the draft, and tell it: where each section stands, how long all of them are, and what shape they make. */
function tellDraft() {
  const song = draft();
  remember(DRAFT, song);
  const names = song.sections.map(nameOf);
  const colours = hues(names);
  strips().forEach((strip, index) => tellStrip(strip, index, names[index], colours[index]));
  tellLength(song.sections.reduce((sum, { duration }) => sum + lengthOf(duration), 0));
  byId("shape").replaceChildren(...shape(song.sections, colours));
}

/** @param {number} total_s */
function tellLength(total_s) {
  const over_s = Math.ceil(total_s - MAX_SONG_S);
  const told = over_s > 0 ? `${clock(over_s)} too long` : `${clock(total_s)} of ${clock(MAX_SONG_S)}`;
  byId("sections").textContent = told;
  byId("sections").classList.toggle("trouble", over_s > 0);
  byId("total").value = total_s;
  byId("total").setAttribute("aria-valuetext", told);
}

/** A section's name, or what the API calls it. @param {Record<string, any>} section @param {number} index */
const nameOf = ({ name }, index) => name || `Section ${index + 1}`;

/** @param {unknown} duration */
const lengthOf = (duration) => (typeof duration === "number" && duration > 0 ? duration : 0);

/** Sections of the same name have the same colour: a chorus is seen to come back. @param {string[]} names */
function hues(names) {
  const different = [...new Set(names)];
  return names.map((name) => `hue-${different.indexOf(name) % HUES}`);
}

/**
 * Bars as wide as sections are long, and as high as they are driving.
 *
 * @param {Record<string, any>[]} sections
 * @param {string[]} colours
 */
function shape(sections, colours) {
  return sections.map(({ duration, energy }, index) => {
    const bar = el("span", { class: colours[index] });
    bar.style.flexGrow = String(lengthOf(duration));
    bar.style.height = `${((energy ?? USUAL_ENERGY) / (ENERGIES.length - 1)) * 100}%`;
    return bar;
  });
}

// ---------------------------------------------------------------------- the strips of the draft

let stripsMade = 0;

/** @param {Record<string, any>} section */
function stripOf(section) {
  const id = `strip-${++stripsMade}`;
  const { name, prompt, duration, energy, mood, instruments, seed } = fieldsOf(id, section);
  const strip = el(
    "li",
    { class: "strip", id },
    el(
      "div",
      { role: "group", class: "strip-inside" },
      el(
        "div",
        { class: "strip-head" },
        el("button", { type: "button", class: "handle", "aria-describedby": "moving" }),
        name,
        arrow("↑", "up", () => move(strip, -1)),
        arrow("↓", "down", () => move(strip, 1)),
      ),
      prompt,
      duration,
      energy,
      el("details", {}, el("summary", {}, "Mood, instruments, seed"), el("div", { class: "pair" }, mood, instruments, seed)),
      el(
        "div",
        { class: "strip-foot" },
        action("Duplicate", () => insert(sectionIn(strip), strip), "quiet"),
        action("Remove", () => remove(strip), "quiet"),
      ),
    ),
  );
  listenToMoves(strip);
  return strip;
}

/** @param {string} id Of their strip. @param {Record<string, any>} section */
function fieldsOf(id, section) {
  const field = (/** @type {string} */ name, /** @type {any[]} */ label, /** @type {any} */ input) => {
    const inputId = `${id}-${name}`;
    const errorId = `${inputId}-error`;
    Object.assign(input, { id: inputId, name, value: section[name] ?? "" });
    input.setAttribute("aria-describedby", errorId);
    return el("div", { class: "field" }, el("label", { for: inputId }, ...label), input, el("p", { class: "field-error", id: errorId }));
  };
  const text = (/** @type {Record<string, any>} */ attributes) => el("input", attributes);
  const seconds = { type: "number", min: MIN_SECTION_S, max: MAX_SECTION_S, step: 1 };
  const special = { rows: 1, maxlength: 450, dir: "auto", placeholder: "nothing: as the style says" };
  const energies = ENERGIES.map((each, energy) => el("option", { value: energy || "" }, each));
  const note = (/** @type {string} */ words) => el("span", { class: "optional" }, words);
  return {
    name: field("name", ["Name"], text({ maxlength: 64, dir: "auto", placeholder: "optional" })),
    prompt: field("prompt", ["What is special ", note("optional")], el("textarea", special)),
    duration: field("duration", ["Length ", note("s")], text(seconds)),
    energy: field("energy", ["Energy"], el("select", {}, ...energies)),
    mood: field("mood", ["Mood"], text({ maxlength: 60, dir: "auto", list: "moods", placeholder: "as the song" })),
    instruments: field("instruments", ["Instruments"], text({ dir: "auto", placeholder: "as the song" })),
    seed: field("seed", ["Seed"], text({ inputmode: "numeric", placeholder: "from the song’s" })),
  };
}

/** @param {string} sign @param {string} where @param {() => void} click */
function arrow(sign, where, click) {
  const button = action(sign, click, "arrow");
  button.dataset.label = `Move ${where}`;
  return button;
}

/**
 * Say where a section stands, to people and to the API's errors.
 *
 * @param {any} strip
 * @param {number} index
 * @param {string} name
 * @param {string} colour
 */
function tellStrip(strip, index, name, colour) {
  strip.firstChild.setAttribute("aria-label", `Section ${index + 1}, ${name}`);
  for (const input of strip.querySelectorAll("[name]")) input.name = `sections[${index}].${fieldOf(input)}`;
  const handle = strip.querySelector(".handle");
  handle.className = `handle ${colour}`;
  handle.textContent = String(index + 1);
  handle.setAttribute("aria-label", `Section ${index + 1}: move ${name}`);
  for (const button of strip.querySelectorAll(".arrow")) button.setAttribute("aria-label", `${button.dataset.label}: ${name}`);
  for (const button of strip.querySelectorAll(".strip-foot button")) {
    button.setAttribute("aria-label", `${button.textContent} ${name}`);
  }
}

/** @param {Element} strip */
const nameIn = (strip) => nameOf(sectionIn(strip), strips().indexOf(strip));

/** Add a section and go to it. @param {Record<string, any>} section @param {Element} [after] */
function insert(section, after) {
  if (strips().length === MAX_SECTIONS) {
    toast(`A song has at most ${MAX_SECTIONS} sections.`);
    return;
  }
  const strip = stripOf(section);
  if (after) after.after(strip);
  else list.append(strip);
  tellDraft();
  strip.querySelector("[name$=name]").focus();
  announce(`${nameIn(strip)} is section ${strips().indexOf(strip) + 1} of ${strips().length}.`);
}

/** Take a section out, with a way back in its place. @param {any} strip */
function remove(strip) {
  if (strips().length === 1) {
    toast("A song has at least one section.");
    return;
  }
  const name = nameIn(strip);
  for (const each of list.querySelectorAll(".removed")) each.remove();
  const place = el("li", { class: "removed" });
  const undo = () => {
    place.replaceWith(strip);
    tellDraft();
    strip.querySelector(".handle").focus();
    announce(`${name} is back.`);
  };
  strip.replaceWith(place);
  offerUndo(place, `“${name}” is removed.`, undo).focus();
  tellDraft();
}

/** @param {Element} strip @param {-1|1} step */
function move(strip, step) {
  const all = strips();
  const at = all.indexOf(strip);
  const neighbour = all[at + step];
  const name = nameIn(strip);
  if (!neighbour) {
    announce(`${name} is the ${step < 0 ? "first" : "last"} section already.`);
    return;
  }
  // The neighbour goes around it: what is taken out of a document loses the focus, and the pointer that it holds.
  if (step < 0) strip.after(neighbour);
  else strip.before(neighbour);
  tellDraft();
  strip.scrollIntoView({ block: "nearest" });
  announce(`${name} is section ${at + step + 1} of ${all.length}.`);
}

/** @type {Record<string, -1|1>} */
const STEPS = { ArrowUp: -1, ArrowDown: 1 };

/** Let a section be moved by keys from anywhere inside it, and by a pointer that holds its number. @param {any} strip */
function listenToMoves(strip) {
  const handle = strip.querySelector(".handle");
  strip.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    const step = STEPS[event.key];
    // Alt + ↓ opens a select.
    const isMeant = event.altKey ? !(event.target instanceof HTMLSelectElement) : event.target === handle;
    if (!step || !isMeant) return;
    event.preventDefault();
    move(strip, step);
  });
  handle.addEventListener("pointerdown", (/** @type {PointerEvent} */ event) => {
    if (event.button === 0) {
      handle.setPointerCapture(event.pointerId);
      letEscapePutBack(strip, handle, event.pointerId);
    }
    strip.classList.toggle("dragged", event.button === 0);
  });
  handle.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => {
    if (!handle.hasPointerCapture(event.pointerId)) return;
    const all = strips();
    const at = all.indexOf(strip);
    if (at > 0 && event.clientY < middle(all[at - 1])) move(strip, -1);
    else if (at < all.length - 1 && event.clientY > middle(all[at + 1])) move(strip, 1);
  });
  handle.addEventListener("lostpointercapture", () => strip.classList.remove("dragged"));
}

/** @param {Element} strip @param {HTMLElement} handle What holds the pointer. @param {number} pointerId */
function letEscapePutBack(strip, handle, pointerId) {
  const from = strips().indexOf(strip);
  const onKey = (/** @type {KeyboardEvent} */ event) => {
    if (event.key !== "Escape") return;
    event.preventDefault();
    handle.releasePointerCapture(pointerId);
    for (let at = strips().indexOf(strip); at !== from; at = strips().indexOf(strip)) move(strip, at > from ? -1 : 1);
  };
  addEventListener("keydown", onKey);
  handle.addEventListener("lostpointercapture", () => removeEventListener("keydown", onKey), { once: true });
}

/** @param {Element} strip */
function middle(strip) {
  const { top, height } = strip.getBoundingClientRect();
  return top + height / 2;
}

const startOver = () => replaceDraft(EXAMPLE, byId("undo"), "The example is back in the form.", byId("start-over")).focus();

/** Put an earlier song into the form. @param {Song} song */
function use(song) {
  replaceDraft(song, byId("undo-change"), "The form has this song now.", byId("title"));
  byId("title").focus();
}

// ---------------------------------------------------------------------- having it made

/** @param {Song} song @param {any} [button] What was pressed, when it was not that of the form. */
function create(song, button) {
  const prompt = song.title || song.style || nameOf(song.sections[0], 0);
  return takes.submit("/api/songs", song, { prompt, asked: song }, button);
}

/**
 * Have sections made again: those that are missing, and those of these numbers, with other seeds.
 *
 * @param {Track} track
 * @param {number[]} numbers
 * @param {any} button
 */
async function remake({ take, job }, numbers, button) {
  const { status, links } = /** @type {Job} */ (job);
  const wake = rest(button, "Sending…");
  if (!wake) return;
  const beside = button.closest(".actions");
  forgetFailure(beside);
  try {
    await takes.make(/** @type {string} */ (links.remake), { sections: numbers }, { prompt: take.prompt, asked: take.asked });
    if (status !== "succeeded") takes.drop(take); // the new one has all that it had
  } catch (error) {
    wake();
    tellFailure(beside, "It could not be submitted", problemIn(error));
  }
}

/** What was asked for, in the words of the form; the API tells it with everything spelled out. @param {Track} track */
const songOf = ({ take }) => /** @type {Song} */ (take.asked);

/** The same song again, note for note where the engine can. @param {Track} track @returns {Song} */
function again(track) {
  const song = songOf(track);
  const { seed, sections } = /** @type {Job} */ (track.job).request;
  return { ...song, seed, sections: song.sections.map((section, index) => ({ ...section, seed: sections[index].seed })) };
}

/** The same song with all seeds left open. @param {Song} song @returns {Song} */
function anew({ seed, sections, ...song }) {
  return { ...song, sections: sections.map(({ seed, ...section }) => section) };
}

// ---------------------------------------------------------------------- the song on the stage

/**
 * A song with its sections, whatever its state: what plays goes on playing while the rest is made.
 *
 * @param {Track} _
 * @param {Takes} takes
 * @returns {View}
 */
function song(_, takes) {
  const head = el("div", { class: "head" });
  const parts = new Parts();
  /** @type {View} */
  let view = { element: head };
  /** @type {MakeView|null} */
  let shown = null;
  return {
    element: el("div", {}, head, parts.element),
    update: (track) => {
      const make = HEADS[/** @type {keyof typeof HEADS} */ (kindOf(track))];
      if (make !== shown) {
        const hadFocus = head.contains(document.activeElement);
        view.close?.();
        view = make(track, takes);
        shown = make;
        head.replaceChildren(view.element);
        if (hadFocus) takes.stage.focus({ preventScroll: true });
      }
      view.update?.(track);
      parts.tell(track);
    },
    close: () => {
      view.close?.();
      parts.close();
    },
  };
}

/** @param {Track} track */
function repeats(track) {
  return track.take.asked
    ? [action("Change it", () => use(again(track))), action("Again with other seeds", (event) => create(anew(songOf(track)), event.currentTarget))]
    : [];
}

/** @param {Track} track @returns {View} */
function result(track) {
  const job = /** @type {Job} */ (track.job);
  const sections = sectionsOf(job);
  const timeline = new Timeline(sections, (seconds) => player.seekTo(seconds));
  const player = new Player(lengthIn(sections), { under: timeline.element, onTime: (seconds) => timeline.tell(seconds) });
  const trouble = el("div", {});
  const element = el(
    "div",
    {},
    player.element,
    ...heading(track.take.prompt),
    facts(job),
    ...remarks(job),
    trouble,
    files(job, player.closing.signal),
    el("div", { class: "actions" }, ...repeats(track)),
  );
  const loaded = () => load(player, /** @type {string} */ (job.audio_url), trouble);
  if (lengthIn(sections) > LOADED_UNASKED_S) player.loadWhenPlayed(loaded);
  else loaded();
  return { element, close: () => player.close() };
}

/** @param {Job} job @returns {Section[]} */
const sectionsOf = (job) => job.sections ?? [];

/** @param {Section[]} sections */
const lengthIn = (sections) => sections.reduce((sum, { duration }) => sum + duration, 0);

/** @param {Job} job */
function facts(job) {
  const { seed, sections } = job.request;
  return factList([
    ["Length", clock(lengthIn(sectionsOf(job)))],
    ["Tempo", sections[0].tempo && `${sections[0].tempo} BPM`],
    ["Seed", seed],
    ["Engine", job.engine],
  ]);
}

/** @param {Job} job @param {AbortSignal} leaving */
function files(job, leaving) {
  const { remake } = job.links;
  const make = (/** @type {string} */ format) => submit(/** @type {string} */ (remake), { format }, () => undefined);
  return downloads(job, remake ? FORMATS : [], make, "Other formats are joined anew from the same sections.", leaving);
}

/** @param {Track} track @returns {View} */
function incomplete(track) {
  const job = /** @type {Job} */ (track.job);
  const missing = sectionsOf(job).filter((section) => !section.audio_url);
  if (missing.length === 0) {
    // All are there, and could not be joined.
    const actions = [tryAgain(track, TRY_TO_JOIN), ...repeats(track)];
    const problem = /** @type {import("./shared.js").Problem} */ (job.error);
    return { element: failureCard(`“${track.take.prompt}” has failed`, problem, { job: job.id, actions, about: job }) };
  }
  const title = job.status === "cancelled" ? "Cancelled" : "Not complete";
  const sentence = job.status === "cancelled" ? "It was stopped before it was done. What was ready is kept." : job.message;
  const actions = el("div", { class: "actions" }, tryAgain(track, tryMissing(missing)), ...repeats(track));
  return plain(title, track.take, el("p", {}, ...quotes(sentence)), actions);
}

const TRY_TO_JOIN = "Try to join them again";

/** @param {Section[]} missing */
function tryMissing(missing) {
  return missing.length === 1 ? "Make the missing section" : `Make the ${missing.length} missing sections`;
}

/** @param {Track} track @param {string} text @param {string} [look] */
function tryAgain(track, text, look = "primary") {
  const button = action(text, () => remake(track, [], button), look);
  return button;
}

/** @param {Track} track @returns {View} */
function deleted(track) {
  const { message } = /** @type {Job} */ (track.job);
  return plain("The audio is gone", track.take, el("p", {}, message), el("div", { class: "actions" }, ...repeats(track)));
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
      take.asked && action("Use it again", () => use(/** @type {Song} */ (take.asked))),
      action("Remove from the list", () => takes.forget(take)),
    ),
  );
}

/** The sections under the picture of the track, each as wide as it is long: a press goes there. */
class Timeline {
  /** @param {Section[]} sections @param {(seconds: number) => void} seek */
  constructor(sections, seek) {
    this.sections = sections;
    const colours = hues(sections.map((section) => section.name));
    this.blocks = sections.map((section, index) => {
      const go = () => {
        seek(section.start);
        announce(`${section.name}, ${clock(section.start)}.`);
      };
      const block = action(section.name, go, `block ${colours[index]}`);
      block.dir = "auto";
      block.title = `${section.name}, ${span(section)}`;
      block.setAttribute("aria-label", block.title);
      return block;
    });
    this.current = -1;
    this.element = el("ol", { class: "timeline", "aria-label": "Sections of the track" }, ...this.blocks.map(inItem));
    this.element.querySelectorAll("li").forEach((/** @type {HTMLElement} */ item, /** @type {number} */ index) => {
      item.style.flexGrow = String(sections[index].duration);
    });
  }

  /** Mark where the track is. @param {number} seconds */
  tell(seconds) {
    const current = this.sections.findLastIndex((section) => section.start <= seconds + 0.01);
    if (current === this.current) return;
    this.current = current;
    this.blocks.forEach((block, index) => {
      if (index === current) block.setAttribute("aria-current", "true");
      else block.removeAttribute("aria-current");
    });
    const item = this.blocks[current]?.parentElement;
    if (item) this.element.scrollLeft = item.offsetLeft - this.element.offsetLeft - this.element.clientWidth / 3;
  }
}

/** @param {Node} inside */
const inItem = (inside) => el("li", {}, inside);

/** @param {Section} section */
const span = ({ start, duration }) => `${clock(start)}–${clock(start + duration)}`;

// ---------------------------------------------------------------------- its sections

/** The sections of a song, each with its own state and sound. */
class Parts {
  constructor() {
    this.list = el("ol", { class: "parts" });
    this.element = el("section", { class: "of-song", "aria-label": "Sections of the song" }, el("h4", {}, "Sections"), this.list);
    this.element.hidden = true;
    /** @type {Part[]} */
    this.parts = [];
  }

  /** @param {Track} track */
  tell(track) {
    if (!track.job) return;
    const sections = sectionsOf(track.job);
    if (this.parts.length === 0) {
      const colours = hues(sections.map((section) => section.name));
      this.parts = sections.map((section, index) => new Part(section, colours[index]));
      this.list.replaceChildren(...this.parts.map((part) => part.element));
      this.element.hidden = false;
    }
    const missing = sections.filter((section) => !section.audio_url);
    sections.forEach((section, index) => this.parts[index].tell(section, track, missing));
  }

  close() {
    for (const part of this.parts) part.player?.close();
  }
}

/** A section of a song: what is said of it, its player or its failure, and what can be done about it. */
class Part {
  /** @param {Section} section @param {string} colour */
  constructor(section, colour) {
    this.state = el("span", { class: "part-state" });
    this.message = el("p", { class: "muted" });
    this.progress = el("progress", { max: 1, "aria-label": `Progress of ${section.name}` });
    this.body = el("div", { class: "part-body" });
    this.actions = el("div", { class: "actions" });
    /** @type {Player|null} */
    this.player = null;
    this.told = "";
    const head = el(
      "div",
      { class: "part-head" },
      el("span", { class: `badge ${colour}`, "aria-hidden": "true" }, section.number),
      el("h5", { dir: "auto" }, section.name),
      el("span", { class: "figure" }, span(section)),
      this.state,
    );
    this.element = el("li", { class: "part" }, head, this.message, this.progress, this.body, this.actions);
  }

  /** @param {Section} section @param {Track} track @param {Section[]} missing */
  tell(section, track, missing) {
    const isRunning = section.status === "running";
    this.element.dataset.state = section.status;
    this.state.textContent = STATUS_WORDS[section.status];
    this.message.textContent = section.message;
    this.message.hidden = section.status === "succeeded" || section.status === "failed";
    this.progress.hidden = !isRunning;
    if (section.progress === null) this.progress.removeAttribute("value");
    else this.progress.value = section.progress;
    const news = [section.job_id, section.status, section.audio_url, track.job?.status].join(" ");
    if (news === this.told) return;
    this.told = news;
    this.#tellSound(section, track);
    this.#offer(section, track, missing);
  }

  /** @param {Section} section @param {Track} track */
  #tellSound(section, track) {
    const { audio_url, error, job_id, name } = section;
    if (audio_url && !this.player) {
      const trouble = el("div", {});
      const player = new Player(section.duration, { name });
      player.loadWhenPlayed(() => load(player, audio_url, trouble));
      this.player = player;
      this.body.replaceChildren(player.element, trouble);
    } else if (error && this.body.childElementCount === 0) {
      const more = { job: job_id ?? "", analysis: job_id && `/api/jobs/${job_id}/analyze-failure`, about: aboutOf(section, track) };
      this.body.replaceChildren(failureCard(`“${name}” has failed`, error, more));
    }
  }

  /** @param {Section} section @param {Track} track @param {Section[]} missing */
  #offer(section, track, missing) {
    const { number, name, audio_url } = section;
    const offer = (/** @type {string} */ text, /** @type {string} */ label) => {
      const button = action(text, () => remake(track, [number], button));
      button.setAttribute("aria-label", label);
      return button;
    };
    /** @type {Node[]} */
    const actions = [];
    if (track.job?.links.remake && audio_url) actions.push(offer("Make again", `Make again, with another seed: ${name}`));
    if (track.job?.links.remake && !audio_url) {
      // The API makes all that is missing, whichever of them is asked for.
      const which = missing.length === 1 ? "this section" : `the ${missing.length} missing sections`;
      actions.push(tryAgain(track, `Try ${which} again`, ""), offer("With another seed", `With another seed: ${name}`));
    }
    if (track.job && !isOver(track.job) && section.error) {
      actions.push(el("p", { class: "muted" }, "It can be tried again when the others are done."));
    }
    this.actions.replaceChildren(...actions);
    this.actions.hidden = actions.length === 0;
  }
}

/** What a report says of a section. @param {Section} section @param {Track} track */
function aboutOf({ number }, { job }) {
  return { engine: job?.engine, request: job?.request.sections[number - 1], finished_at: job?.finished_at };
}

/** @type {Record<Exclude<Kind, "lost"|"gone">, MakeView>} */
const HEADS = { running, result, deleted, failed: incomplete, cancelled: incomplete };

// ---------------------------------------------------------------------- beginning

byId("key-of-song").append(...KEYS.flatMap((tone) => ["major", "minor"].map((mode) => `${tone} ${mode}`)).map(keyOption));
byId("format").append(...FORMATS.map((each) => el("option", { value: each }, formatName(each))));
byId("total").max = MAX_SONG_S;
offerThemes(byId("theme"));
const takes = new Takes(
  "studio.songs",
  form,
  {
    idle: () => idle("The tape is empty. What you create plays here, as a whole and section by section."),
    running: song,
    result: song,
    deleted: song,
    failed: song,
    cancelled: song,
    gone,
  },
  { hasEvents: false, isAsked: isSong }, // events tell of the song, and nothing of what happens inside a section
);
fill(recall(DRAFT, isSong) ?? EXAMPLE);
form.addEventListener("input", () => {
  withdrawUndo();
  tellDraft();
});
submitByKeys(form);
// In one of many names Enter is no wish to have it all made. On `keydown` it would be taken from the suggestions too.
list.addEventListener("keypress", (/** @type {KeyboardEvent} */ event) => {
  if (event.key === "Enter" && event.target instanceof HTMLInputElement) event.preventDefault();
});
form.addEventListener("submit", (event) => {
  event.preventDefault();
  showFieldErrors(form, []);
  create(draft());
});
byId("add").addEventListener("click", () => insert(NEW_SECTION));
byId("start-over").addEventListener("click", startOver);
takes.begin();

/** @param {any} found */
function isSong(found) {
  return isRecord(found) && Array.isArray(found.sections) && found.sections.length > 0 && found.sections.every(isRecord);
}

/** @param {string} key */
function keyOption(key) {
  return el("option", { value: key }, key.replace("#", "♯").replace("b ", "♭ "));
}
