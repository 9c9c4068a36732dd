/*
 * steep_repl 0.1.0: nodes, coordinator state and audit trail of a steep-repl cluster.
 *
 * Three tables. Whatever changes `nodes` or `coordinator_state`, be it the daemon, psql or a
 * replication worker, writes one row to `audit_log` in the same transaction, by triggers that run as
 * the extension's owner. So nobody needs, or gets, the right to write the trail himself.
 *
 * The trail is append-only: a statement trigger refuses UPDATE, DELETE and TRUNCATE to everybody; only
 * prune_audit_log() gets past it. All triggers are ENABLE ALWAYS, session_replication_role included.
 *
 * A dump comes back although the triggers exist before the data: the owner's own COPY into nodes or
 * coordinator_state writes no audit rows, since the dump has them already; and where a dump was made
 * of INSERTs, a row of the trail steps over the ids that were restored (see audit_append).
 *
 * The same text makes an ordinary schema for servers whose disk cannot be reached
 * (`steep-repl init-extension --no-files`): what only works inside CREATE EXTENSION stands between
 * "extension-only" lines, which the client cuts out before it runs the rest in one transaction.
 *
 * CREATE EXTENSION parses this whole file before it runs anything: outside of $$ only what
 * PostgreSQL 15 can parse may stand, or old servers report a syntax error instead of their age.
 */

-- extension-only begin
\echo Use "CREATE EXTENSION steep_repl" to load this file. \quit
-- extension-only end

-- Operators in constraints and trigger conditions are looked up while this runs: in pg_catalog only.
SET LOCAL search_path = pg_catalog, pg_temp;

DO $$
BEGIN
  IF current_setting('server_version_num')::int < 180000 THEN
    RAISE EXCEPTION 'steep_repl requires PostgreSQL 18 or later'
      USING ERRCODE = 'feature_not_supported',
            DETAIL = format('The server runs PostgreSQL %s.', current_setting('server_version'));
  END IF;
END
$$;

-- extension-only begin
DO $$
BEGIN
  IF to_regnamespace('steep_repl') IS NOT NULL THEN
    RAISE EXCEPTION 'schema "steep_repl" already exists in this database'
      USING ERRCODE = 'duplicate_schema',
            DETAIL = 'It was made without the extension, probably by steep-repl init-extension --no-files.',
            HINT = 'steep-repl init-extension --no-files keeps this schema up to date; or pg_dump it and '
                   'drop schema steep_repl first.';
  END IF;
END
$$;
-- extension-only end

CREATE SCHEMA steep_repl;
COMMENT ON SCHEMA steep_repl IS 'Node registry, coordinator state and audit trail of steep-repl.';


-- ---------------------------------------------------------------------------------------------------
-- nodes
-- ---------------------------------------------------------------------------------------------------

CREATE TABLE steep_repl.nodes (
  node_id text PRIMARY KEY,
  node_name text NOT NULL,
  host text NOT NULL CONSTRAINT nodes_host_not_empty CHECK (btrim(host) <> ''),
  port integer NOT NULL DEFAULT 5432 CONSTRAINT nodes_port_range CHECK (port BETWEEN 1 AND 65535),
  priority integer NOT NULL DEFAULT 50 CONSTRAINT nodes_priority_range CHECK (priority BETWEEN 1 AND 100),
  is_coordinator boolean NOT NULL DEFAULT false,
  last_seen timestamptz,
  status text NOT NULL DEFAULT 'unknown' CONSTRAINT nodes_status_known
    CHECK (status IN ('unknown', 'healthy', 'degraded', 'unreachable', 'offline')),
  grpc_host text,
  grpc_port integer CONSTRAINT nodes_grpc_port_range CHECK (grpc_port BETWEEN 1 AND 65535)
);
CREATE INDEX nodes_status_idx ON steep_repl.nodes (status);
CREATE UNIQUE INDEX nodes_one_coordinator ON steep_repl.nodes (is_coordinator) WHERE is_coordinator;

COMMENT ON TABLE steep_repl.nodes IS
  'The nodes of the cluster as the daemon of this database sees them. Changes are audited.';
COMMENT ON COLUMN steep_repl.nodes.node_id IS 'Identity of the node. It cannot be changed: remove and register.';
COMMENT ON COLUMN steep_repl.nodes.node_name IS 'Name for people.';
COMMENT ON COLUMN steep_repl.nodes.host IS 'Host under which peers reach the node''s PostgreSQL.';
COMMENT ON COLUMN steep_repl.nodes.port IS 'Port of the node''s PostgreSQL.';
COMMENT ON COLUMN steep_repl.nodes.priority IS 'Preference as coordinator, 1 to 100, higher is preferred.';
COMMENT ON COLUMN steep_repl.nodes.is_coordinator IS 'True for the coordinator; an index allows one at most.';
COMMENT ON COLUMN steep_repl.nodes.last_seen IS 'When the node last answered. Moving it alone is not audited.';
COMMENT ON COLUMN steep_repl.nodes.status IS 'unknown, healthy, degraded, unreachable or offline.';
COMMENT ON COLUMN steep_repl.nodes.grpc_host IS 'Host that peers dial for RPC; null when it has no RPC door.';
COMMENT ON COLUMN steep_repl.nodes.grpc_port IS 'Port that peers dial for RPC.';


-- ---------------------------------------------------------------------------------------------------
-- coordinator_state
-- ---------------------------------------------------------------------------------------------------

CREATE TABLE steep_repl.coordinator_state (
  key text PRIMARY KEY,
  value jsonb NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT now()
);

COMMENT ON TABLE steep_repl.coordinator_state IS
  'Cluster-wide state as key and value. Changes are audited. Reserved for later: cluster_version, '
  'range_allocator, ddl_sequence.';
