//! A cluster that lives through its days: shapes begin, wait, and are written line by line in the order
//! of the log. All that differs between lives follows from the seed; resource versions are taken in the
//! order in which they are first shown, as a real store gives them.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    io::{self, Write},
};

use super::{
    chance::{Chance, mix},
    shapes::{Clock, Kind, Piece, Scope, Shape, Slot, Template},
};

const DAY: i64 = 86_400_000_000;
/// 2026-01-01T00:00:00Z, the first day that is written.
const FIRST_DAY: i64 = 1_767_225_600_000_000;
/// The cluster is older than its log.
const MADE: i64 = FIRST_DAY - 40 * DAY + 34_567_000_000;
/// Chunk size with which clients of the API ask for lists.
const LIST_MAX: usize = 500;
/// Share of events that are renewals of the nodes' leases, about as in the recording.
const LEASE_SHARE: f64 = 0.02;

const WORDS: [&str; 40] = [
    "cart", "checkout", "catalog", "search", "billing", "ledger", "mailer", "gateway", "profile",
    "session", "media", "thumbs", "orders", "stock", "pricing", "reviews", "tracker", "geo",
    "feed", "chat", "push", "audit", "export", "import", "report", "metrics", "batch", "queue",
    "cache", "index", "auth", "tokens", "web", "api", "worker", "sync", "vault-ui", "docs", "blog",
    "shop",
];
const PEOPLE: [&str; 24] = [
    "alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy", "ken",
    "laura", "mallory", "nina", "oscar", "peggy", "quentin", "rupert", "sybil", "trent", "ursula",
    "victor", "wendy", "zoe",
];
/// Letters that Kubernetes makes names of.
const LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
const HEX: &[u8; 16] = b"0123456789abcdef";
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// What a run is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) seed: u64,
    pub(crate) events_per_day: u64,
    pub(crate) nodes: usize,
}

struct App {
    namespace: usize,
    name: &'static str,
}

#[derive(Clone, Default)]
struct Node {
    versions: [u64; 2],
    ready_since: i64,
    silent: (i64, i64),
}

/// One life of a shape.
struct Life {
    shape: usize,
    seed: u64,
    moments: Vec<i64>,
    versions: Vec<u64>,
    app: usize,
    release: u64,
    person: usize,
    /// Numbers of nodes; those at or over the number of nodes are new ones.
    nodes: Vec<u64>,
    line: usize,
}

pub(crate) struct World<'a> {
    shapes: &'a [Shape],
    settings: Settings,
    chance: Chance,
    apps: Vec<App>,
    nodes: Vec<Node>,
    lease_seconds: u64,
    /// Lives begun, by number; numbers are used again.
    lives: Vec<Option<Life>>,
    free: Vec<usize>,
    /// Next line of each life: moment, order of arrival, number of the life.
    waiting: BinaryHeap<Reverse<(i64, u64, usize)>>,
    arrivals: u64,
    /// Pods that lists show: by namespace, number of the life and of the item.
    listed: BTreeMap<usize, Vec<(usize, usize)>>,
    version: u64,
    day: i64,
}

/// What was written of a day.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Written {
    pub(crate) events: u64,
    pub(crate) bytes: u64,
}

impl<'a> World<'a> {
    pub(crate) fn new(shapes: &'a [Shape], settings: Settings) -> Self {
        // Pods live for some twenty minutes: so many namespaces that each holds about five, the
        // busy ones more.
        let pods: f64 = shapes
            .iter()
            .filter(|s| !s.items.is_empty() && s.per_million > 0.0)
            .map(|s| s.per_million * s.life_seconds / 86_400.0)
            .sum();
        let namespaces =
            (pods * settings.events_per_day as f64 / 1e6 / 5.0).clamp(3.0, 400.0) as usize;
        let apps = (0..namespaces * 5)
            .map(|n| App {
                namespace: n % namespaces,
                name: WORDS[(n / namespaces * 7 + n % namespaces * 3) % WORDS.len()],
            })
            .collect();
        let renewals = settings.nodes as f64 * 86_400.0 * 2.0;
        let lease_seconds = renewals / (settings.events_per_day as f64 * LEASE_SHARE);
        let node = Node {
            ready_since: MADE,
            ..Node::default()
        };
        Self {
            shapes,
            chance: Chance::new(settings.seed),
            apps,
            nodes: vec![node; settings.nodes],
            lease_seconds: (lease_seconds as u64).max(10),
            settings,
            lives: Vec::new(),
            free: Vec::new(),
            waiting: BinaryHeap::new(),
            arrivals: 0,
            listed: BTreeMap::new(),
            version: 1_000_000,
            day: 0,
        }
    }

