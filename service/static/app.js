// The page: the sessions, one of them live, and a box to write in.

import { Refused, ask, listen } from "./stream.js";
import { createView } from "./view.js";

const $ = (id) => document.getElementById(id);
const PAGE = 100;
const REFRESH = 3000;

let open = null; // {name, stop, view, after}
let sessions = new Map();
let following = null;
let drawing = false;

function show(words) {
  $("state").textContent = words;
}

function complain(error) {
  $("error").textContent = error instanceof Error ? error.message : String(error);
  if (error instanceof Refused && error.status === 401) loggedOut();
}

// --- coming in ---

function loggedOut() {
  open?.stop.abort();
  following?.abort();
  open = following = null;
  $("app").hidden = true;
  $("logout").hidden = true;
  $("login").hidden = false;
  show("not logged in");
  $("token").focus();
}

let me = null;

async function enter() {
  try {
    me = await ask("GET", "/v1/me");
  } catch (error) {
    if (error instanceof Refused && error.status === 401) return loggedOut();
    show("the service does not answer; trying again");
    return setTimeout(enter, REFRESH);
  }
  $("login").hidden = true;
  $("app").hidden = false;
  $("logout").hidden = false;
  show("live");
  $("tree").hidden = !me.scopes.includes("admin");
  await loadSessions();
  follow();
  if (location.hash.length > 1) openSession(decodeURIComponent(location.hash.slice(1)));
}

$("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    await ask("POST", "/v1/login", { token: $("token").value.trim() });
    $("token").value = "";
    $("login-error").textContent = "";
    await enter();
  } catch (error) {
    $("login-error").textContent = error.message;
  }
});

$("logout").addEventListener("click", async () => {
  await ask("POST", "/v1/logout");
  loggedOut();
});

// --- the sessions ---

let next = null;

async function loadSessions(more = false) {
  try {
    const query = more && next ? `&after=${encodeURIComponent(next)}` : "";
    const page = await ask("GET", `/v1/sessions?limit=${PAGE}${query}`);
    if (!more) sessions = new Map();
    for (const session of page.sessions) sessions.set(session.session_id, session);
    next = page.next;
    $("more").hidden = next === null;
    drawSessions();
  } catch (error) {
    complain(error);
  }
}

$("more").addEventListener("click", () => loadSessions(true));

function drawSessions() {
  const kept = new Map([...$("sessions").children].map((item) => [item.dataset.name, item]));
  for (const [name, item] of kept) if (!sessions.has(name)) item.remove();
  for (const session of sessions.values()) {
    const name = session.session_id;
    let item = kept.get(name);
    if (!item) {
      item = document.createElement("li");
      item.dataset.name = name;
      const button = document.createElement("button");
      button.type = "button";
      button.append(document.createElement("span"), document.createElement("small"));
      button.firstChild.textContent = name;
      button.addEventListener("click", () => openSession(name));
      item.append(button);
      $("sessions").append(item);
    }
    const button = item.firstChild;
    button.lastChild.textContent = session.turn ? `${session.status} · ${session.turn}` : session.status;
    button.setAttribute("aria-current", String(open?.name === name));
  }
}

const STATUS = { turn_started: "running", stop_requested: "stopping", turn_ended: "idle" };

function follow() {
  following?.abort();
  following = new AbortController();
  listen("/v1/events", {
    signal: following.signal,
    state: (words) => { show(words); if (words === "live") loadSessions(); },
    take(kind, data) {
      const status = STATUS[kind];
      const known = sessions.get(data.session_id);
      if (!known && kind !== "message_accepted") return;
      const session = known || { session_id: data.session_id, status: "idle", turn: 0 };
      sessions.set(data.session_id, {
        ...session, status: status || session.status, turn: data.turn || session.turn });
      if (status || !known) drawSessions();
    },
  }).catch(complain);
}

$("open").addEventListener("submit", (event) => {
  event.preventDefault();
  openSession($("name").value.trim());
  $("name").value = "";
});

// --- the supervision tree ---

let treeTimer = null;

