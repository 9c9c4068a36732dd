import type { ArgsDef, ParsedArgs } from 'citty';

export interface Command {
  args: ArgsDef;
  /** Returns the exit code; nothing means 0. */
  run(args: ParsedArgs): Promise<number | void> | number | void;
}

/** A command with its options in citty's form; `run` gets them typed. */
export function defineCommand<const Args extends ArgsDef>(command: {
  args: Args;
  run(args: ParsedArgs<Args>): Promise<number | void> | number | void;
}): Command {
  return command as unknown as Command;
}
