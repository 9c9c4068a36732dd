import type { ArgsDef } from 'citty';
import { SteepError } from '../lib/errors.ts';
import { defineCommand } from './command.ts';
import { commands } from './commands.ts';
import { printText } from './output.ts';

const SHELLS = ['bash', 'zsh', 'fish', 'powershell'] as const;
type Shell = (typeof SHELLS)[number];

export const command = defineCommand({
  args: { shell: { type: 'positional', required: true, description: SHELLS.join(', ') } },
  async run({ shell }) {
    const known = SHELLS.find((name) => name === shell);
    if (known === undefined)
      throw new SteepError('INVALID_REQUEST', `no completion for '${shell}'`, {
        hint: `one of ${SHELLS.join(', ')}`,
      });
    printText(scripts[known](await describeCommands()));
  },
});

interface Completion {
  /** The words of the command. */
  words: string[];
  about: string;
  options: { flag: string; about: string; takesValue: boolean }[];
}

async function describeCommands(): Promise<Completion[]> {
  return await Promise.all(
    Object.entries(commands).map(async ([name, { about, load }]) => {
      const loaded = await load();
      return { words: name.split(' '), about, options: optionsOf(loaded.command.args) };
    }),
  );
}

function optionsOf(args: ArgsDef): Completion['options'] {
  return Object.entries(args)
    .filter(([, { type }]) => type !== 'positional')
    .map(([name, { type, description, ...rest }]) => {
      const negated = 'negativeDescription' in rest && rest.negativeDescription !== undefined;
      return {
        flag: negated ? `--no-${name}` : `--${name}`,
        about: (negated ? String(rest.negativeDescription) : description) ?? '',
        takesValue: type !== 'boolean',
      };
    });
}

/** First words with what may follow: a command's options, or the second words of a group. */
function firstWords(list: Completion[]): string[] {
  return [...new Set(list.map(({ words: [first = ''] }) => first))];
}

const scripts: Record<Shell, (list: Completion[]) => string> = { bash, zsh, fish, powershell };

function bash(list: Completion[]): string {
  const cases = list.map(
    ({ words, options }) =>
      `    '${words.join(' ')}') words='${options.map(({ flag }) => flag).join(' ')}' ;;`,
  );
  const groups = firstWords(list)
    .map((first) => ({
      first,
      seconds: list
        .filter(({ words }) => words[0] === first && words.length > 1)
        .map(({ words }) => words[1]),
    }))
    .filter(({ seconds }) => seconds.length > 0)
    .map(({ first, seconds }) => `    '${first}') words='${seconds.join(' ')}' ;;`);
  return `# steep-repl completion for bash:  source <(steep-repl completion bash)
_steep_repl() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD-1]} words='' line
  case $prev in
    --config|--socket|--sharedir|--dir|--pg-config) COMPREPLY=($(compgen -f -- "$cur")); return ;;
  esac
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W '${firstWords(list).join(' ')}' -- "$cur")); return
  fi
  line=\${COMP_WORDS[1]}
  if [ "$COMP_CWORD" -eq 2 ]; then
    case $line in
${groups.join('\n')}
    esac
    [ -n "$words" ] && { COMPREPLY=($(compgen -W "$words" -- "$cur")); return; }
  fi
  case "$line \${COMP_WORDS[2]}" in
${cases.filter((line) => /^ {4}'\S+ \S+'/.test(line)).join('\n')}
    *) case $line in
${cases.filter((line) => /^ {4}'\S+'/.test(line)).join('\n')}
    esac ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -F _steep_repl steep-repl`;
}