COMMENT ON COLUMN steep_repl.coordinator_state.key IS 'Reads category.name, such as cluster.coordinator.';
COMMENT ON COLUMN steep_repl.coordinator_state.value IS 'Any JSON.';
COMMENT ON COLUMN steep_repl.coordinator_state.updated_at IS
  'When the value last changed; kept by a trigger for whoever does not set it.';


-- ---------------------------------------------------------------------------------------------------
-- audit_log
-- ---------------------------------------------------------------------------------------------------

CREATE TABLE steep_repl.audit_log (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  occurred_at timestamptz NOT NULL DEFAULT now(),
  action text NOT NULL,
  actor text NOT NULL,
  target_type text,
  target_id text,
  old_value jsonb,
  new_value jsonb,
  client_ip inet,
  success boolean NOT NULL DEFAULT true,
  error_message text
);
CREATE INDEX audit_log_occurred_at_idx ON steep_repl.audit_log (occurred_at DESC);
CREATE INDEX audit_log_actor_idx ON steep_repl.audit_log (actor);
CREATE INDEX audit_log_action_idx ON steep_repl.audit_log (action);
CREATE INDEX audit_log_target_idx ON steep_repl.audit_log (target_type, target_id)
  WHERE target_type IS NOT NULL;
-- An event of the daemon is written once, however often it is sent. Only such rows are in this index.
CREATE UNIQUE INDEX audit_log_event_once ON steep_repl.audit_log ((new_value ->> 'event_id'))
  WHERE (new_value ->> 'event_id') IS NOT NULL;

COMMENT ON TABLE steep_repl.audit_log IS
  'The audit trail, append-only: written by triggers and the daemon''s functions, shortened by '
  'prune_audit_log() alone.';
COMMENT ON COLUMN steep_repl.audit_log.id IS 'Given in order of writing, not of commit; gaps are normal.';
COMMENT ON COLUMN steep_repl.audit_log.occurred_at IS
  'When it happened; earlier than it was written for what the daemon owed from an outage.';
COMMENT ON COLUMN steep_repl.audit_log.action IS 'What was done, such as node.registered.';
COMMENT ON COLUMN steep_repl.audit_log.actor IS
  'session_user@host as the server knows them, and " for X" where the daemon acts for somebody.';
COMMENT ON COLUMN steep_repl.audit_log.target_type IS 'node, state or daemon.';
COMMENT ON COLUMN steep_repl.audit_log.target_id IS 'node_id, key, or the daemon''s node_id.';
COMMENT ON COLUMN steep_repl.audit_log.old_value IS 'The whole row before the change.';
COMMENT ON COLUMN steep_repl.audit_log.new_value IS
  'The whole row after it, or the details of an event with its event_id.';
COMMENT ON COLUMN steep_repl.audit_log.client_ip IS 'Address of the client; null for a Unix socket.';
COMMENT ON COLUMN steep_repl.audit_log.success IS 'False for what was tried and failed or was refused.';
COMMENT ON COLUMN steep_repl.audit_log.error_message IS 'Why it failed.';

-- extension-only begin
-- Without these pg_dump takes an extension's rows for something that CREATE EXTENSION brings along.
SELECT pg_extension_config_dump('steep_repl.nodes', '');
SELECT pg_extension_config_dump('steep_repl.coordinator_state', '');
SELECT pg_extension_config_dump('steep_repl.audit_log', '');
SELECT pg_extension_config_dump('steep_repl.audit_log_id_seq', '');
-- extension-only end


-- ---------------------------------------------------------------------------------------------------
-- Who acts
-- ---------------------------------------------------------------------------------------------------

CREATE FUNCTION steep_repl.switch_acting_for(who text) RETURNS text
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
-- Sets for whom this transaction acts, unless `who` is null, and gives back the setting as it was, so
-- that a function can put it back. The transaction's id in it makes a value that was set for the role,
-- the database or the session worthless.
DECLARE
  previous text := coalesce(current_setting('steep_repl.acting_for', true), '');
BEGIN
  IF who = '' THEN
    PERFORM set_config('steep_repl.acting_for', '', true);
  ELSIF who IS NOT NULL THEN
    PERFORM set_config(
      'steep_repl.acting_for',
      pg_current_xact_id()::text || ':' || left(regexp_replace(who, '[[:cntrl:]]+', ' ', 'g'), 200),
      true
    );
  END IF;
  RETURN previous;
END
$$;
COMMENT ON FUNCTION steep_repl.switch_acting_for(text) IS 'Internal.';

CREATE FUNCTION steep_repl.set_acting_for(who text) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM steep_repl.switch_acting_for(coalesce(who, ''));
END
$$;
COMMENT ON FUNCTION steep_repl.set_acting_for(text) IS
  'For the daemon: audit rows of the rest of this transaction end their actor with " for <who>". '
  'Null or empty ends that.';

CREATE FUNCTION steep_repl.audit_actor() RETURNS text
  LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
-- session_user, not current_user: this runs inside functions that run as the owner.
DECLARE
  actor text := session_user || '@' || coalesce(host(inet_client_addr()), 'local');
  acting_for text := current_setting('steep_repl.acting_for', true);
BEGIN
  -- Anybody can set a custom setting: it counts only where the session could have called the function.
  IF acting_for <> ''
    AND split_part(acting_for, ':', 1) = pg_current_xact_id_if_assigned()::text
    AND has_function_privilege(session_user, 'steep_repl.set_acting_for(text)', 'EXECUTE')
  THEN
    actor := actor || ' for ' || substr(acting_for, strpos(acting_for, ':') + 1);
  END IF;
  RETURN actor;
END
$$;
COMMENT ON FUNCTION steep_repl.audit_actor() IS 'Internal: the actor of the audit rows that are written now.';


-- ---------------------------------------------------------------------------------------------------
-- Writing and announcing
-- ---------------------------------------------------------------------------------------------------

