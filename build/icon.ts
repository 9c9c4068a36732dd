/** The icon of the Windows executable, drawn here: two steep slopes, one for each of two equal nodes. */

type Colour = readonly [red: number, green: number, blue: number];
type Point = readonly [x: number, y: number];

const GROUND: Colour = [24, 64, 92];
const LEFT: Colour = [240, 246, 250];
const RIGHT: Colour = [94, 196, 182];

/** Corners of a square with side 1, y down. */
const SLOPES: readonly { colour: Colour; corners: readonly [Point, Point, Point] }[] = [
  {
    colour: RIGHT,
    corners: [
      [0.38, 0.8],
      [0.64, 0.26],
      [0.9, 0.8],
    ],
  },
  {
    colour: LEFT,
    corners: [
      [0.1, 0.8],
      [0.36, 0.18],
      [0.62, 0.8],
    ],
  },
];
const ROUNDING = 0.18;
/** Samples for each pixel and direction: smooth edges. */
const SAMPLES = 4;

export const ICON_SIZES = [16, 24, 32, 48, 64, 256] as const;

/** A device-independent bitmap as icons hold it: BGRA rows from the bottom up, then a mask that nobody reads. */
export function iconBitmap(size: number): Buffer {
  const header = Buffer.alloc(40);
  header.writeUInt32LE(40, 0);
  header.writeInt32LE(size, 4);
  header.writeInt32LE(size * 2, 8); // colours and mask
  header.writeUInt16LE(1, 12);
  header.writeUInt16LE(32, 14);
  const pixels = Buffer.alloc(size * size * 4);
  for (let y = 0; y < size; y++)
    for (let x = 0; x < size; x++) pixels.set(pixel(x, y, size), ((size - 1 - y) * size + x) * 4);
  const maskRow = Math.ceil(size / 32) * 4;
  return Buffer.concat([header, pixels, Buffer.alloc(maskRow * size)]);
}

function pixel(x: number, y: number, size: number): [number, number, number, number] {
  const sum = [0, 0, 0];
  let covered = 0;
  for (let i = 0; i < SAMPLES * SAMPLES; i++) {
    const at: Point = [
      (x + ((i % SAMPLES) + 0.5) / SAMPLES) / size,
      (y + (Math.floor(i / SAMPLES) + 0.5) / SAMPLES) / size,
    ];
    const colour = colourAt(at);
    if (colour === undefined) continue;
    covered += 1;
    for (const [channel, value] of colour.entries()) sum[channel] = (sum[channel] ?? 0) + value;
  }
  const mean = (channel: number): number => Math.round((sum[channel] ?? 0) / Math.max(1, covered));
  return [mean(2), mean(1), mean(0), Math.round((255 * covered) / SAMPLES ** 2)];
}

function colourAt(point: Point): Colour | undefined {
  const [x, y] = point;
  const dx = Math.max(ROUNDING - x, x - (1 - ROUNDING), 0);
  const dy = Math.max(ROUNDING - y, y - (1 - ROUNDING), 0);
  if (Math.hypot(dx, dy) > ROUNDING) return undefined;
  return SLOPES.findLast(({ corners }) => isInside(point, corners))?.colour ?? GROUND;
}

/** Whether a point lies on the same side of all three edges. */
function isInside(point: Point, [a, b, c]: readonly [Point, Point, Point]): boolean {
  const side = (from: Point, to: Point): boolean =>
    (to[0] - from[0]) * (point[1] - from[1]) - (to[1] - from[1]) * (point[0] - from[0]) >= 0;
  return side(a, b) === side(b, c) && side(b, c) === side(c, a);
}
