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
  if (request.kind === 'vote')
    return election.vote({ ...common, trial: request.trial, list: toVersion(request.list) }, options);
  if (request.kind === 'release')
    return election.release({ ...common, successor: request.successor ?? '' }, options);
  const { lease, version, list, since } = request;
  return election.renew(
    {
      ...common,
      leaseMs: BigInt(Math.round(lease)),
      version: toVersion(version),
      ...(list ? { list: toList(list) } : {}),
      sinceMs: BigInt(Math.round(since)),
    },
    options,
  );
}
