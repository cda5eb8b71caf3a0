import { expect } from 'chai';
import { isDefaultImage } from '../../../actors/executor/images.ts';
import { checkTask, type RuntimeAbilities } from '../../../actors/executor/task-plugin.ts';
import { TaskRefused } from '../../../actors/executor/task-refusal.ts';
import { a0Args, aTask } from './support/tasks.ts';

const laptop: RuntimeAbilities = { images: 'default-only', appleSilicon: false, podTemplates: false };

const refusal = (task: ReturnType<typeof aTask>, abilities = laptop): TaskRefused | undefined => {
  try {
    checkTask(task, abilities);
    return undefined;
  } catch (error) {
    if (error instanceof TaskRefused) return error;
    throw error;
  }
};
const container = (image: string, args: readonly string[] = a0Args) =>
  aTask({ target: { case: 'container', value: { image, args: [...args] } } });

describe('task types', () => {
  it('that are a pod run, whatever their case', () => {
    for (const type of ['python', 'python-task', 'container', 'raw-container', 'sidecar', 'pod', 'actor', 'Python']) {
      expect(refusal(aTask({ type })), type).to.equal(undefined);
    }
  });

  it('that are unknown are refused with their name and what is supported', () => {
    const { failure } = refusal(aTask({ type: 'snowflake' }))!;
    expect(failure).to.include({ code: 'PluginNotFound', kind: 'USER', recoverable: false });
    expect(failure.message).to.match(/'snowflake'.*python.*raw-container.*core-sleep/);
  });

  it('that need several pods are refused as such, also by the program they start', () => {
    expect(refusal(aTask({ type: 'spark' }))!.message).to.match(/'spark' need several pods/);
    expect(refusal(container('auto', ['clustered', '--runtime=jax']))!.code).to.equal('PluginNotFound');
  });
});

describe('images on a runtime with one Python environment', () => {
  it('are the default one in all its spellings', () => {
    for (const image of ['', 'auto', 'ghcr.io/flyteorg/flyte:py3.12-v2.12.1', 'ghcr.io/flyteorg/flyte']) {
      expect(isDefaultImage(image), image).to.equal(true);
    }
    for (const image of ['ghcr.io/flyteorg/flyte-extra:1', 'ghcr.io/other/flyte:1', 'python:3.12']) {
      expect(isDefaultImage(image), image).to.equal(false);
    }
  });

  it('with layers of their own are refused, with what is missing and what to do', () => {
    const { failure } = refusal(container('localhost:30000/my-image:abc'))!;
    expect(failure).to.include({ code: 'ImageNotAvailable', kind: 'USER', recoverable: false });
    expect(failure.message).to.match(/localhost:30000\/my-image:abc/);
    expect(failure.message).to.match(/executor\.images/);
  });

  it('are of no matter when the user said so, on a runtime that pulls, and for commands that are not Python', () => {
    expect(refusal(container('x/y:1'), { ...laptop, images: 'ignore' })).to.equal(undefined);
    expect(refusal(container('x/y:1'), { ...laptop, images: 'pull' })).to.equal(undefined);
    expect(refusal(container('busybox:1', ['/bin/sh', '-c', 'true']))).to.equal(undefined);
  });

  it('are found behind a path to the program', () => {
    expect(refusal(container('x/y:1', ['/opt/venv/bin/a0', '--inputs', 'x']))!.code).to.equal('ImageNotAvailable');
  });
});

describe('what only some machines have', () => {
  it('AppleSilicon is refused elsewhere by device and by class number', () => {
    for (const gpuAccelerator of [{ device: 'AppleSilicon' }, { deviceClass: 5 as never }]) {
      const task = aTask({ extendedResources: { gpuAccelerator } });
      expect(refusal(task)!.failure).to.include({ code: 'APPLE_SILICON_NOT_AVAILABLE', recoverable: false });
      expect(refusal(task, { ...laptop, appleSilicon: true })).to.equal(undefined);
    }
  });

  it('a named pod template is refused where there are none', () => {
    const task = aTask({ metadata: { podTemplateName: 'big' } });
    expect(refusal(task)!.message).to.match(/'big'/);
    expect(refusal(task, { ...laptop, podTemplates: true })).to.equal(undefined);
  });
});
