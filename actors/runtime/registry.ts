import { dispatch, type Ref, spawn, start, stop } from 'nact';
import type { Logger } from 'pino';
import { ActorFailed, type Drain, type Drainable, type Drained, InfrastructureFailed } from './drain.ts';
import type { RuntimeLimits } from './limits.ts';
import type { Pauses } from './pauses.ts';
import { backOffMs } from './supervision.ts';

/** The actors of one kind that are awake on this node: one nact actor per key, under supervisors of at most 128. */
export interface Registry {
  /**
   * Makes an actor look at its mail. `done` is called when it did (or when it failed and will be tried again later):
   * it then knows everything that was committed before this call.
   */
  wake(key: string, options?: { byTimer?: boolean; done?: () => void }): void;
  /** True if the actor will read its mail after this call anyway; then nobody needs to ring for it. */
  isAboutToRead(key: string): boolean;
  readonly size: number;
  /** Takes actors out of memory that nobody woke for a while. */
  passivateIdle(): void;
  /** Resolves when no actor is at work. */
  rest(): Promise<void>;
  /** Stops all nact actors of this kind. Wakes are ignored from now on. */
  stop(): void;
}

export interface RegistryDependencies {
  readonly kind: string;
  readonly drain: Drain;
  readonly limits: RuntimeLimits;
  readonly pauses: Pauses;
  readonly log: Logger;
  /** Decides about an actor that failed: the pause before its restart, or null when it was parked. */
  failed(key: string, failure: ActorFailed): Promise<number | null>;
  /** An actor has nothing to do until it is woken or `wakeAt`. `byTimer`: nothing but its timer had woken it. */
  asleep(key: string, result: Drained & { done: 'asleep' }, byTimer: boolean): void;
  /** An actor needs no timer here any more: it finished, was parked, or does not exist. */
  gone(key: string): void;
}

/** nact copies the child map of an actor for each message it gets: supervisors stay small and get no messages. */
const CHILDREN_PER_SUPERVISOR = 128;
/** So many lost races in a row are no races: the row is probably never written, so stop running in circles. */
const LOST_IN_A_ROW = 20;
const WAKE = { wake: true };
type ActorRef = Ref<typeof WAKE>;

interface Supervisor {
  readonly ref: Ref<unknown>;
  children: number;
}

/**
 * A live actor. At rest: not busy, in memory until idle. Busy: its nact handler runs, draining as long as it is wanted.
 * Restarting: its handler failed and `onCrash` waits out the back-off; wakes are noted and answered at once, because
 * the queue store need not hold a job for it.
 */
interface Live extends Drainable {
  readonly ref: ActorRef;
  readonly supervisor: Supervisor;
  wanted: boolean;
  /** True while nothing but its own timer asked for the drain to come; and for the one under way. */
  byTimer: boolean;
  drainedByTimer: boolean;
  busy: boolean;
  restarting: boolean;
  /** Whom to tell after the drain to come, and after the one under way. */
  waiting: (() => void)[];
  served: (() => void)[];
  usedAt: number;
  infrastructureFailures: number;
  lostInARow: number;
}

