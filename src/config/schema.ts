/**
 * Every configuration key, its type, default and description: the one place where a key is added. The loader,
 * the environment variables, `config init`, the JSON Schema and the table in docs/configuration.md follow from it.
 */
import { z } from 'zod';
import { isHost, parseHostPort } from '../lib/host-port.ts';
import {
  choice,
  command,
  derived,
  duration,
  filePath,
  flag,
  host,
  hostPort,
  integer,
  listOf,
  mode,
  pattern,
  port,
  section,
  text,
  textThat,
} from './leaves.ts';

const nodeId = () =>
  pattern(
    /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/,
    'an id of 1 to 63 letters, digits, dots, underscores and hyphens that begins with a letter or digit',
  );

const endpoint = () =>
  textThat(
    (value) => parseHostPort(value.replace(/^https?:\/\//, '')) !== undefined,
    'host:port, http://host:port or https://host:port',
  );

/** PostgreSQL cuts longer identifiers off. */
const pgName = () => text(63);

export const schema = z.strictObject({
  enabled: flag().default(true).describe('false: `run` says so and exits 0.'),
  node_id: nodeId().describe(
    'Unique name of this node in the cluster; it never changes. Certificates carry it.',
  ),
  node_name: derived(text(255), 'same as node_id').describe('Name for people.'),
  priority: integer(1, 100).default(50).describe('Higher is preferred as coordinator.'),
  role: choice('node', 'witness')
    .default('node')
    .describe('witness: votes only, has no PostgreSQL and needs no postgresql section.'),
  state_dir: derived(filePath(), '<state base>/<node_id>').describe(
    'Folder for what must survive a restart: lock, votes, membership, audit rows not yet written.',
  ),

  postgresql: section(
    {
      host: textThat(
        (value) => value.startsWith('/') || isHost(value),
        'a host name, an IP address or the absolute path of a socket folder',
      )
        .default('localhost')
        .describe('Host name or IP address; what starts with / is a socket folder.'),
      port: port().default(5432).describe('TCP port, or the number in the name of the socket.'),
      database: pgName().default('postgres').describe('Database that holds the extension steep_repl.'),
      user: derived(pgName(), 'the OS user').describe('Role to connect as.'),
      sslmode: choice('disable', 'prefer', 'require', 'verify-ca', 'verify-full')
        .default('prefer')
        .describe('As in libpq; only verify-ca and verify-full protect from a false server.'),
      sslrootcert: filePath('system')
        .optional()
        .describe(
          'CA certificates that the server is checked against; system: those of the operating system.',
        ),
      sslcert: filePath().optional().describe('Client certificate.'),
      sslkey: filePath().optional().describe('Private key of the client certificate.'),
      password_command: command()
        .optional()
        .describe(
          'Prints the password on its first line; run without a shell for every new connection, 10 s at most; wins over PGPASSWORD.',
        ),
      pool_max: integer(1, 100)
        .default(4)
        .describe('Connections for queries; the probe and LISTEN have their own.'),
      connect_timeout: duration('100ms', '10m')
        .prefault('5s')
        .describe('Until a connection attempt is given up.'),
      statement_timeout: duration('100ms', '1h').prefault('30s').describe('Until a query is given up.'),
      advertise: derived(hostPort(), '<hostname>:<port>').describe(
        'Address under which peers reach this PostgreSQL.',
      ),
    },
    'The PostgreSQL of this node.',
  ),

  grpc: section(
    {
      enabled: flag().default(true).describe('Answer other nodes.'),
      bind: host().default('0.0.0.0').describe('Address to listen on; :: for all of IPv6 too.'),
      port: port().default(5433).describe('Port to listen on.'),
      advertise: derived(hostPort(), '<hostname>:<port>').describe('Address that peers dial.'),
      tls: section(
        {
          cert_file: derived(filePath(), '<config dir>/certs/node.crt').describe('Certificate of this node.'),
          key_file: derived(filePath(), '<config dir>/certs/node.key').describe(
            'Its private key, readable by nobody else.',
          ),
          ca_file: derived(filePath(), '<config dir>/certs/ca.crt').describe(
            'CA certificates that peers are checked against; may hold several.',
          ),
          crl_file: filePath().optional().describe('Certificates that the CA revoked (PEM).'),
          identity: choice('uri', 'cn')
            .default('uri')
            .describe(
              'What names the peer in its certificate: the URI steep-repl://node/<node_id>, or the common name, for the ids in cluster.allow only.',
            ),
        },
        'Mutual TLS between nodes.',
      ),
      insecure: flag().default(false).describe('No TLS at all; only with a loopback bind.'),
    },
    'The port for other nodes.',
  ),

  cluster: section(
    {
      join: listOf(hostPort())
        .default([])
        .describe('Peers to register with at start; empty: this node founds a cluster.'),
      allow: listOf(nodeId())
        .optional()
        .describe('Node ids that may join; absent: every id that has a certificate.'),
    },
    'Who belongs together.',
  ),

  heartbeat: section(
    {
      interval: duration('50ms', '1m').prefault('1s').describe('Time between heartbeats.'),
      degraded_after: duration('100ms', '10m')
        .prefault('2500ms')
        .describe('Silence after which a peer is degraded.'),
      unreachable_after: duration('200ms', '1h')
        .prefault('4s')
        .describe('Silence after which a peer is unreachable.'),
    },
    'How fast a dead peer is noticed.',
  ),

  election: section(
    {
      enabled: flag()
        .default(true)
        .describe('false: this node neither votes nor stands; fixed when it joins.'),
      lease: duration('100ms', '10m')
        .prefault('3s')
        .describe(
          'How long a coordinator rules without renewal: 2 × heartbeat.interval ≤ lease ≤ heartbeat.unreachable_after.',
        ),
      two_node: choice('safe', 'promote')
        .default('safe')
        .describe(
          'promote: the survivor of two nodes takes over alone, at the price of two coordinators when the network is cut.',
        ),
      store: choice('builtin', 'etcd')
        .default('builtin')
        .describe('Who decides: the nodes themselves, or an etcd v3 cluster.'),
      etcd: z
        .strictObject({
          endpoints: listOf(endpoint(), 1).describe('Members of the etcd cluster.'),
          cert_file: filePath().optional().describe('Client certificate.'),
          key_file: filePath().optional().describe('Its private key.'),
          ca_file: filePath().optional().describe('CA certificates that etcd is checked against.'),
          prefix: text(255).default('/steep-repl').describe('Where in etcd the keys live.'),
        })
        .optional()
        .describe('The etcd cluster, for store: etcd.'),
    },
    'How the coordinator is chosen.',
  ),

  http: section(
    {
      enabled: flag().default(false).describe('Answer load balancers and Prometheus.'),
      bind: host().default('0.0.0.0').describe('Address to listen on.'),
      port: port().default(8080).describe('Port to listen on.'),
    },
    'Health checks and metrics.',
  ),

  ipc: section(
    {
      enabled: flag()
        .default(true)
        .describe('Answer programs on this machine, the other commands of steep-repl among them.'),
      path: filePath().optional().describe('Only this socket (Windows: pipe) instead of the usual ones.'),
      group: text(255).optional().describe('OS group whose members may ask and change things.'),
      mode: derived(mode(), '0600, or 0660 with a group').describe('Mode of the socket.'),
    },
    'The socket for programs on this machine.',
  ),

  audit: section(
    {
      retention: duration('1d', '100y', 'zero')
        .prefault('2y')
        .describe('Age at which audit rows are pruned; 0 keeps them for ever.'),
      prune_interval: duration('1s', '30d').prefault('1h').describe('Time between prunings.'),
    },
    'The audit trail.',
  ),

  log: section(
    {
      level: choice('debug', 'info', 'warn', 'error').default('info').describe('Least level that is logged.'),
      format: choice('auto', 'pretty', 'json', 'journal')
        .default('auto')
        .describe(
          'auto: pretty on a terminal, journal under systemd, bare messages in the Event Log of Windows and the log of macOS, json otherwise.',
        ),
    },
    'What the daemon writes about itself.',
  ),
});

/**
 * The values in force: names as in the file, durations in milliseconds, paths absolute, `ipc.mode` a number,
 * `password_command` split into words.
 */
export type Config = z.output<typeof schema> & {
  /** From PGPASSWORD only; no file may hold it. */
  postgresql: { password?: string | undefined };
};
