import { jest } from '@jest/globals';

declare const TEST_TIMEOUT: number;

jest.setTimeout(TEST_TIMEOUT);
