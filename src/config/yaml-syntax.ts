/** What the YAML parser complains about, in our words: its own may quote the file, and with it a secret. */
import type { Document, ErrorCode } from 'yaml';
import type { Problem } from './problems.ts';
import type { Position } from './yaml-tree.ts';

export const TOO_DEEP = 'it is nested too deeply';

const SYNTAX: Record<ErrorCode, string> = {
  ALIAS_PROPS: 'an alias (*) has no tag and no anchor',
  BAD_ALIAS: 'an alias (*) or anchor (&) has no valid name; quote text that begins so',
  BAD_COLLECTION_TYPE: 'the tag (!) does not fit its value',
  BAD_DIRECTIVE: 'a line that begins with % is no directive that YAML knows',
  BAD_DQ_ESCAPE: 'a backslash in double quotes begins no known escape; use single quotes',
  BAD_INDENT: 'the indentation does not fit the lines above, or a bracket there is not closed',
  BAD_PROP_ORDER: 'anchors (&) and tags (!) come after the dash or colon',
  BAD_SCALAR_START: 'text cannot begin with this character; put it in quotes',
  BLOCK_AS_IMPLICIT_KEY:
    'a key: value cannot follow on the same line; quote the text, or mend the indentation of the next line',
  BLOCK_IN_FLOW: 'an indented block cannot stand inside [ ] or { }',
  DUPLICATE_KEY: 'a key is given twice',
  IMPOSSIBLE: 'this is no YAML',
  KEY_OVER_1024_CHARS: 'a key is longer than 1024 characters',
  MISSING_CHAR:
    'something is missing before this place: a closing quote or bracket, a comma, a colon or a space',
  MULTILINE_IMPLICIT_KEY: 'a key must be on one line, with a colon and a space after it',
  MULTIPLE_ANCHORS: 'a value has two anchors (&)',
  MULTIPLE_DOCS: 'a second document begins (---); only one is allowed',
  MULTIPLE_TAGS: 'a value has two tags (!)',
  NON_STRING_KEY: 'a key is no text',
  RESOURCE_EXHAUSTION: TOO_DEEP,
  TAB_AS_INDENT: 'tabs cannot indent; use spaces',
  TAG_RESOLVE_FAILED: 'a tag (!) is not known',
  UNEXPECTED_TOKEN: 'this is not expected here; quote the text or check the indentation',
};

/** One problem per line: the parser's second complaint about a line is a consequence of the first. */
export function syntaxProblems(
  file: string,
  { errors }: Document.Parsed,
  at: (offset: number) => Position,
): Problem[] {
  const byLine = new Map<number, Problem>();
  for (const { code, pos } of errors) {
    const position = at(pos[0]);
    if (!byLine.has(position.line)) byLine.set(position.line, { file, ...position, message: SYNTAX[code] });
  }
  return [...byLine.values()];
}
