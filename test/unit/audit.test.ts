/** The audit of dependencies, with the real npm and a registry of our own. */
import { expect, test } from 'bun:test';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import lock from '../../package-lock.json' with { type: 'json' };

const root = path.join(import.meta.dir, '../..');
const packages = lock.packages as Record<string, { version?: string }>;
const version = packages['node_modules/yaml']!.version!;

/** npm remembers what it heard of a defect. */
function newCache(): Disposable & { path: string } {
  const folder = mkdtempSync(path.join(tmpdir(), 'npm-'));
  return { path: folder, [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }) };
}

async function audit(severity: string | undefined): Promise<{ code: number; out: string }> {
  using cache = newCache();
  await using registry = Bun.serve({
    port: 0,
    hostname: '127.0.0.1',
    fetch(request) {
      const { pathname } = new URL(request.url);
      if (severity === undefined) return new Response('', { status: 405 });
      if (pathname.endsWith('/advisories/bulk'))
        return Response.json({
          yaml: [{ id: 1, url: 'x', title: 'x', severity, vulnerable_versions: `<=${version}` }],
        });
      const name = decodeURIComponent(pathname.slice(1));
      const own = packages[`node_modules/${name}`]?.version ?? '0.0.0';
      return Response.json({
        name,
        'dist-tags': { latest: own },
        versions: { [own]: { name, version: own } },
      });
    },
  });
  const child = Bun.spawn([process.execPath, 'test/support/audit.ts'], {
    cwd: root,
    env: {
      ...process.env,
      npm_config_registry: registry.url.href,
      npm_config_cache: cache.path,
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [out, code] = await Promise.all([new Response(child.stdout).text(), child.exited]);
  return { code, out };
}

test('fails on a high defect, and names it', async () => {
  const { code, out } = await audit('high');
  expect(out).toContain('FAILED audit: yaml *: high');
  expect(out).toEndWith('0 passed, 1 failed\n');
  expect(code).toBe(1);
});

test('passes with a moderate one', async () => {
  expect(await audit('moderate')).toEqual({ code: 0, out: '1 passed, 0 failed\n' });
});

test('says so where the registry cannot be asked, and counts nothing', async () => {
  const { code, out } = await audit(undefined);
  expect(out).toMatch(/^not asked: .*405.*\n0 passed, 0 failed\n$/);
  expect(code).toBe(0);
});
