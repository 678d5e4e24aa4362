-- title: for BI: audit events in plain types, without bodies: one stage of one request a row
-- column time: when the stage was reached, UTC
-- column cluster: name of the cluster
-- column stage: RequestReceived, ResponseStarted, ResponseComplete or Panic; count ResponseComplete to count requests
-- column level: audit policy level: Metadata, Request or RequestResponse
-- column verb: get, list, watch, create, update, patch, delete, deletecollection, or the HTTP method in lower case
-- column user_name: who asked; null on 401
-- column user_groups: groups of the user, with commas between them
-- column impersonated_user: on whose behalf, if the user impersonated someone
-- column user_agent: the tool, as it names itself
-- column source_ip: the address that connected to the API server, or that its proxy says did
-- column api_group: API group of the object; null: the core group
-- column resource: plural, such as pods
-- column subresource: such as status, binding or exec
-- column namespace: namespace of the object
-- column name: name of the object
-- column object_uid: uid of the object, where a request or body tells
-- column request_uri: as sent by the client
-- column response_code: HTTP status
-- column response_reason: reason of a refusal, such as Forbidden
-- column response_message: message of a refusal
-- column authorization_decision: allow or forbid
-- column authorization_reason: which rule let it through, or why none did
-- column latency_ms: milliseconds from the arrival of the request to this stage
-- column record_bytes: bytes of the event in the log; null where several came in one record
-- column request_body: present, absent, skipped or truncated
-- column response_body: present, absent, skipped or truncated
-- column audit_id: audit id of the request; chosen by the client if it sends one
SELECT
    stage_timestamp AS time,
    cluster,
    stage,
    level,
    verb,
    username AS user_name,
    array_to_string(user_groups, ', ') AS user_groups,
    impersonated_username AS impersonated_user,
    user_agent,
    source_ips[-1] AS source_ip,
    api_group,
    resource,
    subresource,
    namespace,
    name,
    object_uid,
    request_uri,
    CAST(response_code AS BIGINT) AS response_code,
    response_reason,
    response_message,
    authorization_decision,
    authorization_reason,
    (CAST(stage_timestamp AS BIGINT) - CAST(request_received_timestamp AS BIGINT)) / 1000.0 AS latency_ms,
    record_bytes,
    request_object_state AS request_body,
    response_object_state AS response_body,
    audit_id
FROM events
