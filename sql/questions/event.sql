-- title: What is all that is known of one request?
-- param audit_id text required: the audit id, as other answers show it
-- column request: 1, 2 … where several requests have this id: clients may choose and repeat it
-- column topic: WHEN, WHAT, WHO, WHERE, ON WHAT, RESULT, then REQUEST OBJECT and RESPONSE OBJECT
-- column field: what the value is
-- column time: of WHEN: when the request was received, and when each stage was reached
-- column value: the value; of a body one line a row, pretty-printed
-- cost: looks at the audit id of every event of the window; narrow it with --since and --until
-- example: kolumn ask event --audit-id 4692cadb-2b84-4d70-8d74-4d08e271e82d

WITH
found AS (
    SELECT
        *,
        dense_rank() OVER (
            ORDER BY request_received_timestamp, cluster, request_uri, verb, username
        ) AS request,
        -- The last stage knows all that the others know; of the others only the time is shown.
        row_number() OVER (
            PARTITION BY request_received_timestamp, cluster, request_uri, verb, username
            ORDER BY stage = 'RequestReceived', stage_timestamp DESC, stage
        ) = 1 AS is_last
    FROM events
    WHERE audit_id = $audit_id
      AND ($since IS NULL OR stage_timestamp >= $since)
      AND ($until IS NULL OR stage_timestamp < $until)
      AND ($cluster IS NULL OR cluster = $cluster)
),
facts AS (
    SELECT
        request, stage_timestamp, request_received_timestamp,
        unnest(array_concat(
            [{
                'place': 2, 'topic': 'WHEN', 'field': stage,
                'value': '+' || duration_text(stage_timestamp - request_received_timestamp)
            }],
            CASE WHEN is_last THEN [
                {'place': 1, 'topic': 'WHEN', 'field': 'received', 'value': CAST(NULL AS VARCHAR)},
                {'place': 10, 'topic': 'WHAT', 'field': 'verb', 'value': verb},
                {'place': 11, 'topic': 'WHAT', 'field': 'request uri', 'value': request_uri},
                {'place': 12, 'topic': 'WHAT', 'field': 'level', 'value': level},
                {'place': 13, 'topic': 'WHO', 'field': 'user', 'value': coalesce(username, '(nobody: not authenticated)')},
                {'place': 14, 'topic': 'WHO', 'field': 'uid', 'value': user_uid},
                {'place': 15, 'topic': 'WHO', 'field': 'groups', 'value': array_to_string(user_groups, ', ')},
                {'place': 16, 'topic': 'WHO', 'field': 'extra', 'value': user_extra},
                {'place': 17, 'topic': 'WHO', 'field': 'impersonated user', 'value': impersonated_user},
                {'place': 18, 'topic': 'WHO', 'field': 'user agent', 'value': user_agent},
                {'place': 19, 'topic': 'WHERE', 'field': 'source ips', 'value': array_to_string(source_ips, ', ')},
                {'place': 20, 'topic': 'WHERE', 'field': 'cluster', 'value': cluster},
                {'place': 21, 'topic': 'WHERE', 'field': 'api server', 'value': api_server},
                {'place': 22, 'topic': 'WHERE', 'field': 'log', 'value': concat_ws(' at byte ', source_uri, source_offset)},
                {'place': 23, 'topic': 'ON WHAT', 'field': 'resource', 'value': nullif(concat_ws('/', resource, subresource), '')},
                {'place': 24, 'topic': 'ON WHAT', 'field': 'api version', 'value': nullif(concat_ws('/', api_group, api_version), '')},
                {'place': 25, 'topic': 'ON WHAT', 'field': 'namespace', 'value': namespace},
                {'place': 26, 'topic': 'ON WHAT', 'field': 'name', 'value': name},
                {'place': 27, 'topic': 'ON WHAT', 'field': 'uid', 'value': object_uid},
                {'place': 28, 'topic': 'ON WHAT', 'field': 'resource version', 'value': resource_version},
                {'place': 29, 'topic': 'RESULT', 'field': 'code', 'value': CAST(response_code AS VARCHAR)},
                {'place': 30, 'topic': 'RESULT', 'field': 'reason', 'value': response_reason},
                {'place': 31, 'topic': 'RESULT', 'field': 'message', 'value': response_message},
                {'place': 32, 'topic': 'RESULT', 'field': 'decision', 'value': authorization_decision},
                {'place': 33, 'topic': 'RESULT', 'field': 'decided by', 'value': nullif(authorization_reason, '')},
                {'place': 34, 'topic': 'RESULT', 'field': 'annotations', 'value': annotations},
                {'place': 35, 'topic': 'RESULT', 'field': 'other fields', 'value': extra},
                {'place': 36, 'topic': 'REQUEST OBJECT', 'field': 'not here', 'value': nullif(request_object_state, 'present')},
                {'place': 37, 'topic': 'REQUEST OBJECT', 'field': 'body', 'value': json_pretty(request_object)},
                {'place': 38, 'topic': 'RESPONSE OBJECT', 'field': 'not here', 'value': nullif(response_object_state, 'present')},
                {'place': 39, 'topic': 'RESPONSE OBJECT', 'field': 'body', 'value': json_pretty(response_object)}
            ] END
        )) AS fact
    FROM found
),
timed AS (
    SELECT
        request,
        fact['place'] AS place,
        fact['topic'] AS topic,
        fact['field'] AS field,
        fact['value'] AS value,
        CASE fact['place'] WHEN 1 THEN request_received_timestamp WHEN 2 THEN stage_timestamp END AS time
    FROM facts
),
lines AS (
    SELECT
        request, place, topic, field, time,
        unnest(lines) AS value,
        unnest(generate_series(1, array_length(lines))) AS line
    FROM (
        SELECT
            *,
            CASE WHEN value <> '' THEN string_to_array(value, chr(10)) ELSE [''] END AS lines
        FROM timed
        WHERE value IS NOT NULL OR time IS NOT NULL
    )
)
SELECT request, topic, field, time, value
FROM lines
ORDER BY request, place, time, field, line
