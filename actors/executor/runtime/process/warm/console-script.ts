import { readFileSync, realpathSync } from 'node:fs';
import path from 'node:path';

/** What the kernel runs for a console script: plainly, or by way of the shell when its path is long or has spaces (pip, uv). */
const shebangs = [/^#!\/bin\/sh\n'''exec' (?:"(\/[^"]+)"|(\/\S+)) "\$0" "\$@"\n' '''\n/, /^#!(\/\S+)\n/];

/** The interpreter that runs a console script; undefined when it is not run by one, or with options. */
export function interpreterOf(script: string): string | undefined {
  let text: string;
  try {
    text = readFileSync(script, 'utf8');
  } catch {
    return undefined;
  }
  for (const shebang of shebangs) {
    const found = shebang.exec(text);
    if (found) return found[1] ?? found[2];
  }
  return undefined;
}

/** True when two paths name the interpreter of one Python environment: same directory of commands, same program. */
export function sameInterpreter(one: string, other: string): boolean {
  try {
    return (
      realpathSync(path.dirname(one)) === realpathSync(path.dirname(other)) && realpathSync(one) === realpathSync(other)
    );
  } catch {
    return false;
  }
}
