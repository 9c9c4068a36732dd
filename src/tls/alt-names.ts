/**
 * The text form of a certificate's alternative names, as node:tls and X509Certificate give it:
 * `DNS:db1, IP Address:10.0.0.1, URI:"http://x/\u002c URI:steep-repl://node/evil"`. A value with a comma or a quote in
 * it stands in quotes as a JSON string (CVE-2021-44532), so splitting at commas would invent names.
 */

export interface AltName {
  /** `DNS`, `IP Address`, `URI`, `email` … */
  type: string;
  value: string;
}

const NAME = /([^:,"]+):("(?:[^"\\]|\\.)*"|[^",]*)(?:, |$)/y;

/** All names in their order; undefined when the text is not written like that, and then none may be believed. */
export function parseAltNames(text: string | undefined): AltName[] | undefined {
  const names: AltName[] = [];
  if (text === undefined) return names;
  NAME.lastIndex = 0;
  while (NAME.lastIndex < text.length) {
    const [, type, written] = NAME.exec(text) ?? [];
    if (type === undefined || written === undefined) return undefined;
    const value = written.startsWith('"') ? fromJson(written) : written;
    if (value === undefined) return undefined;
    names.push({ type, value });
  }
  return names;
}

function fromJson(text: string): string | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'string' ? value : undefined;
  } catch {
    return undefined;
  }
}
