import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createClient } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { expect } from 'chai';
import { Phase } from '../../actors/action/phase.ts';
import { dataDirKeys } from '../../deploy/keys.ts';
import { DataProxyService } from '../../proto/gen/flyteidl2/dataproxy/dataproxy_service_pb.js';
import { RunService } from '../../proto/gen/flyteidl2/workflow/run_service_pb.js';
import { S3Store } from '../../storage/s3.ts';
import { createRun, ended, errorOf, freshName, refusal, uploadInputs } from '../acceptance/run.ts';
import { domain, project, shellTask, textInputs } from '../acceptance/tasks.ts';
import { type Server, startServer } from '../support/server.ts';

/** The disk of the objects is a file system of 8 MiB. Mounting it takes root, so this suite fails for anybody else. */
describe('when the disk of the objects is full', function () {
  this.timeout(120_000);
  let home: string;
  let objects: string;
  let server: Server;
  let starling: Parameters<typeof createRun>[0];
  before(async () => {
    home = mkdtempSync(path.join(tmpdir(), 'starling-full-'));
    objects = path.join(home, 'data', 'objects');
    mkdirSync(objects, { recursive: true });
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'starling-full', objects]);
    server = await startServer({ dataDir: path.join(home, 'data') });
    const baseUrl = `http://127.0.0.1:${server.port}`;
    const transport = createConnectTransport({ baseUrl, httpVersion: '1.1' });
    const { accessKeyId, secretAccessKey } = dataDirKeys(server.dataDir);
    starling = {
      runs: createClient(RunService, transport),
      data: createClient(DataProxyService, transport),
      store: new S3Store({
        client: { endpoint: `${baseUrl}/s3`, region: 'us-east-1', credentials: { accessKeyId, secretAccessKey } },
      }),
    } as typeof starling;
  });
  after(async () => {
    await server?.stop();
    execFileSync('umount', [objects]);
    rmSync(home, { recursive: true });
  });

  const filler = 's3://flyte-data/filler';
  /** Fills the disk to the last page. */
  async function fill(): Promise<void> {
    for (let size = 4 << 20, index = 0; size >= 4096; index++) {
      await starling.store.put(`${filler}/${index}`, Buffer.alloc(size)).catch(() => (size >>= 1));
    }
  }
  async function free(): Promise<void> {
    for await (const entry of starling.store.list(filler)) await starling.store.delete(entry.uri);
  }
  const outputTask = shellTask('head -c 200000 /dev/zero | tr "\\0" x > /var/outputs/much', { outputs: ['much'] });

  it('a task that cannot write its outputs fails with that reason; nothing else stops', async () => {
    const run = await createRun(
      starling,
      shellTask('sleep 1; head -c 200000 /dev/zero | tr "\\0" x > /var/outputs/much', { outputs: ['much'] }),
    );
    await fill();
    const details = await ended(starling, run);
    expect(details.status!.phase).to.equal(Phase.failed);
    expect(errorOf(details).message).to.match(/full|space/i);
    expect((await fetch(`http://${server.endpoint}/readyz`)).status).to.equal(200);
  });

  it('what needs room is refused with that reason, and is not our fault nor a reason to try again and again', async () => {
    const large = textInputs({ text: freshName().repeat(4_000) });
    const upload = await refusal(uploadInputs(starling, large));
    expect(upload.code).to.equal('ResourceExhausted');
    expect(upload.message).to.match(/full|space/i);
    const create = await refusal(
      starling.runs.createRun({
        id: { case: 'projectId', value: { name: project, domain } },
        task: { case: 'taskSpec', value: outputTask },
        inputWrapper: { case: 'inputs', value: large },
      }),
    );
    expect(create.code).to.equal('ResourceExhausted');
    const location = await starling.data.createUploadLocation({
      ...{ project, domain, filename: 'x.bin', filenameRoot: freshName(), expiresIn: { seconds: 60n } },
    });
    const put = await fetch(location.signedUrl, {
      method: 'PUT',
      headers: location.headers,
      body: 'x'.repeat(200_000),
    });
    expect(put.status).to.equal(507);
    expect(await put.text()).to.match(/full|space/i);
  });

  it('when there is room again all goes on', async () => {
    await free();
    const details = await ended(starling, await createRun(starling, outputTask));
    expect(details.status!.phase).to.equal(Phase.succeeded);
  });
});
