//! Hot facts of the bodies of an event: what the usual question asks for, read once at ingest.
//!
//! A body can be anything (custom resources, patches, lists), so nothing here ever fails: a field of
//! another type than the Kubernetes API gives it is no fact. Facts are read from the response, which
//! is the object as it is now, and from the request where there is no usable response.

use std::borrow::Cow;

use crate::event::{
    audit::{AuditEvent, Text},
    lenient::{Flag, Int, Items, Str, lenient},
    time::Micros,
};

/// Where a fact was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FactSource {
    /// `objectRef` of the event.
    ObjectRef,
    /// `responseObject`.
    Response,
    /// `requestObject`.
    Request,
}

impl FactSource {
    /// The value of the `*_source` columns.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ObjectRef => "objectRef",
            Self::Response => "responseObject",
            Self::Request => "requestObject",
        }
    }
}

/// The facts of one event.
#[derive(Debug, Default)]
pub struct Facts<'a> {
    /// Name of the object and where it was read.
    pub name: Option<(Text<'a>, FactSource)>,
    /// Uid of the object and where it was read.
    pub uid: Option<(Text<'a>, FactSource)>,
    /// Resource version of the object and where it was read.
    pub resource_version: Option<(Text<'a>, FactSource)>,
    /// `kind` of the request body.
    pub request_kind: Option<Text<'a>>,
    /// `kind` of the response body.
    pub response_kind: Option<Text<'a>>,
    /// The body that `object` was read from.
    pub source: Option<FactSource>,
    /// The object.
    pub object: Box<Object<'a>>,
    /// `spec.unschedulable` of a node.
    pub unschedulable: Option<bool>,
    /// Node chosen by a binding.
    pub binding_target: Option<Text<'a>>,
    /// Options of a delete or eviction.
    pub delete: DeleteOptions<'a>,
    /// `metadata.generateName`.
    pub generate_name: Option<Text<'a>>,
    /// Fields of a Kubernetes Event.
    pub event: Option<EventFacts<'a>>,
}

/// What was read in the bodies of an event while they were decoded.
#[derive(Debug, Default)]
pub struct ReadBodies<'a> {
    /// `requestObject`.
    pub request: Option<Box<Object<'a>>>,
    /// `responseObject`.
    pub response: Option<Box<Object<'a>>>,
}

/// Whether the response is the object that an event is about: a list holds many, none of which it is.
pub fn response_is_object(verb: Option<&str>) -> bool {
    !matches!(verb, Some("list" | "watch" | "deletecollection"))
}

lenient! {
    /// Any object of the API, as far as facts are taken from it.
    pub struct Object<'a> {
        "kind" => kind: Str<'a>,
        "metadata" => metadata: Metadata<'a>,
        "spec" => spec: Spec<'a>,
        "status" => status: Status<'a>,
        "target" => target: Reference<'a>,
        "deleteOptions" => delete_options: DeleteOptions<'a>,
        "gracePeriodSeconds" => grace_period_seconds: Int,
        "propagationPolicy" => propagation_policy: Str<'a>,
        "preconditions" => preconditions: Reference<'a>,
        "type" => event_type: Str<'a>,
        "reason" => reason: Str<'a>,
        "message" => message: Str<'a>,
        "note" => note: Str<'a>,
        "count" => count: Int,
        "deprecatedCount" => deprecated_count: Int,
        "series" => series: Series<'a>,
        "firstTimestamp" => first_timestamp: Str<'a>,
        "lastTimestamp" => last_timestamp: Str<'a>,
        "deprecatedFirstTimestamp" => deprecated_first_timestamp: Str<'a>,
        "deprecatedLastTimestamp" => deprecated_last_timestamp: Str<'a>,
        "eventTime" => event_time: Str<'a>,
        "reportingComponent" => reporting_component: Str<'a>,
        "reportingController" => reporting_controller: Str<'a>,
        "reportingInstance" => reporting_instance: Str<'a>,
        "source" => source: EventOrigin<'a>,
        "deprecatedSource" => deprecated_source: EventOrigin<'a>,
        "involvedObject" => involved_object: Reference<'a>,
        "regarding" => regarding: Reference<'a>,
    }
}

