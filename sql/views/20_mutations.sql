-- title: requests that changed something: create, update, patch, delete, deletecollection that succeeded
-- column time: when the request was answered
-- column actor: who asked: the authenticated user
-- column impersonated_user: on whose behalf, if the actor impersonated someone
-- column change_order: order of the changes of one object: twice the resource version of the
--   answer, or that of the version an update was made on, plus one; null where no body tells
-- column source: where the facts come from: `observed` (the answer, the object as it then was) or
--   `merged` (the request, which in a patch holds only what it sets)

-- Only ResponseComplete below 300 changed the state, and a dry run answers 200 and changed nothing. A
-- dry run is told by its URI; kubectl's deletes say it in the body only, which no column holds yet.
--
-- Answers are logged in the order in which they were finished, which for requests that overlap is not
-- the order in which the store took the changes. That order is the resource version's: the patch that
-- got version 7 is after the one that got 6, and an update (PUT) that was made on version 6 and
-- succeeded is the next change after 6. `change_order` puts both on one scale.
SELECT
    cluster,
    stage_timestamp AS time,
    username AS actor,
    impersonated_username AS impersonated_user,
    user_agent,
    source_ips,
    verb,
    api_group,
    resource,
    subresource,
    namespace,
    name,
    object_uid AS uid,
    2 * try_cast(resource_version AS BIGINT)
    + CASE WHEN resource_version_source = 'objectRef' THEN 1 ELSE 0 END AS change_order,
    CASE facts_source WHEN 'responseObject' THEN 'observed' WHEN 'requestObject' THEN 'merged' END AS source,
    response_code,
    request_uri,
    audit_id,
    creation_timestamp,
    deletion_timestamp,
    owner_references,
    node_name,
    phase,
    conditions,
    unschedulable,
    taints,
    containers,
    replicas,
    binding_target,
    delete_grace_period_seconds,
    request_object_state,
    response_object_state
FROM events
WHERE stage = 'ResponseComplete'
  AND verb IN ('create', 'update', 'patch', 'delete', 'deletecollection')
  AND response_code < 300
  AND request_uri NOT LIKE '%dryRun=%'
