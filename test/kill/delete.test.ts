import { describeKills } from './kill.js';

describeKills('DELETE');
