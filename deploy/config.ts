/**
 * Every setting of Starling, once: its type, its default, its words. The help text, docs/configuration.md, the names of the
 * environment variables and the checks are all derived from this schema (config-doc.ts, config-load.ts).
 *
 * Names follow the original where it has one worth keeping (services.md §3: seed projects, domains, storage container,
 * upload limits). Durations carry their unit in the name; sizes are bytes and may be written like `64Mi`.
 */
import { z } from 'zod';

/** What a person should know about one setting. (A type, not an interface: a zod registry wants an index signature.) */
export type About = {
  description: string;
  /** What a good value looks like; completes the sentence "it must be …". */
  expects: string;
  /** How text from the environment or a flag becomes a value. */
  reads: 'text' | 'number' | 'bytes' | 'boolean' | 'list';
  /** The default in words, where it depends on the machine. */
  defaultText?: string;
  /** The flag that sets it, without dashes. */
  flag?: string;
  /** True when the value must never be printed. */
  secret?: boolean;
};

/** The words for each leaf of the schema. */
export const settings = z.registry<About>();

const KIB = 1024;
const MIB = KIB * KIB;
const GIB = MIB * KIB;
const SIZE = /^(\d+(?:\.\d+)?)\s*(Ki|Mi|Gi)?B?$/;

/** Reads `1048576`, `1Mi`, `1.5Gi`; anything else is returned as it is, for the schema to refuse. */
export function readBytes(text: string): number | string {
  const [, amount, unit] = SIZE.exec(text.trim()) ?? [];
  if (amount === undefined) return text;
  return Math.floor(Number(amount) * (unit === 'Ki' ? KIB : unit === 'Mi' ? MIB : unit === 'Gi' ? GIB : 1));
}

function text(description: string, expects: string, more: Partial<About> = {}) {
  return z
    .string()
    .min(1)
    .optional()
    .register(settings, { description, expects, reads: 'text', ...more });
}

function textOr(value: string, description: string, expects: string, more: Partial<About> = {}) {
  return z
    .string()
    .min(1)
    .default(value)
    .register(settings, { description, expects, reads: 'text', ...more });
}

function url(protocols: RegExp, description: string, expects: string, more: Partial<About> = {}) {
  return z
    .url({ protocol: protocols })
    .optional()
    .register(settings, { description, expects, reads: 'text', ...more });
}

function choice<const T extends readonly [string, ...string[]]>(of: T, value: T[number], description: string) {
  const type = z.enum(of as unknown as [T[number], ...T[number][]]);
  return type
    .default(value as never)
    .register(settings, { description, expects: `one of ${of.join(', ')}`, reads: 'text' });
}

function yesNo(value: boolean, description: string, more: Partial<About> = {}) {
  return z
    .boolean()
    .default(value)
    .register(settings, { description, expects: 'true or false', reads: 'boolean', ...more });
}

const whole = (least: number, most: number) => z.int().min(least).max(most);

function count(least: number, most: number, value: number, description: string, more: Partial<About> = {}) {
  const expects = `a whole number from ${least} to ${most}`;
  return whole(least, most)
    .default(value)
    .register(settings, { description, expects, reads: 'number', ...more });
}

function bytes(least: number, most: number, value: number, description: string) {
  const type = z.preprocess(v => (typeof v === 'string' ? readBytes(v) : v), whole(least, most)).default(value);
  const expects = `a size in bytes from ${least} to ${most}, as a number or like "64Mi"`;
  return type.register(settings, { description, expects, reads: 'bytes' });
}

const ID = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const id = z.string().regex(ID).max(63);

const Role = z.enum(['gateway', 'actors', 'workers']);
export type Role = z.output<typeof Role>;

