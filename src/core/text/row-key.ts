/** A column with its value, as a person writes it: `id=17`. Null for what is not written so. */
export function columnValue(text: string): [column: string, value: string | number] | null {
  const at = text.indexOf('=');
  if (at < 1) return null;
  const value = text.slice(at + 1);
  // Only what is written as the number is written: 007 is a text.
  const isNumber = Number.isFinite(Number(value)) && String(Number(value)) === value;
  return [text.slice(0, at), isNumber ? Number(value) : value];
}
