//! The nightly job as its user runs it: the real binary, a `kolumn.toml`, sources on disk and in a
//! bucket, figures for monitoring, and what is said when something is wrong.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::Value;

use crate::{archive::check_invariants, emulators::Emulator};

struct Job {
    folder: tempfile::TempDir,
    variables: Vec<(String, String)>,
}

struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Job {
    fn new(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("kolumn.toml"), config).unwrap();
        Self {
            folder,
            variables: Vec::new(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Copies samples of tests/data to a folder beside kolumn.toml.
    fn copy(&self, sample: &str, to: &str) {
        let from = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/data")
            .join(sample);
        copy_tree(&from, &self.path(to));
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        let done: Output = Command::new(env!("CARGO_BIN_EXE_kolumn"))
            .args(arguments)
            .current_dir(self.folder.path())
            .env_remove("KOLUMN_ARCHIVE")
            .env("XDG_STATE_HOME", self.folder.path())
            .envs(self.variables.iter().map(|(n, v)| (n.as_str(), v.as_str())))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        Ran {
            code: done.status.code().unwrap_or(-1),
            out: String::from_utf8(done.stdout).unwrap(),
            err: String::from_utf8(done.stderr).unwrap(),
        }
    }

    fn report(&self, arguments: &[&str]) -> Value {
        let ran = self.run(arguments);
        assert!(ran.code <= 1, "{}: {}", ran.code, ran.err);
        serde_json::from_str(&ran.out).unwrap_or_else(|e| panic!("{e}: {}", ran.out))
    }
}

fn copy_tree(from: &Path, to: &Path) {
    if from.is_file() {
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(from, to).unwrap();
        return;
    }
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        copy_tree(&entry.path(), &to.join(entry.file_name()));
    }
}

const CONFIG: &str = r#"
archive = "archive"
timezone = "Europe/Berlin"
[ingest]
metrics_file = "kolumn.prom"
[[source]]
name = "audit"
url = "audit"
cluster = "onprem"
drop = ["request-received"]
[[source]]
name = "nodes"
url = "nodes"
cluster = "onprem"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn one_command_brings_in_every_source_of_the_configuration() {
    let job = Job::new(CONFIG);
    job.copy(
        "audit-json/kube-apiserver-audit.log",
        "audit/kube-apiserver-audit.log",
    );
    job.copy("places/var-log", "nodes");
    let report = job.report(&["ingest", "--report", "json"]);
    assert!(report["filtered"].as_u64().unwrap() > 0, "{report}");
    assert!(
        report["rows_by_table"]["component"].as_u64().unwrap() > 200,
        "{report}"
    );
    assert!(report["continuations"].as_u64().unwrap() > 100, "{report}");
    let sum = |name: &str| report[name].as_u64().unwrap();
    assert_eq!(
        sum("records"),
        sum("rows") + sum("duplicates") + sum("rejected")
    );
    let metrics = fs::read_to_string(job.path("kolumn.prom")).unwrap();
    let rows = format!(
        "kolumn_ingest_last_run_records{{fate=\"row\"}} {}\n",
        sum("rows")
    );
    assert!(metrics.contains(&rows), "{metrics}");
    check_invariants(&job.path("archive")).await;

    let again = job.report(&["ingest", "--report", "json", "--source", "nodes"]);
    assert_eq!(again["records"], 0);
    let asked = job.run(&[
        "query",
        "SELECT count(*) AS n FROM audit WHERE stage = 'RequestReceived'",
        "-o",
        "csv",
    ]);
    assert_eq!(asked.out, "n\n0\n", "{}", asked.err);
    let drawn = job.run(&[
        "ask",
        "component-volume",
        "--since",
        "2026-11-20",
        "--per",
        "hour",
    ]);
    assert!(drawn.out.contains("kubelet"), "{}{}", drawn.out, drawn.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_tells_what_each_object_is_and_changes_nothing() {
    let job = Job::new(CONFIG);
    job.copy(
        "audit-json/kube-apiserver-audit.log",
        "audit/kube-apiserver-audit.log",
    );
    job.copy("places", "nodes");
    fs::write(job.path("nodes/empty.log"), "").unwrap();
    fs::write(job.path("nodes/readme.md"), "# nothing of ours\n").unwrap();
    let dry = job.run(&["ingest", "--dry-run", "--report", "json"]);
    assert_eq!(dry.code, 0, "{}", dry.err);
    assert!(!job.path("archive").exists(), "nothing is written");
    let found = |name: &str| -> Value {
        let line = dry.out.lines().find(|l| l.contains(name));
        serde_json::from_str(line.unwrap_or_else(|| panic!("{name}: {}", dry.out))).unwrap()
    };
    assert_eq!(found("kube-apiserver-audit.log")["content"], "audit-json");
    assert_eq!(
        found("var-log/kube-scheduler.log")["content"],
        "component log"
    );
    assert_eq!(
        found("insights-logs-kube-scheduler")["content"],
        "lines (aks-diagnostic)"
    );
    assert_eq!(found("concatenated-gzip-members")["compression"], "gzip");
    assert_eq!(found("empty.log")["fate"], "skip: empty");
    assert_eq!(found("readme.md")["content"], "no log: unknown-text");
    job.report(&["ingest", "--report", "json"]);
    let after = job.run(&["ingest", "--dry-run"]);
    assert!(after.out.contains("skip: nothing new"), "{}", after.out);
    assert!(after.out.contains("0 of "), "{}", after.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_is_the_source_and_the_archive_of_the_job() {
    let s3 = Emulator::s3().await;
    s3.make_bucket("logs").await;
    let config =
        "archive = \"s3://logs/kolumn\"\n[[source]]\nname = \"eks\"\nurl = \"s3://logs/eks\"\n";
    let mut job = Job::new(config);
    job.variables = s3.settings().variables.into_iter().collect();
    let sample = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/audit-json/kube-apiserver-audit.log");
    let audit = fs::read_to_string(sample).unwrap();
    let half = audit[..audit.len() / 2].rfind('\n').unwrap() + 1;
    s3.put("s3://logs/eks/2026/11/20/11/one", &audit[..half])
        .await;
    let checked = job.run(&["config", "check"]);
    assert_eq!(checked.code, 0, "{}{}", checked.out, checked.err);
    assert!(checked.out.contains("objects are there"), "{}", checked.out);
    assert!(checked.out.contains("no archive yet"), "{}", checked.out);
    let first = job.report(&["ingest", "--report", "json"]);
    assert!(first["rows"].as_u64().unwrap() > 0, "{first}");
    let again = job.run(&["ingest", "-v", "--report", "json"]);
    assert!(again.err.contains("1 known"), "{}", again.err);
    s3.put("s3://logs/eks/2026/11/20/12/two", &audit[half..])
        .await;
    let second = job.report(&["ingest", "--report", "json"]);
    assert_eq!(second["files"], 1, "{second}");
    let counted = job.run(&["query", "SELECT count(*) AS n FROM audit", "-o", "csv"]);
    let total = first["rows"].as_u64().unwrap() + second["rows"].as_u64().unwrap();
    assert_eq!(counted.out, format!("n\n{total}\n"), "{}", counted.err);
}

#[test]
fn wrong_configurations_say_who_must_act() {
    let cases = [
        ("archive = \"a\"\n", vec!["ingest"], 2, "there is no source"),
        (
            "archive = \"a\"\n[[source]]\nname = \"x\"\n",
            vec!["ingest"],
            2,
            "it has no url",
        ),
        (
            "archive = \"a\"\n[[source]]\nurl = \"x\"\nformat = \"pdf\"\n",
            vec!["ingest"],
            2,
            "'pdf' is no format",
        ),
        (
            "archive = \"a\"\n[[source]]\nname = \"n\"\nurl = \"x\"\n",
            vec!["ingest", "--source", "m"],
            2,
            "its sources are: n",
        ),
        (
            "archive = \"a\"\n[[source]]\nurl = \"x\"\ndrop = [\"secrets\"]\n",
            vec!["ingest"],
            2,
            "'secrets' cannot be dropped",
        ),
        (
            "archive = \"a\"\n[[source]]\nurl = \"nowhere\"\n",
            vec!["ingest"],
            2,
            "nowhere",
        ),
        ("sources = 1\n", vec!["config", "check"], 2, "sources"),
    ];
    for (config, arguments, code, said) in cases {
        let job = Job::new(config);
        let ran = job.run(&arguments);
        assert_eq!(ran.code, code, "{config}: {}", ran.err);
        assert!(ran.err.contains(said), "{config}: {}", ran.err);
    }
    let job = Job::new("archive = \"a\"\n[[source]]\nurl = \"nowhere\"\n");
    let checked = job.run(&["config", "check"]);
    assert_eq!(checked.code, 1, "{}", checked.err);
    assert!(checked.out.contains("CANNOT BE READ"), "{}", checked.out);
}

#[test]
fn a_store_that_is_down_ends_in_run_it_again() {
    let mut job = Job::new(
        "archive = \"archive\"\n[[source]]\nurl = \"s3://logs/eks\"\noptions = { retries = 1 }\n",
    );
    let endpoint = "http://127.0.0.1:9".to_owned();
    for (name, value) in [
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_ACCESS_KEY_ID", "test".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
    ] {
        job.variables.push((name.to_owned(), value));
    }
    let ran = job.run(&["ingest"]);
    assert_eq!(ran.code, 3, "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("s3://logs/eks"), "{}", ran.err);
}

#[test]
fn an_export_gives_the_events_again_in_the_order_of_their_times() {
    let job = Job::new("archive = \"archive\"\n");
    job.copy("audit-json/kube-apiserver-audit.log", "audit.log");
    job.report(&["ingest", "--no-redaction", "--report", "json", "audit.log"]);
    let parse = |text: &str| -> Vec<Value> {
        text.lines()
            .map(|l| serde_json::from_str(l).unwrap())
            .collect()
    };
    let mut before = parse(&fs::read_to_string(job.path("audit.log")).unwrap());
    let exported = job.run(&["export"]);
    assert_eq!(exported.code, 0, "{}", exported.err);
    let after = parse(&exported.out);
    let time = |e: &Value| e["stageTimestamp"].as_str().unwrap().to_owned();
    assert!(after.is_sorted_by_key(time));
    before.sort_by_key(time);
    assert_eq!(before, after);
    let stored = parse(&job.run(&["export", "--order", "stored"]).out);
    assert_eq!(stored.len(), after.len());
    let since = time(&after[after.len() / 2]);
    let rest = parse(&job.run(&["export", "--since", &since]).out);
    assert_eq!(
        rest,
        after
            .iter()
            .filter(|e| time(e) >= since)
            .cloned()
            .collect::<Vec<_>>()
    );
}
