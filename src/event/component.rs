//! One entry of a component's log, and the line, or lines, of text that it was written as.
//!
//! A component (kube-apiserver, kubelet, the authenticator …) writes lines. A wrapper (a container
//! runtime, CloudWatch, Azure's diagnostic settings) carries each of them and tells when and where it
//! was written. An entry is one line with a header and the lines without one that follow it.

use crate::event::{audit::Text, time::Micros};

/// What carried a line; the value of column `wrapper`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Wrapper {
    /// Nothing: the line stands in a file.
    #[default]
    Plain,
    /// An AKS diagnostic record (storage account or Event Hub), or a row of AzureDiagnostics.
    AksDiagnostic,
    /// A log file of the container runtime interface.
    Cri,
    /// Docker's json-file log driver.
    Docker,
    /// An entry of the systemd journal, exported as JSON.
    Journald,
    /// A CloudWatch log event: export task, subscription, Insights or OpenSearch document.
    CloudWatch,
    /// A row of the Container Insights table ContainerLogV2.
    ContainerInsights,
}

impl Wrapper {
    /// The value of column `wrapper`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::AksDiagnostic => "aks-diagnostic",
            Self::Cri => "cri",
            Self::Docker => "docker",
            Self::Journald => "journald",
            Self::CloudWatch => "cloudwatch",
            Self::ContainerInsights => "container-insights",
        }
    }
}

/// Where a line was written, as far as its wrapper, its file's name or its source's settings tell.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LineOrigin<'a> {
    /// What carried the line.
    pub wrapper: Wrapper,
    /// Cluster, in lower case.
    pub cluster: Option<String>,
    /// Component: `kube-apiserver`, `kubelet`, `authenticator` …; see docs/format.md.
    pub component: Option<Text<'a>>,
    /// Node on which it was written.
    pub node: Option<Text<'a>>,
    /// Namespace of the pod that wrote it.
    pub namespace: Option<Text<'a>>,
    /// Pod that wrote it, or CloudWatch's log stream.
    pub pod: Option<Text<'a>>,
    /// Container that wrote it: its name, else its id.
    pub container: Option<Text<'a>>,
    /// `stdout` or `stderr`.
    pub stream: Option<Text<'a>>,
    /// When the wrapper took the line.
    pub time: Option<Micros>,
    /// That time, as received, so that the wrapper can be built again.
    pub time_text: Option<Text<'a>>,
    /// CloudWatch's event id.
    pub event_id: Option<Text<'a>>,
    /// The rest of the wrapper, a JSON object without the time, the event id and the line.
    pub envelope: Option<String>,
}

impl LineOrigin<'_> {
    /// The same, borrowed from here.
    pub fn borrowed(&self) -> LineOrigin<'_> {
        fn text<'b>(text: &'b Option<Text<'_>>) -> Option<Text<'b>> {
            text.as_deref().map(Text::Borrowed)
        }
        LineOrigin {
            wrapper: self.wrapper,
            cluster: self.cluster.clone(),
            component: text(&self.component),
            node: text(&self.node),
            namespace: text(&self.namespace),
            pod: text(&self.pod),
            container: text(&self.container),
            stream: text(&self.stream),
            time: self.time,
            time_text: text(&self.time_text),
            event_id: text(&self.event_id),
            envelope: self.envelope.clone(),
        }
    }

    /// The same with texts of its own.
    pub fn into_owned(self) -> LineOrigin<'static> {
        fn text(text: Option<Text<'_>>) -> Option<Text<'static>> {
            text.map(|t| Text::Owned(t.into_owned()))
        }
        LineOrigin {
            wrapper: self.wrapper,
            cluster: self.cluster,
            component: text(self.component),
            node: text(self.node),
            namespace: text(self.namespace),
            pod: text(self.pod),
            container: text(self.container),
            stream: text(self.stream),
            time: self.time,
            time_text: text(self.time_text),
            event_id: text(self.event_id),
            envelope: self.envelope,
        }
    }

    /// True if the other line's writer and wrapper are the same, whatever else the wrappers hold.
    pub fn is_same_writer(&self, other: &LineOrigin<'_>) -> bool {
        self.wrapper == other.wrapper
            && self.pod == other.pod
            && self.stream == other.stream
            && self.container == other.container
            && self.component == other.component
            && self.node == other.node
            && self.namespace == other.namespace
            && self.cluster == other.cluster
    }

    /// True if a line of the other origin may continue an entry of this one: the same container of
    /// the same pod wrote both, through the same wrapper, whose other values agree.
    pub fn continues(&self, other: &LineOrigin<'_>) -> bool {
        self.is_same_writer(other) && self.envelope == other.envelope
    }
}

