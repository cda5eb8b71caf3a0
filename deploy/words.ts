/** What is printed when the server is ready and when the demonstration is over. Pure text. */
import type { PythonEnvironment } from './python-env.ts';

export interface ServerFacts {
  version: string;
  /** What clients are given, like `localhost:8090`. */
  endpoint: string;
  /** Like `http://localhost:8090`. */
  publicUrl: string;
  dataDir: string;
  database: string;
  queue: string;
  roles: readonly string[];
  python: PythonEnvironment | undefined;
  startMs: number;
  project: string;
  domain: string;
}

/** The lines that say: ready, where, on what. */
export function readyBanner(facts: ServerFacts): string {
  const { python } = facts;
  const origin = { active: 'active environment', configured: 'as configured', own: 'own environment' };
  const rows: [string, string | undefined][] = [
    ['data', facts.dataDir],
    ['database', facts.database],
    ['queue', facts.queue],
    [
      'python',
      python &&
        `${python.pythonVersion} with flyte ${python.flyteVersion} (${origin[python.origin]}, ${python.binDir})`,
    ],
    ['roles', facts.roles.length < 3 ? facts.roles.join(', ') : undefined],
  ];
  const table = rows.filter(([, value]) => value).map(([name, value]) => `  ${name.padEnd(9)} ${value}`);
  return [
    '',
    `Starling ${facts.version} is ready at ${facts.publicUrl} (${(facts.startMs / 1000).toFixed(1)} s)`,
    ...table,
    '',
  ].join('\n');
}

/** What to do with a server that is ready. */
export function nextSteps(facts: ServerFacts): string {
  const { endpoint, publicUrl, project, domain } = facts;
  const insecure = publicUrl.startsWith('http://') ? ' --insecure' : '';
  return `What next, in another terminal:

  pip install 'flyte==2.12.*'
  flyte create config --endpoint ${endpoint}${insecure} --project ${project} --domain ${domain} --builder remote
  flyte run deploy/demo/hello.py main --samplers 8
  flyte get run

From Python: flyte.init(endpoint="${endpoint}", insecure=${insecure ? 'True' : 'False'}, project="${project}", domain="${domain}", image_builder="remote")

  queues    ${publicUrl}/ops/queues
  metrics   ${publicUrl}/metrics
  settings  npm start -- --help, docs/configuration.md

Ctrl-C stops the server.`;
}
