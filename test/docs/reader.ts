/** Somebody who follows a page to the letter, on machines that have nothing but what the page asks for. */
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { Network } from '../support/network.ts';
import { waitFor } from '../support/wait.ts';
import { type Block, blocksOf } from './blocks.ts';
import { Machine } from './machine.ts';

/** Machines of the pages; all but the last have a PostgreSQL. */
const NAMES = ['db1', 'db2', 'db3', 'w1'] as const;
const README = 'README.md';
/** Where what was built is installed: on each of them. */
const EVERYWHERE = 'build';
/** On each machine: there is no ssh, so its scp leaves folder, host and path here, and the reader carries them over. */
const OUTBOX = '/outbox';
const SCP = `#!/bin/sh
# scp -pr FOLDER HOST:PATH
set -e
mkdir -p ${OUTBOX}
copy=$(mktemp -d ${OUTBOX}/XXXXXX)
cp -a "$2" $copy/folder
echo "$3" >$copy/to
`;

export class Reader implements AsyncDisposable {
  private readonly machines = new Map<string, Machine>();
  private readonly stack = new AsyncDisposableStack();

  /** `names` of machines that the page speaks of. */
  static async start(names: readonly (typeof NAMES)[number][], executable: string): Promise<Reader> {
    const reader = new Reader();
    try {
      const network = reader.stack.use(new Network());
      const hosts = names.map((name) => ({ name, host: network.host() }));
      const table = ['127.0.0.1 localhost', ...hosts.map(({ name, host }) => `${host.address} ${name}`), ''];
      for (const { name, host } of hosts) {
        const machine = reader.stack.use(new Machine(name, host, table.join('\n'), executable));
        machine.put('/bin/scp', SCP, 0o755);
        reader.machines.set(name, machine);
        if (name !== 'w1') await machine.startPostgresql();
      }
      return reader;
    } catch (error) {
      await reader.stack.disposeAsync();
      throw error;
    }
  }

  machine(name: string): Machine {
    const found = this.machines.get(name);
    if (!found) throw new Error(`no machine ${name}`);
    return found;
  }

  /** Does what a page says, block by block; what is for other kinds of machines is left out. How many were done. */
  async follow(page: string): Promise<number> {
    let done = 0;
    if (page !== README) await this.install();
    for (const block of blocksOf(page)) {
      const where = block.where[0] === EVERYWHERE ? [...this.machines.keys()] : block.where;
      for (const name of where.filter((one) => this.machines.has(one))) {
        await this.take(block, this.machine(name));
        done += 1;
      }
    }
    return done;
  }

  /** Other pages begin where README's chapter about it ends. */
  private async install(): Promise<void> {
    const block = blocksOf(README).find(({ where }) => where[0] === EVERYWHERE);
    for (const machine of this.machines.values()) await machine.ok(block!.text);
  }

  private async take(block: Block, machine: Machine): Promise<void> {
    const number = machine.name.at(-1)!;
    if (block.kind === 'file')
      machine.put(block.where.at(-1)!, block.text.replace('node-1 ', `node-${number} `), 0o600);
    else if (block.kind === 'sql') await machine.sql(block.text);
    else if (block.well) await this.untilWell(block, machine);
    else await machine.ok(block.text);
    this.carryOver(machine);
  }

  private async untilWell({ text }: Block, machine: Machine): Promise<void> {
    let last = '';
    await waitFor(async () => {
      const { code, printed } = await machine.type(text);
      last = `exit ${code}: ${printed}`;
      return code === 0;
    }, `success of: ${text}`).catch((error: Error) => {
      throw new Error(`${error.message}\nlast: ${last}\nall of ${machine.name}:\n${machine.printed}`);
    });
  }

  private carryOver(from: Machine): void {
    const outbox = path.join(from.root, OUTBOX);
    if (!existsSync(outbox)) return;
    for (const name of readdirSync(outbox)) {
      const copy = path.join(outbox, name);
      const [host = '', to = ''] = readFileSync(path.join(copy, 'to'), 'utf8').trim().split(':');
      this.machine(host).receive(path.join(copy, 'folder'), to);
    }
    rmSync(outbox, { recursive: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stack.disposeAsync();
  }
}
