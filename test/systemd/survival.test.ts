/** What the service has to survive on a booted systemd machine with a PostgreSQL. Each test goes on after the one before. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { SystemdMachine } from '../support/systemd-machine.ts';

let machine: SystemdMachine;
beforeAll(async () => {
  machine = await SystemdMachine.boot();
  await machine.putPostgresql();
  await machine.configure({ postgresql: { user: 'postgres' } });
}, 120_000);
afterAll(async () => await machine[Symbol.asyncDispose]());

/** Exit 1: only while no daemon runs that is connected. */
const CONNECTED = 'steep-repl status | grep -q "PostgreSQL   connected 18"';

/** As a debugger does: the thread that runs JavaScript stops, all others go on. */
const HOLD_MAIN_THREAD = `
const SEIZE = 0x4206, INTERRUPT = 0x4207;
const { i32, i64 } = require('bun:ffi').FFIType;
const libc = require('bun:ffi').dlopen('libc.so.6', { ptrace: { args: [i32, i32, i64, i64], returns: i64 } }).symbols;
const pid = Number(process.argv.at(-1));
for (const request of [SEIZE, INTERRUPT])
  if (Number(libc.ptrace(request, pid, 0, 0)) !== 0) throw new Error('ptrace');
setInterval(() => {}, 1000);
`;

async function newPid(before: string): Promise<string> {
  let pid = before;
  await machine.waitFor(
    `pid=$(systemctl show steep-repl -P MainPID); test $pid != 0 && test $pid != ${before} && systemctl is-active --quiet steep-repl`,
    `another process than ${before}`,
  );
  pid = await machine.show('MainPID');
  expect(pid).not.toBe(before);
  return pid;
}

describe('the service', () => {
  test('is installed and started in less than two minutes [SC-002]', async () => {
    const began = performance.now();
    await machine.ok('steep-repl tls init && steep-repl install && steep-repl start');
    const seconds = (performance.now() - began) / 1000;
    console.log(`tls init, install and start: ${seconds.toFixed(2)} s`);
    expect(seconds).toBeLessThan(120);
  });

  test('is active while PostgreSQL is late, says so, and connects when it comes', async () => {
    expect(await machine.show('ActiveState')).toBe('active');
    await machine.waitFor(
      'systemctl status steep-repl | grep "PostgreSQL at localhost:5432/postgres cannot be used: connection refused"',
      'the status text',
    );
    await machine.ok('systemctl start postgresql');
    await machine.waitFor('steep-repl init-extension', 'PostgreSQL');
    await machine.waitFor(CONNECTED, 'the connection');
    await machine.waitFor(
      'systemctl show steep-repl -P StatusText | grep "Connected to PostgreSQL 18"',
      'the text',
    );
  });

  test('comes back each time when it is killed ten times in a row', async () => {
    let pid = await machine.show('MainPID');
    const restarts = Number(await machine.show('NRestarts'));
    for (let i = 0; i < 10; i += 1) {
      await machine.ok(`kill -9 ${pid}`);
      pid = await newPid(pid);
    }
    expect(Number(await machine.show('NRestarts'))).toBe(restarts + 10);
    await machine.waitFor(CONNECTED, 'the connection');
  });

  test('is killed by the watchdog when its event loop hangs, though other threads live, and comes back', async () => {
    const pid = await machine.show('MainPID');
    await machine.ok(`cat >/root/hold.js <<'END'\n${HOLD_MAIN_THREAD}END
      systemd-run --quiet --unit=hold -p Environment=BUN_BE_BUN=1 /usr/local/bin/steep-repl /root/hold.js ${pid}`);
    await machine.waitFor('journalctl -u steep-repl -o cat | grep "Watchdog timeout"', 'the watchdog');
    await machine.ok('systemctl stop hold'); // a killed process is there until its tracer is gone
    await newPid(pid);
    await machine.waitFor(CONNECTED, 'the connection');
  });

  test('runs the new executable after an upgrade in place, and the old one until then', async () => {
    const pid = await machine.show('MainPID');
    await machine.putExecutable('/usr/local/bin/steep-repl');
    expect(await machine.ok(`readlink /proc/${pid}/exe`)).toBe('/usr/local/bin/steep-repl (deleted)');
    await machine.waitFor(CONNECTED, 'an answer of the old one to the new one');
    await machine.ok('steep-repl restart');
    const after = await newPid(pid);
    expect(await machine.ok(`readlink /proc/${after}/exe`)).toBe('/usr/local/bin/steep-repl');
  });

  test('is there after a reboot, and had stopped before PostgreSQL did', async () => {
    await machine.waitFor(CONNECTED, 'the connection');
    await machine.reboot();
    await machine.waitFor(CONNECTED, 'the connection');
    const { UserspaceTimestampMonotonic: boot } = await timesOf('');
    const { ActiveEnterTimestampMonotonic: ready } = await timesOf('steep-repl');
    console.log(`ready ${((ready ?? NaN) - (boot ?? NaN)) / 1000} ms after the kernel gave way to systemd`);
    const stops = JSON.parse(await machine.ok('steep-repl audit --action daemon.stopped --json')) as {
      success: boolean;
    }[];
    expect(stops.length).toBeGreaterThan(0);
    expect(await machine.ok('journalctl -b -1 -u steep-repl -o cat')).toMatch(/daemon: stopped\b/);
    expect(await machine.ok('journalctl -b -1 -u steep-repl -o cat | tail -n 40')).not.toMatch(
      /stopping[^]*PostgreSQL cannot be used/,
    );
  });

  test('is there after a power cut', async () => {
    await machine.powerCut();
    await machine.waitFor(CONNECTED, 'the connection');
    expect(await machine.show('NRestarts')).toBe('0');
  });
});

async function timesOf(unit: string): Promise<Record<string, number>> {
  const lines = await machine.ok(
    `systemctl show ${unit} -p UserspaceTimestampMonotonic -p ActiveEnterTimestampMonotonic`,
  );
  return Object.fromEntries(
    lines.split('\n').map((line) => [line.split('=')[0], Number(line.split('=')[1])]),
  );
}