/** The shape of a configuration file, and of what all layers merge into. */
export const ConfigSchema = z.strictObject({
  gateway: z
    .strictObject({
      host: textOr(
        '127.0.0.1',
        'Address the one port listens on. Without sign-in only loopback addresses are accepted (see gateway.allowAnonymousRemote).',
        'a host name or IP address, like "127.0.0.1" or "0.0.0.0"',
        { flag: 'host' },
      ),
      port: count(
        0,
        65_535,
        8090,
        'Port for everything: API, console, health, metrics, signed uploads. 0 picks a free one.',
        {
          flag: 'port',
        },
      ),
      publicUrl: url(
        /^https?$/,
        'URL under which clients reach this server; signed URLs begin with it. Set it behind a proxy or ingress.',
        'a URL that begins with http:// or https://',
        { defaultText: 'http://localhost:<port> on loopback, else http://<host>:<port>' },
      ),
      allowAnonymousRemote: yesNo(
        false,
        'Accept a host that other machines can reach although nobody has to sign in. Anyone who reaches the port may then run code as this user.',
      ),
    })
    .prefault({}),
  dataDir: text(
    'Directory of everything this server remembers: database, objects, queue, logs, the Python environment. One server at a time uses it.',
    'a directory this user may write to',
    { flag: 'data-dir', defaultText: '~/.starling (root: /var/lib/starling), the same for every clone of this user' },
  ),
  roles: z.array(Role).min(1).default(['gateway', 'actors', 'workers']).register(settings, {
    description:
      'Parts of Starling this node runs. A node that does not run all of them needs database.url and a shared queue store.',
    expects: 'a list out of gateway, actors, workers',
    reads: 'list',
    flag: 'roles',
  }),
  demo: yesNo(
    true,
    'Run the first-start demonstration when the data directory is new. Once it succeeded it does not come back.',
    {
      flag: 'no-demo',
    },
  ),
  drainSeconds: count(
    1,
    3600,
    20,
    'How long a stop waits for requests and actors under way before it gives up on them.',
  ),
  database: z
    .strictObject({
      url: url(
        /^postgres(ql)?$/,
        'PostgreSQL (15 or newer) to use in place of the embedded one.',
        'a URL like postgres://user:password@host:5432/starling',
        { secret: true, defaultText: 'an embedded PostgreSQL in the data directory' },
      ),
      poolSize: count(
        4,
        200,
        20,
        'Most connections this node opens for its own work; queues and streams add a few of their own.',
      ),
    })
    .prefault({}),
  queues: z
    .strictObject({
      store: choice(
        ['auto', 'redis', 'postgres'],
        'auto',
        'Where doorbells live. auto: queues.redisUrl if set, else a redis-server found on the PATH (spawned on a private socket), else the database.',
      ),
      redisUrl: url(
        /^rediss?$/,
        'Redis (6.2 or newer, noeviction) to use for queues.',
        'a URL like redis://host:6379/0',
        {
          secret: true,
          defaultText: 'none',
        },
      ),
    })
    .prefault({}),
  storage: z
    .strictObject({
      kind: choice(
        ['embedded', 's3'],
        'embedded',
        'embedded: an S3 endpoint of our own over a directory of the data directory. s3: any S3-compatible service.',
      ),
      bucket: textOr('flyte-data', 'Bucket that holds inputs, outputs, code bundles and logs.', 'the name of a bucket'),
      prefix: textOr('metadata', 'Path inside the bucket under which runs write.', 'a path without leading slash'),
      endpoint: url(/^https?$/, 'Endpoint of the S3 service (kind s3).', 'a URL that begins with http:// or https://', {
        defaultText: 'that of AWS in storage.region',
      }),
      region: textOr('us-east-1', 'Region of the bucket.', 'the name of a region'),
      accessKeyId: text('Access key for the S3 service (kind s3).', 'the id of an access key', {
        defaultText: "the AWS SDK's own chain of credentials",
      }),
      secretAccessKey: text('Secret of storage.accessKeyId.', 'the secret of the access key', {
        secret: true,
        defaultText: "the AWS SDK's own chain of credentials",
      }),
    })
    .prefault({}),
  python: z
    .strictObject({
      executable: text(
        'Python interpreter that runs tasks; it must have the flyte package. It goes before an active virtual environment.',
        'the path of a Python 3.10 or newer, like /opt/venv/bin/python',
        { defaultText: 'the active virtual environment if it has flyte, else one of our own in the data directory' },
      ),
      warm: yesNo(
        true,
        'Keep one Python process that has imported the task runtime and fork tasks from it (Linux): a start costs a tenth of a second instead of a whole one. Where forking is not safe, and always on macOS, tasks start cold.',
      ),
      packages: z.array(z.string().min(1)).default(['pandas', 'pyarrow']).register(settings, {
        description:
          'What our own environment holds beside flyte. DataFrame inputs and outputs need the two defaults; add what your tasks import.',
        expects: 'a list of requirements as pip reads them',
        reads: 'list',
      }),
    })
    .prefault({}),
  executor: z
    .strictObject({
      runtime: choice(['process'], 'process', 'How pods run. process: as child processes of this node.'),
      slots: whole(1, 10_000).optional().register(settings, {
        description:
          'Task processes that run at once; the rest wait in order. A task that waits for its children does not count.',
        expects: 'a whole number from 1 to 10000',
        reads: 'number',
        defaultText: 'four times the number of processors',
      }),
      images: choice(
        ['default-only', 'ignore'],
        'default-only',
        "What a container image means to Python tasks, which run in the server's own environment. default-only: the image of the SDK is fine, any other is refused with what to do. ignore: all of them run there.",
      ),
      defaultGraceSeconds: count(
        0,
        3600,
        10,
        'Time between SIGTERM and SIGKILL when a task is stopped and names none itself.',
      ),
    })
    .prefault({}),
  projects: z.array(id).min(1).default(['flytesnacks']).register(settings, {
    description: 'Projects that exist from the first start. Existing ones are left as they are.',
    expects: 'a list of ids: lower-case letters, digits and dashes, at most 63',
    reads: 'list',
  }),
  domains: z.array(id).min(1).default(['development', 'staging', 'production']).register(settings, {
    description: 'Domains of every project.',
    expects: 'a list of ids: lower-case letters, digits and dashes, at most 63',
    reads: 'list',
  }),
  log: z
    .strictObject({
      level: choice(
        ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'],
        'info',
        'Least important log lines to keep.',
      ),
      pretty: z.boolean().optional().register(settings, {
        description: 'Log lines for people instead of JSON.',
        expects: 'true or false',
        reads: 'boolean',
        defaultText: 'true when the output is a terminal',
      }),
    })
    .prefault({}),
  limits: z
    .strictObject({
      maxRequestBytes: bytes(
        MIB,
        2 * GIB - 1,
        64 * MIB,
        'Largest request and reply message. The SDK sends inline values up to 10 MiB by default.',
      ),
      maxReadBytes: bytes(
        MIB,
        2 * GIB - 1,
        64 * MIB,
        'Largest inputs or outputs document the server reads to show it.',
      ),
      maxUploadBytes: bytes(MIB, 1024 * GIB, 5 * GIB, 'Largest object a signed upload URL accepts.'),
      maxSignedUrlSeconds: count(1, 604_800, 3600, 'Longest life of a signed URL.'),
    })
    .prefault({}),
});

