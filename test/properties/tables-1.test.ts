import { describeHalf } from './tables.js';

describeHalf();
