import { describe, expect, it } from '@jest/globals';
import { bufferCollector } from '../src/memory.js';

const MIB = 1 << 20;

describe('A collector of buffers', () => {
  it('has what nobody uses any more given back after every 8 MiB', () => {
    const collect = bufferCollector();
    const before = process.memoryUsage().arrayBuffers;
    let most = 0;
    for (let made = 0; made < 200; made++) {
      Buffer.alloc(MIB, 1);
      collect(MIB);
      most = Math.max(most, process.memoryUsage().arrayBuffers - before);
    }
    expect(most).toBeGreaterThan(0);
    expect(most).toBeLessThanOrEqual(20 * MIB);
  });
});
