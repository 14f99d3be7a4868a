// Server-sent events by fetch: taken up again where they were, with the cookie and no address.

const WAITS = [200, 500, 1000, 2000, 5000];

export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

export async function ask(method, path, body) {
  const options = { method, headers: {}, cache: "no-store" };
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  const answer = await fetch(path, options);
  if (answer.ok) return answer.status === 204 ? null : answer.json();
  let detail = answer.statusText;
  try {
    detail = (await answer.json()).detail || detail;
  } catch { /* it was no problem document */ }
  throw new Refused(answer.status, detail);
}

function parse(block) {
  const event = { kind: "message", data: [], id: null };
  for (const line of block.split("\n")) {
    if (line.startsWith(":")) continue;
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "event") event.kind = value;
    else if (name === "data") event.data.push(value);
    else if (name === "id") event.id = value;
  }
  return event.data.length ? event : null;
}

async function* blocks(body, signal) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  try {
    while (!signal.aborted) {
      const { value, done } = await reader.read();
      if (done) return;
      text += value;
      const parts = text.split("\n\n");
      text = parts.pop();
      for (const part of parts) {
        const event = parse(part);
        if (event) yield event;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

// Calls take(kind, data) with every event until the signal is aborted; state(words) as it goes.
export async function listen(path, { after, take, state, signal }) {
  let last = after;
  let failed = 0;
  while (!signal.aborted) {
    try {
      const headers = last === undefined ? {} : { "Last-Event-ID": String(last) };
      const answer = await fetch(path, { headers, signal, cache: "no-store" });
      if (answer.status === 401 || answer.status === 404) throw new Refused(answer.status, "");
      if (!answer.ok) throw new Error(`the service answered ${answer.status}`);
      state("live");
      for await (const event of blocks(answer.body, signal)) {
        failed = 0;
        if (event.id !== null) last = event.id;
        take(event.kind, JSON.parse(event.data.join("\n")));
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Refused) throw error;
    }
    if (signal.aborted) return;
    state("connecting again");
    const wait = WAITS[Math.min(failed, WAITS.length - 1)];
    failed += 1;
    await new Promise((done) => setTimeout(done, wait));
  }
}
