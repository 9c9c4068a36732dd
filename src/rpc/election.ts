/** Service Election: checks who speaks, and hands on. */
import type { ConnectRouter, HandlerContext } from '@connectrpc/connect';
import type { Request } from '../cluster/messages.ts';
import { Election } from '../gen/steep/repl/v1/election_pb.ts';
import { SteepError } from '../lib/errors.ts';
import type { Subject } from '../operations/subject.ts';
import { callerOf, nodeThatSpeaks } from './caller.ts';
import { memberFromInfo } from './convert.ts';
import { proposalFrom, releaseFrom, renewalFrom, toAnswer, toList, voteFrom } from './convert-election.ts';

/** Adds the service to a router. */
export function electionRoutes(router: ConnectRouter, { coordination, cluster }: Subject): void {
  const ask = (context: HandlerContext, nodeId: string, request: Request) => {
    nodeThatSpeaks(context, nodeId);
    cluster.refuseUnwanted(nodeId);
    const answer = coordination.handle(nodeId, request);
    cluster.refuseRemoved(nodeId); // unless it brought a list by which it is not
    return toAnswer(answer);
  };
  router.service(Election, {
    vote: (request, context) => ask(context, request.nodeId, voteFrom(request)),
    renew: (request, context) => ask(context, request.nodeId, renewalFrom(request)),
    release: (request, context) => ask(context, request.nodeId, releaseFrom(request)),
    async propose(request, context) {
      const { identity } = callerOf(context);
      // Only who belongs may ask for a change; without TLS everybody is believed.
      if (identity.kind !== 'insecure') {
        const caller = identity.kind === 'node' ? identity.nodeId : '';
        if (!cluster.listed(caller))
          throw new SteepError(
            'PERMISSION_DENIED',
            `${callerOf(context).name} is not a member of this cluster`,
          );
        cluster.refuseRemoved(caller);
      }
      const node = request.node && memberFromInfo(request.node);
      const { list, term } = await coordination.decide(request.clusterId, proposalFrom(request), node);
      return { list: toList(list), term: BigInt(term) };
    },
  });
}
