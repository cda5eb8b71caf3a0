import { createHash } from 'node:crypto';
import { type CommonQueryMethods, sql } from 'slonik';
import type { Sql } from './sql.ts';

/** Under which digest a spec is kept: sha256 of its bytes, in hex. */
export function digestOf(body: Uint8Array): string {
  return createHash('sha256').update(body).digest('hex');
}

/** Keeps a spec; one that is there already stays. Returns its digest. */
export async function storeSpec(db: CommonQueryMethods, body: Uint8Array): Promise<string> {
  const digest = digestOf(body);
  await db.query(sql.unsafe`
    insert into spec (digest, body) values (${digest}, ${sql.binary(Buffer.from(body))}) on conflict (digest) do nothing`);
  return digest;
}

const bodies = { name: 'spec-bodies', text: 'select digest, body from spec where digest = any($1::text[])' };

/** Those of these specs that are kept, by digest. */
export async function specBodies(db: Sql, digests: readonly string[]): Promise<ReadonlyMap<string, Uint8Array>> {
  const rows = await db.query<{ digest: string; body: Buffer }>(bodies, [digests]);
  return new Map(rows.map(({ digest, body }) => [digest, body]));
}
