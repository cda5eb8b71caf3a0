import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { type Client, createClient } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { dataDirKeys } from '../../deploy/keys.ts';
import { ActionsService } from '../../proto/gen/flyteidl2/actions/actions_service_pb.js';
import { ClusterService } from '../../proto/gen/flyteidl2/cluster/service_pb.js';
import { DataProxyService } from '../../proto/gen/flyteidl2/dataproxy/dataproxy_service_pb.js';
import { ProjectService } from '../../proto/gen/flyteidl2/project/project_service_pb.js';
import { TaskService } from '../../proto/gen/flyteidl2/task/task_service_pb.js';
import { RunService } from '../../proto/gen/flyteidl2/workflow/run_service_pb.js';
import { S3Store } from '../../storage/s3.ts';
import { type Server, startServer } from '../support/server.ts';

/** The whole program on a port of its own, and a client for each service, as any program on this machine would have them. */
export interface Starling {
  readonly server: Server;
  /** `http://127.0.0.1:<port>` */
  readonly url: string;
  readonly runs: Client<typeof RunService>;
  readonly actions: Client<typeof ActionsService>;
  readonly data: Client<typeof DataProxyService>;
  readonly tasks: Client<typeof TaskService>;
  readonly projects: Client<typeof ProjectService>;
  readonly clusters: Client<typeof ClusterService>;
  /** The embedded object store, through its endpoint and with the key of the pods. */
  readonly store: S3Store;
  /** The value of a metric, summed over the series with all of these labels; 0 when there is none yet. */
  metric(name: string, labels?: Readonly<Record<string, string>>): Promise<number>;
}

/** Requests may be larger than this by default; the specs that send huge bodies must reach it soon. */
export const MAX_REQUEST_BYTES = 8 * 1024 * 1024;

let opened: Promise<Starling> | undefined;
let users = 0;
let home: string | undefined;

/**
 * To be called in a `describe`: the one server of this folder, started by the first suite that needs it and stopped after the
 * last.
 */
export function useStarling(): () => Starling {
  let current: Starling;
  users++;
  before(async function () {
    this.timeout(120_000);
    opened ??= open();
    current = await opened;
  });
  after(async function () {
    this.timeout(120_000);
    if (--users === 0) await close();
  });
  return () => current;
}

// For suites that were filtered out and never counted down.
after(close);

async function close(): Promise<void> {
  const starling = await opened;
  opened = undefined;
  await starling?.store.close();
  await starling?.server.stop();
  if (home !== undefined) rmSync(home, { recursive: true, force: true });
  home = undefined;
}

async function open(): Promise<Starling> {
  home = mkdtempSync(path.join(os.tmpdir(), 'starling-acceptance-'));
  const server = await startServer({
    env: {
      STARLING_PYTHON_EXECUTABLE: pretendedPython(home),
      STARLING_LIMITS_MAX_REQUEST_BYTES: String(MAX_REQUEST_BYTES),
      STARLING_EXECUTOR_SLOTS: '8',
      STARLING_EXECUTOR_DEFAULT_GRACE_SECONDS: '1',
    },
  });
  const url = `http://127.0.0.1:${server.port}`;
  const transport = createConnectTransport({ baseUrl: url, httpVersion: '1.1' });
  const { accessKeyId, secretAccessKey } = dataDirKeys(server.dataDir);
  const store = new S3Store({
    client: { endpoint: `${url}/s3`, region: 'us-east-1', credentials: { accessKeyId, secretAccessKey } },
  });
  return {
    ...{ server, url, store },
    runs: createClient(RunService, transport),
    actions: createClient(ActionsService, transport),
    data: createClient(DataProxyService, transport),
    tasks: createClient(TaskService, transport),
    projects: createClient(ProjectService, transport),
    clusters: createClient(ClusterService, transport),
    async metric(name, labels = {}) {
      const text = await (await fetch(`${url}/metrics`)).text();
      return text
        .split('\n')
        .filter(line => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
        .filter(line => Object.entries(labels).every(([key, value]) => line.includes(`${key}="${value}"`)))
        .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
    },
  };
}

/** These specs run shell commands only, so a Python that says the right things is enough. */
function pretendedPython(directory: string): string {
  const bin = path.join(directory, 'bin');
  if (!existsSync(bin)) mkdirSync(bin);
  const answer = JSON.stringify({ version: '3.12.1', flyte: '2.12.1', scripts: bin, venv: true });
  const python = path.join(bin, 'python');
  writeFileSync(python, `#!/bin/sh\necho '${answer}'\n`, { mode: 0o755 });
  writeFileSync(path.join(bin, 'a0'), '#!/bin/sh\n', { mode: 0o755 });
  return python;
}
