/**
 * Who belongs, who votes, who is offline or removed: one numbered list, which the coordinator alone changes, one
 * change at a time (reign.ts). Lists are ordered by the term of the coordinator that made them, then by number, so
 * that of two lists with one number, of which one came to nothing, every node takes the same for the newer one.
 */
import { SteepError } from '../lib/errors.ts';

export interface Listed {
  node_id: string;
  /**
   * The copy of the node that may speak and vote; empty until it registers. A removed one keeps it until its removal
   * is known to be done.
   */
  instance_id: string;
  /** Empty: a peer that speaks only Coordinator. */
  role: 'node' | 'witness' | '';
  state: 'member' | 'offline' | 'removed';
  /**
   * never: fixed when it joined. soon: as soon as it has this list. yes: counts in every majority, reachable or not.
   * suspended: its memory of votes was lost, and it waits for `nodes readmit`.
   */
  vote: 'never' | 'soon' | 'yes' | 'suspended';
}

export interface Version {
  term: number;
  number: number;
}

export interface MemberList extends Version {
  nodes: readonly Listed[];
}

export const NO_LIST: MemberList = { term: 0, number: 0, nodes: [] };

/** What a coordinator can be asked to change. */
export type Change =
  | {
      kind: 'admit';
      node_id: string;
      instance_id: string;
      role: Listed['role'];
      /** False: it shall never vote. */
      votes: boolean;
    }
  | { kind: 'enfranchise' | 'remove' | 'seal' | 'readmit' | 'offline' | 'online'; node_id: string };

export function compare(a: Version, b: Version): number {
  return a.term - b.term || a.number - b.number;
}

export function find(list: MemberList, id: string): Listed | undefined {
  return list.nodes.find(({ node_id }) => node_id === id);
}

/** Of those who belong, removed ones left out. */
export function belonging(list: MemberList): Listed[] {
  return list.nodes.filter(({ state }) => state !== 'removed');
}

export function voters(list: MemberList): Listed[] {
  return list.nodes.filter(({ vote }) => vote === 'yes');
}

/** Of a cluster that has just been founded. */
export function foundersList(founder: Omit<Listed, 'state' | 'vote'>): MemberList {
  return { term: 0, number: 1, nodes: [{ ...founder, state: 'member', vote: 'yes' }] };
}

/**
 * The nodes after a change; undefined when it changes nothing. No change adds or takes more than one voter: any
 * majority before and any majority after then have a node in common. Throws NODE_NOT_FOUND, CONFLICT.
 */
export function changed(list: MemberList, change: Change): readonly Listed[] | undefined {
  if (change.kind === 'admit') return admitted(list, change);
  const known = find(list, change.node_id);
  if (!known || (known.state === 'removed' && change.kind !== 'readmit' && change.kind !== 'seal'))
    throw new SteepError('NODE_NOT_FOUND', `there is no node '${change.node_id}'`, {
      hint: 'steep-repl nodes list',
    });
  const fresh = turns[change.kind](known);
  return same(fresh, known) ? undefined : list.nodes.map((one) => (one === known ? fresh : one));
}

type Turn = Exclude<Change['kind'], 'admit'>;

const turns: Record<Turn, (known: Listed) => Listed> = {
  enfranchise: (known) =>
    known.vote === 'soon' && known.instance_id !== '' ? { ...known, vote: 'yes' } : known,
  remove: (known) => ({ ...known, state: 'removed', vote: known.vote === 'never' ? 'never' : 'suspended' }),
  seal: (known) => (known.state === 'removed' ? { ...known, instance_id: '' } : known),
  readmit: readmitted,
  offline: (known) => ({ ...known, state: 'offline' }),
  online: (known) => ({ ...known, state: 'member' }),
};

/** Whoever comes back is a new one: what its state_dir remembers may be older than what it once promised. */
function readmitted(known: Listed): Listed {
  if (known.state !== 'removed' && known.vote !== 'suspended')
    throw new SteepError('CONFLICT', `node '${known.node_id}' was not removed, and may vote`);
  return {
    ...known,
    instance_id: known.state === 'removed' ? '' : known.instance_id,
    state: known.state === 'removed' ? 'member' : known.state,
    vote: known.vote === 'suspended' ? 'soon' : known.vote,
  };
}

function admitted(list: MemberList, change: Change & { kind: 'admit' }): readonly Listed[] | undefined {
  const { node_id, instance_id, role, votes } = change;
  const known = find(list, node_id);
  if (!known)
    return [
      ...list.nodes,
      { node_id, instance_id, role, state: 'member', vote: votes && role !== '' ? 'soon' : 'never' },
    ];
  if (known.state === 'removed')
    throw new SteepError('PERMISSION_DENIED', `${node_id} was removed from the cluster`, {
      hint: `steep-repl nodes readmit ${node_id}`,
    });
  if (known.instance_id === instance_id) return undefined;
  // Another copy: the votes that the one before it gave are not known to this one.
  const vote = known.instance_id !== '' && known.vote !== 'never' ? 'suspended' : known.vote;
  return list.nodes.map((one) => (one === known ? { ...known, instance_id, vote } : one));
}

function same(a: Listed, b: Listed): boolean {
  return a.instance_id === b.instance_id && a.state === b.state && a.vote === b.vote;
}
