-- title: audit events without those of which a fuller copy came later; read this rather than `audit`

-- An event whose body was skipped or truncated gives way to a copy of the same event (same cluster,
-- stage, time, verb, URI and user) that is marked `supersedes` and has lost less. The columns are
-- those of `audit`. Where no file can hold a superseding row, this view is the table itself.
SELECT shown.*
FROM audit AS shown
LEFT ANTI JOIN (
    SELECT
        cluster, audit_id, stage, stage_timestamp, verb, request_uri, username,
        CASE request_object_state WHEN 'skipped' THEN 2 WHEN 'truncated' THEN 1 ELSE 0 END
        + CASE response_object_state WHEN 'skipped' THEN 2 WHEN 'truncated' THEN 1 ELSE 0 END AS lost
    FROM audit
    WHERE supersedes
) AS fuller
    ON shown.audit_id = fuller.audit_id
    AND shown.cluster = fuller.cluster
    AND shown.stage = fuller.stage
    AND shown.stage_timestamp = fuller.stage_timestamp
    AND coalesce(shown.verb, '') = coalesce(fuller.verb, '')
    AND coalesce(shown.request_uri, '') = coalesce(fuller.request_uri, '')
    AND coalesce(shown.username, '') = coalesce(fuller.username, '')
    AND CASE shown.request_object_state WHEN 'skipped' THEN 2 WHEN 'truncated' THEN 1 ELSE 0 END
        + CASE shown.response_object_state WHEN 'skipped' THEN 2 WHEN 'truncated' THEN 1 ELSE 0 END
        > fuller.lost
