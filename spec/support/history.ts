/**
 * Reads the tables after a job and says where they break a rule. Invariants I1, I2, I5 and I6 are those of docs/design.md; a
 * violation is a sentence. It looks at everything in the database, so a spec that shares it with live runs names its own.
 */
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import pg from 'pg';
import type { Attempt } from '../../actors/action/attempt.ts';
import { isTerminal } from '../../actors/action/phase.ts';
import { eventually } from './eventually.ts';

export interface ActionRow {
  readonly run_id: string;
  /** Name of the run. */
  readonly run: string;
  readonly name: string;
  readonly parent: string | null;
  readonly depth: number;
  readonly type: number;
  readonly stage: string;
  readonly phase: number;
  readonly attempt: number;
  readonly task_type: string;
  readonly abort_reason: string | null;
  readonly attempts: readonly Attempt[];
  readonly created_at: Date;
  readonly started_at: Date | null;
  readonly ended_at: Date | null;
  readonly updated_at: Date;
  readonly waiting_for: string | null;
  readonly wake_at: Date | null;
}

export interface History {
  /** What the tables say about each action. */
  readonly actions: readonly ActionRow[];
  readonly violations: readonly string[];
}

/** The database rounds to microseconds what this program keeps in milliseconds. */
const ROUNDING_MS = 1;

/**
 * Waits until everything is quiet (the last letters are handled, the last pods collected), then checks.
 * @param where.podsDir directory of the pods, which must be empty; not looked at by default
 * @returns the actions, for what else a spec wants to know about them
 * @throws Error that lists every violation that stays
 */
export async function expectHistory(
  where: { databaseUrl: string; podsDir?: string },
  withinMs = 20_000,
): Promise<History> {
  const client = new pg.Client({ connectionString: where.databaseUrl });
  await client.connect();
  let history: History | undefined;
  try {
    return (await eventually<History | false>(async () => {
      history = await readHistory(client, where.podsDir);
      return history.violations.length === 0 && history;
    }, withinMs)) as History;
  } catch (error) {
    const { violations } = history ?? { violations: [(error as Error).message] };
    const more = violations.length > 20 ? `\n… and ${violations.length - 20} more` : '';
    throw new Error(`the history breaks the rules:\n${violations.slice(0, 20).join('\n')}${more}`);
  } finally {
    await client.end();
  }
}

async function readHistory(client: pg.Client, podsDir: string | undefined): Promise<History> {
  const { rows: actions } = await client.query<ActionRow>(
    'select r.name as run, a.* from action a join run r on r.id = a.run_id order by a.run_id, a.seq',
  );
  const violations: string[] = [];
  const byKey = new Map(actions.map(action => [`${action.run_id}.${action.name}`, action]));
  for (const action of actions) {
    const parent = action.parent === null ? undefined : byKey.get(`${action.run_id}.${action.parent}`);
    const say = (rule: string) => violations.push(`action ${action.run_id}.${action.name} (${action.stage}): ${rule}`);
    checkEnd(action, say);
    checkAttempts(action, say);
    checkParent(action, parent, say);
  }
  violations.push(...(await checkRows(client)));
  if (podsDir !== undefined) {
    for (const left of await podsIn(podsDir)) violations.push(`a pod is left: ${left}`);
  }
  return { actions, violations };
}

type Say = (rule: string) => void;

function checkEnd(action: ActionRow, say: Say): void {
  if (!isTerminal(action.phase)) return say(`not terminal: phase ${action.phase}, waiting for ${action.waiting_for}`);
  if (action.stage !== 'done') say(`phase ${action.phase} is terminal, its machine is not`);
  if (action.waiting_for !== null) say(`over, and still waiting for ${action.waiting_for}`);
  if (action.wake_at !== null) say('over, and has a wake-up');
  if (action.ended_at === null) return say('over without an end');
  if (later(action.created_at, action.ended_at)) say('ended before it was created');
  if (action.started_at !== null && later(action.started_at, action.ended_at)) say('ended before it started');
  if (action.started_at !== null && later(action.created_at, action.started_at)) say('started before it was created');
}

