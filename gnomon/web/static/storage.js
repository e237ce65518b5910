// What the browser stores until the server has it: submitted judgements and drafts. Each judgement gets its id here,
// once, so that sending it twice adds nothing.

import { post, Refused } from "./posting.js";

export const at = (id) => document.getElementById(id);
export const texts = JSON.parse(at("work").dataset.texts);
export const question = JSON.parse(at("work").dataset.question);
export const who = at("work").dataset.who; // several people may use one browser, several projects one address
const OUTBOX = `gnomon-outbox:${who}`, REFUSED = `gnomon-refused:${who}`, DRAFT = `gnomon-draft:${who}:`, GUIDELINES = `gnomon-guidelines:${who}`;

const read = (key, fallback) => { try { return JSON.parse(localStorage.getItem(key)) ?? fallback; } catch { return fallback; } };
const write = (key, value) => localStorage.setItem(key, JSON.stringify(value));

export const outbox = () => read(OUTBOX, []);
export const refused = () => read(REFUSED, []);
export const forgetRefused = () => localStorage.removeItem(REFUSED);
export const draftOf = (item) => read(DRAFT + item, null);
export const storeDraft = (item, draft) => write(DRAFT + item, draft);
export const dropDraft = (item) => localStorage.removeItem(DRAFT + item);

export function storeJudgement(judgement) { // throws if the browser does not allow storage
  write(OUTBOX, [...outbox(), judgement]);
  dropDraft(judgement.item);
}

export const guidelinesRead = () => read(GUIDELINES, "") === question.guidelines; // changed guidelines are shown again
export function markGuidelinesRead() { try { write(GUIDELINES, question.guidelines); } catch { /* without storage, they are shown again */ } }

export const isTemporary = (error) => !(error instanceof Refused) || error.status >= 500; // worth another try

export async function sendAll() { // throws at the first that cannot be sent
  while (outbox().length) {
    const [first] = outbox();
    try { await post("/api/submit", first); } catch (error) {
      // 409 and 422: the server's own code read the judgement and refused it. Any other error may be temporary.
      if (!(error instanceof Refused) || ![409, 422].includes(error.status)) throw error;
      write(REFUSED, [...refused(), { ...first, why: error.message }]);
      if (first.answer?.text && !first.corrects) storeDraft(first.item, first); // in case the item is shown again
    }
    write(OUTBOX, outbox().filter((one) => one.id !== first.id));
  }
}
