-- title: Kubernetes Event objects as they passed the API: one successful create, update or patch a row
-- column time: when the request was answered
-- column event_name: name of the Event object; with namespace and life of the object it is one event
-- column type: Normal or Warning
-- column reason: reason
-- column kind: kind of the object it is about
-- column object_namespace: namespace of the object it is about
-- column object: name of the object it is about
-- column object_uid: uid of the object it is about
-- column message: message
-- column count: how often it happened so far; a patch raises it; null: the events.k8s.io form says once
-- column first_time: when it first happened, by the reporter's clock
-- column last_time: when it last happened, by the reporter's clock
-- column reporter: component that reports
-- column host: host or instance of the reporter
-- column actor: user that made the request
-- column source: `observed` in the answer, or `merged` from a request, which in a patch holds only what it sets

-- Both APIs, core/v1 and events.k8s.io/v1, store the same objects.
SELECT
    cluster,
    stage_timestamp AS time,
    namespace,
    name AS event_name,
    object_uid AS event_uid,
    event_type AS type,
    event_reason AS reason,
    regarding_kind AS kind,
    regarding_namespace AS object_namespace,
    regarding_name AS object,
    regarding_uid AS object_uid,
    regarding_field_path AS field_path,
    event_message AS message,
    event_count AS count,
    event_first_timestamp AS first_time,
    event_last_timestamp AS last_time,
    event_reporter AS reporter,
    event_host AS host,
    username AS actor,
    verb,
    2 * try_cast(resource_version AS BIGINT)
    + CASE resource_version_source WHEN 'objectRef' THEN 1 ELSE 0 END AS change_order,
    CASE facts_source WHEN 'responseObject' THEN 'observed' WHEN 'requestObject' THEN 'merged' END AS source,
    audit_id
FROM events
WHERE resource = 'events'
  AND stage = 'ResponseComplete'
  AND verb IN ('create', 'update', 'patch')
  AND response_code < 300
  AND name IS NOT NULL
  AND request_uri NOT LIKE '%dryRun=%'
