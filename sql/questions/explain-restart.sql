-- title: Why was this pod restarted or moved? From its end back to who wanted it, and with which tool
-- param pod text required: name of the pod
-- param namespace text optional: only in this namespace
-- param lookback duration default 1h: how long before the pod's end to look for causes
-- column time: when the request was answered
-- column step: container restarted, removed, node cordoned, drained, node not ready, owner changed, tool installed, replaced
-- column object: what was changed
-- column actor: who asked
-- column message: what is known of it
-- column because: why it is believed to belong to the chain
-- column namespace: namespace of the pod
-- column uid: uid of the pod
-- column cluster: the cluster
-- column audit_id: audit id of the request
-- needs: resource=pods body=response verbs=create,update,patch,delete
-- once: lives, ends, removals, removed
-- cost: reads the bodies of the pod's status and of workloads in the namespace of the tool
-- example: kolumn ask explain-restart --pod azure-vote-front-7cd5f4cc8d-xxxxx --namespace azure-vote

-- Newest first: each row's cause is below it. A tool is the workload that runs under the service account
-- that asked; when it was installed is when a request first set its pod template.
WITH
lives AS (
    SELECT
        cluster, namespace, pod, uid, max(node) AS node, max(owner_kind) AS owner_kind, max(owner_name) AS owner_name,
        min(time) AS born
    FROM pod_lifecycle
    WHERE pod = $pod
      AND uid IS NOT NULL
      AND ($namespace IS NULL OR namespace = $namespace)
      AND ($cluster IS NULL OR cluster = $cluster)
      AND ($until IS NULL OR time < $until)
    GROUP BY cluster, namespace, pod, uid
),
removals AS (
    SELECT
        cluster, namespace, pod, uid, time, node, how, final, actor, user_agent, audit_id, grace_period_seconds,
        condition_of(conditions, 'DisruptionTarget')['message'] AS disruption
    FROM pod_removals
    WHERE succeeded
      AND ($cluster IS NULL OR cluster = $cluster)
      AND ($until IS NULL OR time < $until)
),
-- An eviction does not tell the uid: it is of the life that was there.
removed AS (
    SELECT
        cluster, namespace, pod, time, coalesce(told_uid, uid) AS uid, coalesce(told_node, node) AS node,
        owner_kind, owner_name, how, final, actor, user_agent, message, audit_id,
        min(time) OVER (PARTITION BY cluster, namespace, pod, coalesce(told_uid, uid)) AS ended,
        first_value(actor) OVER (PARTITION BY cluster, namespace, pod, coalesce(told_uid, uid) ORDER BY time) AS wanted_by
    FROM (
        SELECT
            removals.cluster, removals.namespace, removals.pod, removals.time, removals.uid AS told_uid,
            removals.node AS told_node, lives.uid, lives.node, owner_kind, owner_name, how, final, actor, user_agent,
            coalesce(
                disruption,
                CASE WHEN NOT final THEN 'grace period ' || grace_period_seconds || ' s' END
            ) AS message,
            audit_id,
            row_number() OVER (PARTITION BY removals.cluster, audit_id, how ORDER BY born DESC) AS place
        FROM removals
        JOIN lives
            ON lives.cluster = removals.cluster AND lives.namespace = removals.namespace AND lives.pod = removals.pod
            AND (removals.uid = lives.uid OR (removals.uid IS NULL AND born <= removals.time))
        WHERE removals.pod = $pod
    )
    WHERE place = 1
),
ends AS (
    SELECT DISTINCT cluster, namespace, pod, uid, node, owner_kind, owner_name, ended, wanted_by
    FROM removed
),
nodes AS (
    SELECT *, lag(unschedulable) IGNORE NULLS OVER (PARTITION BY cluster, node ORDER BY time) AS before
    FROM node_states
    WHERE unschedulable IS NOT NULL
      AND ($cluster IS NULL OR cluster = $cluster)
      AND ($until IS NULL OR time < $until)
),
ready AS (
    SELECT *, lag(status) OVER (PARTITION BY cluster, node ORDER BY time) AS before
    FROM node_conditions
    WHERE type = 'Ready'
      AND status IS NOT NULL
      AND ($cluster IS NULL OR cluster = $cluster)
      AND ($until IS NULL OR time < $until)
),
-- Owners of owners: a Deployment owns the ReplicaSet.
owners AS (
    SELECT DISTINCT
        ends.cluster, ends.namespace, uid, ended, owner_kind AS kind, owner_name AS name, 'owner of the pod' AS because
    FROM ends
    WHERE owner_name IS NOT NULL
    UNION ALL
    SELECT DISTINCT
        ends.cluster, ends.namespace, ends.uid, ended, owner_references[1]['kind'], owner_references[1]['name'],
        concat('owner of ', owner_kind, ' ', owner_name)
    FROM ends
    JOIN mutations
        ON mutations.cluster = ends.cluster AND mutations.namespace = ends.namespace AND mutations.name = owner_name
    WHERE resource IN ('replicasets', 'jobs')
      AND owner_references[1]['name'] IS NOT NULL
),
restarts AS (
    SELECT
        *,
        lag(restarts, 1, 0) OVER (PARTITION BY cluster, namespace, uid, container ORDER BY time) AS restarts_before
    FROM (
        SELECT
            cluster, namespace, uid, time, actor, audit_id,
            json_get_str(status, 'name') AS container,
            coalesce(json_get_int(status, 'restartCount'), 0) AS restarts,
            json_get_json(status, 'lastState', 'terminated') AS last_state
        FROM (
            SELECT
                cluster, namespace, object_uid AS uid, stage_timestamp AS time, username AS actor, audit_id,
                unnest(json_get_array(
                    CASE response_object_state WHEN 'present' THEN response_object ELSE request_object END,
                    'status', 'containerStatuses'
                )) AS status
            FROM events
            WHERE resource = 'pods'
              AND name = $pod
              AND subresource = 'status'
              AND verb IN ('patch', 'update')
              AND stage = 'ResponseComplete'
              AND response_code < 300
              AND ($namespace IS NULL OR namespace = $namespace)
              AND ($cluster IS NULL OR cluster = $cluster)
              AND ($until IS NULL OR stage_timestamp < $until)
        )
    )
),
chain AS (
    SELECT
        time, 1 AS rank, 'container restarted' AS step, concat('container ', container) AS object, actor,
        concat_ws(
            ', ', concat('restart ', restarts), json_get_str(last_state, 'reason'),
            'exit code ' || json_get_int(last_state, 'exitCode'), nullif(json_get_str(last_state, 'message'), '')
        ) AS message,
        'status of the pod' AS because, namespace, uid, cluster, audit_id
    FROM restarts
    WHERE restarts > restarts_before
    UNION ALL
    SELECT
        time, 2, CASE WHEN final AND time > ended THEN 'gone' ELSE 'removed' END, concat('pods ', namespace, '/', pod),
        actor, concat_ws(', ', how, message, user_agent), 'request to remove this pod', namespace, uid, cluster, audit_id
    FROM removed
    UNION ALL
    -- An eviction does not tell the node: who cordoned it and then evicts, drains it.
    SELECT
        max(removals.time), 3, 'drained', concat('nodes ', ends.node), removals.actor,
        concat(count(DISTINCT removals.namespace || '/' || removals.pod), ' pods evicted or deleted'),
        'by the same actor, after the cordon', ends.namespace, ends.uid, ends.cluster, min(removals.audit_id)
    FROM ends
    JOIN nodes
        ON nodes.cluster = ends.cluster AND nodes.node = ends.node AND nodes.actor = wanted_by AND unschedulable
    JOIN removals
        ON removals.cluster = ends.cluster AND removals.actor = wanted_by
        AND (removals.node IS NULL OR removals.node = ends.node)
    WHERE nodes.time >= ended - $lookback
      AND nodes.time <= ended
      AND removals.time >= nodes.time
      AND removals.time <= ended + INTERVAL '10 minutes'
      AND removals.how IN ('eviction', 'delete')
    GROUP BY ends.node, removals.actor, ends.namespace, ends.uid, ends.cluster
    HAVING count(DISTINCT removals.namespace || '/' || removals.pod) > 1
    UNION ALL
    SELECT
        time, 4, CASE WHEN unschedulable THEN 'node cordoned' ELSE 'node uncordoned' END, concat('nodes ', ends.node),
        actor, user_agent, CASE actor WHEN wanted_by THEN 'node of the pod, by the same actor' ELSE 'node of the pod' END,
        namespace, ends.uid, ends.cluster, audit_id
    FROM ends
    JOIN nodes ON nodes.cluster = ends.cluster AND nodes.node = ends.node
    WHERE time >= ended - $lookback
      AND time <= ended
      AND unschedulable <> before
    UNION ALL
    SELECT
        time, 5, concat('node Ready=', status), concat('nodes ', ends.node), reporter, concat_ws(': ', nullif(reason, ''), message),
        'node of the pod', namespace, ends.uid, ends.cluster, audit_id
    FROM ends
    JOIN ready ON ready.cluster = ends.cluster AND ready.node = ends.node
    WHERE time >= ended - $lookback
      AND time <= ended
      AND before IS NOT NULL
      AND before <> status
    UNION ALL
    SELECT
        time, 6, 'owner changed', concat_ws(' ', concat_ws('/', resource, subresource), concat_ws('/', owners.namespace, owners.name)),
        actor, concat_ws(', ', verb, 'replicas ' || CAST(replicas AS TEXT), user_agent), because, owners.namespace, owners.uid, owners.cluster, audit_id
    FROM owners
    JOIN mutations
        ON mutations.cluster = owners.cluster AND mutations.namespace = owners.namespace AND mutations.name = owners.name
        AND mutations.resource = lower(owners.kind) || 's'
    WHERE (subresource IS NULL OR subresource = 'scale')
      AND time >= ended - $lookback
      AND time <= ended
    UNION ALL
    SELECT
        min(time), 7, 'tool installed', concat(resource, ' ', tools.namespace, '/', name), actor, max(image),
        concat('runs as ', wanted_by), ends.namespace, ends.uid, ends.cluster, min(audit_id)
    FROM ends
    JOIN (
        SELECT
            cluster, namespace, resource, name, stage_timestamp AS time, username AS actor, audit_id,
            containers[1]['image'] AS image,
            concat(
                'system:serviceaccount:', namespace, ':',
                coalesce(json_get_str(response_object, 'spec', 'template', 'spec', 'serviceAccountName'), 'default')
            ) AS account
        FROM events
        WHERE resource IN ('daemonsets', 'deployments', 'statefulsets', 'replicasets')
          AND verb IN ('create', 'update', 'patch')
          AND subresource IS NULL
          AND stage = 'ResponseComplete'
          AND response_code < 300
          AND owner_references IS NULL
          AND request_uri NOT LIKE '%dryRun=%'
          AND ($cluster IS NULL OR cluster = $cluster)
          AND ($until IS NULL OR stage_timestamp < $until)
    ) AS tools
        ON tools.cluster = ends.cluster AND tools.account = wanted_by
    GROUP BY resource, tools.namespace, name, actor, wanted_by, ends.namespace, ends.uid, ends.cluster
    UNION ALL
    SELECT
        time, 0, 'replaced', concat('pods ', pods.namespace, '/', pods.pod), actor, 'by ' || pods.owner_kind || ' ' || pods.owner_name,
        'created by the same owner after the end', ends.namespace, ends.uid, ends.cluster, audit_id
    FROM ends
    JOIN pod_lifecycle AS pods
        ON pods.cluster = ends.cluster AND pods.namespace = ends.namespace AND pods.owner_name = ends.owner_name
    WHERE step = 'create'
      AND time >= ended
      AND time <= ended + INTERVAL '1 minute'
      AND pods.uid <> ends.uid
)
SELECT time, step, object, actor, nullif(message, '') AS message, because, namespace, uid, cluster, audit_id
FROM chain
WHERE ($since IS NULL OR time >= $since - $lookback)
ORDER BY cluster, namespace, uid, time DESC, rank, object, audit_id
