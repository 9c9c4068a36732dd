/**
 * The one logger: levels by consola, three forms of a line, and secrets taken out inside it, so that no caller
 * can forget to. Lines go to stderr; stdout belongs to the data of commands.
 */
import { type ConsolaInstance, createConsola, type LogObject, LogLevels } from 'consola/core';
import { messageOf } from './errors.ts';
import { stderrIsJournal } from './journal.ts';

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
  /** `message`: for a log that keeps time and level itself. */
  format: LogFormat | 'message';
  colour?: boolean;
  write?: (line: string, level: LogLevel) => void;
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
  let threshold = LogLevels[options.level];
  const root = createConsola({
    // Each component copies consola's own level when it is made, so a later change would not reach it.
    level: LogLevels.debug,
    throttle: 0, // nothing that was logged may be left out
    reporters: [
      {
        log: (entry) => {
          if (entry.level > threshold) return;
          const line = lineOf(entry, redactor, now());
          write(`${formats[format](line, colour)}\n`, line.level);
        },
      },
    ],
  });
  return {
    ...facade(root),
    setLevel: (level) => (threshold = LogLevels[level]),
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
  return stderrIsJournal(env) ? 'journal' : 'json';
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
  return {
    time,
    level: entry.type as LogLevel,
    component: redactor.clean(entry.tag),
    message: redactor.clean(String(args[0])),
    fields: redactor.cleanDeep(args[1] ?? {}) as Fields,
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

const formats: Record<LogOptions['format'], (line: Line, colour: boolean) => string> = {
  json: ({ time, level, component, message, fields }) => {
    const head = { time: time.toISOString(), level, component, msg: message };
    // Once for the order, once more so that no field takes its place.
    return oneLine(JSON.stringify({ ...head, ...fields, ...head }));
  },
  journal: (line) => `<${priorities[line.level]}>${formats.message(line, false)}`,
  message: ({ component, message, fields }) => oneLine(`${component}: ${message}${pairs(fields)}`),
  pretty: ({ time, level, component, message, fields }, colour) => {
    const name = level.toUpperCase().padEnd(5);
    const shown = colour ? `${colours[level]}${name}\u001B[0m` : name;
    return `${clock(time)} ${shown} ${oneLine(`${component.padEnd(10)} ${message}${pairs(fields)}`)}`;
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
  return shown.length === 0 ? '' : `  ${shown.join(' ')}`;
}

/** A message may quote what a stranger sent: it must not write lines or terminal sequences of its own. */
function oneLine(text: string): string {
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  return text.replaceAll(/[\u0000-\u001F\u007F-\u009F\u2028\u2029]/g, (char) => {
    const escaped = JSON.stringify(char).slice(1, -1); // which leaves those above U+007E as they are
    return escaped === char ? `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}` : escaped;
  });
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
    let cleaned = text;
    // Known secrets first: what looks like a password may be only a part of one.
    for (const pattern of this.patterns.values()) cleaned = cleaned.replaceAll(pattern, '***');
    return cleaned
      .replaceAll(/(\b[a-z][\w+.-]{0,20}:\/\/[^\s/:@]*:)[^\s/]+@/gi, '$1***@')
      .replaceAll(/((?:password|passwd|pwd)["']?\s*[=:]\s*)(?:'[^']*'|"[^"]*"|[^\s"',}]+)/gi, '$1***');
  }

  /** A copy that holds no secret, and nothing that JSON could not hold. */
  cleanDeep(value: unknown, above: readonly unknown[] = []): unknown {
    if (value instanceof Error) return this.clean(messageOf(value));
    if (typeof value !== 'object' || value === null) {
      const text = String(value);
      const cleaned = this.clean(text);
      return typeof value === 'string' || typeof value === 'bigint' || cleaned !== text ? cleaned : value;
    }
    if (value instanceof Date) return value.toJSON();
    if (above.includes(value)) return '(circular)';
    const path = [...above, value];
    if (Array.isArray(value)) return value.map((item) => this.cleanDeep(item, path));
    const entries = Object.entries(value).filter(
      ([, inner]) => inner !== undefined && typeof inner !== 'function',
    );
    return Object.fromEntries(
      entries.map(([key, inner]) => [
        this.clean(key),
        SECRET_KEY.test(key) ? '***' : this.cleanDeep(inner, path),
      ]),
    );
  }
}
