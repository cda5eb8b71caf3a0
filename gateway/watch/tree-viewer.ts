import { create } from '@bufbuild/protobuf';
import {
  type WatchActionsResponse,
  WatchActionsResponseSchema,
} from '../../proto/gen/flyteidl2/workflow/run_service_pb.js';
import { Doorbell } from './doorbell.ts';
import { ancestors, type RunTree, type TreeListener, type TreeNode } from './run-tree.ts';
import type { TreeFilter } from './tree-filter.ts';

const MESSAGE_SIZE = 1_000;

/**
 * One reader's view of a tree: the nodes that match its filter, and what is above them. A node that is seen no more is sent once
 * without `meets_filter` (runs.md 1.15). Between two messages it holds only the names of what changed: a slow reader skips states.
 */
export class TreeViewer implements TreeListener {
  readonly #tree: RunTree;
  readonly #filter: TreeFilter | null;
  readonly #bell = new Doorbell();
  readonly #matching = new Set<TreeNode>();
  readonly #matchingBelow = new Map<TreeNode, number>();
  readonly #shown = new Set<TreeNode>();
  #dirty = new Set<TreeNode>();
  #begun = false;
  #failure: { readonly reason: unknown } | undefined;

  /** @param filter null to see everything */
  constructor(tree: RunTree, filter: TreeFilter | null) {
    this.#tree = tree;
    this.#filter = filter;
    for (const node of tree.nodes()) this.changed(node);
    tree.listeners.add(this);
  }

  changed(node: TreeNode): void {
    this.#touch(node);
    if (this.#filter === null) return;
    const matches = this.#filter(node.row);
    if (matches === this.#matching.has(node)) return;
    if (matches) this.#matching.add(node);
    else this.#matching.delete(node);
    for (const above of ancestors(node)) {
      this.#matchingBelow.set(above, (this.#matchingBelow.get(above) ?? 0) + (matches ? 1 : -1));
      this.#touch(above);
    }
  }

  countsChanged(node: TreeNode): void {
    this.#touch(node);
  }

  /** The tree is complete: from now on there is something to tell. Until then its actions come in no useful order. */
  begin(): void {
    if (this.#begun) return;
    this.#begun = true;
    this.#bell.ring();
  }

  /** The tree cannot be read: the reader is told so. */
  fail(reason: unknown): void {
    this.#failure = { reason };
    this.#bell.ring();
  }

  /** What there is to tell, in messages of at most 1000 actions, oldest first; ends when the signal fires. */
  async *messages(signal: AbortSignal): AsyncGenerator<WatchActionsResponse> {
    while (await this.#bell.wait(signal)) {
      if (this.#failure !== undefined) throw this.#failure.reason;
      const dirty = [...this.#dirty].sort((a, b) => a.row.seq - b.row.seq);
      this.#dirty = new Set();
      for (let from = 0; from < dirty.length; from += MESSAGE_SIZE) {
        const nodes = dirty.slice(from, from + MESSAGE_SIZE);
        const message = this.#filter === null ? this.#tree.tell(nodes) : this.#show(nodes);
        if (message.enrichedActions.length > 0) yield message;
      }
    }
  }

  close(): void {
    this.#tree.listeners.delete(this);
  }

  #touch(node: TreeNode): void {
    this.#dirty.add(node);
    if (this.#begun) this.#bell.ring();
  }

  /** Of these nodes those that are to be seen, and once more those that were. */
  #show(nodes: readonly TreeNode[]): WatchActionsResponse {
    const enrichedActions = nodes.flatMap(node => {
      const visible = this.#matching.has(node) || (this.#matchingBelow.get(node) ?? 0) > 0;
      if (visible) this.#shown.add(node);
      else if (!this.#shown.delete(node)) return [];
      return [this.#tree.enriched(node, visible)];
    });
    return create(WatchActionsResponseSchema, { enrichedActions });
  }
}
