-- title: What does the archive hold, hour by hour, and where was it blind?
-- param limit int default 10000: at most so many rows, the first
-- column cluster: the cluster
-- column table: audit, component or inventory
-- column category: what it came from: the AKS category, else the format; the component; the polled table
-- column api_server: replica, where the log tells; of `component` the node or pod that wrote
-- column hour: the hour
-- column events: number of events, entries or samples, duplicates left out
-- column bytes: their bytes in the log as received; null where several events came in one record
-- column first: first event of the hour
-- column last: last event of the hour
-- column hours_missing: whole hours without any event since the row before
-- column silent_minutes: minutes of this hour without any event, before its first and after its
--   last minute only if there are events before and after this hour
-- column metadata_percent: events logged at level Metadata: no bodies; null for what is not audit
-- column request_percent: events logged at level Request: request bodies only
-- column request_response_percent: events logged at level RequestResponse
-- column skipped: events with a body skipped by AKS (skipped-too-big-size-object)
-- column truncated: events with a body cut off (audit.k8s.io/truncated)
-- column objects: source objects that brought these events
-- column duplicates: records of these objects, whole, that were stored before
-- column rejected: records of these objects, whole, that could not be decoded
-- once: minutes
-- cost: reads no bodies and texts, but every event, entry and sample of the window
-- example: kolumn ask coverage --cluster aks-prod --since 7d

WITH
minutes AS (
    SELECT
        'audit' AS in_table,
        events.cluster AS in_cluster,
        coalesce(
            CASE WHEN envelope IS NOT NULL THEN coalesce(
                json_get_str(envelope, 'category'), json_get_str(envelope, 'Category'), json_get_str(envelope, 'Type')
            ) END,
            format
        ) AS category,
        api_server,
        source_uri,
        date_trunc('minute', stage_timestamp) AS minute,
        count(*) AS events,
        sum(record_bytes) AS bytes,
        min(stage_timestamp) AS first,
        max(stage_timestamp) AS last,
        count(*) FILTER (WHERE level = 'Metadata') AS metadata,
        count(*) FILTER (WHERE level = 'Request') AS request,
        count(*) FILTER (WHERE level = 'RequestResponse') AS request_response,
        count(*) FILTER (WHERE request_object_state = 'skipped' OR response_object_state = 'skipped') AS skipped,
        count(*) FILTER (WHERE request_object_state = 'truncated' OR response_object_state = 'truncated') AS truncated
    FROM events
    WHERE ($since IS NULL OR stage_timestamp >= $since)
      AND ($until IS NULL OR stage_timestamp < $until)
      AND ($cluster IS NULL OR cluster = $cluster)
    GROUP BY in_cluster, category, api_server, source_uri, minute
    UNION ALL
    SELECT
        'component', component.cluster, coalesce(component.component, 'unknown') AS category,
        coalesce(source_node, source_pod) AS writer, source_uri, date_trunc('minute', time) AS minute,
        count(*), sum(record_bytes), min(time), max(time), NULL, NULL, NULL, NULL, NULL
    FROM component
    WHERE ($since IS NULL OR time >= $since)
      AND ($until IS NULL OR time < $until)
      AND ($cluster IS NULL OR cluster = $cluster)
    GROUP BY component.cluster, category, writer, source_uri, minute
    UNION ALL
    SELECT
        'inventory', inventory.cluster, coalesce(source_table, 'unknown') AS category, NULL, source_uri,
        date_trunc('minute', time) AS minute,
        count(*), sum(record_bytes), min(time), max(time), NULL, NULL, NULL, NULL, NULL
    FROM inventory
    WHERE ($since IS NULL OR time >= $since)
      AND ($until IS NULL OR time < $until)
      AND ($cluster IS NULL OR cluster = $cluster)
    GROUP BY inventory.cluster, category, source_uri, minute
),
-- Range states are rows of their own; only committed ones brought anything.
brought AS (
    SELECT object_uri, sum(duplicates) AS duplicates, sum(rejected) AS rejected
    FROM ledger
    WHERE state = 'committed'
    GROUP BY object_uri
),
sources AS (
    SELECT
        in_cluster, in_table, category, api_server, hour,
        count(*) AS objects, sum(duplicates) AS duplicates, sum(rejected) AS rejected
    FROM (
        SELECT DISTINCT in_cluster, in_table, category, api_server, date_trunc('hour', minute) AS hour, source_uri
        FROM minutes
    )
    LEFT JOIN brought ON source_uri = object_uri
    GROUP BY in_cluster, in_table, category, api_server, hour
),
hours AS (
    SELECT
        in_cluster, in_table, category, api_server,
        date_trunc('hour', minute) AS hour,
        sum(events) AS events,
        sum(bytes) AS bytes,
        min(first) AS first,
        max(last) AS last,
        count(DISTINCT minute) AS busy_minutes,
        sum(metadata) AS metadata,
        sum(request) AS request,
        sum(request_response) AS request_response,
        sum(skipped) AS skipped,
        sum(truncated) AS truncated
    FROM minutes
    GROUP BY in_cluster, in_table, category, api_server, hour
),
gaps AS (
    SELECT
        *,
        lag(hour) OVER stream AS hour_before,
        -- The first and the last hour are looked at from the first and to the last event only.
        CASE WHEN lag(hour) OVER stream IS NULL THEN date_part('minute', first) ELSE 0 END AS from_minute,
        CASE WHEN lead(hour) OVER stream IS NULL THEN date_part('minute', last) ELSE 59 END AS to_minute
    FROM hours
    WINDOW stream AS (PARTITION BY in_cluster, in_table, category, api_server ORDER BY hour)
)
SELECT
    gaps.in_cluster AS "cluster",
    gaps.in_table AS "table",
    gaps.category,
    gaps.api_server,
    gaps.hour,
    events,
    bytes,
    first,
    last,
    CAST(coalesce(date_part('epoch', gaps.hour) - date_part('epoch', hour_before), 3600) / 3600 - 1 AS BIGINT) AS hours_missing,
    to_minute - from_minute + 1 - busy_minutes AS silent_minutes,
    round(100.0 * metadata / events, 1) AS metadata_percent,
    round(100.0 * request / events, 1) AS request_percent,
    round(100.0 * request_response / events, 1) AS request_response_percent,
    skipped,
    truncated,
    objects,
    duplicates,
    rejected
FROM gaps
JOIN sources
    ON gaps.in_cluster = sources.in_cluster
    AND gaps.in_table = sources.in_table
    AND gaps.category = sources.category
    AND (gaps.api_server IS NOT DISTINCT FROM sources.api_server)
    AND gaps.hour = sources.hour
ORDER BY "cluster", "table", category, api_server, hour
LIMIT $limit
