import { describe, expect, test } from 'bun:test';
import { createLogger, chooseFormat, type LogFormat, type RootLogger } from '../../../src/lib/log.ts';

const TIME = new Date('2026-01-02T03:04:05.678Z');
const LOCAL_CLOCK = new Date(TIME.getTime() - TIME.getTimezoneOffset() * 60_000).toISOString().slice(11, 23);
const FORMATS: LogFormat[] = ['json', 'journal', 'pretty'];

function logger(format: LogFormat, options: { colour?: boolean } = {}): { log: RootLogger; lines: string[] } {
  const lines: string[] = [];
  const log = createLogger({
    level: 'debug',
    format,
    write: (line) => lines.push(line),
    now: () => TIME,
    ...options,
  });
  return { log, lines };
}

/** The only line that `write` makes in this format. */
function lineOf(format: LogFormat, write: (log: RootLogger) => void): string {
  const { log, lines } = logger(format);
  write(log);
  expect(lines).toHaveLength(1);
  return lines[0]!;
}

describe('a line of the log', () => {
  const write = (log: RootLogger): void =>
    log.component('postgresql').warn('lost PostgreSQL', {
      reason: 'unreachable',
      error: 'it said "no"',
      attempts: 3,
      nested: { a: [1, true, null] },
      absent: undefined,
    });

  test('is one JSON object with time, level, component and msg before the fields', () => {
    expect(lineOf('json', write)).toBe(
      '{"time":"2026-01-02T03:04:05.678Z","level":"warn","component":"postgresql","msg":"lost PostgreSQL",' +
        '"reason":"unreachable","error":"it said \\"no\\"","attempts":3,"nested":{"a":[1,true,null]}}\n',
    );
  });

  test('begins with the priority of sd-daemon(3) for the journal, which knows the time itself', () => {
    expect(lineOf('journal', write)).toBe(
      '<4>postgresql: lost PostgreSQL  reason=unreachable error="it said \\"no\\"" attempts=3 nested="{\\"a\\":[1,true,null]}"\n',
    );
  });

  test('has the local time of day and aligned columns for people', () => {
    expect(lineOf('pretty', write)).toBe(
      `${LOCAL_CLOCK} WARN  postgresql lost PostgreSQL  reason=unreachable error="it said \\"no\\"" attempts=3 nested="{\\"a\\":[1,true,null]}"\n`,
    );
  });

  test('has colours only where they are asked for', () => {
    const { log, lines } = logger('pretty', { colour: true });
    log.component('x').error('bad');
    expect(lines[0]).toBe(`${LOCAL_CLOCK} \u001B[31mERROR\u001B[0m x          bad\n`);
  });

  test.each([
    ['debug', 7],
    ['info', 6],
    ['warn', 4],
    ['error', 3],
  ] as const)('of level %s has priority %i', (level, priority) => {
    expect(lineOf('journal', (log) => log.component('x')[level]('m'))).toBe(`<${priority}>x: m\n`);
    expect(JSON.parse(lineOf('json', (log) => log.component('x')[level]('m')))).toMatchObject({ level });
  });

  test('keeps its time, level, component and message whatever the fields are called', () => {
    const line = lineOf('json', (log) =>
      log.component('x').info('true', { time: 0, level: 'error', component: 'y', msg: 'forged', other: 1 }),
    );
    expect(JSON.parse(line)).toEqual({
      time: TIME.toISOString(),
      level: 'info',
      component: 'x',
      msg: 'true',
      other: 1,
    });
  });

  test.each(FORMATS)('is written (%s) even for values that JSON does not know', (format) => {
    const circular: Record<string, unknown> = {};
    circular['self'] = circular;
    const hostile = {
      toJSON: () => {
        throw new Error('not today');
      },
    };
    const { log, lines } = logger(format);
    log.info('odd', {
      big: 10n,
      circular,
      hostile,
      nothing: null,
      inside: { big: 10n },
      error: new Error('why'),
    });
    expect(lines).toHaveLength(1);
    expect(lines[0]).toContain('odd');
    expect(lines[0]).toContain('10');
    expect(lines[0]).toContain('why');
    if (format === 'json') JSON.parse(lines[0]!);
  });
});

