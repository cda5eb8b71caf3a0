/** The S3 store against the embedded endpoint over a real port: each proves the other. */
import { S3Store } from '../../storage/s3.ts';
import { objectStoreConformance } from './conformance.ts';
import { credentials, openEmbedded } from './embedded.ts';

objectStoreConformance('the S3 store', async () => {
  const embedded = await openEmbedded();
  const store = new S3Store({ client: { endpoint: embedded.url, region: 'us-east-1', credentials, maxAttempts: 1 } });
  return {
    store,
    async close() {
      await store.close();
      await embedded.close();
    },
  };
});
