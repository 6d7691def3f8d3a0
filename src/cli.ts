#!/usr/bin/env node
import module from 'node:module';
import { fileURLToPath } from 'node:url';

// Node 22 and later keep what they have compiled: a command then starts in about half the time.
const { enableCompileCache } = module as { enableCompileCache?: (folder: string) => unknown };
enableCompileCache?.(fileURLToPath(new URL('.cache/', import.meta.url)));

const { runProgram } = await import('./cli/program.js');
await runProgram(process.argv.slice(2));