CREATE FUNCTION steep_repl.audit_append(
  action text,
  target_type text,
  target_id text,
  old_value jsonb,
  new_value jsonb,
  occurred_at timestamptz DEFAULT now(),
  client_ip inet DEFAULT inet_client_addr(),
  success boolean DEFAULT true,
  error_message text DEFAULT NULL
) RETURNS boolean
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  event text := audit_append.new_value ->> 'event_id';
BEGIN
  LOOP
    INSERT INTO steep_repl.audit_log
      (occurred_at, action, actor, target_type, target_id,
       old_value, new_value, client_ip, success, error_message)
    VALUES
      (audit_append.occurred_at, audit_append.action, steep_repl.audit_actor(),
       audit_append.target_type, audit_append.target_id, audit_append.old_value, audit_append.new_value,
       audit_append.client_ip, audit_append.success, audit_append.error_message)
    ON CONFLICT DO NOTHING;
    IF FOUND THEN
      RETURN true;
    END IF;
    IF event IS NOT NULL
      AND EXISTS (SELECT FROM steep_repl.audit_log WHERE (new_value ->> 'event_id') = event)
    THEN
      RETURN false;
    END IF;
    -- The id was taken: rows came back from a dump and the sequence has not, or not far enough.
    PERFORM setval(
      'steep_repl.audit_log_id_seq',
      greatest(
        (SELECT max(id) FROM steep_repl.audit_log),
        (SELECT last_value FROM steep_repl.audit_log_id_seq)
      )
    );
  END LOOP;
END
$$;
COMMENT ON FUNCTION steep_repl.audit_append(text, text, text, jsonb, jsonb, timestamptz, inet, boolean, text) IS
  'Internal: writes one audit row; false when an event with its event_id is there already.';

CREATE FUNCTION steep_repl.announce(changed_table text, op text, id text) RETURNS void
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  payload text := json_build_object('table', changed_table, 'op', op, 'id', id);
BEGIN
  -- NOTIFY takes less than 8000 bytes, and an id is free text: whoever listens then reads the table.
  IF octet_length(payload) >= 8000 THEN
    payload := json_build_object('table', changed_table, 'op', op, 'id', NULL);
  END IF;
  PERFORM pg_notify('steep_repl', payload);
END
$$;
COMMENT ON FUNCTION steep_repl.announce(text, text, text) IS 'Internal: notifies channel steep_repl.';

CREATE FUNCTION steep_repl.is_owners_copy(target regclass) RETURNS boolean
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
-- True while the owner's own COPY fills `target`: a dump that comes back. Inside a function that runs
-- as its definer current_user is always the owner; who really acts is told by SET ROLE and the session.
DECLARE
  owner name := (SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = target);
BEGIN
  IF owner <> coalesce(nullif(current_setting('role'), 'none')::name, session_user) THEN
    RETURN false;
  END IF;
  -- The server itself knows whether it copies, better than the text of a query. Columns are null when
  -- the owner may not see the activity of the login role behind SET ROLE (pg_restore --role).
  PERFORM pg_stat_clear_snapshot();
  RETURN EXISTS (
    SELECT FROM pg_stat_progress_copy
    WHERE pid = pg_backend_pid() AND coalesce(relid = target AND command = 'COPY FROM', true)
  );
END
$$;
COMMENT ON FUNCTION steep_repl.is_owners_copy(regclass) IS 'Internal.';


-- ---------------------------------------------------------------------------------------------------
-- Triggers on nodes
-- ---------------------------------------------------------------------------------------------------

CREATE FUNCTION steep_repl.nodes_changed() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  id text := coalesce(NEW.node_id, OLD.node_id);
BEGIN
  IF TG_OP = 'UPDATE' AND NEW.node_id <> OLD.node_id THEN
    RAISE EXCEPTION 'the node_id of node "%" cannot be changed', OLD.node_id
      USING ERRCODE = 'restrict_violation',
            DETAIL = 'A node''s id is its identity: the audit trail and the other nodes know it by that.',
            HINT = 'Remove the node and register it under the new id.';
  END IF;
  PERFORM steep_repl.announce('nodes', TG_OP, id);
  IF TG_OP = 'INSERT' AND steep_repl.is_owners_copy(TG_RELID) THEN
    RETURN NULL;
  END IF;
  -- One row of the trail for one row changed: if several columns changed, the weightiest names the
  -- action, and old and new value hold the rest.
  PERFORM steep_repl.audit_append(
    CASE
      WHEN TG_OP = 'INSERT' THEN 'node.registered'
      WHEN TG_OP = 'DELETE' THEN 'node.removed'
      WHEN NEW.is_coordinator AND NOT OLD.is_coordinator THEN 'coordinator.elected'
      WHEN OLD.is_coordinator AND NOT NEW.is_coordinator THEN 'coordinator.resigned'
      WHEN (OLD.node_name, OLD.host, OLD.port, OLD.priority, OLD.grpc_host, OLD.grpc_port)
        IS DISTINCT FROM (NEW.node_name, NEW.host, NEW.port, NEW.priority, NEW.grpc_host, NEW.grpc_port)
        THEN 'node.updated'
      ELSE 'node.status_changed'
    END,
    'node', id,
    CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END,
    CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END
  );
  RETURN NULL;
END
$$;
COMMENT ON FUNCTION steep_repl.nodes_changed() IS 'Trigger: audits and announces a change of nodes.';

CREATE TRIGGER nodes_audit AFTER INSERT OR DELETE ON steep_repl.nodes
  FOR EACH ROW EXECUTE FUNCTION steep_repl.nodes_changed();
