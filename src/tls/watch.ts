/**
 * Sees certificates that were replaced, by content: a file system event is lost with the first rename. Certificate and
 * key are never replaced at one moment, so what is new is judged only after it was read twice the same. A broken state
 * is judged again at every look, because time alone can mend it (a certificate not yet valid), and reported once for
 * each wording. The old material stays in force meanwhile.
 */
import { SteepError } from '../lib/errors.ts';
import type { Platform } from '../platform/index.ts';
import { readTlsFiles, type TlsFiles } from './files.ts';
import { checkTlsFiles, type TlsMaterial } from './material.ts';

export interface WatchOptions {
  files: TlsFiles;
  platform: Pick<Platform, 'readableByOthers'>;
  /** What is in force now; undefined while there are no files. */
  current: TlsMaterial | undefined;
  /** Puts new material in force; when it throws, the old one counts as being in force. */
  onChange: (material: TlsMaterial) => void;
  /** Why what lies there now is not in force; once for each distinct reason. */
  onInvalid: (problem: SteepError) => void;
  /** Milliseconds between looks; default 1000. */
  interval?: number;
}

export interface TlsWatch extends Disposable {
  /** What is in force. */
  readonly material: TlsMaterial | undefined;
  /** Why the files are not in force as they lie there; undefined while they are, or while there never were any. */
  readonly problem: SteepError | undefined;
  /** Judges the files at once, for an operator who says that they are complete. Throws what is wrong with them. */
  reload(): void;
}

export function watchTlsMaterial(options: WatchOptions): TlsWatch {
  const watch = new Watch(options);
  const timer = setInterval(() => watch.look(), options.interval ?? 1000);
  return Object.assign(watch, { [Symbol.dispose]: () => clearInterval(timer) });
}

/** What one look found, with a text that is equal for equal findings. */
interface Look {
  fingerprint: string;
  /** The material; undefined when there never was any and files are missing. Throws what is wrong. */
  judge: () => TlsMaterial | undefined;
}

class Watch {
  material: TlsMaterial | undefined;
  problem: SteepError | undefined;
  /** The fingerprints of the last look, and of the last one that was judged. */
  private seen: string | undefined;
  private judged: string | undefined;

  private readonly options: WatchOptions;

  constructor(options: WatchOptions) {
    this.options = options;
    this.material = options.current;
  }

  look(): void {
    const { fingerprint, judge } = this.read();
    const stable = fingerprint === this.seen;
    this.seen = fingerprint;
    if (!stable || (fingerprint === this.judged && this.problem === undefined)) return;
    this.judged = fingerprint;
    const before = this.problem?.message;
    this.apply(judge);
    if (this.problem !== undefined && this.problem.message !== before) this.options.onInvalid(this.problem);
  }

  reload(): void {
    const { fingerprint, judge } = this.read();
    this.seen = fingerprint;
    this.judged = fingerprint;
    this.apply(judge);
    if (this.problem !== undefined) throw this.problem;
  }

  private apply(judge: Look['judge']): void {
    try {
      const found = judge();
      if (found !== undefined && !isSame(found, this.material)) {
        this.options.onChange(found);
        this.material = found;
      }
      this.problem = undefined;
    } catch (thrown) {
      this.problem = SteepError.from(thrown);
    }
  }

  private read(): Look {
    const { files, platform } = this.options;
    try {
      const contents = readTlsFiles(files, platform);
      const judge = (): TlsMaterial | undefined =>
        'missing' in contents ? this.absent(contents.missing) : checkTlsFiles(contents, files);
      return { fingerprint: JSON.stringify(contents), judge };
    } catch (thrown) {
      const error = SteepError.from(thrown);
      const judge = (): never => {
        throw error;
      };
      return { fingerprint: error.message, judge };
    }
  }

  private absent(missing: string[]): undefined {
    if (this.material === undefined) return undefined;
    throw new SteepError(
      'CONFIG_INVALID',
      `not there any more: ${missing.join(', ')}; this daemon goes on with what it has read`,
      { hint: 'put them back:  steep-repl tls init, or the files of the company CA' },
    );
  }
}

function isSame(a: TlsMaterial, b: TlsMaterial | undefined): boolean {
  return a.cert === b?.cert && a.key === b.key && a.ca === b.ca && a.crl === b.crl;
}
