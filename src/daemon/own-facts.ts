/** What the configuration says of this node and of its cluster. */
import type { Cluster } from '../cluster/cluster.ts';
import type { NodeFacts } from '../cluster/member.ts';
import type { Config } from '../config/schema.ts';
import type { IdentityRules } from '../tls/identity.ts';
import { requireHostPort } from '../lib/host-port.ts';

export function factsOf(config: Config): NodeFacts {
  const postgresql = requireHostPort(config.postgresql.advertise);
  const grpc = config.grpc.enabled ? requireHostPort(config.grpc.advertise) : undefined;
  return {
    node_id: config.node_id,
    node_name: config.node_name,
    host: postgresql.host,
    port: postgresql.port,
    priority: config.priority,
    grpc_host: grpc?.host ?? null,
    grpc_port: grpc?.port ?? null,
    role: config.role,
  };
}

/** A node that is told to join nobody, or first of all itself, founds a cluster; any other one joins. */
export function foundsCluster({ cluster, grpc }: Config): boolean {
  const [first] = cluster.join;
  return first === undefined || first === grpc.advertise;
}

/** How many of those who may stand are to be preferred to this node: by priority, then by id. */
export function rankOf(cluster: Cluster): number {
  const { self } = cluster;
  return cluster.members().filter(({ node_id, priority, role }) => {
    const listed = cluster.listed(node_id);
    const stands = role === 'node' && listed?.state === 'member' && listed.vote === 'yes';
    const better = priority > self.priority || (priority === self.priority && node_id < self.node_id);
    return stands && better;
  }).length;
}

/** How the certificates of peers name them. */
export function rulesOf({ grpc, cluster }: Config): IdentityRules {
  return { identity: grpc.tls.identity, allow: cluster.allow };
}
