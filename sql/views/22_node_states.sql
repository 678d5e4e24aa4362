-- title: what was said about the spec of nodes: one request a row
-- column time: when the request was answered
-- column node: name of the node
-- column uid: uid of the node, where a body tells
-- column unschedulable: cordoned or not; null: a patch that does not set it
-- column taints: taints; an empty list where the answer has none, null where a patch does not set them
-- column source: `observed` in the answer, or `merged` from a request whose answer is missing
-- column change_order: see `mutations`

-- A kubelet's status patch answers with the whole node, so it echoes the spec: compare rows with the
-- row before to find changes. A delete is a row without facts.
SELECT
    cluster,
    time,
    name AS node,
    uid,
    verb,
    subresource,
    unschedulable,
    CASE WHEN source = 'observed' AND verb <> 'delete' AND taints IS NULL THEN [] ELSE taints END AS taints,
    actor,
    user_agent,
    source,
    change_order,
    audit_id
FROM mutations
WHERE resource = 'nodes'
  AND verb IN ('create', 'update', 'patch', 'delete')
  AND (subresource IS NULL OR subresource = 'status')
  AND name IS NOT NULL