-- Everything but last_seen: a heartbeat costs neither an audit row nor the lock that NOTIFY takes.
CREATE TRIGGER nodes_audit_update AFTER UPDATE ON steep_repl.nodes
  FOR EACH ROW
  WHEN (
    (OLD.node_id, OLD.node_name, OLD.host, OLD.port, OLD.priority,
     OLD.is_coordinator, OLD.status, OLD.grpc_host, OLD.grpc_port)
    IS DISTINCT FROM
    (NEW.node_id, NEW.node_name, NEW.host, NEW.port, NEW.priority,
     NEW.is_coordinator, NEW.status, NEW.grpc_host, NEW.grpc_port)
  )
  EXECUTE FUNCTION steep_repl.nodes_changed();


-- ---------------------------------------------------------------------------------------------------
-- Triggers on coordinator_state
-- ---------------------------------------------------------------------------------------------------

CREATE FUNCTION steep_repl.state_touched() RETURNS trigger
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  NEW.updated_at := now();
  RETURN NEW;
END
$$;
COMMENT ON FUNCTION steep_repl.state_touched() IS 'Trigger: keeps updated_at for whoever does not set it.';

CREATE FUNCTION steep_repl.state_changed() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  id text := coalesce(NEW.key, OLD.key);
BEGIN
  IF TG_OP = 'UPDATE' AND NEW.key <> OLD.key THEN
    RAISE EXCEPTION 'the key "%" of coordinator_state cannot be changed', OLD.key
      USING ERRCODE = 'restrict_violation', HINT = 'Delete the row and insert it under the new key.';
  END IF;
  PERFORM steep_repl.announce('coordinator_state', TG_OP, id);
  IF TG_OP = 'INSERT' AND steep_repl.is_owners_copy(TG_RELID) THEN
    RETURN NULL;
  END IF;
  PERFORM steep_repl.audit_append(
    'state.updated', 'state', id,
    CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END,
    CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END
  );
  RETURN NULL;
END
$$;
COMMENT ON FUNCTION steep_repl.state_changed() IS 'Trigger: audits and announces a change of coordinator_state.';

CREATE TRIGGER state_touch BEFORE UPDATE ON steep_repl.coordinator_state
  FOR EACH ROW
  WHEN (OLD.value IS DISTINCT FROM NEW.value AND OLD.updated_at IS NOT DISTINCT FROM NEW.updated_at)
  EXECUTE FUNCTION steep_repl.state_touched();
CREATE TRIGGER state_audit AFTER INSERT OR DELETE ON steep_repl.coordinator_state
  FOR EACH ROW EXECUTE FUNCTION steep_repl.state_changed();
CREATE TRIGGER state_audit_update AFTER UPDATE ON steep_repl.coordinator_state
  FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*)
  EXECUTE FUNCTION steep_repl.state_changed();

-- A TRUNCATE has no rows to audit, so nodes and coordinator_state refuse it.
CREATE FUNCTION steep_repl.refuse_truncate() RETURNS trigger
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RAISE EXCEPTION 'TRUNCATE of steep_repl.% is refused, since it would dodge the audit trail', TG_TABLE_NAME
    USING ERRCODE = 'insufficient_privilege', HINT = 'Use DELETE, which is audited row by row.';
END
$$;
COMMENT ON FUNCTION steep_repl.refuse_truncate() IS 'Trigger.';

CREATE TRIGGER nodes_no_truncate BEFORE TRUNCATE ON steep_repl.nodes
  FOR EACH STATEMENT EXECUTE FUNCTION steep_repl.refuse_truncate();
CREATE TRIGGER state_no_truncate BEFORE TRUNCATE ON steep_repl.coordinator_state
  FOR EACH STATEMENT EXECUTE FUNCTION steep_repl.refuse_truncate();


-- ---------------------------------------------------------------------------------------------------
-- Triggers on audit_log
-- ---------------------------------------------------------------------------------------------------

CREATE FUNCTION steep_repl.guard_audit_log() RETURNS trigger
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
-- Runs as whoever runs the statement, so that current_user tells the owner, as whom all our functions
-- write, from a role that was merely granted rights on the table.
DECLARE
  owner oid := (SELECT relowner FROM pg_class WHERE oid = TG_RELID);
BEGIN
  IF TG_OP = 'INSERT' THEN
    IF pg_has_role(current_user, owner, 'MEMBER') THEN
      RETURN NULL;
    END IF;
    RAISE EXCEPTION 'steep_repl.audit_log is written by its own functions only'
      USING ERRCODE = 'insufficient_privilege', HINT = 'The daemon''s role uses steep_repl.record_events().';
  END IF;
  IF TG_OP = 'DELETE'
    AND current_user = pg_get_userbyid(owner)
    AND current_setting('steep_repl.pruning', true) = pg_current_xact_id_if_assigned()::text
  THEN
    RETURN OLD;
  END IF;
  RAISE EXCEPTION 'steep_repl.audit_log is append-only: % is refused', TG_OP
    USING ERRCODE = 'insufficient_privilege',
          HINT = 'steep_repl.prune_audit_log(older_than) removes entries by age.';
END
$$;
COMMENT ON FUNCTION steep_repl.guard_audit_log() IS 'Trigger: keeps audit_log append-only.';

CREATE FUNCTION steep_repl.audit_written() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
-- One notification for each statement, however many rows a restore copies.
DECLARE
  newest bigint := (SELECT max(id) FROM written);
BEGIN
  IF newest IS NOT NULL THEN
    PERFORM pg_notify('steep_repl', json_build_object('table', 'audit_log', 'id', newest)::text);
  END IF;
  RETURN NULL;
END
$$;
COMMENT ON FUNCTION steep_repl.audit_written() IS 'Trigger: announces new audit rows.';

-- For each statement, not for each row: pruning stays six times as fast.
CREATE TRIGGER audit_log_append_only BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON steep_repl.audit_log
  FOR EACH STATEMENT EXECUTE FUNCTION steep_repl.guard_audit_log();
-- Replication workers fire row triggers alone; this one fires in replica mode alone.
CREATE TRIGGER audit_log_append_only_replica BEFORE UPDATE OR DELETE ON steep_repl.audit_log
  FOR EACH ROW EXECUTE FUNCTION steep_repl.guard_audit_log();
