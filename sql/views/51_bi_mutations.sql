-- title: for BI: requests that changed something: create, update, patch, delete, deletecollection that succeeded
-- column time: when the request was answered, UTC
-- column cluster: name of the cluster
-- column user_name: who asked
-- column impersonated_user: on whose behalf, if the user impersonated someone
-- column user_agent: the tool, as it names itself
-- column source_ip: the address that connected to the API server, or that its proxy says did
-- column verb: create, update, patch, delete or deletecollection
-- column api_group: API group of the object; null: the core group
-- column resource: plural, such as pods
-- column subresource: such as status, binding or scale
-- column namespace: namespace of the object
-- column name: name of the object
-- column object_uid: uid of the object, where a request or body tells
-- column response_code: HTTP status
-- column request_uri: as sent by the client
-- column replicas: spec.replicas of a workload or of its scale
-- column audit_id: audit id of the request
SELECT
    time,
    cluster,
    actor AS user_name,
    impersonated_user,
    user_agent,
    source_ips[-1] AS source_ip,
    verb,
    api_group,
    resource,
    subresource,
    namespace,
    name,
    uid AS object_uid,
    CAST(response_code AS BIGINT) AS response_code,
    request_uri,
    replicas,
    audit_id
FROM mutations
