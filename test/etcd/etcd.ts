/** A real etcd of some members, each on a machine of its own or all on this one, that talk TLS with those who ask. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { CertificateAuthority, writePems } from '../support/certificates.ts';
import { freePort } from '../support/ports.ts';
import { waitFor } from '../support/wait.ts';

/** Where a member runs. */
export interface Place {
  address: string;
  /** What goes before a command that is to run there. */
  prefix: string[];
  client: number;
  peer: number;
  /** For those who ask without TLS. */
  plain?: number;
}

/** On this machine. */
export async function here(): Promise<Place> {
  const [client, peer, plain] = [await freePort(), await freePort(), await freePort()];
  return { address: '127.0.0.1', prefix: [], client, peer, plain };
}

export interface Files {
  ca: string;
  cert: string;
  key: string;
}

export class EtcdMember {
  readonly name: string;
  readonly place: Place;
  private readonly folder: string;
  private readonly files: Files;
  private child: Bun.Subprocess | undefined;

  constructor(name: string, place: Place, folder: string, files: Files) {
    this.name = name;
    this.place = place;
    this.folder = folder;
    this.files = files;
  }

  get url(): string {
    return `https://${this.place.address}:${this.place.client}`;
  }

  get plainUrl(): string {
    return `http://${this.place.address}:${this.place.plain}`;
  }

  get peer(): string {
    return `http://${this.place.address}:${this.place.peer}`;
  }

  get running(): boolean {
    return this.child !== undefined && this.child.exitCode === null && this.child.signalCode === null;
  }

  /** Also again, after it was killed: it goes on with what it has on disk. */
  start(members: readonly EtcdMember[]): void {
    const { ca, cert, key } = this.files;
    const settings = {
      name: this.name,
      'data-dir': path.join(this.folder, this.name),
      'listen-client-urls': this.place.plain === undefined ? this.url : `${this.url},${this.plainUrl}`,
      'advertise-client-urls': this.url,
      'listen-peer-urls': this.peer,
      'initial-advertise-peer-urls': this.peer,
      'initial-cluster': members.map(({ name, peer }) => `${name}=${peer}`).join(','),
      'trusted-ca-file': ca,
      'cert-file': cert,
      'key-file': key,
      'client-cert-auth': 'true',
      logger: 'zap',
      'log-level': 'error',
    };
    const dies = ['setpriv', '--pdeathsig', 'KILL', '--'];
    const args = Object.entries(settings).map(([name, value]) => `--${name}=${value}`);
    this.child = Bun.spawn([...this.place.prefix, ...dies, 'etcd', ...args], {
      stdio: ['ignore', 'ignore', 'ignore'],
    });
  }

  signal(name: NodeJS.Signals): void {
    this.child?.kill(name);
  }

  async kill(): Promise<void> {
    this.signal('SIGKILL');
    await this.child?.exited;
  }
}

export class TestEtcd implements AsyncDisposable {
  readonly members: EtcdMember[];
  /** Below `repl.election.etcd`. */
  readonly config: { endpoints: string[]; ca_file: string; cert_file: string; key_file: string };
  readonly folder: string;
  private readonly files: Files;

  private constructor(folder: string, members: EtcdMember[], files: Files) {
    this.folder = folder;
    this.members = members;
    this.files = files;
    this.config = {
      endpoints: members.map(({ url }) => url),
      ca_file: files.ca,
      cert_file: files.cert,
      key_file: files.key,
    };
  }

  static async start(places: readonly Place[]): Promise<TestEtcd> {
    const folder = mkdtempSync(path.join(tmpdir(), 'etcd-'));
    const authority = await CertificateAuthority.create('etcd CA');
    const issue = async (commonName: string, ip: string[]): Promise<Files> =>
      writePems(path.join(folder, 'pem', commonName), {
        ca: authority.cert,
        ...(await authority.issue({ commonName, ip })),
      });
    const members = await Promise.all(
      places.map(async (place, index) => {
        const name = `etcd${index}`;
        return new EtcdMember(name, place, folder, await issue(name, [place.address]));
      }),
    );
    const etcd = new TestEtcd(folder, members, await issue('steep-repl', []));
    for (const member of members) member.start(members);
    await etcd.healthy();
    return etcd;
  }

  /** Waits until every member answers, by a majority. */
  async healthy(): Promise<void> {
    await waitFor(
      () => this.members.every((member) => this.ask(member, 'kv/range', { key: btoa('any') }) !== undefined),
      'a healthy etcd',
    );
  }

  /** Starts again what was killed. */
  restart(...those: EtcdMember[]): void {
    for (const member of those) member.start(this.members);
  }

  /** The member that leads the others. */
  leader(): EtcdMember {
    for (const member of this.members.filter(({ running }) => running)) {
      const status = this.ask(member, 'maintenance/status', {}) as Status | undefined;
      if (status && status.leader === status.header.member_id) return member;
    }
    throw new Error('etcd has no leader');
  }

  /** Every key with its value, and the revision that made it. */
  keys(): Map<string, { value: string; created: number }> {
    const all = { key: btoa('/'), range_end: btoa('0') };
    const found = this.ask(this.members[0]!, 'kv/range', all) as { kvs?: Key[] } | undefined;
    return new Map(
      (found?.kvs ?? []).map(({ key, value, create_revision: created }) => [
        atob(key),
        { value: atob(value), created: Number(created) },
      ]),
    );
  }

  /** What a member answers at its JSON gateway; undefined when it does not. */
  private ask(member: EtcdMember, what: string, request: object): unknown {
    const { ca, cert, key } = this.files;
    const who = ['--cacert', ca, '--cert', cert, '--key', key];
    const call = ['--data', JSON.stringify(request), `${member.url}/v3/${what}`];
    const curl = ['curl', '--silent', '--fail', '--max-time', '2'];
    const done = Bun.spawnSync([...member.place.prefix, ...curl, ...who, ...call]);
    return done.exitCode === 0 ? JSON.parse(done.stdout.toString()) : undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.members.map((member) => member.kill()));
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Numbers are strings in this form of it. */
interface Status {
  leader: string;
  header: { member_id: string };
}

interface Key {
  key: string;
  value: string;
  create_revision: string;
}
