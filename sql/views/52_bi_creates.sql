-- title: for BI: objects that were created, by whom and with which tool
-- column time: when the request was answered, UTC
-- column cluster: name of the cluster
-- column user_name: who asked
-- column impersonated_user: on whose behalf, if the user impersonated someone
-- column user_agent: the tool, as it names itself
-- column source_ip: the address that connected to the API server, or that its proxy says did
-- column verb: create; patch or update where these created it, such as kubectl apply --server-side
-- column api_group: API group of the object; null: the core group
-- column resource: plural, such as pods
-- column namespace: namespace of the object
-- column name: name of the object, as the server made it from generateName
-- column object_uid: uid of the object, where a body tells
-- column request_uri: as sent by the client
-- column audit_id: audit id of the request

-- Reviews of access and tokens are answered like creates and store nothing.
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
    namespace,
    name,
    uid AS object_uid,
    request_uri,
    audit_id
FROM mutations
WHERE (verb = 'create' OR response_code = 201 AND verb IN ('patch', 'update'))
  AND subresource IS NULL
  AND (api_group IS NULL OR api_group NOT IN ('authorization.k8s.io', 'authentication.k8s.io'))
