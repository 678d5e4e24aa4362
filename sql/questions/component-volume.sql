-- title: How many messages did each log type bring, minute by minute, hour by hour or day by day?
-- param per choice minute|hour|day optional: length of a step; else by the window: minutes up to three
--   hours, hours up to a week, days beyond
-- param component text optional: only this type, by either name: authenticator, controllerManager,
--   kube-controller-manager, audit …
-- param severity choice debug|info|warning|error|fatal optional: only entries at least so severe; audit
--   events have no severity
-- column time: when the step begins, UTC
-- column type: of EKS: api, audit, authenticator, controllerManager, scheduler, cloudControllerManager; else
--   the component, or audit
-- column messages: number of entries, of audit events
-- column per: length of the step
-- logs: $component
-- chart: bars time messages by type per per
-- cost: reads only times and components, of audit only times
-- example: kolumn ask component-volume --since 1h

WITH
minutes AS (
    SELECT
        -- CloudWatch carries the logs of EKS.
        CASE
            WHEN wrapper IS DISTINCT FROM 'cloudwatch' THEN coalesce(component, 'unknown')
            WHEN component = 'kube-apiserver' THEN 'api'
            WHEN component = 'kube-controller-manager' THEN 'controllerManager'
            WHEN component = 'kube-scheduler' THEN 'scheduler'
            WHEN component = 'cloud-controller-manager' THEN 'cloudControllerManager'
            ELSE coalesce(component, 'unknown')
        END AS type,
        component AS program,
        date_trunc('minute', time) AS minute,
        count(*) AS messages
    FROM component
    WHERE ($since IS NULL OR time >= $since)
      AND ($until IS NULL OR time < $until)
      AND ($cluster IS NULL OR cluster = $cluster)
      AND (
          $severity IS NULL
          OR array_position(['debug', 'info', 'warning', 'error', 'fatal'], severity)
              >= array_position(['debug', 'info', 'warning', 'error', 'fatal'], $severity)
      )
    GROUP BY type, program, minute
    UNION ALL
    SELECT 'audit', 'audit', date_trunc('minute', stage_timestamp) AS minute, count(*)
    FROM events
    WHERE ($since IS NULL OR stage_timestamp >= $since)
      AND ($until IS NULL OR stage_timestamp < $until)
      AND ($cluster IS NULL OR cluster = $cluster)
      AND $severity IS NULL
      AND ($component IS NULL OR $component = 'audit')
    GROUP BY minute
),
kept AS (
    SELECT *
    FROM minutes
    WHERE $component IS NULL OR type = $component OR program = $component
),
spanned AS (
    SELECT
        *,
        coalesce(
            $per,
            CASE
                WHEN span <= 3 * 3600 THEN 'minute'
                WHEN span <= 7 * 86400 THEN 'hour'
                ELSE 'day'
            END
        ) AS step
    FROM (
        SELECT
            *,
            date_part('epoch', coalesce($until, max(minute) OVER ()))
            - date_part('epoch', coalesce($since, min(minute) OVER ())) AS span
        FROM kept
    )
)
SELECT
    CASE step
        WHEN 'minute' THEN minute
        WHEN 'hour' THEN date_trunc('hour', minute)
        ELSE date_trunc('day', minute)
    END AS time,
    type,
    sum(messages) AS messages,
    step AS per
FROM spanned
GROUP BY time, type, step
ORDER BY time, type
