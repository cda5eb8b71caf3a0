import { createHash } from 'node:crypto';
import { type CommonQueryMethods, sql } from 'slonik';

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
