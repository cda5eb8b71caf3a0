import { EventEmitter } from 'node:events';
import { createServer } from 'node:net';
import { expect } from 'chai';
import pino from 'pino';
import { type Component, Node } from '../../deploy/node.ts';
import { PortError, reservePort } from '../../deploy/port.ts';
import { onStopRequest } from '../../deploy/signals.ts';

const log = pino({ level: 'silent' });

describe('node', () => {
  let story: string[];
  beforeEach(() => {
    story = [];
  });
  const part = (name: string, more: Partial<Component> = {}): Component => ({
    name,
    start: async () => void story.push(`+${name}`),
    stop: async () => void story.push(`-${name}`),
    ...more,
  });
  const failing = async () => {
    throw new Error('broken');
  };

  it('starts its parts in order and stops them in reverse, once', async () => {
    const node = new Node(log);
    for (const name of ['a', 'b', 'c']) await node.start(part(name));
    await Promise.all([node.stop(), node.stop()]);
    expect(story.join(' ')).to.equal('+a +b +c -c -b -a');
  });

  it('stops what has started when a part fails to start, and passes the error on', async () => {
    const node = new Node(log);
    await node.start(part('a'));
    const error = await node.start(part('b', { start: failing })).catch((reason: unknown) => reason);
    expect((error as Error).message).to.equal('broken');
    expect(story.join(' ')).to.equal('+a -a');
  });

  it('stops the rest although one part fails to stop', async () => {
    const node = new Node(log);
    await node.start(part('a'));
    await node.start(part('b', { stop: failing }));
    await node.stop();
    expect(story.join(' ')).to.equal('+a +b -a');
  });

  it('stops a part that is still starting, and starts no other', async () => {
    const node = new Node(log);
    const started = Promise.withResolvers<void>();
    const starting = node.start(part('a', { start: () => started.promise }));
    const stopping = node.stop();
    started.resolve();
    await Promise.all([starting, stopping]);
    expect(story).to.deep.equal(['-a']);
    const error = await node.start(part('b')).catch((reason: unknown) => reason);
    expect((error as Error).message).to.include('stopping');
  });
});

describe('stop requests', () => {
  const listen = () => {
    const source = new EventEmitter();
    const heard: string[] = [];
    const clock = { now: 0 };
    onStopRequest(
      source,
      () => clock.now,
      why => heard.push(why),
      () => heard.push('leave'),
    );
    return { source, heard, clock };
  };

  it('take the same Ctrl-C from terminal, npm and launcher as one, and a later one as impatience', () => {
    const { source, heard, clock } = listen();
    source.emit('SIGINT');
    clock.now = 20;
    source.emit('SIGINT');
    source.emit('SIGTERM');
    expect(heard).to.deep.equal(['SIGINT']);
    clock.now = 1500;
    source.emit('SIGINT');
    expect(heard).to.deep.equal(['SIGINT', 'leave']);
  });

  it('include the death of the launcher, which never hurries a stop under way', () => {
    const { source, heard } = listen();
    source.emit('disconnect');
    source.emit('disconnect');
    expect(heard).to.deep.equal(['the launcher is gone']);
  });
});

describe('port', () => {
  it('is picked when 0, and refused with the setting to change when it cannot be had', async () => {
    expect(await reservePort('127.0.0.1', 0)).to.be.above(1023);
    const other = createServer();
    await new Promise<void>(resolve => other.listen(0, '127.0.0.1', resolve));
    const { port } = other.address() as { port: number };
    const refusal = async (host: string, wanted: number) => {
      const error = await reservePort(host, wanted).catch((reason: unknown) => reason);
      expect(error).to.be.instanceOf(PortError);
      return (error as Error).message;
    };
    expect(await refusal('127.0.0.1', port))
      .to.include(`Port ${port}`)
      .and.include('--port or STARLING_GATEWAY_PORT');
    expect(await refusal('192.0.2.1', 0)).to.include('--host or STARLING_GATEWAY_HOST');
    await new Promise(resolve => other.close(resolve));
  });
});
