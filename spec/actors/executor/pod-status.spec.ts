import type { V1Pod } from '@kubernetes/client-node';
import { expect } from 'chai';
import { classify } from '../../../actors/executor/pod-status.ts';
import { aPod, containerStatus, exited, NOON, podIn, rawPodIn, runs, waits } from './support/pods.ts';

const MINUTE = 60_000;
const live = (pod: V1Pod, nowMs = NOON) => {
  const view = classify(pod, nowMs);
  if (view.is !== 'live') throw new Error(`ended: ${JSON.stringify(view.exit)}`);
  return view;
};
const exitOf = (pod: V1Pod, nowMs = NOON) => {
  const view = classify(pod, nowMs);
  if (view.is !== 'ended') throw new Error(`live: ${view.phase} ${view.reason}`);
  return view.exit;
};
const failureOf = (pod: V1Pod, nowMs = NOON) => exitOf(pod, nowMs).failure!;
const placed = { type: 'PodScheduled', status: 'True' };
const unready = { type: 'Ready', status: 'False', lastTransitionTime: new Date(NOON), reason: 'ContainersNotReady' };

describe('a pod that has not started', () => {
  it('waits for resources while it is unschedulable, for the reason the scheduler gives', () => {
    const pod = aPod({
      phase: 'Pending',
      conditions: [{ type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message: '4 tasks run, 2 wait' }],
    });
    expect(live(pod)).to.include({ phase: 'waiting-for-resources', reason: 'Unschedulable: 4 tasks run, 2 wait' });
  });

  it('is queued before anybody has looked at it', () => {
    expect(live(aPod({})).phase).to.equal('queued');
    expect(live(aPod({ phase: 'Pending' })).phase).to.equal('queued');
  });

  it('initializes while images are pulled, volumes made and init containers run', () => {
    for (const reason of ['ContainerCreating', 'PodInitializing', 'ErrImagePull']) {
      const pod = podIn('Pending', waits(reason), { conditions: [placed, unready] });
      const view = live(pod, NOON + 60 * MINUTE);
      expect(view.phase, reason).to.equal('initializing');
      expect(view.reason).to.include(reason);
      expect(view.giveUp).to.equal(undefined);
    }
    const init = aPod({
      phase: 'Pending',
      conditions: [placed, unready],
      initContainerStatuses: [containerStatus('side', runs), containerStatus('fetch', runs)],
      containerStatuses: [containerStatus('main', waits('PodInitializing'))],
    });
    expect(live(init)).to.include({ phase: 'initializing', reason: 'init container fetch runs' });
  });

  it('may hope for three minutes that its image comes, then the user is to blame', () => {
    const pod = podIn('Pending', waits('ImagePullBackOff', 'no such image'), { conditions: [placed, unready] });
    expect(live(pod, NOON + 3 * MINUTE - 1).giveUp!.atMs).to.equal(NOON + 3 * MINUTE);
    const failure = failureOf(pod, NOON + 3 * MINUTE);
    expect(failure).to.include({ code: 'ImagePullBackOff', kind: 'USER', recoverable: true });
    expect(failure.message).to.include('no such image').and.include('3 min');
  });

  it('does not blame the user for a registry that is asked too often', () => {
    const pod = podIn('Pending', waits('ImagePullBackOff', 'toomanyrequests: 429 Too Many Requests'), {
      conditions: [placed, unready],
    });
    expect(failureOf(pod, NOON + 3 * MINUTE).kind).to.equal('SYSTEM');
  });

  it('fails at once for what can never work', () => {
    for (const reason of ['InvalidImageName', 'CreateContainerConfigError', 'ErrImageNeverPull']) {
      const pod = podIn('Pending', waits(reason, 'secret "x" not found'), { conditions: [placed, unready] });
      expect(failureOf(pod), reason).to.include({ code: reason, kind: 'USER', recoverable: false });
    }
  });

  it('looks at init containers first, and at the first that is in trouble', () => {
    const pod = aPod({
      phase: 'Pending',
      conditions: [placed, unready],
      initContainerStatuses: [containerStatus('one', exited(0)), containerStatus('two', waits('InvalidImageName'))],
      containerStatuses: [containerStatus('main', waits('PodInitializing'))],
    });
    expect(failureOf(pod).message).to.include('container two');
  });

  it('gives unknown trouble a grace too, and does not blame the user', () => {
    const pod = podIn('Pending', waits('RegistryUnavailable'), { conditions: [placed, unready] });
    expect(live(pod, NOON + MINUTE).phase).to.equal('initializing');
    expect(failureOf(pod, NOON + 3 * MINUTE).kind).to.equal('SYSTEM');
  });

  it('understands times that came as text', () => {
    const pod = podIn('Pending', waits('ImagePullBackOff'), {
      conditions: [placed, { ...unready, lastTransitionTime: new Date(NOON).toISOString() as never }],
    });
    expect(live(pod, NOON).giveUp!.atMs).to.equal(NOON + 3 * MINUTE);
  });
});

