-- The director's tables. Every outside resource has a row before it is asked for (ARCHITECTURE §3).

create table director_attributes (
  name text primary key,
  value text not null
);

-- ---------------------------------------------------------------------------------------------
-- Tasks: queue, leases, output, plans, step journal.

create table tasks (
  id bigint generated always as identity primary key,
  -- queued | processing | cancelling | cancelled | done | error | timeout
  state text not null default 'queued',
  type text not null,
  -- normal | urgent | dynamic_disks
  queue text not null default 'normal',
  username text not null,
  description text not null,
  deployment_name text,
  args jsonb not null default '{}',
  result text,
  context_id text not null default '',
  teams text[] not null default '{}',
  -- Tasks whose input is a file of one machine (an upload) run only in the director that holds it.
  pinned_to text,
  created_at timestamptz not null default now(),
  started_at timestamptz,
  finished_at timestamptz,
  -- last change of the row that a client may see; the order of GET /tasks
  timestamp timestamptz not null default now(),
  checkpoint_at timestamptz not null default now(),
  cancel_requested boolean not null default false,
  lease_owner text,
  lease_until timestamptz,
  -- grows with every claim; a worker's writes name the epoch they were claimed under
  lease_epoch bigint not null default 0
);
create index tasks_claimable on tasks (queue, id) where state in ('queued', 'processing', 'cancelling');
create index tasks_timestamp on tasks (timestamp desc, id desc);
create index tasks_deployment on tasks (deployment_name);

-- Output in ordered chunks; "start" is the byte offset of the chunk in its kind's output.
create table task_output (
  task_id bigint not null references tasks on delete cascade,
  -- event | result | debug | cpi
  kind text not null,
  seq bigint not null,
  start bigint not null,
  data bytea not null,
  primary key (task_id, kind, seq)
);

create table task_plans (
  task_id bigint primary key references tasks on delete cascade,
  planner_version text not null,
  plan jsonb not null
);

create table task_step_events (
  task_id bigint not null references tasks on delete cascade,
  step_key text not null,
  -- the step's kind, for journal::recover
  kind text not null,
  seq bigint generated always as identity,
  lease_epoch bigint not null,
  event jsonb not null,
  at timestamptz not null default now(),
  primary key (task_id, seq)
);
create index task_step_events_key on task_step_events (task_id, step_key, seq);

-- ---------------------------------------------------------------------------------------------
-- Locks: rows with a lease, an owner and a queue of those who wait.

create table locks (
  name text primary key,
  uid uuid not null,
  task_id bigint,
  owner text not null,
  acquired_at timestamptz not null default now(),
  expires_at timestamptz not null
);

create table lock_waiters (
  id bigint generated always as identity primary key,
  name text not null,
  uid uuid not null unique,
  task_id bigint,
  owner text not null,
  since timestamptz not null default now(),
  -- a waiter that no longer renews is dead and loses its place
  expires_at timestamptz not null
);
create index lock_waiters_name on lock_waiters (name, id);

-- ---------------------------------------------------------------------------------------------
-- Audit events (GET /events).

create table events (
  id bigint generated always as identity primary key,
  parent_id bigint,
  at timestamptz not null default now(),
  username text not null,
  action text not null,
  object_type text not null,
  object_name text,
  error text,
  task text,
  deployment text,
  instance text,
  context jsonb not null default '{}'
);
create index events_at on events (at);
create index events_task on events (task);
create index events_deployment on events (deployment);

-- ---------------------------------------------------------------------------------------------
-- Configs: append-only, soft-deleted; "current" is the highest id not deleted per (type, name).

create table configs (
  id bigint generated always as identity primary key,
  type text not null,
  name text not null,
  content text not null,
  team text,
  deleted boolean not null default false,
  created_at timestamptz not null default now()
);
create index configs_type_name on configs (type, name, id desc) where not deleted;

-- ---------------------------------------------------------------------------------------------
-- Stemcells.

create table stemcells (
  id bigint generated always as identity primary key,
  name text not null,
  version text not null,
  operating_system text not null,
  -- null until the CPI's create_stemcell has answered
  cid text,
  cpi text not null default '',
  sha1 text,
  api_version int,
  formats jsonb not null default '[]',
  cloud_properties jsonb not null default '{}',
  created_at timestamptz not null default now(),
  unique (name, version, cpi)
);

-- What was offered per CPI, uploaded or skipped for its format (POST /stemcell_uploads).
create table stemcell_uploads (
  name text not null,
  version text not null,
  cpi text not null default '',
  primary key (name, version, cpi)
);

-- ---------------------------------------------------------------------------------------------
-- Releases.

