// The page of `mobiedit serve`: it uses the HTTP interface of doc/serve.yaml and nothing else.
"use strict";

const at = (id) => document.getElementById(id);

// ---- the interface ---------------------------------------------------------------------------------------------

class Refusal extends Error {}

async function call(path, body, signal) {
  let answer;
  try {
    answer = await fetch(path, body === undefined ? { signal } : {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    away(true);
    throw Object.assign(new Refusal("The program does not answer."), { unheard: true });
  }
  away(false);
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => ({}));
  throw new Refusal(told.error ? told.error.message : `The program answers with status ${answer.status}.`);
}

const get = async (path) => (await call(path)).json();
const post = async (path, body = {}) => (await call(path, body)).json();

function away(is) {
  at("trouble").hidden = !is;
  at("trouble").textContent = is ? "The program does not answer. If it was closed, start mobiedit serve again and open " +
    "the address that it prints: the edits are kept." : "";
}

// ---- what this tab remembers -----------------------------------------------------------------------------------

// A message of the model has `asking` while it is not whole: after a reload it is asked for again.
const memory = Object.assign({ messages: [], question: "", draft: null }, JSON.parse(sessionStorage.getItem("desk")));
if (memory.draft) memory.draft.also ??= []; // a page of an earlier version may have left it
const remember = () => sessionStorage.setItem("desk", JSON.stringify(memory));

let state = null; // as the program told it last

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes))
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== null && value !== false) made.setAttribute(key, value === true ? "" : value);
  made.append(...children);
  return made;
}

// ---- the chat --------------------------------------------------------------------------------------------------

let asking = null; // an AbortController

function showMessages() {
  at("messages").replaceChildren(...memory.messages.map((message, i) => {
    const mine = message.role === "user";
    const item = element("li", { class: message.role }, element("span", { class: "who" }, mine ? "You" : "Model"),
      element("span", { class: "text" }, message.content));
    if (!mine && !message.asking)
      item.append(element("p", { class: "actions" }, element("button", { type: "button", class: "quiet wrong",
        "aria-label": `That is wrong: ${message.content.slice(0, 80)}`, onclick: () => correct(i) }, "That is wrong")));
    return item;
  }));
}

function addText(message, piece) {
  message.content += piece;
  at("messages").lastElementChild.querySelector(".text").textContent = message.content;
}

async function readLines(answer, onLine) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = ""; ;) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) onLine(JSON.parse(line));
  }
}

// Asks for the last message, which is the model's and empty.
async function answerLast() {
  const message = memory.messages.at(-1);
  const messages = memory.messages.slice(0, -1).map(({ role, content }) => ({ role, content }));
  message.content = "";
  asking = new AbortController();
  showAsking();
  showMessages();
  let trouble = "", cut = false;
  try {
    await readLines(await call("api/chat", { messages, max_tokens: 512 }, asking.signal), (line) => {
      if (line.text) addText(message, line.text);
      if (line.error) trouble = line.error;
    });
  } catch (error) {
    // Also what a reload does to the page that goes: it must not be taken for the end of the answer.
    const stopped = asking.signal.aborted;
    cut = !stopped && (!(error instanceof Refusal) || error.unheard);
    trouble = stopped ? "Stopped." : cut ? "The answer was cut off." : error.message;
  }
  asking = null;
  message.asking = cut;
  if (!message.content && !cut) memory.messages.pop();
  remember();
  showMessages();
  showAsking(trouble || "The model has answered.");
}

function showAsking(text = "The model is answering …") {
  at("answering").textContent = text;
  at("send").disabled = asking !== null;
  at("stop").hidden = asking === null;
}

at("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  const content = at("question").value.trim();
  if (!content || asking) return;
  // What was not answered is asked anew with what is asked now.
  if (memory.messages.at(-1)?.role === "user") memory.messages.pop();
  memory.messages.push({ role: "user", content }, { role: "assistant", content: "", asking: true });
  at("question").value = memory.question = "";
  remember();
  answerLast();
});
at("question").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  at("ask").requestSubmit();
});
at("question").addEventListener("input", () => { memory.question = at("question").value; remember(); });
at("stop").addEventListener("click", () => asking?.abort());
at("clear").addEventListener("click", () => {
  asking?.abort();
  memory.messages = [];
  remember();
  showMessages();
  showAsking("");
  at("question").focus();
});

