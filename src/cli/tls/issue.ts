import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { SteepError } from '../../lib/errors.ts';
import { isHost } from '../../lib/host-port.ts';
import { readAuthority } from '../../tls/authority.ts';
import { factsOf } from '../../tls/facts.ts';
import { isClientName, isNodeId } from '../../tls/identity.ts';
import { issueClient, issueNode, type Pair } from '../../tls/issue.ts';
import { makeFolder, ownerOf, refuseSharedFolder, writePair, writePublic } from '../../tls/store.ts';
import { defineCommand } from '../command.ts';
import { configArg, jsonArg, printJson, printText } from '../output.ts';
import { certificateJson, hostArg, hostsFrom, keyReaders, readLocal, untilText } from './local.ts';

/** Whom a certificate is for. */
type Subject = { kind: 'node'; name: string; hosts: string[] } | { kind: 'client'; name: string };

export const command = defineCommand({
  args: {
    node: { type: 'positional', description: 'Id of the node', required: false },
    client: { type: 'string', description: 'For an operator’s tools instead of a node', valueHint: 'NAME' },
    host: { ...hostArg, description: `${hostArg.description} (default: the id of the node)` },
    out: {
      type: 'string',
      description: 'Folder to write into (default: ./NODE or ./NAME)',
      valueHint: 'DIR',
    },
    force: { type: 'boolean', description: 'Replace the files of an earlier certificate' },
    config: configArg,
    json: jsonArg,
  },
  /** JSON: `folder`, `wrote[]`, `certificate` as in `tls show`. */
  async run(args) {
    const subject = subjectFrom(args.node, args.client, args.host);
    const { files, platform } = readLocal(args.config);
    const authority = readAuthority(files.ca_file, keyReaders(platform));
    if (authority === undefined)
      throw new SteepError('FAILED', `there is no CA: ${files.ca_file} is not there`, {
        hint: 'steep-repl tls init makes it, once, on one host of the cluster',
      });
    const folder = path.resolve(args.out ?? subject.name);
    const targets = {
      cert: path.join(folder, `${subject.kind}.crt`),
      key: path.join(folder, `${subject.kind}.key`),
      ca: path.join(folder, 'ca.crt'),
    };
    if (!args.force) refuseExisting(Object.values(targets));
    const pair = await sign(authority, subject);
    makeFolder(folder, 0o700);
    refuseSharedFolder(folder, platform);
    writePair(targets, pair);
    writePublic(targets.ca, readFileSync(files.ca_file, 'utf8'));

    const certificate = factsOf(new X509Certificate(pair.cert));
    const wrote = Object.values(targets);
    if (args.json) return printJson({ folder, wrote, certificate: certificateJson(certificate) });
    for (const file of wrote) printText(`wrote ${file}`, 'stderr');
    printText(`certificate of ${subject.name}: valid until ${untilText(certificate.notAfter)}`, 'stderr');
    printText(`  for ${certificate.sans.join(', ')}`, 'stderr');
    printText(nextStep(subject), 'stderr');
    return undefined;
  },
});

function subjectFrom(
  node: string | undefined,
  client: string | undefined,
  hostOption: string | undefined,
): Subject {
  if ((node === undefined) === (client === undefined))
    throw new SteepError('INVALID_REQUEST', 'name a node, or a client with --client', {
      hint: 'steep-repl tls issue node-b --host 10.0.0.2;  steep-repl tls issue --client alice',
    });
  const hosts = hostsFrom(hostOption);
  if (client !== undefined) {
    if (hosts !== undefined)
      throw new SteepError('INVALID_REQUEST', 'a client has no --host: nobody dials it');
    if (isClientName(client)) return { kind: 'client', name: client };
    throw invalidName('--client', client, 'letters, digits, dots, underscores, hyphens and @');
  }
  const name = node ?? '';
  if (!isNodeId(name)) throw invalidName('NODE', name, 'letters, digits, dots, underscores and hyphens');
  if (hosts === undefined && !isHost(name))
    throw new SteepError('INVALID_REQUEST', `${name} is no host name`, {
      hint: 'say how it is reached, with --host',
    });
  return { kind: 'node', name, hosts: hosts ?? [name] };
}

function invalidName(option: string, value: string, letters: string): SteepError {
  return new SteepError('INVALID_REQUEST', `${option}: ${JSON.stringify(value)} cannot be a name`, {
    hint: `1 to 63 ${letters}; the first a letter or digit`,
  });
}

function refuseExisting(files: string[]): void {
  const existing = files.find((file) => ownerOf(file) !== undefined);
  if (existing === undefined) return;
  throw new SteepError('CONFLICT', `${existing} exists already`, {
    hint: 'choose another folder with --out, or replace it with --force',
  });
}

async function sign(authority: Pair, subject: Subject): Promise<Pair> {
  if (subject.kind === 'client') return await issueClient(authority, subject.name);
  return await issueNode(authority, { nodeId: subject.name, hosts: subject.hosts });
}

function nextStep(subject: Subject): string {
  return subject.kind === 'node'
    ? `next: copy them to ${subject.name}, where its grpc.tls points; then remove them here`
    : 'it may ask HealthCheck and GetNodes of any node, and nothing else';
}