lenient! {
    /// `metav1.ObjectMeta`.
    pub struct Metadata<'a> {
        "name" => name: Str<'a>,
        "generateName" => generate_name: Str<'a>,
        "uid" => uid: Str<'a>,
        "resourceVersion" => resource_version: Str<'a>,
        "creationTimestamp" => creation_timestamp: Str<'a>,
        "deletionTimestamp" => deletion_timestamp: Str<'a>,
        "ownerReferences" => owner_references: Items<OwnerReference<'a>>,
    }
}

lenient! {
    /// `metav1.OwnerReference`.
    pub struct OwnerReference<'a> {
        "apiVersion" => api_version: Str<'a>,
        "kind" => kind: Str<'a>,
        "name" => name: Str<'a>,
        "uid" => uid: Str<'a>,
        "controller" => controller: Flag,
    }
}

lenient! {
    /// Spec of a pod, node, workload or cron job.
    pub struct Spec<'a> {
        "nodeName" => node_name: Str<'a>,
        "unschedulable" => unschedulable: Flag,
        "replicas" => replicas: Int,
        "taints" => taints: Items<Taint<'a>>,
        "containers" => containers: Items<Container<'a>>,
        "initContainers" => init_containers: Items<Container<'a>>,
        "template" => template: Template<'a>,
        "jobTemplate" => job_template: JobTemplate<'a>,
    }
}

lenient! {
    /// `v1.PodTemplateSpec`.
    pub struct Template<'a> {
        "spec" => spec: PodSpec<'a>,
    }
}

lenient! {
    /// `batch/v1.JobTemplateSpec`.
    pub struct JobTemplate<'a> {
        "spec" => spec: JobSpec<'a>,
    }
}

lenient! {
    /// `batch/v1.JobSpec`.
    pub struct JobSpec<'a> {
        "template" => template: Template<'a>,
    }
}

lenient! {
    /// `v1.PodSpec` inside a template.
    pub struct PodSpec<'a> {
        "containers" => containers: Items<Container<'a>>,
        "initContainers" => init_containers: Items<Container<'a>>,
    }
}

lenient! {
    /// `v1.Container`.
    pub struct Container<'a> {
        "name" => name: Str<'a>,
        "image" => image: Str<'a>,
        "command" => command: Items<Str<'a>>,
        "args" => args: Items<Str<'a>>,
    }
}

lenient! {
    /// `v1.Taint`.
    pub struct Taint<'a> {
        "key" => key: Str<'a>,
        "value" => value: Str<'a>,
        "effect" => effect: Str<'a>,
    }
}

lenient! {
    /// Status of any object.
    pub struct Status<'a> {
        "phase" => phase: Str<'a>,
        "conditions" => conditions: Items<Condition<'a>>,
    }
}

lenient! {
    /// `metav1.Condition`, `v1.NodeCondition` or `v1.PodCondition`.
    pub struct Condition<'a> {
        "type" => r#type: Str<'a>,
        "status" => status: Str<'a>,
        "reason" => reason: Str<'a>,
        "message" => message: Str<'a>,
        "lastTransitionTime" => last_transition_time: Str<'a>,
        "lastHeartbeatTime" => last_heartbeat_time: Str<'a>,
    }
}

lenient! {
    /// `v1.ObjectReference`; also a binding's target and preconditions.
    pub struct Reference<'a> {
        "kind" => kind: Str<'a>,
        "namespace" => namespace: Str<'a>,
        "name" => name: Str<'a>,
        "uid" => uid: Str<'a>,
        "fieldPath" => field_path: Str<'a>,
    }
}

