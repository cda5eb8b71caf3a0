import { expect } from 'chai';
import { HELP, parseCommandLine } from '../../copilot/command-line.ts';

const download = ['download', '-f', 's3://b/i.pb', '--to-output-prefix', 's3://b/out/', '-o', '/in/'];

describe('co-pilot command line', () => {
  it('knows the defaults of a download', () => {
    expect(parseCommandLine(download)).to.deep.equal({
      name: 'download',
      errorUri: 's3://b/out/error.pb',
      timeoutMs: 3_600_000,
      awaitFile: null,
      request: { inputsUri: 's3://b/i.pb', directory: '/in', format: 'JSON', layout: 'DIRECT', mode: 'DOWNLOAD_EAGER' },
    });
  });

  it('names the flag, its value and what it takes', () => {
    const refuse =
      (...more: string[]) =>
      () =>
        parseCommandLine([...download, ...more]);
    expect(refuse('-m', 'XML')).to.throw('--format is "XML"; it takes JSON, YAML, PROTO');
    expect(refuse('--file-input-layout', 'FLAT')).to.throw('it takes DIRECT, NAMED_DIR');
    expect(refuse('-t', 'soon')).to.throw('--timeout is "soon"; give a duration like 90s or 1h, or 0 for none');
    expect(refuse('-t=-1s')).to.throw('--timeout');
    expect(refuse('--unknown')).to.throw("Unknown option '--unknown'");
    expect(refuse('-o', 'relative')).to.throw('--to-local-dir is "relative"; give an absolute path');
    expect(() => parseCommandLine(['download'])).to.throw('--to-output-prefix is missing');
    expect(() => parseCommandLine([])).to.throw('no sub-command; use download, upload or await');
    expect(() => parseCommandLine(['sidecar'])).to.throw('"sidecar"; use download, upload or await');
  });

  it('takes a timeout of 0 for none', () => {
    expect(parseCommandLine([...download, '-t', '0'])).to.include({ timeoutMs: 0 });
  });

  it('helps before it complains', () => {
    for (const args of [['--help'], ['help'], ['upload', '-h'], ['nonsense', '--help']]) {
      expect(parseCommandLine(args), args.join(' ')).to.deep.equal({ name: 'help' });
    }
    for (const flag of ['--from-remote', '--ready-file', '--await-file', '--wait-for', '--file '])
      expect(HELP).to.include(flag);
  });
});
