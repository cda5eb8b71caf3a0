import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { V1Pod } from '@kubernetes/client-node';
import { expect } from 'chai';
import {
  InvalidPodError,
  PodNotFoundError,
  PodStoreError,
} from '../../../../../actors/executor/runtime/pod-runtime.ts';
import { allAlive, aPod, isAlive, PodBench, shell, until } from './pod-bench.ts';

const failure = async (work: Promise<unknown>): Promise<Error> =>
  work.then(
    () => expect.fail('it did not fail'),
    error => error,
  );

describe('process pod runtime', () => {
  let bench: PodBench;
  beforeEach(async () => {
    bench = await PodBench.open({
      binDirs: ['/opt/starling-bin'],
      baseEnv: {
        PATH: process.env.PATH,
        HOME: '/home/me',
        LC_ALL: 'C',
        VIRTUAL_ENV: '/venv',
        UCTL_CONFIG: 'x',
        FLYTECTL_CONFIG: 'x',
        FLYTE_API_KEY: 'x',
        AWS_PROFILE: 'x',
        GOOGLE_CLOUD_PROJECT: 'x',
        AZURE_CLIENT_ID: 'x',
        _U_EP_OVERRIDE: 'x',
        _F_PN: 'x',
        MY_SHELL_VARIABLE: 'x',
      },
      resolveSecret: async (name, key) => (name === 'vault' && key === 'token' ? 's3cret' : undefined),
    });
  });
  afterEach(() => bench.close());

  describe('life of a pod', () => {
    it('goes from Pending over Running to Succeeded, with the status a kubelet gives', async () => {
      await bench.runtime.create(aPod('a', [shell('sleep 0.1')]));
      const pod = await bench.untilOver('a');
      const phases = bench.events.map(({ pod }) => pod.status!.phase);
      expect([...new Set(phases)]).to.deep.equal(['Pending', 'Running', 'Succeeded']);
      expect(bench.events[0]!.type).to.equal('added');
      const { terminated } = pod.status!.containerStatuses![0]!.state!;
      expect(terminated).to.include({ exitCode: 0, reason: 'Completed' });
      expect(terminated!.finishedAt!.getTime() - terminated!.startedAt!.getTime()).to.be.within(90, 2000);
      expect(pod.status!.startTime).to.be.instanceOf(Date);
      expect(pod.status!.conditions!.find(({ type }) => type === 'Ready')).to.include({
        status: 'False',
        reason: 'PodCompleted',
      });
      expect(pod.metadata!.uid).to.match(/^[-0-9a-f]{36}$/);
    });

    it('creates a pod of one name once, also when asked twice at the same moment', async () => {
      const pod = aPod('a', [shell('echo ran')]);
      const answers = await Promise.all([bench.runtime.create(pod), bench.runtime.create(pod)]);
      expect(answers.sort()).to.deep.equal(['created', 'exists']);
      await bench.untilOver('a');
      expect(await bench.runtime.create(pod)).to.equal('exists');
      expect(await bench.lines('a')).to.deep.equal(['ran']);
    });

    it('leaves the pod object it was given untouched', async () => {
      const pod = aPod('a', [shell('true')]);
      await bench.runtime.create(pod);
      expect(pod).to.deep.equal(aPod('a', [shell('true')]));
    });

    for (const [script, expected] of [
      ['exit 3', { exitCode: 3, reason: 'Error' }],
      ['kill -TERM $$$$', { exitCode: 143, reason: 'Error', signal: 15 }],
      ['kill -KILL $$$$', { exitCode: 137, reason: 'Error', signal: 9 }],
      ['kill -SEGV $$$$', { exitCode: 139, reason: 'Error', signal: 11 }],
      ['kill -KILL 0', { exitCode: 137, reason: 'Error', signal: 9 }],
    ] as const) {
      it(`reports how a container ended: ${script}`, async () => {
        const pod = await bench.run(aPod('a', [shell(script)]));
        expect(pod.status!.phase).to.equal('Failed');
        expect(pod.status!.containerStatuses![0]!.state!.terminated).to.include(expected);
      });
    }

    it('gives the end of the log as message when the policy asks for it', async () => {
      const container = shell('echo one; echo two >&2; exit 1', { terminationMessagePolicy: 'FallbackToLogsOnError' });
      await bench.run(aPod('a', [container]));
      expect((await bench.state('a')).terminated!.message).to.equal('one\ntwo');
    });

    it('names command and PATH when the command is not found', async () => {
      const pod = await bench.run(aPod('a', [{ name: 'main', args: ['no-such-program', '--flag'] }]));
      expect(pod.status!.phase).to.equal('Failed');
      const { terminated } = await bench.state('a');
      expect(terminated).to.include({ exitCode: 127, reason: 'ContainerCannotRun' });
      expect(terminated!.message).to.contain('"no-such-program"').and.to.contain('/opt/starling-bin:');
    });

    it('says so when the command is not executable', async () => {
      const file = path.join(bench.dir, '..', 'data.txt');
      await writeFile(file, 'x', { mode: 0o644 });
      await bench.run(aPod('a', [{ name: 'main', command: [file] }]));
      expect((await bench.state('a')).terminated!.message).to.contain('is not executable');
    });

    it('fails a pod whose deadline is over', async () => {
      const pod = await bench.run(aPod('a', [shell('sleep 30')], { activeDeadlineSeconds: 0.2 }));
      expect(pod.status).to.include({ phase: 'Failed', reason: 'DeadlineExceeded' });
    });

    it('ends what a container leaves behind in its process group', async () => {
      await bench.run(aPod('a', [shell('sleep 30 & echo $!')]));
      expect(await isAlive(Number((await bench.lines('a'))[0]))).to.equal(false);
    });
  });

  describe('init containers and sidecars', () => {
    it('runs init containers one after the other before the main containers', async () => {
      const script = (word: string) => `sleep 0.05; echo ${word} >> /shared/order`;
      const volumeMounts = [{ name: 'shared', mountPath: '/shared' }];
      const pod = await bench.run(
        aPod('a', [shell(`${script('main')}; cat /shared/order`, { volumeMounts })], {
          volumes: [{ name: 'shared', emptyDir: {} }],
          initContainers: [
            shell(script('first'), { name: 'first', volumeMounts }),
            shell(script('second'), { name: 'second', volumeMounts }),
          ],
        }),
      );
      expect(pod.status!.phase).to.equal('Succeeded');
      expect(await bench.lines('a')).to.deep.equal(['first', 'second', 'main']);
    });

    it('fails the pod when an init container fails, and starts nothing after it', async () => {
      const pod = await bench.run(
        aPod('a', [shell('echo never')], { initContainers: [shell('exit 4', { name: 'prepare' })] }),
      );
      expect(pod.status!.phase).to.equal('Failed');
      expect((await bench.state('a', 'prepare')).terminated!.exitCode).to.equal(4);
      expect((await bench.state('a')).waiting!.reason).to.equal('PodInitializing');
      expect(await bench.lines('a')).to.deep.equal([]);
    });

    it('starts a native sidecar first and ends it with SIGTERM when the work is done', async () => {
      const uploader = shell('trap "echo uploaded; exit 0" TERM; touch /out/ready; while :; do sleep 0.01; done', {
        name: 'uploader',
        restartPolicy: 'Always',
        volumeMounts: [{ name: 'out', mountPath: '/out' }],
      });
      const main = shell('while ! [ -e /out/ready ]; do sleep 0.01; done; echo done', {
        volumeMounts: [{ name: 'out', mountPath: '/out' }],
      });
      await bench.runtime.create(
        aPod('a', [main], { initContainers: [uploader], volumes: [{ name: 'out', emptyDir: {} }] }),
      );
      const pod = await bench.untilOver('a');
      expect(pod.status!.phase).to.equal('Succeeded');
      expect((await bench.state('a', 'uploader')).terminated!.exitCode).to.equal(0);
      expect(await bench.lines('a', 'uploader')).to.deep.equal(['uploaded']);
    });

    it('kills a sidecar that ignores SIGTERM after the grace period, and the phase is the work’s', async () => {
      const stubborn = shell('trap "" TERM; touch /out/ready; while :; do sleep 0.01; done', {
        name: 'stubborn',
        restartPolicy: 'Always',
        volumeMounts: [{ name: 'out', mountPath: '/out' }],
      });
      const main = shell('while ! [ -e /out/ready ]; do sleep 0.01; done', {
        volumeMounts: [{ name: 'out', mountPath: '/out' }],
      });
      const pod = await bench.run(
        aPod('a', [main], {
          initContainers: [stubborn],
          volumes: [{ name: 'out', emptyDir: {} }],
          terminationGracePeriodSeconds: 0.2,
        }),
      );
      expect(pod.status!.phase).to.equal('Succeeded');
      expect((await bench.state('a', 'stubborn')).terminated!.exitCode).to.equal(137);
    });

    it('waits for an ordinary sidecar container as for any other', async () => {
      await bench.runtime.create(aPod('a', [shell('exit 1'), shell('sleep 30', { name: 'side' })]));
      await until('main has ended', async () => (await bench.state('a')).terminated !== undefined);
      expect(await bench.phase('a')).to.equal('Running');
      await bench.runtime.delete('a', { gracePeriodSeconds: 1 });
      await bench.untilGone('a');
      expect(bench.events.at(-1)!.pod.status!.phase).to.equal('Failed');
    });
  });

  describe('environment and paths', () => {
    it('hands on only the allow-listed variables of the server, and the container’s own', async () => {
      await bench.run(aPod('a', [{ name: 'main', command: ['env'], env: [{ name: 'MINE', value: '1' }] }]));
      const names = (await bench.lines('a')).map(line => line.split('=')[0]!);
      // PWD, OLDPWD, SHLVL and _ are the shell's own doing.
      const expected = [
        'HOME',
        'LC_ALL',
        'MINE',
        'OLDPWD',
        'PATH',
        'PWD',
        'SHLVL',
        'STARLING_POD_UID',
        'VIRTUAL_ENV',
        '_',
      ];
      expect(names.filter(name => !expected.includes(name))).to.deep.equal([]);
      expect(names).to.include.members(['HOME', 'LC_ALL', 'MINE', 'PATH', 'STARLING_POD_UID', 'VIRTUAL_ENV']);
      expect((await bench.lines('a')).find(line => line.startsWith('PATH='))).to.match(/^PATH=\/opt\/starling-bin:/);
    });

    it('takes values from secrets and fields, and expands $(NAME) as Kubernetes does', async () => {
      await bench.run(
        aPod('a', [
          {
            name: 'main',
            command: ['printf', '%s\\n'],
            args: ['$(TOKEN)', '$(BOTH)', '$$(TOKEN)', '$(UNKNOWN)', '$(POD)'],
            env: [
              { name: 'TOKEN', valueFrom: { secretKeyRef: { name: 'vault', key: 'token' } } },
              { name: 'BOTH', value: 'x-$(TOKEN)' },
              { name: 'POD', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } },
            ],
          },
        ]),
      );
      expect(await bench.lines('a')).to.deep.equal(['s3cret', 'x-s3cret', '$(TOKEN)', '$(UNKNOWN)', 'a']);
    });

    it('fails a pod whose secret is not there, naming it, after telling CreateContainerConfigError', async () => {
      const env = [{ name: 'T', valueFrom: { secretKeyRef: { name: 'vault', key: 'nope' } } }];
      const pod = await bench.run(aPod('a', [shell('true', { env })]));
      expect(pod.status).to.include({ phase: 'Failed', reason: 'CreateContainerConfigError' });
      expect(pod.status!.message).to.contain('"nope" of secret "vault"');
      expect((await bench.state('a')).waiting!.reason).to.equal('CreateContainerConfigError');
      const told = bench.events.map(({ pod: { status } }) => ({
        phase: status!.phase,
        waiting: status!.containerStatuses?.[0]?.state?.waiting?.reason,
        ready: status!.conditions!.find(({ type }) => type === 'Ready')?.status,
      }));
      expect(told).to.deep.include({ phase: 'Pending', waiting: 'CreateContainerConfigError', ready: 'False' });
    });

    it('keeps a secret out of everything that is stored', async () => {
      const env = [{ name: 'T', valueFrom: { secretKeyRef: { name: 'vault', key: 'token' } } }];
      await bench.run(aPod('a', [shell('true', { env })]));
      for (const entry of await readdir(path.join(bench.dir, 'a'), { recursive: true, withFileTypes: true })) {
        if (!entry.isFile()) continue;
        expect(await readFile(path.join(entry.parentPath, entry.name), 'utf8')).to.not.contain('s3cret');
      }
    });

    it('maps mounted paths in command, args and env to directories of the pod, and shares them', async () => {
      const volumeMounts = [
        { name: 'in', mountPath: '/var/inputs' },
        { name: 'in', mountPath: '/var/inputs/deep', subPath: 'other' },
      ];
      const pod = await bench.run(
        aPod(
          'a',
          [
            shell('cat /var/inputs/x "$FILE"; echo /var/inputs2 s3:///var/inputs', {
              volumeMounts,
              env: [{ name: 'FILE', value: '/var/inputs/deep/y' }],
            }),
          ],
          {
            initContainers: [
              shell('echo x > /var/inputs/x; echo y > /var/inputs/deep/y', { name: 'download', volumeMounts }),
            ],
            volumes: [{ name: 'in', emptyDir: {} }],
          },
        ),
      );
      expect(pod.status!.phase).to.equal('Succeeded');
      expect(await bench.lines('a')).to.deep.equal(['x', 'y', '/var/inputs2 s3:///var/inputs']);
    });

    it('starts each container in a directory of its own inside the pod', async () => {
      await bench.run(aPod('a', [shell('pwd', { workingDir: '/root' }), shell('pwd', { name: 'other' })]));
      expect(await bench.lines('a')).to.deep.equal([path.join(bench.dir, 'a/work/main/root')]);
      expect(await bench.lines('a', 'other')).to.deep.equal([path.join(bench.dir, 'a/work/other')]);
    });

    it('refuses a volume that needs a cluster, naming it', async () => {
      const pod = await bench.run(
        aPod('a', [shell('true', { volumeMounts: [{ name: 'v', mountPath: '/v' }] })], {
          volumes: [{ name: 'v', persistentVolumeClaim: { claimName: 'c' } }],
        }),
      );
      expect(pod.status!.message).to.contain('volume "v" (persistentVolumeClaim)');
    });
  });

  describe('delete', () => {
    it('ends a pod and its grandchildren with SIGTERM, then forgets its files', async () => {
      await bench.runtime.create(aPod('a', [shell('sh -c "sleep 30 & echo \\$!; wait" & echo $!; wait')]));
      await until('both have told their pids', async () => (await bench.lines('a')).length === 2);
      const pids = (await bench.lines('a')).map(Number);
      await bench.runtime.delete('a', { gracePeriodSeconds: 10 });
      await bench.untilGone('a');
      expect(await allAlive(pids)).to.deep.equal([false, false]);
      const last = bench.events.at(-1)!;
      expect(last.type).to.equal('deleted');
      expect(last.pod.status!.containerStatuses![0]!.state!.terminated).to.include({ exitCode: 143, signal: 15 });
      expect(existsSync(path.join(bench.dir, 'a'))).to.equal(false);
    });

    it('kills what ignores SIGTERM after the grace period, grandchildren and daemons too', async () => {
      const script = `trap '' TERM
        (trap '' TERM; while :; do sleep 0.05; done) & echo $!
        setsid sh -c "trap '' TERM; echo \\$$\\$$; while :; do sleep 0.05; done" &
        while :; do sleep 0.05; done`;
      await bench.runtime.create(aPod('a', [shell(script)]));
      await until('both have told their pids', async () => (await bench.lines('a')).length === 2);
      const pids = (await bench.lines('a')).map(Number);
      await bench.runtime.delete('a', { gracePeriodSeconds: 0.3 });
      expect(await allAlive(pids)).to.deep.equal([true, true]);
      await bench.untilGone('a');
      expect(await allAlive(pids)).to.deep.equal([false, false]);
      expect(bench.events.at(-1)!.pod.status!.containerStatuses![0]!.state!.terminated!.exitCode).to.equal(137);
    });

    it('is idempotent, and a later call may only shorten the grace period', async () => {
      await bench.runtime.delete('unknown', { gracePeriodSeconds: 1 });
      await bench.runtime.create(aPod('a', [shell(`trap '' TERM; echo up; while :; do sleep 0.05; done`)]));
      await until('it is up', async () => (await bench.lines('a')).length === 1);
      await bench.runtime.delete('a', { gracePeriodSeconds: 0.2 });
      await bench.runtime.delete('a', { gracePeriodSeconds: 3600 });
      expect((await bench.runtime.get('a'))!.metadata!.deletionTimestamp).to.be.instanceOf(Date);
      expect(bench.events.at(-1)).to.have.nested.property('pod.metadata.deletionTimestamp');
      await bench.untilGone('a');
    });

    it('lets the name be used again once the pod is gone', async () => {
      await bench.run(aPod('a', [shell('echo one')]));
      await bench.runtime.delete('a', { gracePeriodSeconds: 0 });
      await bench.untilGone('a');
      await bench.run(aPod('a', [shell('echo two')]));
      expect(await bench.lines('a')).to.deep.equal(['two']);
    });
  });

  describe('memory', () => {
    it('ends a container over its limit as OOMKilled, counting all its processes', async () => {
      const script = `python3 -c "x = b'1' * 80_000_000; import time; time.sleep(30)" & wait`;
      const pod = await bench.run(aPod('a', [shell(script, { resources: { limits: { memory: '64Mi' } } })]));
      expect(pod.status!.phase).to.equal('Failed');
      const { terminated } = await bench.state('a');
      expect(terminated).to.include({ exitCode: 137, reason: 'OOMKilled' });
      expect(terminated!.message).to.contain('the limit is 64Mi');
    });

    it('does not count shared pages of forked workers twice', async () => {
      const program = `import os, time
x = b'1' * 60_000_000
for _ in range(4):
    if os.fork() == 0: time.sleep(1); os._exit(0)
time.sleep(1)`;
      const container = {
        name: 'main',
        command: ['python3', '-c', program],
        resources: { limits: { memory: '128Mi' } },
      };
      const pod = await bench.run(aPod('a', [container]));
      expect(pod.status!.phase).to.equal('Succeeded');
    });
  });

  describe('bad input and a bad disk', () => {
    for (const [what, pod, words] of [
      ['a name with a path in it', aPod('../a', [shell('true')]), /metadata\.name is "\.\.\/a".*use/],
      ['no container', aPod('a', []), /spec\.containers.*at least one/],
      ['two containers of one name', aPod('a', [shell('true'), shell('true')]), /"main": use each name once/],
      [
        'a mount without a volume',
        aPod('a', [shell('true', { volumeMounts: [{ name: 'v', mountPath: '/v' }] })]),
        /"v"/,
      ],
      ['a bad memory limit', aPod('a', [shell('true', { resources: { limits: { memory: 'much' } } })]), /"much"/],
    ] satisfies [string, V1Pod, RegExp][]) {
      it(`refuses ${what}, naming field, value and remedy`, async () => {
        const error = await failure(bench.runtime.create(pod));
        expect(error).to.be.instanceOf(InvalidPodError);
        expect(error.message).to.match(words);
      });
    }

    it('names path and remedy when the directory is gone, and works again when it is back', async () => {
      await rm(bench.dir, { recursive: true });
      const error = await failure(bench.runtime.create(aPod('a', [shell('true')])));
      expect(error).to.be.instanceOf(PodStoreError);
      expect(error.message).to.contain(bench.dir).and.to.contain('the directory is gone');
      await mkdir(bench.dir);
      expect((await bench.run(aPod('a', [shell('true')]))).status!.phase).to.equal('Succeeded');
    });

    it('says which containers there are when asked for the log of another', async () => {
      await bench.runtime.create(aPod('a', [shell('true')]));
      expect(await failure(bench.lines('a', 'nope'))).to.be.instanceOf(PodNotFoundError);
      expect((await failure(bench.lines('a', 'nope'))).message).to.contain('it has: main');
      expect(await failure(bench.lines('b'))).to.be.instanceOf(PodNotFoundError);
    });
  });
});
