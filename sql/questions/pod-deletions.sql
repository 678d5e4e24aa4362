-- title: Which pods were deleted or evicted, from which node, who asked for it, and when were they gone?
-- param namespace text optional: only this namespace
-- param pod text optional: only this pod
-- param node text optional: only pods of this node
-- param user text optional: only what this user asked for, first or later
-- param done flag default false: leave out requests that were refused, such as evictions answered 429
-- param lookback duration default 1d: how long before --since to read, to know who asked first
-- column time: when the first request to remove the pod was answered
-- column node: node the pod ran on; null: it had none, or no body tells
-- column namespace: namespace of the pod
-- column pod: name of the pod; null: every pod of the namespace, the answer of the deletecollection being missing
-- column how: delete, eviction or deletecollection
-- column actor: who asked first
-- column user_agent: with which program
-- column reason: reason of the pod's condition DisruptionTarget when it was first asked for:
--   EvictionByEvictionAPI, DeletionByTaintManager, PreemptionByScheduler …
-- column grace_period_seconds: grace period asked for; null: the pod's own
-- column response_code: HTTP status; 300 and more: refused, 404: there was no such pod
-- column message: why it was refused
-- column requests: how many requests to remove it, the kubelet's last one included; of refused ones, how many
-- column gone: when the pod was gone; null: not by the end of the window, or the request was refused
-- column also_by: another one who asked later, before the pod was gone
-- column uid: uid of the pod
-- column audit_id: audit id of the first request
-- needs: resource=pods subresource=- body=response verbs=delete,deletecollection
-- cost: reads the bodies of deletecollection requests only; reads `lookback` more than the window
-- example: kolumn ask pod-deletions --node aks-nodepool1-26474021-vmss000002 --since 2026-11-20

-- One row a life of a pod, whoever asked first: a kubelet's delete with grace period 0 after an eviction
-- ends the same deletion. Refused requests get a row for each actor and code.
WITH steps AS (
    SELECT
        cluster, namespace, pod, uid, time, 'removal' AS step, how, node, grace_period_seconds, final, succeeded,
        actor, user_agent, response_code, response_message, audit_id
    FROM pod_removals
    WHERE ($namespace IS NULL OR namespace = $namespace)
      AND ($pod IS NULL OR pod = $pod)
      AND ($cluster IS NULL OR cluster = $cluster)
      AND ($since IS NULL OR time >= $since - $lookback)
      AND ($until IS NULL OR time < $until)
    UNION ALL
    -- Creates mark off the lives of a name, bindings know the node, and an update of a pod that is being
    -- deleted may take its last finalizer away, after which it is gone.
    SELECT
        cluster, namespace, pod, uid, time, step, NULL, node, NULL, false, true,
        NULL, NULL, NULL, NULL, NULL
    FROM pod_lifecycle
    WHERE (step IN ('create', 'bind') OR (step = 'update' AND deletion_timestamp IS NOT NULL))
      AND ($namespace IS NULL OR namespace = $namespace)
      AND ($pod IS NULL OR pod = $pod)
      AND ($cluster IS NULL OR cluster = $cluster)
      AND ($since IS NULL OR time >= $since - $lookback)
      AND ($until IS NULL OR time < $until)
),
numbered AS (
    SELECT
        *,
        sum(CASE WHEN final OR step = 'create' THEN 1 ELSE 0 END) OVER (
            PARTITION BY cluster, namespace, pod ORDER BY time ROWS UNBOUNDED PRECEDING
        ) - CASE WHEN final THEN 1 ELSE 0 END AS life_number
    FROM steps
),
-- An eviction does not tell the uid: it is that of the other requests of the same life.
lives AS (
    SELECT
        *,
        coalesce(
            uid,
            first_value(uid) IGNORE NULLS OVER (
                PARTITION BY cluster, namespace, pod, life_number ORDER BY time
                ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
            )
        ) AS life
    FROM numbered
),
placed AS (
    SELECT *, max(node) OVER (PARTITION BY cluster, namespace, pod, coalesce(life, CAST(life_number AS TEXT))) AS life_node
    FROM lives
),
-- One row a life and, of refused requests, a row each actor and code. One ordered aggregate of a struct
-- is faster than one for each of its fields.
removals AS (
    SELECT
        cluster,
        namespace,
        pod,
        life,
        succeeded,
        first_value(named_struct(
            'time', time, 'how', how, 'actor', actor, 'user_agent', user_agent, 'code', response_code,
            'message', response_message, 'grace', grace_period_seconds, 'audit_id', audit_id
        ) ORDER BY step <> 'removal', time) AS first,
        min(CASE step WHEN 'removal' THEN time END) AS time,
        max(life_node) AS node,
        count(audit_id) AS requests,
        min(CASE WHEN NOT final THEN actor END) AS least_actor,
        max(CASE WHEN NOT final THEN actor END) AS greatest_actor,
        CASE WHEN bool_or(final) THEN max(time) END AS gone
    FROM placed
    GROUP BY
        cluster, namespace, pod, life,
        CASE WHEN life IS NULL THEN life_number END,
        CASE WHEN pod IS NULL THEN audit_id END,
        succeeded,
        CASE WHEN NOT succeeded THEN actor END,
        CASE WHEN NOT succeeded THEN response_code END
),
-- A delete answers with the pod as it left it: a condition that only a later one shows had another cause.
reasons AS (
    SELECT cluster, uid, min(time) AS since, max(condition['reason']) AS reason
    FROM (
        SELECT cluster, uid, time, unnest(conditions) AS condition
        FROM pod_removals
        WHERE ($namespace IS NULL OR namespace = $namespace)
          AND ($pod IS NULL OR pod = $pod)
          AND ($cluster IS NULL OR cluster = $cluster)
          AND ($since IS NULL OR time >= $since - $lookback)
          AND ($until IS NULL OR time < $until)
    )
    WHERE condition['type'] = 'DisruptionTarget' AND condition['status'] = 'True'
    GROUP BY cluster, uid
)
SELECT
    time,
    node,
    namespace,
    pod,
    first['how'] AS how,
    first['actor'] AS actor,
    first['user_agent'] AS user_agent,
    CASE WHEN succeeded AND (first['how'] = 'eviction' OR since = time) THEN reason END AS reason,
    first['grace'] AS grace_period_seconds,
    first['code'] AS response_code,
    first['message'] AS message,
    requests,
    gone,
    CASE WHEN least_actor <> first['actor'] THEN least_actor WHEN greatest_actor <> first['actor'] THEN greatest_actor END AS also_by,
    life AS uid,
    first['audit_id'] AS audit_id
FROM removals
LEFT JOIN reasons ON reasons.cluster = removals.cluster AND reasons.uid = removals.life
WHERE time IS NOT NULL
  AND ($since IS NULL OR time >= $since)
  AND ($node IS NULL OR node = $node)
  AND ($user IS NULL OR first['actor'] = $user OR least_actor = $user OR greatest_actor = $user)
  AND (NOT $done OR first['code'] < 300)
ORDER BY time, namespace, pod
