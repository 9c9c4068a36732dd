/** The examples for Prometheus and Grafana: right by promtool, and about metrics that a real daemon has. */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { DaemonHome } from '../support/daemon.ts';
import { freePort } from '../support/ports.ts';

const examples = path.join(import.meta.dir, '../../examples');
const promtool = process.env['STEEP_PROMTOOL'] ?? 'promtool';
let home: DaemonHome;
/** Name → type. */
let metrics: Map<string, string>;

beforeAll(async () => {
  const port = await freePort();
  home = new DaemonHome(undefined, {
    config: { role: 'witness', http: { enabled: true, bind: '127.0.0.1', port } },
  });
  await home.start().logged('ready');
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  metrics = new Map(
    [...text.matchAll(/^# TYPE (\w+) (\w+)$/gm)].map(([, name = '', type = '']) => [name, type]),
  );
});
afterAll(async () => await home[Symbol.asyncDispose]());

function checked(...args: string[]): void {
  const { exitCode, stdout, stderr } = Bun.spawnSync([promtool, ...args], { cwd: examples });
  expect({ exitCode, said: exitCode === 0 ? '' : `${stdout.toString()}${stderr.toString()}` }).toEqual({
    exitCode: 0,
    said: '',
  });
}

/** Those in an expression that no daemon has; `_bucket` and the like belong to histograms only. */
function unknownIn(text: string): string[] {
  return (text.match(/\bsteep_repl_\w+/g) ?? []).filter(
    (name) => !metrics.has(name) && metrics.get(name.replace(/_(bucket|sum|count)$/, '')) !== 'histogram',
  );
}

test('the configuration of the scrape and the alerts are valid', () => {
  checked('check', 'config', 'prometheus.yml');
  checked('check', 'rules', 'alerts.yml');
});

test('each alert fires when it should and only then', () => {
  checked('test', 'rules', 'alerts.test.yml');
  const tests = readFileSync(path.join(examples, 'alerts.test.yml'), 'utf8');
  const alerts = readFileSync(path.join(examples, 'alerts.yml'), 'utf8').matchAll(/- alert: (\w+)/g);
  const fired = new Set([...tests.matchAll(/alertname: (\w+)\n +exp_alerts:/g)].map(([, name]) => name));
  expect([...alerts].map(([, name]) => name).filter((name) => !fired.has(name))).toEqual([]);
});

test.each(['alerts.yml', 'alerts.test.yml', 'grafana-dashboard.json'])(
  '%s knows only metrics that exist',
  (file) => {
    const text = readFileSync(path.join(examples, file), 'utf8');
    expect(text).toContain('steep_repl_');
    expect(unknownIn(text)).toEqual([]);
    expect(unknownIn('rate(steep_repl_nonsense[5m])')).toEqual(['steep_repl_nonsense']);
  },
);

interface Dashboard {
  panels: { id: number; title: string; targets: { expr: string; refId: string }[] }[];
}

test('each panel of the dashboard asks in a language that Prometheus takes', () => {
  const { panels } = JSON.parse(
    readFileSync(path.join(examples, 'grafana-dashboard.json'), 'utf8'),
  ) as Dashboard;
  expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
  const rules = panels.flatMap(({ targets }) =>
    targets.map(({ expr }, index) => ({ record: `panel:${index}`, expr })),
  );
  const file = path.join(home.folder, 'panels.json');
  void Bun.write(file, JSON.stringify({ groups: [{ name: 'panels', rules }] }));
  checked('check', 'rules', '--lint=none', file);
});