describe('a pod that runs', () => {
  it('runs as long as its primary container does, and tells its times', () => {
    const view = live(podIn('Running', runs));
    expect(view.phase).to.equal('running');
    expect(view.facts).to.deep.equal({
      name: 'rabc123-a0-1-hash',
      namespace: 'flyte',
      primaryContainer: 'main',
      containers: [{ name: 'main', init: false, startedAtMs: NOON }],
    });
  });

  it('has ended when its primary container has, whatever its companions do', () => {
    const companion = (main: ReturnType<typeof exited>) =>
      aPod(
        { phase: 'Running', containerStatuses: [containerStatus('main', main), containerStatus('proxy', runs)] },
        { spec: { containers: [{ name: 'main' }, { name: 'proxy' }] } },
      );
    expect(exitOf(companion(exited(0))).failure).to.equal(null);
    expect(failureOf(companion(exited(3))).message).to.equal('container main exited with code 3');
  });

  it('goes on until its outputs are uploaded, but not after a failure', () => {
    const uploading = live(rawPodIn('Running', exited(0), runs));
    expect(uploading).to.include({ phase: 'running', reason: 'container flyte-copilot-uploader uploads the outputs' });
    expect(exitOf(rawPodIn('Running', exited(0), exited(0))).failure).to.equal(null);
    expect(failureOf(rawPodIn('Running', exited(4), runs)).message).to.include('code 4');
  });

  it('still starts when its primary container has no status yet, and fails when it has none at all', () => {
    expect(live(aPod({ phase: 'Running' })).phase).to.equal('running');
    const without = aPod({ phase: 'Running' }, { spec: { containers: [{ name: 'other' }] } });
    expect(failureOf(without)).to.include({ code: 'PrimaryContainerNotFound', recoverable: false });
  });

  it('is not given up because its node does not answer', () => {
    expect(live(aPod({ phase: 'Unknown' })).phase).to.equal('running');
  });
});

