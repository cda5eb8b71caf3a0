import { createServer } from 'node:net';
import { StartError } from './start-error.ts';

/** The port cannot be listened on: the message says why and which setting to change. */
export class PortError extends StartError {
  override name = 'PortError';
}

/**
 * Makes sure that host and port can be listened on, before anything else is started.
 * @param port 0 picks a free one
 * @returns the port
 * @throws PortError
 */
export async function reservePort(host: string, port: number): Promise<number> {
  const probe = createServer();
  try {
    return await new Promise<number>((resolve, reject) => {
      probe.once('error', reject);
      probe.listen({ host, port, exclusive: true }, () => resolve((probe.address() as { port: number }).port));
    });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const other = 'Choose another with --port or STARLING_GATEWAY_PORT';
    switch (code) {
      case 'EADDRINUSE':
        throw new PortError(`Port ${port} on ${host} is taken by another program. ${other}, or stop that program.`);
      case 'EACCES':
        throw new PortError(`This user may not listen on port ${port}. ${other}, above 1023.`);
      case 'EADDRNOTAVAIL':
      case 'ENOTFOUND':
      case 'EAI_AGAIN':
        throw new PortError(`${host} is not an address of this machine. Correct --host or STARLING_GATEWAY_HOST.`);
      default:
        throw new PortError(`Port ${port} on ${host} cannot be used: ${message}. ${other}.`);
    }
  } finally {
    await new Promise(resolve => probe.close(resolve));
  }
}
