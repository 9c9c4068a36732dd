/**
 * What Bun itself is made of, as its LICENSE.md says; to be compared with it at each upgrade of Bun. Licences in SPDX's
 * words; NOASSERTION: several, or one without an identifier.
 */
export const bunContents: Readonly<Record<string, string>> = {
  'JavaScriptCore, WebKit': 'LGPL-2.0-only',
  boringssl: 'NOASSERTION',
  brotli: 'MIT',
  libarchive: 'NOASSERTION',
  'lol-html': 'BSD-3-Clause',
  'ls-hpack': 'MIT',
  'ls-qpack': 'MIT',
  lsquic: 'MIT AND BSD-3-Clause',
  mimalloc: 'MIT',
  picohttpparser: 'MIT',
  zstd: 'BSD-3-Clause',
  simdutf: 'Apache-2.0',
  tinycc: 'LGPL-2.1-only',
  uSockets: 'Apache-2.0',
  uWebSockets: 'Apache-2.0',
  'zlib-ng': 'Zlib',
  'c-ares': 'MIT',
  libicu: 'NOASSERTION',
  libbase64: 'BSD-2-Clause',
  libuv: 'MIT',
  libdeflate: 'MIT',
  'libjpeg-turbo': 'BSD-3-Clause AND IJG AND Zlib',
  libspng: 'BSD-2-Clause',
  libwebp: 'BSD-3-Clause',
  highway: 'Apache-2.0',
  uucode: 'MIT',
  'parts of TigerBeetle': 'Apache-2.0',
  'parts of libc++abi': 'Apache-2.0 WITH LLVM-exception',
  'polyfills of Node’s modules': 'MIT',
};

export const BUN_LICENSE_NOTE =
  'Bun is MIT-licensed and links JavaScriptCore, which is LGPL-2. Its sources, those of its WebKit, and how to ' +
  'link it anew: https://github.com/oven-sh/bun, LICENSE.md. steep-repl is built with another Bun by ' +
  '`bun build.ts` of that Bun.';
