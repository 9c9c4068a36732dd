/**
 * The door for other nodes, which opens when there are certificates: at the start or whenever the files appear.
 * New ones are used for new connections at once; a broken file changes nothing and is told.
 */
import type { Config } from '../config/schema.ts';
import { SteepError } from '../lib/errors.ts';
import type { RootLogger } from '../lib/log.ts';
import type { Metrics } from '../lib/metrics.ts';
import { sleep } from '../lib/sleep.ts';
import type { GrpcStatus, Issue, Subject } from '../operations/subject.ts';
import type { Platform } from '../platform/index.ts';
import { type RpcServer, startRpcServer } from '../rpc/server.ts';
import { ExpiryLog, expiryIssues } from './certificate-expiry.ts';
import { rulesOf } from './own-facts.ts';
import { loadTlsMaterial, type TlsFiles, type TlsMaterial } from '../tls/material.ts';
import { type TlsWatch, watchTlsMaterial } from '../tls/watch.ts';

/** Between attempts to open the door. */
const AGAIN_MS = 2000;

export interface RpcDoorOptions {
  config: () => Config;
  subject: Subject;
  platform: Platform;
  metrics: Metrics;
  log: RootLogger;
  /** There are certificates, or other ones than before. */
  onMaterial: (fresh: TlsMaterial, before: TlsMaterial | undefined) => void;
}

export class RpcDoor implements AsyncDisposable {
  private readonly options: RpcDoorOptions;
  private readonly running = new AsyncDisposableStack();
  private readonly expiry: ExpiryLog;
  private server: RpcServer | undefined;
  private current: TlsMaterial | undefined;
  private watch: TlsWatch | undefined;
  /** Why the door is closed although it should be open. */
  private closedBecause: SteepError | undefined;
  /** Certificates that came after the start, and the attempts to open the door with them. */
  private wanted: TlsMaterial | undefined;
  private opening: Promise<void> | undefined;
  private readonly stopping = new AbortController();

  constructor(options: RpcDoorOptions) {
    this.options = options;
    this.expiry = new ExpiryLog(() => this.current, options.log.component('rpc'));
  }

  /** Opens the door if it can be opened now. Throws FAILED when the port cannot be had. */
  async open(): Promise<void> {
    const { config, platform, log } = this.options;
    const { grpc } = config();
    if (!grpc.enabled) return;
    if (grpc.insecure) {
      await this.serve(undefined);
      return;
    }
    this.running.use(this.expiry.start());
    const files = filesOf(grpc.tls);
    const found = this.tryLoad(files);
    if (found) await this.begin(found);
    this.watch = this.running.use(
      watchTlsMaterial({
        files,
        platform,
        current: found,
        onChange: (material) => this.replace(material),
        onInvalid: ({ message, hint }) =>
          log.component('rpc').error('certificates not used', { error: message, hint }),
      }),
    );
  }

  /** What calls to other nodes are to use. */
  get material(): TlsMaterial | 'insecure' | undefined {
    return this.options.config().grpc.insecure ? 'insecure' : this.current;
  }

  get status(): GrpcStatus {
    const expires = this.current?.certificate.notAfter;
    return {
      listening: this.server !== undefined,
      tls: this.current !== undefined,
      ...(this.server === undefined ? {} : { port: this.server.port }),
      ...(expires === undefined ? {} : { certificateExpires: expires }),
    };
  }

  issues(now = new Date()): Issue[] {
    const problem = this.watch?.problem ?? this.closedBecause;
    const issues: Issue[] =
      problem === undefined
        ? []
        : [{ severity: 'warning', message: problem.message, hint: problem.hint ?? null }];
    return this.current === undefined ? issues : [...issues, ...expiryIssues(this.current, now)];
  }

  /** Looks at the files at once. Throws CONFIG_INVALID for what is wrong with them. */
  reload(): void {
    this.watch?.reload();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.stopping.abort();
    await this.opening;
    await this.running.disposeAsync();
  }

  private tryLoad(files: TlsFiles): TlsMaterial | undefined {
    const { platform, log } = this.options;
    try {
      const found = loadTlsMaterial(files, platform);
      if (!('missing' in found)) return found;
      this.closedBecause = new SteepError(
        'CONFIG_INVALID',
        `no calls between nodes: not there: ${found.missing.join(', ')}`,
        {
          hint: 'steep-repl tls init',
        },
      );
    } catch (thrown) {
      this.closedBecause = SteepError.from(thrown);
    }
    const { message, hint } = this.closedBecause;
    log.component('rpc').warn('the door for other nodes stays closed', { error: message, hint });
    return undefined;
  }

  private async begin(material: TlsMaterial): Promise<void> {
    await this.serve(material);
    this.accept(material);
  }

  /** Called by the watch; what it throws is shown as the problem, and the old material stays in force. */
  private replace(material: TlsMaterial): void {
    if (this.server) {
      this.server.replaceMaterial(material);
      this.accept(material);
      return;
    }
    this.wanted = material;
    this.opening ??= this.openLater().finally(() => {
      this.opening = undefined;
    });
  }

  /** The watch tells of files once: whoever has the port meanwhile is waited for. */
  private async openLater(): Promise<void> {
    while (!this.server && this.wanted && !this.stopping.signal.aborted) {
      const material = this.wanted;
      try {
        await this.begin(material);
        if (this.wanted !== material) this.replace(this.wanted);
      } catch (thrown) {
        const error = SteepError.from(thrown);
        if (error.message !== this.closedBecause?.message)
          this.options.log
            .component('rpc')
            .error('the door for other nodes cannot open', { error: error.message, hint: error.hint });
        this.closedBecause = error;
        await sleep(AGAIN_MS, this.stopping.signal);
      }
    }
  }

  private accept(material: TlsMaterial): void {
    const before = this.current;
    this.current = material;
    this.closedBecause = undefined;
    const { serial, notAfter } = material.certificate;
    const what = before ? 'certificate changed' : 'certificate loaded';
    this.options.log.component('rpc').info(what, { serial, expires: notAfter.toISOString() });
    this.expiry.look();
    this.options.onMaterial(material, before);
  }

  private async serve(material: TlsMaterial | undefined): Promise<void> {
    const { config, subject, platform, metrics, log } = this.options;
    const { grpc } = config();
    this.server = this.running.use(
      await startRpcServer({
        bind: grpc.bind,
        port: grpc.port,
        material,
        rules: rulesOf(config()),
        subject,
        platform,
        metrics,
        log: log.component('rpc'),
      }),
    );
  }
}

function filesOf({ cert_file, key_file, ca_file, crl_file }: Config['grpc']['tls']): TlsFiles {
  return { cert_file, key_file, ca_file, ...(crl_file === undefined ? {} : { crl_file }) };
}
