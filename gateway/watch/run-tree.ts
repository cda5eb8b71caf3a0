import { create, type MessageInitShape } from '@bufbuild/protobuf';
import type { ActionRow } from '../../db/action-reads.ts';
import type { RunRow } from '../../db/run-reads.ts';
import {
  type Action,
  ActionSchema,
  type EnrichedActionSchema,
} from '../../proto/gen/flyteidl2/workflow/run_definition_pb.js';
import {
  type WatchActionsResponse,
  WatchActionsResponseSchema,
} from '../../proto/gen/flyteidl2/workflow/run_service_pb.js';
import { actionMessage } from '../action-metadata.ts';

/** An action in the tree of its run. */
export interface TreeNode {
  readonly name: string;
  readonly parent: TreeNode | null;
  row: ActionRow;
  /** How many actions below it, at any depth, are in a phase. Phases that fell to 0 stay (runs.md 1.15). */
  readonly phasesBelow: Map<number, number>;
  /** Made when first shown, dropped when the row changes: one for all viewers. */
  message: Action | undefined;
}

/** Who wants to know of changes of a tree. */
export interface TreeListener {
  /** The row of a node is new or another one. */
  changed(node: TreeNode): void;
  /** Only what is counted below the node has changed. */
  countsChanged(node: TreeNode): void;
}

/**
 * All actions of one run as a tree, kept once for all who watch the run.
 *
 * A child may become visible before its parent does, because they are written by different transactions: it waits here, unseen, and
 * enters with its parent (runs.md W9). Nodes never leave and never get another parent.
 */
export class RunTree {
  readonly #run: RunRow;
  readonly #nodes = new Map<string, TreeNode>();
  readonly #orphans = new Map<string, Map<string, ActionRow>>();
  readonly listeners = new Set<TreeListener>();
  /** Counts the changes of nodes. */
  #revision = 0;
  #told:
    | { readonly revision: number; readonly nodes: readonly TreeNode[]; readonly message: WatchActionsResponse }
    | undefined;

  constructor(run: RunRow) {
    this.#run = run;
  }

  get size(): number {
    return this.#nodes.size;
  }

  node(name: string): TreeNode | undefined {
    return this.#nodes.get(name);
  }

  nodes(): Iterable<TreeNode> {
    return this.#nodes.values();
  }

  /** Takes rows in; each must be no older than the one taken in before for the same action. */
  take(rows: readonly ActionRow[]): void {
    this.#revision++;
    for (const row of rows) {
      const node = this.#nodes.get(row.name);
      if (node === undefined) this.#enter(row);
      else this.#replace(node, row);
    }
  }

  /**
   * What is told of these nodes to viewers who see everything. They are woken together, so most are told the same: that is one message,
   * which the transport encodes once (connect-stream.ts).
   */
  tell(nodes: readonly TreeNode[]): WatchActionsResponse {
    const told = this.#told;
    if (told?.revision === this.#revision && sameNodes(told.nodes, nodes)) return told.message;
    const message = create(WatchActionsResponseSchema, {
      enrichedActions: nodes.map(node => this.enriched(node, true)),
    });
    this.#told = { revision: this.#revision, nodes, message };
    return message;
  }

  enriched(node: TreeNode, meetsFilter: boolean): MessageInitShape<typeof EnrichedActionSchema> {
    return {
      action: this.#messageOf(node),
      meetsFilter,
      childrenPhaseCounts: Object.fromEntries(node.phasesBelow),
    };
  }

  #messageOf(node: TreeNode): Action {
    node.message ??= create(ActionSchema, actionMessage(node.row, this.#run));
    return node.message;
  }

  #enter(row: ActionRow): void {
    const parent = row.parent === null ? null : this.#nodes.get(row.parent);
    if (parent === undefined) {
      this.#await(row.parent!, row);
      return;
    }
    const node: TreeNode = { name: row.name, parent, row, phasesBelow: new Map(), message: undefined };
    this.#nodes.set(row.name, node);
    for (const above of ancestors(node)) {
      count(above, row.phase, 1);
      for (const listener of this.listeners) listener.countsChanged(above);
    }
    for (const listener of this.listeners) listener.changed(node);
    const waiting = this.#orphans.get(row.name);
    this.#orphans.delete(row.name);
    for (const child of waiting?.values() ?? []) this.#enter(child);
  }

  #await(parent: string, row: ActionRow): void {
    const waiting = this.#orphans.get(parent);
    if (waiting === undefined) this.#orphans.set(parent, new Map([[row.name, row]]));
    else waiting.set(row.name, row);
  }

  #replace(node: TreeNode, row: ActionRow): void {
    const before = node.row.phase;
    node.row = row;
    node.message = undefined;
    if (before !== row.phase) {
      for (const above of ancestors(node)) {
        count(above, before, -1);
        count(above, row.phase, 1);
        for (const listener of this.listeners) listener.countsChanged(above);
      }
    }
    for (const listener of this.listeners) listener.changed(node);
  }
}

/** From the parent up to the root. */
export function* ancestors(node: TreeNode): Generator<TreeNode> {
  for (let above = node.parent; above !== null; above = above.parent) yield above;
}

function sameNodes(some: readonly TreeNode[], others: readonly TreeNode[]): boolean {
  return some.length === others.length && some.every((node, index) => node === others[index]);
}

function count(node: TreeNode, phase: number, by: number): void {
  if (phase !== 0) node.phasesBelow.set(phase, (node.phasesBelow.get(phase) ?? 0) + by);
}