    /// Date of the next day to be written.
    pub(crate) fn date(&self) -> String {
        let mut text = Vec::new();
        push_time(&mut text, FIRST_DAY + self.day * DAY, false);
        text.truncate(10);
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Writes the events of the next day in the order of the log, and what was planted to `truth`.
    ///
    /// # Errors
    ///
    /// Those of the writers.
    pub(crate) fn write_day(
        &mut self,
        out: &mut dyn Write,
        truth: &mut dyn Write,
    ) -> io::Result<Written> {
        let end = FIRST_DAY + (self.day + 1) * DAY;
        let mut written = Written::default();
        let mut line = Vec::with_capacity(1 << 20);
        let mut begins = self.plan().into_iter().peekable();
        loop {
            let next_line = self.waiting.peek().map(|Reverse((at, ..))| *at);
            let next_begin = begins.peek().map(|(at, ..)| *at);
            match (next_begin, next_line) {
                (Some(begin), at) if at.is_none_or(|at| begin <= at) => {
                    let (at, shape, node) = begins.next().unwrap_or_default();
                    self.begin(at, shape, node, truth)?;
                }
                (_, Some(at)) if at < end => {
                    line.clear();
                    self.write_line(&mut line);
                    out.write_all(&line)?;
                    written.events += 1;
                    written.bytes += line.len() as u64;
                }
                _ => break,
            }
        }
        self.day += 1;
        Ok(written)
    }

    /// What begins on this day: moment, shape, and for heartbeats the node.
    fn plan(&mut self) -> Vec<(i64, usize, Option<usize>)> {
        let start = FIRST_DAY + self.day * DAY;
        let weekend = (self.day + 3) % 7 >= 5; // the first day is a Thursday
        let scale = self.settings.events_per_day as f64 / 1e6;
        let mut begins = Vec::new();
        for (number, shape) in self.shapes.iter().enumerate() {
            if let Clock::Node(every) = shape.clock {
                let every = every.unwrap_or(self.lease_seconds) as i64 * 1_000_000;
                for node in 0..self.nodes.len() {
                    let mut at = start + (self.chance.unit() * every as f64) as i64;
                    while at < start + DAY {
                        let late = (self.chance.unit() * 4e5) as i64;
                        begins.push((at + late, number, Some(node)));
                        at += every;
                    }
                }
                continue;
            }
            let wanted = shape.per_million * scale;
            let lives = wanted as u64 + u64::from(self.chance.unit() < wanted.fract());
            for _ in 0..lives {
                let mut at = self.chance.unit();
                // People work from seven to nineteen, less at weekends: then again by chance.
                if shape.clock == Clock::Day {
                    let calm = if weekend { 0.9 } else { 0.25 };
                    if !(0.29..0.79).contains(&at) && self.chance.unit() > calm {
                        at = 0.29 + at * 0.5;
                    }
                }
                begins.push((start + (at * DAY as f64) as i64, number, None));
            }
        }
        begins.sort_unstable();
        begins
    }

    fn begin(
        &mut self,
        at: i64,
        number: usize,
        node: Option<usize>,
        truth: &mut dyn Write,
    ) -> io::Result<()> {
        let shape = &self.shapes[number];
        let silent = |n: &Node| n.silent.0 <= at && at < n.silent.1;
        if node.is_some_and(|n| silent(&self.nodes[n])) {
            return Ok(());
        }
        let seed = self.chance.next();
        let mut chance = Chance::new(seed);
        let mut nodes: Vec<u64> = Vec::with_capacity(shape.nodes);
        while nodes.len() < shape.nodes {
            let mut pick = chance.below(self.nodes.len());
            if shape.silence.is_some() && nodes.is_empty() {
                // An incident takes a node that has none.
                while self.nodes[pick].silent.1 > at {
                    pick = chance.below(self.nodes.len());
                }
            }
            if !nodes.contains(&(pick as u64)) || nodes.len() >= self.nodes.len() {
                nodes.push(pick as u64);
            }
        }
        if let Some(node) = node {
            nodes[0] = node as u64;
        } else if shape.fresh_node {
            nodes[0] = self.nodes.len() as u64 + seed % 60_000;
        }
        let mut moments = Vec::with_capacity(shape.gaps.len());
        let mut now = at + shape.silent_before;
        for (i, gap) in shape.gaps.iter().enumerate() {
            now += if shape.phases.contains(&i) {
                (chance.life(shape.life_seconds) * 1e6) as i64
            } else {
                ((*gap as f64) * (0.6 + chance.unit())) as i64 + 1
            };
            moments.push(now);
        }
        if let Some((from, to)) = shape.silence {
            let node = &mut self.nodes[nodes[0] as usize];
            node.silent = (moments[from] - shape.silent_before, moments[to]);
            if let Some(ready) = shape.ready {
                node.ready_since = moments[ready];
            }
        }
        let app = chance.few(self.apps.len());
        // An app is released every three days or so, each on days of its own.
        let release = ((self.day + 3 + app as i64 % 3) / 3) as u64;
        let life = Life {
            shape: number,
            seed,
            moments,
            versions: vec![0; shape.versions],
            app,
            release: release + app as u64 % 40,
            person: chance.few(PEOPLE.len()),
            nodes,
            line: 0,
        };
        if let Some(template) = &shape.truth {
            let mut line = Vec::new();
            self.render(&mut line, &life, template);
            line.push(b'\n');
            truth.write_all(&line)?;
        }
        let first = life.moments[shape.lines[0].0];
        let number = match self.free.pop() {
            Some(number) => {
                self.lives[number] = Some(life);
                number
            }
            None => {
                self.lives.push(Some(life));
                self.lives.len() - 1
            }
        };
        self.arrivals += 1;
        self.waiting.push(Reverse((first, self.arrivals, number)));
        Ok(())
    }

    /// Writes the line that is due.
    fn write_line(&mut self, out: &mut Vec<u8>) {
        let Some(Reverse((_, _, number))) = self.waiting.pop() else {
            return;
        };
        let Some(mut life) = self.lives[number].take() else {
            return;
        };
        let shape = &self.shapes[life.shape];
        let (_, template) = &shape.lines[life.line];
        self.take_versions(&mut life, template);
        self.render(out, &life, template);
        out.push(b'\n');
        let namespace = self.apps[life.app].namespace;
        for (i, item) in shape.items.iter().enumerate() {
            if !matches!(shape.clock, Clock::Node(_)) {
                let listed = self.listed.entry(namespace).or_default();
                if item.first == life.line {
                    listed.push((number, i));
                }
                if item.last == life.line {
                    listed.retain(|entry| *entry != (number, i));
                }
            }
        }
        life.line += 1;
        if let Some((moment, _)) = shape.lines.get(life.line) {
            self.arrivals += 1;
            let entry = (life.moments[*moment], self.arrivals, number);
            self.waiting.push(Reverse(entry));
            self.lives[number] = Some(life);
        } else {
            self.free.push(number);
        }
    }

    /// Gives the versions that a line shows first, the smaller ones first.
    fn take_versions(&mut self, life: &mut Life, template: &Template) {
        let shown = template.iter().filter_map(|piece| match piece {
            Piece::Slot(Slot::Version(n)) => Some(*n + 1),
            _ => None,
        });
        let shown = shown.max().unwrap_or(0);
        for n in 0..shown {
            if life.versions[n] == 0 {
                self.version += 1 + mix(life.seed, n as u64) % 2;
                life.versions[n] = self.version;
            }
        }
        let node = life.nodes[0] as usize;
        for piece in template {
            if let Piece::Slot(Slot::NextVersion(n)) = piece {
                // The request shows the version before; it was written with the one after.
                self.version += 1;
                life.versions.resize(2, 0);
                life.versions[0] = self.nodes[node].versions[*n].max(1);
                life.versions[1] = self.version;
                self.nodes[node].versions[*n] = self.version;
                break;
            }
        }
    }

    fn render(&self, out: &mut Vec<u8>, life: &Life, template: &Template) {
        for piece in template {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Slot(slot) => self.fill(out, life, *slot),
            }
        }
    }

