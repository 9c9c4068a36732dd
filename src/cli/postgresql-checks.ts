/** What can be checked with a connection to PostgreSQL. */
import { awayFrom } from '../db/errors.ts';
import { inspect } from '../db/server.ts';
import { Session } from '../db/session.ts';
import { readSettings, type ServerSettings } from '../db/settings.ts';
import { describeTarget, targetOf } from '../db/target.ts';
import type { Check, Finding, Subject } from './checks.ts';

export const connectionCheck: Check = { name: 'postgresql', run: checkConnection };

export const serverCheck: Check = { name: 'server settings', run: checkServer };

/** Connects, and asks what the daemon asks before it uses a server. A server that is down may well come later. */
async function checkConnection({ loaded: { config } }: Subject): Promise<Finding[]> {
  if (config.role === 'witness') return [];
  const target = targetOf(config);
  const where = describeTarget(target);
  try {
    await using session = await Session.open(target);
    const verdict = await inspect(session, target);
    if ('reason' in verdict)
      return [{ status: 'fail', message: `${where}: ${verdict.message}`, hint: verdict.hint }];
    return [
      { status: 'ok', message: `${where}: PostgreSQL ${verdict.version} with steep_repl, as ${target.user}` },
    ];
  } catch (error) {
    const { message, hint } = awayFrom(error, target);
    return [{ status: 'fail', message: `${where}: ${message}`, hint }];
  }
}

async function checkServer({ loaded: { config } }: Subject): Promise<Finding[]> {
  if (config.role === 'witness') return [];
  try {
    await using session = await Session.open(targetOf(config));
    const facts = await readSettings(session);
    return [
      ...clock(facts),
      ...publications(facts),
      ...durability(facts),
      ...replication(facts),
      ...role(facts, config.postgresql.user),
    ];
  } catch {
    return []; // the check of the connection says why
  }
}

const CLOCK_WARN_MS = 500;

function clock({ clockOffset }: ServerSettings): Finding[] {
  const ms = Math.round(clockOffset);
  if (Math.abs(ms) <= CLOCK_WARN_MS)
    return [{ status: 'ok', message: `the server's clock differs from ours by ${ms} ms` }];
  return [
    {
      status: 'warn',
      message: `the server's clock differs from ours by ${ms} ms`,
      hint: 'let both hosts use NTP (chronyc tracking)',
    },
  ];
}

/** Such a publication would carry our own tables to other nodes, where applying them fails or does harm. */
function publications({ publicationsOfAll }: ServerSettings): Finding[] {
  return publicationsOfAll.map((name) => ({
    status: 'fail',
    message: `publication ${name} is FOR ALL TABLES: it replicates steep_repl's own tables too`,
    hint: `DROP PUBLICATION "${name}"; CREATE PUBLICATION "${name}" FOR TABLES IN SCHEMA public;`,
  }));
}

function durability({ settings }: ServerSettings): Finding[] {
  return ['fsync', 'full_page_writes']
    .filter((name) => settings[name] === 'off')
    .map((name) => ({
      status: 'warn',
      message: `${name} is off: a power cut can destroy this database`,
      hint: `ALTER SYSTEM SET ${name} = on; SELECT pg_reload_conf();`,
    }));
}

/** What replication between nodes will need; nothing needs it yet. */
function replication({ settings }: ServerSettings): Finding[] {
  const wanted: [string, boolean, string][] = [
    ['wal_level', settings['wal_level'] === 'logical', 'logical'],
    ['max_replication_slots', Number(settings['max_replication_slots']) >= 10, '10'],
    ['max_wal_senders', Number(settings['max_wal_senders']) >= 10, '10'],
    ['max_active_replication_origins', Number(settings['max_active_replication_origins']) >= 10, '10'],
    ['track_commit_timestamp', settings['track_commit_timestamp'] === 'on', 'on'],
  ];
  return wanted.map(([name, good, value]) =>
    good
      ? { status: 'ok', message: `${name} = ${settings[name]}` }
      : {
          status: 'note',
          message: `${name} = ${settings[name]}; replication between nodes will want ${value}`,
          hint: `ALTER SYSTEM SET ${name} = ${value}; then restart PostgreSQL`,
        },
  );
}

function role({ superuser }: ServerSettings, user: string): Finding[] {
  if (!superuser) return [{ status: 'ok', message: `role ${user} is no superuser` }];
  return [
    {
      status: 'note',
      message: `role ${user} is a superuser, which the daemon need not be`,
      hint: 'CREATE ROLE steep LOGIN;  steep-repl init-extension --grant steep',
    },
  ];
}
