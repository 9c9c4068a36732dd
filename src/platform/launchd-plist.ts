/** The property list of the service: what launchd is to know. */
import path from 'node:path';
import type { ServiceOptions } from './service.ts';

export const LAUNCHD_LABEL = 'io.steep.repl';

type Value = string | number | boolean | readonly Value[] | { readonly [key: string]: Value };

/**
 * `user`: of the machine's service; undefined for an agent, which runs as whoever logs in. `folder`: one that is there
 * before the first start, for launchd starts nothing whose output it cannot open.
 */
export function plistText(options: ServiceOptions, user: string | undefined, folder: string): string {
  const job: Value = {
    Label: LAUNCHD_LABEL,
    ProgramArguments: [options.executable, 'run', '--config', options.config],
    ...(user === undefined ? {} : { UserName: user, InitGroups: true }),
    RunAtLoad: true,
    // After a failure, not after a stop; a wrong configuration ends with success there (launchd-host.ts says why).
    KeepAlive: { SuccessfulExit: false },
    ThrottleInterval: 1,
    // The daemon ends by itself within 10 s of being asked.
    ExitTimeOut: 15,
    ProcessType: 'Standard',
    Umask: 0o077,
    EnvironmentVariables: { DO_NOT_TRACK: '1', STEEP_SERVICE_SCOPE: user === undefined ? 'user' : 'system' },
    SoftResourceLimits: { NumberOfFiles: 65_536 },
    // The log goes to the system; this is for what the runtime says before it dies.
    StandardErrorPath: path.posix.join(folder, 'stderr.log'),
  };
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    '<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">',
    '<plist version="1.0">',
    element(job, ''),
    '</plist>',
    '',
  ].join('\n');
}

function element(value: Value, indent: string): string {
  if (typeof value === 'string') return `${indent}<string>${escaped(value)}</string>`;
  if (typeof value === 'number') return `${indent}<integer>${value}</integer>`;
  if (typeof value === 'boolean') return `${indent}<${value}/>`;
  const deeper = `${indent}  `;
  if (Array.isArray(value)) {
    const items = (value as readonly Value[]).map((item) => element(item, deeper));
    return [`${indent}<array>`, ...items, `${indent}</array>`].join('\n');
  }
  const entries = Object.entries(value).flatMap(([key, item]) => [
    `${deeper}<key>${escaped(key)}</key>`,
    element(item, deeper),
  ]);
  return [`${indent}<dict>`, ...entries, `${indent}</dict>`].join('\n');
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