export function createRegistry(deps: RegistryDependencies): Registry {
  const { kind, drain, limits, pauses, log } = deps;
  const system = start({ name: `${kind}-${Math.random().toString(36).slice(2)}` } as never);
  const live = new Map<string, Live>();
  const supervisors: Supervisor[] = [];
  let serial = 0;
  let atWork = 0;
  const resting: (() => void)[] = [];
  let stopped = false;

  function supervisor(): Supervisor {
    let free = supervisors.at(-1);
    if (free === undefined || free.children >= CHILDREN_PER_SUPERVISOR) {
      free = supervisors.find(candidate => candidate.children < CHILDREN_PER_SUPERVISOR / 2);
    }
    if (free === undefined) {
      const ref = spawn(system, (state: undefined, _message: unknown) => state, `supervisor-${serial++}`, {
        onCrash: (_message, _error, ctx) => ctx.resume,
      });
      free = { ref, children: 0 };
      supervisors.push(free);
    }
    return free;
  }

  function bear(key: string): Live {
    const above = supervisor();
    above.children += 1;
    const actor: Live = {
      key,
      supervisor: above,
      ref: spawn(
        above.ref,
        async (state: undefined, _wake: typeof WAKE) => {
          await work(actor);
          return state;
        },
        `actor-${serial++}`,
        { onCrash: async (_wake, error, ctx) => ((await recover(actor, error)) ? ctx.reset : ctx.stop) },
      ),
      ...{ wanted: false, byTimer: true, drainedByTimer: true, busy: false, restarting: false },
      ...{ waiting: [], served: [], usedAt: performance.now(), infrastructureFailures: 0, lostInARow: 0 },
      taken() {
        actor.wanted = false;
        actor.drainedByTimer = actor.byTimer;
        actor.byTimer = true;
        actor.served.push(...actor.waiting);
        actor.waiting = [];
      },
    };
    live.set(key, actor);
    return actor;
  }

  function bury(actor: Live): void {
    if (!live.delete(actor.key)) return;
    stop(actor.ref);
    actor.supervisor.children -= 1;
    if (actor.supervisor.children === 0) {
      supervisors.splice(supervisors.indexOf(actor.supervisor), 1);
      stop(actor.supervisor.ref);
    }
  }

  /** The nact handler: one message makes the actor drain until nobody wants it any more. */
  async function work(actor: Live): Promise<void> {
    let stays = true;
    while (actor.wanted && !stopped) {
      const result = await drain.join(actor);
      actor.infrastructureFailures = 0;
      if (result.done === 'again') {
        actor.lostInARow = result.lost ? actor.lostInARow + 1 : 0;
        if (actor.lostInARow > LOST_IN_A_ROW)
          throw new InfrastructureFailed('its row could not be written, again and again');
        actor.wanted = true;
        actor.byTimer = false;
        continue;
      }
      actor.lostInARow = 0;
      stays = result.done === 'asleep';
      if (result.done === 'asleep') deps.asleep(actor.key, result, actor.drainedByTimer);
      else deps.gone(actor.key);
      answer(actor);
    }
    rest(actor);
    if (!stays || live.size > limits.liveActors) bury(actor);
  }

  /** nact's `onCrash`: must never throw. True = restart. */
  async function recover(actor: Live, error: unknown): Promise<boolean> {
    actor.restarting = true;
    actor.served.push(...actor.waiting);
    actor.waiting = [];
    answer(actor);
    rest(actor);
    let restart = false;
    try {
      const pauseMs = await judge(actor, error);
      restart = pauseMs !== null && (await pauses.pause(pauseMs)) && !stopped;
    } catch (failure) {
      log.error({ err: failure, kind, key: actor.key }, 'supervision itself failed; the sweeper will find the actor');
    }
    actor.restarting = false;
    if (restart) {
      actor.wanted = true;
      actor.byTimer = false;
      begin(actor);
    } else {
      bury(actor);
    }
    return restart;
  }

  async function judge(actor: Live, error: unknown): Promise<number | null> {
    const { key } = actor;
    if (error instanceof ActorFailed) {
      try {
        return await deps.failed(key, error);
      } catch (failure) {
        log.warn({ err: failure, kind, key }, 'a failed actor could not be parked now');
      }
    } else {
      const unexpected = error instanceof InfrastructureFailed ? {} : { unexpected: true };
      const n = actor.infrastructureFailures;
      // The first of many: a lost database fails all actors at once.
      if (n === 0) log.debug({ err: error, kind, key, ...unexpected }, 'a drain failed and is repeated');
    }
    actor.infrastructureFailures += 1;
    return backOffMs(actor.infrastructureFailures, limits) * (0.5 + Math.random());
  }

  function answer(actor: Live): void {
    for (const tell of actor.served.splice(0)) tell();
  }

  function begin(actor: Live): void {
    actor.busy = true;
    atWork += 1;
    dispatch(actor.ref, WAKE);
  }

  function rest(actor: Live): void {
    actor.busy = false;
    actor.usedAt = performance.now();
    atWork -= 1;
    if (atWork === 0) for (const tell of resting.splice(0)) tell();
  }

  return {
    wake(key, options = {}) {
      const { byTimer = false, done } = options;
      if (stopped) return done?.();
      const actor = live.get(key) ?? bear(key);
      actor.wanted = true;
      if (!byTimer) actor.byTimer = false;
      if (actor.restarting) return done?.();
      if (done) actor.waiting.push(done);
      if (!actor.busy) begin(actor);
    },
    isAboutToRead(key) {
      const actor = live.get(key);
      if (actor === undefined || stopped) return false;
      if (actor.busy || actor.restarting) {
        actor.wanted = true;
        actor.byTimer = false;
        return true;
      }
      return false;
    },
    get size() {
      return live.size;
    },
    passivateIdle() {
      const before = performance.now() - limits.idleMs;
      for (const actor of live.values()) {
        if (!actor.busy && !actor.restarting && actor.usedAt < before) bury(actor);
      }
    },
    rest: () => (atWork === 0 ? Promise.resolve() : new Promise(resolve => resting.push(resolve))),
    stop() {
      stopped = true;
      for (const actor of live.values()) {
        actor.served.push(...actor.waiting);
        actor.waiting = [];
        answer(actor);
      }
      live.clear();
      stop(system);
    },
  };
}
