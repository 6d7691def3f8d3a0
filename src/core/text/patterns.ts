/**
 * A test for names that fit one of these patterns: `*` stands for any characters, also none, and all else for itself. Takes no
 * longer for a pattern that was made to take long.
 */
export function matcher(patterns: readonly string[]): (name: string) => boolean {
  const split = patterns.map((pattern) => pattern.split('*'));
  return (name) => split.some((parts) => fits(parts, name));
}

/** @param parts what stands between the signs, in order */
function fits([first = '', ...rest]: string[], name: string): boolean {
  const last = rest.pop();
  if (last === undefined) return name === first;
  if (!name.startsWith(first)) return false;
  let at = first.length;
  for (const part of rest) {
    const found = name.indexOf(part, at);
    if (found === -1) return false;
    at = found + part.length;
  }
  return name.length - last.length >= at && name.endsWith(last);
}
