// Whether two texts are in different scripts, such as Latin and Han. The same rule as in quality/written_checks.py.

const SCRIPTS = {
  Han: /\p{Script=Han}/gu, Kana: /[\p{Script=Hiragana}\p{Script=Katakana}]/gu, Hangul: /\p{Script=Hangul}/gu, Latin: /\p{Script=Latin}/gu,
  Cyrillic: /\p{Script=Cyrillic}/gu, Greek: /\p{Script=Greek}/gu, Arabic: /\p{Script=Arabic}/gu, Hebrew: /\p{Script=Hebrew}/gu,
  Devanagari: /\p{Script=Devanagari}/gu, Bengali: /\p{Script=Bengali}/gu, Thai: /\p{Script=Thai}/gu, Tamil: /\p{Script=Tamil}/gu,
  Telugu: /\p{Script=Telugu}/gu, Georgian: /\p{Script=Georgian}/gu, Armenian: /\p{Script=Armenian}/gu, Khmer: /\p{Script=Khmer}/gu,
};
const MIN_LETTERS = 5, KANA_SHARE = 0.1;

export function mainScript(text) { // "" if there are too few letters
  const prose = text.replace(/```[^]*?(?:```|$)|`[^`\n]*`/g, " ");
  const counts = Object.entries(SCRIPTS).map(([name, letters]) => [name, (prose.match(letters) ?? []).length]);
  const total = counts.reduce((sum, [, n]) => sum + n, 0);
  if (total < MIN_LETTERS) return "";
  if (counts.find(([name]) => name === "Kana")[1] > KANA_SHARE * total) return "Kana"; // Japanese, whatever the share of Han
  return counts.sort((one, other) => other[1] - one[1])[0][0];
}

export function differsInScript(text, other) {
  const scripts = new Set([mainScript(text), mainScript(other)]);
  return !scripts.has("") && scripts.size > 1;
}
