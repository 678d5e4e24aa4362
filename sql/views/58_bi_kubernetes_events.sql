-- title: for BI: Kubernetes Events as they were reported by any route: one report a row
-- column time: when the request was answered, the sample was taken, or the line was written, UTC
-- column cluster: name of the cluster
-- column source: audit, inventory (polled samples) or component (lines); choose one, they double each other
-- column type: Normal or Warning
-- column reason: reason, such as FailedScheduling
-- column kind: kind of the object it is about
-- column namespace: namespace of the object it is about
-- column name: name of the object it is about
-- column message: message
-- column count: how often it happened so far, as the report says
-- column first_time: when it first happened, as the report says
-- column last_time: when it last happened, as the report says
-- column reporter: component that reports
-- column host: host or instance of the reporter
-- column event_name: of audit: name of the Event object; reports of one name are one Event
-- column audit_id: of audit: audit id of the request
SELECT
    time,
    cluster,
    source,
    type,
    reason,
    kind,
    namespace,
    name,
    message,
    count,
    first_time,
    last_time,
    reporter,
    host,
    event_name,
    audit_id
FROM event_reports
