-- title: When were nodes registered, cordoned, tainted, drained, uncordoned and deleted, and by whom?
-- param node text optional: only this node
-- param user text optional: only what this user did
-- param lookback duration default 1d: how long before --since to read, to know what held at its start
-- column time: when the request was answered; of a drain, the first eviction
-- column node: the node
-- column step: registered (by its kubelet), created, cordoned, uncordoned, tainted, untainted, drained, deleted
-- column actor: who asked
-- column user_agent: with which program
-- column detail: the taint; of a drain, how many pods were evicted; uid of a new node
-- column audit_id: audit id of the request; of a drain, of the first eviction
-- needs: resource=nodes subresource=- body=response verbs=create,patch,update
-- once: removals
-- cost: reads the bodies of the patches of nodes, not of their status; reads `lookback` more than the window
-- example: kolumn ask node-lifecycle --node aks-nodepool1-26474021-vmss000002

-- Only changes are steps: most requests on a node, above all the kubelet's on its status, answer with a
-- spec that they did not touch. The state before the window is known if any of them was logged within
-- `lookback`. A node whose state before is not known was cordoned by a request only if that asked for it.
--
-- A drain is one or more evictions that one actor had of the pods of a node while it was cordoned.
-- It is one stream of rows, for plans grow with every use of a common table.
WITH asked AS (
    -- Patches that set the flag, whatever it was before.
    SELECT cluster, audit_id, stage_timestamp AS time, true AS asks
    FROM events
    WHERE resource = 'nodes'
      AND subresource IS NULL
      AND verb = 'patch'
      AND stage = 'ResponseComplete'
      AND response_code < 300
      AND json_contains(request_object, 'spec', 'unschedulable')
      AND ($node IS NULL OR name = $node)
      AND ($cluster IS NULL OR cluster = $cluster)
      AND ($since IS NULL OR stage_timestamp >= $since - $lookback)
      AND ($until IS NULL OR stage_timestamp < $until)
),
removals AS (
    SELECT cluster, namespace, pod, time, node, how, succeeded, actor, user_agent, audit_id
    FROM pod_removals
    WHERE ($cluster IS NULL OR cluster = $cluster)
      AND ($since IS NULL OR time >= $since - $lookback)
      AND ($until IS NULL OR time < $until)
),
pods AS (
    SELECT * FROM removals
    UNION ALL
    SELECT cluster, namespace, name AS pod, time, coalesce(binding_target, node_name), 'bind', true, NULL, NULL, NULL
    FROM mutations
    WHERE resource = 'pods'
      AND subresource = 'binding'
      AND name IS NOT NULL
      AND ($cluster IS NULL OR cluster = $cluster)
      AND ($since IS NULL OR time >= $since - $lookback)
      AND ($until IS NULL OR time < $until)
),
-- An eviction does not tell the node: the pod's binding before it does, or its delete after it.
evictions AS (
    SELECT
        *,
        coalesce(
            last_value(node) IGNORE NULLS OVER (
                PARTITION BY cluster, namespace, pod ORDER BY time ROWS UNBOUNDED PRECEDING
            ),
            first_value(node) IGNORE NULLS OVER (
                PARTITION BY cluster, namespace, pod ORDER BY time
                ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
            )
        ) AS from_node
    FROM (
        -- Of all pods few were evicted.
        SELECT pods.*
        FROM pods
        LEFT SEMI JOIN (SELECT cluster, namespace, pod FROM removals WHERE how = 'eviction') AS evicted
            ON evicted.cluster = pods.cluster AND evicted.namespace = pods.namespace AND evicted.pod = pods.pod
    )
),
said AS (
    SELECT
        states.cluster, node, states.time, uid, unschedulable, taints, actor, user_agent, states.audit_id, change_order,
        CASE WHEN subresource IS NULL AND verb IN ('create', 'delete') THEN verb ELSE 'change' END AS kind,
        -- Where the answer is missing, what is known is what was asked for.
        coalesce(asks, source = 'merged') AS asks,
        false AS succeeded
    FROM node_states AS states
    LEFT JOIN asked
        ON asked.cluster = states.cluster AND asked.audit_id = states.audit_id AND asked.time = states.time
    WHERE ($node IS NULL OR node = $node)
      AND ($cluster IS NULL OR states.cluster = $cluster)
      AND ($since IS NULL OR states.time >= $since - $lookback)
      AND ($until IS NULL OR states.time < $until)
    UNION ALL
    SELECT
        cluster, from_node, time, NULL, NULL, NULL, actor, user_agent, audit_id, NULL, how, false, succeeded
    FROM evictions
    WHERE how = 'eviction' AND from_node IS NOT NULL AND ($node IS NULL OR from_node = $node)
),
-- Lives of a name and the order of the store are told as in node-conditions.
numbered AS (
    SELECT
        *,
        sum(CASE WHEN kind IN ('create', 'delete') THEN 1 ELSE 0 END) OVER (
            PARTITION BY cluster, node ORDER BY time ROWS UNBOUNDED PRECEDING
        ) - CASE kind WHEN 'delete' THEN 1 ELSE 0 END AS life_number
    FROM said
),
lives AS (
    SELECT
        *,
        coalesce(
            uid,
            last_value(uid) IGNORE NULLS OVER (
                PARTITION BY cluster, node, life_number ORDER BY time ROWS UNBOUNDED PRECEDING
            ),
            first_value(uid) IGNORE NULLS OVER (
                PARTITION BY cluster, node, life_number ORDER BY time
                ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
            ),
            CAST(life_number AS TEXT)
        ) AS life
    FROM numbered
),
ordered AS (
    SELECT
        *,
        coalesce(
            change_order,
            max(change_order) OVER (PARTITION BY cluster, node, life ORDER BY time ROWS UNBOUNDED PRECEDING),
            0
        ) AS position
    FROM lives
),
compared AS (
    SELECT
        *,
        lag(unschedulable) IGNORE NULLS OVER by_order AS unschedulable_before,
        lag(taints) IGNORE NULLS OVER by_order AS taints_before,
        last_value(unschedulable) IGNORE NULLS OVER so_far AS is_cordoned
    FROM ordered
    WINDOW
        by_order AS (PARTITION BY cluster, node, life ORDER BY position, time),
        so_far AS (PARTITION BY cluster, node, life ORDER BY position, time ROWS UNBOUNDED PRECEDING)
),
-- How often the node was cordoned or uncordoned so far: the evictions of one actor within one number are a drain.
counted AS (
    SELECT
        *,
        sum(CASE WHEN unschedulable <> unschedulable_before THEN 1 ELSE 0 END) OVER (
            PARTITION BY cluster, node, life ORDER BY position, time ROWS UNBOUNDED PRECEDING
        ) AS cordon
    FROM compared
),
drains AS (
    SELECT
        *,
        kind = 'eviction' AND is_cordoned AND row_number() OVER (
            PARTITION BY cluster, node, life, cordon, kind, actor ORDER BY time
        ) = 1 AS drain_begins,
        sum(CASE WHEN succeeded THEN 1 ELSE 0 END) OVER a_drain AS evicted,
        count(*) OVER a_drain AS asked_to_evict,
        max(time) OVER a_drain - time AS took
    FROM counted
    WINDOW a_drain AS (PARTITION BY cluster, node, life, cordon, kind, actor)
),
steps AS (
    SELECT
        cluster, node, time, actor, user_agent, audit_id,
        unnest([
            named_struct(
                'step',
                CASE
                    WHEN kind = 'create' AND starts_with(actor, 'system:node:') THEN 'registered'
                    WHEN kind = 'create' THEN 'created'
                    WHEN kind = 'delete' THEN 'deleted'
                    WHEN drain_begins AND evicted > 0 THEN 'drained'
                END,
                'detail',
                CASE
                    WHEN kind = 'create' THEN uid
                    WHEN kind = 'eviction' THEN concat(
                        'pods evicted: ', evicted, ' in ', duration_text(took),
                        CASE WHEN asked_to_evict > evicted THEN concat('; refused: ', asked_to_evict - evicted) END
                    )
                END
            ),
            named_struct(
                'step',
                CASE
                    WHEN kind <> 'delete' AND (
                        unschedulable <> unschedulable_before
                        OR (unschedulable_before IS NULL AND (asks OR (kind = 'create' AND unschedulable)))
                    ) THEN CASE WHEN unschedulable THEN 'cordoned' WHEN NOT unschedulable THEN 'uncordoned' END
                END,
                'detail',
                NULL
            )
        ]) AS step,
        unnest(CASE WHEN kind = 'change' THEN array_except(taints, taints_before) END) AS added,
        unnest(CASE WHEN kind = 'change' THEN array_except(taints_before, taints) END) AS removed
    FROM drains
),
-- unnest() put the lists side by side; now each cell becomes a row.
told AS (
    SELECT
        cluster, node, time, actor, user_agent, audit_id,
        unnest([
            step,
            named_struct(
                'step', CASE WHEN added IS NOT NULL THEN 'tainted' END,
                'detail', concat(added['key'], CASE WHEN added['value'] <> '' THEN concat('=', added['value']) END, ':', added['effect'])
            ),
            named_struct(
                'step', CASE WHEN removed IS NOT NULL THEN 'untainted' END,
                'detail', concat(removed['key'], CASE WHEN removed['value'] <> '' THEN concat('=', removed['value']) END, ':', removed['effect'])
            )
        ]) AS told
    FROM steps
)
SELECT time, node, told['step'] AS step, actor, user_agent, told['detail'] AS detail, audit_id
FROM told
WHERE told['step'] IS NOT NULL
  AND ($since IS NULL OR time >= $since)
  AND ($user IS NULL OR actor = $user)
ORDER BY time, node, step, detail, audit_id