    fn fill(&self, out: &mut Vec<u8>, life: &Life, slot: Slot) {
        let app = &self.apps[life.app];
        let node = |n: usize| life.nodes[n];
        match slot {
            Slot::Micros(n) => push_time(out, life.moments[n], true),
            Slot::Seconds(n) => push_time(out, life.moments[n], false),
            Slot::OldMicros(s) => push_time(out, MADE + s * 1_000_000 + 123_456, true),
            Slot::OldSeconds(s) => push_time(out, MADE + s * 1_000_000, false),
            Slot::AuditId(n) => push_uuid(out, mix(life.seed, n << 8 | 1)),
            Slot::Uid(n) => push_uuid(out, mix(life.seed, n << 8 | 2)),
            Slot::Lasting(kind) => push_uuid(out, mix(self.release_seed(life), kind)),
            Slot::Version(n) => push_number(out, life.versions[n]),
            Slot::KeptVersion(n) => push_number(out, self.kept_version(life, n)),
            Slot::NextVersion(_) => push_number(out, life.versions.get(1).copied().unwrap_or(1)),
            Slot::Letters(n) => push_letters(out, mix(life.seed, n << 8 | 3), 5),
            Slot::Hex(n) => {
                let bits = mix(life.seed, n << 8 | 4);
                out.extend((0..12).map(|i| HEX[(bits >> (4 * i)) as usize & 15]));
            }
            Slot::Namespace => {
                out.extend_from_slice(b"team-");
                push_number(out, app.namespace as u64);
            }
            Slot::App => out.extend_from_slice(app.name.as_bytes()),
            Slot::Release => push_letters(out, self.release_seed(life), 10),
            Slot::ReleaseNumber => push_number(out, life.release),
            Slot::Person => {
                out.extend_from_slice(PEOPLE[life.person].as_bytes());
                out.extend_from_slice(b"@example.com");
            }
            Slot::PersonAddress => {
                out.extend_from_slice(b"203.0.113.");
                push_number(out, 10 + life.person as u64);
            }
            Slot::Node(n) => push_node(out, node(n)),
            Slot::NodeUid(n) => push_uuid(out, mix(self.settings.seed ^ 5, node(n))),
            Slot::NodeAddress(n) => {
                out.extend_from_slice(b"10.240.");
                push_number(out, (node(n) + 10) / 250 % 250);
                out.push(b'.');
                push_number(out, (node(n) + 10) % 250);
            }
            Slot::NodeCertificate(n) => {
                for part in 0..4 {
                    let bits = mix(self.settings.seed ^ part, node(n) << 4 | 6);
                    out.extend((0..16).map(|i| HEX[(bits >> (4 * i)) as usize & 15]));
                }
            }
            Slot::NodeReadySince(n) => {
                let kept = self.nodes.get(node(n) as usize);
                push_time(out, kept.map_or(MADE, |k| k.ready_since), false);
            }
            Slot::PodAddress => {
                let bits = mix(life.seed, 7);
                out.extend_from_slice(b"10.244.");
                push_number(out, bits % 64);
                out.push(b'.');
                push_number(out, 2 + (bits >> 8) % 250);
            }
            Slot::Noise(n, length) => {
                // The same large file is brought, refused and fetched again and again for a week.
                let week = (life.moments[0] / (7 * DAY)) as u64;
                let mut bits = Chance::new(mix(mix(self.settings.seed, n << 8 | 8), week));
                let mut left = length;
                while left > 0 {
                    let word = bits.next();
                    let count = left.min(10);
                    out.extend((0..count).map(|i| BASE64[(word >> (6 * i)) as usize & 63]));
                    left -= count;
                }
            }
            Slot::Items(kind, scope) => self.fill_list(out, life, kind, scope),
        }
    }

