/**
 * JSON with comments and trailing commas, the format of configuration files. (No YAML: none of our direct dependencies
 * reads it, and one small setting file is not worth one more.)
 */

/**
 * Parses JSON that may contain `//` and block comments and trailing commas.
 * @throws SyntaxError as JSON.parse does; positions stay those of the original text.
 */
export function parseJsonc(text: string): unknown {
  return JSON.parse(blankTrailingCommas(blankComments(text)));
}

/** A string literal is matched first so that what looks like a comment inside one is left alone. */
const STRING_OR_COMMENT = /"(?:\\.|[^"\\])*"|\/\/[^\n]*|\/\*[\s\S]*?\*\//g;
const STRING_OR_COMMA = /"(?:\\.|[^"\\])*"|,(?=\s*[}\]])/g;

function blankComments(text: string): string {
  return text.replace(STRING_OR_COMMENT, part => (part.startsWith('"') ? part : part.replace(/[^\n]/g, ' ')));
}

function blankTrailingCommas(text: string): string {
  return text.replace(STRING_OR_COMMA, part => (part === ',' ? ' ' : part));
}
