import { expect } from 'chai';
import type { LogLine } from '../../../../../actors/executor/runtime/pod-runtime.ts';
import { longestLineBytes } from '../../../../../actors/executor/runtime/process/log-file.ts';
import { aPod, PodBench, shell, until } from './pod-bench.ts';

describe('log of a container', () => {
  let bench: PodBench;
  beforeEach(async () => {
    bench = await PodBench.open();
  });
  afterEach(() => bench.close());

  it('delivers 1,000 lines complete and in order to a follower, which ends with the container', async () => {
    const script = 'i=0; while [ $i -lt 1000 ]; do i=$((i+1)); echo "line $i"; done';
    await bench.runtime.create(aPod('a', [shell(script)]));
    const lines = await bench.lines('a', 'main', true);
    expect(lines).to.deep.equal(Array.from({ length: 1000 }, (_, index) => `line ${index + 1}`));
    expect((await bench.state('a')).terminated).to.not.equal(undefined);
  });

  it('keeps stdout and stderr in the order they were written', async () => {
    await bench.run(aPod('a', [shell('echo 1; echo 2 >&2; echo 3; echo 4 >&2')]));
    expect(await bench.lines('a')).to.deep.equal(['1', '2', '3', '4']);
  });

  it('shows lines while the container runs, and a last line without newline when it has ended', async () => {
    const gate = `${bench.dir}/../gate`;
    await bench.runtime.create(
      aPod('a', [shell(`echo early; while ! [ -e ${gate} ]; do sleep 0.02; done; printf late`)]),
    );
    const seen: string[] = [];
    const reading = (async () => {
      for await (const { text } of bench.runtime.logs('a', 'main', { follow: true })) seen.push(text);
    })();
    await until('the first line is seen', () => seen.length === 1);
    await bench.runtime.create(aPod('opener', [shell(`touch ${gate}`)]));
    await reading;
    expect(seen).to.deep.equal(['early', 'late']);
  });

  it('goes on from the byte behind a line', async () => {
    await bench.run(aPod('a', [shell('echo één; echo two; printf three')]));
    const all: LogLine[] = [];
    for await (const line of bench.runtime.logs('a', 'main', { follow: false })) all.push(line);
    expect(all.map(({ nextByte }) => nextByte)).to.deep.equal([6, 10, 15]);
    const rest: string[] = [];
    for await (const { text } of bench.runtime.logs('a', 'main', { follow: false, fromByte: 6 })) rest.push(text);
    expect(rest).to.deep.equal(['two', 'three']);
  });

  it('gives each line about the time it was written, also after the fact', async () => {
    await bench.run(aPod('a', [shell('echo one; sleep 1; echo two')]));
    const times: number[] = [];
    for await (const { timestamp } of bench.runtime.logs('a', 'main', { follow: false }))
      times.push(timestamp.getTime());
    expect(times[1]! - times[0]!).to.be.within(700, 1400);
  });

  it('ends without an error when the reader aborts', async () => {
    await bench.runtime.create(aPod('a', [shell('echo up; exec sleep 30')]));
    const abort = new AbortController();
    const seen: string[] = [];
    for await (const { text } of bench.runtime.logs('a', 'main', { follow: true, signal: abort.signal })) {
      seen.push(text);
      setTimeout(() => abort.abort(), 20);
    }
    expect(seen).to.deep.equal(['up']);
  });

  it('waits for a container that has not started, and ends when the pod is deleted before', async () => {
    await bench.close();
    bench = await PodBench.open({ slots: 1 });
    await bench.runtime.create(aPod('busy', [shell('exec sleep 30')]));
    await bench.runtime.create(aPod('a', [shell('echo never')]));
    const reading = bench.lines('a', 'main', true);
    await bench.runtime.delete('a', { gracePeriodSeconds: 0 });
    expect(await reading).to.deep.equal([]);
  });

  it('cuts a line of several megabytes into pieces, at characters, and loses nothing', async () => {
    const program = `import sys
sys.stdout.write('é' * 1_500_001 + '\\n' + 'end\\n')`;
    await bench.run(aPod('a', [{ name: 'main', command: ['python3', '-c', program], env: utf8 }]));
    const lines = await bench.lines('a');
    expect(lines.at(-1)).to.equal('end');
    expect(lines.slice(0, -1).join('')).to.equal('é'.repeat(1_500_001));
    expect(Math.max(...lines.map(line => Buffer.byteLength(line)))).to.be.at.most(longestLineBytes);
  });

  it('survives binary garbage and counts its bytes', async () => {
    const program = `import sys
sys.stdout.buffer.write(bytes(range(256)) * 1000 + b'\\nend\\n')`;
    await bench.run(aPod('a', [{ name: 'main', command: ['python3', '-c', program] }]));
    const lines: LogLine[] = [];
    for await (const line of bench.runtime.logs('a', 'main', { follow: false })) lines.push(line);
    expect(lines.at(-1)).to.include({ text: 'end', nextByte: 256_005 });
    expect(lines).to.have.length(1002);
  });

  it('reads tens of megabytes at disk speed while they are written', async () => {
    const program = `import sys
line = 'x' * 99 + '\\n'
for _ in range(30): sys.stdout.write(line * 10_000)`;
    await bench.runtime.create(aPod('a', [{ name: 'main', command: ['python3', '-c', program] }]));
    let count = 0;
    const before = process.cpuUsage();
    for await (const { text } of bench.runtime.logs('a', 'main', { follow: true })) {
      if (text.length === 99) count += 1;
    }
    const { user, system } = process.cpuUsage(before);
    expect(count).to.equal(300_000);
    expect((user + system) / 1e6).to.be.lessThan(3);
  });

  const utf8 = [{ name: 'PYTHONIOENCODING', value: 'utf-8' }];
});
