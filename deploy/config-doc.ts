/**
 * The schema as text: `--help` and docs/configuration.md. Run this file to write the page anew:
 * `node deploy/launch.mjs deploy/config-doc.ts`.
 */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { allSettings, type Setting } from './config.ts';

const pageFile = path.resolve(import.meta.dirname, '../docs/configuration.md');

const INTRODUCTION = `# Configuration

<!-- Written by deploy/config-doc.ts from deploy/config.ts; do not edit. -->

Starling runs without any. Each setting has a default, and four layers are merged, the later ones winning:

1. the default,
2. the file given with \`--config FILE\`: JSON, comments and trailing commas allowed,
3. the environment variable,
4. the flag, for the few settings that have one.

A value that cannot be used stops the start with the setting, the place it came from and what would be right. Lists in
variables and flags are separated by commas; sizes may be written like \`64Mi\`.

\`\`\`jsonc
// starling.jsonc: npm start -- --config starling.jsonc
{
  "gateway": { "port": 9000 },
  "executor": { "slots": 8 },
}
\`\`\`

The data directory belongs to a user, not to a clone: two clones started with the defaults find the same runs, and the second
one to start says so and stops. Give each its own \`--data-dir\` and \`--port\` to run them side by side.

In Kubernetes set \`enableServiceLinks: false\` on the pod: a Service named \`starling-gateway\` would otherwise put a
\`STARLING_GATEWAY_PORT\` of its own into the environment.
`;

/** docs/configuration.md as it should be. */
export function configurationPage(): string {
  const sections = Map.groupBy(allSettings(), ({ path: dotted }) =>
    dotted.includes('.') ? dotted.split('.')[0]! : 'general',
  );
  const order = [...sections.keys()].sort((a, b) => Number(b === 'general') - Number(a === 'general'));
  const parts = order.map(name => `## ${name}\n\n${sections.get(name)!.map(entry).join('\n')}`);
  return `${INTRODUCTION}\n${parts.join('\n')}`;
}

function entry(setting: Setting): string {
  const flag = setting.flag ? `, flag \`--${setting.flag}\`` : '';
  return `### \`${setting.path}\`

${setting.description}

- must be ${setting.expects}
- default: ${setting.defaultText ?? `\`${setting.defaultWords}\``}
- variable \`${setting.variable}\`${flag}
`;
}

/** The text of \`--help\`, for a terminal of the given width in characters. */
export function helpText(width: number): string {
  const all = allSettings();
  const flags: [string, string][] = [
    ...all.filter(({ flag }) => flag).map(flagLine),
    ['--config FILE', 'Read settings from a JSON file (comments allowed).'],
    ['--version', 'Print the version.'],
    ['-h, --help', 'Print this.'],
  ];
  const table = (rows: [string, string][], indent: number) =>
    rows.map(([left, right]) => `  ${left.padEnd(indent - 4)}  ${wrap(right, width - indent, indent)}`).join('\n');
  const variables = all.map(setting => {
    const lines = [setting.description, `Must be ${setting.expects}. Default: ${setting.defaultWords}.`];
    return `  ${setting.path}  (${setting.variable})\n${lines.map(line => `      ${wrap(line, width - 6, 6)}`).join('\n')}`;
  });
  return `Starling: the Flyte 2 backend as one program.

Usage: npm start -- [flags]

Flags
${table(flags, 24)}

Settings: name in the configuration file, and (environment variable)
Later wins: default, file, environment, flag.

${variables.join('\n\n')}
`;
}

function flagLine(setting: Setting): [string, string] {
  if (setting.flag!.startsWith('no-'))
    return [`--${setting.flag}`, `Turns ${setting.path} off. ${setting.description}`];
  return [
    `--${setting.flag} ${setting.reads === 'number' ? 'N' : setting.reads === 'list' ? 'A,B' : setting.flag === 'host' ? 'HOST' : 'DIR'}`,
    `${setting.description} Default: ${setting.defaultWords}.`,
  ];
}

function wrap(text: string, width: number, indent: number): string {
  const lines: string[] = [''];
  for (const word of text.split(' ')) {
    const line = lines.at(-1)!;
    if (line && line.length + 1 + word.length > width) lines.push(word);
    else lines[lines.length - 1] = line ? `${line} ${word}` : word;
  }
  return lines.join(`\n${' '.repeat(indent)}`);
}

if (process.argv[1] === import.meta.filename) writeFileSync(pageFile, configurationPage());
