//! What the place of a log tells about its lines: component, node, pod, and the time of the object.

use std::borrow::Cow;

use chrono_tz::Tz;

use crate::{
    decode::component::{Parsed, When, clock},
    event::{component::LineOrigin, time::Micros},
};

/// What is known of an object's lines before they are read.
#[derive(Debug, Clone)]
pub struct LogContext {
    /// Origin of lines that have no wrapper, and what wrappers do not tell.
    pub origin: LineOrigin<'static>,
    /// Modification time of the object, or the time in its name; the years of klog depend on it.
    pub object_time: Option<Micros>,
    /// A whole time that the file itself tells; see [`LogContext::learn`].
    pub evidence: Option<Micros>,
    /// Zone of the headers of klog.
    pub zone: Tz,
}

impl Default for LogContext {
    fn default() -> Self {
        Self {
            origin: LineOrigin::default(),
            object_time: None,
            evidence: None,
            zone: Tz::UTC,
        }
    }
}

/// Components as they are named in files, pods and streams; the longer of two stands first.
const COMPONENTS: [&str; 22] = [
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "cloud-controller-manager",
    "cloud-node-manager",
    "cluster-autoscaler",
    "kubelet",
    "kube-proxy",
    "aws-iam-authenticator",
    "authenticator",
    "etcd",
    "coredns",
    "konnectivity-agent",
    "konnectivity-server",
    "metrics-server",
    "containerd",
    "dockerd",
    "guard",
    "csi-azuredisk-controller",
    "csi-azurefile-controller",
    "csi-snapshot-controller",
    "aws-node",
];

/// The component's usual name.
fn normal(name: &str) -> &str {
    match name {
        "aws-iam-authenticator" => "authenticator",
        "apiserver" => "kube-apiserver",
        "controller-manager" => "kube-controller-manager",
        "scheduler" => "kube-scheduler",
        "proxy" => "kube-proxy",
        name => name,
    }
}

/// The component that a name begins with: `kube-apiserver-57b5944b45-94w49`. Audit logs are none.
fn known_component(name: &str) -> Option<&'static str> {
    let component = COMPONENTS.into_iter().find(|c| {
        name.strip_prefix(c)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '.', '_', '@']))
    })?;
    let rest = name[component.len()..].trim_start_matches(['-', '.', '_']);
    let is_audit = rest
        .strip_prefix("audit")
        .is_some_and(|r| !r.starts_with(|c: char| c.is_ascii_lowercase()));
    (!is_audit).then(|| normal(component))
}

/// The component that writes to a stream of CloudWatch: `kube-apiserver-<32 hex digits>`. The streams
/// `kube-apiserver-audit-…` hold audit events and belong to none.
pub fn component_of_stream(stream: &str) -> Option<&str> {
    let stream = stream.rsplit('/').next()?;
    if let Some(component) = known_component(stream) {
        return Some(component);
    }
    let (name, id) = stream.rsplit_once('-')?;
    let is_id = id.len() >= 16 && id.bytes().all(|b| b.is_ascii_hexdigit());
    (is_id && !name.is_empty() && !name.ends_with("-audit")).then(|| normal(name))
}

/// The component that a container or its pod is: the container's name, unless it says nothing.
pub fn component_of_container(container: &str, pod: Option<&str>) -> String {
    known_component(container)
        .or_else(|| pod.and_then(known_component))
        .unwrap_or(container)
        .to_owned()
}

/// The component that a unit or an identifier of the journal is: `kubelet.service`, `kubelet`.
pub fn component_of_unit(unit: &str) -> &str {
    normal(unit.strip_suffix(".service").unwrap_or(unit))
}