/// One line of text with its origin.
#[derive(Debug, Clone)]
pub struct LogLine<'a> {
    /// The text without the newline at its end.
    pub text: Text<'a>,
    /// Its origin.
    pub origin: LineOrigin<'a>,
    /// Offset of its record in the decompressed object.
    pub offset: u64,
    /// Length of its record, wrapper included, bytes.
    pub record_bytes: usize,
}

/// Severity of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Below info: zap's and logrus's debug and trace.
    Debug,
    /// klog's `I`.
    Info,
    /// klog's `W`.
    Warning,
    /// klog's `E`.
    Error,
    /// klog's `F`; panics.
    Fatal,
}

impl Severity {
    /// The value of column `severity`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Fatal => "fatal",
        }
    }
}

/// How the text of an entry is written; the value of column `format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EntryFormat {
    /// klog text: `I1120 11:20:57.558526   16461 flags.go:64] …`.
    Klog,
    /// klog with `--logging-format=json`.
    KlogJson,
    /// A JSON line of zap (etcd and its client).
    ZapJson,
    /// logrus key=value (aws-iam-authenticator).
    Logfmt,
    /// Text without a header that is known.
    Text,
}

impl EntryFormat {
    /// The value of column `format`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Klog => "klog",
            Self::KlogJson => "klog-json",
            Self::ZapJson => "zap-json",
            Self::Logfmt => "logfmt",
            Self::Text => "text",
        }
    }
}

/// Where the time of an entry comes from; the value of column `time_source`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TimeSource {
    /// The entry tells date, time and zone.
    Entry,
    /// The entry tells month, day and time; year (and zone) were inferred from the wrapper's time.
    EntryAndWrapper,
    /// The entry tells month, day and time; the year was inferred from the time of the object.
    EntryAndObject,
    /// The entry tells no time: the wrapper's.
    Wrapper,
    /// Nothing tells: the time of the entry before it, else after it.
    Neighbour,
    /// Nothing tells, and there is no neighbour: the time of the object.
    Object,
}

impl TimeSource {
    /// The value of column `time_source`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Entry => "entry",
            Self::EntryAndWrapper => "entry+wrapper",
            Self::EntryAndObject => "entry+object",
            Self::Wrapper => "wrapper",
            Self::Neighbour => "neighbour",
            Self::Object => "object",
        }
    }
}

/// One entry of a component's log.
#[derive(Debug, Clone)]
pub struct ComponentEntry<'a> {
    /// When it was written.
    pub time: Micros,
    /// How that is known.
    pub time_source: TimeSource,
    /// How the text is written.
    pub format: EntryFormat,
    /// Severity; none if the text does not tell.
    pub severity: Option<Severity>,
    /// Source file of the program: `wrap.go`, `garbagecollector/garbagecollector.go`.
    pub caller_file: Option<Text<'a>>,
    /// Line in it.
    pub caller_line: Option<i32>,
    /// The message: of a structured entry without its key-values, of any other the text behind the
    /// header, continuation lines included.
    pub message: Text<'a>,
    /// Key-values, a JSON object: values that are JSON stay JSON, Go's other forms are strings.
    pub fields: Option<String>,
    /// Node that the entry is about.
    pub node: Option<Text<'a>>,
    /// Namespace that the entry is about.
    pub namespace: Option<Text<'a>>,
    /// Pod that the entry is about.
    pub pod: Option<Text<'a>>,
    /// Objects that the entry names: `pod/dev/web-0`, `node/aks-1`, `deployment/dev/web`; kind in lower case.
    pub objects: Vec<String>,
    /// Audit id of the request it is about.
    pub audit_id: Option<Text<'a>>,
    /// klog's logger name.
    pub logger: Option<Text<'a>>,
    /// klog's verbosity (`v` of klog JSON).
    pub verbosity: Option<i32>,
    /// klog's thread id.
    pub thread: Option<i64>,
    /// The text of all its lines, joined by newlines: byte for byte what was written.
    pub record: Text<'a>,
    /// Number of lines.
    pub lines: i32,
    /// The wrapper's time of each line after the first, as received.
    pub line_times: Vec<Text<'a>>,
    /// Origin of its first line.
    pub origin: LineOrigin<'a>,
    /// Offset of its first line's record in the decompressed object.
    pub offset: u64,
    /// Length of its records, wrappers included, bytes.
    pub record_bytes: usize,
}
