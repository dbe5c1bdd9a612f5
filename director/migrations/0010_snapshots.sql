-- Snapshots of persistent disks, and of orphaned ones; when scheduled jobs were last queued.

create table snapshots (
  id bigint generated always as identity primary key,
  persistent_disk_id bigint not null references persistent_disks on delete cascade,
  cid text not null unique,
  -- taken while the instance's jobs were stopped
  clean boolean not null default false,
  created_at timestamptz not null default now()
);
create index snapshots_disk on snapshots (persistent_disk_id);

create table orphan_snapshots (
  id bigint generated always as identity primary key,
  orphan_disk_id bigint not null references orphan_disks on delete cascade,
  cid text not null unique,
  clean boolean not null default false,
  snapshot_created_at timestamptz not null,
  created_at timestamptz not null default now()
);
create index orphan_snapshots_disk on orphan_snapshots (orphan_disk_id);

create table scheduled_jobs (
  name text primary key,
  -- the moment of the schedule that was queued last
  last_due timestamptz not null
);
