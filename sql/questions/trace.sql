-- title: What followed from a request: which objects, bindings, states, Events and log lines did it cause?
-- param audit_id text required: the request, such as a kubectl apply that `kolumn ask changes` shows
-- param within duration default 10m: how long after it to look; less, if someone changes the same object again
-- param limit int default 1000: at most so many rows, the first
-- column time: when the request was answered, the Event reported, the entry written
-- column depth: 0: the request and its object; 1: what that object owns; 2: what these own …
-- column step: create, update, patch, delete …; bind; event; log
-- column object: resource/subresource namespace/name
-- column actor: who asked, who reported, which component wrote it
-- column message: phase and conditions of a pod, node of a binding, replicas; text of an Event or entry
-- column link: why it is believed to follow
-- column audit_id: audit id of the request
-- column cluster: the cluster
-- needs: body=response verbs=create,update,patch
-- once: root, changes, owned, objects
-- cost: reads no bodies; looks at every change, Event and entry of its time
-- example: kolumn ask trace --audit-id 8e1b7d0c-0000-4000-8000-000000000000

-- Objects are linked by owner references, which bodies tell, and by uids; bindings and status are requests on
-- the same uid, Events name the uid they are about, entries name the object. A status is shown when phase, readiness or
-- scheduling of the object changed by it. Controllers and kubelets are told by user names that begin with `system:`.
WITH RECURSIVE
root AS (
    SELECT
        cluster, stage_timestamp AS begun, resource, namespace, name, username AS root_actor, audit_id
    FROM events
    WHERE audit_id = $audit_id
      AND stage = 'ResponseComplete'
      AND resource IS NOT NULL
      AND name IS NOT NULL
      AND ($cluster IS NULL OR cluster = $cluster)
    ORDER BY stage_timestamp
    LIMIT 1
),
changes AS (
    SELECT
        mutations.cluster, time, actor, verb, mutations.resource, subresource, mutations.namespace, mutations.name,
        uid, mutations.audit_id, owner_references, phase, replicas, node_name, binding_target, deletion_timestamp,
        condition_of(conditions, 'Ready')['status'] AS ready,
        condition_of(conditions, 'PodScheduled') AS scheduled,
        begun, root.audit_id AS root_id,
        mutations.resource = root.resource AND mutations.name = root.name
        AND (mutations.namespace IS NOT DISTINCT FROM root.namespace) AS is_root
    FROM mutations
    JOIN root ON mutations.cluster = root.cluster
    WHERE time >= begun - INTERVAL '1 second' AND time <= begun + $within
),
owned AS (
    SELECT DISTINCT cluster, uid, resource, namespace, name, owner['uid'] AS owner_uid, owner['kind'] || ' ' || owner['name'] AS owner
    FROM (SELECT cluster, uid, resource, namespace, name, unnest(owner_references) AS owner FROM changes WHERE uid IS NOT NULL)
),
objects AS (
    SELECT DISTINCT cluster, uid, resource, namespace, name, 0 AS depth, CAST(NULL AS TEXT) AS owner
    FROM changes
    WHERE is_root AND uid IS NOT NULL
    UNION ALL
    SELECT owned.cluster, owned.uid, owned.resource, owned.namespace, owned.name, depth + 1, owned.owner
    FROM objects
    JOIN owned ON owned.cluster = objects.cluster AND owned.owner_uid = objects.uid
    WHERE depth < 8
),
steps AS (
    SELECT
        changes.time, changes.begun, depth,
        CASE subresource WHEN 'binding' THEN 'bind' WHEN 'eviction' THEN 'evict' ELSE verb END AS step,
        concat_ws(' ', concat_ws('/', changes.resource, subresource), nullif(concat_ws('/', changes.namespace, changes.name), '')) AS object,
        actor,
        concat_ws(
            ', ',
            'to ' || binding_target,
            CASE WHEN binding_target IS NULL THEN 'phase ' || phase END,
            'ready ' || ready,
            CASE scheduled['status'] WHEN 'False' THEN scheduled['message'] END,
            'replicas ' || CAST(replicas AS TEXT),
            CASE WHEN deletion_timestamp IS NOT NULL THEN 'being deleted' END
        ) AS message,
        CASE
            WHEN changes.audit_id = root_id THEN 'the request'
            WHEN depth = 0 THEN 'on the object of the request'
            WHEN subresource = 'binding' THEN 'binding of this uid'
            WHEN verb = 'create' THEN concat('owner reference to ', owner)
            ELSE concat('same uid, owned by ', owner)
        END AS link,
        changes.audit_id, changes.cluster, changes.uid, verb, subresource,
        CASE WHEN depth = 0 AND changes.audit_id <> root_id AND NOT starts_with(actor, 'system:') THEN time END AS changed_again,
        row_number() OVER (
            PARTITION BY changes.cluster, changes.uid, subresource, phase, ready, scheduled['status'] ORDER BY time, changes.audit_id
        ) AS seen
    FROM changes
    JOIN objects ON objects.cluster = changes.cluster AND objects.uid = changes.uid
),
told AS (
    SELECT time, begun, depth, step, object, actor, message, link, audit_id, cluster, changed_again
    FROM steps
    WHERE (subresource IS DISTINCT FROM 'status') OR seen = 1
    UNION ALL
    SELECT
        time, begun, depth, 'event', concat_ws(' ', kind, nullif(concat_ws('/', reports.object_namespace, object), '')),
        coalesce(reporter, actor), concat_ws(': ', reason, message), 'Event about this uid', reports.audit_id, reports.cluster, NULL
    FROM kubernetes_events AS reports
    JOIN objects ON objects.cluster = reports.cluster AND objects.uid = reports.object_uid
    JOIN root ON root.cluster = reports.cluster
    WHERE time >= begun - INTERVAL '1 second' AND time <= begun + $within
    UNION ALL
    SELECT
        time, begun, depth, 'log', concat_ws(' ', resource, nullif(concat_ws('/', entries.namespace, entries.name), '')),
        component, concat_ws(' ', message, fields), link, NULL AS audit_id, entries.cluster, NULL AS changed_again
    FROM (
        SELECT DISTINCT
            time, begun, depth, component.component AS component, message, fields, component.cluster,
            objects.resource, objects.namespace, objects.name,
            CASE
                WHEN component.audit_id = root.audit_id THEN 'names the audit id'
                ELSE 'names the object'
            END AS link
        FROM component
        JOIN root ON root.cluster = component.cluster
        JOIN objects
            ON objects.cluster = component.cluster
            AND (
                (component.audit_id = root.audit_id AND depth = 0)
                OR array_has(component.objects, concat_ws('/', rtrim(objects.resource, 's'), objects.namespace, objects.name))
                OR (objects.resource = 'pods' AND component.pod = objects.name AND component.namespace = objects.namespace)
            )
        WHERE time >= begun - INTERVAL '1 second'
          AND time <= begun + $within
          AND (message IS DISTINCT FROM 'Event occurred')
    ) AS entries
),
cut AS (
    SELECT *, min(CASE WHEN changed_again > begun THEN changed_again END) OVER () AS ends
    FROM told
)
SELECT time, depth, step, object, actor, nullif(message, '') AS message, link, audit_id, cluster
FROM cut
WHERE (ends IS NULL OR time < ends)
  AND (time >= begun OR depth > 0 OR step = 'log')
ORDER BY time, depth, object, step, message, audit_id
LIMIT $limit