    fn kept_version(&self, life: &Life, n: usize) -> u64 {
        // Before the answer it is the node's; after, the life has kept what it was.
        match life.versions.first() {
            Some(0) | None => self.nodes[life.nodes[0] as usize].versions[n].max(1),
            Some(version) => *version,
        }
    }

    fn release_seed(&self, life: &Life) -> u64 {
        mix(
            mix(self.settings.seed, life.app as u64 | 9 << 32),
            life.release,
        )
    }

    fn fill_list(&self, out: &mut Vec<u8>, life: &Life, kind: Kind, scope: Scope) {
        let before = out.len();
        match kind {
            Kind::Pod => {
                let own = self.apps[life.app].namespace;
                let range = match scope {
                    Scope::Namespace => own..own + 1,
                    Scope::All | Scope::Few => 0..usize::MAX,
                };
                let most = if scope == Scope::Few { 8 } else { LIST_MAX };
                let entries = self.listed.range(range).flat_map(|(_, entries)| entries);
                for (number, item) in entries.take(most) {
                    if let Some(pod) = &self.lives[*number] {
                        let body = &self.shapes[pod.shape].items[*item].body;
                        self.render(out, pod, body);
                        out.push(b',');
                    }
                }
            }
            Kind::Node => {
                let beat = self.shapes.iter().enumerate().find(|(_, shape)| {
                    matches!(shape.clock, Clock::Node(_)) && !shape.items.is_empty()
                });
                let Some((number, shape)) = beat else {
                    return;
                };
                let most = if scope == Scope::Few { 1 } else { LIST_MAX };
                let now = life.moments[life.moments.len() - 1];
                for (node, kept) in self.nodes.iter().enumerate().take(most) {
                    let node = Life {
                        shape: number,
                        seed: mix(life.seed, node as u64),
                        // The last heartbeat of a node was at most five minutes ago.
                        moments: (0..shape.gaps.len())
                            .map(|_| {
                                (now - (mix(now as u64 / 300_000_000, node as u64) % 300_000_000)
                                    as i64)
                                    .max(MADE)
                            })
                            .collect(),
                        versions: vec![1, kept.versions[1].max(1)],
                        app: life.app,
                        release: life.release,
                        person: 0,
                        nodes: vec![node as u64; shape.nodes],
                        line: 0,
                    };
                    self.render(out, &node, &shape.items[0].body);
                    out.push(b',');
                }
            }
        }
        if out.len() > before {
            out.pop();
        }
    }
}

