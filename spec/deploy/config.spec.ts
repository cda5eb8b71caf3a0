import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { allSettings } from '../../deploy/config.ts';
import { ConfigError, loadConfig, readFlags, type Surroundings } from '../../deploy/config-load.ts';

const around = (env: Record<string, string> = {}): Surroundings => ({
  env,
  home: '/home/ada',
  cwd: '/work',
  isRoot: false,
  processors: 6,
  isTerminal: false,
});
const load = (args: string[] = [], env: Record<string, string> = {}) => loadConfig(readFlags(args), around(env));
const refusal = (act: () => unknown): ConfigError => {
  try {
    act();
  } catch (error) {
    expect(error).to.be.instanceOf(ConfigError);
    return error as ConfigError;
  }
  throw new Error('expected a ConfigError');
};

describe('configuration', () => {
  let dir: string;
  before(() => {
    dir = mkdtempSync(path.join(os.tmpdir(), 'starling-config-'));
  });
  after(() => rmSync(dir, { recursive: true }));
  const file = (text: string) => {
    const name = path.join(dir, 'starling.jsonc');
    writeFileSync(name, text);
    return name;
  };

  it('needs nothing: every setting has a default or may be absent', () => {
    const { config, warnings } = load();
    expect(config.gateway).to.deep.include({ host: '127.0.0.1', port: 8090 });
    expect(config.dataDir).to.equal('/home/ada/.starling');
    expect(config.executor.slots).to.equal(24);
    expect(config.projects).to.deep.equal(['flytesnacks']);
    expect(config.limits.maxRequestBytes).to.equal(64 * 1024 * 1024);
    expect(config.log.pretty).to.equal(false);
    expect(warnings).to.be.empty;
  });

  it('lets flags win over the environment, that over the file, that over defaults', () => {
    const args = ['--config', file('{ "gateway": { "port": 1, "host": "127.0.0.2" }, "drainSeconds": 3, }')];
    expect(load(args).config.gateway.port).to.equal(1);
    expect(load(args, { STARLING_GATEWAY_PORT: '2' }).config.gateway.port).to.equal(2);
    const { config } = load([...args, '--port', '3'], { STARLING_GATEWAY_PORT: '2' });
    expect(config.gateway).to.deep.include({ port: 3, host: '127.0.0.2' });
    expect(config.drainSeconds).to.equal(3);
  });

  it('reads every kind of value from text', () => {
    const { config } = load(['--roles', 'gateway,actors,workers', '--no-demo', '--data-dir', 'here'], {
      STARLING_LIMITS_MAX_REQUEST_BYTES: '1.5Gi',
      STARLING_LOG_PRETTY: 'yes',
      STARLING_DOMAINS: 'one, two',
      STARLING_DATABASE_URL: 'postgres://u:p@db/starling',
    });
    expect(config.limits.maxRequestBytes).to.equal(1.5 * 1024 ** 3);
    expect(config.log.pretty).to.equal(true);
    expect(config.domains).to.deep.equal(['one', 'two']);
    expect(config.demo).to.equal(false);
    expect(config.dataDir).to.equal('/work/here');
  });

  it('is frozen to its leaves', () => {
    const { config } = load();
    expect(() => (config.gateway as { port: number }).port++).to.throw(TypeError);
    expect(() => (config.projects as string[]).push('x')).to.throw(TypeError);
  });

  it('names the setting, its source, its value and the remedy when a value is bad', () => {
    const error = refusal(() => load(['--port', '70000']));
    expect(error.path).to.equal('gateway.port');
    expect(error.message).to.include('70000').and.include('flag --port').and.include('from 0 to 65535');
    expect(error.message).to.include('STARLING_GATEWAY_PORT');
    expect(refusal(() => load([], { STARLING_QUEUES_STORE: 'kafka' })).message)
      .to.include('"kafka"')
      .and.include('environment variable STARLING_QUEUES_STORE')
      .and.include('auto, redis, postgres');
    expect(refusal(() => load(['--config', file('{"gateway": 5}')])).message).to.include('gateway cannot be 5');
  });

  it('never shows a secret', () => {
    expect(refusal(() => load([], { STARLING_DATABASE_URL: 'mysql://u:hunter2@db' })).message).to.not.include(
      'hunter2',
    );
  });

  it('refuses unknown settings in the file and proposes the near one', () => {
    const error = refusal(() => load(['--config', file('{"gateway": {"prot": 9}}')]));
    expect(error.message).to.include('gateway.prot').and.include('Did you mean gateway.port?');
  });

  it('only warns of unknown STARLING_ variables, which Kubernetes may have put there', () => {
    expect(load([], { STARLING_SERVICE_HOST: '10.0.0.1' }).warnings[0]).to.include('STARLING_SERVICE_HOST');
  });

  it('refuses unknown flags, a missing file and broken JSON', () => {
    expect(refusal(() => readFlags(['--prot', '1'])).message)
      .to.include('--prot')
      .and.include('--help');
    expect(refusal(() => load(['--config', 'none.json'])).message).to.include('/work/none.json');
    expect(refusal(() => load(['--config', file('{')])).message).to.include('not valid JSON');
  });

  it('keeps what looks like a comment inside a string', () => {
    const args = ['--config', file('{ // why\n "storage": { "bucket": "a//b,}", /* x */ }, }')];
    expect(load(args).config.storage.bucket).to.equal('a//b,}');
  });

  it('refuses a host others can reach unless that is said to be wanted', () => {
    expect(refusal(() => load(['--host', '0.0.0.0'])).message).to.include('STARLING_GATEWAY_ALLOW_ANONYMOUS_REMOTE');
    load(['--host', '0.0.0.0'], { STARLING_GATEWAY_ALLOW_ANONYMOUS_REMOTE: 'true' });
    for (const host of ['localhost', '127.0.0.1', '::1']) load(['--host', host]);
  });

  it('refuses a node of some roles that has a database of its own', () => {
    expect(refusal(() => load(['--roles', 'gateway'])).message).to.include('STARLING_DATABASE_URL');
  });

  it('gives root a directory that system users may enter', () => {
    const { config } = loadConfig(readFlags([]), { ...around(), isRoot: true });
    expect(config.dataDir).to.equal('/var/lib/starling');
  });

  it('has a distinct variable for every setting', () => {
    const names = allSettings().map(setting => setting.variable);
    expect(new Set(names).size).to.equal(names.length);
    expect(names).to.include('STARLING_STORAGE_SECRET_ACCESS_KEY');
  });
});
