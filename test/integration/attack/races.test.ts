/** What lies under a name while root looks at it is changed by somebody else, as fast as he can. */
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import {
  chmodSync,
  chownSync,
  lchownSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { IpcClient } from '../../../src/ipc/client.ts';
import { writePidFile } from '../../../src/daemon/instance.ts';
import { thisPlatform } from '../../../src/platform/index.ts';
import { changeMode, changeOwner } from '../../../src/platform/owned-files.ts';
import type { ServiceOptions, Step } from '../../../src/platform/service.ts';
import { grants, takeBack } from '../../../src/platform/service-user.ts';
import { removeStep } from '../../../src/platform/steps.ts';
import { waitFor } from '../../support/wait.ts';
import { isRoot, NOBODY, Playground, UNTOUCHED } from './support.ts';

let place: Playground;
beforeEach(() => {
  place = new Playground();
});
afterEach(() => {
  expect(place.victimNow).toBe(UNTOUCHED);
  place[Symbol.dispose]();
});

/** The steps of `install --run-as nobody`, where nobody was the service’s user before. */
function steps(changes: Partial<ServiceOptions> = {}): Step[] {
  const folder = path.join(place.folder, 'etc');
  const options: ServiceOptions = {
    executable: '/bin/true',
    config: path.join(folder, 'config.yaml'),
    runAs: 'nobody',
    stateDir: place.at('state'),
    answers: true,
    keyFile: path.join(folder, 'certs/node.key'),
    reads: [path.join(folder, 'certs/ca.crt')],
    writes: [],
    ...changes,
  };
  return grants({ user: 'nobody', before: 'nobody' }, [{ folder: options.stateDir, mode: 0o700 }], options);
}

/** A program of nobody’s. */
function asNobody(script: string, ...args: string[]): Bun.Subprocess {
  return Bun.spawn(
    [
      'setpriv',
      '--reuid=65534',
      '--regid=65534',
      '--clear-groups',
      '--pdeathsig',
      'KILL',
      process.execPath,
      '-e',
      script,
      ...args,
    ],
    {
      cwd: '/',
      env: { PATH: process.env['PATH'] ?? '', HOME: place.shared },
      stdio: ['ignore', 'ignore', 'inherit'],
    },
  );
}

async function runAll(all: Step[]): Promise<void> {
  for (const step of all) if (!(await step.isDone())) await step.run();
}

describe.skipIf(!isRoot)('install gives the service’s user nothing', () => {
  test('that a link leads to, in the folder of the certificates or the state', async () => {
    const certs = path.join(place.folder, 'etc/certs');
    mkdirSync(certs, { recursive: true });
    writeFileSync(path.join(place.folder, 'etc/config.yaml'), '', { mode: 0o600 });
    for (const name of ['node.key', 'ca.crt']) {
      symlinkSync(place.victim, path.join(certs, name));
      lchownSync(path.join(certs, name), NOBODY, NOBODY);
    }
    chownSync(certs, NOBODY, NOBODY);
    mkdirSync(place.at('state'));
    symlinkSync(place.folder, place.at('state/link'));
    await runAll(steps());
    expect(lstatSync(place.at('state')).uid).toBe(NOBODY);
  });

  test('that has another name elsewhere', async () => {
    mkdirSync(place.at('state'));
    linkSync(place.victim, place.at('state/hard'));
    writeFileSync(place.at('state/cluster.json'), '');
    const all = steps();
    await runAll(all);
    expect(lstatSync(place.at('state/cluster.json')).uid).toBe(NOBODY);
    expect(await Promise.all(all.map((step) => step.isDone()))).not.toContain(false);
  });

  test('that comes under a name in the state while it is given', async () => {
    place.theirs('state');
    place.nobody('mkdir state/a state/other; touch state/other/victim; ln -s "$1" state/b', place.folder);
    const all = steps();
    using _swapping = place.meanwhile(
      'mv -T state/a state/c; mv -T state/b state/a; mv -T state/a state/b; mv -T state/c state/a',
    );
    for (let count = 0; count < 1500 && place.victimNow === UNTOUCHED; count += 1)
      for (const step of all) await step.run();
  });

  test('and takes back only what is below its folders', async () => {
    place.theirs('state');
    place.nobody('touch state/x; mkdir state/d; touch state/d/y');
    symlinkSync(place.folder, place.at('state/link'));
    const outside = path.join(place.folder, 'theirs');
    writeFileSync(outside, '');
    chownSync(outside, NOBODY, NOBODY);
    await runAll(takeBack('nobody', [place.at('state')]));
    expect(lstatSync(place.at('state/d/y')).uid).toBe(0);
    expect(lstatSync(outside).uid).toBe(NOBODY);
  });
});

test.skipIf(!isRoot)('rights are not changed through a link', () => {
  symlinkSync(place.victim, place.at('link'));
  expect(() => changeMode(place.at('link'), 0o666)).toThrow('ELOOP');
  expect(() => changeOwner(place.at('link'), NOBODY, NOBODY)).toThrow('ELOOP');
});

test.skipIf(!isRoot)('uninstall is not stopped by a folder under the name of a lock', async () => {
  place.nobody('mkdir s.lock');
  const step = removeStep(place.at('s.lock'));
  expect(await step.isDone()).toBe(true);
});

test.skipIf(!isRoot)('a PID file that is a pipe keeps nobody waiting, and is replaced', () => {
  const runtime = place.theirs('run');
  place.nobody('mkfifo -m 666 run/node-a.pid');
  const platform = { ...thisPlatform(), runtimeDirs: () => ({ system: runtime, user: undefined }) };
  const { file, [Symbol.dispose]: remove } = writePidFile(
    { nodeId: 'node-a', stateDir: place.folder, scope: 'system' },
    platform,
    {},
  );
  expect(readFileSync(file, 'utf8')).toBe(`${process.pid}\n`);
  remove();
});

test.skipIf(!isRoot)('a socket in a folder of somebody else makes no other file accessible', async () => {
  place.theirs('sockets');
  const address = place.at('sockets/s');
  // A link in the place of each socket, for as long as its maker may take to change its mode.
  const script = `
    const fs = require('node:fs');
    const [address, victim] = process.argv.slice(1);
    for (;;) {
      try {
        if (!fs.lstatSync(address).isSocket()) continue;
        fs.renameSync(address, address + '.old');
        fs.symlinkSync(victim, address);
        for (const until = performance.now() + 5; performance.now() < until;);
      } catch {}
      fs.rmSync(address, { force: true });
    }`;
  const racer = asNobody(script, address, place.victim);
  try {
    for (let count = 0; count < 300 && place.victimNow === UNTOUCHED; count += 1) {
      const server = net.createServer();
      const listening = thisPlatform().listenLocally(server, address, { mode: 0o666, group: undefined });
      await listening.then(
        (one) => one[Symbol.asyncDispose](),
        () => {},
      );
    }
  } finally {
    racer.kill('SIGKILL');
    await racer.exited;
  }
});

test.skipIf(!isRoot)(
  'a client believes who takes the call, not what the socket’s owner looks like',
  async () => {
    const script = `const s = require('node:net').createServer((c) => c.end()); s.listen(process.argv[1]);`;
    const address = place.at('s');
    const impostor = asNobody(script, address);
    try {
      await waitFor(() => lstatSync(address, { throwIfNoEntry: false }) !== undefined, 'the impostor');
      chownSync(address, 0, 0); // as root’s own would look in the moment before
      chmodSync(address, 0o666);
      await expect(IpcClient.connect(address, thisPlatform())).rejects.toMatchObject({
        code: 'PERMISSION_DENIED',
        message: `the socket ${address} is not to be trusted: a process of nobody took the call`,
      });
    } finally {
      impostor.kill();
      await impostor.exited;
    }
  },
);