lenient! {
    /// `metav1.DeleteOptions`.
    pub struct DeleteOptions<'a> {
        "gracePeriodSeconds" => grace_period_seconds: Int,
        "propagationPolicy" => propagation_policy: Str<'a>,
        "preconditions" => preconditions: Reference<'a>,
    }
}

lenient! {
    /// `v1.EventSeries`.
    pub struct Series<'a> {
        "count" => count: Int,
        "lastObservedTime" => last_observed_time: Str<'a>,
    }
}

lenient! {
    /// `v1.EventSource`.
    pub struct EventOrigin<'a> {
        "component" => component: Str<'a>,
        "host" => host: Str<'a>,
    }
}

/// Fields of a Kubernetes Event, core/v1 or events.k8s.io/v1.
#[derive(Debug, Default)]
pub struct EventFacts<'a> {
    /// `type`.
    pub r#type: Option<Text<'a>>,
    /// `reason`.
    pub reason: Option<Text<'a>>,
    /// `message` or `note`.
    pub message: Option<Text<'a>>,
    /// `count`, `deprecatedCount` or `series.count`.
    pub count: Option<i64>,
    /// First time seen.
    pub first: Option<Micros>,
    /// Last time seen.
    pub last: Option<Micros>,
    /// Reporting component.
    pub reporter: Option<Text<'a>>,
    /// Host or instance that reports.
    pub host: Option<Text<'a>>,
    /// The object it is about.
    pub regarding: Reference<'a>,
}

impl<'a> Facts<'a> {
    /// Reads the facts of an event, from its bodies as they are after redaction. `read` is what was
    /// read in them already: [`AuditEvent::take_read`].
    pub fn of(event: &'a AuditEvent<'a>, read: ReadBodies<'a>) -> Self {
        let mut facts = Self::default();
        let verb = event.verb.as_deref().unwrap_or_default();
        let request = event.request_object.as_deref().unwrap_or_default();
        let response = event.response_object.as_deref().unwrap_or_default();
        let mut asked = read
            .request
            .unwrap_or_else(|| Box::new(Object::parse(request)));
        let mut answered = read.response.unwrap_or_else(|| {
            Box::new(match response_is_object(Some(verb)) {
                true => Object::parse(response),
                false => Object::kind_only(response),
            })
        });
        facts.request_kind = asked.kind.take();
        facts.response_kind = answered.kind.take();
        facts.take_request_options(event, &mut asked);
        facts.generate_name = answered
            .metadata
            .generate_name
            .take()
            .or_else(|| asked.metadata.generate_name.take());
        let kind = facts.response_kind.as_deref().unwrap_or_default();
        let is_object = response.starts_with('{')
            && kind != "Status"
            && kind != "Table"
            && !kind.ends_with("List");
        facts.take_identity(event, &asked, &answered, is_object);
        facts.unschedulable = unschedulable(event, &asked, &answered, is_object);
        if is_object {
            facts.source = Some(FactSource::Response);
            facts.object = answered;
        } else if request.starts_with('{') && verb != "delete" && verb != "deletecollection" {
            facts.source = Some(FactSource::Request);
            facts.object = asked;
        }
        if event.object.resource.as_deref() == Some("events") {
            facts.event = facts.source.map(|_| EventFacts::take(&mut facts.object));
        }
        facts
    }

    fn take_request_options(&mut self, event: &AuditEvent<'_>, asked: &mut Object<'a>) {
        match event.object.subresource.as_deref() {
            Some("binding") => self.binding_target = asked.target.name.take(),
            Some("eviction") => self.delete = std::mem::take(&mut asked.delete_options),
            _ if event
                .verb
                .as_deref()
                .is_some_and(|v| v.starts_with("delete")) =>
            {
                self.delete = DeleteOptions {
                    grace_period_seconds: asked.grace_period_seconds,
                    propagation_policy: std::mem::take(&mut asked.propagation_policy),
                    preconditions: std::mem::take(&mut asked.preconditions),
                };
            }
            _ => {}
        }
    }

