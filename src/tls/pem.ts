/** PEM as people's files hold it: comments between blocks, several blocks, a missing line feed between two. */

export interface PemBlock {
  /** `CERTIFICATE`, `X509 CRL` … */
  label: string;
  der: Buffer;
}

const BLOCK = /-----BEGIN ([A-Z0-9 ]+)-----([A-Za-z0-9+/=\s]+?)-----END \1-----/g;

/** The blocks under one of these labels, in their order; text that is no PEM has none. */
export function pemBlocks(text: string, ...labels: string[]): PemBlock[] {
  return [...text.matchAll(BLOCK)]
    .map(([, label = '', body = '']) => ({ label, der: Buffer.from(body, 'base64') }))
    .filter(({ label }) => labels.includes(label));
}

export function toPem(label: string, der: Uint8Array): string {
  const lines =
    Buffer.from(der)
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}
