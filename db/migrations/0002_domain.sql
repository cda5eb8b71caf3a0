-- Projects, tasks, runs, actions: the truth of a Flyte installation. Organisation is not part of any key (runs.md 0.3).

create table project (
  id text primary key,
  name text not null,
  description text not null default '',
  labels jsonb not null default '{}',
  state smallint not null default 0,               -- flyteidl2.project.ProjectState
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);

-- Specs by digest (sha256 hex of the bytes): TaskSpec, TraceSpec, ConditionAction. Shared by all actions that carry the same.
create table spec (
  digest text primary key,
  body bytea not null,
  created_at timestamptz not null default now()
);

create table task (
  project text not null,
  domain text not null,
  name text not null,
  version text not null,
  spec_digest text not null,
  environment text not null default '',
  short_name text not null default '',
  task_type text not null default '',
  entrypoint boolean not null default false,
  created_at timestamptz not null default now(),
  created_by jsonb,
  primary key (project, domain, name, version)
);
create index task_by_age on task (project, domain, created_at desc);
create index task_versions on task (project, domain, name, created_at desc);

-- A run: the actor of kind 'run', key = id. Its phase is the phase of its root action 'a0', which is never copied here.
create table run (
  id bigint generated always as identity primary key,
  project text not null,
  domain text not null,
  name text not null,
  state text not null default 'live',              -- actors/run/run-state.ts
  fingerprint text not null,                       -- of the creating request: the same request again is the same run
  spec bytea not null,                             -- flyteidl2.task.RunSpec
  source smallint not null default 0,              -- flyteidl2.workflow.RunSource
  labels jsonb not null default '{}',
  trigger_name text,
  trigger_task_name text,
  trigger_revision bigint,
  output_base text not null,                       -- <base>/<project>/<domain>/<run>/ with trailing slash
  raw_data_prefix text not null,
  start_time timestamptz not null,                 -- {{.runStartTime}}; a scheduled run: the scheduled instant
  created_at timestamptz not null default now(),
  created_by jsonb,                                -- flyteidl2.common.EnrichedIdentity as JSON
  created_by_subject text,
  abort_reason text,
  abort_by jsonb,
  abort_requested_at timestamptz,
  ended_at timestamptz,
  wake_at timestamptz,
  version integer not null default 1,
  unique (project, domain, name)
);
create index run_by_age on run (project, domain, created_at desc, id desc);
create index run_due on run (wake_at) where wake_at is not null;
create index run_labels on run using gin (labels jsonb_path_ops);

-- An action: the actor of kind 'action', key = '<run id>.<name>'. The root is 'a0' and has no parent.
create table action (
  run_id bigint not null,
  name text not null,
  seq bigint generated always as identity,         -- creation order, immutable: watches and pages go by it
  parent text,
  depth integer not null default 0,                -- distance from the root
  type smallint not null,                          -- flyteidl2.workflow.ActionType
  has_children boolean not null default false,     -- set, with the version, by the first Enqueue under it
  group_name text,
  stage text not null default 'new',               -- actors/action/action-state.ts: what the machine is doing
  phase smallint not null default 1,               -- flyteidl2.common.ActionPhase
  attempt integer not null default 1,              -- number of the current attempt, from 1, without gaps
  spec_digest text not null,
  task_project text,
  task_domain text,
  task_name text,
  task_version text,
  task_type text not null default '',
  short_name text not null default '',
  environment text not null default '',
  function_name text not null default '',
  input_uri text not null default '',              -- the inputs blob (…/inputs.pb), never a prefix
  cache_key text,
  cache_status smallint not null default 0,        -- flyteidl2.core.CatalogCacheStatus
  output_uri text,                                 -- tasks: attempt directory; traces: full path of outputs.pb
  failure jsonb,                                   -- actors/action/failure.ts
  value bytea,                                     -- flyteidl2.core.Literal of a signalled condition
  signalled_by jsonb,
  abort_reason text,
  abort_by jsonb,
  recovered_from jsonb,                            -- {run, action} whose outputs were taken over
  attempts jsonb not null default '[]',            -- actors/action/attempt.ts, one element per attempt
  machine jsonb not null default '{}',             -- private to actors/action/decide.ts: budgets, deadlines, abort in progress
  created_at timestamptz not null default now(),
  started_at timestamptz,                          -- first RUNNING
  ended_at timestamptz,
  updated_at timestamptz not null default now(),
  waiting_for text,                                -- why it is waiting, in words; null when terminal
  wake_at timestamptz,
  version integer not null default 1,
  primary key (run_id, name)
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.02);
create index action_by_parent on action (run_id, parent, seq);
create index action_due on action (wake_at) where wake_at is not null;
create index action_paused on action (run_id) where phase = 9;

-- The pod of one attempt: the actor of kind 'executor', key = '<run id>.<action>.<attempt>'.
create table pod (
  run_id bigint not null,
  action text not null,
  attempt integer not null,
  state text not null,                             -- actors/executor/executor-state.ts
  incarnation integer not null default 1,          -- a system failure before the start makes a new pod of the same attempt
  pod_name text not null,
  machine jsonb not null default '{}',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  wake_at timestamptz,
  version integer not null default 1,
  primary key (run_id, action, attempt)
);
create unique index pod_by_name on pod (pod_name);
-- What the pod watch compares with the pods that there are.
create index pod_live on pod (run_id) where state in ('live', 'collecting', 'releasing', 'terminating');
create index pod_due on pod (wake_at) where wake_at is not null;

-- Results by cache key. scope is 'global' or '<project>/<domain>' (runs.md 1.2, sdk.md §5.7).
create table cache (
  scope text not null,
  key text not null,
  output_uri text not null,
  run_id bigint not null,
  action text not null,
  created_at timestamptz not null default now(),
  primary key (scope, key)
);

-- Who computes a result that many ask for at once (cache_serializable). It holds as long as the owner is not over.
create table cache_reservation (
  scope text not null,
  key text not null,
  run_id bigint not null,
  action text not null,
  reserved_at timestamptz not null default now(),
  primary key (scope, key)
);
create index cache_reservation_by_owner on cache_reservation (run_id, action);