create table releases (
  id bigint generated always as identity primary key,
  name text not null unique
);

create table release_versions (
  id bigint generated always as identity primary key,
  release_id bigint not null references releases on delete cascade,
  version text not null,
  commit_hash text,
  uncommitted_changes boolean not null default false,
  update_completed boolean not null default false,
  created_at timestamptz not null default now(),
  unique (release_id, version)
);

create table packages (
  id bigint generated always as identity primary key,
  release_id bigint not null references releases on delete cascade,
  name text not null,
  version text not null,
  fingerprint text not null,
  sha1 text,
  -- null: no source here (compiled releases)
  blob_id text,
  -- names of the packages it needs to be compiled
  dependencies jsonb not null default '[]',
  unique (release_id, name, version)
);
create index packages_fingerprint on packages (fingerprint);

create table jobs (
  id bigint generated always as identity primary key,
  release_id bigint not null references releases on delete cascade,
  name text not null,
  version text not null,
  fingerprint text not null,
  sha1 text not null,
  blob_id text not null,
  -- job.MF as JSON: templates, properties, packages, consumes, provides. json, not jsonb: the order of its keys counts
  spec json not null default '{}',
  unique (release_id, name, version)
);

create table release_version_packages (
  release_version_id bigint not null references release_versions on delete cascade,
  package_id bigint not null references packages on delete cascade,
  primary key (release_version_id, package_id)
);

create table release_version_jobs (
  release_version_id bigint not null references release_versions on delete cascade,
  job_id bigint not null references jobs on delete cascade,
  primary key (release_version_id, job_id)
);

create table compiled_packages (
  id bigint generated always as identity primary key,
  package_id bigint not null references packages on delete cascade,
  stemcell_os text not null,
  stemcell_version text not null,
  dependency_key text not null,
  dependency_key_sha1 text not null,
  build bigint not null,
  blob_id text not null,
  sha1 text not null,
  created_at timestamptz not null default now(),
  unique (package_id, stemcell_os, stemcell_version, dependency_key_sha1),
  unique (package_id, stemcell_os, stemcell_version, build)
);

-- ---------------------------------------------------------------------------------------------
-- Deployments.

create table deployments (
  id bigint generated always as identity primary key,
  name text not null unique,
  canonical_name text not null unique,
  -- of the last successful deploy: as parsed, and byte for byte as sent; null before the first
  manifest jsonb,
  manifest_text text,
  tags jsonb not null default '{}',
  teams text[] not null default '{}',
  -- which links were resolved to what, for the link endpoints and the next deploy
  links jsonb not null default '{}',
  last_deployed_at timestamptz,
  last_deploy_task_id bigint,
  created_at timestamptz not null default now()
);

create table deployment_release_versions (
  deployment_id bigint not null references deployments on delete cascade,
  release_version_id bigint not null references release_versions,
  primary key (deployment_id, release_version_id)
);

create table deployment_stemcells (
  deployment_id bigint not null references deployments on delete cascade,
  stemcell_id bigint not null references stemcells,
  primary key (deployment_id, stemcell_id)
);

create table deployment_configs (
  deployment_id bigint not null references deployments on delete cascade,
  config_id bigint not null references configs,
  primary key (deployment_id, config_id)
);

create table variable_sets (
  id bigint generated always as identity primary key,
  deployment_id bigint not null references deployments on delete cascade,
  created_at timestamptz not null default now(),
  deployed_successfully boolean not null default false,
  writable boolean not null default false
);

create table variables (
  id bigint generated always as identity primary key,
  variable_set_id bigint not null references variable_sets on delete cascade,
  variable_id text not null,
  variable_name text not null,
  is_local boolean not null default true,
  provider_deployment text not null default '',
  unique (variable_set_id, variable_name, provider_deployment)
);

-- ---------------------------------------------------------------------------------------------
-- Instances, VMs, disks, addresses.

create table instances (
  id bigint generated always as identity primary key,
  deployment_id bigint not null references deployments on delete cascade,
  group_name text not null,
  index int not null,
  uuid text not null unique,
  az text,
  -- desired: started | stopped | detached
  state text not null default 'started',
  -- service | errand
  lifecycle text not null default 'service',
  bootstrap boolean not null default false,
  ignore boolean not null default false,
  resurrection_paused boolean not null default false,
  -- an instance that exists only to compile packages
  compilation boolean not null default false,
  -- the apply spec of the last completed update; null before the first
  spec jsonb,
  update_completed boolean not null default false,
  dns_records jsonb not null default '[]',
  variable_set_id bigint references variable_sets on delete set null,
  created_at timestamptz not null default now()
);
create unique index instances_group_index on instances (deployment_id, group_name, index) where not compilation;

