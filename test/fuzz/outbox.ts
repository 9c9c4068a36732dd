/** `audit-outbox.jsonl` in state_dir: whatever stands in it, the daemon starts, and what is owed does not get stuck. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { startAuditTrail } from '../../src/daemon/audit-trail.ts';
import { Complaint } from '../../src/daemon/complaint.ts';
import { Outbox } from '../../src/daemon/outbox.ts';
import { createLogger } from '../../src/lib/log.ts';
import { targetFor, Watched } from '../integration/db/support.ts';
import type { Random } from '../simulation/random.ts';
import { TestPostgres } from '../support/postgres.ts';
import { damaged, reworded } from './mutate.ts';
import { fail, type Target } from './target.ts';

const WORDS = [
  'null',
  '1',
  '""',
  '"x"',
  '{}',
  '[]',
  '"node"',
  '"2026-13-01T00:00:00Z"',
  '"infinity"',
  '"-infinity"',
  '"10.0.0.0/8"',
  String.raw`"\u0000"`,
  String.raw`"\ud800"`,
  '1e400',
  'true',
  '[[[[1]]]]',
  '{"dropped":"x"}',
];

export async function openOutbox(): Promise<Target> {
  const stack = new AsyncDisposableStack();
  const folder = stack.adopt(mkdtempSync(path.join(tmpdir(), 'owed-')), (made) =>
    rmSync(made, { recursive: true, force: true }),
  );
  const server = stack.use(await TestPostgres.withExtension());
  const watched = stack.use(new Watched(targetFor(server)));
  await watched.until('connected');
  const file = path.join(folder, 'audit-outbox.jsonl');
  const good = goodLines(file);
  const log = createLogger({ level: 'error', format: 'json', write: () => {} });
  return {
    generate: (random) => ({ outbox: variant(random, good) }),
    async check({ outbox: bytes }) {
      writeFileSync(file, bytes!);
      const outbox = new Outbox({ file, nodeId: 'node-a' });
      const complaint = new Complaint('owed', log);
      await using trail = startAuditTrail({
        outbox,
        database: watched.database,
        log,
        complaint,
        onWritten: () => {},
      });
      await trail.flush(30_000);
      if (outbox.size > 0)
        fail(`${outbox.size} events are stuck: ${existsSync(file) ? readFileSync(file, 'utf8') : ''}`);
    },
    async settle() {
      if (watched.now !== 'connected') fail(`PostgreSQL is ${watched.now}: ${watched.message}`);
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

function goodLines(file: string): Buffer {
  const outbox = new Outbox({ file, nodeId: 'node-a' });
  outbox.add({
    action: 'daemon.started',
    target_type: 'daemon',
    target_id: 'node-a',
    new_value: { version: '1', pid: 4 },
  });
  outbox.add({
    action: 'config.changed',
    target_type: 'daemon',
    target_id: 'node-a',
    old_value: { a: 1 },
    new_value: { a: 2 },
    acting_for: 'alice',
  });
  outbox.add({
    action: 'rpc.refused',
    target_type: 'node',
    target_id: 'node-b',
    success: false,
    error_message: 'no',
    client_ip: '10.0.0.2',
  });
  return readFileSync(file);
}

/** One value in it changed, keys left out or doubled, or bytes. */
function variant(random: Random, good: Buffer): Buffer {
  let text = good.toString();
  if (random.chance(0.7))
    for (let count = 1 + random.below(3); count > 0; count -= 1) {
      const values = [...text.matchAll(/:("[^"]*"|\d+|true|false|\{[^{}]*\})/g)];
      const found = values[random.below(values.length)];
      if (!found) break;
      text = `${text.slice(0, found.index)}:${random.of(WORDS)}${text.slice(found.index + found[0].length)}`;
    }
  if (random.chance(0.2)) text = reworded(random, text, WORDS);
  return random.chance(0.3) ? damaged(random, Buffer.from(text), [good]) : Buffer.from(text);
}