CREATE TRIGGER audit_log_written AFTER INSERT ON steep_repl.audit_log
  REFERENCING NEW TABLE AS written
  FOR EACH STATEMENT EXECUTE FUNCTION steep_repl.audit_written();

ALTER TABLE steep_repl.nodes
  ENABLE ALWAYS TRIGGER nodes_audit,
  ENABLE ALWAYS TRIGGER nodes_audit_update,
  ENABLE ALWAYS TRIGGER nodes_no_truncate;
ALTER TABLE steep_repl.coordinator_state
  ENABLE ALWAYS TRIGGER state_touch,
  ENABLE ALWAYS TRIGGER state_audit,
  ENABLE ALWAYS TRIGGER state_audit_update,
  ENABLE ALWAYS TRIGGER state_no_truncate;
ALTER TABLE steep_repl.audit_log
  ENABLE ALWAYS TRIGGER audit_log_append_only,
  ENABLE REPLICA TRIGGER audit_log_append_only_replica,
  ENABLE ALWAYS TRIGGER audit_log_written;


-- ---------------------------------------------------------------------------------------------------
-- Functions for psql. They run as their caller, who needs the rights on the tables.
-- ---------------------------------------------------------------------------------------------------

CREATE FUNCTION steep_repl.version() RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT '0.1.0' $$;
COMMENT ON FUNCTION steep_repl.version() IS 'Version of these objects, such as 0.1.0.';

CREATE FUNCTION steep_repl.register_node(
  node_id text,
  node_name text,
  host text,
  port integer DEFAULT 5432,
  priority integer DEFAULT 50,
  grpc_host text DEFAULT NULL,
  grpc_port integer DEFAULT NULL
) RETURNS steep_repl.nodes
  LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
  INSERT INTO steep_repl.nodes AS n (node_id, node_name, host, port, priority, grpc_host, grpc_port)
  VALUES (register_node.node_id, register_node.node_name, register_node.host, register_node.port,
          register_node.priority, register_node.grpc_host, register_node.grpc_port)
  ON CONFLICT (node_id) DO UPDATE
    SET node_name = excluded.node_name, host = excluded.host, port = excluded.port,
        priority = excluded.priority, grpc_host = excluded.grpc_host, grpc_port = excluded.grpc_port
  RETURNING n.*
$$;
COMMENT ON FUNCTION steep_repl.register_node(text, text, text, integer, integer, text, integer) IS
  'Adds a node, or sets the facts of a known one: what is left out gets its default. Status, '
  'is_coordinator and last_seen of a known node stay.';

CREATE FUNCTION steep_repl.heartbeat(node_id text, status text DEFAULT NULL) RETURNS boolean
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
  UPDATE steep_repl.nodes AS n
  SET last_seen = now(), status = coalesce(heartbeat.status, n.status)
  WHERE n.node_id = heartbeat.node_id;
  RETURN FOUND;
END
$$;
COMMENT ON FUNCTION steep_repl.heartbeat(text, text) IS
  'Sets last_seen to now, and the status if one is given. Only a changed status is audited. False when '
  'there is no such node.';

CREATE FUNCTION steep_repl.node_status() RETURNS TABLE (
  node_id text,
  node_name text,
  status text,
  is_coordinator boolean,
  last_seen timestamptz,
  seconds_since_seen numeric
)
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT n.node_id, n.node_name, n.status, n.is_coordinator, n.last_seen,
         round(extract(epoch FROM clock_timestamp() - n.last_seen), 1)
  FROM steep_repl.nodes AS n
  ORDER BY n.node_id
$$;
COMMENT ON FUNCTION steep_repl.node_status() IS
  'The nodes with the seconds since each last answered; null for a node that never did.';

