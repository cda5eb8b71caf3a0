/** Follows a run as any client would, over RunService.WatchActions on the public port. */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Timestamp, timestampMs } from '@bufbuild/protobuf/wkt';
import { createClient } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import type { EnrichedAction } from '../../proto/gen/flyteidl2/workflow/run_definition_pb.js';
import { RunService } from '../../proto/gen/flyteidl2/workflow/run_service_pb.js';
import type { Terminal } from '../terminal.ts';
import { type ActionView, isFinal, renderChange, renderTree } from './tree.ts';

export interface Followed {
  /** Like `http://127.0.0.1:8090`. */
  baseUrl: string;
  run: { project: string; domain: string; name: string };
  terminal: Terminal;
  now: () => number;
  signal: AbortSignal;
}

const REDRAW_EVERY_MS = 200;
const RECONNECT_AFTER_MS = 500;
const RECONNECTS = 20;

/**
 * Shows the run until its root action is final, and leaves the last state on the screen.
 * @returns the root action
 * @throws the last error when the watch cannot be kept open; the reason of `signal` when aborted
 */
export async function followRun(followed: Followed): Promise<ActionView> {
  const { terminal, now, signal } = followed;
  const startedAt = now();
  const actions = new Map<string, ActionView>();
  const draw = () => terminal.draw(renderTree(actions.values(), now(), true));
  const redraw = setInterval(draw, REDRAW_EVERY_MS);
  try {
    return await watch(followed, action => {
      const before = actions.get(action.name);
      actions.set(action.name, action);
      if (terminal.isLive) draw();
      else if (before?.phase !== action.phase) terminal.print(renderChange(action, now() - startedAt));
    });
  } finally {
    clearInterval(redraw);
    signal.aborted || terminal.draw([]);
    if (actions.size > 0) terminal.print(renderTree(actions.values(), now(), terminal.isLive).join('\n'));
  }
}

/** A watch that breaks begins again: its first message is a snapshot, so nothing is missed. */
async function watch({ baseUrl, run, signal }: Followed, see: (action: ActionView) => void): Promise<ActionView> {
  const client = createClient(RunService, createConnectTransport({ baseUrl, httpVersion: '1.1' }));
  for (let tries = 0; ; tries++) {
    try {
      for await (const { enrichedActions } of client.watchActions({ runId: { org: '', ...run } }, { signal })) {
        const seen = enrichedActions.map(view).filter(action => action !== undefined);
        for (const action of seen) see(action);
        const root = seen.find(action => action.parent === '');
        if (root && isFinal(root.phase)) return root;
      }
    } catch (error) {
      signal.throwIfAborted();
      if (tries >= RECONNECTS) throw error;
    }
    await sleep(RECONNECT_AFTER_MS, undefined, { signal });
  }
}

function view({ action }: EnrichedAction): ActionView | undefined {
  const { id, metadata, status } = action ?? {};
  if (!id || !status) return undefined;
  return {
    name: id.name,
    parent: metadata?.parent ?? '',
    label: label(metadata?.spec) ?? id.name,
    group: metadata?.group ?? '',
    phase: status.phase,
    startedAtMs: moment(status.startTime),
    endedAtMs: moment(status.endTime),
    attempts: status.attempts,
  };
}

function label(
  spec: NonNullable<NonNullable<EnrichedAction['action']>['metadata']>['spec'] | undefined,
): string | undefined {
  switch (spec?.case) {
    case 'task':
      return spec.value.shortName || spec.value.id?.name.split('.').at(-1);
    case 'trace':
    case 'condition':
      return spec.value.name;
    default:
      return undefined;
  }
}

function moment(timestamp: Timestamp | undefined): number | undefined {
  return timestamp && timestampMs(timestamp);
}
