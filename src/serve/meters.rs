//! What is counted while the server runs, in the text format of Prometheus.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the histogram of statement times, in milliseconds.
const BOUNDS_MS: [u64; 10] = [5, 10, 25, 50, 100, 250, 1_000, 5_000, 30_000, 300_000];

/// The protocols.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Postgres,
    Flight,
}

impl Protocol {
    const ALL: [Self; 2] = [Self::Postgres, Self::Flight];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Flight => "flight",
        }
    }
}

/// The counters of one protocol.
#[derive(Debug, Default)]
struct Counts {
    connections: AtomicI64,
    connections_total: AtomicU64,
    connections_refused: AtomicU64,
    logins: AtomicU64,
    logins_refused: AtomicU64,
    statements_running: AtomicI64,
    statements_ok: AtomicU64,
    statements_failed: AtomicU64,
    rows: AtomicU64,
    took_ms: AtomicU64,
    within: [AtomicU64; BOUNDS_MS.len()],
}

/// Everything that is counted.
#[derive(Debug, Default)]
pub(super) struct Meters {
    counts: [Counts; 2],
}

fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

impl Meters {
    fn of(&self, protocol: Protocol) -> &Counts {
        &self.counts[protocol as usize]
    }

    pub(super) fn connected(&self, protocol: Protocol) {
        let counts = self.of(protocol);
        counts.connections.fetch_add(1, Ordering::Relaxed);
        add(&counts.connections_total, 1);
    }

    pub(super) fn disconnected(&self, protocol: Protocol) {
        self.of(protocol)
            .connections
            .fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn turned_away(&self, protocol: Protocol) {
        add(&self.of(protocol).connections_refused, 1);
    }

    pub(super) fn logged_in(&self, protocol: Protocol, accepted: bool) {
        let counts = self.of(protocol);
        add(
            match accepted {
                true => &counts.logins,
                false => &counts.logins_refused,
            },
            1,
        );
    }

    pub(super) fn started(&self, protocol: Protocol) {
        self.of(protocol)
            .statements_running
            .fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn ended(&self, protocol: Protocol, took: Duration, rows: u64, ok: bool) {
        let counts = self.of(protocol);
        counts.statements_running.fetch_sub(1, Ordering::Relaxed);
        add(
            match ok {
                true => &counts.statements_ok,
                false => &counts.statements_failed,
            },
            1,
        );
        add(&counts.rows, rows);
        let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        add(&counts.took_ms, ms);
        for (bound, count) in BOUNDS_MS.iter().zip(&counts.within) {
            if ms <= *bound {
                add(count, 1);
            }
        }
    }

    /// The text for Prometheus.
    ///
    /// # Errors
    /// None: text in memory.
    pub(super) fn text(&self, memory_held: usize) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        self.write(&mut text, memory_held)?;
        Ok(text)
    }

    fn write(&self, text: &mut String, memory_held: usize) -> std::fmt::Result {
        type Read = fn(&Counts) -> i128;
        fn total(counter: &AtomicU64) -> i128 {
            i128::from(counter.load(Ordering::Relaxed))
        }
        fn level(gauge: &AtomicI64) -> i128 {
            i128::from(gauge.load(Ordering::Relaxed))
        }
        let families: [(&str, &str, &str, &[(&str, Read)]); 6] = [
            (
                "connections",
                "gauge",
                "Open connections",
                &[("", |c| level(&c.connections))],
            ),
            (
                "connections_total",
                "counter",
                "Connections by whether there was room for them",
                &[
                    ("accepted", |c| total(&c.connections_total)),
                    ("refused", |c| total(&c.connections_refused)),
                ],
            ),
            (
                "logins_total",
                "counter",
                "Logins by whether they were let in",
                &[
                    ("accepted", |c| total(&c.logins)),
                    ("refused", |c| total(&c.logins_refused)),
                ],
            ),
            (
                "statements_running",
                "gauge",
                "Statements that are being answered",
                &[("", |c| level(&c.statements_running))],
            ),
            (
                "statements_total",
                "counter",
                "Statements by outcome",
                &[
                    ("ok", |c| total(&c.statements_ok)),
                    ("failed", |c| total(&c.statements_failed)),
                ],
            ),
            (
                "rows_total",
                "counter",
                "Rows of answers",
                &[("", |c| total(&c.rows))],
            ),
        ];
        for (name, kind, help, values) in families {
            writeln!(text, "# HELP kolumn_serve_{name} {help}")?;
            writeln!(text, "# TYPE kolumn_serve_{name} {kind}")?;
            for protocol in Protocol::ALL {
                for (outcome, read) in values {
                    write!(
                        text,
                        "kolumn_serve_{name}{{protocol=\"{}\"",
                        protocol.name()
                    )?;
                    if !outcome.is_empty() {
                        write!(text, ",outcome=\"{outcome}\"")?;
                    }
                    writeln!(text, "}} {}", read(self.of(protocol)))?;
                }
            }
        }
        let name = "kolumn_serve_statement_seconds";
        writeln!(text, "# HELP {name} How long statements took")?;
        writeln!(text, "# TYPE {name} histogram")?;
        for protocol in Protocol::ALL {
            let counts = self.of(protocol);
            let label = format!("protocol=\"{}\"", protocol.name());
            for (bound, count) in BOUNDS_MS.iter().zip(&counts.within) {
                let bound = *bound as f64 / 1000.0;
                writeln!(
                    text,
                    "{name}_bucket{{{label},le=\"{bound}\"}} {}",
                    total(count)
                )?;
            }
            let all = total(&counts.statements_ok) + total(&counts.statements_failed);
            let seconds = counts.took_ms.load(Ordering::Relaxed) as f64 / 1000.0;
            writeln!(text, "{name}_bucket{{{label},le=\"+Inf\"}} {all}")?;
            writeln!(text, "{name}_sum{{{label}}} {seconds}")?;
            writeln!(text, "{name}_count{{{label}}} {all}")?;
        }
        let name = "kolumn_serve_memory_bytes";
        writeln!(
            text,
            "# HELP {name} Memory that the state of statements holds"
        )?;
        writeln!(text, "# TYPE {name} gauge\n{name} {memory_held}")
    }
}
