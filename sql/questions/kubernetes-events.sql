-- title: Which Kubernetes Events were there, by any route, each once and at its last state in the window?
-- param type choice Normal|Warning optional: only Normal or Warning
-- param reason text optional: only this reason, such as FailedScheduling
-- param kind text optional: only about objects of this kind, such as Pod; whatever its case
-- param namespace text optional: only about objects of this namespace
-- param name text optional: only about the object of this name
-- param limit int default 1000: at most so many rows, the newest
-- column time: when it was last reported in the window
-- column type: Normal or Warning
-- column reason: reason
-- column kind: kind of the object it is about
-- column namespace: namespace of the object it is about; null: none, such as a node
-- column name: name of the object it is about
-- column message: message
-- column count: how often it had happened by then; of an Event that only lines of a log tell: how many lines
-- column first_time: when it first happened, by the reporter's clock
-- column reporter: component that reported it
-- column host: host or instance that reported it
-- column source: by which routes it came: audit (requests), inventory (polled samples), component (lines of a
--   component); the row is that of the first of them
-- column facts: of audit: `observed` in an answer, or `merged`: the last answer is missing, its request
--   holds the count
-- needs: resource=events body=response verbs=create,update,patch
-- once: reports, elsewhere, reported
-- cost: reads no bodies; reads one hour more than the window
-- example: kolumn ask kubernetes-events --type Warning --reason FailedScheduling

