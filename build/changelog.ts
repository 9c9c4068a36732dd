/** The section of CHANGELOG.md about a version, without its heading; undefined: there is none. */
export function sectionOf(changelog: string, version: string): string | undefined {
  const sections = changelog.split(/^## /m).slice(1);
  const found = sections.find((section) => section.split(/[\s,(]/, 1)[0] === version);
  return found?.slice(found.indexOf('\n')).trim();
}
