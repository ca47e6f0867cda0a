// What the dashboard's page does in the browser: it reads the stream, puts each panel in its
// place without disturbing what has the focus, and sends what its buttons stand for.

const RETRY_MS = 2_000;
const TOKEN = "pgvpd-admin-token";
const element = (id) => document.getElementById(id);

/** The current stream; aborted when another one is begun. */
let streaming = new AbortController();

function headers() {
  const token = sessionStorage.getItem(TOKEN);
  return token === null ? {} : { authorization: `Bearer ${token}` };
}

function showState(state) {
  element("state").textContent = state;
  element("state").dataset.state = state;
}

function say(sentence) {
  element("said").textContent = sentence;
}

/** Asks for the token; resolves when there is one. */
function askForToken() {
  const dialog = element("token");
  const form = dialog.querySelector("form");
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      sessionStorage.setItem(TOKEN, new FormData(form).get("token"));
      form.reset();
      resolve();
    }, { once: true });
    dialog.addEventListener("cancel", (event) => event.preventDefault(), { once: true });
    if (!dialog.open) dialog.showModal();
  });
}

/** Resolves to the answer of the question. */
function confirmed(question) {
  const dialog = element("confirm");
  element("question").textContent = question;
  dialog.returnValue = "no";
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
    dialog.showModal();
  });
}

/** Makes `old` what `fresh` is, and leaves alone what is the same. */
function patch(old, fresh) {
  if (old.outerHTML === fresh.outerHTML) return;
  const isAlike = old.tagName === fresh.tagName && old.dataset?.key === fresh.dataset?.key &&
    fresh.children.length > 0 && old.children.length > 0;
  if (!isAlike) return old.replaceWith(fresh);
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) old.setAttribute(name, value);
  if (fresh.tagName === "TBODY") patchRows(old, fresh);
  else if (old.children.length === fresh.children.length) patchChildren(old, fresh);
  else old.replaceChildren(...fresh.childNodes);
}

function patchChildren(old, fresh) {
  const [before, after] = [[...old.children], [...fresh.children]];
  before.forEach((child, index) => patch(child, after[index]));
}

/** Rows are told by their keys, so that one which has moved is the same one still. */
function patchRows(old, fresh) {
  const rows = new Map([...old.children].map((row) => [row.dataset.key, row]));
  let place = old.firstElementChild;
  for (const wanted of [...fresh.children]) {
    const row = rows.get(wanted.dataset.key);
    rows.delete(wanted.dataset.key);
    if (row === undefined) old.insertBefore(wanted, place);
    else if (row === place) {
      place = row.nextElementSibling;
      patch(row, wanted);
    } else {
      const focused = row.contains(document.activeElement) ? document.activeElement : null;
      old.insertBefore(row, place);
      focused?.focus();
      patch(row, wanted);
    }
  }
  for (const row of rows.values()) row.remove();
}

function show(id, html) {
  const panel = element(id);
  if (panel === null) return;
  const template = document.createElement("template");
  template.innerHTML = html;
  const { content } = template;
  if (panel.children.length !== content.children.length) panel.replaceChildren(content);
  else patchChildren(panel, content);
}

/** Events of one stream: lines up to an empty one. */
async function read(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    text += value;
    const events = text.split("\n\n");
    text = events.pop();
    for (const event of events) take(event);
  }
}

function take(event) {
  let name = "";
  const data = [];
  for (const line of event.split("\n")) {
    if (line.startsWith("event: ")) name = line.slice(7);
    else if (line.startsWith("data: ")) data.push(line.slice(6));
  }
  show(name, data.join("\n"));
}

/** Follows the stream for good; begins again when it breaks. */
async function follow() {
  streaming.abort();
  const mine = streaming = new AbortController();
  while (!mine.signal.aborted) {
    try {
      const query = new URLSearchParams(new FormData(element("search")));
      const options = { headers: headers(), signal: mine.signal, cache: "no-store" };
      const response = await fetch(`/dashboard/live?${query}`, options);
      if (response.status === 401) {
        showState("locked");
        await askForToken();
        continue;
      }
      if (!response.ok) throw new Error((await response.json()).error);
      showState("live");
      await read(response);
      throw new Error("the stream has ended");
    } catch (error) {
      if (mine.signal.aborted) return;
      showState("not connected");
      say(`Not connected: ${error.message}. Trying again.`);
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
}

async function act(button) {
  const { path, question } = button.dataset;
  if (!await confirmed(question)) return;
  try {
    const response = await fetch(path, { method: "POST", headers: headers() });
    const answer = await response.json().catch(() => ({}));
    say(
      response.ok
        ? `Done: ${question.replace(/\?$/, "")}.`
        : `Refused: ${answer.error ?? response.status}.`,
    );
  } catch (error) {
    say(`Not done: ${error.message}.`);
  }
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-path]");
  if (button !== null) void act(button);
});
element("search").addEventListener("submit", (event) => event.preventDefault());
element("search").addEventListener("input", () => void follow());
void follow();
