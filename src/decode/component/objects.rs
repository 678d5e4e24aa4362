//! Which objects an entry names: node, namespace, pod, and the list of all.

use std::borrow::Cow;

use crate::{
    decode::{
        Shape,
        component::fields::{Field, Value},
        json_text,
    },
    event::audit::Text,
};

/// An entry names at most this many objects in column `objects`.
const OBJECTS_MAX: usize = 16;

/// What an entry is about.
#[derive(Debug, Default)]
pub(super) struct References<'a> {
    pub(super) node: Option<Text<'a>>,
    pub(super) namespace: Option<Text<'a>>,
    pub(super) pod: Option<Text<'a>>,
    pub(super) objects: Vec<String>,
}

/// A namespace, if any, and a name.
type Reference<'a> = (Option<Text<'a>>, Text<'a>);

impl<'a> References<'a> {
    /// Reads the references in the fields of an entry.
    pub(super) fn of(fields: &[Field<'a>], logger: Option<&str>) -> Self {
        let mut out = Self::default();
        let mut found: Vec<(Cow<'static, str>, Reference<'a>)> = Vec::with_capacity(2);
        let (mut kind, mut namespace, mut name, mut object) = (None, None, None, None);
        for field in fields {
            match &*field.key {
                "namespace" | "Namespace" | "podNamespace" => {
                    namespace = namespace.or_else(|| field.value.text().filter(|n| is_name(n)));
                }
                "kind" | "Kind" => kind = kind.or_else(|| field.value.text()),
                "name" | "Name" => {
                    name = name.or_else(|| field.value.text().filter(|n| is_name(n)))
                }
                "object" | "Object" => {
                    object = object.or_else(|| references(&field.value, "").pop())
                }
                "item" => found.extend(field.value.text().and_then(|t| garbage_item(&t))),
                "key" => {
                    if let Some(kind) = logger.and_then(kind_of_controller) {
                        let all = references(&field.value, kind).into_iter();
                        found.extend(
                            all.filter(|r| r.0.is_some())
                                .map(|r| (Cow::Borrowed(kind), r)),
                        );
                    }
                }
                key => {
                    if let Some(kind) = kind_of_key(key) {
                        if let Some(text) = plain_text(&field.value) {
                            let one = reference(text, kind);
                            found.extend(one.map(|r| (Cow::Borrowed(kind), r)));
                            continue;
                        }
                        let all = references(&field.value, kind).into_iter();
                        found.extend(all.take(OBJECTS_MAX).map(|r| (Cow::Borrowed(kind), r)));
                    }
                }
            }
        }
        if let Some(kind) = kind.filter(|k| is_name(k)) {
            let kind = Cow::Owned(kind.to_ascii_lowercase());
            let named = name.map(|n| (namespace.clone(), n));
            found.extend(object.or(named).map(|r| (kind, r)));
        }
        out.namespace = namespace.clone();
        for (kind, (space, name)) in found {
            let space = space.or_else(|| namespace.clone().filter(|_| is_namespaced(&kind)));
            let space_bytes = space.as_ref().map_or(0, |s| s.len() + 1);
            let mut text = String::with_capacity(kind.len() + 1 + space_bytes + name.len());
            text.push_str(&kind);
            for part in space.iter().chain([&name]) {
                text.push('/');
                text.push_str(part);
            }
            if out.namespace.is_none() {
                out.namespace = space;
            }
            match &*kind {
                "pod" if out.pod.is_none() => out.pod = Some(name),
                "node" if out.node.is_none() => out.node = Some(name),
                "namespace" if out.namespace.is_none() => out.namespace = Some(name),
                _ => {}
            }
            if out.objects.len() < OBJECTS_MAX && !out.objects.contains(&text) {
                out.objects.push(text);
            }
        }
        out
    }
}

/// Gives the fields of a Kubernetes Event, as event.go logs it, `namespace` and `name` too, which it
/// tells in `object` only; the older form of the line has them.
pub(super) fn name_event(fields: &mut Vec<Field<'_>>) {
    if fields
        .iter()
        .any(|f| f.key == "name" || f.key == "namespace")
    {
        return;
    }
    let object = fields.iter().find(|f| f.key == "object");
    let Some((space, name)) = object.and_then(|f| references(&f.value, "").pop()) else {
        return;
    };
    fields.extend(space.map(|s| Field::new("namespace", Value::Text(s))));
    fields.push(Field::new("name", Value::Text(name)));
}

/// True for what may be a name of an object: no blanks, no slashes.
fn is_name(text: &str) -> bool {
    (1..=253).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b':'))
}

fn is_namespaced(kind: &str) -> bool {
    !matches!(
        kind,
        "node"
            | "namespace"
            | "persistentvolume"
            | "storageclass"
            | "csinode"
            | "volumeattachment"
            | "certificatesigningrequest"
            | "priorityclass"
            | "customresourcedefinition"
            | "apiservice"
    )
}

