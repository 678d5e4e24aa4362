-- title: What was created, by whom, with which tool?
-- param user text optional: only this user name, real or impersonated
-- param user_agent text optional: only user agents that contain this, such as kubectl or helm; whatever its case
-- param namespace text optional: only this namespace
-- param resource text optional: only this resource, plural
-- param name text optional: only objects of this name
-- param bodies flag default false: show the request bodies
-- param all flag default false: also what stores no object: subresources such as pods/binding,
--   pods/eviction and pods/exec, access and token reviews, dry runs
-- param limit int default 1000: at most so many rows, the first
-- column time: when the last stage of the request was reached: answered, as a rule
-- column user: who asked
-- column impersonated_user: on whose behalf, if impersonating
-- column user_agent: the tool, as it names itself
-- column source_ip: the address that connected to the API server, or that its proxy says did
-- column verb: create; patch or update where these created it, such as kubectl apply --server-side
-- column resource: plural, with the subresource after a slash
-- column namespace: null if the resource has none
-- column name: of the new object, as the server made it from generateName
-- column response_code: 201 created; 4xx, 5xx refused; null if the answer was not logged
-- column request_object: with --bodies, if it was logged
-- column stage: ResponseComplete; RequestReceived, ResponseStarted or Panic where nothing better was logged
-- column cluster: the cluster
-- column audit_id: for `kolumn ask event --audit-id`
-- once: asked
-- cost: reads no bodies unless --bodies
-- example: kolumn ask creates-by-user --user alice@example.com --namespace dev

WITH
asked AS (
    SELECT
        stage_timestamp, request_received_timestamp, cluster, audit_id, stage, verb, request_uri,
        username, impersonated_username, user_agent, source_ips, resource, subresource, namespace, name,
        response_code, CASE WHEN $bodies THEN request_object END AS request_object
    FROM events
    -- Server-side apply creates by patch, a put may create by update.
    WHERE (verb = 'create' OR response_code = 201 AND verb IN ('patch', 'update'))
      AND ($since IS NULL OR stage_timestamp >= $since)
      -- A request belongs to the window in which its last stage was reached: look a little further.
      AND ($until IS NULL OR stage_timestamp < $until + INTERVAL '1 hour')
      AND ($cluster IS NULL OR cluster = $cluster)
      AND ($user IS NULL OR username = $user OR impersonated_username = $user)
      AND ($user_agent IS NULL OR contains(lower(user_agent), lower($user_agent)))
      AND ($namespace IS NULL OR namespace = $namespace)
      AND ($resource IS NULL OR resource = $resource)
      AND ($all OR subresource IS NULL)
      AND ($all OR api_group IS NULL OR api_group NOT IN ('authorization.k8s.io', 'authentication.k8s.io'))
      AND ($all OR request_uri NOT LIKE '%dryRun=All%')
),
-- One row a request: its last stage. The others count only where the policy leaves the last one out,
-- or the server was killed. A received time and URI belong to it since clients may reuse audit ids.
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
        AND (
            late.stage IN ('ResponseComplete', 'Panic')
            OR early.stage = 'RequestReceived' AND late.stage = 'ResponseStarted'
        )
    WHERE early.stage IN ('RequestReceived', 'ResponseStarted')
)
SELECT
    stage_timestamp AS time,
    username AS user,
    impersonated_username AS impersonated_user,
    user_agent,
    source_ips[-1] AS source_ip,
    verb,
    concat_ws('/', resource, subresource) AS resource,
    namespace,
    name,
    response_code,
    request_object,
    stage,
    cluster,
    audit_id
FROM requests
WHERE ($until IS NULL OR stage_timestamp < $until)
  AND ($name IS NULL OR name = $name)
ORDER BY time, cluster, audit_id
LIMIT $limit
