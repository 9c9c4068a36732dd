/** As much of DER as reading a CRL needs: the elements of a sequence, object identifiers as bytes, times. */

export interface DerElement {
  tag: number;
  /** What is inside. */
  content: Buffer;
  /** Tag and length included. */
  whole: Buffer;
}

export const DER_TAG = { integer: 0x02, sequence: 0x30, utcTime: 0x17, generalizedTime: 0x18 } as const;

/** The elements that lie one after the other in `bytes`. Throws RangeError when they do not fill it exactly. */
export function derElements(bytes: Buffer): DerElement[] {
  const elements: DerElement[] = [];
  for (let at = 0; at < bytes.length;) {
    const tag = bytes.readUInt8(at);
    const first = bytes.readUInt8(at + 1);
    const lengthBytes = first < 0x80 ? 0 : first & 0x7f;
    if (first === 0x80 || lengthBytes > 4) throw new RangeError('a length that DER does not have');
    const start = at + 2 + lengthBytes;
    const end = start + (lengthBytes === 0 ? first : bytes.readUIntBE(at + 2, lengthBytes));
    if (end > bytes.length) throw new RangeError('an element that is longer than its surroundings');
    elements.push({ tag, content: bytes.subarray(start, end), whole: bytes.subarray(at, end) });
    at = end;
  }
  return elements;
}

/** UTCTime (two digits of the year, 1950–2049) or GeneralizedTime; undefined for any other element. */
export function derTime(element: DerElement | undefined): Date | undefined {
  const match = /^(\d{2}|\d{4})(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})Z$/.exec(
    element?.content.toString('latin1') ?? '',
  );
  if (element === undefined || match === null) return undefined;
  const [year = 0, month = 0, ...rest] = match.slice(1).map(Number);
  if (element.tag === DER_TAG.generalizedTime) return new Date(Date.UTC(year, month - 1, ...rest));
  if (element.tag !== DER_TAG.utcTime) return undefined;
  return new Date(Date.UTC(year + (year < 50 ? 2000 : 1900), month - 1, ...rest));
}
