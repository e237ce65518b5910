// Which words of two texts the other has not: marked in what is on the page already, as elements that are made here.

const LARGEST = 16_000_000; // cells of the table; beyond it two texts are too long to compare

function wordsOf(root) { // every word and sign with where it stands; scripts without spaces are cut by the browser
  const cut = new Intl.Segmenter(document.documentElement.lang, { granularity: "word" });
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT), found = [];
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    for (const { segment, index } of cut.segment(node.data)) {
      if (segment.trim()) found.push({ node, start: index, end: index + segment.length, word: segment });
    }
  }
  return found;
}

export function unmatched(a, b) { // places in each that no longest common subsequence has; null: too long
  let start = 0, endA = a.length, endB = b.length;
  while (start < endA && start < endB && a[start] === b[start]) start += 1;
  while (endA > start && endB > start && a[endA - 1] === b[endB - 1]) { endA -= 1; endB -= 1; }
  const n = endA - start, m = endB - start, width = m + 1;
  if ((n + 1) * width > LARGEST) return null;
  const longest = new Uint32Array((n + 1) * width); // of the rests from i and j on
  for (let i = n - 1; i >= 0; i -= 1) {
    for (let j = m - 1; j >= 0; j -= 1) {
      longest[i * width + j] = a[start + i] === b[start + j]
        ? longest[(i + 1) * width + j + 1] + 1
        : Math.max(longest[(i + 1) * width + j], longest[i * width + j + 1]);
    }
  }
  const onlyA = [], onlyB = [];
  let i = 0, j = 0;
  while (i < n && j < m) {
    if (a[start + i] === b[start + j]) { i += 1; j += 1; }
    else if (longest[(i + 1) * width + j] >= longest[i * width + j + 1]) onlyA.push(start + i++);
    else onlyB.push(start + j++);
  }
  while (i < n) onlyA.push(start + i++);
  while (j < m) onlyB.push(start + j++);
  return [onlyA, onlyB];
}

function mark(words, places) {
  const ranges = [];
  for (const place of places) {
    const { node, start, end } = words[place], last = ranges.at(-1);
    if (last?.node === node && last.place === place - 1) Object.assign(last, { end, place });
    else ranges.push({ node, start, end, place });
  }
  for (const { node, start, end } of ranges.reverse()) { // from the end, so that what stands before keeps its place
    node.splitText(end);
    const marked = document.createElement("mark");
    const word = node.splitText(start);
    word.replaceWith(marked);
    marked.append(word);
  }
}

export function markDifference(first, second) { // how many words were marked; null where they are too many to compare
  const sides = [first, second].map(wordsOf);
  const found = unmatched(...sides.map((words) => words.map(({ word }) => word)));
  if (found === null) return null;
  found.forEach((places, side) => mark(sides[side], places));
  return found[0].length + found[1].length;
}