fn push_number(out: &mut Vec<u8>, mut n: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

fn push_letters(out: &mut Vec<u8>, mut bits: u64, count: usize) {
    for _ in 0..count {
        out.push(LETTERS[(bits % 27) as usize]);
        bits /= 27;
    }
}

fn push_uuid(out: &mut Vec<u8>, seed: u64) {
    let (high, low) = (mix(seed, 11), mix(seed, 12));
    let high = (high & !0xF000) | 0x4000;
    let low = (low & !(3 << 62)) | 1 << 63;
    for (i, shift) in (0..16).rev().enumerate() {
        if i == 8 || i == 12 {
            out.push(b'-');
        }
        out.push(HEX[(high >> (4 * shift)) as usize & 15]);
    }
    for (i, shift) in (0..16).rev().enumerate() {
        if i == 0 || i == 4 {
            out.push(b'-');
        }
        out.push(HEX[(low >> (4 * shift)) as usize & 15]);
    }
}

fn push_node(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(b"aks-nodepool1-26474021-vmss");
    let base36 = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut name = [b'0'; 6];
    let mut rest = number;
    for place in name.iter_mut().rev() {
        *place = base36[(rest % 36) as usize];
        rest /= 36;
    }
    out.extend_from_slice(&name);
}

/// RFC 3339, UTC. The date is worked out by days since 0000-03-01, as Howard Hinnant describes it.
fn push_time(out: &mut Vec<u8>, micros: i64, fraction: bool) {
    let (days, rest) = (micros.div_euclid(DAY), micros.rem_euclid(DAY) as u64);
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    let seconds = rest / 1_000_000;
    let mut digits = |n: u64, width: u32, end: u8| {
        for place in (0..width).rev() {
            out.push(b'0' + (n / 10u64.pow(place) % 10) as u8);
        }
        out.push(end);
    };
    digits(year as u64, 4, b'-');
    digits(month as u64, 2, b'-');
    digits(day as u64, 2, b'T');
    digits(seconds / 3600, 2, b':');
    digits(seconds / 60 % 60, 2, b':');
    if fraction {
        digits(seconds % 60, 2, b'.');
        digits(rest % 1_000_000, 6, b'Z');
    } else {
        digits(seconds % 60, 2, b'Z');
    }
}
