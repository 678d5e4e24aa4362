//! `kolumn demo`: ingests a sample that is part of the program into a new archive and answers the
//! four scenarios of a support engineer's walk through AKS audit logs. What it does is what a user
//! would do by hand, and it says so.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use clap::Args;
use url::Url;

use super::{
    ingest_report,
    plan::{LimitArgs, Plan},
};
use crate::{
    clock,
    error::{Context as _, Error, ErrorKind, Result},
    output::{self, Format, Output, terminal},
    pipeline::{self, Options, Redaction, Source, SourceSettings, Unobserved},
    query::{
        Session,
        question::{self, Question},
    },
    source::list::{ListOptions, list},
    table::Archive,
};

/// The sample: a storage account's folders, cut from a recording (tests/data/README.md).
const SAMPLE: [(&str, &[u8]); 2] = [
    (
        "insights-logs-kube-audit",
        include_bytes!(
            "../../tests/data/demo/insights-logs-kube-audit/resourceId=/SUBSCRIPTIONS/0B1F6471-1BF0-4DDA-AEC3-CB9272F09590/RESOURCEGROUPS/RG-LOGS/PROVIDERS/MICROSOFT.CONTAINERSERVICE/MANAGEDCLUSTERS/AKS-PROD/y=2026/m=11/d=20/h=11/m=00/PT1H.json"
        ),
    ),
    (
        "insights-logs-kube-audit-admin",
        include_bytes!(
            "../../tests/data/demo/insights-logs-kube-audit-admin/resourceId=/SUBSCRIPTIONS/0B1F6471-1BF0-4DDA-AEC3-CB9272F09590/RESOURCEGROUPS/RG-LOGS/PROVIDERS/MICROSOFT.CONTAINERSERVICE/MANAGEDCLUSTERS/AKS-PROD/y=2026/m=11/d=20/h=11/m=00/PT1H.json"
        ),
    ),
];

const SAMPLE_FOLDER: &str = "resourceId=/SUBSCRIPTIONS/0B1F6471-1BF0-4DDA-AEC3-CB9272F09590/RESOURCEGROUPS/RG-LOGS/PROVIDERS/MICROSOFT.CONTAINERSERVICE/MANAGEDCLUSTERS/AKS-PROD/y=2026/m=11/d=20/h=11/m=00";

/// A scenario: what somebody wants to know, the question that answers it, and its parameters.
struct Scenario {
    story: &'static str,
    asks: &'static [(&'static str, &'static [(&'static str, &'static str)])],
}

const SCENARIOS: [Scenario; 4] = [
    Scenario {
        story: "A node was not Ready for a while. When, for how long, and who said so?",
        asks: &[(
            "node-ready-history",
            &[("node", "aks-nodepool1-26474021-vmss000009")],
        )],
    },
    Scenario {
        story: "What did alice create, and with which tool?",
        asks: &[(
            "creates-by-user",
            &[("user", "alice@example.com"), ("namespace", "azure-vote")],
        )],
    },
    Scenario {
        story: "A pod was pending. Why, and what happened then?",
        asks: &[(
            "pod-scheduling-history",
            &[("pod", "hungry"), ("namespace", "dev")],
        )],
    },
    Scenario {
        story: "Pods disappeared from a node. Who deleted them, and who cordoned the node?",
        asks: &[
            (
                "pod-deletions",
                &[("node", "aks-nodepool1-26474021-vmss000002")],
            ),
            (
                "node-lifecycle",
                &[("node", "aks-nodepool1-26474021-vmss000002")],
            ),
        ],
    },
];

/// Arguments of `kolumn demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Keep sample and archive in this folder instead of removing them
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// Those of ingesting and asking; none are expected.
pub async fn run(args: DemoArgs, plan: &Plan) -> Result<ExitCode> {
    let temporary = tempfile::tempdir().context("cannot make a temporary folder")?;
    let folder = match &args.keep {
        Some(folder) => std::path::absolute(folder).context("cannot find the folder to keep")?,
        None => temporary.path().to_owned(),
    };
    for (category, bytes) in SAMPLE {
        let place = folder.join("sample").join(category).join(SAMPLE_FOLDER);
        let act = || format!("cannot write the sample to {}", place.display());
        std::fs::create_dir_all(&place).context(act())?;
        std::fs::write(place.join("PT1H.json"), bytes).context(act())?;
    }
    let archive = ingest_sample(&folder).await?;
    let session = Session::open(&archive, &plan.session(&LimitArgs::default())?).await?;
    let questions = question::load(None)?;
    for (i, scenario) in SCENARIOS.iter().enumerate() {
        terminal::print(&format!("\n{}. {}", i + 1, scenario.story));
        for (name, values) in scenario.asks {
            let question = question::find(&questions, name)?;
            answer(question, values, &session, plan).await?;
        }
    }
    if let Some(folder) = &args.keep {
        terminal::print(&format!(
            "\nThe archive stays: kolumn shell --archive {}",
            folder.join("archive").display()
        ));
    }
    Ok(ExitCode::SUCCESS)
}

async fn ingest_sample(folder: &std::path::Path) -> Result<Archive> {
    let place = folder.join("archive");
    let url = Url::from_directory_path(&place)
        .map_err(|()| Error::new(ErrorKind::Usage, format!("cannot use {}", place.display())))?;
    let started = clock::now();
    terminal::print(
        "Two containers of an AKS storage account, kube-audit and kube-audit-admin, which holds",
    );
    terminal::print("the same events again without get, list and watch:\n");
    terminal::print("$ kolumn ingest sample\n");
    let archive = Archive::open_or_create(&url).await?;
    let sample = folder.join("sample").display().to_string();
    // A key of its own: digests of throw-away values are worth nothing elsewhere.
    let settings = SourceSettings {
        redaction: Redaction::On([0; 32]),
        ..SourceSettings::default()
    };
    let listing = list(&sample, &ListOptions::default()).await?;
    let sources = vec![Source { listing, settings }];
    let observer = Arc::new(Unobserved);
    let report = pipeline::ingest(archive.clone(), sources, Options::default(), observer).await?;
    ingest_report::print_text(&report, (clock::now() - started).as_seconds_f64(), &url)?;
    Ok(archive)
}

async fn answer(
    question: &Question,
    values: &[(&str, &str)],
    session: &Session,
    plan: &Plan,
) -> Result<()> {
    let mut command = format!("$ kolumn ask {}", question.name);
    let mut given = question::Values::new();
    for (name, text) in values {
        command.push_str(&format!(" --{name} {text}"));
        let param = question
            .params
            .iter()
            .find(|p| p.name == *name)
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::Bug,
                    format!("{} has no parameter {name}", question.name),
                )
            })?;
        given.insert(
            (*name).to_owned(),
            param.read(&[(*text).to_owned()], &plan.times())?,
        );
    }
    let values = question.complete(given, &plan.times())?;
    // The query as it stands in its file; the values are bound to its parameters.
    let sql = question.sql.lines().filter(|line| !line.starts_with("--"));
    terminal::print(&format!("\n{command}\n-- {}", question.title));
    sql.for_each(terminal::print);
    terminal::print("");
    let answer = question.ask(session, &values).await?;
    let output = Output {
        format: Format::Table,
        file: None,
        zone: plan.zone,
        width: terminal::width(),
    };
    let rows = output::write(answer.schema, answer.batches, &output).await?;
    for note in question.notes(session, &values, rows).await? {
        terminal::print(&format!("note: {note}"));
    }
    Ok(())
}
