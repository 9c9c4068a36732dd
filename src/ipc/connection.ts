/** One client of the IPC door: reads requests, runs them side by side, writes answers as they come. */
import type { Socket } from 'node:net';
import { SteepError } from '../lib/errors.ts';
import { LineSplitter, LineTooLong } from '../lib/jsonl.ts';
import type { Logger } from '../lib/log.ts';
import type { Metrics } from '../lib/metrics.ts';
import { isOperation, isStream, perform } from '../operations/index.ts';
import type { Caller } from '../operations/operation.ts';
import type { Subject } from '../operations/subject.ts';
import { ipcCodes } from './errors.ts';
import { envelope, type IpcError, MAX_LINE, request, type Response } from './protocol.ts';

/** Requests under way on one connection before no more are read. */
const MAX_RUNNING = 32;
/** Each is called for every event, and lasts as long as the connection. */
const MAX_STREAMS = 32;
/** Requests begun before other connections have their turn. */
const TURN = 64;
/** A client that began a line, or does not read its answers, is given this long. */
const PATIENCE_MS = 10_000;
/** Bytes that wait for a slow reader before its requests are no longer read, and before events end it. */
const HIGH_WATER = 64 * 1024;
const DROP_WATER = 16 * 1024 * 1024;
/** What waits goes out in pieces: whether they are read shows whether the client reads. */
const PIECE = 64 * 1024;

export interface ConnectionOptions {
  subject: Subject;
  caller: Caller;
  metrics: Metrics;
  log: Logger;
}

export class Connection {
  private readonly socket: Socket;
  private readonly options: ConnectionOptions;
  private readonly splitter = new LineSplitter(MAX_LINE);
  private readonly gone = new AbortController();
  private readonly lines: string[] = [];
  private running = 0;
  private streams = 0;
  private begun = 0;
  private nextTurn: NodeJS.Immediate | undefined;
  private readonly queue: Buffer[] = [];
  /** Bytes in the queue, and those under way. */
  private queued = 0;
  private writing = false;
  private wroteAt = 0;
  private ending = false;
  private finished = false;
  private unread: NodeJS.Timeout | undefined;
  private unfinished: NodeJS.Timeout | undefined;

  constructor(socket: Socket, options: ConnectionOptions) {
    this.socket = socket;
    this.options = options;
    socket.on('data', (chunk: Buffer) => this.receive(chunk));
    socket.on('error', () => socket.destroy()); // a client that vanishes is no news
    socket.on('end', () => this.finish());
    socket.on('close', () => {
      this.gone.abort();
      clearTimeout(this.unread);
      clearTimeout(this.unfinished);
      clearImmediate(this.nextTurn);
      this.lines.length = 0;
      this.queue.length = 0;
    });
  }

  /** Reads no more, ends streams, waits up to `limit` milliseconds for answers, and closes. */
  async end(limit: number): Promise<void> {
    this.ending = true;
    this.lines.length = 0;
    this.socket.pause();
    const deadline = performance.now() + limit;
    const busy = (): boolean => this.running > 0 || this.queued > 0;
    while (busy() && !this.socket.destroyed && performance.now() < deadline) await Bun.sleep(5);
    await new Promise<void>((resolve) => {
      this.socket.once('close', () => resolve());
      this.socket.end();
      // An idle client does not close its half: it is not waited for.
      setTimeout(() => this.socket.destroy(), 50);
      if (this.socket.destroyed) resolve();
    });
  }

  /** The client sends no more (`echo … | socat`): it still gets the answers to what it asked, but no events. */
  private finish(): void {
    this.finished = true;
    this.gone.abort();
    this.runLines();
  }

  private receive(chunk: Buffer): void {
    if (this.ending) return;
    try {
      for (const line of this.splitter.push(chunk)) this.lines.push(line);
    } catch (error) {
      if (!(error instanceof LineTooLong)) throw error;
      this.closeWith(`a line is longer than ${MAX_LINE} bytes`);
      return;
    }
    this.runLines();
  }

  private runLines(): void {
    while (this.begun < TURN && this.running < MAX_RUNNING && this.queued <= HIGH_WATER) {
      const line = this.lines.shift();
      if (line === undefined) break;
      this.begun += 1;
      if (line.trim() !== '') void this.answer(line);
    }
    if (this.begun >= TURN)
      this.nextTurn ??= setImmediate(() => {
        this.nextTurn = undefined;
        this.begun = 0;
        this.runLines();
      });
    const idle = this.running + this.lines.length + this.queued === 0;
    if (idle && (this.finished || this.ending)) this.socket.end();
    const full = this.lines.length > 0 || this.queued > HIGH_WATER;
    clearTimeout(this.unfinished);
    if (this.ending) return;
    if (full) {
      this.socket.pause();
      return;
    }
    this.socket.resume();
    // While we do not read, the rest of a line is not the client's to send.
    if (this.splitter.unfinished)
      this.unfinished = setTimeout(() => this.closeWith('a line was begun and not finished'), PATIENCE_MS);
  }

