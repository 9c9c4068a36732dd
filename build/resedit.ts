/** What we use of npm's resedit. Its own types would bring the types of a browser's DOM into every file of ours. */
import { createRequire } from 'node:module';

interface Language {
  lang: number;
  codepage: number;
}

interface ResourceEntry {
  type: number | string;
}

interface VersionInfo {
  setFileVersion(version: string, lang: number): void;
  setProductVersion(version: string, lang: number): void;
  setStringValues(language: Language, values: Record<string, string>): void;
  outputToResourceEntries(entries: ResourceEntry[]): void;
}

interface Executable {
  generate(): ArrayBuffer;
}

interface Resources {
  entries: ResourceEntry[];
  outputResource(executable: Executable): void;
}

interface ResEdit {
  NtExecutable: { from(bytes: Uint8Array, options: { ignoreCert: boolean }): Executable };
  NtExecutableResource: { from(executable: Executable): Resources };
  Data: {
    RawIconItem: { from(bitmap: Uint8Array, width: number, height: number, bitCount: number): object };
  };
  Resource: {
    IconGroupEntry: {
      replaceIconsForResource(entries: ResourceEntry[], id: number, lang: number, icons: object[]): void;
    };
    VersionInfo: { fromEntries(entries: ResourceEntry[]): VersionInfo[] };
  };
}

export const { Data, NtExecutable, NtExecutableResource, Resource } = createRequire(import.meta.url)(
  'resedit',
) as ResEdit;
