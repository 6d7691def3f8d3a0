import { crc32, deflateSync } from 'node:zlib';

/** A true-colour PNG. @param colour red, green and blue (0 to 255) of a pixel */
export function png(width: number, height: number, colour: (x: number, y: number) => [number, number, number]): Buffer {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 2, 0, 0, 0], 8); // 8 bits, RGB, deflate, no filter method but 0, not interlaced
  const rows = Array.from({ length: height }, (_, y) =>
    Buffer.from([0, ...Array.from({ length: width }, (_unused, x) => colour(x, y)).flat()]),
  );
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  return Buffer.concat([
    signature,
    chunk('IHDR', header),
    chunk('IDAT', deflateSync(Buffer.concat(rows))),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}

function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const frame = Buffer.alloc(body.length + 8);
  frame.writeUInt32BE(data.length, 0);
  frame.set(body, 4);
  frame.writeUInt32BE(crc32(body), body.length + 4);
  return frame;
}

const BLOCK = 8;
/** Lengths of the codes of the standard's table for luminance: how many values have 1, 2, 3, … bits. */
const DC_LENGTHS = [0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0];
const DC_VALUES = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];
/** The only code for the rest of a block says that nothing follows: one bit, 0. */
const AC_LENGTHS = [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/** A grey baseline JPEG, a mosaic of blocks of one tone each. @param tone 0 to 255 for a block; sizes are multiples of 8 */
export function jpeg(width: number, height: number, tone: (x: number, y: number) => number): Buffer {
  const size = [height >> 8, height & 255, width >> 8, width & 255];
  let bits = '';
  let before = 0;
  for (let y = 0; y < height; y += BLOCK) {
    for (let x = 0; x < width; x += BLOCK) {
      const level = (tone(x, y) & 255) - 128;
      bits += difference(level - before) + '0';
      before = level;
    }
  }
  return Buffer.from([
    ...[0xff, 0xd8],
    ...segment(0xe0, [0x4a, 0x46, 0x49, 0x46, 0, 1, 1, 0, 0, 1, 0, 1, 0, 0]), // JFIF 1.1
    ...segment(0xdb, [0, ...Array<number>(64).fill(8)]), // quantisation by 8: the mean of a block is stored as it is
    ...segment(0xc0, [8, ...size, 1, 1, 0x11, 0]), // 8 bits, one component
    ...segment(0xc4, [0x00, ...DC_LENGTHS, ...DC_VALUES]),
    ...segment(0xc4, [0x10, ...AC_LENGTHS, 0]),
    ...segment(0xda, [1, 1, 0, 0, 63, 0]),
    ...stuffed(bits),
    ...[0xff, 0xd9],
  ]);
}

const segment = (marker: number, body: number[]) => [
  0xff,
  marker,
  (body.length + 2) >> 8,
  (body.length + 2) & 255,
  ...body,
];

/** The code of a difference: how many bits it has, then those bits; a negative one as the standard's complement. */
function difference(value: number): string {
  const length = value === 0 ? 0 : Math.floor(Math.log2(Math.abs(value))) + 1;
  const magnitude = value < 0 ? value + 2 ** length - 1 : value;
  return codeOf(length) + (length === 0 ? '' : magnitude.toString(2).padStart(length, '0'));
}

/** The Huffman code of a DC category: codes of one length follow each other. */
function codeOf(category: number): string {
  let code = 0;
  let index = 0;
  for (const [bits, count] of DC_LENGTHS.entries()) {
    if (category < index + count) return (code + category - index).toString(2).padStart(bits + 1, '0');
    index += count;
    code = (code + count) << 1;
  }
  throw new RangeError(`no code for ${category}`);
}

/** Bits as bytes, filled up with ones; a byte 255 is followed by 0, so that it is no marker. */
function stuffed(bits: string): number[] {
  const bytes = bits.padEnd(Math.ceil(bits.length / 8) * 8, '1').match(/.{8}/g) ?? [];
  return bytes.map((byte) => parseInt(byte, 2)).flatMap((byte) => (byte === 255 ? [255, 0] : [byte]));
}
