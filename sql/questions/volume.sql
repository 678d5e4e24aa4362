-- title: Who and what makes the log as large as it is?
-- param by text-list default "day,user_agent,verb,resource": what to count by, any of day,
--   user_agent, user, verb, resource, namespace, level, stage, cluster
-- param user text optional: only this user name
-- param user_agent text optional: only user agents that contain this; whatever its case
-- param resource text optional: only this resource, plural
-- param verb text optional: only this verb
-- param limit int default 100: at most so many rows, the largest
-- column day: UTC
-- column cluster: the cluster
-- column user_agent: the tool, as it names itself
-- column user: who asked
-- column verb: what was asked for
-- column resource: plural, with the subresource after a slash
-- column namespace: null also if the resource has none
-- column level: audit policy level
-- column stage: stage of the request
-- column events: number of events
-- column bytes: their bytes in the log as received; null where several events came in one record
-- column percent: share of these bytes in all that the filters let through
-- column body_percent: share of request and response bodies in these bytes
-- cost: reads no bodies
-- example: kolumn ask volume --by user_agent,verb

-- What is not counted by is null in every row, and no group.
WITH
counted AS (
    SELECT
        CASE WHEN array_has($by, 'day') THEN date END AS day,
        CASE WHEN array_has($by, 'cluster') THEN cluster END AS in_cluster,
        CASE WHEN array_has($by, 'user_agent') THEN user_agent END AS agent,
        CASE WHEN array_has($by, 'user') THEN username END AS user_name,
        CASE WHEN array_has($by, 'verb') THEN verb END AS of_verb,
        CASE WHEN array_has($by, 'resource') THEN resource END AS of_resource,
        CASE WHEN array_has($by, 'resource') THEN subresource END AS of_subresource,
        CASE WHEN array_has($by, 'namespace') THEN namespace END AS in_namespace,
        CASE WHEN array_has($by, 'level') THEN level END AS at_level,
        CASE WHEN array_has($by, 'stage') THEN stage END AS at_stage,
        count(*) AS events,
        sum(record_bytes) AS bytes,
        sum(
            CASE
                WHEN record_bytes IS NOT NULL
                    THEN coalesce(request_object_bytes, 0) + coalesce(response_object_bytes, 0)
            END
        ) AS body_bytes
    FROM events
    WHERE ($since IS NULL OR stage_timestamp >= $since)
      AND ($until IS NULL OR stage_timestamp < $until)
      AND ($cluster IS NULL OR cluster = $cluster)
      AND ($user IS NULL OR username = $user)
      AND ($user_agent IS NULL OR contains(lower(user_agent), lower($user_agent)))
      AND ($resource IS NULL OR resource = $resource)
      AND ($verb IS NULL OR verb = $verb)
    GROUP BY
        CASE WHEN array_has($by, 'day') THEN date END,
        CASE WHEN array_has($by, 'cluster') THEN cluster END,
        CASE WHEN array_has($by, 'user_agent') THEN user_agent END,
        CASE WHEN array_has($by, 'user') THEN username END,
        CASE WHEN array_has($by, 'verb') THEN verb END,
        CASE WHEN array_has($by, 'resource') THEN resource END,
        CASE WHEN array_has($by, 'resource') THEN subresource END,
        CASE WHEN array_has($by, 'namespace') THEN namespace END,
        CASE WHEN array_has($by, 'level') THEN level END,
        CASE WHEN array_has($by, 'stage') THEN stage END
)
SELECT
    day,
    in_cluster AS "cluster",
    agent AS user_agent,
    user_name AS user,
    of_verb AS verb,
    nullif(concat_ws('/', of_resource, of_subresource), '') AS resource,
    in_namespace AS namespace,
    at_level AS level,
    at_stage AS stage,
    events,
    bytes,
    round(100.0 * bytes / sum(bytes) OVER (), 2) AS percent,
    round(100.0 * body_bytes / bytes, 1) AS body_percent
FROM counted
ORDER BY bytes DESC NULLS LAST, events DESC, day, in_cluster, user_agent, user_name, verb, resource, namespace, level, stage
LIMIT $limit