CREATE FUNCTION steep_repl.health() RETURNS TABLE (component text, healthy boolean, detail text)
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT 'postgresql', current_setting('server_version_num')::int >= 180000,
         'PostgreSQL ' || current_setting('server_version')
  UNION ALL
  SELECT 'writable', NOT pg_is_in_recovery() AND current_setting('transaction_read_only') = 'off',
         CASE WHEN pg_is_in_recovery() THEN 'in recovery, read-only'
              WHEN current_setting('transaction_read_only') = 'on' THEN 'transaction is read-only'
              ELSE 'read-write' END
  UNION ALL
  SELECT 'extension', coalesce(installed = steep_repl.version(), false),
         CASE WHEN installed IS NULL THEN 'no version recorded, objects are ' || steep_repl.version()
              WHEN installed = steep_repl.version() THEN kind || ' ' || installed
              ELSE kind || ' ' || installed || ', but objects are ' || steep_repl.version() END
  FROM (
    SELECT coalesce(e.extversion, s.value #>> '{}') AS installed,
           CASE WHEN e.extversion IS NULL THEN 'schema without extension' ELSE 'extension' END AS kind
    FROM (VALUES (1)) AS one
    LEFT JOIN pg_extension AS e ON e.extname = 'steep_repl'
    LEFT JOIN steep_repl.coordinator_state AS s ON s.key = 'steep_repl.schema_version'
  ) AS known
  UNION ALL
  SELECT 'audit_triggers', count(*) FILTER (WHERE wrong) = 0,
         CASE WHEN count(*) FILTER (WHERE wrong) = 0 THEN count(*) || ' triggers enabled'
              ELSE 'missing or disabled: ' || string_agg(name, ', ' ORDER BY name) FILTER (WHERE wrong) END
  FROM (
    SELECT wanted.name, t.tgenabled IS DISTINCT FROM wanted.enabled AS wrong
    FROM (VALUES
      ('nodes', 'nodes_audit', 'A'::"char"), ('nodes', 'nodes_audit_update', 'A'),
      ('nodes', 'nodes_no_truncate', 'A'), ('coordinator_state', 'state_touch', 'A'),
      ('coordinator_state', 'state_audit', 'A'), ('coordinator_state', 'state_audit_update', 'A'),
      ('coordinator_state', 'state_no_truncate', 'A'), ('audit_log', 'audit_log_append_only', 'A'),
      ('audit_log', 'audit_log_append_only_replica', 'R'), ('audit_log', 'audit_log_written', 'A')
    ) AS wanted (on_table, name, enabled)
    LEFT JOIN pg_trigger AS t
      ON t.tgname = wanted.name AND t.tgrelid = to_regclass('steep_repl.' || wanted.on_table)
  ) AS triggers
  UNION ALL
  SELECT 'audit_log', true, coalesce('newest entry ' || max(occurred_at), 'empty')
  FROM steep_repl.audit_log
  UNION ALL
  SELECT 'coordinator', count(*) <= 1, coalesce(string_agg(node_id, ', ' ORDER BY node_id), 'none')
  FROM steep_repl.nodes WHERE is_coordinator
  UNION ALL
  SELECT 'nodes', coalesce(bool_and(status NOT IN ('degraded', 'unreachable')), true),
         coalesce(string_agg(number || ' ' || status, ', ' ORDER BY status), 'none registered')
  FROM (SELECT status, count(*) AS number FROM steep_repl.nodes GROUP BY status) AS counted
$$;
COMMENT ON FUNCTION steep_repl.health() IS
  'One row for each component of this database''s part: whether it is well, and what is known of it.';


-- ---------------------------------------------------------------------------------------------------
-- Functions of the daemon. They run as the owner, so the daemon's role needs no rights to write tables.
-- ---------------------------------------------------------------------------------------------------

CREATE FUNCTION steep_repl.daemon_register_node(
  node_id text,
  node_name text,
  host text,
  port integer,
  priority integer,
  grpc_host text,
  grpc_port integer,
  status text DEFAULT 'healthy',
  acting_for text DEFAULT NULL
) RETURNS steep_repl.nodes
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  previous text := steep_repl.switch_acting_for(acting_for);
  -- last_seen is never moved for a node that did not answer.
  seen timestamptz := CASE WHEN daemon_register_node.status IN ('healthy', 'degraded') THEN now() END;
  result steep_repl.nodes;
BEGIN
  INSERT INTO steep_repl.nodes AS n
    (node_id, node_name, host, port, priority, grpc_host, grpc_port, status, last_seen)
  VALUES
    (daemon_register_node.node_id, daemon_register_node.node_name, daemon_register_node.host,
     daemon_register_node.port, daemon_register_node.priority, daemon_register_node.grpc_host,
     daemon_register_node.grpc_port, daemon_register_node.status, seen)
  ON CONFLICT (node_id) DO UPDATE
    SET node_name = excluded.node_name, host = excluded.host, port = excluded.port,
        priority = excluded.priority, grpc_host = excluded.grpc_host, grpc_port = excluded.grpc_port,
        status = excluded.status, last_seen = coalesce(excluded.last_seen, n.last_seen)
  RETURNING n.* INTO result;
  PERFORM set_config('steep_repl.acting_for', previous, true);
  RETURN result;
END
$$;
COMMENT ON FUNCTION
  steep_repl.daemon_register_node(text, text, text, integer, integer, text, integer, text, text) IS
  'For the daemon: adds a node or sets its facts and status; last_seen becomes now if the status says '
  'that it answered (healthy or degraded).';

CREATE FUNCTION steep_repl.set_node_status(node_id text, status text, acting_for text DEFAULT NULL)
  RETURNS boolean
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  previous text := steep_repl.switch_acting_for(acting_for);
  known boolean;
BEGIN
  UPDATE steep_repl.nodes AS n SET status = set_node_status.status
  WHERE n.node_id = set_node_status.node_id;
  known := FOUND;
  PERFORM set_config('steep_repl.acting_for', previous, true);
  RETURN known;
END
$$;
COMMENT ON FUNCTION steep_repl.set_node_status(text, text, text) IS
  'For the daemon: sets a node''s status and nothing else. False when there is no such node.';

CREATE FUNCTION steep_repl.remove_node(node_id text, acting_for text DEFAULT NULL) RETURNS boolean
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  previous text := steep_repl.switch_acting_for(acting_for);
  known boolean;
BEGIN
  DELETE FROM steep_repl.nodes AS n WHERE n.node_id = remove_node.node_id;
  known := FOUND;
  PERFORM set_config('steep_repl.acting_for', previous, true);
  RETURN known;
END
$$;
COMMENT ON FUNCTION steep_repl.remove_node(text, text) IS
  'For the daemon: removes a node. False when there is no such node.';

CREATE FUNCTION steep_repl.set_coordinator(node_id text, term bigint, acting_for text DEFAULT NULL)
  RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  previous text := steep_repl.switch_acting_for(acting_for);
BEGIN
  IF term IS NULL OR term < 0 THEN
    RAISE EXCEPTION 'term must be 0 or more, not %', coalesce(term::text, 'null')
      USING ERRCODE = 'invalid_parameter_value';
  END IF;
  -- Two callers would otherwise each clear what they see and then meet in the unique index.
  PERFORM pg_advisory_xact_lock(hashtextextended('steep_repl.set_coordinator', 0));
  -- Clear, then set: one UPDATE of both rows passes the unique index or fails, by the rows' order.
  UPDATE steep_repl.nodes AS n SET is_coordinator = false
  WHERE n.is_coordinator AND n.node_id IS DISTINCT FROM set_coordinator.node_id;
  IF set_coordinator.node_id IS NOT NULL THEN
    UPDATE steep_repl.nodes AS n SET is_coordinator = true WHERE n.node_id = set_coordinator.node_id;
    IF NOT FOUND THEN
      RAISE EXCEPTION 'node "%" is not registered', set_coordinator.node_id
        USING ERRCODE = 'no_data_found';
    END IF;
  END IF;
  INSERT INTO steep_repl.coordinator_state AS s (key, value)
  VALUES ('cluster.coordinator', jsonb_build_object('node_id', set_coordinator.node_id, 'term', term))
  ON CONFLICT (key) DO UPDATE SET value = excluded.value WHERE s.value <> excluded.value;
  PERFORM set_config('steep_repl.acting_for', previous, true);
END
$$;
COMMENT ON FUNCTION steep_repl.set_coordinator(text, bigint, text) IS
  'For the daemon: makes the node the one coordinator, or nobody if node_id is null, and records '
  '{node_id, term} in coordinator_state under cluster.coordinator. Saying it again changes nothing.';

CREATE FUNCTION steep_repl.set_daemon_state(value jsonb) RETURNS void
  LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
  INSERT INTO steep_repl.coordinator_state AS s (key, value)
  VALUES ('cluster.daemon', set_daemon_state.value)
  ON CONFLICT (key) DO UPDATE SET value = excluded.value WHERE s.value <> excluded.value
$$;
COMMENT ON FUNCTION steep_repl.set_daemon_state(jsonb) IS
  'For the daemon: records in coordinator_state under cluster.daemon which copy of its node it is and how often it '
  'has written its state, so that a restored state directory is known for one.';

CREATE FUNCTION steep_repl.record_events(events jsonb, acting_for text DEFAULT NULL) RETURNS integer
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
AS $$
DECLARE
  actions CONSTANT text[] := ARRAY[
    'node.registered', 'node.updated', 'node.status_changed', 'node.removed',
    'coordinator.elected', 'coordinator.resigned', 'state.updated',
    'daemon.started', 'daemon.stopped', 'daemon.reloaded', 'daemon.error', 'config.changed',
    'postgresql.lost', 'postgresql.restored', 'rpc.refused', 'certificate.changed',
    'audit.pruned', 'audit.overflowed'
  ];
  target_types CONSTANT text[] := ARRAY['node', 'state', 'daemon'];
  previous text := steep_repl.switch_acting_for(acting_for);
  event jsonb;
  position bigint;
  problem text;
  details jsonb;
  written integer := 0;
BEGIN
  IF jsonb_typeof(events) IS DISTINCT FROM 'array' THEN
    RAISE EXCEPTION 'events must be a JSON array' USING ERRCODE = 'invalid_parameter_value';
  END IF;
  -- A client that gave up waiting sends the batch again while its first call may still be at work:
  -- the second waits here, and then sees what the first has written.
  PERFORM pg_advisory_xact_lock(hashtextextended('steep_repl.record_events', 0));
  FOR event, position IN
    SELECT value, ordinality FROM jsonb_array_elements(events) WITH ORDINALITY ORDER BY ordinality
  LOOP
    problem := CASE
      WHEN jsonb_typeof(event) <> 'object' THEN 'is not an object'
      WHEN NOT coalesce(pg_input_is_valid(event ->> 'event_id', 'uuid'), false)
        THEN 'event_id is not a UUID'
      WHEN NOT coalesce(pg_input_is_valid(event ->> 'occurred_at', 'timestamptz'), false)
        THEN 'occurred_at is not a time'
      WHEN NOT isfinite((event ->> 'occurred_at')::timestamptz) THEN 'occurred_at is not a time'
      WHEN NOT coalesce((event ->> 'action') = ANY (actions), false)
        THEN format('action %s is unknown', coalesce(event ->> 'action', 'null'))
      WHEN NOT coalesce((event ->> 'target_type') = ANY (target_types), true)
        THEN format('target_type %s is unknown', event ->> 'target_type')
      WHEN coalesce(jsonb_typeof(event -> 'success'), 'null') NOT IN ('null', 'boolean')
        THEN 'success is not a boolean'
      WHEN NOT coalesce(pg_input_is_valid(split_part(event ->> 'client_ip', '%', 1), 'inet'), true)
        THEN 'client_ip is not an address'
    END;
    IF problem IS NOT NULL THEN
      RAISE EXCEPTION 'event %: %', position, problem
        USING ERRCODE = 'invalid_parameter_value', DETAIL = left(event::text, 500);
    END IF;
    details := nullif(event -> 'new_value', 'null');
    IF jsonb_typeof(details) <> 'object' THEN
      details := jsonb_build_object('value', details);
    END IF;
    details := coalesce(details, '{}')
      || jsonb_build_object('event_id', (event ->> 'event_id')::uuid);
    IF steep_repl.audit_append(
      event ->> 'action', event ->> 'target_type', event ->> 'target_id',
      nullif(event -> 'old_value', 'null'), details,
      least((event ->> 'occurred_at')::timestamptz, now()),
      -- An IPv6 address may carry the interface it was seen on, which inet does not know.
      CASE
        WHEN event ->> 'client_ip' IS NULL THEN inet_client_addr()
        ELSE split_part(event ->> 'client_ip', '%', 1)::inet
      END,
      coalesce((event ->> 'success')::boolean, true), event ->> 'error_message'
    ) THEN
      written := written + 1;
    END IF;
  END LOOP;
  PERFORM set_config('steep_repl.acting_for', previous, true);
  RETURN written;
END
$$;
COMMENT ON FUNCTION steep_repl.record_events(jsonb, text) IS
  'For the daemon: writes an array of {event_id, occurred_at, action, target_type, target_id, old_value, '
  'new_value, success, error_message, client_ip} to the audit trail, each event_id once for ever. '
  'Returns how many were new. One bad event refuses all.';

CREATE FUNCTION steep_repl.prune_audit_log(older_than interval, batch integer DEFAULT 10000)
  RETURNS bigint
  -- UTC, where every day has 24 hours.
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
AS $$
DECLARE
  cutoff timestamptz := now() - older_than;
  cutoff_text text := to_char(cutoff, 'YYYY-MM-DD"T"HH24:MI:SS"Z"');
  covered_text text := to_char(cutoff - interval '1 hour', 'YYYY-MM-DD"T"HH24:MI:SS"Z"');
  removed bigint;
BEGIN
  -- The moment counts as well: '1 month -29 days' is a day to PostgreSQL, and in March lies in the future.
  IF older_than IS NULL OR older_than < interval '1 day' OR cutoff > now() - interval '1 day' THEN
    RAISE EXCEPTION 'older_than must be one day or more, not %', coalesce(older_than::text, 'null')
      USING ERRCODE = 'invalid_parameter_value';
  END IF;
  IF batch IS NULL OR batch < 1 THEN
    RAISE EXCEPTION 'batch must be 1 or more, not %', coalesce(batch::text, 'null')
      USING ERRCODE = 'invalid_parameter_value';
  END IF;
  -- One at a time, or a second caller would wait for rows, find them gone and report 0 too early.
  PERFORM pg_advisory_xact_lock(hashtextextended('steep_repl.prune_audit_log', 0));
  PERFORM set_config('steep_repl.pruning', pg_current_xact_id()::text, true);
  DELETE FROM steep_repl.audit_log WHERE id IN (
    SELECT id FROM steep_repl.audit_log WHERE occurred_at < cutoff ORDER BY occurred_at, id LIMIT batch
  );
  GET DIAGNOSTICS removed = ROW_COUNT;
  PERFORM set_config('steep_repl.pruning', '', true);
  -- Pruning takes many calls. The first leaves a trace, which covers the further ones of the same actor
  -- for an hour, unless one of them reaches for younger rows than it said.
  IF removed > 0 AND NOT EXISTS (
    SELECT FROM steep_repl.audit_log
    WHERE action = 'audit.pruned' AND actor = steep_repl.audit_actor()
      AND occurred_at > now() - interval '1 hour' AND (new_value ->> 'cutoff') COLLATE "C" >= covered_text
  ) THEN
    PERFORM steep_repl.audit_append(
      'audit.pruned', NULL, NULL, NULL,
      jsonb_build_object('older_than', older_than::text, 'cutoff', cutoff_text, 'first_batch', removed)
    );
  END IF;
  RETURN removed;
END
$$;
COMMENT ON FUNCTION steep_repl.prune_audit_log(interval, integer) IS
  'Removes one batch of the oldest audit rows older than older_than, a day at least, and returns how '
  'many; repeat until 0. Leaves at most one audit.pruned row for each actor and hour.';


-- ---------------------------------------------------------------------------------------------------
-- Rights
-- ---------------------------------------------------------------------------------------------------

CREATE FUNCTION steep_repl.grant_daemon(role name) RETURNS void
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  -- Also keeps "public" out, which GRANT would take for everybody and which no role can be called.
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = grant_daemon.role) THEN
    RAISE EXCEPTION 'role "%" does not exist', grant_daemon.role USING ERRCODE = 'undefined_object';
  END IF;
  EXECUTE format('GRANT USAGE ON SCHEMA steep_repl TO %I', grant_daemon.role);
  EXECUTE format(
    'GRANT SELECT ON steep_repl.nodes, steep_repl.coordinator_state, steep_repl.audit_log TO %I',
    grant_daemon.role
  );
  EXECUTE format(
    'GRANT EXECUTE ON FUNCTION
       steep_repl.set_acting_for(text),
       steep_repl.daemon_register_node(text, text, text, integer, integer, text, integer, text, text),
       steep_repl.set_node_status(text, text, text),
       steep_repl.remove_node(text, text),
       steep_repl.set_coordinator(text, bigint, text),
       steep_repl.set_daemon_state(jsonb),
       steep_repl.record_events(jsonb, text),
       steep_repl.prune_audit_log(interval, integer)
     TO %I',
    grant_daemon.role
  );
