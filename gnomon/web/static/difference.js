// Marks the words of two texts that the other one lacks, in the rendered text, as elements created here.

const MAX_CELLS = 16_000_000; // of the table; larger texts are not compared

function wordsOf(root) { // every word and sign with its position; the browser segments scripts without spaces
  const cut = new Intl.Segmenter(document.documentElement.lang, { granularity: "word" });
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT), words = [];
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    for (const { segment, index } of cut.segment(node.data)) {
      if (segment.trim()) words.push({ node, start: index, end: index + segment.length, word: segment });
    }
  }
  return words;
}

export function unmatched(a, b) { // indices in each outside a longest common subsequence; null: too long
  let start = 0, endA = a.length, endB = b.length;
  while (start < endA && start < endB && a[start] === b[start]) start += 1;
  while (endA > start && endB > start && a[endA - 1] === b[endB - 1]) { endA -= 1; endB -= 1; }
  const n = endA - start, m = endB - start, width = m + 1;
  if ((n + 1) * width > MAX_CELLS) return null;
  const longest = new Uint32Array((n + 1) * width); // length for the suffixes from i and j on
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

function mark(words, indices) {
  const ranges = [];
  for (const index of indices) {
    const { node, start, end } = words[index], last = ranges.at(-1);
    if (last?.node === node && last.index === index - 1) Object.assign(last, { end, index });
    else ranges.push({ node, start, end, index });
  }
  for (const { node, start, end } of ranges.reverse()) { // from the end, so that earlier offsets stay valid
    node.splitText(end);
    const marked = document.createElement("mark");
    const word = node.splitText(start);
    word.replaceWith(marked);
    marked.append(word);
  }
}

export function markDifference(first, second) { // number of marked words; null if the texts are too long to compare
  const sides = [first, second].map(wordsOf);
  const differing = unmatched(...sides.map((words) => words.map(({ word }) => word)));
  if (differing === null) return null;
  differing.forEach((indices, side) => mark(sides[side], indices));
  return differing[0].length + differing[1].length;
}
