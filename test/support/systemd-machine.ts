/** A booted systemd machine for a file of tests, with the compiled executable in it; gone when disposed. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type Outcome, steepReplCommand } from './cli.ts';
import { nativeDir } from './postgres.ts';
import { waitFor } from './wait.ts';

const script = path.join(import.meta.dir, 'systemd-bed.sh');
const LIMIT_MS = 60_000;

/** A PostgreSQL of the machine, as a package of a distribution would bring it: enabled, but not started here. */
const POSTGRESQL_UNIT = `[Unit]
Description=PostgreSQL
[Service]
Type=exec
User=postgres
RuntimeDirectory=postgresql
ExecStart=/opt/postgresql/bin/postgres -D /opt/data -c unix_socket_directories=/run/postgresql
KillSignal=SIGINT
[Install]
WantedBy=multi-user.target
`;

export class SystemdMachine implements AsyncDisposable {
  private readonly folder = mkdtempSync(path.join(tmpdir(), 'bed-'));
  private readonly supervisor: Bun.Subprocess;

  private constructor() {
    // It ends with this process, however that ends.
    const prefix = ['setpriv', '--pdeathsig', 'KILL', 'unshare', '--mount', 'bash', script];
    this.supervisor = Bun.spawn([...prefix, 'up', this.folder], { stdio: ['ignore', 'inherit', 'inherit'] });
  }

  /** Boots a machine with steep-repl in /usr/local/bin, unless told otherwise. */
  static async boot({ executable = true } = {}): Promise<SystemdMachine> {
    if (process.getuid?.() !== 0) throw new Error('only root can boot a machine');
    const machine = new SystemdMachine();
    try {
      await machine.control('wait');
      if (executable) await machine.putExecutable('/usr/local/bin/steep-repl');
      return machine;
    } catch (error) {
      await machine[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Runs a shell script inside. */
  async run(commands: string, input?: Bun.BunFile): Promise<Outcome> {
    return await this.bed(['run', this.folder, 'bash', '-c', commands], input);
  }

  /** The same for what must succeed; what it printed. */
  async ok(commands: string): Promise<string> {
    const { code, stdout, stderr } = await this.run(commands);
    if (code !== 0) throw new Error(`exit ${code} of: ${commands}\n${stdout}${stderr}`);
    return stdout.trim();
  }

  /** As `mv` over the old file does: whoever runs it keeps the old one. */
  async putExecutable(file: string, mode = '755'): Promise<void> {
    const [executable = ''] = steepReplCommand;
    const { code, stderr } = await this.run(
      `mkdir -p $(dirname ${file}) && cat >${file}.new && chmod ${mode} ${file}.new && mv ${file}.new ${file}`,
      Bun.file(executable),
    );
    if (code !== 0) throw new Error(stderr);
  }

  /** Installs PostgreSQL 18, without the extension; `systemctl start postgresql` starts it. */
  async putPostgresql(): Promise<void> {
    const tar = Bun.spawn(['tar', '-C', nativeDir(), '-chf', '-', 'bin', 'lib', 'share'], { stdout: 'pipe' });
    const unpacked = Bun.spawn(
      [
        'bash',
        script,
        'run',
        this.folder,
        'bash',
        '-c',
        'mkdir /opt/postgresql && tar -C /opt/postgresql --no-same-owner -xf -',
      ],
      { stdin: tar.stdout, stdout: 'ignore', stderr: 'inherit' },
    );
    if ((await unpacked.exited) !== 0) throw new Error('PostgreSQL could not be unpacked');
    await this.ok(`cat >/etc/systemd/system/postgresql.service <<'END'\n${POSTGRESQL_UNIT}END
      getent passwd postgres >/dev/null || useradd --system postgres
      install -d -o postgres -m 700 /opt/data
      setpriv --reuid=postgres --regid=postgres --clear-groups /opt/postgresql/bin/initdb --no-sync -A trust -U postgres -D /opt/data >/dev/null
      systemctl daemon-reload && systemctl enable --quiet postgresql`);
  }

  /** Writes the configuration of the machine. */
  async configure(section: Record<string, unknown>): Promise<void> {
    const text = JSON.stringify({ repl: { node_id: 'node-a', ...section } });
    await this.ok(`mkdir -p -m 755 /etc/steep && umask 077 && echo '${text}' >/etc/steep/config.yaml`);
  }

  async reboot(): Promise<void> {
    await this.control('reboot');
  }

  async powerCut(): Promise<void> {
    await this.control('powercut');
  }

  /** What systemd knows of a unit. */
  async show(property: string, unit = 'steep-repl'): Promise<string> {
    return await this.ok(`systemctl show ${unit} --property=${property} --value`);
  }

  async waitFor(commands: string, what: string): Promise<void> {
    await waitFor(async () => (await this.run(commands)).code === 0, what);
  }

  private async control(verb: 'wait' | 'reboot' | 'powercut' | 'down'): Promise<void> {
    const { code, stderr } = await this.bed([verb, this.folder]);
    if (code !== 0) throw new Error(stderr);
  }

  private async bed(args: string[], input?: Bun.BunFile): Promise<Outcome> {
    const child = Bun.spawn(['bash', script, ...args], {
      stdio: [input ?? 'ignore', 'pipe', 'pipe'],
      timeout: 2 * LIMIT_MS,
      killSignal: 'SIGKILL',
    });
    const [stdout, stderr, code] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ]);
    return { code, stdout, stderr };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.control('down');
    await this.supervisor.exited;
    rmSync(this.folder, { recursive: true, force: true });
  }
}