/** I1 and I2. Traces and conditions have no attempts, nor has what was aborted or recovered before it began. */
function checkAttempts(action: ActionRow, say: Say): void {
  const { attempts } = action;
  attempts.forEach((attempt, index) => {
    const number = index + 1;
    if (attempt.attempt !== number) say(`attempt ${attempt.attempt} stands at place ${number}`);
    const ends = attempt.phases.filter(({ phase }) => isTerminal(phase));
    if (ends.length !== 1) say(`attempt ${number} has ${ends.length} terminal events`);
    if (attempt.phases.length > 0 && !isTerminal(attempt.phases.at(-1)!.phase))
      say(`attempt ${number} goes on after its end`);
    const times = [...attempt.phases.map(({ at }) => at), ...(attempt.endedAt === undefined ? [] : [attempt.endedAt])];
    if (attempt.endedAt === undefined) say(`attempt ${number} has no end`);
    if (times.some((at, place) => place > 0 && Date.parse(at) < Date.parse(times[place - 1]!))) {
      say(`the phases of attempt ${number} are not in the order of time: ${times.join(', ')}`);
    }
    const before = attempts[index - 1];
    if (before?.endedAt && Date.parse(times[0]!) < Date.parse(before.endedAt)) {
      say(`attempt ${number} began before attempt ${number - 1} ended`);
    }
  });
  if (attempts.length > 0 && attempts.length !== action.attempt) {
    say(`it is at attempt ${action.attempt} and has ${attempts.length}`);
  }
  const last = attempts.at(-1)?.phases.at(-1)?.phase;
  if (last !== undefined && last !== action.phase) say(`phase ${action.phase}, but its last attempt ended in ${last}`);
}

/** I6, by the moments of the rows' last changes: an action that closes is not over although its attempt has ended. */
function checkParent(action: ActionRow, parent: ActionRow | undefined, say: Say): void {
  if (action.parent === null) return action.name === 'a0' ? undefined : say('no parent, and not the root');
  if (parent === undefined) return say(`its parent ${action.parent} does not exist`);
  if (action.depth !== parent.depth + 1) say(`depth ${action.depth} below depth ${parent.depth}`);
  if (isTerminal(parent.phase) && action.updated_at > parent.updated_at) {
    say(`over since ${action.updated_at.toISOString()}, its parent since ${parent.updated_at.toISOString()}`);
  }
}

async function checkRows(client: pg.Client): Promise<string[]> {
  const found = async (text: string) => (await client.query<{ sentence: string }>(text)).rows.map(row => row.sentence);
  return [
    ...(await found(`select format('run %s is %s', name, state) as sentence from run
        where state <> 'ended' or ended_at is null or wake_at is not null`)),
    ...(await found(`select format('run %s ended before its root action', r.name) as sentence from run r join action a
        on a.run_id = r.id and a.name = 'a0' where r.ended_at < a.ended_at - interval '1 ms'`)),
    ...(await found(`select format('pod %s is %s', pod_name, state) as sentence from pod
        where state <> 'done' or wake_at is not null`)),
    ...(await found(`select format('pod %s belongs to no attempt', p.pod_name) as sentence from pod p left join action a
        on a.run_id = p.run_id and a.name = p.action and p.attempt <= a.attempt where a.name is null`)),
    ...(await found(`select format('attempt %s.%s.%s never had a pod', a.run_id, a.name, n) as sentence from action a
        cross join lateral generate_series(1, a.attempt) n left join pod p
        on p.run_id = a.run_id and p.action = a.name and p.attempt = n
        where a.phase = 5 and a.task_type = 'python' and a.cache_status = 0 and p.action is null`)),
    ...(await found(`select format('letter %s to %s %s is not handled: %s', seq, kind, key, left(body::text, 200)) as sentence
        from mailbox`)),
    ...(await found(`select format('%s %s is parked: %s', kind, key, error) as sentence from parked`)),
  ];
}

/** Names of pods on disk; those half made or half gone do not count. */
async function podsIn(directory: string): Promise<string[]> {
  const entries = await readdir(path.resolve(directory)).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  return entries.filter(name => !name.startsWith('.'));
}

function later(one: Date, other: Date): boolean {
  return one.getTime() > other.getTime() + ROUNDING_MS;
}
