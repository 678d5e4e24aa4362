-- title: How did an object change, field by field, and who changed it?
-- param resource text required: plural, such as deployments
-- param name text required: name of the object
-- param namespace text optional: only in this namespace
-- param field text optional: only fields whose path contains this, such as image or spec.replicas
-- param all flag default false: also the fields that an object began with, and those that the API server keeps
--   for itself: managedFields, resourceVersion, generation, the last-applied annotation
-- param bodies flag default false: show the whole object after the change
-- param limit int default 1000: at most so many rows, the first
-- column time: when the request was answered
-- column verb: create, update, patch or delete, with the subresource after a slash
-- column actor: who asked
-- column field: path of the field; items of a list by their name; null: no field is known to have changed, or
--   the object was created or deleted
-- column before: value before; null: there was none
-- column after: value after; null: there is none
-- column source: where the object after the change is known from: `observed` (the answer), `merged` (its answer
--   is missing: the request merged into what was known before), `unknown`
-- column object: with --bodies, the object after the change, JSON
-- column uid: uid of the object: another one is another life of the name
-- column user_agent: with which program
-- column namespace: namespace of the object
-- column cluster: the cluster
-- column audit_id: audit id of the request
-- needs: body=response verbs=create,update,patch
-- cost: reads the bodies of the requests that changed this object, from its first one on
-- example: kolumn ask object-history --resource deployments --name azure-vote-front --field image

-- The state at a time T is the object of the last row of `--until T --bodies`.
WITH said AS (
    SELECT
        cluster, namespace, stage_timestamp AS time, verb, subresource, username AS actor, user_agent, audit_id,
        coalesce(
            2 * try_cast(resource_version AS BIGINT)
            + CASE resource_version_source WHEN 'objectRef' THEN 1 ELSE 0 END,
            2 * max(try_cast(resource_version AS BIGINT)) OVER (
                PARTITION BY cluster, namespace ORDER BY stage_timestamp ROWS UNBOUNDED PRECEDING
            ),
            0
        ) AS position,
        coalesce(
            object_uid,
            last_value(object_uid) IGNORE NULLS OVER (
                PARTITION BY cluster, namespace ORDER BY stage_timestamp ROWS UNBOUNDED PRECEDING
            )
        ) AS uid,
        -- A Scale, a Binding and a Status are no revision of the object, but tell what became of it.
        CASE
            WHEN response_object_state = 'present' AND response_kind NOT IN ('Scale', 'Status', 'Binding', 'Eviction')
                THEN response_object
        END AS answer,
        CASE subresource
            WHEN 'scale' THEN '{"spec":{"replicas":' || CAST(replicas AS TEXT) || '}}'
            WHEN 'binding' THEN '{"spec":{"nodeName":"' || binding_target || '"}}'
            ELSE CASE WHEN request_object_state = 'present' AND verb <> 'delete' THEN request_object END
        END AS request
    FROM events
    WHERE resource = $resource
      AND name = $name
      AND ($namespace IS NULL OR namespace = $namespace)
      AND ($cluster IS NULL OR cluster = $cluster)
      AND ($until IS NULL OR stage_timestamp < $until)
      AND stage = 'ResponseComplete'
      AND response_code < 300
      AND verb IN ('create', 'update', 'patch', 'delete')
      AND (subresource IS NULL OR subresource NOT IN ('eviction', 'exec', 'attach', 'portforward', 'proxy', 'log', 'token'))
      AND request_uri NOT LIKE '%dryRun=%'
),
states AS (
    SELECT
        * EXCLUDE (answer, request),
        object_state(
            CASE WHEN subresource IN ('scale', 'binding') OR verb = 'delete' THEN 'patch' ELSE verb END,
            answer,
            CASE verb WHEN 'delete' THEN '{}' ELSE request END
        ) OVER (PARTITION BY cluster, namespace, uid ORDER BY position, time) AS state
    FROM said
),
compared AS (
    SELECT
        *,
        state['object'] AS object,
        lag(state['object']) OVER (PARTITION BY cluster, namespace, uid ORDER BY position, time) AS object_before,
        row_number() OVER (PARTITION BY cluster, namespace, uid ORDER BY position, time) AS revision
    FROM states
),
changes AS (
    SELECT
        * EXCLUDE (change),
        change['path'] AS field,
        change['before'] AS before,
        change['after'] AS after
    FROM (
        SELECT
            *,
            unnest(array_concat(
                [named_struct(
                    'path', CAST(NULL AS TEXT), 'before', CAST(NULL AS TEXT), 'after', CAST(NULL AS TEXT)
                )],
                CASE
                    WHEN revision = 1 AND NOT $all THEN NULL
                    ELSE json_diff(CASE revision WHEN 1 THEN '{}' ELSE object_before END, object)
                END
            )) AS change
        FROM compared
    )
),
shown AS (
    SELECT
        *,
        count(field) OVER (PARTITION BY cluster, namespace, uid, revision) AS fields
    FROM changes
    WHERE field IS NULL
       OR (
           ($field IS NULL OR contains(field, $field))
           AND (
               $all
               OR field NOT LIKE 'metadata.managedFields%'
               AND field NOT IN (
                   'metadata.resourceVersion', 'metadata.generation', 'status.observedGeneration',
                   'metadata.annotations[kubectl.kubernetes.io/last-applied-configuration]'
               )
           )
       )
)
SELECT
    time,
    concat_ws('/', verb, subresource) AS verb,
    actor,
    field,
    before,
    after,
    state['source'] AS source,
    CASE WHEN $bodies THEN object END AS object,
    uid,
    user_agent,
    namespace,
    cluster,
    audit_id
FROM shown
-- A row without a field stands for a delete, and for a first request or one that tells nothing where no field is shown.
WHERE (
        field IS NOT NULL
        OR $field IS NULL AND (verb = 'delete' OR fields = 0 AND (revision = 1 OR object IS NULL))
    )
  AND ($since IS NULL OR time >= $since)
ORDER BY time, position, cluster, namespace, field, audit_id
LIMIT $limit
