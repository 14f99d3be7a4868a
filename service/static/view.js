// A session as a conversation beside the timeline of its turns: a fold over its events.
// Nothing here talks to the service; a saved session is shown by the same code.

const MOST_TURNS = 50;

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function textOf(message) {
  const files = (message.attachments || []).map((file) => `[${file.name || file.url || file.media_id}]`);
  return [message.text || (message.text === undefined ? JSON.stringify(message) : ""), ...files]
    .filter(Boolean).join("\n");
}

const WHY = { superseded: "a newer message came" };

// With `live` what runs goes on growing as time goes by.
export function createView(root, live = false) {
  root.replaceChildren();
  root.className = "session talk";
  const tabs = make("div", "tabs");
  for (const [kind, words] of [["talk", "Conversation"], ["time", "Turns and waves"]]) {
    const tab = make("button", "", words);
    tab.type = "button";
    tab.setAttribute("aria-pressed", String(kind === "talk"));
    tab.addEventListener("click", () => {
      root.className = `session ${kind}`;
      for (const each of tabs.children) each.setAttribute("aria-pressed", String(each === tab));
    });
    tabs.append(tab);
  }
  const talk = make("section", "talk");
  talk.append(make("h3", "label", "Conversation"));
  const conversation = make("ol", "conversation");
  conversation.setAttribute("role", "log");
  conversation.setAttribute("aria-label", "Conversation");
  talk.append(conversation);
  const time = make("section", "time");
  time.append(make("h3", "label", "Turns and waves"));
  const list = make("ol", "turns");
  list.setAttribute("aria-label", "Turns and waves");
  time.append(list);
  root.append(tabs, talk, time);

  const words = new Map(); // key -> {kind, text, note}
  const turns = new Map(); // number -> turn
  const drawn = { words: new Map(), turns: new Map() };
  const dirty = new Set();
  let told = { at: 0, seen: 0 }; // the newest event, by its clock and by ours
  const clock = () => told.at + (performance.now() - told.seen) / 1000;

  const turnOf = (data) => {
    let turn = turns.get(data.turn);
    if (!turn) {
      turn = { number: data.turn, attempt: 1, started: data.at, ended: null, outcome: null,
               reason: null, detail: "", waves: new Map(), notes: [], stop: null };
      turns.set(data.turn, turn);
    }
    dirty.add(data.turn);
    return turn;
  };
  const say = (key, kind, text, note = "") => {
    words.set(key, { kind, text, note });
  };
  const note = (key, text) => {
    const word = words.get(key);
    if (word) word.note = text;
  };
  const previewOf = (turn) => `preview-${turn}`;

  const takes = {
    history(data) {
      for (const [place, entry] of data.entries.entries()) {
        if (!["message", "said", "reply"].includes(entry.kind)) continue;
        const kind = entry.kind === "message" ? "message" : "reply";
        const text = entry.message ? textOf(entry.message) : entry.text;
        say(`history-${place}`, kind, text, entry.interrupted ? "interrupted" : "");
      }
    },
    gap(data) {
      say(`gap-${data.next}`, "gap", "", "what was before is not kept event by event");
    },
    message_accepted(data) {
      say(`message-${data.message.message_id}`, "message", textOf(data.message),
          data.due_at ? `comes ${new Date(data.due_at * 1000).toLocaleString()}` : "waits");
    },
    turn_started(data) {
      turnOf(data);
      for (const id of data.message_ids) note(`message-${id}`, `turn ${data.turn}`);
    },
    turn_restarted(data) {
      const turn = turnOf(data);
      turn.attempt = data.attempt;
      turn.notes.push(`attempt ${data.attempt}: ${data.cause}`);
      if (data.discard) words.delete(previewOf(data.turn));
    },
    wave_started(data) {
      const turn = turnOf(data);
      const calls = data.calls.map((call) => ({
        id: call.call_id, tool: call.tool, arguments: call.arguments,
        carried: Boolean(call.answered_from), started: data.at, ended: null, status: null,
        error: null }));
      turn.waves.set(`${data.attempt}.${data.wave}`, { number: data.wave, attempt: data.attempt, calls });
    },
    call_ended(data) {
      const turn = turnOf(data);
      const wave = turn.waves.get(`${data.attempt}.${data.wave}`);
      const call = wave && wave.calls.find((one) => one.id === data.call_id);
      if (!call) return;
      call.ended = data.at;
      call.status = data.status;
      call.error = data.error;
      call.carried = call.carried || Boolean(data.answered_from);
    },
    said(data) {
      say(`said-${data.turn}-${data.position}`, "said", data.text);
      turnOf(data);
    },
    delta(data) {
      const key = previewOf(data.turn);
      const before = words.get(key);
      say(key, "preview", (before ? before.text.slice(0, data.start) : "") + data.text);
    },
    catch_up(data) {
      say(previewOf(data.turn), "preview", data.text);
    },
    stop_requested(data) {
      if (data.turn === null) return;
      const turn = turnOf(data);
      turn.stop = { how: data.how.kind, reason: data.reason, detail: data.detail };
    },
    turn_ended(data) {
      const turn = turnOf(data);
      turn.ended = data.at;
      turn.outcome = data.outcome;
      turn.reason = data.reason;
      turn.detail = data.detail;
      const draft = data.partial_results && data.partial_results.draft;
      words.delete(previewOf(data.turn));
      if (data.reply) {
        say(`reply-${data.turn}`, "reply", textOf(data.reply));
      } else if (draft) {
        turn.notes.push("its reply came too late, and was not sent");
      }
    },
    session_deleted() {
      words.clear();
      for (const turn of turns.values()) drawn.turns.get(turn.number)?.remove();
      turns.clear();
      drawn.turns.clear();
      say("deleted", "gap", "", "this session was forgotten");
    },
    message_due(data) {
      note(`message-${data.message_id}`, "waits");
    },
    message_edited(data) {
      const word = words.get(`message-${data.message_id}`);
      if (word) word.text = data.text;
    },
    message_ended(data) {
      note(`message-${data.message_id}`,
           data.status === "answered" ? `answered in turn ${data.turn}` : data.status);
    },
  };

  function take(kind, data) {
    if (data.at > told.at) told = { at: data.at, seen: performance.now() };
    if (Object.hasOwn(takes, kind)) takes[kind](data);
  }

  function drawWords() {
    for (const [key, item] of drawn.words) {
      if (!words.has(key)) { item.remove(); drawn.words.delete(key); }
    }
    for (const [key, word] of words) {
      let item = drawn.words.get(key);
      if (!item) {
        item = make("li");
        drawn.words.set(key, item);
        conversation.append(item);
      }
      const looks = JSON.stringify(word);
      if (item.dataset.looks === looks) continue;
      item.dataset.looks = looks;
      item.className = `word ${word.kind}`;
      item.replaceChildren(document.createTextNode(word.text));
      if (word.note) item.append(make("small", "", word.note));
    }
    // The preview is the last word while it grows.
    for (const [key, item] of drawn.words) {
      if (key.startsWith("preview-") && item !== conversation.lastElementChild) conversation.append(item);
    }
  }

  function drawTurn(turn) {
    const item = make("li", `turn ${turn.outcome || "running"}`);
    const reason = turn.reason ? ` (${turn.reason})` : "";
    const now = turn.ended ?? Math.max(turn.started, live ? clock() : told.at);
    const top = make("div", "top");
    top.append(
      make("h3", "", `Turn ${turn.number}: ${turn.outcome || "running"}${reason}`),
      make("span", "note", `${(now - turn.started).toFixed(1)} s`));
    item.append(top);
    const whole = Math.max(now - turn.started, 0.001);
    for (const wave of turn.waves.values()) {
      const attempt = wave.attempt > 1 ? `, attempt ${wave.attempt}` : "";
      item.append(make("p", "note", `wave ${wave.number}${attempt}`));
      const calls = make("ul", "wave");
      for (const call of wave.calls) calls.append(drawCall(call, turn.started, whole, now));
      item.append(calls);
    }
    for (const text of turn.notes) item.append(make("p", "note", text));
    if (turn.stop) {
      const how = turn.stop.how === "now" ? "now" : "after its wave";
      const why = turn.stop.detail || WHY[turn.stop.reason] || turn.stop.reason;
      item.append(make("p", "broken", `told to stop ${how}: ${why}`));
    }
    if (turn.detail && turn.outcome === "failed") item.append(make("p", "broken", turn.detail));
    return item;
  }

  function drawCall(call, started, whole, now) {
    const item = make("li");
    const status = call.status || "running";
    const carried = call.carried ? ", carried over" : "";
    const name = make("span", "name", call.tool);
    if (call.carried) name.append(make("em", "carry", "carried over"));
    item.append(name);
    const track = make("span", "track");
    const bar = make("span", `bar ${status}${call.carried ? " carried" : ""}${call.status ? "" : " open"}`);
    const end = call.ended ?? now;
    bar.style.left = `${Math.min(98, 100 * (call.started - started) / whole)}%`;
    bar.style.width = `${Math.max(1, Math.min(100, 100 * (end - call.started) / whole))}%`;
    const seconds = Math.max(0, end - call.started).toFixed(2);
    const why = call.error ? `: ${call.error.type}: ${call.error.message}` : "";
    const says = `${call.tool}: ${status}${carried}, ${seconds} s${why}`;
    bar.setAttribute("role", "img");
    bar.setAttribute("aria-label", says);
    bar.title = `${says}\n${JSON.stringify(call.arguments)}`;
    track.append(bar);
    item.append(track, make("span", "took", call.carried ? "" : `${seconds} s`));
    return item;
  }

  function drawTurns() {
    const numbers = [...turns.keys()].sort((a, b) => a - b);
    for (const old of numbers.slice(0, -MOST_TURNS)) {
      turns.delete(old);
      drawn.turns.get(old)?.remove();
      drawn.turns.delete(old);
    }
    for (const number of [...dirty].sort((a, b) => a - b)) {
      const turn = turns.get(number);
      if (!turn) continue;
      const item = drawTurn(turn);
      const before = drawn.turns.get(number);
      if (before) before.replaceWith(item); else list.append(item);
      drawn.turns.set(number, item);
    }
    dirty.clear();
  }

  // A box that shows its end goes on doing so.
  function atItsEnd(box, drawIt) {
    const isThere = box.scrollHeight - box.scrollTop - box.clientHeight < 60;
    drawIt();
    if (isThere) box.scrollTop = box.scrollHeight;
  }

  function draw() {
    if (live) for (const turn of turns.values()) if (turn.outcome === null) dirty.add(turn.number);
    atItsEnd(conversation, drawWords);
    atItsEnd(list, drawTurns);
  }

  const isRunning = () => [...turns.values()].some((turn) => turn.outcome === null);

  return { take, draw, isRunning };
}
