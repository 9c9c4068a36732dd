/** Loaded by `bun test` before all tests (bunfig.toml), also by one that nobody's runner cleans up after. */
import { afterAll } from 'bun:test';
import { removeTemplates } from './postgres.ts';

afterAll(removeTemplates);
