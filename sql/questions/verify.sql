-- title: Is everything that was read still there, and was all of it counted?
-- param source text optional: only objects whose URI contains this
-- param problems flag default false: only objects with which something is wrong
-- column verdict: ok, or what is wrong
-- column object_uri: the object that was read
-- column records: records read, as the ledger says
-- column rows: of these became rows of `audit`, `component` or `inventory`, as the ledger says
-- column rows_now: rows of these tables that name this object
-- column rows_difference: rows_now + rows_removed - rows: below zero rows are missing, above zero there are too many
-- column duplicates: records stored before, as the ledger says
-- column rejected: records that could not be decoded, as the ledger says
-- column rejected_now: rows of `rejected` that name this object
-- column rows_removed: rows that expired, or gave way to a fuller copy of the same event when files were merged
-- column rejected_removed: rejected records that expired
-- column uncounted: records - rows - duplicates - rejected: not zero is a fault of ours
-- column filtered: records dropped by the source's settings, and wrappers without a log line; not among `records`
-- column continuations: lines that are part of the row of an earlier line; not among `records`
-- column open_batches: batches planned and neither committed nor abandoned: the next ingest does them
-- column waiting_bytes: bytes of a half-written last record, left for the next ingest
-- column ended_early: why it could not be read to its end
-- cost: reads the origin of every event
-- example: kolumn ask verify --problems

WITH
kept_rows AS (
    SELECT source_uri, sum(stored) AS rows_now
    FROM (
        SELECT source_uri, count(*) AS stored FROM audit GROUP BY source_uri
        UNION ALL
        SELECT source_uri, count(*) FROM component GROUP BY source_uri
        UNION ALL
        SELECT source_uri, count(*) FROM inventory GROUP BY source_uri
    )
    GROUP BY source_uri
),
kept_rejected AS (
    SELECT source_uri, count(*) AS rejected_now FROM rejected GROUP BY source_uri
),
-- A batch has a row for each state of each of its ranges.
batches AS (
    SELECT source, batch, bool_or(state IN ('committed', 'abandoned', 'removed')) AS closed
    FROM ledger
    GROUP BY source, batch
),
objects AS (
    SELECT
        object_uri,
        sum(CASE WHEN state = 'committed' THEN records ELSE 0 END) AS records,
        sum(CASE WHEN state = 'committed' THEN rows ELSE 0 END) AS rows,
        sum(CASE WHEN state = 'committed' THEN duplicates ELSE 0 END) AS duplicates,
        sum(CASE WHEN state = 'committed' THEN rejected ELSE 0 END) AS rejected,
        sum(CASE WHEN state = 'removed' THEN rows ELSE 0 END) AS rows_removed,
        sum(CASE WHEN state = 'removed' THEN rejected ELSE 0 END) AS rejected_removed,
        sum(CASE WHEN state = 'committed' THEN filtered ELSE 0 END) AS filtered,
        sum(CASE WHEN state = 'committed' THEN continuations ELSE 0 END) AS continuations,
        count(DISTINCT CASE WHEN NOT closed THEN ledger.batch END) AS open_batches,
        last_value(CASE WHEN state = 'committed' THEN waiting_bytes END ORDER BY state = 'committed', recorded_at) AS waiting_bytes,
        last_value(CASE WHEN state = 'committed' THEN ended_early END ORDER BY state = 'committed', recorded_at) AS ended_early
    FROM ledger
    JOIN batches ON ledger.source = batches.source AND ledger.batch = batches.batch
    GROUP BY object_uri
),
compared AS (
    SELECT
        coalesce(objects.object_uri, kept_rows.source_uri, kept_rejected.source_uri) AS object_uri,
        objects.object_uri IS NULL AS unknown,
        coalesce(records, 0) AS records,
        coalesce(rows, 0) AS rows,
        coalesce(rows_now, 0) AS rows_now,
        coalesce(duplicates, 0) AS duplicates,
        coalesce(rejected, 0) AS rejected,
        coalesce(rejected_now, 0) AS rejected_now,
        coalesce(rows_removed, 0) AS rows_removed,
        coalesce(rejected_removed, 0) AS rejected_removed,
        coalesce(filtered, 0) AS filtered,
        coalesce(continuations, 0) AS continuations,
        coalesce(open_batches, 0) AS open_batches,
        coalesce(waiting_bytes, 0) AS waiting_bytes,
        ended_early
    FROM objects
    FULL JOIN kept_rows ON objects.object_uri = kept_rows.source_uri
    FULL JOIN kept_rejected ON coalesce(objects.object_uri, kept_rows.source_uri) = kept_rejected.source_uri
),
judged AS (
    SELECT
        *,
        concat_ws(
            '; ',
            CASE WHEN unknown THEN 'not in the ledger' END,
            CASE WHEN records <> rows + duplicates + rejected THEN 'records were not counted' END,
            CASE WHEN NOT unknown AND open_batches = 0 AND rows_now + rows_removed < rows THEN 'rows are missing' END,
            CASE WHEN NOT unknown AND open_batches = 0 AND rows_now + rows_removed > rows THEN 'too many rows' END,
            CASE WHEN NOT unknown AND open_batches = 0 AND rejected_now + rejected_removed < rejected THEN 'rejected records are missing' END,
            CASE WHEN NOT unknown AND open_batches = 0 AND rejected_now + rejected_removed > rejected THEN 'too many rejected records' END,
            CASE WHEN open_batches > 0 THEN 'a batch is open: run the ingest again' END,
            CASE WHEN ended_early IS NOT NULL THEN 'could not be read to its end' END
        ) AS faults
    FROM compared
)
SELECT
    coalesce(nullif(faults, ''), 'ok') AS verdict,
    object_uri,
    records,
    rows,
    rows_now,
    rows_now + rows_removed - rows AS rows_difference,
    duplicates,
    rejected,
    rejected_now,
    rows_removed,
    rejected_removed,
    records - rows - duplicates - rejected AS uncounted,
    filtered,
    continuations,
    open_batches,
    waiting_bytes,
    ended_early
FROM judged
WHERE ($source IS NULL OR contains(object_uri, $source))
  AND (NOT $problems OR faults <> '')
ORDER BY object_uri
