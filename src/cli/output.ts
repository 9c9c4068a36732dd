/** What commands print: data on stdout, messages on stderr; and the exit codes of contract section 3. */
import { sliceAnsi, stringWidth, stripANSI, wrapAnsi } from 'bun';
import { writeSync } from 'node:fs';
import { codeOf, type ErrorCode, type SteepError } from '../lib/errors.ts';
import { stderrIsJournal } from '../lib/journal.ts';

export const EXIT = {
  ok: 0,
  failed: 1,
  usage: 2,
  notRunning: 3,
  notHealthy: 4,
  permissionDenied: 5,
  timedOut: 6,
  cannotConnect: 7,
} as const;

const exitCodes: Record<ErrorCode, number> = {
  INVALID_REQUEST: EXIT.usage,
  CONFIG_INVALID: EXIT.usage,
  METHOD_NOT_FOUND: EXIT.failed,
  NODE_NOT_FOUND: EXIT.failed,
  NOT_RUNNING: EXIT.notRunning,
  NOT_CONNECTED: EXIT.cannotConnect,
  CANNOT_CONNECT: EXIT.cannotConnect,
  PERMISSION_DENIED: EXIT.permissionDenied,
  CONFLICT: EXIT.failed,
  TIMEOUT: EXIT.timedOut,
  FAILED: EXIT.failed,
  INTERNAL_ERROR: EXIT.failed,
};

export function exitCodeOf(error: SteepError): number {
  return exitCodes[error.code];
}

/** Options that several commands share. */
export const configArg = { type: 'string', description: 'Configuration file', valueHint: 'PATH' } as const;
export const jsonArg = { type: 'boolean', description: 'Print JSON on stdout, nothing else there' } as const;

/**
 * Writes a line at once. Not by `process.stdout`: only to make that stream takes longer than all of `version`. A
 * reader that goes away early (`| head`) ends us quietly.
 */
export function printText(text: string, stream: 'stdout' | 'stderr' = 'stdout'): void {
  const bytes = Buffer.from(`${colouredFor(stream, text)}\n`);
  for (let written = 0; written < bytes.length;) {
    try {
      written += writeSync(stream === 'stdout' ? 1 : 2, bytes, written);
    } catch (error) {
      if (codeOf(error) !== 'EAGAIN') process.exit(EXIT.failed);
      Bun.sleepSync(1); // a full pipe that somebody made non-blocking
    }
  }
}

/** Colour is for terminals, and for those who want it. */
function colouredFor(stream: 'stdout' | 'stderr', text: string): string {
  if (!text.includes('\u001B')) return text;
  return process[stream].isTTY && !process.env['NO_COLOR'] ? text : stripANSI(text);
}

export function printJson(value: unknown): void {
  printText(JSON.stringify(value, null, 2));
}

/** `steep-repl: what is wrong`, then the remedy. A defect shows where it happened, for the report. */
export function printError(error: SteepError): void {
  const stack =
    error.code === 'INTERNAL_ERROR' && error.cause instanceof Error ? error.cause.stack : undefined;
  const lines = [
    `steep-repl: ${error.message}`,
    ...(error.hint === undefined ? [] : [`  hint: ${error.hint}`]),
    ...(stack === undefined ? [] : [stack]),
  ].flatMap((text) => text.split('\n'));
  // The journal takes each line as an entry, whose priority stands at its begin.
  const priority = stderrIsJournal(process.env) ? '<3>' : '';
  printText(lines.map((line) => `${priority}${line}`).join('\n'), 'stderr');
}

/** Rows as aligned columns under their headings. A terminal that is too narrow does without those of `dispensable`. */
export function printTable(headings: string[], rows: string[][], dispensable: readonly string[] = []): void {
  for (const line of tableLines(...fitting(headings, rows, dispensable))) printLine(line);
}

/** Leaves out columns, the first named first, until the table fits. */
function fitting(
  headings: string[],
  rows: string[][],
  [first, ...others]: readonly string[],
): [string[], string[][]] {
  const at = headings.findIndex((heading) => heading === first);
  const fits = tableLines(headings, rows).every((line) => stringWidth(line) <= terminalWidth());
  if (fits || at === -1) return [headings, rows];
  const without = (row: string[]): string[] => row.toSpliced(at, 1);
  return fitting(without(headings), rows.map(without), others);
}

export function tableLines(headings: string[], rows: string[][]): string[] {
  const lines = [headings, ...rows];
  const widths = headings.map((_heading, i) => Math.max(...lines.map((row) => stringWidth(row[i] ?? ''))));
  return lines.map((row) =>
    row
      .map((cell, i) => cell + ' '.repeat((widths[i] ?? 0) - stringWidth(cell)))
      .join('  ')
      .trimEnd(),
  );
}

/** One labelled value a line. */
export function printFields(fields: Record<string, string>): void {
  const width = Math.max(...Object.keys(fields).map((label) => label.length));
  for (const [label, value] of Object.entries(fields))
    printText(`${label.padEnd(width)}  ${folded(value, width + 2)}`);
}

/** A line that stays one: cut to the width of a terminal, because a wrapped list is mush. Elsewhere nothing is cut. */
export function printLine(line: string): void {
  printText(cut(line));
}

export function cut(line: string): string {
  const width = terminalWidth();
  return stringWidth(line) > width ? `${sliceAnsi(line, 0, width - 1)}…` : line;
}

/**
 * On a terminal text that is too long goes on below its own beginning, `indent` columns from the left, and words stay
 * whole. Not for commands, which are there to be copied.
 */
export function folded(text: string, indent: number): string {
  const width = Math.max(terminalWidth() - indent, NARROWEST);
  return stringWidth(text) <= width
    ? text
    : wrapAnsi(text, width).replaceAll('\n', `\n${' '.repeat(indent)}`);
}

const NARROWEST = 20;

/** Elsewhere than on a terminal nothing is too wide. */
export function terminalWidth(): number {
  const { isTTY, columns } = process.stdout;
  return isTTY && columns > 0 ? columns : Number.POSITIVE_INFINITY;
}
