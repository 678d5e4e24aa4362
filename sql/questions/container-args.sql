-- title: Which images, commands and arguments did a workload or pod have at a time?
-- param namespace text required: namespace
-- param name text required: name of the workload or pod
-- param resource text optional: only this resource, plural, such as daemonsets
-- param at time default now: the time
-- column resource: resource, plural
-- column container: name of the container
-- column init: it is an init container
-- column image: image
-- column command: command; null: that of the image
-- column args: arguments; null: none, or those of the image
-- column since: when the answer that first showed this was given
-- column changed_by: who made that request; the first that is known need not have changed anything
-- column last_seen: when it was last seen so
-- column deleted: when the object was deleted; null: not by then
-- column source: `observed` in an answer, or `merged`: in part from a patch whose answer is missing
-- column audit_id: audit id of the request at `since`
-- needs: resource=pods,deployments,daemonsets,statefulsets,replicasets,replicationcontrollers,jobs,cronjobs
--   subresource=- body=response verbs=create,update,patch
-- cost: reads no bodies; reads all that was logged of the object
-- example: kolumn ask container-args --namespace kube-system --name kured --resource daemonsets --at 2026-11-20T11:25:00Z

-- Every answer that holds the object tells its containers, reads and status updates too.
WITH said AS (
    SELECT
        cluster, resource, stage_timestamp AS time, object_uid AS uid, verb, username AS actor, audit_id,
        containers,
        facts_source = 'responseObject' AS whole,
        coalesce(
            2 * try_cast(resource_version AS BIGINT)
            + CASE resource_version_source WHEN 'objectRef' THEN 1 ELSE 0 END,
            2 * max(try_cast(resource_version AS BIGINT)) OVER (
                PARTITION BY cluster, resource ORDER BY stage_timestamp ROWS UNBOUNDED PRECEDING
            ),
            0
        ) AS position
    FROM events
    WHERE resource IN (
            'pods', 'deployments', 'daemonsets', 'statefulsets', 'replicasets', 'replicationcontrollers', 'jobs', 'cronjobs'
        )
      AND name = $name
      AND namespace = $namespace
      AND ($resource IS NULL OR resource = $resource)
      AND ($cluster IS NULL OR cluster = $cluster)
      AND stage = 'ResponseComplete'
      AND response_code < 300
      AND stage_timestamp <= $at
      AND request_uri NOT LIKE '%dryRun=%'
      AND containers IS NOT NULL
),
each AS (
    SELECT
        * EXCLUDE (container),
        container['name'] AS container,
        container['init'] AS init,
        container['image'] AS image,
        -- A patch leaves out what it does not change; in a whole object nothing is left out.
        CASE WHEN whole THEN coalesce(container['command'], []) ELSE container['command'] END AS command,
        CASE WHEN whole THEN coalesce(container['args'], []) ELSE container['args'] END AS args
    FROM (
        SELECT
            cluster, resource, time, uid, actor, audit_id, whole, position,
            max(CASE WHEN whole THEN position END) OVER (PARTITION BY cluster, resource) AS last_whole,
            unnest(containers) AS container
        FROM said
    )
),
filled AS (
    SELECT
        cluster, resource, time, uid, actor, audit_id, whole, position, last_whole, container,
        last_value(init) IGNORE NULLS OVER so_far AS init,
        last_value(image) IGNORE NULLS OVER so_far AS image,
        last_value(command) IGNORE NULLS OVER so_far AS command,
        last_value(args) IGNORE NULLS OVER so_far AS args,
        last_value(uid) IGNORE NULLS OVER so_far AS life
    FROM each
    WINDOW so_far AS (PARTITION BY cluster, resource, container ORDER BY position, time ROWS UNBOUNDED PRECEDING)
),
compared AS (
    SELECT
        *,
        lag(concat_ws(' ', life, image, CAST(command AS TEXT), CAST(args AS TEXT))) OVER (
            PARTITION BY cluster, resource, container ORDER BY position, time
        ) AS before,
        concat_ws(' ', life, image, CAST(command AS TEXT), CAST(args AS TEXT)) AS now
    FROM filled
),
runs AS (
    SELECT
        *,
        sum(CASE WHEN before IS NULL OR before <> now THEN 1 ELSE 0 END) OVER (
            PARTITION BY cluster, resource, container ORDER BY position, time ROWS UNBOUNDED PRECEDING
        ) AS run
    FROM compared
),
spans AS (
    SELECT
        cluster, resource, container, run,
        first_value(init ORDER BY position, time) AS init,
        first_value(image ORDER BY position, time) AS image,
        first_value(command ORDER BY position, time) AS command,
        first_value(args ORDER BY position, time) AS args,
        min(time) AS since,
        first_value(actor ORDER BY position, time) AS changed_by,
        first_value(audit_id ORDER BY position, time) AS audit_id,
        max(time) AS last_seen,
        max(position) AS last_position,
        max(last_whole) AS last_whole,
        bool_and(whole) AS observed
    FROM runs
    GROUP BY cluster, resource, container, run
),
-- A container that the last whole object does not have is gone.
newest AS (
    SELECT *, row_number() OVER (PARTITION BY cluster, resource, container ORDER BY run DESC) AS place
    FROM spans
    WHERE last_whole IS NULL OR last_position >= last_whole
),
deletes AS (
    SELECT cluster, resource, max(time) AS deleted
    FROM mutations
    WHERE verb = 'delete'
      AND subresource IS NULL
      AND name = $name
      AND namespace = $namespace
      AND ($resource IS NULL OR resource = $resource)
      AND ($cluster IS NULL OR cluster = $cluster)
      AND time <= $at
    GROUP BY cluster, resource
)
SELECT
    newest.resource,
    container,
    init,
    image,
    CASE WHEN cardinality(command) > 0 THEN command END AS command,
    CASE WHEN cardinality(args) > 0 THEN args END AS args,
    since,
    changed_by,
    last_seen,
    CASE WHEN deleted >= last_seen THEN deleted END AS deleted,
    CASE WHEN observed THEN 'observed' ELSE 'merged' END AS source,
    audit_id
FROM newest
LEFT JOIN deletes ON deletes.cluster = newest.cluster AND deletes.resource = newest.resource
WHERE place = 1
ORDER BY newest.cluster, newest.resource, init DESC, container
