/** The completion scripts, loaded in the real shells. */
import { describe, expect, test } from 'bun:test';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { Sandbox } from '../../support/cli.ts';

function installed(name: string): boolean {
  const found = Bun.which(name) !== null;
  if (!found) console.warn(`skipped: ${name} is not installed; .ci/run installs it`);
  return found;
}

async function scriptFor(name: string, sandbox: Sandbox): Promise<string> {
  const { code, stdout } = await sandbox.run(['completion', name]);
  expect(code).toBe(0);
  const file = path.join(sandbox.folder, `completion.${name}`);
  writeFileSync(file, stdout);
  return file;
}

function shell(command: string[], sandbox: Sandbox): string {
  const done = Bun.spawnSync(command, {
    env: sandbox.env,
    cwd: sandbox.folder,
    stdin: 'ignore',
    timeout: 90_000,
  });
  expect(done.stderr.toString()).toBe('');
  return done.stdout.toString();
}

describe('completion', () => {
  test.skipIf(!installed('bash'))('bash offers commands, second words and options', async () => {
    using sandbox = new Sandbox();
    const file = await scriptFor('bash', sandbox);
    const complete = (...words: string[]): string[] => {
      const line = words.map((word) => `'${word}'`).join(' ');
      const script = `source ${file}; COMP_WORDS=(steep-repl ${line}); COMP_CWORD=${words.length}; _steep_repl; printf '%s\\n' "\${COMPREPLY[@]}"`;
      return shell(['bash', '--norc', '-c', script], sandbox).trim().split('\n');
    };
    expect(complete('st')).toEqual(['status', 'start', 'stop']);
    expect(complete('nodes', '')).toEqual(expect.arrayContaining(['list', 'get']));
    expect(complete('nodes', 'list', '--st')).toEqual(['--status']);
    expect(complete('status', '--')).toEqual(['--socket', '--config', '--watch', '--json']);
    expect(complete('config', 'in')).toEqual(['init']);
  });

  test.skipIf(!installed('zsh'))('zsh loads the script and knows the command', async () => {
    using sandbox = new Sandbox();
    const file = await scriptFor('zsh', sandbox);
    const script = `autoload -Uz compinit; compinit -u -d ${sandbox.folder}/dump; source ${file}; print $_comps[steep-repl]; functions _steep_repl >/dev/null && print defined`;
    expect(shell(['zsh', '-f', '-c', script], sandbox)).toBe('_steep_repl\ndefined\n');
  });

  test.skipIf(!installed('zsh'))('zsh offers commands, second words and options to who types', async () => {
    using sandbox = new Sandbox();
    const file = await scriptFor('zsh', sandbox);
    // An interactive zsh on a terminal of its own: what was typed comes back with the rest of the word.
    const type = (typed: string, expected: string): string => {
      const setUp = `PS1=; autoload -Uz compinit; compinit -u -d ${sandbox.folder}/dump; source ${file}; echo rea''dy`;
      const script = `zmodload zsh/zpty; zpty z zsh -f -i; zpty -w z "${setUp}"; zpty -r -m z seen '*ready*'
        zpty -n -w z "${typed}"$'\\t'; zpty -r -m z seen '*${expected}*' && print found; zpty -d z`;
      return shell(['zsh', '-f', '-c', script], sandbox);
    };
    for (const [typed, expected] of [
      ['steep-repl stat', 'steep-repl status '],
      ['steep-repl nodes li', 'nodes list '],
      ['steep-repl status --wa', '--watch'],
      ['steep-repl nodes list --st', '--status'],
    ] as const)
      expect([typed, type(typed, expected)]).toEqual([typed, 'found\n']);
  });

  test.skipIf(!installed('fish'))('fish offers commands, second words and options', async () => {
    using sandbox = new Sandbox();
    const file = await scriptFor('fish', sandbox);
    const complete = (line: string): string[] =>
      shell(['fish', '--no-config', '-c', `source ${file}; complete -C '${line}'`], sandbox)
        .trim()
        .split('\n')
        .map((one) => one.split('\t')[0] ?? '');
    expect(complete('steep-repl stat')).toEqual(['status']);
    expect(complete('steep-repl nodes l')).toEqual(['list']);
    expect(complete('steep-repl status --wa')).toEqual(['--watch']);
  });

  test('powershell names every command; another shell is refused', async () => {
    using sandbox = new Sandbox();
    const { stdout } = await sandbox.run(['completion', 'powershell']);
    expect(stdout).toContain('Register-ArgumentCompleter -Native -CommandName steep-repl');
    expect(stdout).toContain("'nodes list' = @('--socket', '--config', '--status', '--json')");
    expect(await sandbox.run(['completion', 'tcsh'])).toMatchObject({ code: 2, stdout: '' });
  });
});
