/** How the attempts of an action are recorded: one element per attempt, only the last one can be live (I2). */
import type { AttemptObserved } from '../executor/messages.ts';
import type { Attempt, PhaseEntry } from './attempt.ts';
import type { Failure } from './failure.ts';
import { Phase } from './phase.ts';

/** Events kept per attempt: enough to explain it, bounded so that a flapping pod cannot grow the row for ever. */
const MAX_EVENTS = 50;

type Attempts = readonly Attempt[];

/** Begins attempt `number`, in phase queued. */
export function openAttempt(attempts: Attempts, number: number, now: Date, fields: Partial<Attempt> = {}): Attempts {
  return [...attempts, { attempt: number, phases: [entry(Phase.queued, now)], ...fields }];
}

/** Ends the last attempt in a terminal phase, unless it is over or none has begun. It never ends before it was seen. */
export function closeAttempt(attempts: Attempts, at: Date, phase: number, failure: Failure | undefined): Attempts {
  const last = attempts.at(-1);
  if (last === undefined || last.endedAt !== undefined) return attempts;
  return amendLast(attempts, attempt => {
    const end = notBefore(at, attempt.phases.at(-1)!.at);
    return {
      ...attempt,
      phases: [...attempt.phases, entry(phase, end)],
      endedAt: end.toISOString(),
      ...(failure === undefined ? {} : { failure }),
    };
  });
}

/** Moves the last attempt to a phase it is not in yet. */
export function enterPhase(attempts: Attempts, phase: number, at: Date): Attempts {
  return amendLast(attempts, attempt =>
    attempt.phases.at(-1)?.phase === phase
      ? attempt
      : { ...attempt, phases: [...attempt.phases, entry(phase, notBefore(at, attempt.phases.at(-1)!.at))] },
  );
}

/** Changes the last attempt. */
export function amendLast(attempts: Attempts, change: (last: Attempt) => Attempt): Attempts {
  const last = attempts.at(-1);
  if (last === undefined) return attempts;
  const changed = change(last);
  return changed === last ? attempts : [...attempts.slice(0, -1), changed];
}

/** Adds what was observed: a repeated reason is no event of its own. */
export function recordEvent(attempt: Attempt, at: Date, reason: string, message: string): Attempt {
  const known = attempt.events ?? [];
  const last = known.at(-1);
  if (last?.reason === reason && last.message === message) return attempt;
  const event = { at: at.toISOString(), reason, message };
  const kept = known.length < MAX_EVENTS ? known : [...known.slice(0, 1), ...known.slice(2)];
  return { ...attempt, events: [...kept, event] };
}

/** The pod of an attempt as it is remembered with it. */
export function podOf(pod: NonNullable<AttemptObserved['observation']['pod']>): NonNullable<Attempt['pod']> {
  const startedAtMs = pod.containers.find(container => container.name === pod.primaryContainer)?.startedAtMs;
  return {
    name: pod.name,
    container: pod.primaryContainer,
    ...(startedAtMs === undefined ? {} : { startedAt: new Date(startedAtMs).toISOString() }),
  };
}

function entry(phase: number, at: Date): PhaseEntry {
  return { phase, at: at.toISOString() };
}

function notBefore(at: Date, iso: string): Date {
  return at.getTime() < Date.parse(iso) ? new Date(iso) : at;
}
