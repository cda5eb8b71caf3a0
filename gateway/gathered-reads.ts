/** Keys per read: enough to share its cost, few enough to keep the answer short. */
const MAX_KEYS = 500;

interface Asked<Key, Row> {
  readonly key: Key;
  readonly answer: PromiseWithResolvers<Row | null>;
}

/**
 * Reads by key, one statement for all who ask in the same moment: those of one turn of the event loop, and while a read is under way all
 * that come meanwhile, so that under load reads get larger, not more. Who asks for the same key shares its row.
 *
 * A read begins after everyone whom it answers asked: it shows nothing older than what any of them was woken for.
 */
export class GatheredReads<Key, Row> {
  readonly #nameOf: (key: Key) => string;
  readonly #readAll: (keys: readonly Key[]) => Promise<ReadonlyMap<string, Row>>;
  #asked = new Map<string, Asked<Key, Row>>();
  #reading = false;

  /**
   * @param nameOf tells keys apart
   * @param readAll answers the rows that exist by the name of their key
   */
  constructor(nameOf: (key: Key) => string, readAll: (keys: readonly Key[]) => Promise<ReadonlyMap<string, Row>>) {
    this.#nameOf = nameOf;
    this.#readAll = readAll;
  }

  /** The row, or null. @throws what the read throws that it is part of */
  read(key: Key): Promise<Row | null> {
    const name = this.#nameOf(key);
    let asked = this.#asked.get(name);
    if (asked === undefined) this.#asked.set(name, (asked = { key, answer: Promise.withResolvers() }));
    if (!this.#reading) {
      this.#reading = true;
      setImmediate(() => void this.#work());
    }
    return asked.answer.promise;
  }

  async #work(): Promise<void> {
    while (this.#asked.size > 0) await this.#readSome();
    this.#reading = false;
  }

  async #readSome(): Promise<void> {
    const batch = [...this.#asked].slice(0, MAX_KEYS);
    for (const [name] of batch) this.#asked.delete(name);
    try {
      const rows = await this.#readAll(batch.map(([, { key }]) => key));
      for (const [name, { answer }] of batch) answer.resolve(rows.get(name) ?? null);
    } catch (error) {
      for (const [, { answer }] of batch) answer.reject(error);
    }
  }
}
