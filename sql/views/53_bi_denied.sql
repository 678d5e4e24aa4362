-- title: for BI: requests that were refused, found nothing or failed: one request a row
-- column time: when the request was answered, UTC
-- column cluster: name of the cluster
-- column kind: unauthenticated (401), forbidden (403), not-found (404), conflict (409) or failed
-- column user_name: who asked; null on 401
-- column impersonated_user: on whose behalf, if the user impersonated someone
-- column user_agent: the tool, as it names itself
-- column source_ip: the address that connected to the API server, or that its proxy says did
-- column verb: what was asked for
-- column api_group: API group of the object; null: the core group
-- column resource: plural, such as pods
-- column subresource: such as status, binding or exec
-- column namespace: namespace of the object
-- column name: name of the object
-- column request_uri: as sent by the client
-- column response_code: HTTP status
-- column response_reason: reason of the refusal, such as Forbidden
-- column response_message: message of the refusal
-- column authorization_reason: which rule let it through, or why none did
-- column audit_id: audit id of the request

-- The audit log has no last stage of a 401.
SELECT
    stage_timestamp AS time,
    cluster,
    CASE response_code
        WHEN 401 THEN 'unauthenticated'
        WHEN 403 THEN 'forbidden'
        WHEN 404 THEN 'not-found'
        WHEN 409 THEN 'conflict'
        ELSE 'failed'
    END AS kind,
    username AS user_name,
    impersonated_username AS impersonated_user,
    user_agent,
    source_ips[-1] AS source_ip,
    verb,
    api_group,
    resource,
    subresource,
    namespace,
    name,
    request_uri,
    CAST(response_code AS BIGINT) AS response_code,
    response_reason,
    response_message,
    authorization_reason,
    audit_id
FROM events
WHERE response_code >= 400
  AND (stage IN ('ResponseComplete', 'Panic') OR (stage = 'ResponseStarted' AND response_code = 401))
