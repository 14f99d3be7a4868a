// The page: the sessions, one of them live, and a box to write in.

import { Refused, ask, listen } from "./stream.js";
import { createView } from "./view.js";

const $ = (id) => document.getElementById(id);
const PAGE = 100;
const REFRESH = 3000;
const GROWS = 200; // milliseconds after which bars that grow are drawn again

const ALL = "*"; // of all tenants

let open = null; // {key, tenant, name, stop, view}
let sessions = new Map(); // by keyOf
let tenant = null; // the one that is looked at; ALL; or null, for the token's own
let following = null;
let drawing = false;
let growing = null;

function show(words) {
  $("state").textContent = words;
  $("state").className = words === "live" ? "live" : "lost";
}

const keyOf = (whose, name) => JSON.stringify([whose, name]);

// Of a token for all tenants a session's own is said; else the one that is looked at.
const query = (whose, params = {}) => {
  const said = new URLSearchParams(params);
  if (whose !== null) said.set("tenant", whose);
  return said.size ? `?${said}` : "";
};

function complain(error) {
  $("error").textContent = error instanceof Error ? error.message : String(error);
  if (error instanceof Refused && error.status === 401) loggedOut();
}

// --- coming in ---

function loggedOut() {
  closeSession();
  following?.abort();
  following = null;
  sessions = new Map();
  drawSessions();
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
  chooseTenants();
  const choice = tenantsOf(me);
  const { whose } = addressed();
  await lookAt(choice.includes(whose) ? whose : choice[0] ?? null);
  openByAddress();
}

const tenantsOf = (who) => {
  const several = who.tenants.includes(ALL) || who.tenants.length > 1;
  if (!several) return [];
  return [...who.tenants].sort((a, b) => (a === ALL ? -1 : b === ALL ? 1 : a < b ? -1 : 1));
};

const nameOf = (whose) => (whose === ALL ? "all" : whose === "" ? "(none)" : whose);

function chooseTenants() {
  const choice = tenantsOf(me);
  $("tenant-of").hidden = choice.length < 2;
  $("tenant").replaceChildren(...choice.map((whose) => new Option(nameOf(whose), whose)));
}

async function lookAt(whose) {
  tenant = whose;
  sessions = new Map();
  drawSessions();
  if (whose !== null) $("tenant").value = whose;
  await loadSessions();
  follow();
}

$("tenant").addEventListener("change", () => {
  closeSession();
  lookAt($("tenant").value).catch(complain);
});

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
  const whose = tenant;
  try {
    const params = more && next ? { limit: PAGE, after: next } : { limit: PAGE };
    const page = await ask("GET", `/v1/sessions${query(whose, params)}`);
    if (whose !== tenant) return; // another one is looked at by now
    if (!more) sessions = new Map();
    for (const each of page.sessions) sessions.set(keyOf(each.tenant, each.session_id), each);
    next = page.next;
    $("more").hidden = next === null;
    drawSessions();
  } catch (error) {
    complain(error);
  }
}

$("more").addEventListener("click", () => loadSessions(true));

function drawSessions() {
  const kept = new Map([...$("sessions").children].map((item) => [item.dataset.key, item]));
  for (const [key, item] of kept) if (!sessions.has(key)) item.remove();
  for (const [key, session] of sessions) {
    let item = kept.get(key);
    if (!item) {
      item = document.createElement("li");
      item.dataset.key = key;
      const button = document.createElement("button");
      button.type = "button";
      button.append(document.createElement("span"), document.createElement("small"));
      const whose = tenant === ALL && session.tenant ? `${session.tenant} / ` : "";
      button.firstChild.textContent = whose + session.session_id;
      button.title = whose + session.session_id;
      button.addEventListener("click", () => openSession(session.tenant, session.session_id));
      item.append(button);
      $("sessions").append(item);
    }
    const button = item.firstChild;
    button.firstChild.className = `dot ${session.status}`;
    button.lastChild.textContent = session.turn ? `${session.status} · ${session.turn}` : session.status;
    button.setAttribute("aria-current", String(open?.key === key));
  }
}

const STATUS = { turn_started: "running", stop_requested: "stopping", turn_ended: "idle" };

