-- title: What happened to a node, a namespace, a pod or any object, in time order and by every log?
-- param node text optional: about this node, what runs on it, and what its kubelet asked and logged
-- param namespace text optional: about this namespace
-- param pod text optional: about this pod
-- param kind text optional: about objects of this kind, such as Deployment; whatever its case
-- param name text optional: about objects of this name
-- param reads flag default false: also requests that only read
-- param severity choice debug|info|warning|error|fatal optional: only log entries at least so severe
-- param heartbeats choice no|yes|only default no: renewed leases, and status of nodes in which no condition changed
-- param limit int default 1000: at most so many rows, the newest
-- column time: when the request was answered, the Event reported, the entry written
-- column what: request, event or log
-- column actor: who asked, who reported, which component wrote it
-- column action: verb and HTTP status; type and reason of an Event; severity
-- column object: resource/subresource or kind, then namespace/name
-- column message: of a request what it did as far as columns tell; of the others their text
-- column node: node of it, where known
-- column source: audit, inventory or component
-- column audit_id: of a request: for `kolumn ask event --audit-id`
-- column cluster: the cluster
-- left-out heartbeats=only: renewed leases and status of nodes in which no condition changed; `--heartbeats yes` shows them
-- cost: reads no bodies, but looks at every event and entry of the window
-- example: kolumn ask timeline --node aks-nodepool1-26474021-vmss000002 --since 1h

