-- title: for BI: how many messages each log type brought, minute by minute; audit is one of the types
-- column time: when the minute begins, UTC
-- column cluster: name of the cluster
-- column type: audit; of EKS: api, authenticator, controllerManager, scheduler, cloudControllerManager; else the component
-- column component: program that wrote them; audit: the audit log of the API servers
-- column severity: debug, info, warning, error or fatal; null: the text does not tell, or audit events
-- column messages: number of entries, of audit events
-- column bytes: their bytes as received
SELECT
    minute_of(time) AS time,
    cluster,
    type,
    component,
    severity,
    count(*) AS messages,
    sum(record_bytes) AS bytes
FROM bi_component_messages
GROUP BY minute_of(time), cluster, type, component, severity
UNION ALL
SELECT minute_of(stage_timestamp), cluster, 'audit', 'audit', NULL, count(*), sum(record_bytes)
FROM events
GROUP BY minute_of(stage_timestamp), cluster
