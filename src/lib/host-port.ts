/** `host:port`, as peers and PostgreSQL servers are addressed; an IPv6 address stands in brackets. */
import { isIP, isIPv6 } from 'node:net';

export interface HostPort {
  /** A name or an address, without brackets. */
  host: string;
  /** 1–65535 */
  port: number;
}

/** Names as DNS and container networks have them: the underscore is theirs. */
const HOST_NAME =
  /^(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?$/;
const ONLY_DIGITS_AND_DOTS = /^[\d.]+$/;

/** A host name or an IP address without brackets; `10.0.0.256` is neither. */
export function isHost(text: string): boolean {
  return isIP(text) !== 0 || (HOST_NAME.test(text) && !ONLY_DIGITS_AND_DOTS.test(text));
}

/** The two parts of `db1:5433` or `[fe80::1]:5433`; undefined if it is not written like that. */
export function parseHostPort(text: string): HostPort | undefined {
  const match = /^(?:\[(?<v6>[^\]]+)\]|(?<name>[^:[\]]+)):(?<port>\d{1,5})$/.exec(text);
  const { v6, name, port: digits } = match?.groups ?? {};
  const port = Number(digits);
  if (!(port >= 1 && port <= 65_535)) return undefined;
  if (v6 !== undefined) return isIPv6(v6) ? { host: v6, port } : undefined;
  return name !== undefined && isHost(name) ? { host: name, port } : undefined;
}

/** `parseHostPort` of text that was checked before. Throws for any other. */
export function requireHostPort(text: string): HostPort {
  const parsed = parseHostPort(text);
  if (!parsed) throw new Error(`not host:port: ${text}`);
  return parsed;
}

/** The reverse of `parseHostPort`. */
export function formatHostPort({ host, port }: HostPort): string {
  return isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`;
}
