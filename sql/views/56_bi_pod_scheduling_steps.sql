-- title: for BI: the way of pods onto nodes: created, unschedulable, bound, their phases, deleted; one request a row
-- column time: when the request was answered, UTC
-- column cluster: name of the cluster
-- column namespace: namespace of the pod
-- column pod: name of the pod
-- column pod_uid: uid of the pod: another one is another life of the name
-- column step: create, bind, status, update, evict or delete; else the subresource
-- column unschedulable: the pod has no node, and the scheduler found none
-- column node: node of the pod by then
-- column phase: phase of the pod by then
-- column reason: of an unschedulable pod: why
-- column message: the same for people, such as 0/12 nodes are available
-- column owner_kind: kind of the controller that owns it
-- column owner_name: name of the controller that owns it
-- column user_name: who asked
-- column user_agent: the tool, as it names itself
-- column created: when the pod was created, by the API server's clock, whole seconds
-- column audit_id: audit id of the request
SELECT
    time,
    cluster,
    namespace,
    pod,
    uid AS pod_uid,
    step,
    coalesce(condition_of(conditions, 'PodScheduled')['status'] = 'False', false) AS unschedulable,
    node,
    phase,
    CASE condition_of(conditions, 'PodScheduled')['status']
        WHEN 'False' THEN condition_of(conditions, 'PodScheduled')['reason']
    END AS reason,
    CASE condition_of(conditions, 'PodScheduled')['status']
        WHEN 'False' THEN condition_of(conditions, 'PodScheduled')['message']
    END AS message,
    owner_kind,
    owner_name,
    actor AS user_name,
    user_agent,
    creation_timestamp AS created,
    audit_id
FROM pod_lifecycle
