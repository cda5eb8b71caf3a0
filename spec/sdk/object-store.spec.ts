/** Needs a Python with obstore (part of `pip install flyte`): the path of it in STARLING_SDK_PYTHON, `python3` otherwise. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { credentials, openEmbedded } from '../storage/embedded.ts';

const script = fileURLToPath(new URL('./object_store_check.py', import.meta.url));

describe('the embedded S3 endpoint and obstore', () => {
  it('does all that the store client of the SDK asks for', async () => {
    const embedded = await openEmbedded();
    try {
      const python = process.env.STARLING_SDK_PYTHON ?? 'python3';
      const { accessKeyId, secretAccessKey } = credentials;
      const { stdout } = await promisify(execFile)(python, [script, embedded.url, accessKeyId, secretAccessKey]);
      expect(stdout).to.equal('ok\n');
    } finally {
      await embedded.close();
    }
  }).timeout(120_000);
});
