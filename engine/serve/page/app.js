// The page of wan-serve: a form for each task, the queue and the finished videos. Everything is asked of the server that sent it.
"use strict";

const $ = (id) => document.getElementById(id);
const TASKS = { t2v: "Text", i2v: "Picture", v2v: "Video", s2v: "Speech" };
const MAIN = ["prompt", "image_url", "audio_url", "video_url", "resolution", "aspect_ratio", "num_frames", "seed"];
const HIDDEN = ["enable_safety_checker", "enable_output_safety_checker"];
const EXPANSION = "enable_prompt_expansion";
const INTERPOLATOR = "interpolator_model";
const INTERPOLATION = [INTERPOLATOR, "num_interpolated_frames", "adjust_fps_for_interpolation"];
// Where these are absent the server's own default holds, which need not be the hosted one.
const OWN = ["acceleration", INTERPOLATOR];
// Fields of WaveSpeed's requests by their names in the form, which is that of the fal endpoints.
const NAMES = { image: "image_url", audio: "audio_url" };
// What the server says of a cancel that changed nothing.
const REFUSED = { ALREADY_COMPLETED: "This job has ended already.", NOT_FOUND: "The server does not know this job." };

// Whether the server lacks what a field needs.
function isHidden(name) {
  if (name === EXPANSION) return !state.setup.expands_prompts;
  if (INTERPOLATION.includes(name)) return !state.setup.interpolators.length;
  const there = (state.setup && state.setup.checks && state.setup.checks[state.task]) || [];
  return HIDDEN.includes(name) && !there.includes(name);
}
const LABELS = { image_url: "Picture", audio_url: "Speech", video_url: "Video", num_frames: "Frames", seed: "Seed (empty: drawn)" };
const RECENT = "wan-serve.recent-prompts";

const state = { setup: null, schemas: {}, task: "t2v", jobs: new Map(), oldest: null, prices: [], events: null };

function el(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in node && name !== "list") node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

function say(text) { $("said").textContent = text; }

// The answer of a call as JSON. Throws an Error whose text is what the server says is wrong.
async function call(method, path, body, headers = {}) {
  const options = { method, headers, credentials: "same-origin" };
  if (body instanceof Blob) options.body = body;
  else if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers["Content-Type"] = "application/json";
  }
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("The server does not answer.");
  }
  const text = await answer.text();
  let json = null;
  try { json = text ? JSON.parse(text) : null; } catch { /* told by the status below */ }
  if (answer.ok) return json;
  if (answer.status === 401 && path !== "/page/session") show(null);
  const detail = json && json.detail;
  if (Array.isArray(detail)) throw new Error(detail.map((one) => `${one.loc.at(-1)}: ${one.msg}`).join("\n"));
  throw new Error(detail || (json && REFUSED[json.status]) || `The server answered ${answer.status}.`);
}

// --- form

function schemaOf(task) { return state.schemas[task]; }

function labelOf(name) {
  const text = LABELS[name] || name.replace(/_/g, " ").replace(/ 2$/, " 2 (low noise)");
  return text[0].toUpperCase() + text.slice(1);
}

function typeOf(field) {
  if (field.type) return Array.isArray(field.type) ? field.type.find((one) => one !== "null") : field.type;
  const any = (field.anyOf || field.oneOf || []).find((one) => one.type !== "null");
  return any ? any.type : "string";
}

// The choices of a field, without interpolators that the server has no weights of.
function wordsOf(name, field) {
  return field.enum.filter((word) => name !== INTERPOLATOR || word === "none" || state.setup.interpolators.includes(word));
}

function helpId(name) { return `help-${name}`; }

