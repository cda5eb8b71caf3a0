/** A run as lines of text: who called whom, in which phase, for how long. Pure. */
import { ActionPhase } from '../../proto/gen/flyteidl2/common/phase_pb.js';

/** What the tree shows of one action. */
export interface ActionView {
  name: string;
  /** Name of the calling action; empty for the root. */
  parent: string;
  label: string;
  group: string;
  phase: ActionPhase;
  startedAtMs: number | undefined;
  endedAtMs: number | undefined;
  attempts: number;
}

const PHASES: Record<ActionPhase, { mark: string; words: string; colour: number; ends: boolean }> = {
  [ActionPhase.UNSPECIFIED]: { mark: '·', words: 'unknown', colour: 90, ends: false },
  [ActionPhase.QUEUED]: { mark: '·', words: 'queued', colour: 90, ends: false },
  [ActionPhase.WAITING_FOR_RESOURCES]: { mark: '·', words: 'waiting for a free slot', colour: 90, ends: false },
  [ActionPhase.INITIALIZING]: { mark: '○', words: 'starting', colour: 36, ends: false },
  [ActionPhase.RUNNING]: { mark: '●', words: 'running', colour: 36, ends: false },
  [ActionPhase.SUCCEEDED]: { mark: '✔', words: 'succeeded', colour: 32, ends: true },
  [ActionPhase.FAILED]: { mark: '✘', words: 'failed', colour: 31, ends: true },
  [ActionPhase.ABORTED]: { mark: '✘', words: 'aborted', colour: 33, ends: true },
  [ActionPhase.TIMED_OUT]: { mark: '✘', words: 'timed out', colour: 31, ends: true },
  [ActionPhase.PAUSED]: { mark: '‖', words: 'paused', colour: 33, ends: false },
  [ActionPhase.RECOVERED]: { mark: '✔', words: 'recovered', colour: 32, ends: true },
};

/** Whether a phase never changes again. */
export function isFinal(phase: ActionPhase): boolean {
  return PHASES[phase].ends;
}

/** Wide enough for the labels of most workflows. */
const LABEL_COLUMNS = 34;

/**
 * The whole tree, one line per action, children under their callers in the order they began.
 * @param nowMs the moment up to which running actions have lasted
 */
export function renderTree(actions: Iterable<ActionView>, nowMs: number, colours: boolean): string[] {
  const children = Map.groupBy(actions, action => action.parent);
  for (const siblings of children.values()) siblings.sort(byStart);
  const lines: string[] = [];
  const add = (action: ActionView, lead: string, turn: string, below: string) => {
    const left = `${lead}${turn}${action.label}${action.group ? ` [${action.group}]` : ''}`;
    lines.push(`  ${left.padEnd(LABEL_COLUMNS)} ${state(action, nowMs, colours)}`);
    const under = children.get(action.name) ?? [];
    under.forEach((child, n) => {
      const last = n === under.length - 1;
      add(child, lead + below, last ? '└─ ' : '├─ ', last ? '   ' : '│  ');
    });
  };
  for (const root of children.get('') ?? []) add(root, '', '', '');
  return lines;
}

/** One line for one change, for where nothing can be redrawn. */
export function renderChange(action: ActionView, sinceStartMs: number): string {
  const at = `${(sinceStartMs / 1000).toFixed(1)} s`.padStart(8);
  return `${at}  ${action.label.padEnd(LABEL_COLUMNS)} ${PHASES[action.phase].words}${retries(action)}`;
}

function state(action: ActionView, nowMs: number, colours: boolean): string {
  const { mark, words, colour, ends } = PHASES[action.phase];
  const text = `${mark} ${words}`;
  const painted = colours ? `\u001b[${colour}m${text}\u001b[0m` : text;
  const until = ends ? action.endedAtMs : nowMs;
  const begun = action.startedAtMs;
  const lasted =
    begun !== undefined && until !== undefined ? `${(Math.max(0, until - begun) / 1000).toFixed(1)} s` : '';
  return `${painted}${' '.repeat(Math.max(1, 14 - text.length))}${lasted.padStart(7)}${retries(action)}`.trimEnd();
}

function retries(action: ActionView): string {
  return action.attempts > 1 ? ` (attempt ${action.attempts})` : '';
}

function byStart(a: ActionView, b: ActionView): number {
  return (
    (a.startedAtMs ?? Number.MAX_SAFE_INTEGER) - (b.startedAtMs ?? Number.MAX_SAFE_INTEGER) ||
    a.name.localeCompare(b.name)
  );
}
