-- title: Kubernetes Events by every route: audit, polled samples, and lines of components; one report a row
-- column time: when the request was answered, the sample was taken, or the line was written
-- column source: audit, inventory or component
-- column event_namespace: of audit: namespace of the Event object
-- column event_name: of audit: name of the Event object; with its namespace it is one Event
-- column type: Normal or Warning
-- column reason: reason
-- column kind: kind of the object it is about
-- column namespace: namespace of the object it is about; null: none
-- column name: name of the object it is about
-- column message: message
-- column count: how often it happened so far, as the report says
-- column first_time: when it first happened, as the report says
-- column last_time: when it last happened, as the report says
-- column reporter: component that reports
-- column host: host or instance of the reporter
-- column facts: of audit: `observed` in the answer, or `merged` from a request

-- One Event comes by several routes, so rows of different sources double each other: the question
-- `kubernetes-events` shows each once. The routes stand side by side here so that a window of time
-- reaches the files of each table.
SELECT
    cluster, time, 'audit' AS source, namespace AS event_namespace, event_name, type, reason, kind,
    nullif(object_namespace, '') AS namespace, object AS name, message, count, first_time, last_time,
    reporter, host, source AS facts, actor, audit_id
FROM kubernetes_events
UNION ALL
SELECT
    cluster, time, 'inventory', NULL, NULL, status, reason,
    coalesce(nullif(json_get_str(record, 'ObjectKind'), ''), object_kind),
    nullif(namespace, ''), name, message, count, first_time, last_time,
    json_get_str(record, 'SourceComponent'), coalesce(node, json_get_str(record, 'Computer')), NULL, NULL, NULL
FROM inventory
WHERE source_table = 'KubeEvents'
UNION ALL
-- klog writes an object as "namespace/name", as "name" if it has no namespace, and in JSON as an object.
SELECT
    cluster, time, 'component', NULL, NULL, type, reason, kind,
    nullif(
        coalesce(told_namespace, CASE WHEN contains(object, '/') THEN split_part(object, '/', 1) END), ''
    ),
    coalesce(told_name, CASE WHEN contains(object, '/') THEN split_part(object, '/', 2) ELSE object END),
    event_message, CAST(NULL AS BIGINT), time AS first_time, time AS last_time, component, source_node, NULL, NULL, NULL
FROM (
    SELECT
        cluster, time, component, source_node,
        json_get_str(fields, 'type') AS type,
        json_get_str(fields, 'reason') AS reason,
        json_get_str(fields, 'kind') AS kind,
        json_get_str(fields, 'message') AS event_message,
        json_get_str(fields, 'object') AS object,
        coalesce(json_get_str(fields, 'namespace'), json_get_str(fields, 'object', 'namespace')) AS told_namespace,
        coalesce(json_get_str(fields, 'name'), json_get_str(fields, 'object', 'name')) AS told_name
    FROM component
    WHERE message = 'Event occurred' OR starts_with(message, 'Event(')
)
WHERE reason IS NOT NULL AND kind IS NOT NULL
