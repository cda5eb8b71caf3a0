import type { Database } from '../../db/pool.ts';
import type { Letter } from './actor.ts';
import { settle } from './mailbox.ts';

/** Writes the answers of effects into mailboxes; those that arrive together share a statement. */
export interface Answers {
  /** Resolves when the letter is committed. @throws DatabaseUnavailable; the actor orders the effect again */
  send(letter: Letter): Promise<void>;
}

const ANSWERS_AT_ONCE = 500;

export function createAnswers(database: Database): Answers {
  const gathered: { letter: Letter; resolve: () => void; reject: (error: unknown) => void }[] = [];
  let writing = false;

  async function write(): Promise<void> {
    await new Promise(resolve => setImmediate(resolve));
    while (gathered.length > 0) {
      const batch = gathered.splice(0, ANSWERS_AT_ONCE);
      try {
        await settle(
          database.sql,
          [],
          batch.map(({ letter }) => letter),
          [],
        );
        for (const { resolve } of batch) resolve();
      } catch (error) {
        if (batch.length === 1) batch[0]!.reject(error);
        // One answer that cannot be stored must not take the others with it.
        else
          await Promise.all(
            batch.map(one => settle(database.sql, [], [one.letter], []).then(() => one.resolve(), one.reject)),
          );
      }
    }
    writing = false;
  }

  return {
    send(letter) {
      return new Promise((resolve, reject) => {
        gathered.push({ letter, resolve, reject });
        if (writing) return;
        writing = true;
        void write();
      });
    },
  };
}
