import type { Sql } from '../../db/sql.ts';
import type { Address, Change, Letter } from './actor.ts';

/**
 * How code outside of actors (the gateway) causes things: it writes rows, letters and changes in one transaction,
 * and the runtime rings the doorbells after the commit. If this process dies between the two, the sweeper rings.
 */
export interface Mail {
  /**
   * Runs `write` in a transaction. Letters and changes put into the outbox commit with it; afterwards their addressees
   * are woken, and so are those passed to `outbox.wake` (actors whose row was inserted ready to run).
   * @throws whatever `write` throws (rolled back); DatabaseUnavailable
   */
  commit<T>(write: (tx: Sql, outbox: Outbox) => Promise<T>): Promise<T>;
}

/** Collects what a transaction causes; see {@link Mail.commit}. */
export interface Outbox {
  letter(letter: Letter): void;
  change(change: Change): void;
  wake(address: Address): void;
}