END
$$;
COMMENT ON FUNCTION steep_repl.grant_daemon(name) IS
  'For the owner: grants a role what the daemon needs, and nothing more.';

DO $$
-- Takes away what ALTER DEFAULT PRIVILEGES of whoever installs this gave on the way: a role that it favours
-- could act as the daemon, or put a trigger on nodes that runs as the owner. What lets it read may stay.
DECLARE
  command text;
BEGIN
  FOR command IN
    SELECT format('REVOKE %s ON %s FROM %s', privilege, object,
                  CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END)
    FROM (
      SELECT a.privilege_type, 'SCHEMA steep_repl', a.grantee
      FROM pg_namespace AS n, aclexplode(n.nspacl) AS a
      WHERE n.nspname = 'steep_repl' AND a.grantee <> n.nspowner AND a.privilege_type = 'CREATE'
      UNION ALL
      SELECT a.privilege_type, c.oid::regclass::text, a.grantee
      FROM pg_class AS c, aclexplode(c.relacl) AS a
      WHERE c.relnamespace = 'steep_repl'::regnamespace AND a.grantee <> c.relowner
        AND a.privilege_type <> 'SELECT'
      UNION ALL
      SELECT a.privilege_type, 'FUNCTION ' || p.oid::regprocedure, a.grantee
      FROM pg_proc AS p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS a
      WHERE p.pronamespace = 'steep_repl'::regnamespace AND a.grantee <> p.proowner
    ) AS given (privilege, object, grantee)
  LOOP
    EXECUTE command;
  END LOOP;
END
$$;
-- Executable by everybody, given USAGE on the schema: what reads or runs with the caller's own rights.
GRANT EXECUTE ON FUNCTION
  steep_repl.version(),
  steep_repl.register_node(text, text, text, integer, integer, text, integer),
  steep_repl.heartbeat(text, text),
  steep_repl.node_status(),
  steep_repl.health()
TO PUBLIC;
