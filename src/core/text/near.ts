/**
 * Up to three names that differ from the wanted one by little, the nearest first.
 * @param most how many letters may differ; default 2, or a third of a longer name
 */
export function nearest(wanted: string, known: string[], most?: number): string[] {
  const limit = most ?? Math.max(2, wanted.length / 3);
  const score = (name: string) => {
    const [one, other] = [wanted.toLowerCase(), name.toLowerCase()];
    const isPart = most === undefined && (other.includes(one) || one.includes(other));
    return isPart ? 1 : distance(one, other);
  };
  return known
    .map((name) => ({ name, score: score(name) }))
    .filter((candidate) => candidate.score <= limit)
    .sort((a, b) => a.score - b.score)
    .slice(0, 3)
    .map((candidate) => candidate.name);
}

/** Levenshtein's. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(change, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
