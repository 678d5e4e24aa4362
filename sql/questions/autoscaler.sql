-- title: What did the cluster autoscaler decide and why, beside the pods that waited and the nodes that came and went?
-- param node_group text optional: only rows that name a node group that contains this
-- param node text optional: only rows about this node
-- param pod text optional: only rows about this pod
-- param all flag default false: also what is no decision: every other line of the autoscaler
-- param limit int default 1000: at most so many rows, the first
-- column time: when it was first said
-- column until: when it was last said again without a pause of five minutes; null: once
-- column times: how often it was said
-- column step: unschedulable, does not fit, group left out, scale up planned, scale up, scale up failed, no
--   scale up, node registered, node unneeded, node kept, no scale down, scale down, scale down failed, node
--   deleted, trouble, other
-- column node_group: node group, where the message tells
-- column node: node
-- column pod: namespace/name of the pod
-- column message: what was said, the last time
-- column source: log (lines of the autoscaler), and of Events and nodes audit, inventory or component
-- column cluster: the cluster
-- logs: cluster-autoscaler
-- needs: resource=events body=response verbs=create,update,patch
-- cost: reads no bodies
-- example: kolumn ask autoscaler --since 2h

-- The autoscaler goes round every ten seconds and says everything again: what is repeated is one row. An
-- Event that the API server logged and the autoscaler wrote to its log is one row too.
--
-- The texts are those of cluster-autoscaler 1.20 to 1.3x; of structured entries key-values tell the rest (scale_up.go, orchestrator.go, executor.go,
-- static_autoscaler.go, eligibility.go, planner.go, actuator.go); what is new is `other`.
WITH
logged AS (
    SELECT
        cluster, time, concat_ws(' ', message, fields) AS message, severity, node, namespace, pod,
        coalesce(
            json_as_text(fields, 'nodeGroupId'), json_as_text(fields, 'nodeGroup'), json_as_text(fields, 'group')
        ) AS told_group,
        starts_with(message, 'ScaleUpToNodeGroupMinSize') AS to_minimum
    FROM component
    WHERE component = 'cluster-autoscaler'
      AND message IS NOT NULL
      AND message <> 'Event occurred'
      AND NOT starts_with(message, 'Event(')
      AND ($cluster IS NULL OR cluster = $cluster)
      AND ($since IS NULL OR time >= $since)
      AND ($until IS NULL OR time < $until)
),
steps AS (
    SELECT
        *,
        CASE
            WHEN message LIKE '%scale up not needed%' OR message LIKE 'No expansion options%'
                OR message LIKE '%No pod can fit%' THEN 'no scale up'
            WHEN message LIKE 'Failed to scale up%' OR message LIKE 'Failed to increase%'
                OR message LIKE 'Failed to find fitting%' OR message LIKE 'Scale-up timed out%'
                OR message LIKE 'Scale up timed out%' THEN 'scale up failed'
            WHEN message LIKE '%Scale-up: setting group%' OR message LIKE 'Increasing size of%' THEN 'scale up'
            WHEN to_minimum OR message LIKE 'Final scale-up plan%' OR message LIKE 'Best option to resize%'
                OR message LIKE 'Estimated % nodes needed in %' OR message LIKE 'Splitting scale-up%'
                THEN 'scale up planned'
            WHEN message LIKE 'Skipping node group%' OR message LIKE 'Node group % is not ready for scaleup%'
                OR message LIKE 'Disabling scale-up for node group%' THEN 'group left out'
            WHEN message LIKE '%can''t be scheduled%' THEN 'does not fit'
            WHEN message LIKE 'Pod % is unschedulable%' OR message LIKE 'Pod is unschedulable%'
                OR message LIKE '% other pods are also unschedulable' THEN 'unschedulable'
            WHEN message LIKE 'Failed to delete%' OR message LIKE 'Failed to scale down%'
                OR message LIKE 'Failed to drain%' OR message LIKE 'Scale-down: couldn''t%'
                OR message LIKE 'Problem with empty node deletion%' THEN 'scale down failed'
            WHEN message LIKE 'Scale-down: removing%' OR message LIKE 'Removing unneeded node%'
                OR message LIKE 'Removing unregistered node%' OR message LIKE 'Removing unremovable%'
                OR message LIKE 'Successfully added ToBeDeletedTaint on node%' THEN 'scale down'
            WHEN message LIKE 'No candidates for scale down%' OR message LIKE '%scaleDownInCooldown=true%'
                THEN 'no scale down'
            WHEN message LIKE '%is not suitable for removal%' OR message LIKE '%cannot be removed%'
                OR message LIKE '%unremovable%' OR message LIKE 'Skipping % from delete consideration%'
                OR message LIKE '%min size reached%' THEN 'node kept'
            WHEN message LIKE '%is unneeded since%' OR message LIKE '%was unneeded for%' THEN 'node unneeded'
            WHEN severity IN ('warning', 'error', 'fatal') THEN 'trouble'
            WHEN $all THEN 'other'
        END AS step
    FROM logged
),
-- What the text names; of structured entries the columns tell.
named AS (
    SELECT
        cluster, time, step,
        coalesce(told_group, CASE step
            WHEN 'scale up' THEN regexp_match(message, '(?:group|size of) (\S+?),?(?: |$)')[1]
            WHEN 'scale up failed' THEN regexp_match(message, 'group (\S+?)[,:]?(?: |$)')[1]
            WHEN 'group left out' THEN regexp_match(message, '[gG]roup (\S+?)[,:]?(?: |$)')[1]
            WHEN 'does not fit' THEN regexp_match(message, 'be scheduled on (\S+?)[,:]?(?: |$)')[1]
            WHEN 'scale up planned' THEN coalesce(
                regexp_match(message, '\[\{(\S+) ')[1],
                regexp_match(message, '(?:needed in|resize:|NodeGroup) (\S+?),?(?: |$)')[1]
            )
        END) AS node_group,
        CASE
            WHEN step IN ('scale down', 'scale down failed')
                THEN coalesce(node, regexp_match(message, 'node:? "?([^ ",]+?):?(?: |,|"|$)')[1])
            WHEN step IN ('node kept', 'node unneeded') THEN coalesce(
                regexp_match(message, '^(?:(?:Fast evaluation|Detailed evaluation|Simulation): )?(?:[nN]ode |Skipping )?(\S+?)(?: |,| -)')[1],
                node
            )
            ELSE node
        END AS node,
        CASE
            WHEN step IN ('unschedulable', 'does not fit')
                THEN coalesce(regexp_match(message, '^Pod (\S+/\S+) ')[1], nullif(concat_ws('/', namespace, pod), ''))
            ELSE nullif(concat_ws('/', CASE WHEN pod IS NOT NULL THEN namespace END, pod), '')
        END AS pod,
        message,
        'log' AS source
    FROM steps
    WHERE step IS NOT NULL
),
said AS (
    SELECT * FROM named
    UNION ALL
    SELECT
        cluster, time,
        CASE
            WHEN reason = 'FailedScheduling' THEN 'unschedulable'
            WHEN reason = 'NotTriggerScaleUp' THEN 'no scale up'
            WHEN reason IN ('TriggeredScaleUp', 'ScaledUpGroup', 'ScaleUp') THEN 'scale up'
            WHEN reason IN ('FailedToScaleUpGroup', 'ScaleUpTimedOut', 'FailedToCreateNodeGroup') THEN 'scale up failed'
            WHEN reason IN ('ScaleDownFailed', 'DeleteUnregisteredFailed') THEN 'scale down failed'
            ELSE 'scale down'
        END,
        regexp_match(message, '\[\{(\S+) ')[1],
        CASE lower(kind)
            WHEN 'node' THEN name
            ELSE regexp_match(message, 'removing (?:empty )?node:? [''"]?([^ ''",]+)')[1]
        END,
        CASE lower(kind) WHEN 'pod' THEN concat_ws('/', namespace, name) END,
        message, source
    FROM event_reports
    WHERE reason IN (
          'FailedScheduling', 'NotTriggerScaleUp', 'TriggeredScaleUp', 'ScaledUpGroup', 'ScaleUp',
          'FailedToScaleUpGroup', 'ScaleUpTimedOut', 'FailedToCreateNodeGroup', 'ScaleDown', 'ScaleDownEmpty',
          'ScaleDownFailed', 'DeleteUnregistered', 'DeleteUnregisteredFailed'
      )
      AND ($cluster IS NULL OR cluster = $cluster)
      AND ($since IS NULL OR time >= $since)
      AND ($until IS NULL OR time < $until)
    UNION ALL
    SELECT
        cluster, time, CASE verb WHEN 'create' THEN 'node registered' ELSE 'node deleted' END, NULL, node, NULL,
        concat('by ', actor), 'audit'
    FROM node_states
    WHERE verb IN ('create', 'delete')
      AND subresource IS NULL
      AND ($cluster IS NULL OR cluster = $cluster)
      AND ($since IS NULL OR time >= $since)
      AND ($until IS NULL OR time < $until)
),
-- Of what is said in every round only the numbers differ.
keyed AS (
    SELECT
        *,
        CASE
            WHEN step IN ('node kept', 'node unneeded', 'no scale down', 'does not fit') THEN ''
            ELSE message
        END AS text
    FROM said
    WHERE ($node_group IS NULL OR contains(node_group, $node_group))
      AND ($node IS NULL OR node = $node)
      AND ($pod IS NULL OR pod = $pod OR ends_with(pod, '/' || $pod))
),
runs AS (
    SELECT *, sum(begins) OVER (
        PARTITION BY cluster, step, node_group, node, pod, text ORDER BY time ROWS UNBOUNDED PRECEDING
    ) AS run
    FROM (
        SELECT *, CASE WHEN time - lag(time) OVER (
            PARTITION BY cluster, step, node_group, node, pod, text ORDER BY time
        ) <= INTERVAL '5 minutes' THEN 0 ELSE 1 END AS begins
        FROM keyed
    )
)
SELECT
    min(time) AS time,
    nullif(max(time), min(time)) AS until,
    count(*) AS times,
    step,
    node_group,
    node,
    pod,
    substr(max(lpad(CAST(CAST(time AS BIGINT) AS TEXT), 20, '0') || message), 21) AS message,
    concat_ws(
        ', ',
        CASE WHEN bool_or(source = 'log') THEN 'log' END,
        CASE WHEN bool_or(source = 'audit') THEN 'audit' END,
        CASE WHEN bool_or(source = 'inventory') THEN 'inventory' END,
        CASE WHEN bool_or(source = 'component') THEN 'component' END
    ) AS source,
    cluster
FROM runs
GROUP BY cluster, step, node_group, node, pod, text, run
ORDER BY time, cluster, step, node_group, node, pod, message
LIMIT $limit
