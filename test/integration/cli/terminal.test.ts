/** What commands draw on terminals, wide and narrow; and that nothing of it gets into pipes. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { TestPostgres } from '../../support/postgres.ts';
import { type Drawn, onTerminal, type TerminalOptions } from '../../support/terminal.ts';
import { DoorDaemon } from '../ipc/support.ts';

const stack = new AsyncDisposableStack();
let daemon: DoorDaemon;

beforeAll(async () => {
  const server = stack.use(await TestPostgres.withExtension());
  daemon = stack.use(await DoorDaemon.start({ server }));
  await daemon.untilSettled(server);
  await server.query(
    `SELECT steep_repl.register_node('far', 'The farthest of all nodes', 'db-with-a-long-name.example.com')`,
  );
});

afterAll(() => stack.disposeAsync());

async function draw(args: string[], options: TerminalOptions): Promise<Drawn> {
  return await onTerminal(daemon.sandbox, [...args, '--socket', daemon.socket], options);
}

const COLOUR = '\u001B[3';
const FAR = ['audit', '--target', 'node:far'];

describe('colour', () => {
  test('is on a terminal, not with NO_COLOR, and not in a pipe', async () => {
    for (const words of [['status'], ['health'], ['nodes', 'list']]) {
      const coloured = await draw(words, { columns: 200 });
      expect([words, coloured.raw.includes(COLOUR)]).toEqual([words, true]);
      const plain = await draw(words, { columns: 200, env: { NO_COLOR: '1' } });
      expect([words, plain.raw.includes('\u001B')]).toEqual([words, false]);
      const piped = await daemon.sandbox.run([...words, '--socket', daemon.socket]);
      expect([words, piped.stdout.includes('\u001B')]).toEqual([words, false]);
    }
    expect((await draw(['status', '--json'], { columns: 40 })).raw).not.toContain('\u001B');
  });
});

describe('times', () => {
  test('are local with their zone on a terminal, RFC 3339 elsewhere', async () => {
    const env = { TZ: 'Asia/Kolkata' };
    const { lines } = await draw(FAR, { columns: 200, env });
    expect(lines[0]).toMatch(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \+05:30 {2}node\.registered/);
    const piped = await daemon.sandbox.run([...FAR, '--socket', daemon.socket], { env });
    expect(piped.stdout).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z {2}node\.registered/);
    const local = Date.parse(lines[0]!.slice(0, 26).replace(' ', 'T').replace(' ', ''));
    expect(Math.abs(local - Date.parse(piped.stdout.split(' ')[0]!))).toBeLessThan(1000);
  });
});

describe('a narrow terminal', () => {
  test('has status with whole words, below where they began', async () => {
    const wide = await draw(['status'], { columns: 300 });
    const narrow = await draw(['status'], { columns: 40 });
    expect(narrow.code).toBe(wide.code);
    expect(narrow.lines.length).toBeGreaterThan(wide.lines.length);
    expect(narrow.lines.filter((line) => line.startsWith(' ') && !line.startsWith('  hint: '))).not.toEqual(
      [],
    );
    const words = (lines: string[]): string[] =>
      lines
        .join(' ')
        .split(/\s+/)
        .filter((word) => /^[a-z-]+$/i.test(word));
    expect(words(narrow.lines)).toEqual(words(wide.lines));
  });

  test.each([
    [200, 'NODE NAME STATUS POSTGRESQL RPC PRIORITY VOTES COORDINATOR ROUND_TRIP LAST_SEEN'],
    [80, 'NODE STATUS POSTGRESQL COORDINATOR LAST_SEEN'],
    [50, 'NODE STATUS COORDINATOR LAST_SEEN'],
  ])(
    'of %d columns has as many columns of nodes list as fit, and each node on a line',
    async (columns, headings) => {
      const { lines } = await draw(['nodes', 'list'], { columns });
      expect(
        lines[0]!.replace('ROUND TRIP', 'ROUND_TRIP').replace('LAST SEEN', 'LAST_SEEN').split(/ +/),
      ).toEqual(headings.split(' '));
      expect(lines).toHaveLength(3);
      expect(lines.filter((line) => line.length > columns || line.endsWith('…'))).toEqual([]);
      const piped = await daemon.sandbox.run(['nodes', 'list', '--socket', daemon.socket]);
      expect(piped.stdout).toContain('ROUND TRIP');
    },
  );

  test('has an entry of the audit trail on two lines, none wider than it', async () => {
    expect((await draw(FAR, { columns: 200 })).lines).toHaveLength(1);
    const { lines } = await draw(FAR, { columns: 80 });
    expect(lines).toHaveLength(2);
    expect(lines[0]).toEndWith('  node.registered       node:far');
    expect(lines[1]).toStartWith('     postgres@local  host: db-with-a-long-name.example.com, ');
    expect(lines[1]).toHaveLength(80);
  });

  test('has status --watch in place, on one screen, until Ctrl-C ends it with what was seen', async () => {
    const { code, raw } = await draw(['status', '--watch'], {
      columns: 40,
      rows: 6,
      interruptWhen: (drawn) => drawn.split('\u001B[H').length > 3,
    });
    const [before, ...drawings] = raw.split('\u001B[H\u001B[J');
    expect(before).toBe('\u001B[2J');
    expect(drawings.length).toBeGreaterThanOrEqual(3);
    for (const drawing of drawings.slice(0, 2)) {
      const lines = Bun.stripANSI(drawing).split('\n');
      expect(lines[0]).toBe('steep-repl 0.1.0 on node-a');
      expect(lines).toHaveLength(6); // five, and the cursor on the sixth
      expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(40);
    }
    expect(code).toBe((await draw(['status'], { columns: 80 })).code);
  });
});
