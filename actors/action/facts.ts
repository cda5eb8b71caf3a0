/** What the decision of an action depends on outside of its own row; gathered by actors/action/observe.ts. */
import type { Failure } from './failure.ts';
import type { TaskPolicy } from './policy.ts';

/** The part of a run that never changes. */
export interface RunFacts {
  readonly id: number;
  readonly project: string;
  readonly domain: string;
  readonly name: string;
  readonly outputBase: string;
  readonly rawDataPrefix: string;
  readonly startedAtMs: number;
  readonly overwriteCache: boolean;
  /** `global` or `<project>/<domain>`. */
  readonly cacheScope: string;
  /** The run whose succeeded actions are taken over, and the names that must run again all the same. */
  readonly recover: { readonly runId: number; readonly run: string; readonly force: ReadonlySet<string> } | null;
}

export interface ActionFacts {
  readonly run: RunFacts;
  /** Absent for traces and conditions. */
  readonly policy?: TaskPolicy;
  /** A result that may be used instead of running; looked up only for a new action. */
  readonly cached?: { readonly outputUri: string };
  /** `<run>/<action>` that computes the needed result just now; looked up only where calls are serialised. */
  readonly computedBy?: string;
  /** The same action of the run that is being recovered, if it had succeeded. */
  readonly recovered?: { readonly outputUri: string | null; readonly run: string };
  /** How long a new `core-sleep` leaf sleeps, or why its input is no duration. */
  readonly sleep?: { readonly ms: number } | { readonly failure: Failure };
  /** True when the action was loaded in stage `closing`: then `liveChildren` is complete for ever. */
  readonly closing?: boolean;
  /** Names of children that are not over; read when the action is, or may now be, ending. */
  readonly liveChildren?: readonly string[];
}
