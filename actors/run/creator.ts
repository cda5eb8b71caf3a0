/** Creates runs, many in one transaction: run row, root action, spec, first entry of the change log, wake of the root. */
import { insertActions, insertRuns, type NewAction, type NewRun, runsHolding, specDigest } from '../../db/enqueue.ts';
import { ActionType } from '../action/action-type.ts';
import { ACTION_KIND, actionKey } from '../action/messages.ts';
import { Phase } from '../action/phase.ts';
import type { Mail } from '../runtime/mail.ts';
import { createBatcher } from './batcher.ts';
import type { CreateRun, CreateRunResult } from './commands.ts';
import type { SpecStore } from './known-specs.ts';
import { ROOT_ACTION } from './messages.ts';
import { describeTask } from './task-facts.ts';

export interface CreatorDeps {
  readonly mail: Mail;
  readonly specs: SpecStore;
  readonly now: () => Date;
  /** Draws a run name; a taken one is drawn again. */
  readonly newRunName: () => string;
}

const NAME_DRAWS = 5;

interface Creation {
  readonly command: CreateRun;
  readonly name: string;
  readonly digest: string;
}

/** @returns the function behind RunDoor.createRun */
export function createCreator({
  mail,
  specs,
  now,
  newRunName,
}: CreatorDeps): (command: CreateRun) => Promise<CreateRunResult> {
  const submit = createBatcher<Creation, CreateRunResult>(write);

  return async command => {
    const digest = specDigest(command.taskSpec);
    if (command.named) return submit({ command, name: command.path.run, digest });
    for (let draw = 0; draw < NAME_DRAWS; draw++) {
      const result = await submit({ command, name: newRunName(), digest });
      if (result.kind !== 'name-taken') return result;
    }
    return { kind: 'name-taken' };
  };

  async function write(batch: readonly Creation[]): Promise<CreateRunResult[]> {
    const results = await mail.commit(async (tx, outbox) => {
      // Of several with one name in the same batch the first is inserted; the others meet its row below.
      const ids = await insertRuns(tx, [...firstOfEach(batch).values()].map(newRun));
      const claimed = new Map<string, Creation>();
      const created = batch.filter(creation => {
        const name = nameOf(creation);
        if (!ids.has(name) || claimed.has(name)) return false;
        claimed.set(name, creation);
        return true;
      });
      await specs.store(tx, new Map(created.map(({ command, digest }) => [digest, command.taskSpec])));
      await insertActions(
        tx,
        created.map(creation => rootAction(creation, ids.get(nameOf(creation))!)),
      );
      for (const creation of created) {
        const id = ids.get(nameOf(creation))!;
        outbox.change({ topic: String(id), subject: ROOT_ACTION });
        outbox.wake({ kind: ACTION_KIND, key: actionKey(id, ROOT_ACTION) });
      }
      const others = batch.filter(creation => claimed.get(nameOf(creation)) !== creation);
      const holders = others.length === 0 ? new Map() : await runsHolding(tx, others.map(pathOf));
      return batch.map((creation): CreateRunResult => {
        const { command, name } = creation;
        if (claimed.get(nameOf(creation)) === creation)
          return { kind: 'created', runId: ids.get(nameOf(creation))!, name };
        const holder = holders.get(nameOf(creation));
        const same = command.named && holder?.fingerprint === command.fingerprint;
        return same ? { kind: 'existed', runId: holder.id, name } : { kind: 'name-taken' };
      });
    });
    specs.committed(batch.filter((_, index) => results[index]!.kind === 'created').map(({ digest }) => digest));
    return results;
  }

  function rootAction({ command, digest }: Creation, runId: number): NewAction {
    return {
      runId,
      name: ROOT_ACTION,
      parent: null,
      depth: 0,
      type: ActionType.task,
      group: null,
      stage: 'new',
      phase: Phase.queued,
      specDigest: digest,
      task: command.task,
      ...describeTask(command.taskSpec, command.task.name, digest),
      inputUri: command.inputUri,
      cacheKey: command.cacheKey,
      outputUri: null,
      failure: null,
      machine: {},
      createdAt: now(),
      endedAt: null,
    };
  }
}

function newRun({ command, name }: Creation): NewRun {
  return { command, name, outputBase: command.outputBase.replaceAll('{run}', name) };
}

function pathOf({ command, name }: Creation): { project: string; domain: string; run: string } {
  return { project: command.path.project, domain: command.path.domain, run: name };
}

function nameOf(creation: Creation): string {
  const { project, domain, run } = pathOf(creation);
  return `${project}/${domain}/${run}`;
}

function firstOfEach(batch: readonly Creation[]): Map<string, Creation> {
  const first = new Map<string, Creation>();
  for (const creation of batch) {
    if (!first.has(nameOf(creation))) first.set(nameOf(creation), creation);
  }
  return first;
}
