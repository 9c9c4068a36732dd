/** Puts up the cluster of the soak: small disks, a role with a password, HTTP, a list of revoked certificates. */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type ClusterNode, TestCluster } from '../cluster/cluster.ts';
import { makeCrl } from './crl.ts';
import { makeDisk } from './disks.ts';
import { DAEMON_ROLE, POSTGRESQL_DISK, STATE_DISK } from './limits.ts';
import { World } from './world.ts';

export async function startWorld(nodes: number): Promise<World> {
  const password = randomBytes(12).toString('hex');
  const passwordFile = path.join(mkdtempSync(path.join(tmpdir(), 'pw-')), 'password');
  writeFileSync(passwordFile, password, { mode: 0o600 });
  let ca = '';
  const cluster = await TestCluster.start({
    nodes,
    config: { http: { enabled: true, bind: '127.0.0.1' } },
    servers: {
      disk: (folder) => makeDisk(folder, POSTGRESQL_DISK),
      hba: ['local all postgres trust', 'local all all scram-sha-256'],
      settings: { min_wal_size: '32MB', max_wal_size: '64MB' },
      sql: [
        `CREATE ROLE ${DAEMON_ROLE} LOGIN PASSWORD '${password}'`,
        `SELECT steep_repl.grant_daemon('${DAEMON_ROLE}')`,
      ],
    },
    async prepare(node) {
      const certs = path.join(node.home.folder, 'certs');
      if (ca === '') ca = certs;
      writeFileSync(path.join(certs, 'crl.pem'), await makeCrl(ca, []));
      makeDisk(node.home.stateDir, STATE_DISK);
      editConfig(node, (repl) => {
        Object.assign(repl['grpc'] as object, { tls: { crl_file: 'certs/crl.pem' } });
        Object.assign(repl['postgresql'] as object, {
          user: DAEMON_ROLE,
          password_command: ['cat', passwordFile],
        });
      });
    },
  });
  const world = new World(cluster, passwordFile);
  world.secrets.push(password);
  return world;
}

/** The file as it is, with a change below `repl:`. */
export function editConfig(node: ClusterNode, change: (repl: Record<string, unknown>) => void): void {
  const config = JSON.parse(readFileSync(node.home.configFile, 'utf8')) as { repl: Record<string, unknown> };
  change(config.repl);
  node.home.writeRaw(JSON.stringify(config, null, 2));
}
