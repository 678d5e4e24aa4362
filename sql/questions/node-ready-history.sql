-- title: When did each node's Ready condition change, who reported it, how long did each state last?
-- param node text optional: only this node
-- param lookback duration default 1d: how long before --since to read, to know what held at its start
-- column node: the node
-- column from: the state before; null: the first that is known, or the first of a node created anew
-- column to: the state after: True, False or Unknown; samples do not tell the last two apart: `not True`
-- column since: when the request that changed it was answered; of samples, the first that shows it
-- column until: when the next change came or the node was deleted; null: still so at the end of the window
-- column duration: until minus since
-- column reason: reason of the state after
-- column message: message of the state after
-- column reporter: who made the request: the kubelet, or the node controller when the kubelet is silent
-- column source: `observed` in the answer, `merged`: from the request alone, its answer being missing, or
--   `inventory sample`: polled once a minute, where audit tells of no node of the cluster
-- needs: resource=nodes subresource=status body=response verbs=patch,update
-- once: ready
-- cost: reads no bodies; reads `lookback` more than the window
-- example: kolumn ask node-ready-history --node aks-nodepool1-26474021-vmss000009

-- A change is shown if it happened in the window. The state before it is known if any request on the
-- node's status was logged within `lookback` before the window: kubelets send one every five minutes.
-- A node that was silent for longer shows its next state as its first.
--
-- `since` is the time of the request, not the condition's lastTransitionTime: that is cut to seconds,
-- comes from the clock of whoever reports, and the request is when the cluster learned of it.
--
-- Polled samples (KubeNodeInventory) fill the ten minutes in which audit has no status of any node of the
-- cluster: they are coarser, and have neither reason nor reporter.
--
-- node-conditions is the same for every condition, without samples: change both together.
WITH
ready AS (
    SELECT cluster, node, uid, time, change_order, type, status, reason, message, reporter, source
    FROM node_conditions
    WHERE type = 'Ready'
      AND ($cluster IS NULL OR cluster = $cluster)
      AND ($since IS NULL OR time >= $since - $lookback)
      AND ($until IS NULL OR time < $until)
),
known AS (
    SELECT DISTINCT cluster AS in_cluster, date_bin(INTERVAL '10 minutes', time) AS bin
    FROM ready
),
samples AS (
    SELECT
        cluster, coalesce(name, node) AS node, object_uid AS uid, time,
        -- No condition is true: the column `status` is null then.
        CASE WHEN contains(',' || replace(coalesce(status, ''), ' ', '') || ',', ',Ready,') THEN 'True' ELSE 'not True' END AS status,
        date_bin(INTERVAL '10 minutes', time) AS sample_bin
    FROM inventory
    WHERE source_table = 'KubeNodeInventory'
      AND coalesce(name, node) IS NOT NULL
      AND coalesce(status, json_get_str(record, 'Status')) IS NOT NULL
      AND ($node IS NULL OR name = $node OR (name IS NULL AND node = $node))
      AND ($cluster IS NULL OR cluster = $cluster)
      AND ($since IS NULL OR time >= $since - $lookback)
      AND ($until IS NULL OR time < $until)
),
said AS (
    SELECT cluster, node, uid, time, change_order, type, status, reason, message, reporter, source, NULL AS boundary
    FROM ready
    WHERE $node IS NULL OR node = $node
    UNION ALL
    SELECT cluster, node, uid, time, change_order, NULL, NULL, NULL, NULL, actor, source, verb
    FROM node_states
    WHERE verb IN ('create', 'delete') AND subresource IS NULL
      AND ($node IS NULL OR node = $node)
      AND ($cluster IS NULL OR cluster = $cluster)
      AND ($since IS NULL OR time >= $since - $lookback)
      AND ($until IS NULL OR time < $until)
    UNION ALL
    SELECT cluster, node, uid, time, NULL, 'Ready', status, NULL, NULL, NULL, 'inventory sample', NULL
    FROM samples
    LEFT ANTI JOIN known ON cluster = in_cluster AND sample_bin = bin
),
-- Bodies tell the uid; requests without one belong to the life that creates and deletes mark off.
numbered AS (
    SELECT
        *,
        sum(CASE WHEN boundary IS NULL THEN 0 ELSE 1 END) OVER (
            PARTITION BY cluster, node ORDER BY time, boundary NULLS LAST ROWS UNBOUNDED PRECEDING
        ) - CASE boundary WHEN 'delete' THEN 1 ELSE 0 END AS life_number
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
-- In the order of the store; what has no resource version comes after all that was answered before it.
ordered AS (
    SELECT
        *,
        coalesce(
            change_order,
            max(change_order) OVER (PARTITION BY cluster, node, life ORDER BY time ROWS UNBOUNDED PRECEDING),
            0
        ) AS position,
        max(CASE boundary WHEN 'delete' THEN time END) OVER (PARTITION BY cluster, node, life) AS deleted
    FROM lives
),
filled AS (
    SELECT
        cluster, node, life, type, time, position, deleted, status, reporter, source,
        nullif(last_value(reason) IGNORE NULLS OVER so_far, '') AS reason,
        nullif(last_value(message) IGNORE NULLS OVER so_far, '') AS message
    FROM ordered
    WHERE boundary IS NULL
    WINDOW so_far AS (
        PARTITION BY cluster, node, life, type ORDER BY position, time ROWS UNBOUNDED PRECEDING
    )
),
-- What was answered after the next change had been answered, had happened before that.
compared AS (
    SELECT
        * EXCLUDE (time),
        min(time) OVER (
            PARTITION BY cluster, node, life, type ORDER BY position, time
            ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING
        ) AS time,
        lag(status) OVER (PARTITION BY cluster, node, life, type ORDER BY position, time) AS before
    FROM filled
    WHERE status IS NOT NULL
),
changes AS (
    SELECT
        *,
        coalesce(
            lead(time) OVER (PARTITION BY cluster, node, life, type ORDER BY position, time), deleted
        ) AS ended
    FROM compared
    WHERE (before IS DISTINCT FROM status)
      AND NOT (status = 'not True' AND coalesce(before IN ('False', 'Unknown'), false))
)
SELECT
    node,
    before AS "from",
    status AS "to",
    time AS since,
    ended AS until,
    duration_text(ended - time) AS duration,
    reason,
    message,
    reporter,
    source
FROM changes
WHERE ($since IS NULL OR time >= $since)
ORDER BY node, cluster, since, position
