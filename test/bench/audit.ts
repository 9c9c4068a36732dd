/** The extension: its installation, and an audit trail of five million rows. */
import { type TestClient, TestPostgres } from '../support/postgres.ts';
import { type Benchmark, median, percentile, spread } from './harness.ts';

export const createExtension: Benchmark = async () => {
  const server = TestPostgres.create();
  await using _running = server;
  server.useExtension();
  await server.start();
  await using sql = server.client();
  const samples: number[] = [];
  for (let i = 0; i < 20; i++) {
    const began = performance.now();
    await sql.unsafe('CREATE EXTENSION steep_repl');
    samples.push(performance.now() - began);
    await sql.unsafe('DROP EXTENSION steep_repl');
  }
  return [
    {
      what: 'CREATE EXTENSION [SC-001]',
      reach: '≤ 1 s',
      measured: spread(samples, 'ms', 0),
      reached: median(samples) <= 1000,
      samples,
    },
  ];
};

const ROWS = 5_000_000;
const OLD = 1_000_000;

/** One million rows older than two years, the rest spread over the two years up to now. */
const FILL = `
  INSERT INTO steep_repl.audit_log (occurred_at, action, actor, target_type, target_id, new_value)
  SELECT CASE WHEN n <= ${OLD} THEN now() - interval '3 years' + n * interval '20 seconds'
              ELSE now() - interval '2 years' + (n - ${OLD}) * interval '15 seconds' END,
         (ARRAY['node.updated', 'node.status_changed', 'state.updated'])[1 + n % 3], 'postgres@local',
         'node', 'node-' || n % 50, '{"status": "healthy"}'
    FROM generate_series(1, ${ROWS}) AS n`;

/** Fills the table with its triggers off: five million notifications are not what is measured. */
async function fill(sql: TestClient): Promise<void> {
  const triggers = await sql<{ enable: string }[]>`
    SELECT format('ALTER TABLE steep_repl.audit_log ENABLE %s TRIGGER %I',
                  CASE tgenabled WHEN 'A' THEN 'ALWAYS' WHEN 'R' THEN 'REPLICA' END, tgname) AS enable
      FROM pg_trigger WHERE tgrelid = 'steep_repl.audit_log'::regclass AND NOT tgisinternal`;
  await sql.unsafe('ALTER TABLE steep_repl.audit_log DISABLE TRIGGER ALL');
  await sql.unsafe(FILL);
  for (const { enable } of triggers) await sql.unsafe(enable);
  await sql.unsafe('VACUUM ANALYZE steep_repl.audit_log');
}

export const auditTrail: Benchmark = async () => {
  await using server = await TestPostgres.withExtension({
    shared_buffers: '512MB',
    max_wal_size: '4GB',
    work_mem: '64MB',
  });
  await using sql = server.client();
  await using writer = server.client();
  await fill(sql);

  const queries: number[] = [];
  for (let i = 0; i < 500; i++) {
    const began = performance.now();
    const rows = await sql`SELECT * FROM steep_repl.audit_log ORDER BY occurred_at DESC, id DESC LIMIT 100`;
    queries.push(performance.now() - began);
    if (rows.length !== 100) throw new Error('not the newest 100');
  }

  const began = performance.now();
  const pruning = { done: false };
  const pruned = prune(sql).finally(() => (pruning.done = true));
  const writes: number[] = [];
  while (!pruning.done) {
    const at = performance.now();
    await writer`SELECT steep_repl.register_node('writer', 'writer', 'localhost', priority => ${1 + (writes.length % 100)})`;
    writes.push(performance.now() - at);
  }
  const removed = await pruned;
  const seconds = (performance.now() - began) / 1000;
  return [
    {
      what: 'newest 100 of 5 million audit rows',
      reach: '≤ 20 ms p99',
      measured: `p99 ${percentile(queries, 99).toFixed(1)} ms, median ${spread(queries, 'ms')}`,
      reached: percentile(queries, 99) <= 20,
      samples: queries,
    },
    {
      what: `writers while ${removed.toLocaleString('en')} rows are pruned in ${seconds.toFixed(1)} s`,
      reach: 'blocked ≤ 100 ms',
      measured: `longest ${Math.max(...writes).toFixed(0)} ms, ${spread(writes, 'ms')}`,
      reached: Math.max(...writes) <= 100,
      samples: writes,
    },
  ];
};

async function prune(sql: TestClient): Promise<number> {
  let total = 0;
  for (;;) {
    const [row] = await sql<{ deleted: number }[]>`
      SELECT steep_repl.prune_audit_log(interval '2 years', 10000)::int AS deleted`;
    if (!row?.deleted) return total;
    total += row.deleted;
  }
}
