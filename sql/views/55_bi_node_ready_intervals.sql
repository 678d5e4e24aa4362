-- title: for BI: how long a node was Ready, not ready or unknown: one state of one node in one UTC day a row
-- column day: the UTC day; states are cut at midnight, so that a filter on it reaches the files
-- column cluster: name of the cluster
-- column node: name of the node
-- column status: True, False or Unknown
-- column since: first report of this state in the day
-- column until: first report of the next state, else the last report of the day
-- column seconds: until minus since; their sum over a day is how long the node was heard of in it
-- column reason: why, as first reported
-- column message: the same for people
-- column reporter: who made the first report: the kubelet, or the node controller when the kubelet is silent

-- Times are those of requests. A state without a report in a day is in no row of that day: kubelets report
-- once in five minutes. `kolumn ask node-ready-history` puts reports that overlap into the order of the
-- store, and tells lives of a name apart; this does neither.
SELECT
    day,
    cluster,
    node,
    status,
    time AS since,
    coalesce(lead(time) OVER node_day, last_time) AS until,
    (CAST(coalesce(lead(time) OVER node_day, last_time) AS BIGINT) - CAST(time AS BIGINT)) / 1000000.0 AS seconds,
    reason,
    message,
    reporter
FROM (
    SELECT
        *,
        lag(status) OVER (PARTITION BY cluster, day, node ORDER BY time) AS status_before,
        max(time) OVER (PARTITION BY cluster, day, node) AS last_time
    FROM (
        SELECT *, day_of(time) AS day
        FROM bi_node_ready_reports
    )
)
WHERE status_before IS DISTINCT FROM status
WINDOW node_day AS (PARTITION BY cluster, day, node ORDER BY time)