function follow() {
  following?.abort();
  following = new AbortController();
  listen(`/v1/events${query(tenant)}`, {
    signal: following.signal,
    state: (words) => { show(words); if (words === "live") loadSessions(); },
    take(kind, data) {
      const status = STATUS[kind];
      const key = keyOf(data.tenant, data.session_id);
      if (kind === "session_deleted" && sessions.delete(key)) drawSessions();
      const known = sessions.get(key);
      if (!known && kind !== "message_accepted") return;
      const session = known ||
        { tenant: data.tenant, session_id: data.session_id, status: "idle", turn: 0 };
      sessions.set(key, {
        ...session, status: status || session.status, turn: data.turn || session.turn });
      if (status || !known) drawSessions();
    },
  }).catch(complain);
}

$("open").addEventListener("submit", (event) => {
  event.preventDefault();
  openSession(ownTenant(), $("name").value.trim());
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
    open.view.draw();
    const runs = open.view.isRunning();
    $("stop").disabled = $("stop-now").disabled = !runs;
    const status = sessions.get(open.key)?.status || (runs ? "running" : "idle");
    $("status").textContent = $("status").className = status;
    $("status").classList.add("pill");
    clearTimeout(growing);
    if (runs) growing = setTimeout(draw, GROWS);
  });
}

// Where a session without a tenant of its own belongs: to whom the token is for.
const ownTenant = () => {
  if (tenant !== null && tenant !== ALL) return tenant;
  return me.tenants.includes(ALL) || me.tenants.includes("") ? "" : me.tenants[0];
};

const pathOf = (session, rest = "") =>
  `/v1/sessions/${encodeURIComponent(session.name)}${rest}${query(session.tenant)}`;

const addressOf = (whose, name) => [...(whose ? [whose] : []), name].map(encodeURIComponent).join("/");

function closeSession() {
  open?.stop.abort();
  open = null;
  clearTimeout(growing);
  $("session").replaceChildren();
  $("session").className = "";
  $("title").textContent = "No session is open";
  $("empty").hidden = false;
  $("status").hidden = $("forget").hidden = true;
  for (const id of ["text", "send", "stop", "stop-now"]) $(id).disabled = true;
}

function openSession(whose, name) {
  const key = keyOf(whose, name);
  if (!name || open?.key === key) return;
  closeSession();
  const stop = new AbortController();
  const view = createView($("session"), true);
  const session = { key, tenant: whose, name, stop, view };
  open = session;
  location.hash = addressOf(whose, name);
  $("title").textContent = name;
  $("empty").hidden = true;
  $("status").hidden = false;
  $("forget").hidden = !me.scopes.includes("admin");
  $("text").disabled = $("send").disabled = false;
  $("error").textContent = "";
  drawSessions();
  $("text").focus();
  listen(pathOf(session, "/events"), {
    after: 0,
    signal: stop.signal,
    state: show,
    async take(kind, data) {
      view.take(kind, data);
      if (kind === "gap" && data.after === 0) {
        try {
          view.take("history", await ask("GET", pathOf(session, "/history")));
        } catch (error) {
          complain(error);
        }
      }
      draw();
    },
  }).catch(complain);
  draw();
}

function addressed() {
  const parts = location.hash.slice(1).split("/").map(decodeURIComponent);
  const name = parts.pop();
  return { name, whose: parts.length ? parts[0] : "" };
}

function openByAddress() {
  const { name, whose } = addressed();
  if (name) openSession(whose || ownTenant(), name);
}

addEventListener("hashchange", openByAddress);

// --- writing ---

$("chat").addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = $("text").value.trim();
  if (!text || !open) return;
  const session = open;
  const policy = $("policy").value;
  // Named here, so that a second try is the same message.
  const body = { text, message_id: crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}` };
  if (policy) body.policy = { kind: policy };
  $("text").value = "";
  $("error").textContent = "";
  for (let tries = 0; ; tries += 1) {
    try {
      await ask("POST", pathOf(session, "/messages"), body);
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
    await ask("POST", pathOf(open, "/stop"), { how: { kind }, reason: "stopped on the page" });
  } catch (error) {
    complain(error);
  }
}

$("forget").addEventListener("click", async () => {
  const session = open;
  if (!session || !confirm(`Forget ${session.name}, with all that was said and done in it?`)) return;
  try {
    await ask("DELETE", pathOf(session));
  } catch (error) {
    complain(error);
  }
});
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
