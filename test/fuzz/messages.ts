/** Requests of every method, by what the schemas say of them: from sensible values to absurd ones. */
import { type DescField, type DescMessage, type DescMethod, ScalarType } from '@bufbuild/protobuf';
import { reflect } from '@bufbuild/protobuf/reflect';
import { toBinary, toJsonString } from '@bufbuild/protobuf';
import { Health } from '../../src/gen/grpc/health/v1/health_pb.ts';
import { Coordinator } from '../../src/gen/steep/repl/v1/coordinator_pb.ts';
import { Election } from '../../src/gen/steep/repl/v1/election_pb.ts';
import type { Random } from '../simulation/random.ts';

export const METHODS: readonly DescMethod[] = [Coordinator, Election, Health].flatMap(
  ({ methods }) => methods,
);

const STRINGS = [
  '',
  'node-a',
  'node-b',
  'node-c',
  'node',
  'witness',
  'member',
  'removed',
  'yes',
  'soon',
  'admit',
  'remove',
  'healthy',
  '127.0.0.1',
  'localhost',
  '::1',
  'x'.repeat(3000),
  '\0',
  '../x',
  '\u202e',
  '%s',
  "'; DROP TABLE steep_repl.nodes; --",
  '6f0c8e4c-53ab-4b5e-9c0e-7d8d4a3c7a01',
];
const NUMBERS = [0, 1, -1, 2, 50, 100, 3000, 5433, 65_536, 2 ** 31 - 1, -(2 ** 31)];
const LONGS = [...NUMBERS.map(BigInt), 2n ** 53n, 2n ** 63n - 1n, -(2n ** 63n)];
const MOST_DEEP = 4;

/** Of the method's input, encoded. */
export function message(
  random: Random,
  { input }: DescMethod,
  format: 'binary' | 'json',
  ids: readonly string[],
): Buffer {
  const { message: made } = filled(random, input, ids, 0);
  if (format === 'binary') return Buffer.from(toBinary(input, made));
  try {
    return Buffer.from(toJsonString(input, made));
  } catch {
    return Buffer.from('{}'); // a moment that JSON has no form for
  }
}

function filled(
  random: Random,
  desc: DescMessage,
  ids: readonly string[],
  depth: number,
): ReturnType<typeof reflect> {
  const made = reflect(desc);
  for (const field of desc.fields) {
    if (random.chance(0.25)) continue;
    if (field.fieldKind === 'list') {
      const list = made.get(field);
      for (let count = random.below(4); count > 0; count -= 1) list.add(valueOf(random, field, ids, depth));
    } else if (field.fieldKind !== 'map') {
      const value = valueOf(random, field, ids, depth);
      if (value !== undefined) made.set(field, value);
    }
  }
  return made;
}

function valueOf(random: Random, field: DescField, ids: readonly string[], depth: number): unknown {
  if (field.message) {
    if (field.message.typeName === 'google.protobuf.Timestamp')
      return filled(random, field.message, [], MOST_DEEP);
    return depth < MOST_DEEP ? filled(random, field.message, ids, depth + 1) : reflect(field.message);
  }
  if (field.enum) return random.of([0, 1, 2]);
  switch (field.scalar) {
    case ScalarType.STRING:
      return random.of(random.chance(0.5) && ids.length > 0 ? ids : STRINGS);
    case ScalarType.BOOL:
      return random.chance(0.5);
    case ScalarType.INT64:
    case ScalarType.UINT64:
      return random.of(LONGS);
    case ScalarType.FLOAT:
      return random.of([0, -1, 1e38, Number.NaN]);
    default:
      return random.of(NUMBERS);
  }
}
