-- title: for BI: what was said about the Ready condition of nodes: one report a row
-- column time: when the request was answered, UTC
-- column cluster: name of the cluster
-- column node: name of the node
-- column status: True, False or Unknown
-- column ready: 1: True, 0: False or Unknown; the average over a time is the share of reports that say Ready
-- column reason: why, as reported
-- column message: the same for people
-- column reporter: who made the request: the kubelet, or the node controller when the kubelet is silent
-- column last_transition_time: when the status changed by the reporter's clock, whole seconds
-- column audit_id: audit id of the request
SELECT
    time,
    cluster,
    node,
    status,
    CAST(status = 'True' AS BIGINT) AS ready,
    nullif(reason, '') AS reason,
    nullif(message, '') AS message,
    reporter,
    last_transition_time,
    audit_id
FROM node_conditions
WHERE type = 'Ready'
  AND status IS NOT NULL
