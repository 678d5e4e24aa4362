//! The shapes as scripts/make-bench-shapes cut them: lines of text with slots.

/// What stands in a slot. Numbers are indexes within one life of a shape unless said otherwise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Slot {
    /// A moment, to the microsecond or to the second.
    Micros(usize),
    Seconds(usize),
    /// Seconds after the cluster was made, written in the same two ways.
    OldMicros(i64),
    OldSeconds(i64),
    AuditId(u64),
    Uid(u64),
    /// Uid of a thing that the app keeps; the number is a digest of its kind.
    Lasting(u64),
    Version(usize),
    /// Last and next version of a thing that a node keeps.
    KeptVersion(usize),
    NextVersion(usize),
    Letters(u64),
    Hex(u64),
    Namespace,
    App,
    Release,
    ReleaseNumber,
    Person,
    PersonAddress,
    Node(usize),
    NodeUid(usize),
    NodeAddress(usize),
    NodeCertificate(usize),
    NodeReadySince(usize),
    PodAddress,
    Noise(u64, usize),
    Items(Kind, Scope),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Pod,
    Node,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scope {
    Namespace,
    All,
    Few,
}

/// Text up to a slot, and the slot.
#[derive(Debug)]
pub(crate) enum Piece {
    Text(String),
    Slot(Slot),
}

pub(crate) type Template = Vec<Piece>;

/// An object that lists show after one line of a life was written and until another was.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) first: usize,
    pub(crate) last: usize,
    pub(crate) body: Template,
}

/// When lives of a shape begin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Clock {
    Flat,
    /// More in people's working hours.
    Day,
    /// By each node, every so many seconds; `None`: as often as leases are renewed.
    Node(Option<u64>),
}

#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) per_million: f64,
    pub(crate) clock: Clock,
    /// Microseconds from each moment to the next.
    pub(crate) gaps: Vec<i64>,
    /// Moments before which a life waits, and how many seconds it does on average.
    pub(crate) phases: Vec<usize>,
    pub(crate) life_seconds: f64,
    /// Moments between which the first node sends no heartbeats, and microseconds before the first moment.
    pub(crate) silence: Option<(usize, usize)>,
    pub(crate) silent_before: i64,
    /// Moment at which the first node is Ready again.
    pub(crate) ready: Option<usize>,
    /// The first node is a new one.
    pub(crate) fresh_node: bool,
    pub(crate) truth: Option<Template>,
    pub(crate) items: Vec<Item>,
    /// Each line with the moment at which it is logged.
    pub(crate) lines: Vec<(usize, Template)>,
    pub(crate) versions: usize,
    pub(crate) nodes: usize,
}

/// Reads the shapes.
///
/// # Errors
///
/// The line that is not understood.
pub(crate) fn parse(text: &str) -> Result<Vec<Shape>, String> {
    let mut shapes: Vec<Shape> = Vec::new();
    let mut moments_of_lines = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let wrong = |why: &str| format!("line {} of the shapes: {why}", number + 1);
        let mut rest = line.chars();
        let mark = rest.next();
        let rest = rest.as_str();
        if mark == Some('@') {
            let (shape, moments) = head(rest).ok_or_else(|| wrong("not a head"))?;
            shapes.push(shape);
            moments_of_lines = moments;
            continue;
        }
        let shape = shapes.last_mut().ok_or_else(|| wrong("no head before"))?;
        match mark {
            Some('!') => shape.truth = Some(template(rest, shape).map_err(|e| wrong(&e))?),
            Some('%') => {
                let mut parts = rest.splitn(3, ' ');
                let mut next = || parts.next().ok_or_else(|| wrong("not an item"));
                let first = next()?.parse().map_err(|_| wrong("not a number"))?;
                let last = next()?.parse().map_err(|_| wrong("not a number"))?;
                let body = template(next()?, shape).map_err(|e| wrong(&e))?;
                shape.items.push(Item { first, last, body });
            }
            Some('=') => {
                let moment = *moments_of_lines
                    .get(shape.lines.len())
                    .ok_or_else(|| wrong("more lines than moments"))?;
                let line = template(rest, shape).map_err(|e| wrong(&e))?;
                shape.lines.push((moment, line));
            }
            _ => return Err(wrong("begins with none of @ ! % =")),
        }
    }
    Ok(shapes)
}

