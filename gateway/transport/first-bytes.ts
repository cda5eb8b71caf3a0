import type { Socket } from 'node:net';

/** What an HTTP/2 client sends first, as far as it takes to know. No HTTP/1.1 method begins so. */
const HTTP2_PREFACE = Buffer.from('PRI');

/**
 * Looks at the first bytes of a connection and says which HTTP they speak, leaving them in the socket. A connection that says nothing
 * for `timeoutMs` is closed. Reads on `readable` only: a `data` listener would lose the HTTP/2 preface (libraries.md §7).
 */
export function onFirstBytes(socket: Socket, timeoutMs: number, decided: (isHttp2: boolean) => void): void {
  let seen = Buffer.alloc(0);
  const silent = setTimeout(() => socket.destroy(), timeoutMs);
  const stop = (): void => {
    clearTimeout(silent);
    socket.off('readable', look).off('error', stop).off('close', stop);
  };
  const look = (): void => {
    const chunk: Buffer | null = socket.read();
    if (!chunk) return;
    seen = Buffer.concat([seen, chunk]);
    const length = Math.min(seen.length, HTTP2_PREFACE.length);
    const alike = seen.subarray(0, length).equals(HTTP2_PREFACE.subarray(0, length));
    if (alike && length < HTTP2_PREFACE.length) return;
    stop();
    socket.unshift(seen);
    decided(alike);
  };
  socket.on('readable', look).on('error', stop).on('close', stop);
}