function fieldNode(name, field, required) {
  const id = `field-${name}`;
  const help = el("p", { id: helpId(name), className: "help" }, field.description || "");
  if (name.endsWith("_url")) return mediaNode(name, field, required, help);
  const type = typeOf(field);
  let input;
  if (field.enum) {
    const own = OWN.includes(name);
    input = el("select", { id, name }, ...(own ? [el("option", { value: "" }, "The server's default")] : []),
      ...wordsOf(name, field).map((word) => el("option", { value: word, selected: !own && word === field.default }, word)));
  } else if (type === "boolean") {
    input = el("input", { id, name, type: "checkbox", checked: field.default === true });
    input.setAttribute("aria-describedby", helpId(name));
    return el("div", {}, el("label", { className: "check", htmlFor: id }, input, labelOf(name)), help);
  } else if (type === "integer" || type === "number") {
    input = el("input", { id, name, type: "number", value: field.default ?? "", step: field.multipleOf || (type === "integer" ? 1 : "any") });
    if (field.minimum !== undefined) input.min = field.minimum;
    if (field.maximum !== undefined) input.max = field.maximum;
    if (field.minimum !== undefined) help.append(` From ${field.minimum} to ${field.maximum}.`);
  } else if (name.includes("prompt")) {
    input = el("textarea", { id, name, required, value: field.default || "" });
  } else {
    input = el("input", { id, name, required, value: field.default || "" });
  }
  input.setAttribute("aria-describedby", helpId(name));
  const node = el("div", {}, el("label", { htmlFor: id }, labelOf(name)), input);
  if (name === "prompt") node.append(recentNode(input));
  node.append(help);
  return node;
}

// A file that is dropped or chosen, or an address that is typed.
function mediaNode(name, field, required, help) {
  const accept = { image_url: "image/*", audio_url: "audio/*", video_url: "video/*" }[name] || "";
  const file = el("input", { type: "file", id: `file-${name}`, accept });
  file.setAttribute("aria-describedby", helpId(name));
  const url = el("input", { id: `field-${name}`, name, required, placeholder: "https://…" });
  const shown = el("div", { id: `shown-${name}` });
  const drop = el("div", { className: "drop" }, file, el("label", { htmlFor: url.id, className: "help" }, "or an address"), url, shown);
  drop.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    if (event.dataTransfer.files.length) take(event.dataTransfer.files[0], url, shown);
  });
  file.addEventListener("change", () => { if (file.files.length) take(file.files[0], url, shown); });
  url.addEventListener("change", () => shown.replaceChildren());
  return el("div", {}, el("label", { htmlFor: file.id }, labelOf(name)), drop, help);
}

async function take(file, url, shown) {
  shown.textContent = `Sending ${file.name}…`;
  try {
    const headers = { "Content-Type": file.type || "application/octet-stream", "X-Fal-File-Name": encodeURIComponent(file.name) };
    const kept = await call("POST", "/files/upload", file, headers);
    url.value = kept.access_url;
    const kind = file.type.split("/")[0];
    const media = kind === "image" ? el("img", { alt: file.name }) : kind === "video" || kind === "audio" ? el(kind, { controls: true, muted: true }) : el("span");
    if (media.src !== undefined) media.src = new URL(kept.access_url).pathname;
    shown.replaceChildren(`${file.name} `, media);
    say(`${file.name} was sent.`);
  } catch (error) {
    shown.replaceChildren(el("span", { className: "error" }, error.message));
  }
}

function recentPrompts() {
  try { return JSON.parse(localStorage.getItem(RECENT)) || []; } catch { return []; }
}

function keepPrompt(prompt) {
  if (!prompt) return;
  const list = [prompt, ...recentPrompts().filter((one) => one !== prompt)].slice(0, 20);
  try { localStorage.setItem(RECENT, JSON.stringify(list)); } catch { /* a private window keeps none */ }
}

function recentNode(input) {
  const prompts = recentPrompts();
  if (!prompts.length) return "";
  const select = el("select", { "aria-label": "Recent prompts" }, el("option", { value: "" }, "Recent prompts…"),
    ...prompts.map((prompt) => el("option", { value: prompt }, prompt.slice(0, 80))));
  select.addEventListener("change", () => { if (select.value) input.value = select.value; select.value = ""; });
  return select;
}

// Jobs name files of this server by their paths; a request names them by URLs.
function ownUrl(value) {
  return typeof value === "string" && value.startsWith("/files/") ? location.origin + value : value;
}

