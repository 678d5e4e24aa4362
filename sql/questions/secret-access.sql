-- title: Who read Secrets, went into pods (exec, attach, port-forward, proxy), or acted as somebody else?
-- param kind text optional: only one kind: secrets (get, list, watch), exec, attach, portforward,
--   proxy (of pods, services and nodes), or impersonation
-- param user text optional: only this user name, real or impersonated
-- param user_agent text optional: only user agents that contain this; whatever its case
-- param namespace text optional: only this namespace; requests across all namespaces have none
-- param name text optional: only this secret, pod, service or node
-- param allowed flag default false: only requests that were not refused
-- param limit int default 1000: at most so many rows, the first
-- column time: when it was answered; of a session or watch, when it began
-- column kind: secrets, exec, attach, portforward, proxy, or impersonation of anything else
-- column user: who asked: the real user
-- column impersonated_user: on whose behalf: the effective user
-- column verb: what was asked for
-- column object: resource/subresource namespace/name
-- column request_uri: as sent; of exec it holds the command
-- column response_code: 101 a session began; 2xx answered; 4xx, 5xx refused
-- column source_ip: the address that connected to the API server, or that its proxy says did
-- column user_agent: the tool, as it names itself
-- column stage: ResponseStarted where the request went on after its answer began
-- column cluster: the cluster
-- column audit_id: for `kolumn ask event --audit-id`
-- cost: reads no bodies
-- example: kolumn ask secret-access --kind exec --namespace dev

WITH
asked AS (
    SELECT
        stage_timestamp, request_received_timestamp, cluster, audit_id, stage, verb, request_uri,
        username, impersonated_username, user_agent, source_ips, resource, subresource, namespace, name,
        response_code,
        -- A session is told by the stage in which it began: it may last for hours.
        CASE stage
            WHEN 'ResponseStarted' THEN 1
            WHEN 'ResponseComplete' THEN 2
            WHEN 'Panic' THEN 3
            ELSE 4
        END AS place
    FROM events
    WHERE (
        resource = 'secrets' AND verb IN ('get', 'list', 'watch')
        OR subresource IN ('exec', 'attach', 'portforward', 'proxy')
        OR impersonated_username IS NOT NULL
    )
      AND ($since IS NULL OR stage_timestamp >= $since - INTERVAL '1 hour')
      AND ($until IS NULL OR stage_timestamp < $until + INTERVAL '1 hour')
      AND ($cluster IS NULL OR cluster = $cluster)
      AND (
          $kind IS NULL
          OR $kind = 'secrets' AND resource = 'secrets' AND verb IN ('get', 'list', 'watch')
          OR $kind = 'impersonation' AND impersonated_username IS NOT NULL
          OR $kind IN ('exec', 'attach', 'portforward', 'proxy') AND subresource = $kind
      )
      AND ($user IS NULL OR username = $user OR impersonated_username = $user)
      AND ($user_agent IS NULL OR contains(lower(user_agent), lower($user_agent)))
      AND ($namespace IS NULL OR namespace = $namespace)
),
-- One row a request. A received time and URI belong to it since clients may reuse audit ids; where
-- there is no received time, every row counts.
requests AS (
    SELECT *
    FROM asked
    QUALIFY request_received_timestamp IS NULL
        OR row_number() OVER (
            PARTITION BY cluster, audit_id, request_received_timestamp, request_uri
            ORDER BY place, stage_timestamp
        ) = 1
)
SELECT
    stage_timestamp AS time,
    CASE
        WHEN subresource IN ('exec', 'attach', 'portforward', 'proxy') THEN subresource
        WHEN resource = 'secrets' AND verb IN ('get', 'list', 'watch') THEN 'secrets'
        ELSE 'impersonation'
    END AS kind,
    username AS user,
    impersonated_username AS impersonated_user,
    verb,
    concat_ws(
        ' ',
        nullif(concat_ws('/', resource, subresource), ''),
        nullif(concat_ws('/', namespace, name), '')
    ) AS object,
    request_uri,
    response_code,
    source_ips[-1] AS source_ip,
    user_agent,
    stage,
    cluster,
    audit_id
FROM requests
WHERE ($since IS NULL OR stage_timestamp >= $since)
  AND ($until IS NULL OR stage_timestamp < $until)
  AND ($name IS NULL OR name = $name)
  AND (NOT $allowed OR response_code < 400)
ORDER BY time, cluster, audit_id
LIMIT $limit
