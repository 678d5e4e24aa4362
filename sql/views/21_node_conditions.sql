-- title: what was said about the conditions of nodes: one condition in one request a row
-- column time: when the request was answered
-- column node: name of the node
-- column uid: uid of the node, where a body tells
-- column type: Ready, MemoryPressure, DiskPressure, PIDPressure, NetworkUnavailable or another's
-- column status: True, False or Unknown; null: a patch that does not set it, such as a heartbeat
-- column reason: reason; '' where the answer has none, null where a patch does not set it
-- column message: message, as reason
-- column last_transition_time: when the status changed by the reporter's clock, whole seconds
-- column last_heartbeat_time: last heartbeat by the reporter's clock
-- column reporter: who made the request
-- column source: `observed` in the answer, or `merged` from a request whose answer is missing
-- column change_order: see `mutations`

-- Conditions are set through nodes/status and when the node is created. Other requests (cordon, label)
-- answer with the conditions too, but only echo them, and their actor reported nothing.
SELECT
    cluster,
    time,
    node,
    uid,
    condition['type'] AS type,
    condition['status'] AS status,
    CASE source WHEN 'observed' THEN coalesce(condition['reason'], '') ELSE condition['reason'] END AS reason,
    CASE source WHEN 'observed' THEN coalesce(condition['message'], '') ELSE condition['message'] END AS message,
    condition['last_transition_time'] AS last_transition_time,
    condition['last_heartbeat_time'] AS last_heartbeat_time,
    reporter,
    user_agent,
    source,
    change_order,
    audit_id
FROM (
    SELECT
        cluster, time, name AS node, uid, actor AS reporter, user_agent, source, change_order, audit_id,
        unnest(conditions) AS condition
    FROM mutations
    WHERE resource = 'nodes'
      AND conditions IS NOT NULL
      AND (subresource = 'status' OR (subresource IS NULL AND verb = 'create'))
)
