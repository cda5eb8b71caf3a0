import type { Logger } from 'pino';

/**
 * A part of a node that is started and stopped: a store, the actors, the gateway, the workers.
 * `start` resolves when it can be used by what comes after it; `stop` resolves when it has let go of everything, and finishes work
 * under way first.
 */
export interface Component {
  readonly name: string;
  start(): Promise<void>;
  stop(): Promise<void>;
}

/**
 * The parts of one node, in order. Each is started when it is added, so a later part may be built from what an earlier one
 * offers only once it runs. Stopping goes backwards and always to the end: one part that fails to stop must not keep the
 * database from being closed.
 */
export class Node {
  readonly #log: Logger;
  readonly #started: Component[] = [];
  #stopping: Promise<void> | undefined;

  constructor(log: Logger) {
    this.#log = log;
  }

  /**
   * Starts a part. When it fails, everything started before is stopped, and the error is thrown on.
   * @throws what `component.start` throws; Error when the node is stopping already
   */
  async start(component: Component): Promise<void> {
    if (this.#stopping) throw new Error(`${component.name} cannot start: the node is stopping`);
    const startedAt = performance.now();
    // Before it runs: a stop that comes in the middle of a start must stop this one too.
    this.#started.push(component);
    try {
      await component.start();
    } catch (error) {
      if (!this.#stopping) this.#started.splice(this.#started.indexOf(component), 1);
      await this.stop();
      throw error;
    }
    this.#log.debug({ component: component.name, ms: Math.round(performance.now() - startedAt) }, 'component started');
  }

  /** Stops everything in reverse order; the second call waits for the first. Never rejects. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stopAll();
    return this.#stopping;
  }

  async #stopAll(): Promise<void> {
    for (const component of this.#started.toReversed()) {
      const startedAt = performance.now();
      try {
        await component.stop();
        this.#log.debug(
          { component: component.name, ms: Math.round(performance.now() - startedAt) },
          'component stopped',
        );
      } catch (error) {
        this.#log.error({ component: component.name, err: error }, 'component did not stop cleanly');
      }
    }
  }
}
