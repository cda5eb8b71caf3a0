import { z } from 'zod';
import type { Attempt } from '../actors/action/attempt.ts';
import type { Failure } from '../actors/action/failure.ts';
import type { IdentityJson } from '../actors/run/identity.ts';

const object = z.record(z.string(), z.unknown());

/** `bytea` */
export const bytes = z.instanceof(Uint8Array);

/** A caller as stored (JSON of flyteidl2.common.EnrichedIdentity). */
export const identity = object.nullable().transform(value => value as IdentityJson | null);

/** actors/action/failure.ts; parts of it that an older node did not write are absent. */
export const failure = object.nullable().transform(value => value as Failure | null);

/** actors/action/attempt.ts; only what every reader indexes is checked, so that one odd row does not hide a run. */
export const attempts = z
  .array(
    z
      .object({
        attempt: z.number(),
        phases: z.array(z.object({ phase: z.number(), at: z.string() }).passthrough()),
      })
      .passthrough(),
  )
  .transform(value => value as unknown as readonly Attempt[]);

/** Where the outputs of a recovered action come from. */
export const recoveredFrom = z.object({ run: z.string(), action: z.string() }).nullable();

/** Labels of runs and projects. */
export const labels = z.record(z.string(), z.string());

/** The page position that list queries select beside their rows. */
export const cursor = z.array(z.string());
