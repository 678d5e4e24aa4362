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
-- cost: reads the bodies of the patches of nodes, not of their status; reads `lookback` more than the window
-- example: kolumn ask node-lifecycle --node aks-nodepool1-26474021-vmss000002

-- Only changes are steps: most requests on a node, above all the kubelet's on its status, answer with a
-- spec that they did not touch. The state before the window is known if any of them was logged within
-- `lookback`. A node whose state before is not known was cordoned by a request only if that asked for it.
--
-- A drain is one or more evictions that one actor had of the pods of a node while it was cordoned.
WITH said AS (
    SELECT *
    FROM node_states
    WHERE ($node IS NULL OR node = $node)
      AND ($cluster IS NULL OR cluster = $cluster)
      AND ($since IS NULL OR time >= $since - $lookback)
      AND ($until IS NULL OR time < $until)
),
-- What is told apart here (lives of a name, order of the store) is as in node-conditions.
numbered AS (
    SELECT
        *,
        subresource IS NULL AND verb = 'delete' AS deletes,
        sum(CASE WHEN subresource IS NULL AND verb IN ('create', 'delete') THEN 1 ELSE 0 END) OVER (
            PARTITION BY cluster, node ORDER BY time ROWS UNBOUNDED PRECEDING
        ) - CASE WHEN subresource IS NULL AND verb = 'delete' THEN 1 ELSE 0 END AS life_number
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
-- Patches that set the flag, whatever it was before.
asked AS (
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
flags AS (
    SELECT
        cluster, node, life, time, position, unschedulable, actor, user_agent, verb, audit_id,
        lag(unschedulable) OVER (PARTITION BY cluster, node, life ORDER BY position, time) AS before
    FROM ordered
    WHERE unschedulable IS NOT NULL AND NOT deletes
),
-- Every stretch of time in which a node was cordoned or not, from the first that is known.
stretches AS (
    SELECT
        flags.*,
        lead(flags.time) OVER (PARTITION BY flags.cluster, node, life ORDER BY position, flags.time) AS ended,
        CASE
            WHEN before IS NOT NULL OR asks THEN true
            ELSE verb = 'create' AND unschedulable
        END AS is_step
    FROM flags
    LEFT JOIN asked ON flags.cluster = asked.cluster AND flags.audit_id = asked.audit_id AND flags.time = asked.time
    WHERE before IS NULL OR before <> unschedulable
),
taint_lists AS (
    SELECT
        cluster, node, time, actor, user_agent, audit_id, taints,
        lag(taints) OVER (PARTITION BY cluster, node, life ORDER BY position, time) AS before
    FROM ordered
    WHERE taints IS NOT NULL AND NOT deletes
),
taint_changes AS (
    SELECT cluster, node, time, actor, user_agent, audit_id, 'tainted' AS step, unnest(array_except(taints, before)) AS taint
    FROM taint_lists
    WHERE before IS NOT NULL
    UNION ALL
    SELECT cluster, node, time, actor, user_agent, audit_id, 'untainted', unnest(array_except(before, taints))
    FROM taint_lists
    WHERE before IS NOT NULL
),
-- An eviction does not tell the node: the pod's binding before it does, or its delete after it.
pods_on_nodes AS (
    SELECT
        cluster, time, how, succeeded, actor, user_agent, audit_id,
        coalesce(
            last_value(node) IGNORE NULLS OVER (
                PARTITION BY cluster, namespace, pod ORDER BY time ROWS UNBOUNDED PRECEDING
            ),
            first_value(node) IGNORE NULLS OVER (
                PARTITION BY cluster, namespace, pod ORDER BY time
                ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
            )
        ) AS node
    FROM (
        SELECT cluster, namespace, pod, time, node, how, succeeded, actor, user_agent, audit_id
        FROM pod_removals
        WHERE ($cluster IS NULL OR cluster = $cluster)
          AND ($since IS NULL OR time >= $since - $lookback)
          AND ($until IS NULL OR time < $until)
        UNION ALL
        SELECT cluster, namespace, pod, time, node, 'bind', true, NULL, NULL, NULL
        FROM pod_lifecycle
        WHERE step = 'bind'
          AND ($cluster IS NULL OR cluster = $cluster)
          AND ($since IS NULL OR time >= $since - $lookback)
          AND ($until IS NULL OR time < $until)
    )
),
drains AS (
    SELECT
        stretches.cluster,
        stretches.node,
        stretches.time AS cordoned,
        evictions.actor,
        min(evictions.time) AS time,
        first_value(evictions.user_agent ORDER BY evictions.time) AS user_agent,
        first_value(evictions.audit_id ORDER BY evictions.time) AS audit_id,
        sum(CASE WHEN succeeded THEN 1 ELSE 0 END) AS evicted,
        sum(CASE WHEN succeeded THEN 0 ELSE 1 END) AS refused,
        max(evictions.time) - min(evictions.time) AS took
    FROM stretches
    JOIN pods_on_nodes AS evictions
        ON evictions.cluster = stretches.cluster
        AND evictions.node = stretches.node
        AND evictions.time >= stretches.time
        AND (stretches.ended IS NULL OR evictions.time < stretches.ended)
    WHERE unschedulable AND how = 'eviction'
    GROUP BY stretches.cluster, stretches.node, stretches.time, evictions.actor
),
steps AS (
    SELECT
        cluster, time, node,
        CASE WHEN starts_with(actor, 'system:node:') THEN 'registered' ELSE 'created' END AS step,
        actor, user_agent, uid AS detail, audit_id
    FROM said
    WHERE verb = 'create' AND subresource IS NULL
    UNION ALL
    SELECT
        cluster, time, node, CASE WHEN unschedulable THEN 'cordoned' ELSE 'uncordoned' END,
        actor, user_agent, NULL, audit_id
    FROM stretches
    WHERE is_step
    UNION ALL
    SELECT
        cluster, time, node, step, actor, user_agent,
        concat(taint['key'], CASE WHEN taint['value'] <> '' THEN concat('=', taint['value']) END, ':', taint['effect']), audit_id
    FROM taint_changes
    UNION ALL
    SELECT
        cluster, time, node, 'drained', actor, user_agent,
        concat(
            evicted, ' pods evicted in ', duration_text(took),
            CASE WHEN refused > 0 THEN concat(', ', refused, ' requests refused') ELSE '' END
        ),
        audit_id
    FROM drains
    WHERE evicted > 0
    UNION ALL
    SELECT cluster, time, node, 'deleted', actor, user_agent, NULL, audit_id
    FROM said
    WHERE verb = 'delete' AND subresource IS NULL
)
SELECT time, node, step, actor, user_agent, detail, audit_id
FROM steps
WHERE ($since IS NULL OR time >= $since)
  AND ($user IS NULL OR actor = $user)
ORDER BY time, node, step, detail
