/** One wake queue per actor kind. BullMQ refuses colons in names. */
export function wakeQueueName(kind: string): string {
  if (!/^[a-z][a-z0-9-]*$/.test(kind)) {
    throw new Error(`actor kind "${kind}": a kind is lower-case letters, digits and dashes, starting with a letter`);
  }
  return `wake-${kind}`;
}

/** Namespace of all our keys on a Redis that others may use too. */
export const KEY_PREFIX = 'starling';
