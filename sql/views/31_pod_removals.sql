-- title: requests to remove a pod: deletes, evictions (refused ones too), and each pod of a deletecollection
-- column time: when the request was answered
-- column pod: name of the pod; null for a deletecollection whose answer is missing
-- column uid: uid of the pod, where a body tells; evictions do not
-- column how: delete, eviction or deletecollection
-- column node: node of the pod, as the answer says, or the kubelet that asked
-- column phase: phase of the pod when it was asked
-- column grace_period_seconds: grace period asked for
-- column final: the pod was gone with this request, unless a finalizer held it
-- column succeeded: the request was accepted
-- column conditions: conditions of the pod; DisruptionTarget tells why it has to go

-- A pod is gone at once if the grace period is 0, and the API server makes it 0 for pods that no node
-- has or that ended. Kubelets delete with 0 when the containers have stopped: that is the end of a
-- deletion that someone else asked for. Where bodies were not logged, a kubelet is told by its name.
SELECT
    cluster,
    stage_timestamp AS time,
    namespace,
    name AS pod,
    object_uid AS uid,
    CASE verb WHEN 'delete' THEN 'delete' ELSE 'eviction' END AS how,
    coalesce(
        node_name,
        CASE WHEN verb = 'delete' AND starts_with(username, 'system:node:') THEN substr(username, 13) END
    ) AS node,
    phase,
    delete_grace_period_seconds AS grace_period_seconds,
    verb = 'delete' AND (
        coalesce(delete_grace_period_seconds = 0, false)
        OR coalesce(starts_with(username, 'system:node:'), false)
        OR (facts_source = 'responseObject' AND (node_name IS NULL OR coalesce(phase IN ('Succeeded', 'Failed'), false)))
    ) AS final,
    response_code < 300 AS succeeded,
    conditions,
    username AS actor,
    user_agent,
    response_code,
    response_message,
    audit_id
FROM events
WHERE resource = 'pods'
  AND stage = 'ResponseComplete'
  AND name IS NOT NULL
  AND (
      (verb = 'delete' AND subresource IS NULL AND response_code < 300)
      OR (verb = 'create' AND subresource = 'eviction')
  )
  AND request_uri NOT LIKE '%dryRun=%'
UNION ALL
-- The answer of a deletecollection lists the pods it marked. Its body is read here: there are few.
SELECT
    cluster,
    time,
    coalesce(json_get_str(item, 'metadata', 'namespace'), namespace),
    json_get_str(item, 'metadata', 'name'),
    json_get_str(item, 'metadata', 'uid'),
    'deletecollection',
    json_get_str(item, 'spec', 'nodeName'),
    json_get_str(item, 'status', 'phase'),
    grace_period_seconds,
    coalesce(json_get_int(item, 'metadata', 'deletionGracePeriodSeconds') = 0, false)
        OR json_get_str(item, 'spec', 'nodeName') IS NULL,
    true,
    NULL,
    actor,
    user_agent,
    response_code,
    NULL,
    audit_id
FROM (
    SELECT
        cluster,
        stage_timestamp AS time,
        namespace,
        delete_grace_period_seconds AS grace_period_seconds,
        username AS actor,
        user_agent,
        response_code,
        audit_id,
        unnest(json_get_array(response_object, 'items')) AS item
    FROM events
    WHERE resource = 'pods'
      AND verb = 'deletecollection'
      AND stage = 'ResponseComplete'
      AND response_code < 300
      AND response_object_state = 'present'
      AND request_uri NOT LIKE '%dryRun=%'
)
UNION ALL
SELECT
    cluster, stage_timestamp, namespace, NULL, NULL, 'deletecollection', NULL, NULL, delete_grace_period_seconds,
    false, true, NULL, username, user_agent, response_code, NULL, audit_id
FROM events
WHERE resource = 'pods'
  AND verb = 'deletecollection'
  AND stage = 'ResponseComplete'
  AND response_code < 300
  AND response_object_state <> 'present'
  AND request_uri NOT LIKE '%dryRun=%'
