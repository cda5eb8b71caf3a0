import { expect } from 'chai';
import { type ActionView, isFinal, renderChange, renderTree } from '../../deploy/demo/tree.ts';
import { Terminal } from '../../deploy/terminal.ts';
import { nextSteps, readyBanner, type ServerFacts } from '../../deploy/words.ts';
import { ActionPhase } from '../../proto/gen/flyteidl2/common/phase_pb.js';

const action = (name: string, more: Partial<ActionView> = {}): ActionView => ({
  name,
  parent: 'a0',
  label: name,
  group: '',
  phase: ActionPhase.SUCCEEDED,
  startedAtMs: 1000,
  endedAtMs: 2500,
  attempts: 1,
  ...more,
});

describe('tree of a run', () => {
  const root = action('a0', { parent: '', label: 'main', phase: ActionPhase.RUNNING, endedAtMs: undefined });

  it('shows children under their callers in the order they began, with phase and time', () => {
    const lines = renderTree(
      [
        root,
        action('c', { startedAtMs: 3000, endedAtMs: 3100, phase: ActionPhase.FAILED, attempts: 2 }),
        action('b', { group: 'samplers' }),
        action('d', { parent: 'b', phase: ActionPhase.QUEUED, startedAtMs: undefined, endedAtMs: undefined }),
      ],
      5000,
      false,
    );
    expect(lines.map(line => line.trimEnd().replace(/ {2,}/g, '  '))).to.deep.equal([
      '  main  ● running  4.0 s',
      '  ├─ b [samplers]  ✔ succeeded  1.5 s',
      '  │  └─ d  · queued',
      '  └─ c  ✘ failed  0.1 s (attempt 2)',
    ]);
  });

  it('colours the phase only when asked to', () => {
    expect(renderTree([root], 0, false).join()).to.not.include('\u001b');
    expect(renderTree([root], 0, true).join()).to.include('\u001b[36m● running\u001b[0m');
  });

  it('knows which phases never change', () => {
    const open = ['UNSPECIFIED', 'QUEUED', 'WAITING_FOR_RESOURCES', 'INITIALIZING', 'RUNNING', 'PAUSED'];
    for (const [name, phase] of Object.entries(ActionPhase)) {
      if (typeof phase === 'number') expect(isFinal(phase), name).to.equal(!open.includes(name));
    }
  });

  it('tells one change in one line', () => {
    expect(renderChange(action('b'), 12_340)).to.match(/^ {2}12\.3 s {2}b +succeeded$/);
  });
});

describe('terminal', () => {
  const screen = (isTTY: boolean) => {
    const written: string[] = [];
    return { written, terminal: new Terminal({ write: text => written.push(text), isTTY, columns: 10, rows: 4 }) };
  };

  it('redraws in place, keeps lines above the drawing, and never lets a line wrap', () => {
    const { terminal, written } = screen(true);
    terminal.draw(['one', 'a long long line']);
    terminal.print('stays');
    terminal.draw([]);
    expect(written.join('')).to.equal(
      'one\na long l…\n' + '\u001b[2A\u001b[J' + 'stays\n' + 'one\na long l…\n' + '\u001b[2A\u001b[J',
    );
  });

  it('draws nothing where nothing can be redrawn, and prints progress as lines', () => {
    const { terminal, written } = screen(false);
    terminal.draw(['one']);
    const done = terminal.progress('Making');
    done();
    expect(written).to.deep.equal(['Making …\n', 'Making: 0 s\n']);
  });
});

describe('words of a ready server', () => {
  const facts: ServerFacts = {
    version: '0.1.0',
    endpoint: 'localhost:9000',
    publicUrl: 'http://localhost:9000',
    dataDir: '/data',
    database: 'PostgreSQL (embedded)',
    queue: 'Redis',
    roles: ['gateway', 'actors', 'workers'],
    python: {
      python: '/v/bin/python',
      binDir: '/v/bin',
      flyteVersion: '2.12.1',
      pythonVersion: '3.12.1',
      origin: 'own',
    },
    startMs: 2345,
    project: 'flytesnacks',
    domain: 'development',
  };

  it('say where it listens and on what it stands', () => {
    const banner = readyBanner(facts);
    expect(banner).to.include('Starling 0.1.0 is ready at http://localhost:9000 (2.3 s)');
    expect(banner).to.include('3.12.1 with flyte 2.12.1 (own environment, /v/bin)').and.not.include('roles');
    expect(readyBanner({ ...facts, roles: ['gateway'], python: undefined }))
      .to.include('roles     gateway')
      .and.not.include('flyte');
  });

  it('give commands that work as they stand', () => {
    expect(nextSteps(facts)).to.include(
      'flyte create config --endpoint localhost:9000 --insecure --project flytesnacks --domain development --builder remote',
    );
    expect(nextSteps({ ...facts, publicUrl: 'https://flyte.example.org' })).to.not.include('--insecure');
  });
});
