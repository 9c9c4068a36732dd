/** What launchd would say to a property list: well-formed, known keys, right types, an absolute program. */

export type Plist = string | number | boolean | Plist[] | { [key: string]: Plist };

const TOKEN = /\s*<(key|string|integer)>([^<]*)<\/\1>|\s*<(true|false)\/>|\s*<(\/?)(dict|array)>/y;

/** Throws for anything that is not the XML form of a property list. */
export function parsePlist(text: string): Plist {
  const body =
    /^<\?xml version="1\.0" encoding="UTF-8"\?>\n<!DOCTYPE plist [^>]+>\n<plist version="1\.0">([^]*)<\/plist>\n$/.exec(
      text,
    )?.[1];
  if (body === undefined) throw new Error('no property list');
  const reader = new Reader(body);
  const value = reader.value();
  reader.end();
  return value;
}

class Reader {
  private readonly text: string;
  private at = 0;

  constructor(text: string) {
    this.text = text;
  }

  value(): Plist {
    const token = this.token();
    const [, leaf, content = '', flag, slash, container] = token;
    if (leaf === 'string') return unescaped(content);
    if (leaf === 'integer' && /^-?\d+$/.test(content)) return Number(content);
    if (flag !== undefined) return flag === 'true';
    if (slash === '' && container === 'array') return this.array();
    if (slash === '' && container === 'dict') return this.dict();
    throw new Error(`unexpected ${token[0]}`);
  }

  end(): void {
    if (this.text.slice(this.at).trim() !== '')
      throw new Error(`more after the end: ${this.text.slice(this.at)}`);
  }

  private array(): Plist[] {
    const items: Plist[] = [];
    while (!this.closes('array')) items.push(this.value());
    return items;
  }

  private dict(): Plist {
    const entries: Record<string, Plist> = {};
    while (!this.closes('dict')) {
      const [, leaf, key = ''] = this.token();
      if (leaf !== 'key' || key in entries) throw new Error(`no key, or one given twice: ${key}`);
      entries[unescaped(key)] = this.value();
    }
    return entries;
  }

  private closes(container: string): boolean {
    const before = this.at;
    const [, , , , slash, name] = this.token();
    if (slash === '/' && name === container) return true;
    this.at = before;
    return false;
  }

  private token(): RegExpExecArray {
    TOKEN.lastIndex = this.at;
    const token = TOKEN.exec(this.text);
    if (token === null) throw new Error(`not understood: ${this.text.slice(this.at, this.at + 60)}`);
    this.at = TOKEN.lastIndex;
    return token;
  }
}

function unescaped(text: string): string {
  if (/&(?!amp;|lt;|gt;)/.test(text)) throw new Error(`a bare & in ${text}`);
  return text.replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&amp;', '&');
}

type Kind = 'string' | 'integer' | 'boolean' | 'strings' | 'dict';

/** Those of launchd.plist(5) that a service may want. */
const JOB: Record<string, Kind[]> = {
  Label: ['string'],
  ProgramArguments: ['strings'],
  UserName: ['string'],
  GroupName: ['string'],
  InitGroups: ['boolean'],
  RunAtLoad: ['boolean'],
  KeepAlive: ['boolean', 'dict'],
  ThrottleInterval: ['integer'],
  ExitTimeOut: ['integer'],
  ProcessType: ['string'],
  Umask: ['integer'],
  EnvironmentVariables: ['dict'],
  SoftResourceLimits: ['dict'],
  HardResourceLimits: ['dict'],
  WorkingDirectory: ['string'],
  StandardOutPath: ['string'],
  StandardErrorPath: ['string'],
};
const NESTED: Record<string, Record<string, Kind[]>> = {
  KeepAlive: { SuccessfulExit: ['boolean'], Crashed: ['boolean'], NetworkState: ['boolean'] },
  SoftResourceLimits: { NumberOfFiles: ['integer'], Core: ['integer'] },
  HardResourceLimits: { NumberOfFiles: ['integer'], Core: ['integer'] },
};

/** What is wrong with it; nothing: []. */
export function lintPlist(job: Plist): string[] {
  if (!isDict(job)) return ['the top is no dict'];
  const [program, ...rest] = Array.isArray(job['ProgramArguments']) ? job['ProgramArguments'] : [];
  return [
    ...wrongIn(job, JOB, ''),
    ...Object.entries(NESTED).flatMap(([key, known]) => {
      const inner = job[key];
      return isDict(inner) ? wrongIn(inner, known, `${key}.`) : [];
    }),
    ...(isDict(job['EnvironmentVariables']) &&
    Object.values(job['EnvironmentVariables']).some((value) => typeof value !== 'string')
      ? ['EnvironmentVariables: not only strings']
      : []),
    ...(job['Label'] ? [] : ['no Label']),
    ...(typeof program === 'string' &&
    program.startsWith('/') &&
    rest.every((word) => typeof word === 'string')
      ? []
      : ['no absolute program']),
    ...(['Background', 'Standard', 'Adaptive', 'Interactive'].includes(
      typeof job['ProcessType'] === 'string' ? job['ProcessType'] : 'Standard',
    )
      ? []
      : ['ProcessType']),
  ];
}

function wrongIn(dict: Record<string, Plist>, known: Record<string, Kind[]>, prefix: string): string[] {
  return Object.entries(dict).flatMap(([key, value]) => {
    const kinds = known[key];
    if (kinds === undefined) return [`unknown key ${prefix}${key}`];
    return kinds.includes(kindOf(value)) ? [] : [`${prefix}${key}: ${kindOf(value)}`];
  });
}

function kindOf(value: Plist): Kind {
  if (Array.isArray(value)) return 'strings';
  if (typeof value === 'object') return 'dict';
  return typeof value === 'number' ? 'integer' : typeof value === 'boolean' ? 'boolean' : 'string';
}

function isDict(value: Plist | undefined): value is Record<string, Plist> {
  return typeof value === 'object' && !Array.isArray(value);
}
