/** Asks a peer what the election wants to know. */
import type { Answer, Request } from '../cluster/messages.ts';
import type { CallOptions, PeerClient, PeerServices } from './client.ts';
import { answerFrom, toList, toVersion } from './convert-election.ts';

/** Throws what PeerClient.call throws. */
export async function ask(
  client: PeerClient,
  self: string,
  request: Request,
  timeoutMs: number,
): Promise<Answer> {
  return answerFrom(await client.call((peer, options) => send(peer, self, request, options), timeoutMs));
}

function send({ election }: PeerServices, nodeId: string, request: Request, options: CallOptions) {
  const { cluster_id: clusterId, instance_id: instanceId } = request;
  const common = { nodeId, clusterId, instanceId, term: BigInt(request.term) };
  switch (request.kind) {
    case 'vote':
      return election.vote({ ...common, trial: request.trial, list: toVersion(request.list) }, options);
    case 'renew':
      return election.renew(
        {
          ...common,
          leaseMs: BigInt(Math.round(request.lease)),
          version: toVersion(request.version),
          ...(request.list ? { list: toList(request.list) } : {}),
          sinceMs: BigInt(Math.round(request.since)),
        },
        options,
      );
    case 'release':
      return election.release({ ...common, successor: request.successor ?? '' }, options);
  }
}
