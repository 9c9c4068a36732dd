import { afterAll, describe, expect, test } from 'bun:test';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type PasswordOptions, passwordFrom } from '../../../src/db/password.ts';
import { SteepError } from '../../../src/lib/errors.ts';
import { SECRET_MARK } from '../../support/secrets.ts';
import { waitFor } from '../../support/wait.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'password-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
let count = 0;
const fresh = (): string => path.join(folder, `file-${++count}`);

const SECRET = `hunter2-${SECRET_MARK}`;
const sh = (script: string): string[] => ['/bin/sh', '-c', script];

/** The error that the command ends in; it may quote neither arguments nor output. */
async function failure(command: string[], options: PasswordOptions = {}): Promise<SteepError> {
  const outcome = await passwordFrom(command, options).then(
    (password) => new Error(`no error, but ${password}`),
    (error: unknown) => error,
  );
  if (!(outcome instanceof SteepError)) throw outcome;
  const shown = `${outcome.message} ${outcome.hint}`;
  expect(shown).not.toContain(SECRET);
  expect(outcome.code).toBe('PERMISSION_DENIED');
  return outcome;
}

function alive(pid: number): boolean {
  try {
    // A zombie has ended, though nobody has asked for its status.
    return !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

describe('the password', () => {
  test.each([
    ['one line', `echo '${SECRET}'`, SECRET],
    ['the first of several lines', `echo '${SECRET}'; echo more`, SECRET],
    ['a line without an end', `printf %s '${SECRET}'`, SECRET],
    ['a line of Windows', `printf '%s\\r\\n' '${SECRET}'`, SECRET],
    ['spaces and letters', `printf ' \\tpäss wörd \\n'`, ' \tpäss wörd '],
    ['what came in pieces', `printf ab; sleep 0.1; printf cd; sleep 0.1; echo ef`, 'abcdef'],
    ['what came beside an error message', `echo oops >&2; echo ok`, 'ok'],
  ])('is %s', async (_what, script, password) => {
    expect(await passwordFrom(sh(script))).toBe(password);
  });

  test('is asked for without a shell between', async () => {
    expect(await passwordFrom(['echo', '$HOME', '`id`', 'a  b', '; exit 1'])).toBe(
      '$HOME `id` a  b ; exit 1',
    );
  });

  test('is asked for with the environment of the daemon, but without PGPASSWORD', async () => {
    process.env['PGPASSWORD'] = SECRET;
    process.env['STEEP_TEST_SEEN'] = 'seen';
    try {
      expect(await passwordFrom(sh('echo "${PGPASSWORD-none} $STEEP_TEST_SEEN"'))).toBe('none seen');
    } finally {
      delete process.env['PGPASSWORD'];
      delete process.env['STEEP_TEST_SEEN'];
    }
  });
});

describe('a command that cannot give one', () => {
  test.each([
    ['fails', `echo ${SECRET}; echo ${SECRET} >&2; exit 3`, 'password_command sh ended with exit code 3'],
    ['dies', `echo ${SECRET}; kill -9 $$`, 'password_command sh was ended by SIGKILL'],
    ['prints nothing', `true`, 'password_command sh printed no password'],
    ['prints an empty first line', `echo; echo ${SECRET}`, 'password_command sh printed no password'],
    ['prints a NUL byte', `printf '${SECRET}\\0x'`, 'password_command sh printed a NUL byte'],
    ['prints without end', `yes ${SECRET}`, 'password_command sh printed more than 64 KiB'],
  ])('because it %s is named, its words are not', async (_what, script, message) => {
    const error = await failure(sh(script));
    expect(error.message).toBe(message);
    expect(error.hint).toBe('run it by hand as the user of the daemon');
  });

  test('because it is not there, or no program, is named', async () => {
    const none = fresh();
    expect((await failure([none, SECRET])).message).toStartWith(
      `password_command ${path.basename(none)} cannot be run: ENOENT`,
    );
    const text = fresh();
    writeFileSync(text, 'no program');
    expect((await failure([text, SECRET])).message).toContain('cannot be run: EACCES');
    expect((await failure([folder, SECRET])).message).toContain('cannot be run: EACCES');
  });

  test('because its arguments are impossible is named without them', async () => {
    expect((await failure(['echo', `${SECRET}\0x`])).message).toBe(
      'password_command echo cannot be run: ERR_INVALID_ARG_VALUE',
    );
    expect((await failure([''])).message).toContain('cannot be run');
    expect((await failure([])).message).toContain('cannot be run');
  });
});

describe('a command that hangs', () => {
  /** Starts a child and a grandchild, writes their process ids, and never ends. */
  const hanging = (pids: string): string[] =>
    sh(
      `sleep 300 & echo $! > ${pids}; (sleep 300 & echo $! >> ${pids}); echo $$ >> ${pids}; echo ${SECRET}; wait; sleep 300`,
    );
  const pidsIn = (file: string): number[] => readFileSync(file, 'utf8').trim().split('\n').map(Number);
  const started = (file: string) => (): boolean => existsSync(file) && pidsIn(file).length === 3;

  test('is ended after its limit, and every process that it started too', async () => {
    const pids = fresh();
    const error = await failure(hanging(pids), { limit: 700 });
    expect(error.message).toBe('password_command sh took longer than 0.7 s');
    expect(pidsIn(pids)).toHaveLength(3);
    await waitFor(() => !pidsIn(pids).some(alive), 'the end of all processes of the command');
  });

  test('is ended with all its processes when the connection is given up', async () => {
    const pids = fresh();
    const controller = new AbortController();
    const reason = new SteepError('NOT_CONNECTED', 'stopping');
    const outcome = passwordFrom(hanging(pids), { signal: controller.signal }).catch(
      (error: unknown) => error,
    );
    await waitFor(started(pids), 'the start of the command');
    expect(pidsIn(pids).every(alive)).toBe(true);
    controller.abort(reason);
    expect(await outcome).toBe(reason);
    await waitFor(() => !pidsIn(pids).some(alive), 'the end of all processes of the command');
    expect(
      await passwordFrom(sh('echo x'), { signal: controller.signal }).catch((error: unknown) => error),
    ).toBe(reason);
  });

  test('holds nobody up by a child that left its group and keeps the output open', async () => {
    const pids = fresh();
    const began = performance.now();
    const error = await failure(sh(`setsid sleep 300 & echo $! > ${pids}; wait`), { limit: 500 });
    expect(error.message).toContain('took longer than 0.5 s');
    expect(performance.now() - began).toBeLessThan(10_000);
    for (const pid of pidsIn(pids)) process.kill(pid, 'SIGKILL');
  });
});