describe('a pod that has ended', () => {
  it('well, has no failure; its files decide', () => {
    expect(exitOf(podIn('Succeeded', exited(0)))).to.deep.equal({ failure: null, detail: '', decisive: false });
  });

  it('out of memory, says so with a code that holds OOM, also when a companion succeeded anyway', () => {
    for (const phase of ['Failed', 'Succeeded']) {
      const failure = failureOf(podIn(phase, exited(137, 'OOMKilled')));
      expect(failure).to.include({ code: 'OOMKilled', kind: 'USER', recoverable: true });
    }
  });

  it('with an exit code, names container and code, and keeps its last words', () => {
    const exit = exitOf(podIn('Failed', exited(3, 'Error', 'Traceback …')));
    expect(exit.failure).to.deep.equal({
      code: 'Error',
      kind: 'USER',
      message: 'container main exited with code 3',
      recoverable: true,
    });
    expect(exit).to.include({ detail: 'Traceback …', decisive: false });
  });

  it('by a signal, names it; a SIGKILL alone costs the user a retry', () => {
    expect(failureOf(podIn('Failed', exited(139))).message).to.include('signal 11');
    for (const code of [137, 247]) {
      expect(failureOf(podIn('Failed', exited(code)))).to.include({ code: 'Interrupted', kind: 'USER' });
    }
  });

  it('because the platform wanted it, costs the user nothing', () => {
    const disrupted = { type: 'DisruptionTarget', status: 'True', reason: 'PreemptionByScheduler' };
    const pods = [
      aPod({ phase: 'Failed', reason: 'Evicted', message: 'The node was low on resource: memory.' }),
      aPod({ phase: 'Failed', reason: 'NodeShutdown' }),
      aPod({ phase: 'Failed', reason: 'Preempting' }),
      aPod({ phase: 'Failed', reason: 'OutOfcpu' }),
      podIn('Failed', exited(137), { conditions: [disrupted] }),
      podIn('Failed', exited(137, 'ContainerStatusUnknown', 'gone')),
      aPod({ phase: 'Failed' }, { metadata: { deletionTimestamp: new Date(NOON) } }),
    ];
    for (const pod of pods) {
      const { kind, code, recoverable } = failureOf(pod);
      expect({ kind, code, recoverable }).to.deep.equal({ kind: 'SYSTEM', code: 'Interrupted', recoverable: true });
    }
  });

  it('evicted for what it used beyond its own limit, does cost the user a retry', () => {
    for (const message of [
      'Pod ephemeral local storage usage exceeds the total limit of containers 1Gi.',
      'Container main exceeded its local ephemeral storage limit "1Gi".',
      'Usage of EmptyDir volume "scratch" exceeds the limit "1Gi".',
    ]) {
      expect(failureOf(aPod({ phase: 'Failed', reason: 'Evicted', message })).kind, message).to.equal('USER');
    }
  });

  it('for no known reason, is not the fault of the user', () => {
    expect(failureOf(aPod({ phase: 'Failed' }))).to.include({ code: 'UnknownError', kind: 'SYSTEM' });
  });

  it('in an init container, names that one; its files may say more', () => {
    const pod = aPod({
      phase: 'Failed',
      initContainerStatuses: [containerStatus('fetch', exited(1))],
      containerStatuses: [containerStatus('main', waits('PodInitializing'))],
    });
    expect(exitOf(pod)).to.include({ decisive: false });
    expect(failureOf(pod).message).to.equal('container fetch exited with code 1');
  });

  it('by a companion after its work was done, has done its work', () => {
    const pod = aPod({
      phase: 'Failed',
      containerStatuses: [containerStatus('main', exited(0)), containerStatus('proxy', exited(143))],
    });
    expect(exitOf(pod).failure).to.equal(null);
  });

  it("with the co-pilot around it, is judged by its main container's exit alone when that failed", () => {
    expect(exitOf(rawPodIn('Failed', exited(4), exited(1)))).to.include({ decisive: true });
    expect(exitOf(rawPodIn('Succeeded', exited(0), exited(1)))).to.include({ decisive: false });
  });

  it('because a command is not there, is not tried again; because it could not be started, is', () => {
    expect(failureOf(podIn('Failed', exited(127, 'ContainerCannotRun', 'no a0')))).to.include({
      kind: 'USER',
      recoverable: false,
      message: 'container main cannot run: no a0',
    });
    expect(failureOf(podIn('Failed', exited(128, 'StartError', 'no space left')))).to.include({
      kind: 'SYSTEM',
      recoverable: true,
    });
  });

  it('refused by the process runtime for its configuration, is not tried again', () => {
    const failure = failureOf(aPod({ phase: 'Failed', reason: 'CreateContainerConfigError', message: 'no secret x' }));
    expect(failure).to.include({ code: 'CreateContainerConfigError', kind: 'USER', recoverable: false });
  });

  it('at its own deadline, costs a retry', () => {
    expect(failureOf(aPod({ phase: 'Failed', reason: 'DeadlineExceeded' }))).to.include({ kind: 'USER' });
  });
});
