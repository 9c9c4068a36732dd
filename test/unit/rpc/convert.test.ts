import { describe, expect, test } from 'bun:test';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import {
  NodeInfoSchema,
  NodeMetadataSchema,
  RegisterNodeRequestSchema,
} from '../../../src/gen/steep/repl/v1/coordinator_pb.ts';
import { SteepError } from '../../../src/lib/errors.ts';
import { factsFromMetadata, memberFromInfo, memberFromRequest } from '../../../src/rpc/convert.ts';

type Request = MessageInitShape<typeof RegisterNodeRequestSchema>;
type Metadata = MessageInitShape<typeof NodeMetadataSchema>;
type Info = MessageInitShape<typeof NodeInfoSchema>;

const request = (changes: Request = {}) =>
  create(RegisterNodeRequestSchema, { nodeId: 'node-b', host: '10.0.0.2', ...changes });
const info = (changes: Info = {}) =>
  create(NodeInfoSchema, { nodeId: 'node-b', host: '10.0.0.2', ...changes });

function refusalOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof SteepError) return `${error.code} ${error.message.split(':')[0]}`;
    throw error;
  }
  return 'nothing thrown';
}

describe('a registration', () => {
  test('with nothing but id and host takes the defaults of the contract', () => {
    expect(memberFromRequest(request())).toEqual({
      node_id: 'node-b',
      node_name: 'node-b',
      host: '10.0.0.2',
      port: 5432,
      priority: 50,
      grpc_host: null,
      grpc_port: null,
      role: '',
      instance_id: '',
      revision: 0,
    });
  });

  const wrong: [string, string, Request][] = [
    ['an empty id', 'node_id', { nodeId: '' }],
    ['an id of 64 characters', 'node_id', { nodeId: 'x'.repeat(64) }],
    ['an id that begins with a dot', 'node_id', { nodeId: '.x' }],
    ['an id with a slash', 'node_id', { nodeId: 'a/b' }],
    ['an id with a line after it', 'node_id', { nodeId: 'a\n' }],
    ['a name that is too long', 'node_name', { nodeName: 'x'.repeat(256) }],
    ['a name with a NUL, which PostgreSQL cannot keep', 'node_name', { nodeName: 'a\0b' }],
    ['a name with an escape sequence for terminals', 'node_name', { nodeName: '\u001b[2J' }],
    ['no host', 'host', { host: '' }],
    ['no host for a witness either, since the table wants one', 'host', { host: '', role: 'witness' }],
    ['a host with spaces', 'host', { host: 'a b' }],
    ['a host that is a URL', 'host', { host: 'http://x' }],
    ['an address that is none', 'host', { host: '10.0.0.256' }],
    ['a port below 1', 'port', { port: -1 }],
    ['a port above 65535', 'port', { port: 65_536 }],
    ['a priority below 1', 'priority', { priority: -5 }],
    ['a priority above 100', 'priority', { priority: 101 }],
    ['an RPC host that is none', 'grpc_host', { grpcHost: 'x y', grpcPort: 1 }],
    ['an RPC host without a port', 'grpc_port', { grpcHost: 'x' }],
    ['an RPC port above 65535', 'grpc_port', { grpcHost: 'x', grpcPort: 70_000 }],
    ['an unknown role', 'role', { role: 'king' }],
    ['a negative revision', 'revision', { revision: -1n }],
    [
      'a revision after which there is no room to count',
      'revision',
      { revision: BigInt(Number.MAX_SAFE_INTEGER) },
    ],
    ['an instance id with a NUL, which PostgreSQL cannot keep', 'instance_id', { instanceId: 'a\0b' }],
    ['an instance id of 65 characters', 'instance_id', { instanceId: 'x'.repeat(65) }],
    ['a cluster id that is a text', 'cluster_id', { clusterId: 'a\nb' }],
    ['a cluster id of a megabyte', 'cluster_id', { clusterId: 'x'.repeat(1_000_000) }],
    ['a revision beyond what numbers hold', 'revision', { revision: 2n ** 63n - 1n }],
  ];
  for (const [what, field, changes] of wrong)
    test(`with ${what} is refused, naming ${field}`, () => {
      expect(refusalOf(() => memberFromRequest(request(changes)))).toBe(`INVALID_REQUEST ${field}`);
    });
});

describe('metadata', () => {
  const facts = (changes: Metadata) =>
    factsFromMetadata(create(NodeMetadataSchema, { nodeId: 'node-b', ...changes }));

  test('leaves unchanged what it leaves out', () => {
    expect(facts({})).toEqual({ node_id: 'node-b' });
    expect(facts({ priority: 7 })).toEqual({ node_id: 'node-b', priority: 7 });
    expect(facts({ nodeName: 'B', grpcHost: 'b', grpcPort: 1 })).toEqual({
      node_id: 'node-b',
      node_name: 'B',
      grpc_host: 'b',
      grpc_port: 1,
    });
  });

  const wrong: [string, Metadata][] = [
    ['priority', { priority: 101 }],
    ['priority', { priority: -1 }],
    ['node_name', { nodeName: 'x'.repeat(256) }],
    ['node_name', { nodeName: 'a\0' }],
    ['grpc_host', { grpcHost: '[::1]' }],
    ['grpc_port', { grpcHost: 'x', grpcPort: 0 }],
  ];
  for (const [field, changes] of wrong)
    test(`that cannot be right is refused, naming ${field}: ${JSON.stringify(changes).slice(0, 40)}`, () => {
      expect(refusalOf(() => facts(changes))).toBe(`INVALID_REQUEST ${field}`);
    });
});

describe('a row that a peer passes on', () => {
  test('is taken as it is when it can be right', () => {
    const row = {
      grpcHost: 'b',
      grpcPort: 9,
      role: 'node',
      revision: 3n,
      priority: 9,
      port: 8,
    };
    expect(memberFromInfo(info(row))).toMatchObject({
      grpc_host: 'b',
      grpc_port: 9,
      role: 'node',
      revision: 3,
      priority: 9,
      port: 8,
    });
  });

  const wrong: [string, Info][] = [
    ['an id that is none', { nodeId: '../x' }],
    ['no host', { host: '' }],
    ['no host, of a witness', { host: '', role: 'witness' }],
    ['a host that PostgreSQL cannot keep', { host: 'a\0b' }],
    ['a name that PostgreSQL cannot keep', { nodeName: 'a\0b' }],
    ['an instance id that PostgreSQL cannot keep', { instanceId: 'a\0b' }],
    ['a revision after which there is no room to count', { revision: 2n ** 53n - 1n }],
    ['a negative revision', { revision: -1n }],
  ];
  for (const [what, changes] of wrong)
    test(`with ${what} is left out: it could never be stored again`, () => {
      expect(memberFromInfo(info(changes))).toBeUndefined();
    });
});
