/** Keeps this daemon's own row in `nodes` true and alive. */
import type { Config } from '../config/schema.ts';
import type { Database } from '../db/database.ts';
import { type NodeFacts, registerOwnNode } from '../db/nodes.ts';
import { SteepError } from '../lib/errors.ts';
import { type HostPort, parseHostPort } from '../lib/host-port.ts';
import type { Logger } from '../lib/log.ts';
import { type Loop, startLoop } from './loop.ts';

interface OwnNodeOptions {
  config: () => Config;
  database: Database;
  log: Logger;
}

export function startOwnNode({ config, database, log }: OwnNodeOptions): Loop {
  let complained = false;
  const beat = async (): Promise<void> => {
    if (database.state.kind !== 'connected') return;
    try {
      await registerOwnNode(database, factsOf(config()));
      complained = false;
    } catch (thrown) {
      const error = SteepError.from(thrown);
      // A loss of PostgreSQL is told by the database itself.
      if (error.code === 'NOT_CONNECTED' || complained) return;
      complained = true;
      log.error('cannot write the own row in steep_repl.nodes', { error: error.message });
    }
  };
  return startLoop(beat, () => config().heartbeat.interval);
}

function factsOf(config: Config): NodeFacts {
  const postgresql = addressOf(config.postgresql.advertise);
  const grpc = config.grpc.enabled ? addressOf(config.grpc.advertise) : undefined;
  return {
    node_id: config.node_id,
    node_name: config.node_name,
    host: postgresql.host,
    port: postgresql.port,
    priority: config.priority,
    grpc_host: grpc?.host ?? null,
    grpc_port: grpc?.port ?? null,
  };
}

/** The configuration has checked that it is one. */
function addressOf(advertised: string): HostPort {
  const address = parseHostPort(advertised);
  if (!address) throw new SteepError('INTERNAL_ERROR', `not host:port: ${advertised}`);
  return address;
}
