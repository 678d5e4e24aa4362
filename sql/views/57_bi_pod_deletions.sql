-- title: for BI: requests to remove a pod: deletes, evictions (refused ones too), each pod of a deletecollection
-- column time: when the request was answered, UTC
-- column cluster: name of the cluster
-- column namespace: namespace of the pod
-- column pod: name of the pod; null for a deletecollection whose answer is missing
-- column pod_uid: uid of the pod, where a body tells; evictions do not
-- column node: node of the pod, as the answer says, or the kubelet that asked
-- column how: delete, eviction or deletecollection
-- column phase: phase of the pod when it was asked
-- column user_name: who asked
-- column user_agent: the tool, as it names itself
-- column grace_period_seconds: grace period asked for
-- column final: the pod was gone with this request, unless a finalizer held it; count these to count pods that went
-- column succeeded: the request was accepted
-- column response_code: HTTP status
-- column response_message: why it was refused
-- column audit_id: audit id of the request
SELECT
    time,
    cluster,
    namespace,
    pod,
    uid AS pod_uid,
    node,
    how,
    phase,
    actor AS user_name,
    user_agent,
    grace_period_seconds,
    final,
    succeeded,
    CAST(response_code AS BIGINT) AS response_code,
    response_message,
    audit_id
FROM pod_removals
