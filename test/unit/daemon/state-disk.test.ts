import { expect, test } from 'bun:test';
import type { ClusterState } from '../../../src/cluster/state.ts';
import { StateDisk, wasTold } from '../../../src/daemon/state-disk.ts';
import { createLogger } from '../../../src/lib/log.ts';

const STATE = {} as ClusterState;

test('a disk that takes no writes is told once when it begins and once when it ends, and to whoever wanted to write', () => {
  const lines: string[] = [];
  const log = createLogger({ level: 'info', format: 'json', write: (line) => lines.push(line) });
  const full = new Error('ENOSPC: no space left on device, write');
  let problem: Error | undefined = full;
  const disk = new StateDisk(
    {
      write() {
        if (problem) throw problem;
      },
    },
    log,
  );
  const refusals: unknown[] = [];
  const attempt = (): void => {
    try {
      disk.write(STATE);
    } catch (error) {
      refusals.push(error);
    }
  };
  for (let i = 0; i < 3; i += 1) attempt();
  expect(refusals).toHaveLength(3);
  expect(refusals[2]).toMatchObject({
    code: 'FAILED',
    message: 'state_dir cannot be written: ENOSPC: no space left on device, write',
    cause: full,
  });
  expect(refusals.every(wasTold)).toBe(true);
  expect(disk.issues).toEqual([
    {
      severity: 'error',
      message: 'state_dir cannot be written: ENOSPC: no space left on device, write',
      hint: 'make room on its disk; until then this node neither votes nor changes anything',
    },
  ]);
  disk.look(() => disk.write(STATE));
  expect(disk.issues).toHaveLength(1);
  problem = undefined;
  disk.look(() => disk.write(STATE));
  expect(disk.issues).toEqual([]);
  disk.look(() => {
    throw new Error('nothing is written for nothing');
  });
  for (let i = 0; i < 2; i += 1) attempt();
  expect(disk.issues).toEqual([]);
  problem = full;
  attempt();
  expect(lines.map((line) => (JSON.parse(line) as { level: string; msg: string }).msg)).toEqual([
    'state_dir cannot be written: ENOSPC: no space left on device, write',
    'state_dir can be written again',
    'state_dir cannot be written: ENOSPC: no space left on device, write',
  ]);
  expect(wasTold(full)).toBe(false);
});
