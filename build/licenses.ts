/** What is inside the executables and under which licences: for programs as SPDX, for people as text. */
import packageJson from '../package.json' with { type: 'json' };
import { BUN_LICENSE_NOTE, bunContents } from './bun-contents.ts';
import { type BundledPackage, licenseTexts, pinned } from './bundled.ts';
import { type Commit } from './commit.ts';
import { targets } from './targets.ts';

const ROOT = 'SPDXRef-steep-repl';
const BUN = 'SPDXRef-Bun';

/** A document of SPDX 2.3. The same commit gives the same bytes. */
export function spdxDocument(bundled: readonly BundledPackage[], { commit, date }: Commit): object {
  const runtimes = Object.values(targets).map(({ runtime }) => pinned(`node_modules/${runtime}`));
  const parts = Object.entries(bunContents).map(([name, license]) => ({
    name,
    ...common(`Bun-${name}`, license),
  }));
  const npm = bundled.map(npmPackage);
  const bun = runtimes.map((runtime) => npmPackage({ ...runtime, folder: '' }));
  const contains = (whole: string, part: { SPDXID: string }): object => ({
    spdxElementId: whole,
    relationshipType: 'CONTAINS',
    relatedSpdxElement: part.SPDXID,
  });
  return {
    spdxVersion: 'SPDX-2.3',
    dataLicense: 'CC0-1.0',
    SPDXID: 'SPDXRef-DOCUMENT',
    name: `steep-repl-${packageJson.version}`,
    documentNamespace: `https://spdx.org/spdxdocs/steep-repl-${packageJson.version}-${commit}`,
    creationInfo: { created: date, creators: ['Tool: steep-repl-build'] },
    documentDescribes: [ROOT],
    packages: [
      {
        name: 'steep-repl',
        versionInfo: packageJson.version,
        ...common('steep-repl', packageJson.license),
        primaryPackagePurpose: 'APPLICATION',
      },
      ...npm,
      {
        name: 'Bun',
        versionInfo: Bun.version,
        ...common('Bun', 'MIT'),
        licenseComments: BUN_LICENSE_NOTE,
        comment: 'Each executable holds one of the variants.',
      },
      ...bun,
      ...parts,
    ],
    relationships: [
      { spdxElementId: 'SPDXRef-DOCUMENT', relationshipType: 'DESCRIBES', relatedSpdxElement: ROOT },
      ...npm.map((part) => contains(ROOT, part)),
      contains(ROOT, { SPDXID: BUN }),
      ...bun.map(({ SPDXID }) => ({
        spdxElementId: SPDXID,
        relationshipType: 'VARIANT_OF',
        relatedSpdxElement: BUN,
      })),
      ...parts.map((part) => contains(BUN, part)),
    ],
  };
}

function npmPackage({ name, version, integrity, license }: BundledPackage) {
  const url = `pkg:npm/${name.replace('@', '%40')}@${version}`;
  return {
    name,
    versionInfo: version,
    ...common(`${name}-${version}`, license),
    checksums: [
      {
        algorithm: 'SHA512',
        checksumValue: Buffer.from(integrity.replace('sha512-', ''), 'base64').toString('hex'),
      },
    ],
    externalRefs: [{ referenceCategory: 'PACKAGE-MANAGER', referenceType: 'purl', referenceLocator: url }],
  };
}

function common(id: string, license: string) {
  return {
    SPDXID: `SPDXRef-${id.replaceAll(/[^A-Za-z0-9.]+/g, '-').replace(/^-/, '')}`,
    downloadLocation: 'NOASSERTION',
    filesAnalyzed: false,
    licenseConcluded: license,
    licenseDeclared: license,
    copyrightText: 'NOASSERTION',
  };
}

/** All licences with their texts, each text once. */
export function licensesText(bundled: readonly BundledPackage[]): string {
  const seen = new Map<string, string>();
  const sections = bundled.map((each) => {
    const title = `${each.name} ${each.version}: ${each.license}`;
    const texts = licenseTexts(each).map((text) => {
      const before = seen.get(text);
      seen.set(text, before ?? each.name);
      return before === undefined ? text : `The same text as of ${before}.`;
    });
    return section(title, texts.length > 0 ? texts : ['It brings no text of its own.']);
  });
  const parts = Object.entries(bunContents).map(
    ([name, license]) => `${name}: ${license === 'NOASSERTION' ? 'its own, see there' : license}`,
  );
  return [
    `steep-repl ${packageJson.version} is MIT-licensed. Its executable contains what follows.\n`,
    ...sections,
    section(`Bun ${Bun.version}: MIT`, [BUN_LICENSE_NOTE, `It contains\n\n${parts.join('\n')}`]),
  ].join('\n');
}

function section(title: string, texts: readonly string[]): string {
  return `${'='.repeat(80)}\n${title}\n${'='.repeat(80)}\n\n${texts.join('\n\n')}\n`;
}
