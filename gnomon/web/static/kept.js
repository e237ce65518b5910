// What the browser keeps until the server has it: answers on their way, and drafts. Each answer has an id that was
// made here, once, so that sending it twice adds nothing.

import { post, Refused } from "./posting.js";

export const at = (id) => document.getElementById(id);
export const texts = JSON.parse(at("work").dataset.texts);
export const asking = JSON.parse(at("work").dataset.asking);
export const who = at("work").dataset.who; // several people may use one browser, and several projects one address
const OUTBOX = `gnomon-outbox:${who}`, REFUSED = `gnomon-refused:${who}`, DRAFT = `gnomon-draft:${who}:`, GUIDELINES = `gnomon-guidelines:${who}`;

const read = (key, otherwise) => { try { return JSON.parse(localStorage.getItem(key)) ?? otherwise; } catch { return otherwise; } };
const write = (key, value) => localStorage.setItem(key, JSON.stringify(value));

export const outbox = () => read(OUTBOX, []);
export const refused = () => read(REFUSED, []);
export const forgetRefused = () => localStorage.removeItem(REFUSED);
export const draftOf = (item) => read(DRAFT + item, null);
export const keepDraft = (item, draft) => write(DRAFT + item, draft);
export const dropDraft = (item) => localStorage.removeItem(DRAFT + item);

export function keepAnswer(said) { // throws where the browser lets the page keep nothing
  write(OUTBOX, [...outbox(), said]);
  dropDraft(said.item);
}

export const guidelinesRead = () => read(GUIDELINES, "") === asking.guidelines; // those of now: new ones are shown again
export function keepGuidelinesRead() { try { write(GUIDELINES, asking.guidelines); } catch { /* they are shown again */ } }

export const mayPass = (error) => !(error instanceof Refused) || error.status >= 500; // what may be better in a while

export async function sendAll() { // throws at the first that could not be sent
  while (outbox().length) {
    const [first] = outbox();
    try { await post("/api/submit", first); } catch (error) {
      // 409 and 422 are the server's own: it has understood the answer and will not have it. All else may pass.
      if (!(error instanceof Refused) || ![409, 422].includes(error.status)) throw error;
      write(REFUSED, [...refused(), { ...first, why: error.message }]);
    }
    write(OUTBOX, outbox().filter((one) => one.id !== first.id));
  }
}
