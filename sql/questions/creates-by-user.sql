-- title: What was created, by whom, with which tool?
-- param user text optional: only this user name
-- param namespace text optional: only this namespace
-- param resource text optional: only this resource, plural
-- param limit int default 1000: at most so many rows
-- column time: when the request was answered
-- column user: who asked
-- cost: reads no bodies
-- example: kolumn ask creates-by-user --user alice@example.com

SELECT stage_timestamp AS time, username AS user, user_agent, resource, namespace, name, response_code
FROM events
WHERE verb = 'create' AND stage = 'ResponseComplete'
  AND ($since IS NULL OR stage_timestamp >= $since)
  AND ($until IS NULL OR stage_timestamp < $until)
  AND ($cluster IS NULL OR cluster = $cluster)
  AND ($user IS NULL OR username = $user)
  AND ($namespace IS NULL OR namespace = $namespace)
  AND ($resource IS NULL OR resource = $resource)
ORDER BY time
LIMIT $limit
