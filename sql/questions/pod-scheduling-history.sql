-- title: What happened to a pod: created by whom, unschedulable why, bound where, evicted or deleted by whom?
-- param pod text required: name of the pod
-- param namespace text optional: only in this namespace
-- column time: when the request was answered
-- column step: created, unschedulable, bound, phase, a condition such as Ready=True, a container's trouble,
--   event, evicted, eviction refused, deletion requested, deleted
-- column node: node of the pod by then
-- column phase: phase of the pod by then
-- column reason: reason of the condition, container state or Event; HTTP status of a refused eviction
-- column message: message of the same; the owner of a created pod, the grace period of a deletion
-- column actor: who made the request
-- column namespace: namespace of the pod
-- column uid: uid of the pod: another one is another life of the name
-- column audit_id: audit id of the request
-- needs: resource=pods subresource=status body=response verbs=patch,update
-- cost: reads the bodies of the requests on this pod
-- example: kolumn ask pod-scheduling-history --pod hungry --namespace dev

-- Conditions, phases and container states are shown when they change; what held before the window is read
-- for that, and the steps of the window are shown. Of Kubernetes Events those are shown that tell more than
-- the other steps: warnings, and what scheduler and autoscaler have to say.
WITH requests AS (
    SELECT
        cluster, time, namespace, uid, step, node, phase, conditions, owner_kind, owner_name, actor, source, audit_id,
        coalesce(
            change_order,
            max(change_order) OVER (PARTITION BY cluster, namespace ORDER BY time ROWS UNBOUNDED PRECEDING),
            0
        ) AS position,
        coalesce(
            uid, last_value(uid) IGNORE NULLS OVER (PARTITION BY cluster, namespace ORDER BY time ROWS UNBOUNDED PRECEDING)
        ) AS life
    FROM pod_lifecycle
    WHERE pod = $pod
      AND ($namespace IS NULL OR namespace = $namespace)
      AND ($cluster IS NULL OR cluster = $cluster)
      AND ($until IS NULL OR time < $until)
),
phases AS (
    SELECT *, lag(phase) OVER (PARTITION BY cluster, namespace, life ORDER BY position, time) AS before
    FROM requests
    WHERE phase IS NOT NULL
),
conditions AS (
    SELECT
        *,
        lag(status) OVER earlier AS status_before,
        lag(reason) OVER earlier AS reason_before,
        lag(message) OVER earlier AS message_before
    FROM (
        SELECT
            cluster, time, namespace, life, node, phase, actor, audit_id, position,
            condition['type'] AS type,
            condition['status'] AS status,
            condition['reason'] AS reason,
            condition['message'] AS message
        FROM (SELECT *, unnest(conditions) AS condition FROM requests)
    )
    WHERE status IS NOT NULL
    WINDOW earlier AS (PARTITION BY cluster, namespace, life, type ORDER BY position, time)
),
-- Container states are in no column: read from the bodies of this one pod.
bodies AS (
    SELECT
        cluster, stage_timestamp AS time, namespace, object_uid AS life, node_name AS node, phase, username AS actor, audit_id,
        CASE response_object_state WHEN 'present' THEN response_object ELSE request_object END AS body
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
),
containers AS (
    SELECT
        * EXCLUDE (container),
        json_get_str(container, 'name') AS name,
        coalesce(json_get_int(container, 'restartCount'), 0) AS restarts,
        CASE
            WHEN coalesce(json_get_int(container, 'state', 'terminated', 'exitCode'), 0) <> 0 THEN 'terminated'
            WHEN json_get_str(container, 'state', 'waiting', 'reason') NOT IN ('ContainerCreating', 'PodInitializing')
                THEN 'waiting'
        END AS trouble,
        coalesce(
            json_get_str(container, 'state', 'waiting', 'reason'), json_get_str(container, 'state', 'terminated', 'reason')
        ) AS reason,
        coalesce(
            json_get_str(container, 'state', 'waiting', 'message'), json_get_str(container, 'state', 'terminated', 'message')
        ) AS message,
        json_get_int(container, 'state', 'terminated', 'exitCode') AS exit_code,
        json_get_str(container, 'lastState', 'terminated', 'reason') AS last_reason,
        json_get_str(container, 'lastState', 'terminated', 'message') AS last_message,
        json_get_int(container, 'lastState', 'terminated', 'exitCode') AS last_exit_code
    FROM (
        SELECT
            * EXCLUDE (body),
            unnest(
                array_concat(
                    coalesce(json_get_array(body, 'status', 'initContainerStatuses'), []),
                    coalesce(json_get_array(body, 'status', 'containerStatuses'), [])
                )
            ) AS container
        FROM bodies
    )
),
troubles AS (
    SELECT
        *,
        lag(restarts, 1, 0) OVER earlier AS restarts_before,
        lag(concat_ws(' ', trouble, reason)) OVER earlier AS trouble_before
    FROM containers
    WINDOW earlier AS (PARTITION BY cluster, namespace, life, name ORDER BY time)
),
steps AS (
    SELECT
        cluster, time, 1 AS rank, 'created' AS step, node, phase, NULL AS reason,
        CASE WHEN owner_kind IS NOT NULL THEN concat('owned by ', owner_kind, ' ', owner_name) END AS message,
        actor, namespace, life AS uid, audit_id
    FROM requests
    WHERE step = 'create'
    UNION ALL
    SELECT cluster, time, 2, 'bound', node, phase, NULL, NULL, actor, namespace, life, audit_id
    FROM requests
    WHERE step = 'bind'
    UNION ALL
    SELECT cluster, time, 3, 'phase', node, phase, NULL, NULL, actor, namespace, life, audit_id
    FROM phases
    WHERE (before IS DISTINCT FROM phase) AND step <> 'create'
    UNION ALL
    SELECT
        cluster, time, 4,
        CASE WHEN type = 'PodScheduled' AND status = 'False' THEN 'unschedulable' ELSE concat(type, '=', status) END,
        node, phase, reason, message, actor, namespace, life, audit_id
    FROM conditions
    WHERE (status_before IS DISTINCT FROM status)
       OR (reason_before IS DISTINCT FROM reason)
       OR (message_before IS DISTINCT FROM message)
    UNION ALL
    SELECT
        cluster, time, 5, concat('container ', name, ' ', trouble), node, phase, reason,
        concat_ws(': ', CASE WHEN exit_code IS NOT NULL THEN concat('exit code ', exit_code) END, message),
        actor, namespace, life, audit_id
    FROM troubles
    WHERE trouble IS NOT NULL AND (trouble_before IS DISTINCT FROM concat_ws(' ', trouble, reason))
    UNION ALL
    SELECT
        cluster, time, 5, concat('container ', name, ' restarted'), node, phase, last_reason,
        concat_ws(
            ': ', concat('restart ', restarts, coalesce(concat(' after exit code ', last_exit_code), '')), last_message
        ),
        actor, namespace, life, audit_id
    FROM troubles
    WHERE restarts > restarts_before
    UNION ALL
    SELECT
        cluster, time, 6,
        CASE
            WHEN final THEN 'deleted'
            WHEN how <> 'eviction' THEN 'deletion requested'
            WHEN succeeded THEN 'evicted'
            ELSE 'eviction refused'
        END,
        node, phase, CASE WHEN NOT succeeded THEN CAST(response_code AS TEXT) END,
        coalesce(
            response_message,
            CASE WHEN NOT final AND grace_period_seconds IS NOT NULL THEN concat('grace period ', grace_period_seconds, ' s') END
        ),
        actor, namespace, uid, audit_id
    FROM pod_removals
    WHERE pod = $pod
      AND ($namespace IS NULL OR namespace = $namespace)
      AND ($cluster IS NULL OR cluster = $cluster)
      AND ($until IS NULL OR time < $until)
    UNION ALL
    SELECT
        cluster, min(time), 7, 'event', NULL, NULL, first_value(reason ORDER BY time),
        concat(
            last_value(message ORDER BY time),
            CASE WHEN max(count) > 1 THEN concat(' (', max(count), ' times)') ELSE '' END
        ),
        first_value(actor ORDER BY time), object_namespace, object_uid, first_value(audit_id ORDER BY time)
    FROM kubernetes_events
    WHERE kind = 'Pod'
      AND object = $pod
      AND (type = 'Warning' OR reason IN ('TriggeredScaleUp', 'NotTriggerScaleUp', 'Preempted', 'TaintManagerEviction', 'Evicted'))
      AND ($namespace IS NULL OR object_namespace = $namespace)
      AND ($cluster IS NULL OR cluster = $cluster)
      AND ($since IS NULL OR time >= $since)
      AND ($until IS NULL OR time < $until)
    GROUP BY cluster, object_namespace, object_uid, namespace, event_name
)
SELECT time, step, node, phase, reason, message, actor, namespace, uid, audit_id
FROM steps
WHERE ($since IS NULL OR time >= $since)
ORDER BY time, rank, step
