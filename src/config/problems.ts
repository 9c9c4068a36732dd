/** What is wrong with a configuration, said so that it can be mended without looking anything up. */
import { SteepError } from '../lib/errors.ts';

export interface Problem {
  file?: string | undefined;
  /** From 1. */
  line?: number | undefined;
  /** From 1. */
  column?: number | undefined;
  /** The environment variable to blame, instead of the file. */
  variable?: string | undefined;
  /** As in the docs: `grpc.port`. */
  key?: string | undefined;
  message: string;
  /** What to do next. */
  hint?: string | undefined;
}

/** A configuration that cannot be used: CONFIG_INVALID, with every problem found, one per line of the message. */
export class ConfigError extends SteepError {
  readonly problems: readonly Problem[];

  constructor(problems: readonly Problem[]) {
    const lines = problems.map(formatProblem);
    super(
      'CONFIG_INVALID',
      lines.length === 1
        ? lines.join('')
        : [`the configuration has ${lines.length} problems`, ...lines.map((line) => `  ${line}`)].join('\n'),
    );
    this.problems = problems;
  }
}

/** `file:line:column: key: message; hint`, without what is not known. */
export function formatProblem({ file, line, column, variable, key, message, hint }: Problem): string {
  const place = variable ?? [file, line, column].filter((part) => part !== undefined).join(':');
  const text = [place, key, message].filter((part) => part !== undefined && part !== '').join(': ');
  return hint === undefined ? text : `${text}; ${hint}`;
}

const SHOWN_LENGTH = 60;

/** A value as it may stand in a message: short, on one line, and without the password that a URL may carry. */
export function showValue(value: unknown): string {
  const json = JSON.stringify(value) ?? String(value);
  const masked = json.replaceAll(/:\/\/[^/\s"]*@/g, '://***@');
  return masked.length <= SHOWN_LENGTH ? masked : `${masked.slice(0, SHOWN_LENGTH - 1)}…`;
}
