-- title: Which Kubernetes Events passed the API, each at its last state in the window?
-- param type text optional: only Normal or Warning
-- param reason text optional: only this reason, such as FailedScheduling
-- param kind text optional: only about objects of this kind, such as Pod
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
-- column count: how often it had happened by then
-- column first_time: when it first happened, by the reporter's clock
-- column reporter: component that reported it
-- column host: host or instance that reported it
-- column source: `observed` in an answer, or `merged`: the last answer is missing, its request holds the count
-- needs: resource=events body=response verbs=create,update,patch
-- cost: reads no bodies; reads one hour more than the window
-- example: kolumn ask kubernetes-events --type Warning --reason FailedScheduling

-- A repeated Event is one object whose count is raised by patches. Its name holds the time of its
-- creation, so a name is one Event. Where the answer of a patch is missing, the patch tells the new count
-- and little else: the rest is that of earlier requests, at most an hour ago, for so long Events live.
--
-- The last message is the greatest text that begins with the time: window functions over the tens of
-- thousands of small groups that Events make are ten times slower. What is filtered by never changes in
-- the life of an Event, so rows can go early, except those that do not tell.
WITH reported AS (
    SELECT
        max(time) AS time,
        max(type) AS type,
        max(reason) AS reason,
        max(kind) AS kind,
        max(object_namespace) AS namespace,
        max(object) AS name,
        substr(max(lpad(CAST(CAST(time AS BIGINT) AS TEXT), 20, '0') || message), 21) AS message,
        max(count) AS count,
        min(first_time) AS first_time,
        max(reporter) AS reporter,
        max(host) AS host,
        substr(max(lpad(CAST(CAST(time AS BIGINT) AS TEXT), 20, '0') || source), 21) AS source
    FROM kubernetes_events
    WHERE ($cluster IS NULL OR cluster = $cluster)
      AND ($since IS NULL OR time >= $since - INTERVAL '1 hour')
      AND ($until IS NULL OR time < $until)
      AND ($type IS NULL OR type = $type OR type IS NULL)
      AND ($reason IS NULL OR reason = $reason OR reason IS NULL)
      AND ($kind IS NULL OR kind = $kind OR kind IS NULL)
      AND ($namespace IS NULL OR object_namespace = $namespace OR object_namespace IS NULL)
      AND ($name IS NULL OR object = $name OR object IS NULL)
    GROUP BY cluster, namespace, event_name
)
SELECT time, type, reason, kind, namespace, name, message, count, first_time, reporter, host, source
FROM reported
WHERE ($since IS NULL OR time >= $since)
  AND ($type IS NULL OR type = $type)
  AND ($reason IS NULL OR reason = $reason)
  AND ($kind IS NULL OR kind = $kind)
  AND ($namespace IS NULL OR namespace = $namespace)
  AND ($name IS NULL OR name = $name)
ORDER BY time DESC
LIMIT $limit
