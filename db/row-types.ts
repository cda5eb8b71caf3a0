import { z } from 'zod';
import type { IdentityJson } from '../actors/run/identity.ts';

const object = z.record(z.string(), z.unknown());

/** `bytea` */
export const bytes = z.instanceof(Uint8Array);

/** A caller as stored (JSON of flyteidl2.common.EnrichedIdentity). */
export const identity = object.nullable().transform(value => value as IdentityJson | null);

/** Where the outputs of a recovered action come from. */
export const recoveredFrom = z.object({ run: z.string(), action: z.string() }).nullable();

/** Labels of runs and projects. */
export const labels = z.record(z.string(), z.string());

/** The page position that list queries select beside their rows. */
export const cursor = z.array(z.string());