function drawNode(node) {
  const item = document.createElement("li");
  const words = [node.id, node.state, node.detail].filter(Boolean).join(" · ");
  const restarts = node.restarts ? `, restarted ${node.restarts} times` : "";
  const more = node.count > node.children.length ? ` (${node.count} in all)` : "";
  item.append(`${words}${restarts}${more}`);
  if (node.children.length) {
    const list = document.createElement("ul");
    list.append(...node.children.map(drawNode));
    item.append(list);
  }
  return item;
}

async function drawTree() {
  clearTimeout(treeTimer);
  if (!$("tree").open || $("app").hidden) return;
  try {
    const list = document.createElement("ul");
    list.append(drawNode(await ask("GET", "/v1/tree?limit=20")));
    $("tree-content").replaceChildren(list);
  } catch (error) {
    complain(error);
  }
  treeTimer = setTimeout(drawTree, REFRESH);
}

$("tree").addEventListener("toggle", drawTree);

// --- one session ---

function draw() {
  if (drawing || !open) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    if (!open) return;
    const box = document.scrollingElement;
    const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 80;
    open.view.draw();
    if (atEnd) box.scrollTop = box.scrollHeight;
    const runs = open.view.isRunning();
    $("stop").disabled = $("stop-now").disabled = !runs;
  });
}

const pathOf = (name) => `/v1/sessions/${encodeURIComponent(name)}`;

function openSession(name) {
  if (!name || open?.name === name) return;
  open?.stop.abort();
  const stop = new AbortController();
  const view = createView($("session"));
  open = { name, stop, view };
  location.hash = encodeURIComponent(name);
  $("title").textContent = name;
  $("text").disabled = $("send").disabled = false;
  $("error").textContent = "";
  drawSessions();
  $("text").focus();
  listen(`${pathOf(name)}/events`, {
    after: 0,
    signal: stop.signal,
    state: show,
    async take(kind, data) {
      view.take(kind, data);
      if (kind === "gap" && data.after === 0) {
        try {
          view.take("history", await ask("GET", `${pathOf(name)}/history`));
        } catch (error) {
          complain(error);
        }
      }
      draw();
    },
  }).catch(complain);
}

addEventListener("hashchange", () => openSession(decodeURIComponent(location.hash.slice(1))));

// --- writing ---

$("chat").addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = $("text").value.trim();
  if (!text || !open) return;
  const policy = $("policy").value;
  // Named here, so that a second try is the same message.
  const body = { text, message_id: crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}` };
  if (policy) body.policy = { kind: policy };
  $("text").value = "";
  $("error").textContent = "";
  for (let tries = 0; ; tries += 1) {
    try {
      await ask("POST", `${pathOf(open.name)}/messages`, body);
      return;
    } catch (error) {
      const again = !(error instanceof Refused) || error.status === 503 || error.status === 429;
      if (again && tries < 5) {
        show("sending again");
        await new Promise((done) => setTimeout(done, 300 * 2 ** tries));
        continue;
      }
      $("text").value = $("text").value || text;
      complain(error);
      return;
    }
  }
});

$("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    $("chat").requestSubmit();
  } else if (event.key === "Escape" && !$("stop").disabled) {
    stop("after_wave");
  }
});

async function stop(kind) {
  if (!open) return;
  try {
    await ask("POST", `${pathOf(open.name)}/stop`, { how: { kind }, reason: "stopped on the page" });
  } catch (error) {
    complain(error);
  }
}

$("stop").addEventListener("click", () => stop("after_wave"));
$("stop-now").addEventListener("click", () => stop("now"));

// --- dark and light ---

const root = document.documentElement;
const dark = matchMedia("(prefers-color-scheme: dark)");
try {
  const chosen = localStorage.getItem("theme");
  if (chosen) root.dataset.theme = chosen;
} catch { /* no storage */ }
$("theme").addEventListener("click", () => {
  const isDark = root.dataset.theme ? root.dataset.theme === "dark" : dark.matches;
  root.dataset.theme = isDark ? "light" : "dark";
  try { localStorage.setItem("theme", root.dataset.theme); } catch { /* no storage */ }
});

enter();