WITH
-- Status of a node that tells of a change: a condition that turned in the minute before.
turned AS (
    SELECT cluster AS in_cluster, audit_id AS in_id, string_agg(
        concat_ws(' ', concat(type, '=', status), nullif(reason, '')), ', ' ORDER BY type
    ) AS conditions
    FROM node_conditions
    WHERE last_transition_time >= time - INTERVAL '1 minute'
      AND ($node IS NULL OR node = $node)
      AND ($cluster IS NULL OR cluster = $cluster)
      AND ($since IS NULL OR time >= $since)
      AND ($until IS NULL OR time < $until)
    GROUP BY in_cluster, in_id
),
asked AS (
    SELECT
        stage_timestamp AS time,
        coalesce(impersonated_username, username, '(nobody)') AS actor,
        concat_ws(' ', verb, response_code) AS action,
        concat_ws(
            ' ',
            nullif(concat_ws('/', resource, subresource), ''),
            nullif(concat_ws('/', namespace, name), '')
        ) AS object,
        concat_ws(
            ', ',
            CASE WHEN resource IS NULL THEN request_uri END,
            CASE WHEN response_code >= 400 THEN response_message END,
            'bound to ' || binding_target,
            'phase ' || phase,
            CASE WHEN unschedulable THEN 'cordoned' END,
            CASE WHEN deletion_timestamp IS NOT NULL THEN 'being deleted' END,
            conditions_turned,
            user_agent
        ) AS message,
        coalesce(binding_target, node_name, CASE resource WHEN 'nodes' THEN name END) AS node,
        audit_id,
        cluster,
        coalesce(resource = 'leases', false)
        OR coalesce(
            resource = 'nodes' AND subresource = 'status' AND starts_with(username, 'system:node:')
            AND conditions_turned IS NULL AND response_code < 400, false
        ) AS heartbeat
    FROM (
        SELECT events.*, turned.conditions AS conditions_turned
        FROM events
        LEFT JOIN turned ON events.cluster = in_cluster AND events.audit_id = in_id
            AND events.resource = 'nodes' AND events.subresource = 'status'
    )
    WHERE stage IN ('ResponseComplete', 'Panic')
      AND (resource IS DISTINCT FROM 'events')
      AND (api_group IS NULL OR api_group NOT IN ('authorization.k8s.io', 'authentication.k8s.io'))
      AND ($reads OR verb NOT IN ('get', 'list', 'watch', 'head', 'options'))
      AND ($since IS NULL OR stage_timestamp >= $since)
      AND ($until IS NULL OR stage_timestamp < $until)
      AND ($cluster IS NULL OR cluster = $cluster)
      AND (
          $node IS NULL
          OR (resource = 'nodes' AND name = $node)
          OR node_name = $node
          OR binding_target = $node
          OR username = 'system:node:' || $node
      )
      AND ($namespace IS NULL OR namespace = $namespace OR (resource = 'namespaces' AND name = $namespace))
      AND ($pod IS NULL OR (resource = 'pods' AND name = $pod))
      AND (
          $kind IS NULL
          OR resource IN (lower($kind), lower($kind) || 's', lower($kind) || 'es', regexp_replace(lower($kind), 'y$', 'ies'))
      )
      AND ($name IS NULL OR name = $name)
),
-- An Event that a request brought is not told again by a sample or a line of the same minute, nor one that
-- a sample tells by a line.
reported AS (
    SELECT
        *,
        max(CASE source WHEN 'audit' THEN happened END) OVER earlier AS audit_before,
        min(CASE source WHEN 'audit' THEN happened END) OVER later AS audit_after,
        max(CASE source WHEN 'inventory' THEN happened END) OVER earlier AS sample_before,
        min(CASE source WHEN 'inventory' THEN happened END) OVER later AS sample_after,
        row_number() OVER (
            PARTITION BY cluster, lower(kind), namespace, name, reason, message, source, happened ORDER BY time, audit_id
        ) AS seen
    FROM (
        SELECT *, CASE source WHEN 'inventory' THEN coalesce(last_time, time) ELSE time END AS happened
        FROM event_reports
        WHERE ($since IS NULL OR time >= $since)
          AND ($until IS NULL OR time < $until)
          AND ($cluster IS NULL OR cluster = $cluster)
          AND ($node IS NULL OR host = $node OR (lower(kind) = 'node' AND name = $node))
          AND ($namespace IS NULL OR namespace = $namespace OR (lower(kind) = 'namespace' AND name = $namespace))
          AND ($pod IS NULL OR (lower(kind) = 'pod' AND name = $pod))
          AND ($kind IS NULL OR lower(kind) = lower($kind))
          AND ($name IS NULL OR name = $name)
    )
    WINDOW
        earlier AS (
            PARTITION BY cluster, lower(kind), namespace, name, reason, message
            ORDER BY happened ROWS UNBOUNDED PRECEDING
        ),
        later AS (
            PARTITION BY cluster, lower(kind), namespace, name, reason, message
            ORDER BY happened ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING
        )
),
logged AS (
    SELECT
        time, component, severity, array_to_string(objects, ' ') AS objects, message, fields,
        coalesce(node, source_node) AS node, cluster
    FROM component
    WHERE (message IS DISTINCT FROM 'Event occurred')
      AND NOT starts_with(coalesce(message, ''), 'Event(')
      AND ($since IS NULL OR time >= $since)
      AND ($until IS NULL OR time < $until)
      AND ($cluster IS NULL OR cluster = $cluster)
      AND (
          $severity IS NULL
          OR array_position(['debug', 'info', 'warning', 'error', 'fatal'], severity)
              >= array_position(['debug', 'info', 'warning', 'error', 'fatal'], $severity)
      )
      AND ($node IS NULL OR node = $node OR source_node = $node OR array_has(objects, 'node/' || $node))
      AND (
          $namespace IS NULL
          OR namespace = $namespace
          OR array_has(objects, 'namespace/' || $namespace)
          OR contains(array_to_string(objects, ' '), '/' || $namespace || '/')
      )
      AND (
          $pod IS NULL
          OR pod = $pod
          OR regexp_like(
              array_to_string(objects, ' '), '(^| )pod/[^/ ]+/' || replace(coalesce($pod, ''), '.', '\.') || '( |$)'
          )
      )
      AND (
          ($kind IS NULL AND $name IS NULL)
          OR regexp_like(
              array_to_string(objects, ' '),
              '(^| )' || coalesce(lower($kind), '[^/ ]+') || '/([^/ ]+/)?'
              || coalesce(replace($name, '.', '\.'), '[^/ ]+') || '( |$)'
          )
      )
),
told AS (
    SELECT time, 'request' AS what, actor, action, object, message, node, 'audit' AS source, audit_id, cluster
    FROM asked
    WHERE $heartbeats = 'yes' OR heartbeat = ($heartbeats = 'only')
    UNION ALL
    SELECT
        happened, 'event', coalesce(reporter, actor), concat_ws(' ', type, reason),
        concat_ws(' ', kind, nullif(concat_ws('/', namespace, name), '')), message,
        coalesce(host, CASE lower(kind) WHEN 'node' THEN name END), source, audit_id, cluster
    FROM reported
    WHERE $heartbeats <> 'only'
      AND (seen = 1 OR source = 'audit')
      AND ($since IS NULL OR happened >= $since)
      AND (
          source = 'audit'
          OR NOT coalesce(audit_before >= happened - INTERVAL '1 minute', false)
          AND NOT coalesce(audit_after <= happened + INTERVAL '1 minute', false)
      )
      AND (
          source <> 'component'
          OR NOT coalesce(sample_before >= happened - INTERVAL '1 minute', false)
          AND NOT coalesce(sample_after <= happened + INTERVAL '1 minute', false)
      )
    UNION ALL
    SELECT
        time, 'log', component, severity, nullif(objects, ''), concat_ws(' ', message, fields), node,
        'component', NULL, cluster
    FROM logged
    WHERE $heartbeats <> 'only'
),
newest AS (
    SELECT *
    FROM told
    ORDER BY time DESC, cluster, what, actor, object, action, message, audit_id
    LIMIT $limit
)
SELECT time, what, actor, action, object, message, node, source, audit_id, cluster
FROM newest
ORDER BY time, cluster, what, actor, object, action, message, audit_id