fn head(rest: &str) -> Option<(Shape, Vec<usize>)> {
    let mut fields = rest.trim_start_matches('\t').split('\t');
    fields.next()?; // the name, for people
    let mut shape = Shape {
        per_million: fields.next()?.parse().ok()?,
        clock: match fields.next()? {
            "flat" => Clock::Flat,
            "day" => Clock::Day,
            "node:lease" => Clock::Node(None),
            node => Clock::Node(Some(node.strip_prefix("node:")?.parse().ok()?)),
        },
        gaps: numbers(fields.next()?, ' ')?,
        phases: Vec::new(),
        life_seconds: 0.0,
        silence: None,
        silent_before: 0,
        ready: None,
        fresh_node: false,
        truth: None,
        items: Vec::new(),
        lines: Vec::new(),
        versions: 0,
        nodes: 1,
    };
    let moments = numbers(fields.next()?, ' ')?;
    for note in fields.next()?.split_ascii_whitespace() {
        let (key, value) = note.split_once('=').unwrap_or((note, ""));
        match key {
            "phases" => {
                shape.phases = numbers(value, ',')?;
                shape.phases.dedup();
            }
            "life" => shape.life_seconds = value.parse().ok()?,
            "silence" => {
                let (from, to) = value.split_once(',')?;
                shape.silence = Some((from.parse().ok()?, to.parse().ok()?));
            }
            "before" => shape.silent_before = value.parse().ok()?,
            "ready" => shape.ready = Some(value.parse().ok()?),
            "fresh" => shape.fresh_node = true,
            _ => return None,
        }
    }
    Some((shape, moments))
}

fn numbers<T: std::str::FromStr>(text: &str, between: char) -> Option<Vec<T>> {
    text.split(between).map(|n| n.parse().ok()).collect()
}

fn template(mut text: &str, shape: &mut Shape) -> Result<Template, String> {
    let mut pieces = Vec::new();
    while let Some((before, rest)) = text.split_once('⟨') {
        let (inside, after) = rest.split_once('⟩').ok_or("a slot has no end")?;
        if !before.is_empty() {
            pieces.push(Piece::Text(before.to_owned()));
        }
        let slot = slot(inside).ok_or_else(|| format!("no such slot: {inside}"))?;
        match slot {
            Slot::Version(n) => shape.versions = shape.versions.max(n + 1),
            Slot::Node(n)
            | Slot::NodeUid(n)
            | Slot::NodeAddress(n)
            | Slot::NodeCertificate(n)
            | Slot::NodeReadySince(n) => shape.nodes = shape.nodes.max(n + 1),
            _ => {}
        }
        pieces.push(Piece::Slot(slot));
        text = after;
    }
    if !text.is_empty() {
        pieces.push(Piece::Text(text.to_owned()));
    }
    Ok(pieces)
}

fn slot(inside: &str) -> Option<Slot> {
    if let Some(kind) = inside.strip_prefix("U:") {
        let digest = kind
            .bytes()
            .fold(0, |d, b| super::chance::mix(d, u64::from(b)));
        return Some(Slot::Lasting(digest));
    }
    if let Some(list) = inside.strip_prefix("L:") {
        let (kind, scope) = list.split_once(':')?;
        let kind = match kind {
            "pods" => Kind::Pod,
            "nodes" => Kind::Node,
            _ => return None,
        };
        let scope = match scope {
            "ns" => Scope::Namespace,
            "all" => Scope::All,
            "few" => Scope::Few,
            _ => return None,
        };
        return Some(Slot::Items(kind, scope));
    }
    match inside {
        "ns" => return Some(Slot::Namespace),
        "app" => return Some(Slot::App),
        "v" => return Some(Slot::Release),
        "k" => return Some(Slot::ReleaseNumber),
        "who" => return Some(Slot::Person),
        "whoip" => return Some(Slot::PersonAddress),
        "i" => return Some(Slot::PodAddress),
        _ => {}
    }
    let (letter, rest) = inside.split_at_checked(1)?;
    if letter == "B" {
        let (n, length) = rest.split_once(':')?;
        return Some(Slot::Noise(n.parse().ok()?, length.parse().ok()?));
    }
    if letter == "N" {
        let digits = rest.trim_end_matches(|c: char| c.is_ascii_lowercase());
        let n = digits.parse().ok()?;
        return match &rest[digits.len()..] {
            "" => Some(Slot::Node(n)),
            "u" => Some(Slot::NodeUid(n)),
            "i" => Some(Slot::NodeAddress(n)),
            "c" => Some(Slot::NodeCertificate(n)),
            "r" => Some(Slot::NodeReadySince(n)),
            _ => None,
        };
    }
    let n: i64 = rest.parse().ok()?;
    let index = usize::try_from(n);
    Some(match letter {
        "t" => Slot::Micros(index.ok()?),
        "s" => Slot::Seconds(index.ok()?),
        "f" => Slot::OldMicros(n),
        "e" => Slot::OldSeconds(n),
        "a" => Slot::AuditId(n.unsigned_abs()),
        "u" => Slot::Uid(n.unsigned_abs()),
        "r" => Slot::Version(index.ok()?),
        "p" => Slot::KeptVersion(index.ok()?),
        "P" => Slot::NextVersion(index.ok()?),
        "x" => Slot::Letters(n.unsigned_abs()),
        "h" => Slot::Hex(n.unsigned_abs()),
        _ => return None,
    })
}