impl LogContext {
    /// Reads the path of an object, and takes the time in its name over its modification time.
    pub fn of_path(uri: &str, modified: Option<Micros>) -> Self {
        let path = uri.split(['?', '#']).next().unwrap_or(uri);
        let parts: Vec<&str> = path.split('/').filter(|p| !p.is_empty()).collect();
        let file = parts.last().copied().unwrap_or_default();
        let mut origin = LineOrigin::default();
        let parents = parts.len().checked_sub(3).and_then(|i| parts.get(i..));
        if let Some([pod, container, _]) = parents
            && let Some((namespace, name)) = pod_folder(pod)
        {
            place(&mut origin, namespace, name, container);
        } else if let Some((pod, namespace, container)) = container_file(file) {
            place(&mut origin, namespace, pod, container);
        } else {
            let stem = stem(file);
            if let Some(component) = known_component(stem) {
                let rest = stem[component.len().min(stem.len())..].trim_start_matches('-');
                let is_node = matches!(component, "kubelet" | "kube-proxy")
                    && rest.starts_with(|c: char| c.is_ascii_alphanumeric())
                    && name_time(rest).is_none();
                origin.node = is_node.then(|| Cow::Owned(rest.to_owned()));
                origin.component = Some(Cow::Borrowed(component));
            }
        }
        Self {
            origin,
            object_time: name_time(file).or(modified),
            ..Self::default()
        }
    }

    /// Looks for a whole time in the beginning of the object, by which the years of headers are
    /// known although the object was copied years later.
    pub fn learn(&mut self, head: &[u8]) {
        if self.evidence.is_some() {
            return;
        }
        let lines = head.split(|b| *b == b'\n').take(2_000);
        self.evidence = lines
            .filter_map(|l| std::str::from_utf8(l).ok())
            .find_map(told_time);
    }
}

/// The whole time that a line tells, if it is no line of klog text.
fn told_time(line: &str) -> Option<Micros> {
    let begins = line.as_bytes().first()?;
    match begins {
        b'{' | b't' | b'l' => match Parsed::of(line).when {
            When::At(time) => Some(time),
            _ => None,
        },
        b'0'..=b'9' => match clock::dated(line.as_bytes())?.0 {
            clock::Dated::Whole(time) => Some(time),
            clock::Dated::Local(_) => None,
        },
        _ => None,
    }
}

fn place(origin: &mut LineOrigin<'static>, namespace: &str, pod: &str, container: &str) {
    origin.component = Some(Cow::Owned(component_of_container(container, Some(pod))));
    origin.namespace = Some(Cow::Owned(namespace.to_owned()));
    origin.pod = Some(Cow::Owned(pod.to_owned()));
    origin.container = Some(Cow::Owned(container.to_owned()));
}

/// `<namespace>_<pod>_<uid>`
fn pod_folder(folder: &str) -> Option<(&str, &str)> {
    let (rest, uid) = folder.rsplit_once('_')?;
    let (namespace, pod) = rest.split_once('_')?;
    let is_uid = uid.len() >= 16 && uid.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    (is_uid && !namespace.is_empty() && !pod.is_empty()).then_some((namespace, pod))
}

/// `<pod>_<namespace>_<container>-<64 hex digits>.log`
fn container_file(file: &str) -> Option<(&str, &str, &str)> {
    let (name, _) = file.split_once(".log")?;
    let (name, id) = name.rsplit_once('-')?;
    if id.len() != 64 || !id.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let (pod, rest) = name.split_once('_')?;
    let (namespace, container) = rest.split_once('_')?;
    Some((pod, namespace, container))
}

/// A file's name before `.log`, or before the ending of its compression.
fn stem(file: &str) -> &str {
    match file.find(".log") {
        Some(at) => &file[..at],
        None => [".gz", ".zst", ".txt", ".json", ".jsonl"]
            .iter()
            .fold(file, |f, ending| f.strip_suffix(ending).unwrap_or(f)),
    }
}