describe('levels', () => {
  test('leave out what is below them', () => {
    const lines: string[] = [];
    const log = createLogger({ level: 'warn', format: 'journal', write: (line) => lines.push(line) });
    log.debug('1');
    log.info('2');
    log.warn('3');
    log.error('4');
    expect(lines.map((line) => line.trim())).toEqual(['<4>: 3', '<3>: 4']);
  });

  test('change for components that exist already, as a reload needs it', () => {
    const lines: string[] = [];
    const log = createLogger({ level: 'info', format: 'journal', write: (line) => lines.push(line) });
    const component = log.component('old');
    component.debug('before');
    log.setLevel('debug');
    component.debug('while debug');
    log.component('new').debug('too');
    log.setLevel('error');
    component.warn('after');
    expect(lines).toEqual(['<7>old: while debug\n', '<7>new: too\n']);
  });

  test('never drop a repeated line', () => {
    const { log, lines } = logger('journal');
    for (let i = 0; i < 50; i++) log.info('again');
    expect(lines).toHaveLength(50);
  });
});

describe('a secret', () => {
  const SECRET = 'cor"rect\\horse/ß@b at\ttery';
  const ENCODED = encodeURIComponent(SECRET);
  const JSON_TEXT = JSON.stringify(SECRET).slice(1, -1);

  const positions: Record<string, (log: RootLogger) => void> = {
    'the message': (log) => log.info(`it is ${SECRET}.`),
    'a field': (log) => log.info('m', { note: SECRET }),
    'the middle of a field': (log) => log.info('m', { note: `x${SECRET}x` }),
    'a nested field': (log) => log.info('m', { a: { b: [{ c: SECRET }] } }),
    'the name of a nested field': (log) => log.info('m', { a: { [SECRET]: 1 } }),
    'an error': (log) => log.info('m', { error: new Error(`refused ${SECRET}`) }),
    'a URL': (log) => log.info(`postgres://app:${ENCODED}@db/x`),
    'a URL in a nested field': (log) => log.info('m', { a: { url: `postgres://app:${ENCODED}@db/x` } }),
    'JSON inside the message': (log) => log.info(`{"x":"${JSON_TEXT}"}`),
    'JSON inside a nested field': (log) => log.info('m', { a: { text: `{"x":"${JSON_TEXT}"}` } }),
    'a component': (log) => log.component(SECRET).info('m'),
  };

  for (const format of FORMATS)
    test.each(Object.keys(positions))(`is taken out of %s (${format})`, (where) => {
      const { log, lines } = logger(format);
      log.redact(SECRET);
      positions[where]!(log);
      expect(lines).toHaveLength(1);
      expect(lines[0]).toContain('***');
      const unescaped = lines[0]!.replaceAll('\\', '');
      for (const part of ['rect', 'horse', 'b at', 'ttery', 'b%20at']) expect(unescaped).not.toContain(part);
      if (format === 'json') JSON.parse(lines[0]!);
    });

  test.each(FORMATS)('that is unknown is taken out where its name gives it away (%s)', (format) => {
    const { log, lines } = logger(format);
    log.info('m', { password: 'hunter2', api_token: 'hunter2', nested: { clientSecret: 'hunter2' } });
    log.info('connect with password=hunter2 user=x');
    log.info("connect with password = 'hunter2 hunter2' user=x");
    log.info('PGPASSWORD=hunter2 psql');
    log.info('{"password":"hunter2","user":"x"}');
    log.info('m', { text: '{"password": "hunter2"}', deep: { text: 'pwd=hunter2' } });
    log.info('dial postgres://app:hunter2@db/x');
    log.info('dial postgres://app:hun@hunter2@db/x');
    expect(lines).toHaveLength(8);
    for (const line of lines) {
      expect(line).toContain('***');
      expect(line).not.toContain('hunter2');
      if (format === 'json') JSON.parse(line);
    }
  });

  test('that is short is taken out where it stands alone, and other words stay', () => {
    const { log, lines } = logger('journal');
    log.redact('abc');
    log.info('abc, "abc" abc=abc abcd xabc', { field: 'abc', nested: { x: '\nabc' } });
    expect(lines).toEqual([
      '<6>: ***, "***" ***=*** abcd xabc  field=*** nested="{\\"x\\":\\"\\\\n***\\"}"\n',
    ]);
  });

  test.each(['1234', 'info', 'msg', '"', ':', 'time', 'component'])(
    'such as %p leaves the line valid JSON',
    (secret) => {
      const { log, lines } = logger('json');
      log.redact(secret);
      log
        .component('component')
        .info(`it is ${secret} here`, { pid: 1234, flag: true, note: `so ${secret} too` });
      expect(JSON.parse(lines[0]!)).toMatchObject({
        time: TIME.toISOString(),
        level: 'info',
        msg: 'it is *** here',
        note: 'so *** too',
      });
    },
  );

  test('that is empty changes nothing', () => {
    const { log, lines } = logger('journal');
    log.redact('');
    log.info('as it was');
    expect(lines).toEqual(['<6>: as it was\n']);
  });
});