/** For single quotes in zsh and fish. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

function zsh(list: Completion[]): string {
  const firsts = firstWords(list).map((first) => {
    const own = list.find(({ words }) => words.length === 1 && words[0] === first);
    return `    ${quoted(`${first}:${(own?.about ?? `${first} commands`).replaceAll(':', String.raw`\:`)}`)}`;
  });
  const cases = firstWords(list).map((first) => {
    const own = list.find(({ words }) => words.length === 1 && words[0] === first);
    if (own) return `    ${first}) shift words; (( CURRENT-- )); _arguments ${zshOptions(own)} ;;`;
    const group = list.filter(({ words }) => words[0] === first);
    const seconds = group
      .map(({ words, about }) => quoted(`${words[1]}:${about.replaceAll(':', String.raw`\:`)}`))
      .join(' ');
    const inner = group.map((one) => `        ${one.words[1]}) _arguments ${zshOptions(one)} ;;`).join('\n');
    return `    ${first})
      if (( CURRENT == 3 )); then
        local -a seconds=(${seconds}); _describe command seconds
      else
        shift 2 words; (( CURRENT -= 2 ))
        case $words[1] in
${inner}
        esac
      fi ;;`;
  });
  return `#compdef steep-repl
# steep-repl completion for zsh:  source <(steep-repl completion zsh)
_steep_repl() {
  local -a firsts=(
${firsts.join('\n')}
  )
  if (( CURRENT == 2 )); then _describe command firsts; return; fi
  case $words[2] in
${cases.join('\n')}
  esac
}
compdef _steep_repl steep-repl`;
}

function zshOptions({ options }: Completion): string {
  const safe = (text: string): string => text.replaceAll(/[[\]:]/g, String.raw`\$&`);
  return options
    .map(({ flag, about, takesValue }) =>
      quoted(`${flag}${takesValue ? '=' : ''}[${safe(about)}]${takesValue ? ':value:_files' : ''}`),
    )
    .join(' ');
}

function fish(list: Completion[]): string {
  const lines = firstWords(list).map((first) => {
    const own = list.find(({ words }) => words.length === 1 && words[0] === first);
    return `complete -c steep-repl -f -n __fish_use_subcommand -a ${first} -d ${quoted(own?.about ?? `${first} commands`)}`;
  });
  for (const { words, about, options } of list) {
    const [first, second] = words;
    if (second !== undefined)
      lines.push(
        `complete -c steep-repl -f -n ${quoted(
          `__fish_seen_subcommand_from ${first}; and not __fish_seen_subcommand_from ${list
            .filter((one) => one.words[0] === first)
            .map((one) => one.words[1])
            .join(' ')}`,
        )} -a ${second} -d ${quoted(about)}`,
      );
    const seen = words.map((word) => `__fish_seen_subcommand_from ${word}`).join('; and ');
    for (const { flag, about: what, takesValue } of options)
      lines.push(
        `complete -c steep-repl -n ${quoted(seen)} -l ${flag.slice(2)}${takesValue ? ' -r' : ''} -d ${quoted(what)}`,
      );
  }
  return `# steep-repl completion for fish:  steep-repl completion fish | source\n${lines.join('\n')}`;
}

function powershell(list: Completion[]): string {
  const entries = list.map(
    ({ words, options }) =>
      `    '${words.join(' ')}' = @(${options.map(({ flag }) => `'${flag}'`).join(', ')})`,
  );
  return `# steep-repl completion for PowerShell:  steep-repl completion powershell | Out-String | Invoke-Expression
Register-ArgumentCompleter -Native -CommandName steep-repl, steep-repl.exe -ScriptBlock {
  param($wordToComplete, $commandAst, $cursorPosition)
  $commands = [ordered]@{
${entries.join('\n')}
  }
  $given = @($commandAst.CommandElements | Select-Object -Skip 1 | ForEach-Object { $_.ToString() } | Where-Object { $_ -notlike '-*' })
  if ($wordToComplete -and $given.Count -gt 0 -and $given[-1] -eq $wordToComplete) { $given = @($given | Select-Object -SkipLast 1) }
  $line = $given -join ' '
  $found = if ($commands.Contains($line)) { $commands[$line] }
  else {
    $commands.Keys | Where-Object { $line -eq '' -or $_.StartsWith("$line ") } | ForEach-Object { ($_ -split ' ')[$given.Count] } | Select-Object -Unique
  }
  $found | Where-Object { $_ -like "$wordToComplete*" } | ForEach-Object { [System.Management.Automation.CompletionResult]::new($_) }
}`;
}