create table vms (
  id bigint generated always as identity primary key,
  instance_id bigint references instances on delete cascade,
  -- written before create_vm: the idempotency key of the VM
  agent_id text not null unique,
  cid text unique,
  cpi text not null default '',
  stemcell_name text,
  stemcell_version text,
  stemcell_api_version int,
  env_sha text,
  active boolean not null default false,
  -- requested | created | deleting
  state text not null default 'requested',
  permanent_nats_credentials boolean not null default false,
  cloud_properties jsonb not null default '{}',
  network_spec jsonb not null default '{}',
  -- the create_vm call without its secrets, so that a half-done one can be repeated
  request jsonb not null default '{}',
  -- digests of what its agent was last configured with
  fingerprints jsonb not null default '{}',
  -- the task on whose behalf it is created; who cleans up after a failure
  task_id bigint,
  created_at timestamptz not null default now()
);
create unique index vms_one_active on vms (instance_id) where active;
create index vms_instance on vms (instance_id);

create table persistent_disks (
  id bigint generated always as identity primary key,
  instance_id bigint not null references instances on delete cascade,
  -- written before create_disk
  idempotency_key uuid not null unique,
  cid text unique,
  -- MiB
  size bigint not null,
  -- '' is the managed disk
  name text not null default '',
  cloud_properties jsonb not null default '{}',
  cpi text not null default '',
  active boolean not null default false,
  task_id bigint,
  created_at timestamptz not null default now()
);
create index persistent_disks_instance on persistent_disks (instance_id);

create table orphan_disks (
  id bigint generated always as identity primary key,
  cid text not null unique,
  size bigint not null,
  az text,
  cpi text not null default '',
  deployment_name text not null,
  instance_name text not null,
  cloud_properties jsonb not null default '{}',
  created_at timestamptz not null default now(),
  orphaned_at timestamptz not null default now()
);

create table orphan_vms (
  id bigint generated always as identity primary key,
  agent_id text,
  cid text not null unique,
  az text,
  cpi text not null default '',
  deployment_name text not null,
  instance_name text not null,
  stemcell_api_version int,
  ip_addresses text[] not null default '{}',
  orphaned_at timestamptz not null default now()
);

create table ip_addresses (
  id bigint generated always as identity primary key,
  -- without prefix length for single addresses; unique over all deployments
  address text not null unique,
  network_name text not null,
  static boolean not null default false,
  instance_id bigint references instances on delete cascade,
  vm_id bigint references vms on delete set null,
  orphan_vm_id bigint references orphan_vms on delete cascade,
  task_id bigint,
  created_at timestamptz not null default now()
);
create index ip_addresses_instance on ip_addresses (instance_id);

-- What an instance's templates rendered to, by what they were rendered from: unchanged input is not rendered again.
create table rendered_hashes (
  instance_uuid text primary key references instances (uuid) on delete cascade,
  -- SHA-256 over context, DNS tables and the digests of the jobs' archives
  input_sha256 text not null,
  configuration_hash text not null,
  -- template hash by job name
  template_hashes jsonb not null
);

create table rendered_archives (
  id bigint generated always as identity primary key,
  instance_id bigint not null references instances on delete cascade,
  content_sha1 text not null,
  blob_id text not null,
  sha1 text not null,
  created_at timestamptz not null default now(),
  unique (instance_id, content_sha1)
);

-- The last fully successful run of an errand, for --when-changed.
create table errand_runs (
  id bigint generated always as identity primary key,
  deployment_id bigint not null references deployments on delete cascade,
  errand_name text not null,
  successful_state_hash text not null,
  at timestamptz not null default now(),
  unique (deployment_id, errand_name)
);

create table problems (
  id bigint generated always as identity primary key,
  deployment_id bigint not null references deployments on delete cascade,
  -- open | closed
  state text not null default 'open',
  type text not null,
  resource_id bigint not null,
  data jsonb not null default '{}',
  description text not null default '',
  created_at timestamptz not null default now(),
  last_seen_at timestamptz not null default now()
);

-- ---------------------------------------------------------------------------------------------
-- Blobs the director knows by kind, written before the upload begins; DNS blobs by version.

create table blobs (
  id text primary key,
  -- release_package | release_job | compiled_package | rendered_templates | logs | export | dns
  kind text not null,
  sha1 text,
  created_at timestamptz not null default now()
);
create index blobs_kind on blobs (kind, created_at);

create table local_dns_blobs (
  version bigint generated always as identity primary key,
  blob_id text not null,
  sha1 text not null,
  created_at timestamptz not null default now()
);
