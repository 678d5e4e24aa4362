-- title: In which events and log entries does a text occur, bodies included?
-- param text text required: the text, whatever its case; also across punctuation, as in azure-vote or
--   "image":"nginx
-- param oldest flag default false: the oldest first; else the newest
-- param table choice audit|component optional: only audit events, or only log entries of components
-- param user text optional: only this user name, real or impersonated
-- param namespace text optional: only this namespace
-- param resource text optional: only this resource, plural
-- param verb text optional: only this verb
-- param limit int default 100: at most so many rows
-- column time: when the stage was reached, or the entry written
-- column table: audit, or component: log entries, which have no stage, verb, code and user
-- column stage: stage of the request
-- column verb: what was asked for
-- column response_code: the HTTP status
-- column user: who asked
-- column user_agent: the tool, as it names itself; the component that wrote the entry
-- column object: resource/subresource namespace/name; objects that the entry names
-- column found_in: the columns of `events` or `component` that hold the text
-- column excerpt: the text with what stands around it in the first of these columns; null where it
--   stands there in another form, such as \u003c for <
-- column cluster: the cluster
-- column audit_id: for `kolumn ask event --audit-id`
-- cost: reads the bodies and log entries of the window, after `kolumn optimize` only where the text may stand; narrow it with
--   --since, --until, --namespace or --resource
-- example: kolumn ask search --text azure-vote

