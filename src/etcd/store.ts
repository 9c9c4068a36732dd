/**
 * What a cluster keeps in etcd, and the few steps in which it is changed, each one transaction:
 *
 *   <prefix>/<cluster_id>/coordinator   who coordinates, under a lease; the revision that made it is the term
 *   <prefix>/<cluster_id>/members       the numbered list, written by the coordinator alone
 *   <prefix>/<cluster_id>/successor     who shall stand first after a handover; the next coordinator removes it
 *
 * Whoever writes names the revision of the coordinator's key in the transaction: one that was replaced, and does not
 * know it yet, writes nothing.
 */
import { Code, ConnectError } from '@connectrpc/connect';
import { z } from 'zod';
import type { MemberList } from '../cluster/list.ts';
import { listSchema } from '../cluster/list-schema.ts';
import { Compare_CompareTarget as Target } from '../gen/etcdserverpb/rpc_pb.ts';
import type { KeyValue } from '../gen/mvccpb/kv_pb.ts';
import { SteepError } from '../lib/errors.ts';
import type { EtcdClient } from './client.ts';

export interface Holder {
  node_id: string;
  term: number;
  lease: bigint;
  /** Milliseconds since 1970. */
  since: number;
}

/** All that a cluster has in etcd, at one moment. */
export interface View {
  /** Of the whole etcd: grows with every write. */
  revision: number;
  coordinator: Holder | undefined;
  members: { list: MemberList; revision: number } | undefined;
  successor: string | undefined;
}

export interface Renewed {
  /** Whether there is still such a lease. */
  alive: boolean;
  /**
   * Whether the lease was renewed by who led etcd's members at that moment: one of them that was cut off renews for a
   * while longer, and its word counts for nothing.
   */
  certain: boolean;
  view: View;
}

export interface Store {
  /** All throw CANNOT_CONNECT when no member of etcd answers, FAILED for what nobody of us wrote. */
  look(clusterId: string): Promise<View>;
  /** Makes a lease of at least so many milliseconds. */
  grant(ms: number): Promise<{ lease: bigint; ttl: number }>;
  /** Takes the empty place of the coordinator; the term, or undefined if somebody has it. */
  claim(
    clusterId: string,
    claim: Omit<Holder, 'term'>,
    foundingList: MemberList | undefined,
  ): Promise<number | undefined>;
  renew(clusterId: string, lease: bigint): Promise<Renewed>;
  /** Writes the list in place of that of `revision` (0: of none); its revision, or what is there instead. */
  write(clusterId: string, term: number, list: MemberList, revision: number): Promise<number | View>;
  /** Empties the place of the coordinator of a term. `dissolve`: nobody is left in this cluster. */
  release(
    clusterId: string,
    holder: Pick<Holder, 'term' | 'lease'>,
    how: { successor?: string; dissolve?: boolean },
  ): Promise<void>;
  /** Ends a lease that was not needed. */
  revoke(lease: bigint): Promise<void>;
}

const holderSchema = z.object({ node_id: z.string(), since: z.number() });
const successorSchema = z.object({ node_id: z.string() });

const text = new TextDecoder();
const bytes = (value: string): Uint8Array => new TextEncoder().encode(value);
const json = (value: unknown): Uint8Array => bytes(JSON.stringify(value));

export class EtcdStore implements Store {
  private readonly client: EtcdClient;
  private readonly prefix: string;

  constructor(client: EtcdClient, prefix: string) {
    this.client = client;
    this.prefix = prefix.replace(/\/+$/, '');
  }

  /** From the first key of a cluster to behind its last one. */
  range(clusterId: string): { key: Uint8Array; rangeEnd: Uint8Array } {
    const folder = `${this.prefix}/${clusterId}`;
    return { key: bytes(`${folder}/`), rangeEnd: bytes(`${folder}0`) }; // 0 comes after /
  }

  async look(clusterId: string): Promise<View> {
    const range = this.range(clusterId);
    const { header, kvs } = await this.client.call(({ kv }, options) => kv.range(range, options));
    return this.viewOf(clusterId, header?.revision, kvs);
  }

  async grant(ms: number): Promise<{ lease: bigint; ttl: number }> {
    const seconds = BigInt(Math.ceil(ms / 1000));
    const { id, ttl } = await this.client.call(({ lease }, options) =>
      lease.leaseGrant({ ttl: seconds }, options),
    );
    return { lease: id, ttl: Number(ttl) * 1000 };
  }

  async claim(
    clusterId: string,
    { node_id, since, lease }: Omit<Holder, 'term'>,
    foundingList: MemberList | undefined,
  ): Promise<number | undefined> {
    const coordinator = this.key(clusterId, 'coordinator');
    const members = this.key(clusterId, 'members');
    const { succeeded, header } = await this.client.call(({ kv }, options) =>
      kv.txn(
        {
          compare: [
            createdAt(coordinator, 0),
            ...(foundingList === undefined ? [] : [createdAt(members, 0)]),
          ],
          success: [
            put(coordinator, json({ node_id, since }), lease),
            remove(this.key(clusterId, 'successor')),
            ...(foundingList === undefined ? [] : [put(members, json(foundingList))]),
          ],
        },
        options,
      ),
    );
    return succeeded ? Number(header?.revision ?? 0n) : undefined;
  }

