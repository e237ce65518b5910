// What every page sends: JSON that the server takes or refuses with a sentence, under ids that are made here.

export class Refused extends Error {
  constructor(status, detail) { super(detail); this.status = status; }
}

export async function send(path, body = {}, more = {}) { // throws Refused, or what fetch throws without a network
  const answer = await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), ...more });
  if (!answer.ok) {
    const said = await answer.json().catch(() => ({}));
    throw new Refused(answer.status, typeof said.detail === "string" ? said.detail : answer.statusText);
  }
  return answer;
}

export const post = async (path, body, more) => (await send(path, body, more)).json();

// Why the server refused, in the reader's language; what it has no words for stays as the server said it.
export const inWords = (why, words) => Object.entries(words).find(([part]) => why.includes(part))?.[1] ?? why;

export function uuid() { // crypto.randomUUID is only for https and this machine
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 15) | 64;
  bytes[8] = (bytes[8] & 63) | 128;
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("").replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}