/// The kind that the key of a field names, in lower case.
fn kind_of_key(key: &str) -> Option<&'static str> {
    let mut buffer = [0_u8; 32];
    let lower = buffer.get_mut(..key.len())?;
    lower.copy_from_slice(key.as_bytes());
    lower.make_ascii_lowercase();
    Some(match &*lower {
        b"pod" | b"podname" | b"pods" | b"preemptor" | b"victim" => "pod",
        b"node" | b"nodename" | b"nodes" => "node",
        b"deployment" => "deployment",
        b"replicaset" | b"relatedreplicasets" => "replicaset",
        b"statefulset" => "statefulset",
        b"daemonset" => "daemonset",
        b"job" => "job",
        b"cronjob" => "cronjob",
        b"replicationcontroller" => "replicationcontroller",
        b"service" | b"svc" => "service",
        b"endpoints" => "endpoints",
        b"endpointslice" => "endpointslice",
        b"ingress" => "ingress",
        b"configmap" => "configmap",
        b"secret" => "secret",
        b"serviceaccount" => "serviceaccount",
        b"pvc" | b"persistentvolumeclaim" | b"claim" => "persistentvolumeclaim",
        b"pv" | b"persistentvolume" => "persistentvolume",
        b"storageclass" => "storageclass",
        b"volumeattachment" => "volumeattachment",
        b"csinode" => "csinode",
        b"lease" => "lease",
        b"hpa" | b"horizontalpodautoscaler" => "horizontalpodautoscaler",
        b"poddisruptionbudget" | b"pdb" => "poddisruptionbudget",
        b"csr" => "certificatesigningrequest",
        b"resourceclaim" => "resourceclaim",
        b"resourcequota" => "resourcequota",
        b"networkpolicy" => "networkpolicy",
        b"priorityclass" => "priorityclass",
        b"crd" => "customresourcedefinition",
        b"apiservice" => "apiservice",
        _ => return None,
    })
}

/// The kind that a controller's queue holds: `job-controller`.
fn kind_of_controller(logger: &str) -> Option<&'static str> {
    kind_of_key(logger.strip_suffix("-controller")?)
}

/// A value that is text and no list, as nearly all are.
fn plain_text<'a>(value: &Value<'a>) -> Option<&'a str> {
    match value {
        Value::Quoted(text) if !text.starts_with('[') && !text.contains('\\') => Some(text),
        _ => None,
    }
}

/// The objects that a value names.
fn references<'a>(value: &Value<'a>, kind: &str) -> Vec<Reference<'a>> {
    if let Value::Json(json) = value
        && !json.starts_with('"')
    {
        return json_references(json, kind);
    }
    match value.text() {
        Some(Cow::Borrowed(text)) => text_references(text, kind),
        Some(Cow::Owned(text)) => text_references(&text, kind)
            .into_iter()
            .map(|(space, name)| (space.map(owned), owned(name)))
            .collect(),
        None => Vec::new(),
    }
}

fn owned(text: Text<'_>) -> Text<'static> {
    Cow::Owned(text.into_owned())
}

fn json_references<'a>(json: &'a str, kind: &str) -> Vec<Reference<'a>> {
    let one = |json: &'a str| {
        if json.starts_with('{') {
            let shape = Shape::of(json).ok()?;
            let name = shape.text("name").or_else(|| shape.text("Name"))?;
            let space = shape.text("namespace").or_else(|| shape.text("Namespace"));
            return is_name(&name).then(|| (space.filter(|s| is_name(s)), name));
        }
        match json_text(json)? {
            Cow::Borrowed(text) => reference(text, kind),
            Cow::Owned(_) => None,
        }
    };
    if json.starts_with('[') {
        let items: Vec<&'a serde_json::value::RawValue> =
            serde_json::from_str(json).unwrap_or_default();
        items
            .into_iter()
            .take(OBJECTS_MAX)
            .filter_map(|i| one(i.get()))
            .collect()
    } else {
        one(json).into_iter().collect()
    }
}

fn text_references<'a>(text: &'a str, kind: &str) -> Vec<Reference<'a>> {
    match text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
        Some(list) => list
            .split([' ', ','])
            .map(|t| t.trim_matches('"'))
            .filter_map(|t| reference(t, kind))
            .take(OBJECTS_MAX)
            .collect(),
        None => reference(text, kind).into_iter().collect(),
    }
}

/// `namespace/name`, `name`, or the older `name_namespace(uid)` of pods.
fn reference<'a>(text: &'a str, kind: &str) -> Option<Reference<'a>> {
    let (space, name) = match text.split_once('/') {
        Some((space, name)) => (Some(space), name),
        None => match text.split_once('(').and_then(|(t, _)| t.rsplit_once('_')) {
            Some((name, space)) if kind == "pod" => (Some(space), name),
            _ => (None, text),
        },
    };
    let space = space.filter(|s| !s.is_empty());
    let is_valid = is_name(name) && space.is_none_or(is_name);
    is_valid.then_some((space.map(Cow::Borrowed), Cow::Borrowed(name)))
}

/// The garbage collector's `[batch/v1/Job, namespace: load-0, name: job-x2h5b, uid: …]`.
fn garbage_item<'a>(text: &str) -> Option<(Cow<'static, str>, Reference<'a>)> {
    let mut parts = text.strip_prefix('[')?.split(", ");
    let kind = parts.next()?.rsplit('/').next()?.to_ascii_lowercase();
    let space = parts.next()?.strip_prefix("namespace: ")?.to_owned();
    let name = parts.next()?.strip_prefix("name: ")?.to_owned();
    let space = Some(space).filter(|s| is_name(s)).map(Cow::Owned);
    (is_name(&name) && is_name(&kind)).then_some((Cow::Owned(kind), (space, Cow::Owned(name))))
}