-- A filter by user, resource or verb leaves log entries out. Polled samples (`inventory`) are not searched:
-- the same text would be found once a minute.
WITH
-- Every column that holds text of the event itself; the others were read from these.
found AS (
    SELECT
        stage_timestamp, response_code, cluster, request_uri, request_object,
        response_object, username, impersonated_user, user_agent,
        array_to_string(user_groups, ' ') AS user_groups, user_uid, user_extra,
        array_to_string(source_ips, ' ') AS source_ips, resource, subresource, namespace, name,
        object_uid, resource_version, api_group, api_version, response_status, annotations,
        verb, level, stage, audit_id, extra, legacy_line, envelope
    FROM events
    WHERE ($since IS NULL OR stage_timestamp >= $since)
      AND ($until IS NULL OR stage_timestamp < $until)
      AND ($cluster IS NULL OR cluster = $cluster)
      AND coalesce($table, 'audit') = 'audit'
      AND ($user IS NULL OR username = $user OR impersonated_username = $user)
      AND ($namespace IS NULL OR namespace = $namespace)
      AND ($resource IS NULL OR resource = $resource)
      AND ($verb IS NULL OR verb = $verb)
      AND search($text)
    ORDER BY
        CASE WHEN $oldest THEN stage_timestamp END,
        CASE WHEN NOT $oldest THEN stage_timestamp END DESC,
        cluster,
        audit_id,
        stage
    LIMIT $limit
),
written AS (
    SELECT
        time, component, array_to_string(objects, ', ') AS objects, source_node, source_pod, record, cluster, audit_id,
        source_uri, source_offset
    FROM component
    WHERE ($since IS NULL OR time >= $since)
      AND ($until IS NULL OR time < $until)
      AND ($cluster IS NULL OR cluster = $cluster)
      AND ($namespace IS NULL OR namespace = $namespace)
      AND coalesce($table, 'component') = 'component'
      AND $user IS NULL
      AND $resource IS NULL
      AND $verb IS NULL
      AND search($text)
    ORDER BY
        CASE WHEN $oldest THEN time END,
        CASE WHEN NOT $oldest THEN time END DESC,
        cluster,
        source_uri,
        source_offset
    LIMIT $limit
),
-- Where it was found is looked up only for the rows that are shown.
places AS (
    SELECT
        *,
        concat_ws(
            ', ',
            CASE WHEN text_matches($text, request_object) THEN 'request_object' END,
            CASE WHEN text_matches($text, response_object) THEN 'response_object' END,
            CASE WHEN text_matches($text, request_uri) THEN 'request_uri' END,
            CASE WHEN text_matches($text, username) THEN 'username' END,
            CASE WHEN text_matches($text, impersonated_user) THEN 'impersonated_user' END,
            CASE WHEN text_matches($text, user_agent) THEN 'user_agent' END,
            CASE WHEN text_matches($text, user_groups) THEN 'user_groups' END,
            CASE WHEN text_matches($text, user_uid) THEN 'user_uid' END,
            CASE WHEN text_matches($text, user_extra) THEN 'user_extra' END,
            CASE WHEN text_matches($text, source_ips) THEN 'source_ips' END,
            CASE WHEN text_matches($text, resource) THEN 'resource' END,
            CASE WHEN text_matches($text, subresource) THEN 'subresource' END,
            CASE WHEN text_matches($text, namespace) THEN 'namespace' END,
            CASE WHEN text_matches($text, name) THEN 'name' END,
            CASE WHEN text_matches($text, object_uid) THEN 'object_uid' END,
            CASE WHEN text_matches($text, resource_version) THEN 'resource_version' END,
            CASE WHEN text_matches($text, api_group) THEN 'api_group' END,
            CASE WHEN text_matches($text, api_version) THEN 'api_version' END,
            CASE WHEN text_matches($text, response_status) THEN 'response_status' END,
            CASE WHEN text_matches($text, annotations) THEN 'annotations' END,
            CASE WHEN text_matches($text, verb) THEN 'verb' END,
            CASE WHEN text_matches($text, level) THEN 'level' END,
            CASE WHEN text_matches($text, stage) THEN 'stage' END,
            CASE WHEN text_matches($text, audit_id) THEN 'audit_id' END,
            CASE WHEN text_matches($text, extra) THEN 'extra' END,
            CASE WHEN text_matches($text, legacy_line) THEN 'legacy_line' END,
            CASE WHEN text_matches($text, envelope) THEN 'envelope' END
        ) AS found_in,
        CASE
            WHEN text_matches($text, request_object) THEN request_object
            WHEN text_matches($text, response_object) THEN response_object
            WHEN text_matches($text, request_uri) THEN request_uri
            WHEN text_matches($text, username) THEN username
            WHEN text_matches($text, impersonated_user) THEN impersonated_user
            WHEN text_matches($text, user_agent) THEN user_agent
            WHEN text_matches($text, user_groups) THEN user_groups
            WHEN text_matches($text, user_uid) THEN user_uid
            WHEN text_matches($text, user_extra) THEN user_extra
            WHEN text_matches($text, source_ips) THEN source_ips
            WHEN text_matches($text, resource) THEN resource
            WHEN text_matches($text, subresource) THEN subresource
            WHEN text_matches($text, namespace) THEN namespace
            WHEN text_matches($text, name) THEN name
            WHEN text_matches($text, object_uid) THEN object_uid
            WHEN text_matches($text, resource_version) THEN resource_version
            WHEN text_matches($text, api_group) THEN api_group
            WHEN text_matches($text, api_version) THEN api_version
            WHEN text_matches($text, response_status) THEN response_status
            WHEN text_matches($text, annotations) THEN annotations
            WHEN text_matches($text, verb) THEN verb
            WHEN text_matches($text, level) THEN level
            WHEN text_matches($text, stage) THEN stage
            WHEN text_matches($text, audit_id) THEN audit_id
            WHEN text_matches($text, extra) THEN extra
            WHEN text_matches($text, legacy_line) THEN legacy_line
            WHEN text_matches($text, envelope) THEN envelope
        END AS found_text
    FROM found
),
shown AS (
    SELECT
        stage_timestamp AS time,
        'audit' AS "table",
        stage,
        verb,
        response_code,
        username AS user,
        user_agent,
        concat_ws(
            ' ',
            nullif(concat_ws('/', resource, subresource), ''),
            nullif(concat_ws('/', namespace, name), '')
        ) AS object,
        found_in,
        CASE
            WHEN contains(lower(found_text), lower($text)) THEN substr(
                found_text,
                greatest(1, strpos(lower(found_text), lower($text)) - 40),
                character_length($text) + 80
            )
        END AS excerpt,
        cluster,
        audit_id
    FROM places
    UNION ALL
    SELECT
        time, 'component', NULL, NULL, NULL, NULL, component, nullif(objects, ''),
        concat_ws(
            ', ',
            CASE WHEN text_matches($text, record) THEN 'record' END,
            CASE WHEN text_matches($text, component) THEN 'component' END,
            CASE WHEN text_matches($text, source_node) THEN 'source_node' END,
            CASE WHEN text_matches($text, source_pod) THEN 'source_pod' END
        ),
        CASE
            WHEN contains(lower(record), lower($text)) THEN substr(
                record, greatest(1, strpos(lower(record), lower($text)) - 40), character_length($text) + 80
            )
        END,
        cluster, audit_id
    FROM written
)
SELECT *
FROM shown
ORDER BY
    CASE WHEN $oldest THEN time END,
    CASE WHEN NOT $oldest THEN time END DESC,
    cluster,
    audit_id,
    stage,
    "table",
    excerpt
LIMIT $limit
