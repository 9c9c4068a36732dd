/**
 * The one logger: levels by consola, three forms of a line, and secrets taken out inside it, so that no caller
 * can forget to. Lines go to stderr; stdout belongs to the data of commands.
 */
import { fstatSync } from 'node:fs';
import { type ConsolaInstance, createConsola, type LogObject, LogLevels } from 'consola/core';
import { messageOf } from './errors.ts';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';
export type LogFormat = 'pretty' | 'journal' | 'json';
export type Fields = Record<string, unknown>;

export interface Logger {
  debug(message: string, fields?: Fields): void;
  info(message: string, fields?: Fields): void;
  warn(message: string, fields?: Fields): void;
  error(message: string, fields?: Fields): void;
  /** The same log under the name of one part of the program. */
  component(name: string): Logger;
}

export interface RootLogger extends Logger {
  setLevel(level: LogLevel): void;
  /** From now on this text is shown as `***` wherever it occurs. */
  redact(secret: string): void;
}

export interface LogOptions {
  level: LogLevel;
  format: LogFormat;
  colour?: boolean;
  write?: (line: string) => void;
  now?: () => Date;
}

export function createLogger(options: LogOptions): RootLogger {
  const {
    format,
    colour = false,
    write = (line) => void process.stderr.write(line),
    now = () => new Date(),
  } = options;
  const redactor = new Redactor();
  const root = createConsola({
    level: LogLevels[options.level],
    throttle: 0, // nothing that was logged may be left out
    reporters: [
      {
        log: (entry) => write(`${redactor.clean(formats[format](lineOf(entry, redactor, now()), colour))}\n`),
      },
    ],
  });
  return {
    ...facade(root),
    setLevel: (level) => (root.level = LogLevels[level]),
    redact: (secret) => redactor.add(secret),
  };
}

/** `auto`: pretty on a terminal, with priorities when the journal reads stderr, JSON otherwise. */
export function chooseFormat(
  configured: 'auto' | LogFormat,
  env: Record<string, string | undefined>,
): LogFormat {
  if (configured !== 'auto') return configured;
  if (process.stderr.isTTY) return 'pretty';
  const stream = env['JOURNAL_STREAM'];
  if (stream === undefined) return 'json';
  const { dev, ino } = fstatSync(2);
  return stream === `${dev}:${ino}` ? 'journal' : 'json';
}

function facade(consola: ConsolaInstance): Logger {
  return {
    debug: (message, fields) => consola.debug(message, fields),
    info: (message, fields) => consola.info(message, fields),
    warn: (message, fields) => consola.warn(message, fields),
    error: (message, fields) => consola.error(message, fields),
    component: (name) => facade(consola.withTag(name)),
  };
}

interface Line {
  time: Date;
  level: LogLevel;
  component: string;
  message: string;
  fields: Fields;
}

const SECRET_KEY = /pass(word|wd|phrase)|secret|token|private_?key/i;

function lineOf(entry: LogObject, redactor: Redactor, time: Date): Line {
  const args: unknown[] = entry.args;
  const given = (args[1] ?? {}) as Fields;
  const fields: Fields = {};
  for (const [key, value] of Object.entries(given)) {
    if (value === undefined) continue;
    if (SECRET_KEY.test(key)) fields[key] = '***';
    else fields[key] = value instanceof Error ? messageOf(value) : redactor.cleanDeep(value);
  }
  return {
    time,
    level: entry.type as LogLevel,
    component: entry.tag,
    message: redactor.clean(String(args[0])),
    fields,
  };
}

const colours: Record<LogLevel, string> = {
  debug: '\u001B[90m',
  info: '\u001B[36m',
  warn: '\u001B[33m',
  error: '\u001B[31m',
};
/** Priorities of sd-daemon(3), which journald takes from the start of a line. */
const priorities: Record<LogLevel, number> = { debug: 7, info: 6, warn: 4, error: 3 };

const formats: Record<LogFormat, (line: Line, colour: boolean) => string> = {
  json: ({ time, level, component, message, fields }) =>
    JSON.stringify({ time: time.toISOString(), level, component, msg: message, ...fields }),
  journal: ({ level, component, message, fields }) =>
    `<${priorities[level]}>${component}: ${oneLine(message)}${pairs(fields)}`,
  pretty: ({ time, level, component, message, fields }, colour) => {
    const name = level.toUpperCase().padEnd(5);
    const shown = colour ? `${colours[level]}${name}\u001B[0m` : name;
    return `${clock(time)} ${shown} ${component.padEnd(10)} ${oneLine(message)}${pairs(fields)}`;
  },
};

/** The local time of day: whoever watches a terminal knows the date. */
function clock(time: Date): string {
  const local = new Date(time.getTime() - time.getTimezoneOffset() * 60_000);
  return local.toISOString().slice(11, 23);
}

function pairs(fields: Fields): string {
  const shown = Object.entries(fields).map(([key, value]) => {
    const text = typeof value === 'string' ? value : JSON.stringify(value);
    return `${key}=${/^[^\s"=]+$/.test(text) ? text : JSON.stringify(text)}`;
  });
  return shown.length === 0 ? '' : `  ${oneLine(shown.join(' '))}`;
}

/** A message may quote what a stranger sent: it must not write lines or terminal sequences of its own. */
function oneLine(text: string): string {
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  return text.replaceAll(/[\u0000-\u001F\u007F-\u009F]/g, (char) => JSON.stringify(char).slice(1, -1));
}

class Redactor {
  private readonly patterns = new Map<string, RegExp>();

  add(secret: string): void {
    if (secret === '' || this.patterns.has(secret)) return;
    const texts = [secret, JSON.stringify(secret).slice(1, -1), encodeURIComponent(secret)];
    const any = [...new Set(texts)]
      .map((text) => text.replaceAll(/[$()*+.?[\\\]^{|}]/g, String.raw`\$&`))
      .join('|');
    // A short secret is a word that other words contain: only where it stands alone.
    this.patterns.set(secret, new RegExp(secret.length < 6 ? `(?<!\\w)(?:${any})(?!\\w)` : any, 'g'));
  }

  clean(text: string): string {
    let cleaned = text
      .replaceAll(/(\w+:\/\/[^\s/:@]*:)[^\s/@]+@/g, '$1***@')
      .replaceAll(/\b(password|passwd|pwd)(\s*[=:]\s*)(?:'[^']*'|"[^"]*"|[^\s"',}]+)/gi, '$1$2***');
    for (const pattern of this.patterns.values()) cleaned = cleaned.replaceAll(pattern, '***');
    return cleaned;
  }

  cleanDeep(value: unknown): unknown {
    if (typeof value === 'string') return this.clean(value);
    if (typeof value !== 'object' || value === null) return value;
    return JSON.parse(JSON.stringify(value), (key, inner: unknown) => (SECRET_KEY.test(key) ? '***' : inner));
  }
}