  private async answer(line: string): Promise<void> {
    const parsed = parse(line);
    if ('problem' in parsed) {
      const error: IpcError = { code: 'INVALID_REQUEST', message: parsed.problem };
      this.send({ id: parsed.id, result: null, error });
      return;
    }
    const { id, method, params } = parsed;
    const { subject, caller, metrics, log } = this.options;
    const began = performance.now();
    const known = isOperation(method) ? method : 'unknown';
    this.running += 1;
    let streaming = false;
    try {
      // Events may come before the first result is written: they wait for it.
      const early: unknown[] = [];
      let started = false;
      const emit = (event: unknown): void => {
        if (started) this.sendEvent({ id, event });
        else early.push(event);
      };
      if (isStream(method)) {
        if (this.streams >= MAX_STREAMS)
          throw new SteepError('CONFLICT', `${MAX_STREAMS} streams on one connection are the most`);
        this.streams += 1; // at once: others are begun while this one is
        streaming = true;
      }
      const context = { subject, caller, signal: this.gone.signal };
      const result = await perform(method, params, context, emit);
      this.send({ id, result, error: null });
      started = true;
      for (const event of early) this.sendEvent({ id, event });
      metrics.observe('ipc', known, 'ok', (performance.now() - began) / 1000);
    } catch (thrown) {
      const error = SteepError.from(thrown);
      const code = ipcCodes[error.code];
      if (streaming) this.streams -= 1;
      if (error.code === 'INTERNAL_ERROR')
        log.error('a request failed', { method, error, stack: stackOf(error) });
      this.send({
        id,
        result: null,
        error: { code, message: error.message, ...(error.hint === undefined ? {} : { hint: error.hint }) },
      });
      metrics.observe('ipc', known, code, (performance.now() - began) / 1000);
    } finally {
      this.running -= 1;
      this.runLines();
    }
  }

  private closeWith(message: string): void {
    this.ending = true;
    this.lines.length = 0;
    this.send({ id: null, result: null, error: { code: 'INVALID_REQUEST', message } });
    setTimeout(() => this.socket.destroy(), 1000).unref();
  }

  private send(response: Response): void {
    if (this.socket.destroyed || this.socket.writableEnded) return;
    const bytes = Buffer.from(`${JSON.stringify(response)}\n`);
    this.queue.push(bytes);
    this.queued += bytes.length;
    this.write();
  }

  /** Answers are as many as were asked for; events come without end. */
  private sendEvent(event: Response): void {
    if (this.queued > DROP_WATER) this.drop('it does not keep up');
    else this.send(event);
  }

  /** Writes the next piece when the one before was taken, and drops a client that does not take it. */
  private write(): void {
    if (this.writing || this.queue.length === 0) return;
    const piece = this.nextPiece();
    this.writing = true;
    this.wroteAt = performance.now();
    this.unread ??= setTimeout(() => this.checkReader(), PATIENCE_MS);
    this.socket.write(piece, (error) => {
      if (error) return;
      this.writing = false;
      this.queued -= piece.length;
      this.write();
      if (this.queued <= HIGH_WATER) this.runLines();
    });
  }

  private checkReader(): void {
    this.unread = undefined;
    if (!this.writing) return;
    const left = this.wroteAt + PATIENCE_MS - performance.now();
    if (left <= 0) this.drop('it does not read');
    else this.unread = setTimeout(() => this.checkReader(), left);
  }

  private nextPiece(): Buffer {
    const pieces: Buffer[] = [];
    let room = PIECE;
    for (let next = this.queue[0]; next !== undefined && room > 0; next = this.queue[0]) {
      pieces.push(next.subarray(0, room));
      if (next.length > room) this.queue[0] = next.subarray(room);
      else this.queue.shift();
      room -= next.length;
    }
    return Buffer.concat(pieces);
  }

  private drop(reason: string): void {
    this.options.log.warn('an IPC client was dropped', { client: this.options.caller.name, reason });
    this.socket.destroy();
  }
}

type Parsed = { id: string; method: string; params: unknown } | { id: string | null; problem: string };

function parse(line: string): Parsed {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return { id: null, problem: 'not a JSON object' };
  }
  const checked = request.safeParse(value);
  if (checked.success)
    return { id: checked.data.id, method: checked.data.method, params: checked.data.params ?? {} };
  const [issue] = checked.error.issues;
  const where = issue?.path.join('.') ?? '';
  return {
    id: envelope.safeParse(value).data?.id ?? null,
    problem:
      where === ''
        ? 'a request is {"id": string, "method": string, "params": object?}'
        : `${where}: ${issue?.message}`,
  };
}

function stackOf({ cause }: SteepError): string | undefined {
  return cause instanceof Error ? cause.stack : undefined;
}
