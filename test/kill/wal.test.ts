import { describeKills } from './kill.js';

describeKills('WAL');
