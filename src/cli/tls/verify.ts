import { SteepError } from '../../lib/errors.ts';
import { formatHostPort, type HostPort, parseHostPort } from '../../lib/host-port.ts';
import { type Handshake, handshake } from '../../tls/handshake.ts';
import { isNodeId } from '../../tls/identity.ts';
import { loadTlsMaterial, type TlsMaterial } from '../../tls/material.ts';
import { describeIdentity } from '../../tls/options.ts';
import { anyFailed, type CheckResult, printResult } from '../checks.ts';
import { defineCommand } from '../command.ts';
import { configArg, EXIT, exitCodeOf, jsonArg, printJson } from '../output.ts';
import { certificateJson, keyReaders, type Local, readLocal } from './local.ts';
import { checkLifetime, checkMaterial, result, rulesOf } from './local-checks.ts';

export const command = defineCommand({
  args: {
    address: { type: 'positional', description: 'HOST:PORT of a node', required: false },
    node: { type: 'string', description: 'Expect this node there, whatever its host name', valueHint: 'ID' },
    config: configArg,
    json: jsonArg,
  },
  /**
   * JSON: `ok`, `address`, `checks[]` each `{name, status, message, hint}`, `peer` (null, or its certificate as in
   * `tls show` with `identity`, `protocol`, `latency_ms`). Exit 1 if a check fails, 6 on a time-out, 7 if nobody
   * answers at the address.
   */
  async run(args) {
    const target = targetFrom(args.address, args.node);
    const local = readLocal(args.config);
    const { checks, peer, code } = await verify(local, target);
    const address = target === undefined ? null : formatHostPort(target);
    if (args.json) printJson({ ok: code === EXIT.ok, address, checks, peer: peerJson(peer) });
    else for (const check of checks) printResult(check);
    return code;
  },
});

interface Target extends HostPort {
  nodeId: string | undefined;
}

interface Verdict {
  checks: CheckResult[];
  peer?: Handshake;
  /** Exit code. */
  code: number;
}

/** The own files first: with those broken, no handshake says anything about the other side. */
async function verify(local: Local, target: Target | undefined): Promise<Verdict> {
  const material = attempt(() => load(local));
  if (material instanceof SteepError) {
    const code = material.code === 'CONFIG_INVALID' ? EXIT.failed : exitCodeOf(material);
    return { checks: [failure('files', material)], code };
  }
  const checks = checkMaterial(material, local);
  if (target === undefined) return verdict(checks);
  const peer = await handshake({ ...target, material, rules: rulesOf(local) }).catch((error: unknown) =>
    SteepError.from(error),
  );
  if (peer instanceof SteepError)
    return { checks: [...checks, failure('handshake', peer)], code: exitCodeOf(peer) };
  const { protocol, latency, identity } = peer;
  checks.push(
    result('handshake', 'ok', `${protocol}, HTTP/2, ${latency.toFixed(1)} ms`),
    result('peer', 'ok', `${describeIdentity(identity)}, signed by ${peer.peer.issuer}`),
    checkLifetime(peer.peer.subject, peer.peer.notAfter),
  );
  return { ...verdict(checks), peer };
}

function verdict(checks: CheckResult[]): Verdict {
  return { checks, code: anyFailed(checks) ? EXIT.failed : EXIT.ok };
}

function load({ files, platform }: Local): TlsMaterial {
  const material = loadTlsMaterial(files, keyReaders(platform));
  if (!('missing' in material)) return material;
  throw new SteepError('FAILED', `not there: ${material.missing.join(', ')}`, {
    hint: 'steep-repl tls init, or the files of a company CA',
  });
}

function attempt<T>(run: () => T): T | SteepError {
  try {
    return run();
  } catch (error) {
    return SteepError.from(error);
  }
}

function failure(name: string, { message, hint }: SteepError): CheckResult {
  return result(name, 'fail', message, hint);
}

function targetFrom(address: string | undefined, nodeId: string | undefined): Target | undefined {
  if (nodeId !== undefined && !isNodeId(nodeId))
    throw new SteepError('INVALID_REQUEST', `--node: ${JSON.stringify(nodeId)} is no node id`);
  if (address === undefined) {
    if (nodeId === undefined) return undefined;
    throw new SteepError('INVALID_REQUEST', '--node needs the address to dial', {
      hint: 'steep-repl tls verify HOST:PORT --node ID',
    });
  }
  const target = parseHostPort(address);
  if (target !== undefined) return { ...target, nodeId };
  throw new SteepError('INVALID_REQUEST', `${JSON.stringify(address)} is no HOST:PORT`, {
    hint: 'steep-repl tls verify db2:5433',
  });
}

function peerJson(shown: Handshake | undefined): Record<string, unknown> | null {
  if (shown === undefined) return null;
  const { peer, identity, protocol, latency } = shown;
  const who = describeIdentity(identity);
  return { ...certificateJson(peer), identity: who, protocol, latency_ms: Math.round(latency * 10) / 10 };
}
