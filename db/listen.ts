import pg from 'pg';
import type { Logger } from 'pino';

/** One connection that hears NOTIFYs on one channel; hints only, since what is sent while it is away is lost. */
export interface Listener {
  close(): Promise<void>;
}

const RECONNECT_MIN_MS = 100;
const RECONNECT_MAX_MS = 5_000;

/**
 * Listens on `channel` and reconnects for ever with back-off.
 * @param hear is called with the payload of each notification
 * @param connected is called after each connect: whatever was notified before may have been missed
 */
export function listen(options: {
  url: string;
  channel: string;
  log: Logger;
  hear(payload: string): void;
  connected(): void;
}): Listener {
  const { url, channel, log, hear, connected } = options;
  let client: pg.Client | undefined;
  let timer: NodeJS.Timeout | undefined;
  let failures = 0;
  let closed = false;

  async function connect(): Promise<void> {
    const fresh = new pg.Client({ connectionString: url, application_name: 'starling listen', keepAlive: true });
    client = fresh;
    let lost = false;
    const reconnect = (error?: Error) => {
      if (lost || closed) return;
      lost = true;
      // Only the first of a row: an outage of minutes is one line.
      if (failures === 0) log.warn({ err: error, channel }, 'the listening database connection was lost');
      failures += 1;
      fresh.end().catch(() => {});
      timer = setTimeout(() => void connect(), Math.min(RECONNECT_MIN_MS * 2 ** (failures - 1), RECONNECT_MAX_MS));
    };
    fresh.on('error', reconnect);
    fresh.on('end', () => reconnect());
    fresh.on('notification', notification => hear(notification.payload ?? ''));
    try {
      await fresh.connect();
      await fresh.query(`listen ${pg.escapeIdentifier(channel)}`);
      if (closed) return;
      failures = 0;
      connected();
    } catch (error) {
      reconnect(error as Error);
    }
  }

  let connecting = connect();
  return {
    async close() {
      closed = true;
      clearTimeout(timer);
      await connecting;
      connecting = Promise.resolve();
      await client?.end().catch(() => {});
    },
  };
}
