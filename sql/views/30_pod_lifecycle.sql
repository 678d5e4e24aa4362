-- title: what happened to pods: one successful request on a pod or its subresources a row
-- column time: when the request was answered
-- column pod: name of the pod
-- column uid: uid of the pod, where objectRef or a body tells; it marks one life of a name
-- column step: create, bind, status, update, evict or delete; else the subresource
-- column node: the node it is bound to, as the answer or the binding says
-- column phase: phase
-- column owner_kind: kind of the controller that owns it
-- column owner_name: name of the controller that owns it
-- column deletion_timestamp: when it has to be gone, if it is being deleted
-- column grace_period_seconds: grace period asked for
-- column source: `observed` in the answer, or `merged` from a request whose answer is missing
-- column change_order: see `mutations`
SELECT
    cluster,
    time,
    namespace,
    name AS pod,
    uid,
    CASE
        WHEN subresource = 'binding' THEN 'bind'
        WHEN subresource = 'eviction' THEN 'evict'
        WHEN subresource IS NOT NULL THEN subresource
        WHEN verb = 'patch' THEN 'update'
        ELSE verb
    END AS step,
    coalesce(binding_target, node_name) AS node,
    phase,
    conditions,
    containers,
    owner_references[1]['kind'] AS owner_kind,
    owner_references[1]['name'] AS owner_name,
    actor,
    user_agent,
    creation_timestamp,
    deletion_timestamp,
    delete_grace_period_seconds AS grace_period_seconds,
    response_code,
    source,
    change_order,
    audit_id
FROM mutations
WHERE resource = 'pods'
  AND verb IN ('create', 'update', 'patch', 'delete')
  AND name IS NOT NULL
  AND (subresource IS NULL OR subresource NOT IN ('exec', 'attach', 'portforward', 'proxy', 'log'))