// ---- the correction --------------------------------------------------------------------------------------------

// memory.draft: { sentence, question, also, cuts, subject, target }. A mark is [first, last] of the sentence's words,
// or null; cuts are places that end a word beside white space; also: the same in other words, as it was typed.

const UNSPACED = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Khmer}\p{Script=Lao}]/u;
const segments = (text) => [...new Intl.Segmenter(undefined, { granularity: "word" }).segment(text)]
  .map((segment) => segment.index);

// The sentence's words, without the punctuation at its end, each with where it stands.
function wordsOf({ sentence, cuts }) {
  const words = [];
  for (const { 0: chunk, index } of sentence.matchAll(/\S+/gu)) {
    const inside = UNSPACED.test(chunk) ? segments(chunk) : [chunk.search(/['’]s$/u)];
    const places = [0, ...inside, chunk.length].map((place) => place + index)
      .concat(cuts.filter((cut) => cut > index && cut < index + chunk.length)).sort((a, b) => a - b);
    for (let i = 0; i + 1 < places.length; i++)
      if (places[i] >= index && places[i] < places[i + 1]) words.push({ from: places[i], to: places[i + 1] });
  }
  const last = words.at(-1);
  if (last && !cuts.includes(last.to))
    last.to -= sentence.slice(last.from, last.to).match(/[.!?。！？…]*$/u)[0].length;
  return words.filter((word) => word.to > word.from);
}

const textOf = (sentence, words, mark) =>
  mark ? sentence.slice(words[mark[0]].from, words[mark[1]].to) : "";

const newDraft = (sentence, question, also = []) => ({ sentence, question, also, cuts: [], subject: null, target: null });

// The words [first, last] of what stands between two places.
function markOf(words, from, to) {
  const first = words.findIndex((word) => word.from >= from), last = words.findLastIndex((word) => word.to <= to);
  return first >= 0 && first <= last ? [first, last] : null;
}

let proposing = 0; // counts what was asked; only the newest answer counts

async function propose(draft) {
  const mine = ++proposing;
  at("marks-status").textContent = "Looking for the subject and the target …";
  let parts = null;
  try {
    parts = await post("api/propose", { text: draft.sentence });
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
  }
  if (mine !== proposing || memory.draft !== draft || draft.subject || draft.target) return;
  if (parts) {
    const subject = parts.before.length, between = subject + parts.subject.length;
    const target = between + parts.between.length, after = target + parts.target.length;
    draft.cuts = [subject, between, target, after];
    const words = wordsOf(draft);
    draft.subject = markOf(words, subject, between);
    draft.target = markOf(words, target, after);
  }
  remember();
  showMarks();
  if (!whyNot()) at("marks-status").textContent = "Proposed; move the marks if that is not meant.";
}

function correct(i) {
  const question = memory.messages[i - 1]?.content ?? "";
  memory.draft = newDraft("", question.slice(0, 1000));
  openDraft();
}

function openDraft(focus = true) {
  const draft = memory.draft;
  remember();
  at("correct").hidden = !draft;
  if (!draft) return;
  at("wrong").hidden = !draft.question;
  at("wrong-question").textContent = draft.question;
  at("sentence").value = draft.sentence;
  showWordings();
  showMarks();
  if (focus) at("sentence").focus();
}

function showMarks() {
  const { sentence, subject, target } = memory.draft;
  const words = wordsOf(memory.draft);
  const inside = (mark, i) => mark && i >= mark[0] && i <= mark[1];
  at("marks").hidden = words.length < 2;
  at("words").replaceChildren(...words.map((word, i) => {
    const role = inside(subject, i) ? "subject" : inside(target, i) ? "target" : "";
    const text = sentence.slice(word.from, word.to);
    return element("button", { type: "button", class: role, "aria-label": role ? `${text}, ${role}` : text,
      onclick: () => pressWord(i) }, text);
  }));
  at("subject-text").textContent = textOf(sentence, words, subject) || "not marked";
  at("target-text").textContent = textOf(sentence, words, target) || "not marked";
  const why = whyNot(), wording = why ? "" : whyNotAlso();
  at("make").disabled = why !== "" || wording !== "" || isBusy();
  at("marks-status").textContent = why;
  if (at("also-status").textContent !== wording) at("also-status").textContent = wording;
}

function whyNot() {
  const { subject, target } = memory.draft;
  if (wordsOf(memory.draft).length < 2) return "Write a sentence.";
  if (!subject || !target) return "Mark the subject and the target.";
  if (subject[1] >= target[0]) return "The subject must stand before the target: put what is right at the end.";
  if (subject[0] === 0 && subject[1] + 1 === target[0]) return "There must be words beside the subject and the target.";
  return "";
}

function setMark(name, mark) {
  proposing++;
  memory.draft[name] = mark;
  remember();
  showMarks();
}

// The first press marks a word alone, the next one reaches from there to another.
function pressWord(i) {
  const name = document.querySelector("input[name=moving]:checked").value;
  const mark = memory.draft[name];
  setMark(name, mark && mark[0] === mark[1] && mark[0] !== i ? [Math.min(mark[0], i), Math.max(mark[1], i)] : [i, i]);
  at("words").children[i].focus();
}

function move(name, end, step) {
  const n = wordsOf(memory.draft).length;
  const mark = [...(memory.draft[name] ?? (name === "subject" ? [0, 0] : [n - 1, n - 1]))];
  if (memory.draft[name]) mark[end] = Math.max(0, Math.min(n - 1, mark[end] + step));
  if (mark[0] <= mark[1]) setMark(name, mark);
}

for (const moves of document.querySelectorAll(".moves")) {
  const name = moves.dataset.mark;
  for (const [end, what] of [[0, "begin"], [1, "end"]])
    for (const [step, where] of [[-1, "earlier"], [1, "later"]])
      moves.append(element("button", { type: "button", "aria-label": `The ${name} shall ${what} a word ${where}`,
        onclick: () => move(name, end, step) }, `${step < 0 ? "◀ " : ""}${what}${step > 0 ? " ▶" : ""}`));
}

// ---- other wordings ----

const MOST_WORDINGS = 16;

const markedText = (name) => textOf(memory.draft.sentence, wordsOf(memory.draft), memory.draft[name]);

// Where the text has the name as words of its own, in the same case or with another first letter; -1: nowhere.
function findName(text, name) {
  const letter = /[\p{L}\p{N}]/u;
  for (let i = 0; i + name.length <= text.length; i++) {
    const found = text.slice(i, i + name.length);
    if (found.slice(1) !== name.slice(1) || found[0].toLowerCase() !== name[0].toLowerCase()) continue;
    if (UNSPACED.test(name) ||
        !letter.test(text.slice(0, i).slice(-1)) && !letter.test(text[i + name.length] ?? "")) return i;
  }
  return -1;
}

// The wording as the interface takes it: the subject in braces, without the target and what ends a sentence behind
// it. Null: the subject is not in it, or nothing else is.
function wordingPrompt(text, subject, target) {
  let prompt = text.trim();
  if (!/[?？]$/u.test(prompt)) {
    const bare = prompt.replace(/[.!。！…]*$/u, "");
    if (bare.endsWith(target)) prompt = bare.slice(0, -target.length).trim();
  }
  if (!/[{}]/.test(prompt)) {
    const at = findName(prompt, subject);
    if (at < 0) return null;
    prompt = `${prompt.slice(0, at)}{${prompt.slice(at, at + subject.length)}}${prompt.slice(at + subject.length)}`;
  }
  return /^\{[^{}]*\}$/.test(prompt) ? null : prompt;
}

// What was typed: "" if that is nothing, null if it cannot be meant.
function wordings() {
  const subject = markedText("subject"), target = markedText("target");
  return memory.draft.also.map((text) => text.trim() && wordingPrompt(text, subject, target));
}

function whyNotAlso() {
  const wrong = wordings().indexOf(null);
  return wrong < 0 ? "" : `Wording ${wrong + 1} must say something about “${markedText("subject")}”, written just so.`;
}

function showWordings() {
  at("also").replaceChildren(...memory.draft.also.map((text, i) => element("li", {},
    element("label", { for: `also-${i}` }, `Wording ${i + 1}`),
    element("span", { class: "row" },
      element("input", { id: `also-${i}`, type: "text", maxlength: 1000, autocomplete: "off", value: text,
        "aria-describedby": "wordings-help", oninput: (event) => {
          memory.draft.also[i] = event.target.value;
          remember();
          showMarks();
        } }),
      element("button", { type: "button", class: "quiet", "aria-label": `Remove wording ${i + 1}`, onclick: () => {
        memory.draft.also.splice(i, 1);
        changeWordings();
        (at(`also-${Math.min(i, memory.draft.also.length - 1)}`) ?? at("add-wording")).focus();
      } }, "Remove")))));
  at("add-wording").disabled = memory.draft.also.length >= MOST_WORDINGS;
}

function changeWordings() {
  remember();
  showWordings();
  showMarks();
}

at("add-wording").addEventListener("click", () => {
  memory.draft.also.push("");
  changeWordings();
  at(`also-${memory.draft.also.length - 1}`).focus();
});

// ---- the sentence ----

let pause = 0;
at("sentence").addEventListener("input", () => {
  const draft = memory.draft = newDraft(at("sentence").value, memory.draft.question, memory.draft.also);
  proposing++;
  remember();
  showMarks();
  clearTimeout(pause);
  if (wordsOf(draft).length > 2) pause = setTimeout(propose, 700, draft);
});
at("teach").addEventListener("click", () => {
  memory.draft ??= newDraft("", "");
  openDraft();
});
at("close").addEventListener("click", () => { memory.draft = null; openDraft(); at("question").focus(); });

at("edit").addEventListener("submit", async (event) => {
  event.preventDefault();
  const { sentence, question, subject, target } = memory.draft;
  const words = wordsOf(memory.draft);
  if (whyNot() || whyNotAlso()) return;
  const [from, to] = [words[subject[0]].from, words[subject[1]].to];
  const prompt = `${sentence.slice(0, from)}{${sentence.slice(from, to)}}${sentence.slice(to, words[target[0]].from)}`;
  const body = { prompt: prompt.trim(), target: textOf(sentence, words, target),
    also: wordings().filter((text) => text !== ""), place: at("place").value, strict: at("strict").checked };
  if (question) body.question = question;
  if (await begin("api/edits", body)) {
    memory.draft = null;
    openDraft();
  }
});

// ---- jobs ------------------------------------------------------------------------------------------------------

const isBusy = () => state?.job?.state === "running";

async function begin(path, body) {
  try {
    const job = await post(path, body);
    if (state) state.job = job;
    showWork();
    at("work-title").focus();
    look(true);
    return true;
  } catch (error) {
    at("work").hidden = false;
    at("work-error").textContent = error.message;
    return false;
  }
}

const STAGES = { prepare: "Preparing", solve: "Searching", key: "Finding what tells the subject from others",
  verify: "Asking the model", check: "Asking what else has changed" };
const TITLES = { edit: "The edit", undo: "Undo", redo: "Redo", verify: "All edits", merge: "Merge", attach: "Edits" };
const KINDS = { prompt: "The fact", paraphrase: "In other words", chat: "In a chat",
  same_subject: "Other things about it", tell: "An account of it", neighbour: "Others like it" };

function factText(edit) {
  const [, before, subject, after] = /^([^{]*)\{([^}]*)\}(.*)$/su.exec(edit.prompt) ?? [null, edit.prompt, "", ""];
  return [before, element("mark", { class: "subject" }, subject), after, " ",
    element("mark", { class: "target" }, edit.target.trim())];
}

function progressText(job) {
  const p = job.progress;
  if (job.kind !== "edit" && job.kind !== "verify") return "Working …";
  const parts = [STAGES[p.stage] ?? "Working"];
  if (p.stage === "solve" && p.texts) parts.push(`round ${p.round}, said in ${p.said} of ${p.texts} texts`);
  parts.push(`${Math.floor(p.seconds)} s`);
  return parts.join(", ");
}

function outcomeText(job) {
  const r = job.result;
  if (!r) return "Done.";
  const and = [];
  if (r.superseded) and.push(`it takes the place of edit ${r.superseded}`);
  if (r.restored) and.push(`edit ${r.restored} is active again`);
  if (r.solved_anew) and.push(`${r.solved_anew} others were solved anew`);
  if (r.lost) and.push(`${r.lost} others no longer hold`);
  if (r.related) and.push(`${r.related} other edits of the subject may not hold: ask for all of them`);
  const tail = and.length ? `; ${and.join("; ")}` : "";
  if (job.kind === "merge") return `Written to ${r.path}: ${r.kept} of ${r.facts} facts are said by it.`;
  if (job.kind === "verify") return `${r.hold} of ${r.active} active edits hold.`;
  if (job.kind !== "edit") return `Edit ${r.id} is ${job.kind === "undo" ? "undone" : "active again"}${tail}.`;
  if (r.known) return "This edit is active already.";
  if (r.stop === "already said") return "The model says so by itself: it is recorded, and nothing is changed.";
  const doubts = r.high_loss ? " It holds narrowly: other wordings may not say it." : "";
  const name = r.known_as ?
    ` The model knows the subject as “${r.known_as}”: prompts that write it so are as they were.` : "";
  return `The model now says it. Edit ${r.id} is recorded${tail}. Ask in a new conversation: in this one the model ` +
    `reads what it said before.${doubts}${name}`;
}

// What was asked with its answers; held: null if neither answer would be wrong.
const answersList = (checks) => element("ul", { class: "answers" }, ...checks.map(({ prompt, before, after, held }) =>
  element("li", {}, element("p", {}, prompt),
    element("dl", {}, element("dt", {}, "Before"), element("dd", {}, before),
      element("dt", {}, "After"), element("dd", {}, after)),
    held === null ? "" : element("p", { class: held ? "good" : "bad" },
      held ? "✓ as it should be" : "✗ not as it should be"))));

// By kind, each with how many answers are as they should be.
function checksList(checks) {
  const kinds = Object.keys(KINDS).map((kind) => [kind, checks.filter((check) => check.kind === kind)]);
  return [element("h3", {}, "What was asked before and after"), ...kinds.filter(([, asked]) => asked.length > 0)
    .flatMap(([kind, asked]) => {
      const free = kind === "tell"; // any account of the subject may change
      const held = free ? "" : `: ${asked.filter((check) => check.held).length} of ${asked.length} as they should be`;
      return [element("h4", {}, KINDS[kind] + held),
        answersList(free ? asked.map((check) => ({ ...check, held: null })) : asked)];
    })];
}

let shownWork = "";

function showWork() {
  const job = state?.job;
  const what = JSON.stringify(job);
  if (what === shownWork) return;
  shownWork = what;
  at("work").hidden = !job || job.kind === "attach" && job.state !== "failed";
  if (at("work").hidden) return;
  const running = job.state === "running";
  at("work-title").textContent = TITLES[job.kind];
  at("work-fact").replaceChildren(...(job.kind === "edit" ? factText(job.request) : []));
  at("running").hidden = !running;
  at("cancel").hidden = job.kind !== "edit" && job.kind !== "verify" && job.kind !== "merge";
  const status = running ? progressText(job) : job.state === "done" ? outcomeText(job) : "";
  if (at("work-status").textContent !== status) at("work-status").textContent = status;
  const failed = job.state === "failed" ? job.error.message || job.error.kind : "";
  if (at("work-error").textContent !== failed) at("work-error").textContent = failed;
  at("outcome").replaceChildren(...(job.checks && !running ? checksList(job.checks) : []));
  if (memory.draft) showMarks();
}

at("cancel").addEventListener("click", () => post("api/job/cancel").catch(() => {}));

// ---- the ledger ------------------------------------------------------------------------------------------------

let shownEdits = "";
const openChecks = new Set(); // of the edits: whose checks are unfolded

// What the ledger has of an edit beside its prompt; null: it was not asked.
function editChecks(edit) {
  const told = (others, held) => others.map((other) => ({ ...other, held }));
  const others = [...told(edit.others_changed, false), ...told(edit.others_same, true)];
  const summary = [];
  if (edit.chat !== null) summary.push(edit.chat ? "said in a chat too" : "not said in a chat");
  if (others.length) summary.push(`${edit.others_unchanged} of ${others.length} other things unchanged`);
  if (!summary.length) return "";
  if (!others.length) return element("p", { class: "soft" }, `Also asked: ${summary[0]}`);
  return element("details", { open: openChecks.has(edit.id), ontoggle: (event) =>
    event.target.open ? openChecks.add(edit.id) : openChecks.delete(edit.id) },
  element("summary", {}, `Also asked: ${summary.join(", ")}`), answersList(others));
}

function editItem(edit) {
  const active = edit.state === "active";
  const holds = !active ? "" : edit.stop === "already said" ? ", said by the model itself" :
    edit.holds === null ? ", not asked since it changed" : edit.holds ? ", holds" : ", does not hold";
  const by = edit.superseded_by ? ` by edit ${edit.superseded_by}` : "";
  const verb = active ? "Undo" : "Redo";
  return element("li", { class: edit.state }, element("p", {}, ...factText(edit)),
    element("p", { class: "soft" }, `Edit ${edit.id}, ${edit.state}${by}${holds}, ` +
      new Date(edit.created * 1000).toLocaleString()),
    ...(edit.also.length ? [element("p", { class: "soft" }, "In other words: ",
      ...edit.also.flatMap((text, i) => [i ? "; " : "", text.replace(/[{}]/g, "")]))] : []),
    editChecks(edit),
    element("p", { class: "actions" }, element("button", { type: "button", class: "quiet", disabled: isBusy(),
      "aria-label": `${verb} edit ${edit.id}: ${edit.prompt.replace(/[{}]/g, "")} ${edit.target}`,
      onclick: () => begin(`api/edits/${edit.id}/${active ? "undo" : "redo"}`, {}) }, verb)));
}

function showEdits() {
  const what = JSON.stringify([state.edits, isBusy()]);
  if (what === shownEdits) return;
  shownEdits = what;
  const active = state.edits.filter((edit) => edit.state === "active");
  at("no-edits").hidden = state.edits.length > 0;
  at("edits").replaceChildren(...state.edits.map(editItem).reverse());
  at("export").hidden = !active.some((edit) => edit.stop !== "already said");
  at("merge").hidden = at("export").hidden;
  at("verify").hidden = active.length === 0;
  at("repair").hidden = !active.some((edit) => edit.holds === false);
  for (const button of document.querySelectorAll("#verify, #repair, #merge button")) button.disabled = isBusy();
}

at("verify").addEventListener("click", () => begin("api/verify", {}));
at("repair").addEventListener("click", () => begin("api/verify", { repair: true }));
at("merge").addEventListener("submit", (event) => {
  event.preventDefault();
  begin("api/merge", { name: at("merge-name").value });
});

function showUnfinished() {
  const edit = state.unfinished;
  at("unfinished").hidden = !edit;
  at("unfinished-fact").replaceChildren(...(edit ? factText(edit) : []));
}
at("unfinished-make").addEventListener("click", () => begin("api/edits", state.unfinished));
at("unfinished-drop").addEventListener("click", async () => {
  state = await post("api/forget").catch(() => state);
  show();
});

// ---- looking ---------------------------------------------------------------------------------------------------

function show() {
  at("model").textContent = state.model + (state.chat ? "" : " (no chat template: it continues what you write)");
  if (!at("merge-name").value) at("merge-name").value = `${state.model}-edited.gguf`;
  showWork();
  showEdits();
  showUnfinished();
}

let timer = 0;

async function look() {
  clearTimeout(timer);
  try {
    state = await get("api/state");
    show();
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    if (at("trouble").hidden) { at("trouble").hidden = false; at("trouble").textContent = error.message; }
  }
  timer = setTimeout(look, isBusy() ? 500 : document.hidden ? 15000 : 3000);
}

document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
at("question").value = memory.question;
showMessages();
openDraft(false);
look();
if (memory.messages.at(-1)?.asking) answerLast();