-- A repeated Event is one object whose count is raised by patches. Its name holds the time of its
-- creation, so a name is one Event. Where the answer of a patch is missing, the patch tells the new count
-- and little else: the rest is that of earlier requests, at most an hour ago, for so long Events live.
--
-- The last message is the greatest text that begins with the time: window functions over the tens of
-- thousands of small groups that Events make are ten times slower. What is filtered by never changes in
-- the life of an Event, so rows can go early, except those that do not tell.
--
-- Audit is the fullest source, then samples, then lines. What a later source tells is left out if an
-- earlier one tells of the same object, reason and message within a minute of the same time.
WITH
reports AS (
    SELECT *
    FROM event_reports
    WHERE ($cluster IS NULL OR cluster = $cluster)
      AND ($since IS NULL OR time >= $since - INTERVAL '1 hour')
      AND ($until IS NULL OR time < $until)
      AND ($type IS NULL OR type = $type OR type IS NULL)
      AND ($reason IS NULL OR reason = $reason OR reason IS NULL)
      AND ($kind IS NULL OR lower(kind) = lower($kind) OR kind IS NULL)
      AND ($namespace IS NULL OR namespace = $namespace OR namespace IS NULL)
      AND ($name IS NULL OR name = $name OR name IS NULL)
),
-- Lines of one Event are of one life of it if no hour lies between them.
lines AS (
    SELECT *, sum(begins) OVER (
        PARTITION BY cluster, kind, namespace, name, reason, message ORDER BY time ROWS UNBOUNDED PRECEDING
    ) AS life
    FROM (
        SELECT *, CASE WHEN time - lag(time) OVER (
            PARTITION BY cluster, kind, namespace, name, reason, message ORDER BY time
        ) <= INTERVAL '1 hour' THEN 0 ELSE 1 END AS begins
        FROM reports
        WHERE source = 'component'
    )
),
reported AS (
    SELECT
        cluster,
        'audit' AS source,
        max(time) AS time,
        least(min(time), coalesce(min(first_time), min(time))) AS begun,
        max(type) AS type,
        max(reason) AS reason,
        max(kind) AS kind,
        max(namespace) AS namespace,
        max(name) AS name,
        substr(max(lpad(CAST(CAST(time AS BIGINT) AS TEXT), 20, '0') || message), 21) AS message,
        max(count) AS count,
        min(first_time) AS first_time,
        max(reporter) AS reporter,
        max(host) AS host,
        substr(max(lpad(CAST(CAST(time AS BIGINT) AS TEXT), 20, '0') || facts), 21) AS facts
    FROM reports
    WHERE source = 'audit'
    GROUP BY cluster, event_namespace, event_name
    UNION ALL
    SELECT
        cluster, 'inventory', max(coalesce(last_time, time)), coalesce(first_time, min(time)), max(type),
        reason, max(kind), namespace, name, message, max(count), first_time, max(reporter), max(host), NULL
    FROM reports
    WHERE source = 'inventory'
    GROUP BY cluster, lower(kind), namespace, name, reason, message, first_time
    UNION ALL
    SELECT
        cluster, 'component', max(time), min(time), max(type), reason, kind, namespace, name, message,
        count(*), min(time), max(reporter), max(host), NULL
    FROM lines
    GROUP BY cluster, kind, namespace, name, reason, message, life
),
-- What other routes report too is compared; the rest, mostly all of it, came by audit alone.
elsewhere AS (
    SELECT DISTINCT
        cluster, lower(kind) AS kind_key, coalesce(namespace, '') AS namespace_key, coalesce(name, '') AS name_key,
        reason, message
    FROM reports
    WHERE source <> 'audit'
),
keyed AS (
    SELECT
        *, lower(kind) AS kind_key, coalesce(namespace, '') AS namespace_key, coalesce(name, '') AS name_key
    FROM reported
),
compared AS (
    SELECT
        keyed.*,
        max(CASE source WHEN 'audit' THEN time END) OVER earlier AS audit_ended,
        min(CASE source WHEN 'audit' THEN begun END) OVER later AS audit_began,
        max(CASE source WHEN 'inventory' THEN time END) OVER earlier AS inventory_ended,
        min(CASE source WHEN 'inventory' THEN begun END) OVER later AS inventory_began,
        max(CASE source WHEN 'component' THEN time END) OVER earlier AS component_ended,
        min(CASE source WHEN 'component' THEN begun END) OVER later AS component_began
    FROM keyed
    LEFT SEMI JOIN elsewhere USING (cluster, kind_key, namespace_key, name_key, reason, message)
    WINDOW
        earlier AS (
            PARTITION BY cluster, kind_key, namespace_key, name_key, reason, message
            ORDER BY begun ROWS UNBOUNDED PRECEDING
        ),
        later AS (
            PARTITION BY cluster, kind_key, namespace_key, name_key, reason, message
            ORDER BY begun ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING
        )
),
routes AS (
    SELECT
        *,
        coalesce(audit_ended >= begun - INTERVAL '1 minute', false)
        OR coalesce(audit_began <= time + INTERVAL '1 minute', false) AS in_audit,
        coalesce(inventory_ended >= begun - INTERVAL '1 minute', false)
        OR coalesce(inventory_began <= time + INTERVAL '1 minute', false) AS in_inventory,
        coalesce(component_ended >= begun - INTERVAL '1 minute', false)
        OR coalesce(component_began <= time + INTERVAL '1 minute', false) AS in_component
    FROM compared
),
shown AS (
    SELECT
        time, type, reason, kind, namespace, name, message, count, first_time, reporter, host,
        concat_ws(
            ', ',
            CASE WHEN in_audit THEN 'audit' END,
            CASE WHEN in_inventory THEN 'inventory' END,
            CASE WHEN in_component THEN 'component' END
        ) AS source,
        facts
    FROM routes
    WHERE NOT (source <> 'audit' AND in_audit)
      AND NOT (source = 'component' AND in_inventory)
    UNION ALL
    -- These came by audit alone: whatever came by another route is elsewhere.
    SELECT time, type, reason, kind, namespace, name, message, count, first_time, reporter, host, source, facts
    FROM keyed
    LEFT ANTI JOIN elsewhere USING (cluster, kind_key, namespace_key, name_key, reason, message)
)
SELECT time, type, reason, kind, namespace, name, message, count, first_time, reporter, host, source, facts
FROM shown
WHERE ($since IS NULL OR time >= $since)
  AND ($type IS NULL OR type = $type)
  AND ($reason IS NULL OR reason = $reason)
  AND ($kind IS NULL OR lower(kind) = lower($kind))
  AND ($namespace IS NULL OR namespace = $namespace)
  AND ($name IS NULL OR name = $name)
ORDER BY time DESC, kind, namespace, name, reason, message
LIMIT $limit
