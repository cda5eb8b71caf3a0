import { fromBinary } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import type { DatabasePool } from 'slonik';
import { findTask } from '../../db/tasks.ts';
import {
  ArtifactType,
  type CreateDownloadLinkRequest,
  DataProxyService,
  type UploadInputsRequest,
} from '../../proto/gen/flyteidl2/dataproxy/dataproxy_service_pb.js';
import { LogLineOriginator } from '../../proto/gen/flyteidl2/logs/dataplane/payload_pb.js';
import { type TaskSpec, TaskSpecSchema } from '../../proto/gen/flyteidl2/task/task_definition_pb.js';
import { InvalidObjectUri } from '../../storage/object-errors.ts';
import type { ObjectInfo, ObjectStore } from '../../storage/object-store.ts';
import { reportUri } from '../action-attempts.ts';
import { readActionData } from '../action-data.ts';
import { attemptOf } from '../attempt-choice.ts';
import { codeBundleUri } from '../code-bundle.ts';
import { alreadyExists, invalidArgument, notFound, unimplemented } from '../errors.ts';
import {
  actionPath,
  nameOfAction,
  type ProjectDomain,
  projectDomain,
  runPath,
  type TaskPath,
  taskPath,
} from '../identifiers.ts';
import { inputsHash } from '../inputs-hash.ts';
import { storeInputs } from '../offloaded-inputs.ts';
import type { StoragePlaces } from '../storage-places.ts';
import { implement, type RpcContext, type ServiceImplementation } from '../transport/handler.ts';
import { expiryMs, uploadUri } from '../upload-location.ts';
import { type LogTailDeps, type TailedLine, tailLog } from '../watch/log-tail.ts';

export interface DataProxyServiceDeps extends LogTailDeps {
  readonly db: DatabasePool;
  readonly store: ObjectStore;
  readonly places: StoragePlaces;
  /** Base URL under which this caller reaches the object store; undefined: the store's own. */
  readonly storeUrlFor: (context: RpcContext) => string | undefined;
}

/** Name of the user metadata that keeps the MD5 of an upload (services.md §13.1). */
const MD5_METADATA = 'flytecontentmd5';

