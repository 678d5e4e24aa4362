-- title: Which requests were refused, found nothing or failed, and which were anonymous?
-- param kind text optional: only one kind: unauthenticated (401), forbidden (403), not-found (404),
--   conflict (409), failed (any other code from 400 on), or anonymous: requests without credentials,
--   also those that were answered
-- param code int optional: only this HTTP status
-- param user text optional: only this user name, real or impersonated
-- param user_agent text optional: only user agents that contain this; whatever its case
-- param namespace text optional: only this namespace
-- param resource text optional: only this resource, plural
-- param verb text optional: only this verb
-- param limit int default 1000: at most so many rows, the first
-- column time: when it was answered
-- column kind: unauthenticated, forbidden, not-found, conflict, failed; or anonymous: answered without credentials
-- column user: who asked; null on 401
-- column impersonated_user: on whose behalf, if impersonating
-- column verb: what was asked for
-- column request_uri: as sent
-- column response_code: the HTTP status
-- column response_reason: the status' reason, such as Forbidden
-- column response_message: the status' message
-- column authorization_reason: which rule let it through, or why none did
-- column user_agent: the tool, as it names itself
-- column source_ip: the address that connected to the API server, or that its proxy says did
-- column cluster: the cluster
-- column audit_id: for `kolumn ask event --audit-id`
-- once: asked
-- cost: reads no bodies
-- example: kolumn ask denied --kind forbidden --user eve@example.com

WITH
asked AS (
    SELECT
        stage_timestamp, request_received_timestamp, cluster, audit_id, stage, verb, request_uri,
        username, impersonated_username, user_agent, source_ips,
        response_code, response_reason, response_message, authorization_reason
    FROM events
    WHERE (response_code >= 400 OR $kind = 'anonymous' AND username = 'system:anonymous')
      AND ($since IS NULL OR stage_timestamp >= $since)
      -- A request belongs to the window in which its last stage was reached: look a little further.
      AND ($until IS NULL OR stage_timestamp < $until + INTERVAL '1 hour')
      AND ($cluster IS NULL OR cluster = $cluster)
      AND (
          $kind IS NULL
          OR $kind = 'unauthenticated' AND response_code = 401
          OR $kind = 'forbidden' AND response_code = 403
          OR $kind = 'not-found' AND response_code = 404
          OR $kind = 'conflict' AND response_code = 409
          OR $kind = 'failed' AND response_code NOT IN (401, 403, 404, 409)
          OR $kind = 'anonymous' AND username = 'system:anonymous'
      )
      AND ($code IS NULL OR response_code = $code)
      AND ($user IS NULL OR username = $user OR impersonated_username = $user)
      AND ($user_agent IS NULL OR contains(lower(user_agent), lower($user_agent)))
      AND ($namespace IS NULL OR namespace = $namespace)
      AND ($resource IS NULL OR resource = $resource)
      AND ($verb IS NULL OR verb = $verb)
),
-- One row a request: its last stage. A 401 ends with ResponseStarted. A received time and URI belong
-- to it since clients may reuse audit ids.
requests AS (
    SELECT * FROM asked WHERE stage IN ('ResponseComplete', 'Panic')
    UNION ALL
    SELECT early.*
    FROM asked AS early
    LEFT ANTI JOIN asked AS late
        ON early.audit_id = late.audit_id
        AND early.cluster = late.cluster
        AND early.request_received_timestamp = late.request_received_timestamp
        AND early.request_uri = late.request_uri
        AND late.stage IN ('ResponseComplete', 'Panic')
    WHERE early.stage = 'ResponseStarted'
)
SELECT
    stage_timestamp AS time,
    CASE
        WHEN response_code < 400 OR response_code IS NULL THEN 'anonymous'
        WHEN response_code = 401 THEN 'unauthenticated'
        WHEN response_code = 403 THEN 'forbidden'
        WHEN response_code = 404 THEN 'not-found'
        WHEN response_code = 409 THEN 'conflict'
        ELSE 'failed'
    END AS kind,
    username AS user,
    impersonated_username AS impersonated_user,
    verb,
    request_uri,
    response_code,
    response_reason,
    response_message,
    authorization_reason,
    user_agent,
    source_ips[-1] AS source_ip,
    cluster,
    audit_id
FROM requests
WHERE $until IS NULL OR stage_timestamp < $until
ORDER BY time, cluster, audit_id
LIMIT $limit
