import { describe, expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { Metrics } from '../../../src/lib/metrics.ts';

function inOrder(texts: string[]): string[] {
  return texts.toSorted((a, b) => a.localeCompare(b));
}

/** `name type label,label` of each metric in the text format; labels only where there is a sample. */
async function exposed(metrics: Metrics): Promise<string[]> {
  const text = await metrics.read();
  return [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name, type]) => {
    const sample = new RegExp(`^${name}(?:_count)?\\{([^}]*)\\}`, 'm').exec(text)?.[1] ?? '';
    const labels = [...sample.matchAll(/(\w+)="/g)].map(([, label]) => label);
    return `${name} ${type} ${inOrder(labels as string[]).join(',')}`;
  });
}

function metricsWithSamples(): Metrics {
  const metrics = new Metrics();
  metrics.buildInfo.set({ version: '1', bun: '1' }, 1);
  metrics.nodes.set({ status: 'healthy' }, 1);
  metrics.issues.set({ severity: 'note' }, 1);
  metrics.observe('ipc', 'status.get', 'ok', 0.001);
  metrics.peerRoundTrip.set({ peer: 'b' }, 1);
  return metrics;
}

describe('metrics', () => {
  test('have names, types and labels that docs/metrics.md lists, and it lists no others', async () => {
    const text = readFileSync(path.join(import.meta.dir, '../../../docs/metrics.md'), 'utf8');
    const documented = [...text.matchAll(/^\| `(\w+)` +\| (\w+) +\| ([^|]*)\|/gm)].map(
      ([, name, type, cell]) => {
        const labels = [...cell!.matchAll(/`(\w+)`/g)].map(([, label]) => label!);
        return `${name} ${type} ${inOrder(labels).join(',')}`;
      },
    );
    expect(documented.length).toBeGreaterThan(10);
    expect(inOrder(documented)).toEqual(inOrder(await exposed(metricsWithSamples())));
  });

  test('obey the naming rules of Prometheus', async () => {
    for (const line of await exposed(metricsWithSamples())) {
      const [name = '', type = ''] = line.split(' ');
      expect(name).toMatch(/^steep_repl_[a-z]+(_[a-z]+)*$/);
      expect([name, name.endsWith('_total')]).toEqual([name, type === 'counter']);
    }
  });

  test('are filled in by every collector, ten times a second at most', async () => {
    const metrics = new Metrics();
    let readings = 0;
    metrics.onCollect(() => metrics.up.set((readings += 1)));
    metrics.onCollect(() => metrics.term.set(readings * 10));
    const first = await metrics.read();
    expect(first).toContain('\nsteep_repl_up 1\n');
    expect(await Promise.all([metrics.read(), metrics.read()])).toEqual([first, first]);
    await Bun.sleep(150);
    const text = await metrics.read();
    expect(text).toContain('\nsteep_repl_up 2\n');
    expect(text).toContain('\nsteep_repl_coordinator_term 20\n');
  });

  test('count each answer once, and sort its time into a bucket', async () => {
    const metrics = new Metrics();
    metrics.observe('http', '/health', '200', 0.003);
    metrics.observe('http', '/health', '200', 30);
    const text = await metrics.read();
    expect(text).toContain('steep_repl_requests_total{door="http",method="/health",code="200"} 2');
    expect(text).toContain(
      'steep_repl_request_duration_seconds_bucket{le="0.0025",door="http",method="/health"} 0',
    );
    expect(text).toContain(
      'steep_repl_request_duration_seconds_bucket{le="0.005",door="http",method="/health"} 1',
    );
    expect(text).toContain(
      'steep_repl_request_duration_seconds_bucket{le="+Inf",door="http",method="/health"} 2',
    );
  });
});
