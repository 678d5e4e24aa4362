-- title: Which IAM identity became which Kubernetes user, was it let in, and what did it do then? (EKS)
-- param user text optional: only this Kubernetes user
-- param arn text optional: only identities whose ARN contains this
-- param access_key_id text optional: only this access key
-- param result choice granted|denied optional: only these
-- param limit int default 1000: at most so many rows, the first
-- column time: when it was first granted or denied in the window
-- column last_time: when it was last
-- column times: how often
-- column result: granted or denied
-- column arn: the IAM identity: role or user
-- column username: the Kubernetes user it was mapped to
-- column groups: the Kubernetes groups it was mapped to
-- column access_key_id: access key of the token, from the STS response before; null: no line tells
-- column client: who asked the authenticator last: the API server, as a rule
-- column requests: events of requests with this access key, else of this user and identity, in audit
-- column first_request: the first of them
-- column last_request: the last of them
-- column what: the most frequent of them: verb, resource, how many
-- column source_ips: addresses they came from
-- column error: why it was denied
-- column cluster: the cluster
-- logs: authenticator
-- cost: reads users and verbs of every event of the window
-- example: kolumn ask authenticator --result denied --since 1d

-- A token is looked at by STS first: the line `STS response` tells the access key and the session, and
-- `access granted` on the same connection tells the identity and the user it became. The API server
-- remembers a token for some minutes, so a line is not one request. The API server writes the access key
-- to the audit event's user.extra; where no STS line tells it, user and ARN join the two.
WITH
lines AS (
    SELECT
        cluster, time, source_uri, source_offset, message,
        json_as_text(fields, 'client') AS client,
        json_as_text(fields, 'arn') AS arn,
        json_as_text(fields, 'username') AS username,
        btrim(json_as_text(fields, 'groups'), '[]') AS groups,
        json_as_text(fields, 'accesskeyid') AS access_key_id,
        coalesce(json_as_text(fields, 'error'), json_as_text(fields, 'err')) AS error
    FROM component
    WHERE component = 'authenticator'
      AND message IN ('STS response', 'access granted', 'access denied')
      AND ($cluster IS NULL OR cluster = $cluster)
      AND ($since IS NULL OR time >= $since - INTERVAL '1 minute')
      AND ($until IS NULL OR time < $until)
),
-- What STS said last on the connection; it is not this token's after a minute.
answered AS (
    SELECT
        *,
        last_value(CASE message WHEN 'STS response' THEN coalesce(access_key_id, '') END) IGNORE NULLS OVER so_far
            AS sts_key,
        last_value(CASE message WHEN 'STS response' THEN time END) IGNORE NULLS OVER so_far AS sts_time,
        last_value(CASE message WHEN 'STS response' THEN arn END) IGNORE NULLS OVER so_far AS sts_arn
    FROM lines
    WINDOW so_far AS (
        PARTITION BY cluster, client ORDER BY time, source_uri, source_offset ROWS UNBOUNDED PRECEDING
    )
),
identities AS (
    SELECT
        cluster,
        CASE message WHEN 'access granted' THEN 'granted' ELSE 'denied' END AS result,
        coalesce(arn, CASE WHEN sts_time >= time - INTERVAL '1 minute' THEN sts_arn END) AS arn,
        username,
        coalesce(
            access_key_id, CASE WHEN sts_time >= time - INTERVAL '1 minute' THEN nullif(sts_key, '') END
        ) AS access_key_id,
        error, time, groups, client
    FROM answered
    WHERE message <> 'STS response'
      AND ($since IS NULL OR time >= $since)
),
judged AS (
    SELECT
        cluster, result, arn, username, access_key_id, error,
        min(time) AS time, max(time) AS last_time, count(*) AS times, max(groups) AS groups,
        substr(max(lpad(CAST(CAST(time AS BIGINT) AS TEXT), 20, '0') || client), 21) AS client
    FROM identities
    WHERE ($user IS NULL OR username = $user)
      AND ($arn IS NULL OR contains(arn, $arn))
      AND ($access_key_id IS NULL OR access_key_id = $access_key_id)
      AND ($result IS NULL OR result = $result)
    GROUP BY cluster, result, arn, username, access_key_id, error
),
asked AS (
    SELECT
        cluster AS in_cluster, username AS user_name, verb, nullif(concat_ws('/', resource, subresource), '') AS asked_of,
        json_as_text(user_extra, 'accessKeyId', 0) AS audit_key,
        coalesce(json_as_text(user_extra, 'canonicalArn', 0), json_as_text(user_extra, 'arn', 0)) AS audit_arn,
        array_to_string(source_ips, ', ') AS ips,
        count(*) AS asked, min(stage_timestamp) AS first_asked, max(stage_timestamp) AS last_asked
    FROM events
    WHERE username IS NOT NULL
      AND stage IN ('ResponseComplete', 'Panic')
      AND ($cluster IS NULL OR cluster = $cluster)
      AND ($since IS NULL OR stage_timestamp >= $since)
      AND ($until IS NULL OR stage_timestamp < $until)
      AND ($user IS NULL OR username = $user)
    GROUP BY in_cluster, user_name, verb, asked_of, audit_key, audit_arn, ips
),
-- One row an identity and kind of request.
joined AS (
    SELECT
        cluster, result, arn, username, access_key_id, error, time, last_time, times, groups, client,
        verb, coalesce(asked_of, 'url') AS resource,
        sum(asked) AS asked, min(first_asked) AS first_asked, max(last_asked) AS last_asked,
        max(ips) AS ips
    FROM judged
    LEFT JOIN asked
        ON cluster = in_cluster
        AND username = user_name
        AND result = 'granted'
        AND CASE
            WHEN access_key_id IS NOT NULL AND audit_key IS NOT NULL THEN access_key_id = audit_key
            ELSE audit_arn IS NULL OR audit_arn = arn
        END
    GROUP BY
        cluster, result, arn, username, access_key_id, error, time, last_time, times, groups, client, verb, asked_of
),
ranked AS (
    SELECT *, row_number() OVER (
        PARTITION BY cluster, result, arn, username, access_key_id, error ORDER BY asked DESC, verb, resource
    ) AS place
    FROM joined
)
SELECT
    time, last_time, times, result, arn, username, groups, access_key_id, client,
    coalesce(sum(asked), 0) AS requests,
    min(first_asked) AS first_request,
    max(last_asked) AS last_request,
    string_agg(CASE WHEN place <= 8 AND verb IS NOT NULL THEN concat_ws(' ', verb, resource, asked) END, ', ' ORDER BY place) AS what,
    max(ips) AS source_ips,
    error,
    cluster
FROM ranked
GROUP BY time, last_time, times, result, arn, username, groups, access_key_id, client, error, cluster
ORDER BY time, cluster, result, arn, username, access_key_id, error
LIMIT $limit
