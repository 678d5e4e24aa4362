-- title: What did the components log?
-- param component text optional: only this component, such as kube-scheduler
-- param severity choice debug|info|warning|error|fatal optional: only entries at least so severe
-- param caller text optional: only from this source file, such as schedule_one.go, or ending in it
-- param text text optional: only entries whose text holds this, whatever its case, key-values included
-- param node text optional: only about this node, or written on it
-- param pod text optional: only about this pod, or written by it
-- param namespace text optional: only about this namespace
-- param oldest flag default false: the oldest first; else the newest
-- param limit int default 1000: at most so many rows
-- column time: when it was written
-- column severity: debug, info, warning, error, fatal; null: the text does not tell
-- column component: who wrote it
-- column caller: file:line of the program
-- column message: the message
-- column fields: key-values of a structured entry, JSON
-- column node: node it is about, else on which it was written
-- column namespace: namespace it is about
-- column pod: pod it is about
-- column audit_id: audit id of the request it is about: see `kolumn ask event`
-- column source_pod: pod that wrote it, or log stream of CloudWatch
-- column time_source: where `time` comes from; anything but `entry` was made whole
-- column cluster: the cluster
-- logs: $component
-- cost: reads the texts of the entries of the window
-- example: kolumn ask component-messages --component kube-scheduler --text "no fit" --since 1h

SELECT
    time,
    severity,
    component,
    caller_file || coalesce(':' || caller_line, '') AS caller,
    message,
    fields,
    coalesce(node, source_node) AS node,
    namespace,
    pod,
    audit_id,
    source_pod,
    time_source,
    cluster
FROM component
WHERE ($since IS NULL OR time >= $since)
  AND ($until IS NULL OR time < $until)
  AND ($cluster IS NULL OR cluster = $cluster)
  AND ($component IS NULL OR component = $component)
  AND (
      $severity IS NULL
      OR array_position(['debug', 'info', 'warning', 'error', 'fatal'], severity)
          >= array_position(['debug', 'info', 'warning', 'error', 'fatal'], $severity)
  )
  AND ($caller IS NULL OR caller_file = $caller OR ends_with(caller_file, '/' || $caller))
  AND ($text IS NULL OR text_matches($text, record, message))
  AND ($node IS NULL OR node = $node OR source_node = $node)
  AND ($pod IS NULL OR pod = $pod OR source_pod = $pod)
  AND ($namespace IS NULL OR namespace = $namespace)
ORDER BY
    CASE WHEN $oldest THEN time END,
    CASE WHEN NOT $oldest THEN time END DESC,
    cluster,
    component,
    source_uri,
    source_offset
LIMIT $limit
