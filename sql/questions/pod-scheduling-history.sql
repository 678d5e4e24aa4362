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
--
-- Everything that a request tells is put into the form of a condition, so that one comparison with the
-- request before finds every change: plans grow with every use of a common table.
WITH requests AS (
    SELECT
        *,
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
facts AS (
    SELECT
        cluster, time, namespace, life, step, node, phase, actor, audit_id, position,
        unnest(
            array_concat(
                [
                    named_struct(
                        'type', CASE step WHEN 'create' THEN 'created' WHEN 'bind' THEN 'bound' END,
                        'status', 'done',
                        'reason', NULL,
                        'message', CASE WHEN step = 'create' THEN 'owned by ' || owner_kind || ' ' || owner_name END,
                        'last_transition_time', NULL,
                        'last_heartbeat_time', NULL
                    ),
                    named_struct(
                        'type', 'phase',
                        'status', phase,
                        'reason', NULL,
                        'message', NULL,
                        'last_transition_time', NULL,
                        'last_heartbeat_time', NULL
                    )
                ],
                conditions
            )
        ) AS fact
    FROM requests
),
compared AS (
    SELECT
        *,
        concat_ws(' ', fact['status'], fact['reason'], fact['message']) AS now,
        lag(concat_ws(' ', fact['status'], fact['reason'], fact['message'])) OVER (
            PARTITION BY cluster, namespace, life, fact['type'] ORDER BY position, time
        ) AS before
    FROM facts
    WHERE fact['type'] IS NOT NULL AND fact['status'] IS NOT NULL
),
-- Container states are in no column: they are read from the bodies of this one pod.
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
        coalesce(json_get_json(container, 'state', 'waiting'), json_get_json(container, 'state', 'terminated')) AS state,
        json_get_json(container, 'lastState', 'terminated') AS last_state
    FROM (
        SELECT
            cluster, stage_timestamp AS time, namespace, object_uid AS life, node_name AS node, phase,
            username AS actor, audit_id,
            unnest(
                array_concat(
                    coalesce(json_get_array(body, 'status', 'initContainerStatuses'), []),
                    coalesce(json_get_array(body, 'status', 'containerStatuses'), [])
                )
            ) AS container
        FROM (
            SELECT *, CASE response_object_state WHEN 'present' THEN response_object ELSE request_object END AS body
            FROM events
        )
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
),
troubles AS (
    SELECT
        *,
        lag(restarts, 1, 0) OVER earlier AS restarts_before,
        concat_ws(' ', trouble, json_get_str(state, 'reason')) AS now,
        lag(concat_ws(' ', trouble, json_get_str(state, 'reason'))) OVER earlier AS before
    FROM containers
    WINDOW earlier AS (PARTITION BY cluster, namespace, life, name ORDER BY time)
),
container_steps AS (
    SELECT
        cluster, time, namespace, life, node, phase, actor, audit_id,
        unnest([
            named_struct(
                'step', CASE WHEN trouble IS NOT NULL AND (before IS DISTINCT FROM now) THEN concat('container ', name, ' ', trouble) END,
                'reason', json_get_str(state, 'reason'),
                'message', concat_ws(': ', 'exit code ' || json_get_int(state, 'exitCode'), json_get_str(state, 'message'))
            ),
            named_struct(
                'step', CASE WHEN restarts > restarts_before THEN concat('container ', name, ' restarted') END,
                'reason', json_get_str(last_state, 'reason'),
                'message', concat_ws(
                    ': ',
                    concat('restart ', restarts, ' after exit code ' || json_get_int(last_state, 'exitCode')),
                    json_get_str(last_state, 'message')
                )
            )
        ]) AS told
    FROM troubles
),
steps AS (
    SELECT
        cluster, time, 1 AS rank,
        CASE
            WHEN fact['type'] IN ('created', 'bound', 'phase') THEN fact['type']
            WHEN fact['type'] = 'PodScheduled' AND fact['status'] = 'False' THEN 'unschedulable'
            ELSE concat(fact['type'], '=', fact['status'])
        END AS step,
        node, phase, fact['reason'] AS reason, fact['message'] AS message, actor, namespace, life AS uid, audit_id
    FROM compared
    WHERE (before IS DISTINCT FROM now) AND NOT (step = 'create' AND fact['type'] = 'phase')
    UNION ALL
    SELECT
        cluster, time, 2, told['step'], node, phase, told['reason'], nullif(told['message'], ''), actor, namespace, life, audit_id
    FROM container_steps
    WHERE told['step'] IS NOT NULL
    UNION ALL
    SELECT
        cluster, time, 3,
        CASE
            WHEN final THEN 'deleted'
            WHEN how <> 'eviction' THEN 'deletion requested'
            WHEN succeeded THEN 'evicted'
            ELSE 'eviction refused'
        END,
        node, phase, CASE WHEN NOT succeeded THEN CAST(response_code AS TEXT) END,
        coalesce(response_message, CASE WHEN NOT final THEN 'grace period ' || grace_period_seconds || ' s' END),
        actor, namespace, uid, audit_id
    FROM pod_removals
    WHERE pod = $pod
      AND ($namespace IS NULL OR namespace = $namespace)
      AND ($cluster IS NULL OR cluster = $cluster)
      AND ($until IS NULL OR time < $until)
    UNION ALL
    -- A patch whose answer is missing does not tell what its Event is about, but Events are named after it.
    SELECT
        cluster, min(time), 4, 'event', NULL, NULL, first_value(reason ORDER BY time),
        concat(
            last_value(message ORDER BY message IS NOT NULL, time),
            CASE WHEN max(count) > 1 THEN concat(' (', max(count), ' times)') END
        ),
        first_value(actor ORDER BY time), namespace, max(object_uid), first_value(audit_id ORDER BY time)
    FROM kubernetes_events
    WHERE ((kind = 'Pod' AND object = $pod) OR (object IS NULL AND starts_with(event_name, $pod || '.')))
      AND (
          type = 'Warning'
          OR reason IN ('TriggeredScaleUp', 'NotTriggerScaleUp', 'Preempted', 'TaintManagerEviction', 'Evicted')
          OR object IS NULL
      )
      AND ($namespace IS NULL OR namespace = $namespace)
      AND ($cluster IS NULL OR cluster = $cluster)
      AND ($since IS NULL OR time >= $since)
      AND ($until IS NULL OR time < $until)
    GROUP BY cluster, namespace, event_name
    HAVING max(object) = $pod
)
SELECT time, step, node, phase, reason, message, actor, namespace, uid, audit_id
FROM steps
WHERE ($since IS NULL OR time >= $since)
ORDER BY time, rank, step, audit_id
