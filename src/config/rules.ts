/** What must hold between keys that are each right by themselves. */
import { BlockList, isIP } from 'node:net';
import { formatDuration } from '../lib/duration.ts';
import type { Config } from './schema.ts';

interface Rule {
  /** The keys it is about; the first one that is set is blamed. */
  keys: readonly [string, ...string[]];
  /** Undefined if it holds. `isSet` tells keys that the file or a variable gives from defaults. */
  check(config: Config, isSet: (key: string) => boolean): { message: string; hint: string } | undefined;
}

/** Linux has room for 107 bytes in a socket address, macOS for 103. */
const MAX_SOCKET_PATH = 103;

export const rules: readonly Rule[] = [
  {
    keys: ['election.lease', 'heartbeat.interval', 'heartbeat.unreachable_after'],
    check({ heartbeat: { interval, unreachable_after: limit }, election: { lease } }) {
      if (2 * interval <= lease && lease <= limit) return undefined;
      const [i, l, u] = [interval, lease, limit].map(formatDuration);
      const hint =
        2 * interval <= limit
          ? `set election.lease ${2 * interval === limit ? '' : `from ${formatDuration(2 * interval)} `}to ${u}`
          : `raise heartbeat.unreachable_after to at least ${formatDuration(2 * interval)}, and election.lease too`;
      return {
        message: `2 × heartbeat.interval (${i}) ≤ election.lease (${l}) ≤ heartbeat.unreachable_after (${u}) does not hold`,
        hint,
      };
    },
  },
  {
    keys: ['heartbeat.degraded_after', 'heartbeat.unreachable_after'],
    check({ heartbeat: { degraded_after: degraded, unreachable_after: unreachable } }) {
      if (degraded < unreachable) return undefined;
      return {
        message: `heartbeat.degraded_after (${formatDuration(degraded)}) is not below heartbeat.unreachable_after (${formatDuration(unreachable)})`,
        hint: 'a peer is degraded first and unreachable later: lower the first or raise the second',
      };
    },
  },
  {
    keys: ['heartbeat.interval', 'heartbeat.degraded_after'],
    check({ heartbeat: { interval, degraded_after: degraded } }) {
      if (interval < degraded) return undefined;
      return {
        message: `heartbeat.interval (${formatDuration(interval)}) is not below heartbeat.degraded_after (${formatDuration(degraded)})`,
        hint: 'every peer would be degraded between two heartbeats: lower the first or raise the second',
      };
    },
  },
  {
    keys: ['grpc.insecure', 'grpc.bind'],
    check({ grpc }) {
      if (!grpc.insecure || isLoopback(grpc.bind)) return undefined;
      return {
        message: `grpc.insecure is true, but grpc.bind ${grpc.bind} is no loopback address`,
        hint: 'set grpc.bind to 127.0.0.1, or remove grpc.insecure and run steep-repl tls init',
      };
    },
  },
  {
    keys: ['grpc.tls.identity'],
    check({ grpc, cluster }) {
      if (grpc.tls.identity === 'uri' || cluster.allow !== undefined) return undefined;
      return {
        message: 'cn counts only for the ids in cluster.allow, which is not set',
        hint: 'list the node ids in cluster.allow',
      };
    },
  },
  {
    keys: ['http.port', 'grpc.port'],
    check({ http, grpc }) {
      const collide = http.bind === grpc.bind || isAnyAddress(http.bind) || isAnyAddress(grpc.bind);
      if (!http.enabled || !grpc.enabled || http.port !== grpc.port || !collide) return undefined;
      return { message: `http.port and grpc.port are both ${http.port}`, hint: 'give each its own port' };
    },
  },
  {
    keys: ['election.store', 'election.etcd.endpoints'],
    check({ election }) {
      if (election.store !== 'etcd' || election.etcd !== undefined) return undefined;
      return {
        message: 'etcd needs election.etcd.endpoints, which is not set',
        hint: 'list the etcd members there',
      };
    },
  },
  pair('election.etcd.cert_file', 'election.etcd.key_file'),
  pair('postgresql.sslcert', 'postgresql.sslkey'),
  {
    keys: ['postgresql.sslrootcert'],
    check({ postgresql: { sslrootcert, sslmode } }) {
      if (sslrootcert !== 'system' || sslmode === 'verify-full') return undefined;
      // As in libpq: with public CAs anyone can have a certificate, so only the host name tells servers apart.
      return {
        message: `system needs sslmode verify-full, not ${sslmode}`,
        hint: 'set postgresql.sslmode to verify-full',
      };
    },
  },
  {
    keys: ['ipc.mode'],
    check({ ipc }) {
      if (ipc.group === undefined || (ipc.mode & 0o060) === 0o060) return undefined;
      const given = `0${ipc.mode.toString(8)}`;
      return {
        message: `${given} shuts out the group ${ipc.group} of ipc.group`,
        hint: 'remove ipc.mode, or set it to 0660',
      };
    },
  },
  {
    keys: ['ipc.path'],
    check({ ipc }) {
      const length = Buffer.byteLength(ipc.path ?? '');
      if (length <= MAX_SOCKET_PATH) return undefined;
      return {
        message: `the path has ${length} bytes; a socket has at most ${MAX_SOCKET_PATH}`,
        hint: 'choose a shorter path',
      };
    },
  },
  {
    keys: ['postgresql'],
    check({ role }, isSet) {
      if (role !== 'witness' || !isSet('postgresql')) return undefined;
      return { message: 'a witness has no PostgreSQL', hint: 'remove the section, or remove role: witness' };
    },
  },
  {
    keys: ['election.enabled'],
    check({ role, election }) {
      if (role !== 'witness' || election.enabled) return undefined;
      return { message: 'false, but a witness is there to vote', hint: 'remove it, or remove role: witness' };
    },
  },
];

/** Two files of which neither is of use alone. */
function pair(first: string, second: string): Rule {
  return {
    keys: [first, second],
    check(_, isSet) {
      if (isSet(first) === isSet(second)) return undefined;
      const [given, absent] = isSet(first) ? [first, second] : [second, first];
      return { message: `${given} is set, ${absent} is not`, hint: 'give both' };
    },
  };
}

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8, 'ipv4');
loopback.addAddress('::1', 'ipv6');

function isLoopback(host: string): boolean {
  const family = isIP(host);
  return family === 0
    ? host.toLowerCase() === 'localhost'
    : loopback.check(host, family === 4 ? 'ipv4' : 'ipv6');
}

function isAnyAddress(host: string): boolean {
  return host === '0.0.0.0' || host === '::';
}
