/** What the build says is inside the executables, against what npm says and what is inside. */
import { describe, expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { targets } from '../../build/targets.ts';
import packageJson from '../../package.json' with { type: 'json' };
import { dist } from '../support/release.ts';

interface Package {
  name: string;
  SPDXID: string;
  versionInfo?: string;
  licenseConcluded: string;
  licenseDeclared: string;
  checksums?: { algorithm: string; checksumValue: string }[];
  externalRefs?: { referenceLocator: string }[];
}

interface Document {
  spdxVersion: string;
  SPDXID: string;
  documentNamespace: string;
  creationInfo: { created: string; creators: string[] };
  documentDescribes: string[];
  packages: Package[];
  relationships: { spdxElementId: string; relationshipType: string; relatedSpdxElement: string }[];
}

const parseLicense = createRequire(import.meta.url)('spdx-expression-parse') as (text: string) => object;
const written = JSON.parse(readFileSync(path.join(dist, 'steep-repl.spdx.json'), 'utf8')) as Document;
const text = readFileSync(path.join(dist, 'THIRD-PARTY-LICENSES.txt'), 'utf8');

/** As npm itself lists what package-lock.json pins. */
const listed = new Map(
  (
    JSON.parse(
      Bun.spawnSync(['npm', 'sbom', '--sbom-format=spdx', '--package-lock-only'], {
        cwd: path.join(dist, '..'),
      }).stdout.toString(),
    ) as Document
  ).packages.map((each) => [each.externalRefs?.[0]?.referenceLocator, each]),
);
const fromNpm = written.packages.filter(({ externalRefs }) => externalRefs !== undefined);

describe('the SPDX document', () => {
  test('is of version 2.3, with a place of its own and a time', () => {
    expect(written).toMatchObject({
      spdxVersion: 'SPDX-2.3',
      dataLicense: 'CC0-1.0',
      SPDXID: 'SPDXRef-DOCUMENT',
    });
    expect(URL.canParse(written.documentNamespace)).toBe(true);
    expect(written.creationInfo.created).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
  });

  test('has ids as SPDX wants them, each once, and relations between those only', () => {
    const ids = written.packages.map(({ SPDXID }) => SPDXID);
    expect(new Set(ids).size).toBe(ids.length);
    for (const id of ids) expect(id).toMatch(/^SPDXRef-[A-Za-z0-9.-]+$/);
    const known = [...ids, written.SPDXID];
    for (const { spdxElementId, relatedSpdxElement } of written.relationships) {
      expect(known).toContain(spdxElementId);
      expect(known).toContain(relatedSpdxElement);
    }
    const reached = new Set(
      written.relationships.flatMap((one) => [one.spdxElementId, one.relatedSpdxElement]),
    );
    expect(ids.filter((id) => !reached.has(id))).toEqual([]);
    expect(written.documentDescribes).toEqual(['SPDXRef-steep-repl']);
  });

  test('names licences that SPDX knows', () => {
    const unknown = written.packages.filter(({ name, licenseDeclared }) => {
      if (licenseDeclared === 'NOASSERTION') return !['boringssl', 'libarchive', 'libicu'].includes(name);
      return Object.keys(parseLicense(licenseDeclared)).length === 0;
    });
    expect(unknown).toEqual([]);
    expect(() => parseLicense('MIT-ish')).toThrow();
  });

  test('says of each package the version, sum and licence that npm says', () => {
    expect(fromNpm.length).toBeGreaterThan(20);
    for (const { name, versionInfo, licenseDeclared, checksums, externalRefs } of fromNpm)
      expect(listed.get(externalRefs?.[0]?.referenceLocator)).toMatchObject({
        name,
        versionInfo,
        licenseDeclared,
        checksums,
      });
  });

  test('has all that we depend on, and the Bun of each executable', () => {
    const names = fromNpm.map(({ name }) => name);
    for (const name of Object.keys(packageJson.dependencies)) expect(names).toContain(name);
    for (const { runtime } of Object.values(targets)) expect(names).toContain(runtime);
    expect(names.filter((name) => name in packageJson.devDependencies)).toEqual([]);
    expect(written.packages.find(({ name }) => name === 'Bun')?.versionInfo).toBe(
      packageJson.devDependencies.bun,
    );
  });
});

test('the licences can be read, with the text of each package that brings one', () => {
  for (const { name, versionInfo, licenseDeclared } of fromNpm.filter(
    (one) => !one.name.startsWith('@oven/'),
  ))
    expect(text).toContain(`${name} ${versionInfo}: ${licenseDeclared}`);
  expect(text).toContain('Copyright 2008 Google Inc.'); // only in a source of @bufbuild/protobuf
  expect(text).toContain('TERMS AND CONDITIONS FOR USE, REPRODUCTION, AND DISTRIBUTION');
  expect(text).toContain('JavaScriptCore, WebKit: LGPL-2.0-only');
});
