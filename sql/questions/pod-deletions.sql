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
-- once: numbered, lives
-- cost: reads the bodies of deletecollection requests only; reads `lookback` more than the window
-- example: kolumn ask pod-deletions --node aks-nodepool1-26474021-vmss000002 --since 2026-11-20

-- One row a life of a pod, whoever asked first: a kubelet's delete with grace period 0 after an eviction
-- ends the same deletion. Refused requests get a row for each actor and code.
--
-- Pods are many and their requests few: window functions over each pod are slow, so rows are numbered in one
-- order of all pods, groups are plain aggregates of numbers, and the long columns join last.
WITH steps AS (
    SELECT
        cluster, namespace, pod, uid, time, 'removal' AS step, how, node, grace_period_seconds, final, succeeded,
        actor, user_agent, response_code, response_message, audit_id,
        condition_of(conditions, 'DisruptionTarget') AS disruption
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
        cluster, namespace, name, uid, time, CASE WHEN subresource IS NULL THEN verb END, NULL,
        coalesce(binding_target, node_name), NULL, false, true, NULL, NULL, NULL, NULL, NULL, NULL
    FROM mutations
    WHERE resource = 'pods'
      AND name IS NOT NULL
      AND (
          subresource = 'binding'
          OR (subresource IS NULL AND verb = 'create')
          OR (subresource IS NULL AND verb IN ('update', 'patch') AND deletion_timestamp IS NOT NULL)
      )
      AND ($namespace IS NULL OR namespace = $namespace)
      AND ($pod IS NULL OR name = $pod)
      AND ($cluster IS NULL OR cluster = $cluster)
      AND ($since IS NULL OR time >= $since - $lookback)
      AND ($until IS NULL OR time < $until)
),
numbered AS (
    SELECT
        *,
        row_number() OVER in_order AS number,
        sum(CASE WHEN final OR step = 'create' THEN 1 ELSE 0 END) OVER in_order
        - CASE WHEN final THEN 1 ELSE 0 END AS life_number
    FROM steps
    WINDOW in_order AS (ORDER BY cluster, namespace, pod, time ROWS UNBOUNDED PRECEDING)
),
-- An eviction does not tell the uid: it is that of the first request of the same life that does.
told AS (
    SELECT numbered.cluster, numbered.namespace, numbered.pod, numbered.life_number, uid AS told_uid
    FROM numbered
    JOIN (
        SELECT min(number) AS first_number
        FROM numbered
        WHERE uid IS NOT NULL
        GROUP BY cluster, namespace, pod, life_number
    ) ON number = first_number
),
lives AS (
    SELECT
        numbered.cluster, numbered.namespace, numbered.pod, numbered.life_number, number, time, step, final,
        succeeded, node, actor, response_code, audit_id,
        coalesce(uid, told_uid) AS life,
        coalesce(uid, told_uid, CAST(numbered.life_number AS TEXT)) AS life_key
    FROM numbered
    LEFT JOIN told
        ON told.cluster = numbered.cluster
        AND told.namespace = numbered.namespace
        AND told.pod = numbered.pod
        AND told.life_number = numbered.life_number
),
nodes AS (
    SELECT cluster AS in_cluster, namespace AS in_namespace, pod AS of_pod, life_key AS of_life, max(node) AS life_node
    FROM lives
    GROUP BY cluster, namespace, pod, life_key
),
-- One row a life and, of refused requests, a row each actor and code.
removals AS (
    SELECT
        cluster,
        namespace,
        pod,
        life,
        min(life_key) AS life_key,
        succeeded,
        min(CASE step WHEN 'removal' THEN number END) AS first_number,
        min(CASE step WHEN 'removal' THEN time END) AS time,
        count(audit_id) AS requests,
        min(CASE WHEN NOT final THEN actor END) AS least_actor,
        max(CASE WHEN NOT final THEN actor END) AS greatest_actor,
        CASE WHEN bool_or(final) THEN max(time) END AS gone
    FROM lives
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
    SELECT cluster, uid, min(time) AS since, max(disruption['reason']) AS reason
    FROM numbered
    WHERE disruption['status'] = 'True'
    GROUP BY cluster, uid
)
SELECT
    removals.time,
    life_node AS node,
    removals.namespace,
    removals.pod,
    first.how,
    first.actor,
    first.user_agent,
    CASE WHEN removals.succeeded AND (first.how = 'eviction' OR since = removals.time) THEN reason END AS reason,
    first.grace_period_seconds,
    first.response_code,
    first.response_message AS message,
    requests,
    gone,
    CASE WHEN least_actor <> first.actor THEN least_actor WHEN greatest_actor <> first.actor THEN greatest_actor END AS also_by,
    life AS uid,
    first.audit_id
FROM removals
JOIN numbered AS first ON first.number = first_number
LEFT JOIN nodes
    ON in_cluster = removals.cluster
    AND in_namespace = removals.namespace
    AND of_pod = removals.pod
    AND of_life = removals.life_key
LEFT JOIN reasons ON reasons.cluster = removals.cluster AND reasons.uid = removals.life
WHERE ($since IS NULL OR removals.time >= $since)
  AND ($node IS NULL OR life_node = $node)
  AND ($user IS NULL OR first.actor = $user OR least_actor = $user OR greatest_actor = $user)
  AND (NOT $done OR first.response_code < 300)
ORDER BY time, removals.namespace, removals.pod
