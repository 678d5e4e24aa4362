//! The files of `sql/`, built into the binary. A file that is not listed here fails a test, so a new
//! question or view is: the file, and its name in this list.

/// One SQL file.
#[derive(Debug, Clone, Copy)]
pub(super) struct SqlFile {
    /// Path in the repository.
    pub(super) path: &'static str,
    /// File name without `.sql`.
    pub(super) name: &'static str,
    /// Content.
    pub(super) text: &'static str,
}

macro_rules! sql_files {
    ($folder:literal: $($name:literal),* $(,)?) => {
        &[$(SqlFile {
            path: concat!("sql/", $folder, "/", $name, ".sql"),
            name: $name,
            text: include_str!(concat!("../../sql/", $folder, "/", $name, ".sql")),
        }),*]
    };
}

/// The views, in the order in which they build on each other.
pub(super) static VIEWS: &[SqlFile] = sql_files!("views":
    "10_events",
    "20_mutations",
    "21_node_conditions",
    "22_node_states",
    "30_pod_lifecycle",
    "31_pod_removals",
    "40_kubernetes_events",
    "41_event_reports",
    "50_bi_audit_events",
    "51_bi_mutations",
    "52_bi_creates",
    "53_bi_denied",
    "54_bi_node_ready_reports",
    "55_bi_node_ready_intervals",
    "56_bi_pod_scheduling_steps",
    "57_bi_pod_deletions",
    "58_bi_kubernetes_events",
    "59_bi_component_messages",
    "60_bi_component_volume",
);

/// The named questions.
pub(super) static QUESTIONS: &[SqlFile] = sql_files!("questions":
    "authenticator",
    "autoscaler",
    "changes",
    "component-messages",
    "component-volume",
    "container-args",
    "coverage",
    "creates-by-user",
    "denied",
    "event",
    "explain-restart",
    "kubernetes-events",
    "node-conditions",
    "node-lifecycle",
    "node-ready-history",
    "object-history",
    "pod-deletions",
    "pod-scheduling-history",
    "quarantine",
    "search",
    "secret-access",
    "timeline",
    "trace",
    "verify",
    "volume",
);

#[cfg(test)]
mod tests {
    use super::*;

    fn on_disk(folder: &str) -> Vec<String> {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("sql")
            .join(folder);
        let mut names: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn every_file_of_sql_is_in_the_binary() {
        for (folder, files) in [("views", VIEWS), ("questions", QUESTIONS)] {
            let listed: Vec<String> = files.iter().map(|f| format!("{}.sql", f.name)).collect();
            assert_eq!(
                listed,
                on_disk(folder),
                "sql/{folder} and src/query/embedded.rs"
            );
        }
    }
}