/** What clients put into and get out of the object store, without access to it (services.md §12). */
export function dataProxyService(deps: DataProxyServiceDeps): ServiceImplementation {
  const { db, directory, actions, store, places, storeUrlFor } = deps;

  async function deployedSpec(path: TaskPath): Promise<TaskSpec> {
    const task = await findTask(db, path);
    if (task === null) throw notFound('task', `${path.project}/${path.domain}/${path.name} version ${path.version}`);
    return fromBinary(TaskSpecSchema, task.spec);
  }

  async function specOf(task: UploadInputsRequest['task']): Promise<TaskSpec> {
    switch (task.case) {
      case 'taskSpec':
        return task.value;
      case 'taskId':
        return deployedSpec(taskPath(task.value));
      case 'triggerName':
        throw unimplemented('triggers are not served yet: name the task of the trigger by task_id');
      default:
        throw invalidArgument('task', undefined, 'must be a task_spec or a task_id');
    }
  }

  /** The object a download link leads to. */
  async function linked(request: CreateDownloadLinkRequest): Promise<string> {
    const { source, artifactType } = request;
    if (source.case === 'appId') throw unimplemented('apps are not served yet');
    if (source.case === undefined) throw invalidArgument('source', undefined, 'must be an action attempt or a task');
    if (source.case === 'taskId' && artifactType === ArtifactType.REPORT) {
      throw invalidArgument('source', 'task_id', 'must be an action attempt: only attempts write reports');
    }
    if (source.case === 'taskId') return bundleOf(await deployedSpec(taskPath(source.value)), source.value.name);
    const path = actionPath(source.value.actionId, 'action_attempt_id.action_id');
    const action = await actions.get(path);
    switch (artifactType) {
      case ArtifactType.REPORT: {
        const { attempt, outputUri } = attemptOf(action, source.value.attempt, path);
        if (outputUri === undefined) throw notFound('report', `of ${nameOfAction(path)}, attempt ${attempt}`);
        return reportUri(outputUri);
      }
      case ArtifactType.CODE_BUNDLE: {
        return bundleOf(action.spec.case === 'task' ? action.spec.value : undefined, nameOfAction(path));
      }
      default:
        throw invalidArgument('artifact_type', artifactType, 'must be REPORT or CODE_BUNDLE');
    }
  }

  function bundleOf(spec: TaskSpec | undefined, owner: string): string {
    const uri = codeBundleUri(spec?.taskTemplate);
    if (uri === undefined) throw notFound('code bundle', `of ${owner}`);
    return uri;
  }

  return implement(DataProxyService, {
    async createUploadLocation(request, context) {
      const uri = uploadUri(places.uploads, request);
      const expiresInMs = expiryMs(request.expiresIn);
      await directory.requireProject(request.project);
      if (request.filename !== '' && request.filenameRoot !== '') await refuseOther(store, uri, request.contentMd5);
      const publicUrl = storeUrlFor(context);
      const signed = await store.signUpload(uri, {
        expiresInMs,
        addMd5Metadata: request.addContentMd5Metadata,
        ...(request.contentMd5.length > 0 && { contentMd5: request.contentMd5 }),
        ...(request.contentLength > 0n && { contentLength: Number(request.contentLength) }),
        ...(publicUrl !== undefined && { publicUrl }),
      });
      return {
        signedUrl: signed.url,
        nativeUrl: uri,
        headers: signed.headers,
        expiresAt: timestampFromDate(signed.expiresAt),
      };
    },

    /** The hash is that of a child with these inputs, so that a root and a child share results (sdk-2.12.md §1 on 3.3). */
    async uploadInputs(request) {
      const place = ownerOf(request.id);
      await directory.requireProject(place.project);
      const spec = await specOf(request.task);
      const base = request.baseDir || places.uploads;
      const { folder } = await storeInputs(store, { base, ...place }, request.inputs).catch(error => {
        if (error instanceof InvalidObjectUri) throw invalidArgument('base_dir', request.baseDir, error.message);
        throw error;
      });
      const ignored = spec.taskTemplate?.metadata?.cacheIgnoreInputVars ?? [];
      return { offloadedInputData: { uri: folder, inputsHash: inputsHash(request.inputs, ignored) } };
    },

    async createDownloadLink(request, context) {
      const expiresInMs = expiryMs(request.expiresIn);
      const uri = await linked(request);
      if ((await headOf(store, uri)) === undefined) throw notFound('object', uri);
      const publicUrl = storeUrlFor(context);
      const signed = await store.signDownload(uri, { expiresInMs, ...(publicUrl !== undefined && { publicUrl }) });
      return { preSignedUrls: { signedUrl: [signed.url], expiresAt: timestampFromDate(signed.expiresAt) } };
    },

    getActionData: async request => readActionData(store, await actions.get(actionPath(request.actionId))),

    async *tailLogs(request, context) {
      const path = actionPath(request.actionId);
      for await (const lines of tailLog(deps, path, request.attempt, context.signal)) {
        yield lines.length === 0 ? {} : { logs: [{ lines: lines.map(logLine) }] };
      }
    },
  });
}

/** A client prints what it gets as it is, so each line carries its newline (sdk.md §3.5). */
export function logLine({ at, text }: TailedLine) {
  return {
    message: `${text}\n`,
    originator: LogLineOriginator.USER,
    ...(at !== null && { timestamp: timestampFromDate(at) }),
  };
}

function ownerOf(id: UploadInputsRequest['id']): ProjectDomain {
  switch (id.case) {
    case 'runId': {
      const { project, domain } = runPath(id.value);
      return { project, domain };
    }
    case 'projectId':
      return projectDomain(id.value);
    default:
      throw invalidArgument('id', undefined, 'must be a run_id or a project_id');
  }
}

/**
 * A file of a directory that is uploaded again must be the same (services.md §12.1).
 * @throws StarlingError already_exists
 */
async function refuseOther(store: ObjectStore, uri: string, md5: Uint8Array): Promise<void> {
  const info = await store.head(uri);
  if (info === undefined) return;
  const kept = info.metadata[MD5_METADATA];
  const given = Buffer.from(md5);
  const same = kept === undefined ? info.etag === given.toString('hex') : kept === given.toString('base64');
  if (md5.length === 0 || !same) throw alreadyExists('object', uri);
}

async function headOf(store: ObjectStore, uri: string): Promise<ObjectInfo | undefined> {
  try {
    return await store.head(uri);
  } catch (error) {
    if (error instanceof InvalidObjectUri) return undefined;
    throw error;
  }
}
