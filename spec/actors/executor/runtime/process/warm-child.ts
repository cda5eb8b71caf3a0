import { PodBench } from './pod-bench.ts';
import type { ChildCommand } from './runtime-child.ts';
import { WarmBench } from './warm-bench.ts';

/** As runtime-child.ts, with a warm Python. Says `ready` when it is warm. */
const [, , dir, pythonDir, slots] = process.argv;
const python = new WarmBench(pythonDir!);
const bench = new PodBench(dir!, { slots: Number(slots), binDirs: [python.binDir], warm: python.warm });
python.warm.begin();
await bench.runtime.start();
const zygote = await python.untilWarm();
process.on('message', async (command: ChildCommand) => {
  if ('create' in command) await bench.runtime.create(command.create);
  else await bench.runtime.delete(command.remove, command);
  process.send!({ done: true, warm: python.warm.starts.warm });
});
process.on('disconnect', () => process.exit());
process.send!({ zygote });
