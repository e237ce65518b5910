// Requests to the server: JSON, which the server accepts or refuses with a sentence, under ids generated here.

export class Refused extends Error {
  constructor(status, detail) { super(detail); this.status = status; }
}

export async function send(path, body = {}, more = {}) { // throws Refused, or what fetch throws without a network
  const answer = await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), ...more });
  if (!answer.ok) {
    const body = await answer.json().catch(() => ({}));
    throw new Refused(answer.status, typeof body.detail === "string" ? body.detail : answer.statusText);
  }
  return answer;
}

export const post = async (path, body, more) => (await send(path, body, more)).json();

// The server's reason for a refusal in the reader's language; in English if there is no translation.
export const translateReason = (why, words) => Object.entries(words).find(([part]) => why.includes(part))?.[1] ?? why;

export function uuid() { // crypto.randomUUID exists only on https and localhost
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 15) | 64;
  bytes[8] = (bytes[8] & 63) | 128;
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("").replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}
