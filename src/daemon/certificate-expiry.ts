/** What ends soon: the certificate, or the list of revoked ones, without which every peer is refused. */
import type { Logger } from '../lib/log.ts';
import type { Issue } from '../operations/subject.ts';
import { EXPIRY_WARNING_MS, spanOf } from '../tls/expiry.ts';
import type { TlsMaterial } from '../tls/material.ts';

/** CRLs live for days or weeks: a month would warn for ever. */
const CRL_WARNING_MS = 86_400_000;
const LOOK_MS = 60_000;

export function expiryIssues({ certificate, crlExpires }: TlsMaterial, now: Date): Issue[] {
  const issues: Issue[] = [];
  const crlLeft = crlExpires === undefined ? Infinity : crlExpires.getTime() - now.getTime();
  if (crlLeft < CRL_WARNING_MS)
    issues.push({
      severity: 'warning',
      message: `the CRL is valid for ${spanOf(crlLeft)} more; then every peer is refused`,
      hint: 'get a new one from the CA and put it into grpc.tls.crl_file',
    });
  const left = certificate.notAfter.getTime() - now.getTime();
  if (left < EXPIRY_WARNING_MS)
    issues.push({
      severity: left < 0 ? 'error' : 'warning',
      message:
        left < 0
          ? `the certificate expired ${spanOf(left)} ago`
          : `the certificate expires in ${spanOf(left)}`,
      hint: 'steep-repl tls init renews it; no restart is needed',
    });
  return issues;
}

/** Logs each of these once: when it begins, and when it gets worse. */
export class ExpiryLog implements Disposable {
  private readonly material: () => TlsMaterial | undefined;
  private readonly log: Logger;
  private timer: NodeJS.Timeout | undefined;
  private told = new Set<string>();

  constructor(material: () => TlsMaterial | undefined, log: Logger) {
    this.material = material;
    this.log = log;
  }

  start(): this {
    this.look();
    this.timer = setInterval(() => this.look(), LOOK_MS);
    return this;
  }

  look(now = new Date()): void {
    const material = this.material();
    if (material === undefined) return;
    const seen = new Set<string>();
    for (const { severity, message, hint } of expiryIssues(material, now)) {
      // The words change with each day.
      const what = `${hint} ${severity}`;
      seen.add(what);
      if (!this.told.has(what)) this.log[severity === 'error' ? 'error' : 'warn'](message, { hint });
    }
    this.told = seen;
  }

  [Symbol.dispose](): void {
    clearInterval(this.timer);
  }
}
