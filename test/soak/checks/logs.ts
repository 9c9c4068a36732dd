/** What the daemons wrote: how much, nothing unexpected, no secret; and what it tells of elections. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { LOG_LINES_PER_FAULT } from '../limits.ts';
import type { SoakNode, World } from '../world.ts';

/** Warnings and errors that the faults of the soak bring about. Nothing else may be said. */
const EXPECTED = new Set([
  'lost PostgreSQL',
  'PostgreSQL cannot be used',
  'peer degraded',
  'peer unreachable',
  'no coordinator',
  'this node coordinates no more',
  'the audit trail could not be written; it is kept',
  'an audit event could not be written to state_dir',
  'state_dir cannot be written: ENOSPC: no space left on device, write',
  'cannot write steep_repl.nodes',
  'reading the audit trail failed',
  'certificates not used',
  'configuration not reloaded; the running one stays in force',
  'cannot join yet',
]);

/** A handshake that a cut or a death ended. Whoever is refused for another reason should not have been. */
function brokenOff(msg: string, reason: unknown): boolean {
  return msg === 'refused' && /closed during the handshake|no handshake within/.test(String(reason));
}

export interface LogCounts {
  node: string;
  lines: number;
  bytesPerHour: number;
  warnings: number;
  errors: number;
}

export function checkLogs(world: World, faults: number): LogCounts[] {
  checkSecrets(world);
  checkTerms(world);
  return world.nodes.map((node) => {
    const daemons = node.lives.map(({ daemon }) => daemon);
    const lines = daemons.flatMap((daemon) => daemon.lines);
    for (const { level, msg, ...fields } of lines)
      if ((level === 'warn' || level === 'error') && !EXPECTED.has(msg) && !brokenOff(msg, fields['reason']))
        world.found('lines', `${node.id}: ${level} ${msg} ${JSON.stringify(fields)}`);
    for (const other of daemons.flatMap((daemon) => daemon.other))
      world.found('lines', `${node.id}: ${other}`);
    for (const { stdout } of daemons)
      if (stdout !== '') world.found('lines', `${node.id}: on stdout: ${stdout}`);
    const bytes = daemons.reduce((sum, { stderr }) => sum + stderr.length, 0);
    const most = LOG_LINES_PER_FAULT * (faults + 1);
    if (lines.length > most) world.found('volume', `${node.id}: ${lines.length} lines, ${most} are allowed`);
    return {
      node: node.id,
      lines: lines.length,
      bytesPerHour: Math.round((bytes / (Date.now() - world.began)) * 3_600_000),
      warnings: lines.filter(({ level }) => level === 'warn').length,
      errors: lines.filter(({ level }) => level === 'error').length,
    };
  });
}

function checkSecrets(world: World): void {
  const secrets = [...world.secrets, 'PRIVATE KEY'];
  for (const node of world.nodes) {
    const shown = [...node.lives.flatMap(({ daemon }) => [daemon.stderr, daemon.stdout]), kept(node)];
    for (const secret of secrets)
      if (shown.some((text) => text.includes(secret)))
        world.found('secrets', `${node.id} wrote ${secret.slice(0, 4)}…`);
  }
}

/** Its files that are no keys. */
function kept({ node: { home } }: SoakNode): string {
  return ['audit-outbox.jsonl', 'cluster.json']
    .map((name) => readFileSync(path.join(home.stateDir, name), 'utf8'))
    .join('');
}

/** Who coordinates does so in a term that nobody had before, and that is the newest. */
function checkTerms(world: World): void {
  const elected = world.nodes
    .flatMap(({ id, lives }) =>
      lives.flatMap(({ daemon }) =>
        daemon.lines
          .filter(({ msg }) => msg === 'this node coordinates')
          .map(({ time, term }) => ({ id, at: Date.parse(time), term: Number(term) })),
      ),
    )
    .sort((a, b) => a.at - b.at);
  for (const [index, { id, term }] of elected.entries()) {
    const before = elected[index - 1];
    if (before && term <= before.term)
      world.found('terms', `${id} coordinates in term ${term} after ${before.id} in ${before.term}`);
  }
}

/** How often somebody was elected. */
export function elections(world: World): number {
  return world.nodes
    .flatMap(({ lives }) => lives.map(({ daemon }) => daemon.count('this node coordinates')))
    .reduce((a, b) => a + b, 0);
}
