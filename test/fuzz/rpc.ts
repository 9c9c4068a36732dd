/** Messages for every method of the RPC door, right and damaged, of a node, of a client and of nobody. */
import type http2 from 'node:http2';
import { Authority, connectJson, type Pems, rawSession, TestNode } from '../integration/rpc/support.ts';
import type { Random } from '../simulation/random.ts';
import { message, METHODS } from './messages.ts';
import { damaged } from './mutate.ts';
import { fail, type Input, type Target } from './target.ts';

const TYPES = [
  'application/json',
  'application/proto',
  'application/grpc',
  'application/grpc+proto',
  'application/grpc+json',
  'application/grpc-web',
  'application/grpc-web-text',
  'application/connect+proto',
  'text/plain',
  '',
];
const LIMIT_MS = 30_000;

export async function openRpc(): Promise<Target> {
  const node = await TestNode.start('node-a');
  const authority = await Authority.of(node);
  const pems: Record<string, Pems> = {
    node: await authority.node('node-b'),
    client: await authority.issue({ uri: 'steep-repl://client/alice' }),
    nobody: await authority.issue(),
  };
  const { cluster_id: cluster, instance_id: instance } = (
    await connectJson(
      node.port,
      'RegisterNode',
      { nodeId: 'node-b', nodeName: 'b', host: 'h', instanceId: 'i-b' },
      { pems: pems['node'] },
    )
  ).answer as Record<string, string>;
  const ids = ['node-b', 'i-b', String(cluster), String(instance)];
  const sessions = new Map<string, http2.ClientHttp2Session>();
  const sessionOf = async (input: Input): Promise<http2.ClientHttp2Session> => {
    const who = input['who']!.toString();
    const open = sessions.get(who);
    if (open && !open.closed && !open.destroyed) return open;
    const session = await rawSession(node.port, { pems: pems[who] ?? pems['nobody'] });
    sessions.set(who, session);
    return session;
  };
  return {
    parallel: 12,
    generate: (random) => call(random, ids),
    async check(input) {
      let said = await answer(await sessionOf(input), input);
      // On a busy machine another reason may have ended the connection; a message that does so will do it again.
      if (said.status === 0) said = await answer(await sessionOf(input), input);
      if (said.status === 0) fail('no answer');
      if (said.text.includes('internal error')) fail(`a defect: ${said.status} ${said.text}`);
      if (/node_modules|\.ts:\d/.test(said.text)) fail(`it shows what it is made of: ${said.text}`);
    },
    async settle() {
      const { status, answer: health } = await connectJson(
        node.port,
        'HealthCheck',
        {},
        { pems: pems['client'], from: '127.0.0.2' },
      );
      if (status !== 200 || health['nodeId'] !== 'node-a')
        fail(`HealthCheck: ${status} ${JSON.stringify(health)}`);
      if (node.daemon.other.length > 0) fail(`not of the log: ${node.daemon.other.join('\n')}`);
      const error = node.daemon.lines.find(({ level }) => level === 'error');
      if (error) fail(`an error in the log: ${JSON.stringify(error)}`);
    },
    async [Symbol.asyncDispose]() {
      for (const session of sessions.values()) session.destroy();
      await node[Symbol.asyncDispose]();
    },
  };
}

function call(random: Random, ids: readonly string[]): Input {
  const method = random.of(METHODS);
  const type = random.of(random.chance(0.7) ? TYPES.slice(0, 3) : TYPES);
  const format = type.includes('json') ? 'json' : 'binary';
  let body = message(random, method, format, ids);
  if (random.chance(0.4)) body = damaged(random, body);
  if (/grpc|connect\+/.test(type)) body = enveloped(random, body);
  return {
    who: Buffer.from(random.of(['node', 'node', 'client', 'nobody'])),
    path: Buffer.from(`/${method.parent.typeName}/${method.name}`),
    type: Buffer.from(type),
    body: random.chance(0.1) ? damaged(random, body) : body,
  };
}

/** One flag and four bytes of length, now and then not those of the message. */
function enveloped(random: Random, body: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head[0] = random.chance(0.95) ? 0 : random.below(256);
  head.writeUInt32BE(random.chance(0.95) ? body.length : random.below(2 ** 32), 1);
  return Buffer.concat([head, body]);
}

/** Of a stream that goes on (Watch), the beginning. */
function answer(
  session: http2.ClientHttp2Session,
  { path, type, body }: Input,
): Promise<{ status: number; text: string }> {
  return new Promise((resolve) => {
    const stream = session.request({
      ':method': 'POST',
      ':path': path!.toString('latin1').replaceAll(/[^!-~]/g, '_'),
      'content-type': type!.toString('latin1'),
    });
    const said = { status: 0, text: '' };
    const done = (): void => {
      clearTimeout(limit);
      stream.close();
      resolve(said);
    };
    const limit = setTimeout(done, LIMIT_MS);
    stream.on('response', (headers) => {
      said.status = Number(headers[':status']);
      said.text += JSON.stringify(headers);
      if (path!.toString().endsWith('Watch')) setTimeout(done, 50);
    });
    stream.on('trailers', (trailers) => (said.text += JSON.stringify(trailers)));
    stream.on('data', (chunk: Buffer) => (said.text += chunk.toString('latin1')));
    stream.on('error', (error: Error) => (said.text += error.message));
    stream.on('close', done);
    stream.end(body);
  });
}
