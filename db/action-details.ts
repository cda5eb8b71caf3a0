/** Actions with everything a client may see of them: the hot path of details and their watches, by prepared statements. */
import type { Attempt } from '../actors/action/attempt.ts';
import type { Failure } from '../actors/action/failure.ts';
import type { IdentityJson } from '../actors/run/identity.ts';
import { type ActionRow, actionColumns, conditionSpec } from './action-reads.ts';
import type { Sql } from './sql.ts';

export interface ActionDetailRow extends ActionRow {
  readonly inputUri: string;
  readonly outputUri: string | null;
  readonly failure: Failure | null;
  /** Serialised flyteidl2.core.Literal of a signalled condition. */
  readonly value: Uint8Array | null;
  readonly signalledBy: IdentityJson | null;
  readonly abortReason: string | null;
  readonly abortBy: IdentityJson | null;
  readonly attempts: readonly Attempt[];
  /** Names the serialised TaskSpec, TraceSpec or ConditionAction (db/specs.ts). */
  readonly specDigest: string;
}

const details = {
  name: 'action-details',
  text: `select ${actionColumns.sql}, a.input_uri as "inputUri", a.output_uri as "outputUri", a.failure as "failure",
      a.value as "value", a.signalled_by as "signalledBy", a.abort_reason as "abortReason", a.abort_by as "abortBy",
      a.attempts as "attempts", a.spec_digest as "specDigest"
    from unnest($1::bigint[], $2::text[]) as wanted(run_id, name) join action a using (run_id, name) ${conditionSpec.sql}`,
};

/** Those of these actions that exist, as they are now, in no order. */
export function actionDetails(
  db: Sql,
  keys: readonly { readonly runId: number; readonly name: string }[],
): Promise<ActionDetailRow[]> {
  return db.query<ActionDetailRow>(details, [keys.map(key => key.runId), keys.map(key => key.name)]);
}
