import type { V1Pod } from '@kubernetes/client-node';
import { PodBench } from './pod-bench.ts';

/** A server of its own process, for specs to kill. Commands come by IPC: a pod to create, or the name of one to delete. */
export type ChildCommand = { create: V1Pod } | { remove: string; gracePeriodSeconds: number };

const bench = new PodBench(process.argv[2]!, { slots: Number(process.argv[3]) });
await bench.runtime.start();
process.on('message', async (command: ChildCommand) => {
  if ('create' in command) await bench.runtime.create(command.create);
  else await bench.runtime.delete(command.remove, command);
  process.send!('done');
});
process.on('disconnect', () => process.exit());
process.send!('ready');
