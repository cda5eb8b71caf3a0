import { readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { expect } from 'chai';
import pg from 'pg';
import type { Attempt } from '../../actors/action/attempt.ts';
import { eventually } from '../support/eventually.ts';
import { type Program, runProgram } from '../support/flyte.ts';
import { type ActionRow, expectHistory } from '../support/history.ts';
import { podProcesses } from '../support/process-tree.ts';
import type { Server } from '../support/server.ts';

const program = path.join(import.meta.dirname, 'programs', 'tree.py');
const TASKS = { tree: 'value [10, 7, 29, 25, 36]', forest: 'value 12' };
const SUCCEEDED = 5;

/** A run of one of the tasks of programs/tree.py, and the client that waits for it. */
export interface TreeJob {
  readonly run: string;
  readonly client: Program;
  /** Lines that task bodies wrote: `<begin|end> <action> <attempt>`. */
  marks(): Promise<string[]>;
  /** Waits until task bodies wrote so many lines that begin with `word`. */
  marked(word: 'begin' | 'end', count: number): Promise<void>;
  /** Waits until the run has so many actions; a whole `tree` has 45. */
  enqueued(count: number): Promise<void>;
  /**
   * The run succeeds with the right value, and so say the client that waited all the time (unless `waited` is false: it had
   * reason to give up) and a fresh one; the history is in order, no process is left. `once`: no task body was executed twice in
   * one attempt, and no attempt was consumed. Answers the actions of the run.
   */
  expectSuccess(options: { once: boolean; waited?: boolean }): Promise<readonly ActionRow[]>;
}

let jobs = 0;

/** Resolves when CreateRun was answered. `paceSeconds` is how long a leaf takes. */
export async function startTree(
  server: Server,
  { task = 'tree' as keyof typeof TASKS, paceSeconds = 0.5 } = {},
): Promise<TreeJob> {
  jobs += 1;
  const file = path.join(server.home, `marks-${jobs}.txt`);
  await rm(file, { force: true });
  const client = runProgram(program, ['start', task, file, String(paceSeconds)], server);
  const run = await client.said('run ');
  const marks = async () => (await readFile(file, 'utf8').catch(() => '')).split('\n').filter(line => line !== '');
  return {
    ...{ run, client, marks },
    async marked(word, count) {
      await eventually(async () => (await marks()).filter(line => line.startsWith(word)).length >= count, 120_000);
    },
    async enqueued(count) {
      const url = await server.databaseUrl();
      const query = `select count(*) from action a join run r on r.id = a.run_id where r.name = '${run}'`;
      await eventually(async () => Number((await askDatabase(url, query))[0]) >= count, 120_000);
    },
    async expectSuccess({ once, waited = true }) {
      const clients = [...(waited ? [client] : []), runProgram(program, ['wait', run], server)];
      for (const one of clients)
        expect(await one.done().catch(error => explain(server, error))).to.include(TASKS[task]);
      const history = await expectHistory({
        databaseUrl: await server.databaseUrl(),
        podsDir: path.join(server.dataDir, 'pods'),
      });
      await eventually(() => podProcesses(server.dataDir).length === 0);
      const ours = history.actions.filter(action => action.run === run);
      const unfinished = ours.filter(action => action.phase !== SUCCEEDED).map(({ name }) => name);
      expect(unfinished, 'actions that did not succeed').to.deep.equal([]);
      if (!once) return ours;
      const lines = await marks();
      expect(lines.toSorted(), 'a task body was executed twice').to.deep.equal([...new Set(lines)].toSorted());
      const retried = ours.filter(({ attempts }) => attempts.slice(0, -1).some(attempt => !gaveTheStoreUp(attempt)));
      expect(
        retried.map(({ name, attempts }) => ({ name, attempts })),
        'attempts that were consumed',
      ).to.deep.equal([]);
      return ours;
    },
  };
}

/**
 * The SDK tries its object store four times, five seconds apart at least, and then ends its process: on a slow machine several
 * restarts in a row can take that long. It must be the platform's failure then (actors/executor/store-outage.ts).
 */
function gaveTheStoreUp({ failure }: Attempt): boolean {
  return failure?.kind === 'SYSTEM' && failure.message.includes('HTTP error: error sending request');
}

/** What the server knows, in the words of the error. */
async function explain(server: Server, error: Error): Promise<never> {
  const rows = await askDatabase(await server.databaseUrl(), unfinishedActions).catch((failure: Error) => [
    failure.message,
  ]);
  const trouble = (await server.log()).split('\n').filter(line => /"level":(40|50|60)/.test(line));
  throw new Error([error.message, ...rows, ...trouble.slice(-40)].join('\n'));
}

const unfinishedActions = `select format('%s %s %s phase %s attempt %s: %s %s', a.run_id, a.name, a.stage, a.phase,
  a.attempt, a.waiting_for, a.failure) from action a where a.phase not in (5, 10) order by seq limit 40`;

/** The first column of a query, as text. */
export async function askDatabase(url: string, query: string): Promise<string[]> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5_000 });
  await client.connect();
  try {
    const { rows } = await client.query({ text: query, rowMode: 'array' });
    return rows.map(row => String(row[0]));
  } finally {
    await client.end();
  }
}
