import { rfc3339 } from '../../tls/expiry.ts';
import type { CertificateFacts } from '../../tls/facts.ts';
import { defineCommand } from '../command.ts';
import { colour } from '../format.ts';
import { configArg, EXIT, jsonArg, printFields, printJson, printText } from '../output.ts';
import { type CrlFacts, describeFiles, type FileFacts } from './files.ts';
import { certificateJson, keyReaders, readLocal, untilText } from './local.ts';

export const command = defineCommand({
  args: { config: configArg, json: jsonArg },
  /**
   * JSON: `files[]`, each `{file, kind, present, problem, certificates[], crls[]}`; certificates `{subject, sans[],
   * issuer, serial, not_before, not_after, days_left, fingerprint, node_id}`, crls `{issuer, this_update, next_update,
   * revoked}`. Exit 1 if a file has a problem.
   */
  run(args) {
    const { files, platform } = readLocal(args.config);
    const found = describeFiles(files, keyReaders(platform));
    if (args.json) printJson({ files: found.map(fileJson) });
    else for (const file of found) printFile(file);
    return found.some(({ problem }) => problem !== undefined) ? EXIT.failed : EXIT.ok;
  },
});

function fileJson({ file, kind, present, problem, certificates, crls }: FileFacts): Record<string, unknown> {
  return {
    file,
    kind,
    present,
    problem: problem ?? null,
    certificates: certificates.map((facts) => certificateJson(facts)),
    crls: crls.map(({ issuer, thisUpdate, nextUpdate, revoked }) => ({
      issuer: issuer ?? null,
      this_update: rfc3339(thisUpdate),
      next_update: nextUpdate === undefined ? null : rfc3339(nextUpdate),
      revoked,
    })),
  };
}

function printFile({ file, kind, problem, certificates, crls }: FileFacts): void {
  printText(`${kind.padEnd(11)}  ${file}`);
  if (problem !== undefined) printText(`  ${colour('red', problem)}`);
  for (const facts of certificates) printFields(certificateFields(facts));
  for (const crl of crls) printFields(crlFields(crl));
}

function certificateFields({ subject, sans, issuer, notAfter }: CertificateFacts): Record<string, string> {
  return {
    '  subject': subject,
    ...(sans.length === 0 ? {} : { '  names': sans.join(', ') }),
    '  issuer': issuer,
    '  expires': untilText(notAfter),
  };
}

function crlFields({ issuer, nextUpdate, revoked }: CrlFacts): Record<string, string> {
  return {
    '  issuer': issuer ?? colour('red', 'none of the CAs in ca_file'),
    '  revoked': `${revoked} certificates`,
    '  expires': nextUpdate === undefined ? 'never' : untilText(nextUpdate),
  };
}