  async renew(clusterId: string, id: bigint): Promise<Renewed> {
    const range = this.range(clusterId);
    // Both of one member: that no other leader came between is seen by its raft term.
    const { renewal, found } = await this.client.call(async ({ kv, lease }, options) => {
      let answered: { ttl: bigint; raftTerm: bigint | undefined } | undefined;
      for await (const { ttl, header } of lease.leaseKeepAlive(once({ id }), options))
        answered = { ttl, raftTerm: header?.raftTerm };
      return { renewal: answered, found: await kv.range(range, options) };
    });
    return {
      alive: renewal !== undefined && renewal.ttl > 0n,
      certain: renewal?.raftTerm !== undefined && renewal.raftTerm === found.header?.raftTerm,
      view: this.viewOf(clusterId, found.header?.revision, found.kvs),
    };
  }

  async write(clusterId: string, term: number, list: MemberList, revision: number): Promise<number | View> {
    const members = this.key(clusterId, 'members');
    const compare = [createdAt(this.key(clusterId, 'coordinator'), term), changedAt(members, revision)];
    const success = [put(members, json(list))];
    const failure = [{ request: { case: 'requestRange' as const, value: this.range(clusterId) } }];
    const { succeeded, header, responses } = await this.client.call(({ kv }, options) =>
      kv.txn({ compare, success, failure }, options),
    );
    if (succeeded) return Number(header?.revision ?? 0n);
    const found = responses.flatMap(({ response }) =>
      response.case === 'responseRange' ? response.value.kvs : [],
    );
    return this.viewOf(clusterId, header?.revision, found);
  }

  async release(
    clusterId: string,
    { term, lease }: Pick<Holder, 'term' | 'lease'>,
    { successor, dissolve = false }: { successor?: string; dissolve?: boolean },
  ): Promise<void> {
    const coordinator = this.key(clusterId, 'coordinator');
    const named = this.key(clusterId, 'successor');
    await this.client.call(({ kv }, options) =>
      kv.txn(
        {
          compare: [createdAt(coordinator, term)],
          success: [
            remove(coordinator),
            ...(successor === undefined ? [] : [put(named, json({ node_id: successor }))]),
            ...(dissolve ? [remove(this.key(clusterId, 'members'))] : []),
          ],
        },
        options,
      ),
    );
    await this.revoke(lease);
  }

  async revoke(id: bigint): Promise<void> {
    await this.client.call(async ({ lease }, options) => {
      try {
        await lease.leaseRevoke({ id }, options);
      } catch (error) {
        if (ConnectError.from(error).code !== Code.NotFound) throw error; // it ran out by itself
      }
    });
  }

  private key(clusterId: string, name: string): Uint8Array {
    return bytes(`${this.prefix}/${clusterId}/${name}`);
  }

  private viewOf(clusterId: string, revision: bigint | undefined, found: readonly KeyValue[]): View {
    const keys = new Map(found.map((one) => [text.decode(one.key), one]));
    const folder = `${this.prefix}/${clusterId}`;
    const holder = keys.get(`${folder}/coordinator`);
    const members = keys.get(`${folder}/members`);
    const successor = keys.get(`${folder}/successor`);
    return {
      revision: Number(revision ?? 0n),
      coordinator: holder && {
        ...valueOf(holder, holderSchema),
        term: Number(holder.createRevision),
        lease: holder.lease,
      },
      members: members && { list: valueOf(members, listSchema), revision: Number(members.modRevision) },
      successor: successor && valueOf(successor, successorSchema).node_id,
    };
  }
}

function valueOf<T>({ key, value }: KeyValue, schema: z.ZodType<T>): T {
  try {
    return schema.parse(JSON.parse(text.decode(value)));
  } catch (error) {
    throw new SteepError('FAILED', `etcd: ${text.decode(key)} holds what no steep-repl wrote`, {
      hint: 'does something else use this prefix? election.etcd.prefix is for steep-repl alone',
      cause: error,
    });
  }
}

function createdAt(key: Uint8Array, revision: number) {
  const targetUnion = { case: 'createRevision' as const, value: BigInt(revision) };
  return { key, target: Target.CREATE, targetUnion };
}

function changedAt(key: Uint8Array, revision: number) {
  return { key, target: Target.MOD, targetUnion: { case: 'modRevision' as const, value: BigInt(revision) } };
}

function put(key: Uint8Array, value: Uint8Array, lease = 0n) {
  return { request: { case: 'requestPut' as const, value: { key, value, lease } } };
}

function remove(key: Uint8Array) {
  return { request: { case: 'requestDeleteRange' as const, value: { key } } };
}

async function* once<T>(value: T): AsyncGenerator<T> {
  yield value;
}
