import { shown } from './names.js';
import { corrupt } from './refuse.js';

/**
 * The extra fields of a header by their id; of equal ids the first, as all tools read them.
 * @throws AppError ARCHIVE_CORRUPT if a field reaches beyond the block
 */
export function extraFields(block: Buffer, path: string): Map<number, Buffer> {
  const fields = new Map<number, Buffer>();
  for (let at = 0; at < block.length;) {
    const end = at + 4 <= block.length ? at + 4 + block.readUInt16LE(at + 2) : Infinity;
    if (end > block.length) throw corrupt(`The entry ${shown(path)} has a damaged extra field.`);
    const id = block.readUInt16LE(at);
    if (!fields.has(id)) fields.set(id, block.subarray(at + 4, end));
    at = end;
  }
  return fields;
}

/**
 * Replaces each value that is 0xffffffff by the next 64-bit one of the ZIP64 field.
 * @throws AppError ARCHIVE_CORRUPT if the field is missing, too short, or beyond what a number can hold
 */
export function zip64Values(field: Buffer | undefined, values: number[], path: string): number[] {
  let at = 0;
  return values.map((value) => {
    if (value !== 0xffffffff) return value;
    if (field === undefined || at + 8 > field.length) throw corrupt(`The entry ${shown(path)} lacks its ZIP64 sizes.`);
    const large = Number(field.readBigUInt64LE(at));
    at += 8;
    if (!Number.isSafeInteger(large)) throw corrupt(`The entry ${shown(path)} declares an impossible size.`);
    return large;
  });
}
