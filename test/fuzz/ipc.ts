/** Lines for the IPC door of a daemon: each that is not empty gets exactly one answer, and no defect among them. */
import { operations, streams } from '../../src/operations/index.ts';
import { Fuzzer } from '../integration/ipc/fuzzer.ts';
import { DoorDaemon } from '../integration/ipc/support.ts';
import type { Random } from '../simulation/random.ts';
import { ask, RawIpc } from '../support/ipc-raw.ts';
import { TestPostgres } from '../support/postgres.ts';
import { damaged } from './mutate.ts';
import { fail, type Target } from './target.ts';

const METHODS = [...Object.keys(operations), ...Object.keys(streams)];
const VALUES = [
  'node-a',
  'node-b',
  '',
  'offline',
  'online',
  '127.0.0.1:1',
  '[::1]:0',
  'x'.repeat(4000),
  '\0',
  '../x',
  null,
  -1,
  1e9,
  true,
  {},
];

export async function openIpc(): Promise<Target> {
  const stack = new AsyncDisposableStack();
  const server = stack.use(await TestPostgres.withExtension());
  const daemon = stack.use(await DoorDaemon.start({ server }));
  return {
    parallel: 20,
    generate: (random) => ({
      line: random.chance(0.5) ? new Fuzzer(random.below(2 ** 31)).line() : order(random),
    }),
    async check({ line }) {
      using client = await RawIpc.open(daemon.socket);
      client.write(Buffer.concat([line!, Buffer.from('\n{"id":"last","method":"status.get"}\n')]));
      await client.find(({ id }) => id === 'last', 'the last answer');
      if (line!.toString('utf8').trim() === '') return;
      const answer = await client.find((one) => one.id !== 'last' || isLast(line!), 'an answer');
      if (answer.error?.code === 'INTERNAL_ERROR') fail(`INTERNAL_ERROR: ${answer.error.message}`);
      if ((answer.error === null) === (answer.result === null))
        fail(`neither result nor error: ${JSON.stringify(answer)}`);
    },
    async settle() {
      const { result } = await ask(daemon.socket, 'status.get');
      if (result.state !== 'running') fail(`state ${result.state}`);
      if (daemon.log.includes('"msg":"a request failed"')) fail('a request failed, says the log');
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

function isLast(line: Buffer): boolean {
  return line.toString('latin1').includes('last');
}

/** A request that would change something, if it were right. */
function order(random: Random): Buffer {
  const names = ['node_id', 'status', 'address', 'limit', 'cursor', 'actions', 'since'];
  const params = Object.fromEntries(
    Array.from({ length: random.below(4) }, () => [random.of(names), random.of(VALUES)]),
  );
  const line = Buffer.from(JSON.stringify({ id: '1', method: random.of(METHODS), params }));
  return random.chance(0.7) ? line : Buffer.from(damaged(random, line).filter((byte) => byte !== 10));
}