type Parsed = z.output<typeof ConfigSchema>;

type Frozen<T> = T extends (infer E)[]
  ? readonly Frozen<E>[]
  : T extends object
    ? { readonly [K in keyof T]: Frozen<T[K]> }
    : T;

/** What the program receives: every layer merged, machine-dependent defaults filled in, frozen. */
export type Config = Frozen<
  Omit<Parsed, 'dataDir' | 'executor' | 'log'> & {
    dataDir: string;
    executor: Parsed['executor'] & { slots: number };
    log: Parsed['log'] & { pretty: boolean };
  }
>;

/** One leaf of the schema with its names. */
export interface Setting extends About {
  /** Like `gateway.port`. */
  path: string;
  /** Like `STARLING_GATEWAY_PORT`. */
  variable: string;
  /** Like `8090`; `defaultText` where it depends on the machine. */
  defaultWords: string;
}

/** All settings, in the order of the schema. */
export function allSettings(): Setting[] {
  return leaves(ConfigSchema, []);
}

function leaves(object: z.ZodObject, path: string[]): Setting[] {
  return Object.entries(object.shape).flatMap(([key, field]) => {
    const section = field instanceof z.ZodPrefault ? field.unwrap() : field;
    if (section instanceof z.ZodObject) return leaves(section, [...path, key]);
    const about = settings.get(field as z.ZodType);
    if (!about) throw new Error(`Setting ${[...path, key].join('.')} has no description`);
    return [describeLeaf([...path, key], field as z.ZodType, about)];
  });
}

function describeLeaf(path: string[], field: z.ZodType, about: About): Setting {
  const value = field.safeParse(undefined).data;
  const written = Array.isArray(value) ? value.join(',') : String(value);
  const isSize = about.reads === 'bytes' && typeof value === 'number';
  return {
    ...about,
    path: path.join('.'),
    variable: `STARLING_${path
      .join('_')
      .replace(/([a-z])([A-Z])/g, '$1_$2')
      .toUpperCase()}`,
    defaultWords: about.defaultText ?? (isSize ? writeBytes(value) : written),
  };
}

function writeBytes(value: number): string {
  if (value % GIB === 0) return `${value / GIB}Gi`;
  return value % MIB === 0 ? `${value / MIB}Mi` : String(value);
}
