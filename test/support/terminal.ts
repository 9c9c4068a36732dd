/** Runs steep-repl on a terminal of its own: what it draws there differs from what it writes into a pipe. */
import { type Sandbox, steepReplCommand } from './cli.ts';

export interface TerminalOptions {
  columns: number;
  rows?: number;
  env?: Record<string, string>;
  /** Ends it by Ctrl-C as soon as this is true of what was drawn. */
  interruptWhen?: (drawn: string) => boolean;
}

export interface Drawn {
  code: number;
  /** With colours and all, line feeds as they were written. */
  raw: string;
  /** Lines without colours. */
  lines: string[];
}

export async function onTerminal(sandbox: Sandbox, args: string[], options: TerminalOptions): Promise<Drawn> {
  const { columns, rows = 50, env = {}, interruptWhen } = options;
  const decoder = new TextDecoder();
  let raw = '';
  let interrupted = false;
  const child = Bun.spawn([...steepReplCommand, ...args], {
    env: { ...sandbox.env, TERM: 'xterm-256color', ...env },
    cwd: sandbox.folder,
    timeout: 50_000,
    terminal: {
      cols: columns,
      rows,
      data(terminal, bytes) {
        raw += decoder.decode(bytes, { stream: true });
        if (interrupted || !interruptWhen?.(raw)) return;
        interrupted = true;
        terminal.write('\u0003');
      },
    },
  });
  const code = await child.exited;
  child.terminal?.close();
  raw = raw.replaceAll('\r\n', '\n');
  return { code, raw, lines: Bun.stripANSI(raw).trimEnd().split('\n') };
}
