import pino, { type Logger } from 'pino';
import { prettyFactory } from 'pino-pretty';
import type { Config } from './config.ts';
import type { Terminal } from './terminal.ts';

/** The root logger: JSON lines to `raw`, or lines for people above whatever the terminal draws. */
export function rootLogger(config: Config['log'], terminal: Terminal, raw: { write(line: string): unknown }): Logger {
  const options = { level: config.level, base: null };
  if (!config.pretty) return pino(options, { write: line => raw.write(line) });
  const pretty = prettyFactory({ colorize: terminal.isLive, translateTime: 'SYS:HH:MM:ss', singleLine: true });
  return pino(options, { write: line => terminal.print(pretty(line).trimEnd()) });
}