function buildForm(values = {}) {
  const schema = schemaOf(state.task);
  $("main-fields").replaceChildren();
  $("more-fields").replaceChildren();
  if (!schema) return;
  const names = Object.keys(schema.properties);
  const order = [...MAIN.filter((name) => names.includes(name)), ...names.filter((name) => !MAIN.includes(name) && !isHidden(name))];
  const pair = el("div", { className: "pair" });
  for (const name of order) {
    const node = fieldNode(name, schema.properties[name], (schema.required || []).includes(name));
    if (!MAIN.includes(name)) $("more-fields").append(node);
    else if (name.endsWith("_url") || name.includes("prompt")) $("main-fields").append(node);
    else pair.append(node);
  }
  $("main-fields").append(pair);
  for (const [name, value] of Object.entries(values)) {
    const input = $("request").elements.namedItem(NAMES[name] || name);
    if (!input || value === null || typeof value === "object") continue;
    if (input.type === "checkbox") input.checked = value;
    else if (input.tagName !== "SELECT" || [...input.options].some((option) => option.value === value)) input.value = ownUrl(value);
  }
  showCost();
}

// What differs from the defaults or was chosen in place of the server's own, and what is required.
function formValues() {
  const schema = schemaOf(state.task);
  const values = {};
  for (const [name, field] of Object.entries(schema.properties)) {
    const input = $("request").elements.namedItem(name);
    if (!input) continue;
    let value = input.type === "checkbox" ? input.checked : input.value;
    if (input.type === "number") {
      if (value === "") continue;
      value = Number(value);
    }
    if ((value === field.default && !OWN.includes(name)) || (value === "" && !(schema.required || []).includes(name))) continue;
    values[name] = value;
  }
  return values;
}

function price(task, input) {
  const row = state.prices.find((one) => one.endpoint === state.setup.endpoints[task]);
  const schema = schemaOf(task);
  if (!row || !schema) return null;
  const valueOf = (name) => input[name] ?? schema.properties[name]?.default;
  const rate = row[valueOf("resolution")];
  const frames = valueOf("num_frames");
  return typeof rate === "number" && typeof frames === "number" ? rate * frames / 16 : null;
}

const dollars = (amount) => `$${amount.toFixed(2)}`;

function showCost() {
  const amount = price(state.task, formValues());
  $("cost").textContent = amount === null ? "" : `Hosted: ${dollars(amount)}`;
}

async function submit(event) {
  event.preventDefault();
  $("request-error").textContent = "";
  $("submit").disabled = true;
  try {
    const values = formValues();
    await call("POST", `/queue/${state.setup.endpoints[state.task]}`, values);
    keepPrompt(values.prompt);
    say("The video is in the queue.");
    await refresh();
  } catch (error) {
    $("request-error").textContent = error.message;
  } finally {
    $("submit").disabled = false;
  }
}

// --- queue and videos

