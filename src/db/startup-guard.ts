/**
 * Lets nothing but the beginning of a PostgreSQL conversation through to the client library. That one throws at
 * malformed authentication where nobody can catch it, which would end the daemon, and prints what it does not
 * know to stderr. Whatever listens at a port by mistake must be no more than an unreachable server.
 */
import type { Socket } from 'node:net';

const LONGEST_MESSAGE = 64 * 1024;
const READY_FOR_QUERY = 'Z';
/** What may come before the first ReadyForQuery: authentication, key, notice, parameter, protocol, error. */
const TYPES = new Set(['R', 'K', 'N', 'S', 'v', 'E', READY_FOR_QUERY]);
/** The least bytes of each kind of authentication: ok, cleartext, MD5, SASL, its continuation and its end. */
const AUTHENTICATION: Record<number, number> = { 0: 8, 3: 8, 5: 12, 10: 9, 11: 9, 12: 9 };
const SCRAM_CONTINUATION = /^r=[^,]+,s=[A-Za-z0-9+/=]+,i=\d{1,7}(,|$)/;

/** Ends the socket with an error, before anybody else sees the bytes, when they are none of PostgreSQL's. */
export function guardStartup(socket: Socket): void {
  let unread = Buffer.alloc(0);
  let ready = false;
  const emit = socket.emit.bind(socket) as (event: string, ...values: unknown[]) => boolean;
  const guarded = (event: string, ...values: unknown[]): boolean => {
    const [chunk] = values;
    if (ready || event !== 'data' || !(chunk instanceof Buffer)) return emit(event, ...values);
    unread = Buffer.concat([unread, chunk]);
    const used = checkedBytes(unread);
    if (used === 'wrong') {
      socket.destroy(new Error('what answers there does not speak the protocol of PostgreSQL'));
      return true;
    }
    ready = used === 'ready';
    unread = ready ? Buffer.alloc(0) : unread.subarray(Number(used));
    return emit(event, ...values);
  };
  socket.emit = guarded as Socket['emit'];
}

/** How many bytes whole, well-formed messages take; or that one is not, or that the conversation has begun. */
function checkedBytes(bytes: Buffer): number | 'wrong' | 'ready' {
  let start = 0;
  while (bytes.length - start >= 5) {
    const type = String.fromCharCode(bytes.readUInt8(start));
    const length = bytes.readUInt32BE(start + 1);
    if (!TYPES.has(type) || length < 4 || length > LONGEST_MESSAGE) return 'wrong';
    if (bytes.length - start < length + 1) break;
    if (type === 'R' && !isAuthentication(bytes.subarray(start, start + length + 1))) return 'wrong';
    if (type === READY_FOR_QUERY) return 'ready';
    start += length + 1;
  }
  return start;
}

function isAuthentication(message: Buffer): boolean {
  const length = message.length - 1;
  const kind = length < 8 ? -1 : message.readUInt32BE(5);
  const least = AUTHENTICATION[kind];
  if (least === undefined || length < least) return false;
  return kind !== 11 || SCRAM_CONTINUATION.test(message.toString('latin1', 9));
}