/// The time in a name: `0.log.20230216-080125`, `x-2026-11-20T11-44-19.675.log`, `x.log-20230216`.
/// A rotated file holds what was written before that time.
fn name_time(file: &str) -> Option<Micros> {
    let starts = file
        .bytes()
        .zip(file.bytes().skip(1))
        .enumerate()
        .filter(|(_, (before, at))| !before.is_ascii_digit() && matches!(at, b'1' | b'2'))
        .map(|(i, _)| i + 1);
    let mut starts = starts.chain(file.starts_with(['1', '2']).then_some(0));
    starts.find_map(|at| {
        let digits: String = file[at..]
            .chars()
            .take_while(|c| c.is_ascii_digit() || matches!(c, '-' | 'T' | '_' | ':'))
            .filter(char::is_ascii_digit)
            .take(14)
            .collect();
        let part = |range: std::ops::Range<usize>| digits.get(range);
        let date = format!("{}-{}-{}", part(0..4)?, part(4..6)?, part(6..8)?);
        let year: i32 = date[..4].parse().ok()?;
        if !(1990..2200).contains(&year) || !matches!(digits.len(), 8 | 12 | 14) {
            return None;
        }
        let time = match digits.len() {
            14 => format!("{}:{}:{}", part(8..10)?, part(10..12)?, part(12..14)?),
            12 => format!("{}:{}:59", part(8..10)?, part(10..12)?),
            _ => "23:59:59".to_owned(),
        };
        Micros::parse(&format!("{date}T{time}Z"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(uri: &str) -> LogContext {
        LogContext::of_path(uri, Micros::parse("2027-01-01T00:00:00Z"))
    }

    fn places(uri: &str) -> [Option<String>; 5] {
        let o = context(uri).origin;
        [o.component, o.node, o.namespace, o.pod, o.container].map(|t| t.map(Cow::into_owned))
    }

    fn expect(uri: &str, want: [&str; 5]) {
        assert_eq!(
            places(uri),
            want.map(|w| (!w.is_empty()).then(|| w.to_owned())),
            "{uri}"
        );
    }

    #[test]
    fn paths_tell_who_wrote() {
        expect(
            "/var/log/kube-apiserver.log",
            ["kube-apiserver", "", "", "", ""],
        );
        expect(
            "s3://b/x/kube-scheduler.log.zst",
            ["kube-scheduler", "", "", "", ""],
        );
        expect(
            "/l/kubelet-aks-nodepool1-26474021-vmss00000z.log.zst",
            ["kubelet", "aks-nodepool1-26474021-vmss00000z", "", "", ""],
        );
        expect(
            "/var/log/kubelet.log-20230216.gz",
            ["kubelet", "", "", "", ""],
        );
        expect(
            "/var/log/kube-apiserver-audit-2026-11-20T11-44-19.675.log",
            ["", "", "", "", ""],
        );
        expect(
            "/var/log/pods/kube-system_kube-proxy-x2x_0f2c2d6e-5a6b-4f4e-8f4a-1a2b3c4d5e6f/kube-proxy/0.log.20230216-080125.gz",
            [
                "kube-proxy",
                "",
                "kube-system",
                "kube-proxy-x2x",
                "kube-proxy",
            ],
        );
        expect(
            "/c/kube-apiserver-cp0_kube-system_kube-apiserver-ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb.log",
            [
                "kube-apiserver",
                "",
                "kube-system",
                "kube-apiserver-cp0",
                "kube-apiserver",
            ],
        );
        expect("/x/\u{e9}_\u{e9}/..", ["", "", "", "", ""]);
    }

    #[test]
    fn names_tell_times() {
        let time = |uri: &str| context(uri).object_time.unwrap().to_micro_time();
        assert_eq!(
            time("/p/0.log.20230216-080125.gz"),
            "2023-02-16T08:01:25.000000Z"
        );
        assert_eq!(
            time("kubelet-2026-11-20T11-44-19.675.log"),
            "2026-11-20T11:44:19.000000Z"
        );
        assert_eq!(time("kubelet.log-20230216"), "2023-02-16T23:59:59.000000Z");
        assert_eq!(
            time("kubelet-aks-nodepool1-26474021-vmss000000.log"),
            "2027-01-01T00:00:00.000000Z"
        );
    }

    #[test]
    fn streams_tell_components() {
        let id = "0123456789abcdef0123456789abcdef";
        let of = |name: &str| component_of_stream(&format!("{name}-{id}")).map(str::to_owned);
        assert_eq!(of("kube-apiserver").as_deref(), Some("kube-apiserver"));
        assert_eq!(of("kube-apiserver-audit"), None);
        assert_eq!(of("authenticator").as_deref(), Some("authenticator"));
        assert_eq!(
            of("cloud-controller-manager").as_deref(),
            Some("cloud-controller-manager")
        );
        assert_eq!(of("eks-pod-identity").as_deref(), Some("eks-pod-identity"));
        assert_eq!(component_of_stream("some-stream"), None);
        assert_eq!(component_of_unit("kubelet.service"), "kubelet");
    }
}