function timeText(seconds) {
  if (seconds === null || seconds === undefined) return "";
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor(whole / 60) % 60} min`;
}

const STAGES = { fetch: "Fetching inputs", load: "Loading weights", encode: "Reading inputs", denoise: "Denoising", decode: "Decoding", write: "Writing" };

function stageText(job) {
  if (job.status === "queued") {
    const left = (job.begins_in || 0) - (Date.now() - job.heard) / 1000;
    const wait = left > 0 ? `, begins in about ${timeText(left)}` : "";
    return job.position === 0 ? `Next${wait}` : `${job.position} before it${wait}`;
  }
  if (job.cancelling) return "Being cancelled";
  const step = job.steps ? ` ${job.step} of ${job.steps}` : "";
  const left = job.seconds_left ? `, about ${timeText(job.seconds_left)} left` : "";
  return `${STAGES[job.stage] || "Begun"}${step}${left}`;
}

// Where a job's item or card says what went wrong with a button of its own.
const errorNode = () => el("p", { className: "error", role: "alert" });

// Changes an item in place, so that a player or a focused button is not replaced under the user.
function showOpen(job) {
  let item = $(`open-${job.id}`);
  if (!item) {
    const cancel = el("button", { type: "button" }, "Cancel");
    cancel.setAttribute("aria-label", `Cancel: ${job.prompt || job.task}`);
    const wrong = errorNode();
    cancel.addEventListener("click", async () => {
      cancel.disabled = true;
      wrong.textContent = "";
      try {
        await call("PUT", `/queue/fal-ai/wan/requests/${job.id}/cancel`);
      } catch (error) {
        wrong.textContent = error.message;
        cancel.disabled = false;
      }
    });
    item = el("li", { id: `open-${job.id}`, className: "job" },
      el("div", { className: "blank" }),
      el("div", {}, el("p", { className: "prompt" }, job.prompt || TASKS[job.task] || ""), el("p", { className: "quiet stage" }),
        el("progress", { max: 1, value: 0 }), cancel, wrong));
    item.querySelector("progress").setAttribute("aria-label", "Progress");
    $("queue-list").append(item);
  }
  item.querySelector(".stage").textContent = stageText(job);
  const bar = item.querySelector("progress");
  bar.hidden = job.status === "queued";
  if (job.steps) bar.value = job.step / job.steps;
  else bar.removeAttribute("value");
  if (job.preview) {
    let picture = item.querySelector("img");
    if (!picture) {
      picture = el("img", { alt: "Preview of the video" });
      item.querySelector(".blank").replaceWith(picture);
    }
    if (picture.getAttribute("src") !== job.preview) picture.src = job.preview;
  }
}

function valueRows(job) {
  const rows = [];
  for (const [name, value] of Object.entries({ ...job.input, seed: job.seed ?? job.input.seed })) {
    if (value === null || value === undefined || value === "" || name === "prompt") continue;
    rows.push(el("dt", {}, labelOf(name)), el("dd", {}, String(value).slice(0, 300)));
  }
  if (job.seconds) rows.push(el("dt", {}, "Took"), el("dd", {}, timeText(job.seconds)));
  if (typeof job.hosted === "number") rows.push(el("dt", {}, "Hosted price"), el("dd", {}, dollars(job.hosted)));
  return rows;
}

function showEnded(job, older) {
  // Of a card that is there the price may be another one.
  const there = $(`ended-${job.id}`);
  if (there) return there.querySelector("dl").replaceChildren(...valueRows(job));
  const again = el("button", { type: "button" }, "Use again");
  again.addEventListener("click", () => {
    state.task = job.task;
    showTasks();
    buildForm({ ...job.input, seed: job.seed ?? job.input.seed });
    $("new").scrollIntoView();
    $("field-prompt")?.focus();
  });
  const wrong = errorNode();
  const remove = el("button", { type: "button" }, "Delete");
  remove.addEventListener("click", async () => {
    if (!confirm("Delete this video from the server?")) return;
    try {
      await call("DELETE", `/page/jobs/${job.id}`);
      drop(job.id);
      showCounts();
    } catch (error) { wrong.textContent = error.message; }
  });
  const lines = el("div", { className: "logs" });
  const log = el("details", {}, el("summary", {}, "Log"), lines);
  let isRead = false;
  log.addEventListener("toggle", async () => {
    if (!log.open || isRead) return;
    try {
      const status = await call("GET", `/queue/fal-ai/wan/requests/${job.id}/status?logs=1`);
      lines.textContent = (status.logs || []).map((entry) => `${entry.timestamp.slice(11, 19)} ${entry.message}`).join("\n") || "It is empty.";
      isRead = true;
    } catch (error) { lines.textContent = error.message; }
    lines.classList.toggle("error", !isRead);
  });
  const row = el("p", { className: "row" }, again);
  const card = el("li", { id: `ended-${job.id}`, className: "card" });
  if (job.video) {
    const player = el("video", { src: job.video, controls: true, preload: "metadata", loop: true });
    player.setAttribute("aria-label", job.prompt || "Video");
    card.append(player);
    row.append(el("a", { className: "button", href: job.video, download: `${job.task}-${job.seed ?? job.id}.mp4` }, "Download"));
  }
  row.append(remove);
  const text = el("div", {}, el("p", { className: "prompt" }, job.prompt || TASKS[job.task] || ""));
  if (job.status !== "done") text.append(el("p", { className: "error" }, job.status === "cancelled" ? "Cancelled" : job.error || "Failed"));
  if (job.safety && job.safety.flagged) text.append(el("p", { className: "error" }, job.safety.action === "blur" ? "Blurred by the safety check" : "Flagged by the safety check"));
  text.append(el("details", {}, el("summary", {}, "Settings"), el("dl", {}, ...valueRows(job))), log, row, wrong);
  card.append(text);
  if (older) $("gallery-list").append(card);
  else $("gallery-list").prepend(card);
}

// The server tells of a begin again where it has moved; until then the page counts down.
function countDown() {
  for (const job of state.jobs.values()) {
    const item = job.status === "queued" && job.begins_in ? $(`open-${job.id}`) : null;
    if (item) item.querySelector(".stage").textContent = stageText(job);
  }
}

function drop(id) {
  state.jobs.delete(id);
  $(`open-${id}`)?.remove();
  $(`ended-${id}`)?.remove();
}

function showJob(job, older = false) {
  const before = state.jobs.get(job.id);
  job.heard = Date.now();
  state.jobs.set(job.id, job);
  if (job.status === "queued" || job.status === "running") return showOpen(job);
  if (before && before.status !== job.status) say(job.status === "done" ? `A video is finished: ${job.prompt}` : `A job has ended: ${job.error || job.status}`);
  $(`open-${job.id}`)?.remove();
  showEnded(job, older);
}

function showCounts() {
  const all = [...state.jobs.values()];
  const open = all.filter((job) => job.status === "queued" || job.status === "running").length;
  $("queue-count").textContent = open ? `(${open})` : "";
  $("queue-empty").hidden = open > 0;
  $("gallery-empty").hidden = all.length > open;
  document.title = open ? `(${open}) wan-serve` : "wan-serve";
}

async function refresh() {
  const { jobs, older, next } = await call("GET", "/page/jobs");
  for (const job of jobs.slice().reverse()) showJob(job);
  if (jobs.length && state.oldest === null) {
    state.oldest = next;
    $("older").hidden = !older;
  }
  showCounts();
}

async function showOlder() {
  const { jobs, older, next } = await call("GET", `/page/jobs?before=${state.oldest}`);
  for (const job of jobs) showJob(job, true);
  if (jobs.length) state.oldest = next;
  $("older").hidden = !older;
  showCounts();
}

// One sentence of what the videos would have cost, for as many of them as a price is known.
function savedText(videos, amount, unknown) {
  if (!videos) return "";
  const count = (number) => `${number} ${number === 1 ? "video" : "videos"}`;
  const known = videos - unknown;
  if (!known) return `${count(videos)} made here. No hosted price is known for ${videos === 1 ? "it" : "them"}.`;
  if (!unknown) return `${count(videos)} made here. Hosted, ${videos === 1 ? "it" : "they"} would have cost ${dollars(amount)}.`;
  return `${count(videos)} made here. Hosted, ${known} of them would have cost ${dollars(amount)}; no price is known for the ${unknown === 1 ? "other one" : `other ${unknown}`}.`;
}

async function showSaved() {
  try {
    const { videos, dollars: amount, unknown } = await call("GET", "/page/savings");
    $("saved").textContent = savedText(videos, amount, unknown);
  } catch { /* the sum is not worth an error */ }
}

function listen() {
  state.events?.close();
  const events = new EventSource("/page/events");
  state.events = events;
  events.addEventListener("job", (event) => {
    const job = JSON.parse(event.data);
    showJob(job);
    showCounts();
    if (job.status === "done") showSaved();
  });
  events.addEventListener("removed", (event) => { drop(JSON.parse(event.data).id); showCounts(); });
  events.addEventListener("workers", (event) => showWorkers(JSON.parse(event.data)));
  // The browser connects again by itself; what happened meanwhile is asked for.
  events.addEventListener("open", () => refresh().catch(() => {}));
}

function showWorkers({ workers, paused }) {
  const states = workers.map((worker) => `${worker.name || worker.device}: ${worker.state}${worker.trouble ? ` (${worker.trouble})` : ""}`);
  $("workers").textContent = (paused ? `Paused: ${paused}. ` : "") + states.join(" · ");
}

// --- prices

function showPrices() {
  const body = $("price-form").querySelector("tbody");
  body.replaceChildren(...state.prices.map((row) => el("tr", {}, el("th", { scope: "row" }, row.endpoint.split("/").slice(-2).join("/")),
    ...["480p", "580p", "720p"].map((size) => el("td", {}, Object.assign(el("input", { type: "number", min: 0, step: "any", value: row[size] ?? "" }),
      { ariaLabel: `${row.endpoint}, ${size}`, oninput: (event) => { row[size] = event.target.value === "" ? null : Number(event.target.value); } }))))));
}

async function keepPrices(event) {
  event.preventDefault();
  try {
    await call("PUT", "/page/prices", { prices: state.prices });
    $("price-kept").textContent = "Kept.";
    showCost();
    showSaved();
    // Every card has its price from the server: all of them are asked for again.
    $("gallery-list").replaceChildren();
    state.jobs.clear();
    state.oldest = null;
    await refresh();
  } catch (error) { $("price-kept").textContent = error.message; }
}

// --- start

function showTasks() {
  $("tasks").replaceChildren(el("legend", {}, "From"), ...Object.entries(TASKS).map(([task, title]) => {
    const there = state.setup.tasks.includes(task);
    const input = el("input", { type: "radio", name: "task", value: task, checked: task === state.task, disabled: !there });
    input.addEventListener("change", () => { state.task = task; buildForm({ prompt: $("field-prompt")?.value || "" }); });
    return el("label", there ? {} : { title: "This server has no model for it" }, input, title);
  }));
}

// The page for who is signed in; for nobody, the form to sign in.
function show(session) {
  $("sign-in").hidden = Boolean(session);
  $("work").hidden = !session;
  $("account").hidden = !session || !session.keys;
  if (!session) {
    state.events?.close();
    $("key").focus();
  } else {
    $("account-name").textContent = session.name;
  }
}

async function start() {
  const session = await call("GET", "/page/session");
  if (session.keys && !session.signed_in) return show(null);
  state.setup = await call("GET", "/page/setup");
  state.prices = (await call("GET", "/page/prices")).prices;
  const description = await call("GET", "/openapi.json");
  for (const [task, endpoint] of Object.entries(state.setup.endpoints)) {
    const post = description.paths[`/${endpoint}`]?.post;
    let schema = post?.requestBody?.content["application/json"]?.schema;
    if (schema?.$ref) schema = schema.$ref.slice(2).split("/").reduce((at, part) => at[part], description);
    state.schemas[task] = schema;
  }
  if (!state.setup.tasks.includes(state.task)) state.task = state.setup.tasks[0] || "t2v";
  $("override").hidden = !state.setup.size_override;
  $("override").textContent = `This server makes every video at ${state.setup.size_override}.`;
  show(session);
  showTasks();
  buildForm();
  showPrices();
  showSaved();
  showWorkers(state.setup);
  await refresh();
  listen();
}

setInterval(countDown, 5000);
$("request").addEventListener("submit", submit);
$("request").addEventListener("input", showCost);
$("older").addEventListener("click", showOlder);
$("price-form").addEventListener("submit", keepPrices);
$("sign-out").addEventListener("click", async () => { await call("DELETE", "/page/session"); location.reload(); });
$("sign-in-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    await call("POST", "/page/session", { key: $("key").value });
    $("key").value = "";
    $("sign-in-error").textContent = "";
    await start();
  } catch (error) { $("sign-in-error").textContent = error.message; }
});
start().catch((error) => { show({}); $("request-error").textContent = error.message; });
