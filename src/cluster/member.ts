import type { HostPort } from '../lib/host-port.ts';

/** What a node says of itself. It alone may change this; peers pass it on. */
export interface NodeFacts {
  node_id: string;
  node_name: string;
  /** Where peers reach its PostgreSQL. */
  host: string;
  port: number;
  priority: number;
  /** Where peers dial it; null when it does not answer RPC. */
  grpc_host: string | null;
  grpc_port: number | null;
  /** Empty: a peer that speaks only the Coordinator service. */
  role: 'node' | 'witness' | '';
}

/** A node as the registry keeps it. Whether it belongs, the list says (list.ts). */
export interface Member extends NodeFacts {
  /** Made with its state_dir: tells two living copies of one node apart. Empty if it has none. */
  instance_id: string;
  /** Of its facts: the higher one wins everywhere. */
  revision: number;
}

export function rpcAddress({ grpc_host: host, grpc_port: port }: NodeFacts): HostPort | undefined {
  return host === null || port === null ? undefined : { host, port };
}

export function sameFacts(a: NodeFacts, b: NodeFacts): boolean {
  return (
    a.node_id === b.node_id &&
    a.node_name === b.node_name &&
    a.host === b.host &&
    a.port === b.port &&
    a.priority === b.priority &&
    a.grpc_host === b.grpc_host &&
    a.grpc_port === b.grpc_port &&
    a.role === b.role
  );
}
