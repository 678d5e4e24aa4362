-- title: for BI: log entries of components: one entry a row
-- column time: when it was written, UTC
-- column cluster: name of the cluster
-- column type: of EKS: api, authenticator, controllerManager, scheduler, cloudControllerManager; else the component
-- column component: program that wrote it, such as kube-scheduler
-- column severity: debug, info, warning, error or fatal; null: the text does not tell
-- column message: the message, without its key-values
-- column caller: file:line of the program
-- column fields: key-values of a structured entry, JSON text
-- column node: node it is about, else on which it was written
-- column namespace: namespace it is about
-- column pod: pod it is about
-- column audit_id: audit id of the request it is about
-- column source_pod: pod that wrote it, or log stream of CloudWatch
-- column record_bytes: bytes of the entry as received
-- column text: the whole entry as it was written
SELECT
    time,
    cluster,
    -- CloudWatch carries the logs of EKS.
    CASE
        WHEN wrapper IS DISTINCT FROM 'cloudwatch' THEN coalesce(component, 'unknown')
        WHEN component = 'kube-apiserver' THEN 'api'
        WHEN component = 'kube-controller-manager' THEN 'controllerManager'
        WHEN component = 'kube-scheduler' THEN 'scheduler'
        WHEN component = 'cloud-controller-manager' THEN 'cloudControllerManager'
        ELSE coalesce(component, 'unknown')
    END AS type,
    component,
    severity,
    message,
    caller_file || coalesce(':' || caller_line, '') AS caller,
    fields,
    coalesce(node, source_node) AS node,
    namespace,
    pod,
    audit_id,
    source_pod,
    record_bytes,
    record AS text
FROM component
