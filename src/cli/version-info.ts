import packageJson from '../../package.json' with { type: 'json' };

/** Put in by build.ts. */
declare const STEEP_COMMIT: string | undefined;
declare const STEEP_TARGET: string | undefined;

/** The version of this program, written once: in package.json. */
export const version = packageJson.version;

/** The commit that it was built from, `-dirty` behind it when files differed; `unknown` without git, `dev` unbuilt. */
export const commit = typeof STEEP_COMMIT === 'undefined' ? 'dev' : STEEP_COMMIT;

/** What it was built for, as in the names of the downloads: `linux-arm64-musl`; `dev` unbuilt. */
export const target = typeof STEEP_TARGET === 'undefined' ? 'dev' : STEEP_TARGET;
