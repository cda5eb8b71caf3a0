import type { Logger } from 'pino';
import type { RunDoor } from '../actors/run/commands.ts';
import type { Database } from '../db/pool.ts';
import type { ObjectStore } from '../storage/object-store.ts';
import { ActionReader } from './action-reader.ts';
import type { IdentifyCaller } from './caller.ts';
import { withDependencyErrors } from './dependency-errors.ts';
import { actionsService } from './rpc/actions-service.ts';
import { clusterService } from './rpc/cluster-service.ts';
import { dataProxyService } from './rpc/data-proxy-service.ts';
import { identityService } from './rpc/identity-service.ts';
import { type DomainSetting, projectService } from './rpc/project-service.ts';
import { runLogsService } from './rpc/run-logs-service.ts';
import { runService } from './rpc/run-service.ts';
import { taskService } from './rpc/task-service.ts';
import { RunDirectory } from './run-directory.ts';
import type { StoragePlaces } from './storage-places.ts';
import type { RpcContext, ServiceImplementation } from './transport/handler.ts';
import type { ChangeFeed } from './watch/change-feed.ts';
import { ChildWatches } from './watch/child-watches.ts';
import type { LiveLogs } from './watch/log-tail.ts';
import { RunTrees } from './watch/run-trees.ts';

export interface GatewayDeps {
  readonly database: Pick<Database, 'sql' | 'slonik'>;
  readonly door: RunDoor;
  readonly changes: ChangeFeed;
  readonly store: ObjectStore;
  readonly places: StoragePlaces;
  /** Output of pods that live on this node or are in reach of it. */
  readonly liveLogs: LiveLogs;
  readonly domains: readonly DomainSetting[];
  readonly identifyCaller: IdentifyCaller;
  /** Scheme and host under which clients reach this installation, if they must be told (SelectCluster). */
  readonly publicUrl?: string;
  /** Base URL under which a caller reaches the object store for signed URLs; undefined: the store's own. */
  readonly storeUrlFor: (context: RpcContext) => string | undefined;
  readonly now: () => Date;
  readonly log: Logger;
}

/** The services of a gateway, ready for the transport. */
export interface Gateway {
  readonly services: readonly ServiceImplementation[];
  /** Lets go of the change log. End the streams before. */
  close(): void;
}

/** Subscribed as long as the gateway lives, so that the change log always has a place and no first watch must read twice. */
const NO_TOPIC = '';

/** Everything the contract names that is not here answers `unimplemented`. */
export function createGateway(deps: GatewayDeps): Gateway {
  const { database, door, changes, store, places, identifyCaller, log, now } = deps;
  const db = database.slonik;
  const watches = new ChildWatches({ db: database.sql, changes, log });
  const trees = new RunTrees({ db: database.sql, changes, log });
  const directory = new RunDirectory(database);
  const actions = new ActionReader(database.sql, directory);
  const logs = { directory, actions, changes, store, live: deps.liveLogs };
  const hold = changes.subscribe(NO_TOPIC, () => undefined);
  const services = [
    runService({ db, directory, actions, door, changes, trees, store, places, identifyCaller, now }),
    actionsService({ door, sql: database.sql, watches, identifyCaller }),
    dataProxyService({ ...logs, db, places, storeUrlFor: deps.storeUrlFor }),
    runLogsService(logs),
    taskService({ db, directory, identifyCaller }),
    projectService({ db, domains: deps.domains }),
    identityService(identifyCaller),
    clusterService(deps.publicUrl),
  ];
  return { services: services.map(withDependencyErrors), close: hold };
}
