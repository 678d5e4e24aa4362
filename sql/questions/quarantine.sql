-- title: Which records could not be decoded, where do they come from, and why?
-- param reason text optional: only this reason, a code of docs/format.md
-- param source text optional: only objects whose URI contains this
-- param bytes int default 120: at most so many characters of each record
-- param limit int default 1000: at most so many rows, the newest
-- column time: when the batch that met it was planned; --since and --until are about this time
-- column source_uri: the object it was read from
-- column source_offset: its byte offset in the decompressed object
-- column record_bytes: its length
-- column reason: why it was rejected, a fixed code
-- column detail: the decoder's words
-- column record: its beginning, without what may be a secret; bytes that are no text are hex after 0x
-- column cluster: the cluster, as far as it was known
-- cost: reads the table `rejected`
-- example: kolumn ask quarantine --since 7d --reason bad-json

WITH kept AS (
    SELECT *, TRY_CAST(record AS VARCHAR) AS text
    FROM rejected
    WHERE ($since IS NULL OR ingested_at >= $since)
      AND ($until IS NULL OR ingested_at < $until)
      AND ($cluster IS NULL OR cluster = $cluster)
      AND ($reason IS NULL OR reason = $reason)
      AND ($source IS NULL OR contains(source_uri, $source))
)
SELECT
    ingested_at AS time,
    source_uri,
    source_offset,
    record_bytes,
    reason,
    detail,
    coalesce(left(text, $bytes), '0x' || left(encode(record, 'hex'), 2 * $bytes)) AS record,
    cluster
FROM kept
-- Several records of one frame, such as the items of a list, have one offset.
ORDER BY time DESC, source_uri, source_offset, record_digest
LIMIT $limit
