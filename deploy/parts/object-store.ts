/** The object store of a node and how its pods and clients reach it. */
import path from 'node:path';
import type { Logger } from 'pino';
import type { StoreAccess } from '../../actors/executor/pod-input.ts';
import type { StoragePlaces } from '../../gateway/storage-places.ts';
import { DirectoryStore } from '../../storage/directory.ts';
import { s3Endpoint } from '../../storage/endpoint/endpoint.ts';
import type { ObjectStore } from '../../storage/object-store.ts';
import { S3Store } from '../../storage/s3.ts';
import type { Config } from '../config.ts';
import { dataDirKeys } from '../keys.ts';
import type { HttpHandler } from './http.ts';

/** Where the embedded endpoint is on the one port. */
export const S3_PATH = '/s3';

export interface NodeStore {
  readonly store: ObjectStore;
  readonly places: StoragePlaces;
  /** For pods. */
  readonly access: StoreAccess;
  /** The embedded endpoint; undefined when the store is a service of its own. */
  readonly endpoint: HttpHandler | undefined;
}

/**
 * Opens the object store.
 * @param local base URL of this node's port as its own pods reach it
 * @param publicUrl base URL as clients reach it
 */
export async function openNodeStore(config: Config, local: string, publicUrl: string, log: Logger): Promise<NodeStore> {
  const { kind, bucket, prefix, endpoint, region, accessKeyId, secretAccessKey } = config.storage;
  const places: StoragePlaces = {
    uploads: `s3://${bucket}/uploads`,
    runs: `s3://${bucket}/${prefix}`,
    rawData: `s3://${bucket}/raw-data`,
  };
  if (kind === 's3') {
    const credentials = accessKeyId && secretAccessKey ? { accessKeyId, secretAccessKey } : undefined;
    const client = { region, ...(endpoint && { endpoint }), ...(credentials && { credentials }) };
    const access = { region, ...(endpoint && { endpoint }), ...credentials };
    return { store: new S3Store({ client }), places, access, endpoint: undefined };
  }
  const { accessKeyId: id, secretAccessKey: secret } = dataDirKeys(config.dataDir);
  const credentials = { accessKeyId: id, secretAccessKey: secret };
  const store = await DirectoryStore.open({
    root: path.join(config.dataDir, 'objects'),
    credentials,
    publicUrl: `${publicUrl}${S3_PATH}`,
    maxObjectBytes: config.limits.maxUploadBytes,
  });
  return {
    store,
    places,
    access: { endpoint: `${local}${S3_PATH}`, region, ...credentials },
    endpoint: s3Endpoint({ store, credentials, pathPrefix: S3_PATH, logger: log }),
  };
}
