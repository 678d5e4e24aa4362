-- title: Who changed what? Every request that is not a read
-- param user text optional: only this user name, real or impersonated
-- param user_agent text optional: only user agents that contain this, such as kubectl or helm; whatever its case
-- param verb text optional: only this verb: create, update, patch, delete, deletecollection
-- param namespace text optional: only this namespace
-- param resource text optional: only this resource, plural
-- param subresource text optional: only this subresource, such as status, scale or eviction
-- param name text optional: only objects of this name
-- param bodies flag default false: show the request bodies
-- param all flag default false: also what changes nothing: access and token reviews, dry runs
-- param limit int default 1000: at most so many rows, the first
-- column time: when the last stage of the request was reached: answered, as a rule
-- column verb: what was asked for
-- column response_code: 2xx done; 4xx, 5xx refused; null if the answer was not logged
-- column user: who asked
-- column impersonated_user: on whose behalf, if impersonating
-- column user_agent: the tool, as it names itself
-- column object: resource/subresource namespace/name
-- column request_uri: as sent
-- column request_object: with --bodies, if it was logged
-- column stage: ResponseComplete; RequestReceived, ResponseStarted or Panic where nothing better was logged
-- column cluster: the cluster
-- column audit_id: for `kolumn ask event --audit-id`
-- once: asked
-- cost: reads no bodies unless --bodies
-- example: kolumn ask changes --namespace azure-vote --user-agent kubectl

WITH
asked AS (
    SELECT
        stage_timestamp, request_received_timestamp, cluster, audit_id, stage, verb, request_uri,
        username, impersonated_username, user_agent, resource, subresource, namespace, name,
        response_code, CASE WHEN $bodies THEN request_object END AS request_object
    FROM events
    WHERE verb NOT IN ('get', 'list', 'watch', 'head', 'options')
      AND ($since IS NULL OR stage_timestamp >= $since)
      -- A request belongs to the window in which its last stage was reached: look a little further.
      AND ($until IS NULL OR stage_timestamp < $until + INTERVAL '1 hour')
      AND ($cluster IS NULL OR cluster = $cluster)
      AND ($user IS NULL OR username = $user OR impersonated_username = $user)
      AND ($user_agent IS NULL OR contains(lower(user_agent), lower($user_agent)))
      AND ($verb IS NULL OR verb = $verb)
      AND ($namespace IS NULL OR namespace = $namespace)
      AND ($resource IS NULL OR resource = $resource)
      AND ($subresource IS NULL OR subresource = $subresource)
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
    verb,
    response_code,
    username AS user,
    impersonated_username AS impersonated_user,
    user_agent,
    concat_ws(
        ' ',
        nullif(concat_ws('/', resource, subresource), ''),
        nullif(concat_ws('/', namespace, name), '')
    ) AS object,
    request_uri,
    request_object,
    stage,
    cluster,
    audit_id
FROM requests
WHERE ($until IS NULL OR stage_timestamp < $until)
  -- Of a create only the last stage knows the name.
  AND ($name IS NULL OR name = $name)
ORDER BY time, cluster, audit_id
LIMIT $limit
