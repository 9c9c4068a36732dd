/** Notices how the peers are, and tells each change of a status once. */
import type { Cluster, Peer } from '../cluster/cluster.ts';
import { rpcAddress } from '../cluster/member.ts';
import { formatHostPort } from '../lib/host-port.ts';
import type { Logger } from '../lib/log.ts';
import { type Loop, startLoop } from './loop.ts';

export interface StatusChangesOptions {
  cluster: Cluster;
  /** Milliseconds between looks. */
  pause: () => number;
  onChange: () => void;
  log: Logger;
}

export function watchStatuses({ cluster, pause, onChange, log }: StatusChangesOptions): Loop {
  const told = new Map<string, Peer['status']>();
  return startLoop(async () => {
    const peers = cluster.peers();
    const ids = new Set(peers.map(({ member }) => member.node_id));
    for (const id of told.keys()) if (!ids.has(id)) told.delete(id);
    for (const { member, status, silence } of peers) {
      const before = told.get(member.node_id);
      if (status === before) continue;
      told.set(member.node_id, status);
      if (before === undefined && status === 'unknown') continue;
      const address = rpcAddress(member);
      const fields = {
        peer: member.node_id,
        address: address === undefined ? '' : formatHostPort(address),
        before: before ?? 'unknown',
        silent_ms: Math.round(silence),
      };
      if (status === 'degraded' || status === 'unreachable') log.warn(`peer ${status}`, fields);
      else log.info(`peer ${status}`, fields);
      onChange();
    }
  }, pause);
}
