/** Bun for Windows with our icon and version: Bun itself can set them on Windows only. */
import { readFileSync, writeFileSync } from 'node:fs';
import packageJson from '../package.json' with { type: 'json' };
import { ICON_SIZES, iconBitmap } from './icon.ts';
import { Data, NtExecutable, NtExecutableResource, Resource } from './resedit.ts';

const RT_ICON = 3;
const RT_GROUP_ICON = 14;
const ENGLISH = 1033;
const UNICODE = 1200;

/** Writes Bun's `runtime` anew to `file`; what is compiled into it keeps icon and version. */
export function writeWindowsRuntime(runtime: string, file: string): void {
  const executable = NtExecutable.from(readFileSync(runtime), { ignoreCert: true }); // Bun's signature ends here
  const resources = NtExecutableResource.from(executable);
  resources.entries = resources.entries.filter(({ type }) => type !== RT_ICON && type !== RT_GROUP_ICON);
  Resource.IconGroupEntry.replaceIconsForResource(
    resources.entries,
    1,
    ENGLISH,
    ICON_SIZES.map((size) => Data.RawIconItem.from(iconBitmap(size), size, size, 32)),
  );
  const [info] = Resource.VersionInfo.fromEntries(resources.entries);
  if (info === undefined) throw new Error(`${runtime} has no version to replace`);
  const version = `${packageJson.version}.0`;
  info.setFileVersion(version, ENGLISH);
  info.setProductVersion(version, ENGLISH);
  info.setStringValues(
    { lang: ENGLISH, codepage: UNICODE },
    {
      FileDescription: 'steep-repl: active-active PostgreSQL 18',
      ProductName: 'steep-repl',
      CompanyName: 'Steep',
      LegalCopyright: 'MIT License',
      OriginalFilename: 'steep-repl.exe',
      InternalName: 'steep-repl',
      FileVersion: version,
      ProductVersion: version,
    },
  );
  info.outputToResourceEntries(resources.entries);
  resources.outputResource(executable);
  writeFileSync(file, Buffer.from(executable.generate()));
}