describe('control characters', () => {
  const hostile = [
    'a\n<3>kernel: forged',
    'a\r\n{"level":"error"}',
    'a\u001B[2J\u001B]0;title\u0007',
    'a\u009B31m',
    'a\u0085b\u2028c\u2029d',
    'a\u0000b\u007Fc',
  ];

  test('cannot make lines or terminal sequences of their own', () => {
    for (const [format, text] of FORMATS.flatMap((one) => hostile.map((other) => [one, other] as const)))
      for (const write of [
        (log: RootLogger) => log.info(text),
        (log: RootLogger) => log.info('m', { field: text }),
        (log: RootLogger) => log.info('m', { nested: { deep: [text] } }),
        (log: RootLogger) => log.info('m', { [text]: 1 }),
        (log: RootLogger) => log.component(text).info('m'),
      ]) {
        const line = lineOf(format, write);
        expect(line.endsWith('\n')).toBe(true);
        // oxlint-disable-next-line no-control-regex -- they are what may not be there
        expect(line.slice(0, -1)).not.toMatch(/[\u0000-\u001F\u007F-\u009F\u2028\u2029]/);
      }
  });

  test('come back whole from a JSON line', () => {
    for (const text of hostile)
      expect(JSON.parse(lineOf('json', (log) => log.info(text, { nested: { text } })))).toMatchObject({
        msg: text,
        nested: { text },
      });
  });
});

describe('the format auto', () => {
  test('is JSON where nobody watches, and stays what was configured otherwise', () => {
    expect(chooseFormat('auto', {})).toBe(process.stderr.isTTY ? 'pretty' : 'json');
    expect(chooseFormat('auto', { JOURNAL_STREAM: '0:0' })).toBe(process.stderr.isTTY ? 'pretty' : 'json');
    expect(chooseFormat('journal', {})).toBe('journal');
    expect(chooseFormat('pretty', { JOURNAL_STREAM: '0:0' })).toBe('pretty');
  });

  test('is that of the journal when the journal itself reads stderr', () => {
    const script = `
      import { fstatSync } from 'node:fs';
      import { chooseFormat } from ${JSON.stringify(`${import.meta.dir}/../../../src/lib/log.ts`)};
      const { dev, ino } = fstatSync(2);
      console.log(chooseFormat('auto', { JOURNAL_STREAM: \`\${dev}:\${ino}\` }));`;
    const { stdout } = Bun.spawnSync([process.execPath, '-e', script], { stderr: 'pipe' });
    expect(stdout.toString()).toBe('journal\n');
  });
});
