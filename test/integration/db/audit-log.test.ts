/** What the daemon hands over for the audit trail. */
import { expect, test } from 'bun:test';
import { recordEvents } from '../../../src/db/audit-log.ts';
import { TestPostgres } from '../../support/postgres.ts';
import { targetFor, Watched } from './support.ts';

test('an event with text that PostgreSQL cannot hold is recorded all the same', async () => {
  await using server = await TestPostgres.withExtension();
  await using watched = new Watched(targetFor(server));
  await watched.until('connected');
  await recordEvents(watched.database, [
    {
      event_id: crypto.randomUUID(),
      occurred_at: '2026-01-02T03:04:05Z',
      action: 'rpc.refused',
      target_type: 'daemon',
      target_id: 'node-a',
      new_value: { caller: 'CN=a\0b\ud800c' },
      success: false,
      error_message: 'no\0',
    },
  ]);
  const [row] = await server.query(
    "SELECT new_value, error_message FROM steep_repl.audit_log WHERE action = 'rpc.refused'",
  );
  expect(row).toMatchObject({ new_value: { caller: 'CN=a\ufffdb\ufffdc' }, error_message: 'no\ufffd' });
});