    fn take_identity(
        &mut self,
        event: &AuditEvent<'a>,
        asked: &Object<'a>,
        answered: &Object<'a>,
        is_object: bool,
    ) {
        // The response of a subresource such as token or scale is another kind of object, but its
        // metadata name the object it belongs to.
        let response = is_object.then_some(&answered.metadata);
        let request = (event.verb.as_deref() != Some("delete")).then_some(&asked.metadata);
        let pick = |own: &Option<Text<'a>>, field: for<'m> fn(&'m Metadata<'a>) -> &'m Str<'a>| {
            let from =
                |m: Option<&Metadata<'a>>, s| m.and_then(|m| field(m).0.clone()).map(|v| (v, s));
            own.clone()
                .map(|v| (v, FactSource::ObjectRef))
                .or_else(|| from(response, FactSource::Response))
                .or_else(|| from(request, FactSource::Request))
        };
        self.name = pick(&event.object.name, |m| &m.name);
        self.uid = pick(&event.object.uid, |m| &m.uid);
        let stored = event
            .object
            .resource_version
            .clone()
            .map(|v| (v, FactSource::ObjectRef));
        self.resource_version = stored.or_else(|| {
            let version = response.and_then(|m| m.resource_version.0.clone())?;
            Some((version, FactSource::Response))
        });
    }
}

/// A full node body without the field means false; in a patch only what is set counts, null being false.
fn unschedulable(
    event: &AuditEvent<'_>,
    asked: &Object<'_>,
    answered: &Object<'_>,
    is_object: bool,
) -> Option<bool> {
    if event.object.resource.as_deref() != Some("nodes") {
        return None;
    }
    if is_object {
        return Some(answered.spec.unschedulable.value().unwrap_or(false));
    }
    match asked.spec.unschedulable {
        Flag::Absent => None,
        set => Some(set.value().unwrap_or(false)),
    }
}

impl<'a> EventFacts<'a> {
    fn take(object: &mut Object<'a>) -> Self {
        let time = |candidates: &[&Str<'a>]| {
            candidates
                .iter()
                .find_map(|s| s.0.as_deref().and_then(Micros::parse))
        };
        let core =
            object.involved_object.name.0.is_some() || object.involved_object.kind.0.is_some();
        Self {
            first: time(&[
                &object.first_timestamp,
                &object.deprecated_first_timestamp,
                &object.event_time,
            ]),
            last: time(&[
                &object.last_timestamp,
                &object.series.last_observed_time,
                &object.deprecated_last_timestamp,
                &object.event_time,
            ]),
            count: object
                .count
                .0
                .or(object.series.count.0)
                .or(object.deprecated_count.0),
            r#type: object.event_type.take(),
            reason: object.reason.take(),
            message: object.message.take().or_else(|| object.note.take()),
            reporter: first_not_empty([
                object.reporting_component.take(),
                object.reporting_controller.take(),
                object.source.component.take(),
                object.deprecated_source.component.take(),
            ]),
            host: first_not_empty([
                object.source.host.take(),
                object.deprecated_source.host.take(),
                object.reporting_instance.take(),
                None,
            ]),
            regarding: std::mem::take(if core {
                &mut object.involved_object
            } else {
                &mut object.regarding
            }),
        }
    }
}

fn first_not_empty(candidates: [Option<Text<'_>>; 4]) -> Option<Text<'_>> {
    candidates.into_iter().flatten().find(|t| !t.is_empty())
}

impl<'a> Object<'a> {
    fn parse(json: &'a str) -> Self {
        if json.starts_with('{') {
            serde_json::from_str(json).unwrap_or_default()
        } else {
            Self::default()
        }
    }

    /// Reads the kind where kube-apiserver puts it, in front.
    fn kind_only(json: &'a str) -> Self {
        let kind = json
            .strip_prefix("{\"kind\":\"")
            .and_then(|rest| rest.split_once('"'))
            .map(|(kind, _)| Cow::Borrowed(kind));
        Self {
            kind: Str(kind),
            ..Self::default()
        }
    }
}
