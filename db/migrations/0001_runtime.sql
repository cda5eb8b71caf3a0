-- The actor runtime: mail, parked actors, the change log. It knows no word of the domain.

-- A letter to a durable actor. Written in the transaction that caused it, deleted in the one that handled it.
create table mailbox (
  seq bigint generated always as identity primary key,
  kind text not null,
  key text not null,
  body jsonb not null,
  sent_at timestamptz not null default now()
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 5000);
create index mailbox_by_actor on mailbox (kind, key, seq);

-- A quarantined actor: it failed too often in too short a time. Everything else goes on; an operator replays or drops.
create table parked (
  kind text not null,
  key text not null,
  parked_at timestamptz not null default now(),
  letter_seq bigint,
  letter jsonb,
  error text not null,
  stack text,
  failures integer not null,
  primary key (kind, key)
);

-- What readers follow. A row is visible to a tailer only when its transaction and all older ones have ended, so a
-- cursor (xid, id) is gap-free although sequences commit out of order.
create table change (
  id bigint generated always as identity,
  xid xid8 not null default pg_current_xact_id(),
  topic text not null,
  subject text not null,
  at timestamptz not null default now(),
  primary key (xid, id)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000, autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 10000, autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 20000);
