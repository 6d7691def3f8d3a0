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
 * Replaces each value that is 0xffffffff by the next 64-bit one of the ZIP64 field. Without such a field the value means
 * itself: archiver writes none for a file of exactly 4,294,967,295 bytes.
 * @throws AppError ARCHIVE_CORRUPT if the field is too short, or beyond what a number can hold
 */
export function zip64Values(field: Buffer | undefined, values: number[], path: string): number[] {
  if (field === undefined) return values;
  let at = 0;
  return values.map((value) => {
    if (value !== 0xffffffff) return value;
    if (at + 8 > field.length) throw corrupt(`The entry ${shown(path)} lacks its ZIP64 sizes.`);
    const large = Number(field.readBigUInt64LE(at));
    at += 8;
    if (!Number.isSafeInteger(large)) throw corrupt(`The entry ${shown(path)} declares an impossible size.`);
    return large;
  });
}

/** The ZIP64 field for a directory's record, with id and length: those of its three values that are 0xffffffff. */
export function zip64Field(values: number[]): Buffer {
  const large = values.filter((value) => value === 0xffffffff);
  const field = Buffer.alloc(4 + 8 * large.length);
  field.writeUInt16LE(1, 0);
  field.writeUInt16LE(field.length - 4, 2);
  large.forEach((value, index) => field.writeBigUInt64LE(BigInt(value), 4 + 8 * index));
  return field;
}
