//! `kolumn config check`: what `kolumn.toml`, environment and defaults come to, and whether the places
//! they name can be reached. Changes nothing.

use std::{fmt::Write as _, process::ExitCode};

use clap::{Args, Subcommand};

use super::{
    plan::Plan,
    sources::{self, RedactionArgs, SourceArgs, SourcePlan},
};
use crate::{
    error::{Error, ErrorKind, Result},
    output::terminal,
    pipeline::Redaction,
    source::list::Located,
    table::{Archive, display_url},
};

/// Arguments of `kolumn config`.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// What is done with the configuration
    #[command(subcommand)]
    pub command: ConfigCommand,
}

/// What is done with the configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Explain the configuration and try to reach the places it names
    Check {
        /// Only explain, reach for nothing
        #[arg(long)]
        offline: bool,
    },
}

/// Runs the command: 0 if every place can be reached, 1 if not.
///
/// # Errors
/// `Usage` or `Missing`, naming what is wrong in the configuration.
pub async fn run(args: ConfigArgs, plan: &Plan) -> Result<ExitCode> {
    let ConfigCommand::Check { offline } = args.command;
    let mut text = String::new();
    let mut all_reached = true;
    let archive = match offline {
        true => "not tried".to_owned(),
        false => match Archive::open_at(&plan.archive, &plan.archive_stores()).await {
            Ok(_) => "an archive is there".to_owned(),
            Err(e) if e.kind() == ErrorKind::Missing => {
                "no archive yet: the first ingest makes it".to_owned()
            }
            Err(e) => {
                all_reached = false;
                format!("CANNOT BE USED: {}", e.to_chain())
            }
        },
    };
    let explained = |text: &mut String| -> std::fmt::Result {
        writeln!(text, "archive     {}", display_url(&plan.archive))?;
        writeln!(text, "            {archive}")?;
        writeln!(text, "timezone    {}", plan.zone)?;
        writeln!(
            text,
            "metrics     {}",
            match &plan.config.ingest.metrics_file {
                Some(path) => plan.config.path(path).display().to_string(),
                None => "none (ingest.metrics_file)".to_owned(),
            }
        )
    };
    explained(&mut text).map_err(in_memory)?;
    if plan.config.source.is_empty() {
        text.push_str("sources     none: name them on the command line, or add [[source]]\n");
    } else {
        let none = (&SourceArgs::default(), &RedactionArgs::default());
        for source in sources::resolve(&[], none.0, none.1, plan)? {
            let reached = match offline {
                true => Ok("not tried".to_owned()),
                false => reach(&source, plan).await,
            };
            all_reached &= reached.is_ok();
            explain(&mut text, &source, reached).map_err(in_memory)?;
        }
    }
    terminal::print_bytes(text.as_bytes())?;
    Ok(ExitCode::from(u8::from(!all_reached)))
}

fn in_memory(e: std::fmt::Error) -> Error {
    Error::new(ErrorKind::Bug, "cannot write text").because(e)
}

async fn reach(source: &SourcePlan, plan: &Plan) -> Result<String> {
    let settings = plan.stores.with_options(source.options.clone());
    Located::of(&source.location, &settings)?.probe().await
}

fn explain(text: &mut String, source: &SourcePlan, reached: Result<String>) -> std::fmt::Result {
    let settings = &source.settings;
    writeln!(text, "\nsource      {}", source.name)?;
    writeln!(text, "  place     {}", source.location)?;
    match reached {
        Ok(found) => writeln!(text, "            {found}")?,
        Err(e) => writeln!(text, "            CANNOT BE READ: {}", e.to_chain())?,
    }
    let cluster = match &settings.cluster {
        Some(cluster) => cluster.to_string(),
        None => "as the records tell, else 'default'".to_owned(),
    };
    writeln!(text, "  cluster   {cluster}")?;
    let format = clap::ValueEnum::to_possible_value(&settings.format);
    let format = format.map_or_else(String::new, |v| v.get_name().to_owned());
    writeln!(text, "  format    {format}")?;
    if let Some(component) = &settings.component {
        writeln!(text, "  component {component}")?;
    }
    writeln!(
        text,
        "  log zone  {}, where a log tells none",
        settings.zone
    )?;
    let secrets = match settings.redaction {
        Redaction::On(_) => "values of Secrets and tokens are replaced",
        Redaction::Off => "STORED AS RECEIVED",
    };
    writeln!(text, "  secrets   {secrets}")?;
    let filters = settings.filters;
    let dropped = [
        (filters.request_received, "events of stage RequestReceived"),
        (filters.health_probes, "health probes"),
    ];
    let dropped: Vec<_> = dropped.iter().filter(|d| d.0).map(|d| d.1).collect();
    let dropped = if dropped.is_empty() {
        "nothing".to_owned()
    } else {
        format!("{} (counted)", dropped.join(", "))
    };
    writeln!(text, "  dropped   {dropped}")?;
    writeln!(
        text,
        "  look-back {} h before the last complete run (object stores)",
        source.look_back.num_hours()
    )
}
