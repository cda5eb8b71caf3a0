import type { Durable } from '../runtime/actor.ts';
import type { IdentityJson } from './identity.ts';

/**
 * live      its root action is not over and nobody asked to end it
 * aborting  somebody did: Enqueue refuses new actions of the run, the abort is on its way down the tree
 * ended     the root action is over, and by I6 everything below it
 */
export interface RunState extends Durable {
  readonly id: number;
  readonly state: 'live' | 'aborting' | 'ended';
  readonly abort: { readonly reason: string; readonly by: IdentityJson | null; readonly at: Date } | null;
  readonly endedAt: Date | null;
}
