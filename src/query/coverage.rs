//! What an answer cannot know: bodies that the audit policy did not log or that were skipped, and
//! what a window holds at all. Asked only when a question declares its needs or found nothing, so
//! that "nothing found" is never read as "nothing happened" where the archive was blind.

use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::sql::parser::Statement;

use super::Session;
use super::bind;
use super::dialect;
use super::question::{Body, Logs, Needs, ParamKind, Value, Values};
use crate::error::{Context, Error, ErrorKind, Result};

const WINDOW: &str = "($since IS NULL OR stage_timestamp >= $since) \
     AND ($until IS NULL OR stage_timestamp < $until) \
     AND ($cluster IS NULL OR cluster = $cluster)";

/// The first and the last of a time column, in the session's zone.
fn bounds(session: &Session, column: &str) -> String {
    let zone = session.zone.name();
    let zoned = |bound: &str| {
        format!("arrow_cast({bound}({column}), 'Timestamp(Microsecond, Some(\"{zone}\"))')")
    };
    format!("{}, {}", zoned("min"), zoned("max"))
}

/// One text a cell; null is the empty text.
async fn rows(session: &Session, sql: &str, values: &Values) -> Result<Vec<Vec<String>>> {
    let Statement::Statement(mut query) = dialect::parse(sql)? else {
        return Err(Error::new(ErrorKind::Bug, "the coverage query is none"));
    };
    bind::bind(&mut query, values)?;
    let answer = session.answer(Statement::Statement(query)).await?;
    let mut rows = Vec::new();
    for batch in answer.collect().await? {
        let options = FormatOptions::default();
        let columns = batch
            .columns()
            .iter()
            .map(|c| ArrayFormatter::try_new(c.as_ref(), &options))
            .collect::<Result<Vec<_>, _>>()
            .context("cannot show the coverage")?;
        for row in 0..batch.num_rows() {
            rows.push(columns.iter().map(|c| c.value(row).to_string()).collect());
        }
    }
    Ok(rows)
}

/// The window of a question as values; what it does not use is null.
fn window_values(values: &Values) -> Values {
    let mut window = Values::new();
    for (name, kind) in [
        ("since", ParamKind::Time),
        ("until", ParamKind::Time),
        ("cluster", ParamKind::Text),
    ] {
        let value = values.get(name).cloned().unwrap_or(Value::Null(kind));
        window.insert(name.to_owned(), value);
    }
    window
}

fn optional_text(value: Option<&str>) -> Value {
    value.map_or(Value::Null(ParamKind::Text), |v| Value::Text(v.to_owned()))
}

fn optional_list(values: &[String]) -> Value {
    match values {
        [] => Value::Null(ParamKind::TextList),
        values => Value::TextList(values.to_vec()),
    }
}

/// One note for each cluster and level at which needed bodies were not logged, and for each cluster
/// where they were skipped or truncated.
pub(super) async fn missing_bodies(
    session: &Session,
    question: &str,
    needs: &Needs,
    values: &Values,
) -> Result<Vec<String>> {
    let (state, enough, levels) = match needs.body {
        Body::Request => ("request_object_state", "Request", "('Metadata')"),
        Body::Response => (
            "response_object_state",
            "RequestResponse",
            "('Metadata', 'Request')",
        ),
    };
    let subresource = match needs.subresource.as_deref() {
        Some("-") => "subresource IS NULL",
        Some(_) => "subresource = $needs_subresource",
        None => "true",
    };
    let sql = format!(
        "SELECT cluster, CASE WHEN level IN {levels} THEN level ELSE '' END AS level, \
         CASE WHEN level IN {levels} THEN '' ELSE {state} END AS state, \
         count(*), {} \
         FROM events WHERE stage = 'ResponseComplete' AND {WINDOW} \
         AND (level IN {levels} OR {state} IN ('skipped', 'truncated')) \
         AND ($needs_resources IS NULL OR array_has($needs_resources, resource)) AND {subresource} \
         AND ($needs_verbs IS NULL OR array_has($needs_verbs, verb)) \
         GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
        bounds(session, "stage_timestamp")
    );
    let mut bound = window_values(values);
    bound.insert(
        "needs_resources".to_owned(),
        optional_list(&needs.resources),
    );
    bound.insert(
        "needs_subresource".to_owned(),
        optional_text(needs.subresource.as_deref()),
    );
    bound.insert("needs_verbs".to_owned(), optional_list(&needs.verbs));
    let resources = needs.resources.join(", ");
    let what = match (resources.as_str(), needs.subresource.as_deref()) {
        ("", _) => "everything asked for".to_owned(),
        (resources, Some(sub)) if sub != "-" => format!("{resources}/{sub}"),
        (resources, _) => resources.to_owned(),
    };
    let body = match needs.body {
        Body::Request => "request",
        Body::Response => "response",
    };
    let notes = rows(session, &sql, &bound).await?.into_iter().map(|row| {
        let [cluster, level, state, count, from, to] = row.as_slice() else {
            return String::new();
        };
        match state.as_str() {
            "" => format!(
                "{what} is logged at level {level} in cluster {cluster} from {from} to {to} \
                 ({count} events): {question} needs {enough}"
            ),
            "skipped" => format!(
                "{count} {body} bodies of {what} were skipped (skipped-too-big-size-object) in \
                 cluster {cluster} from {from} to {to}"
            ),
            _ => format!(
                "{count} {body} bodies of {what} were truncated (audit.k8s.io/truncated) in \
                 cluster {cluster} from {from} to {to}"
            ),
        }
    });
    Ok(notes.filter(|note| !note.is_empty()).collect())
}

/// The component that an EKS log type is written by.
fn program(log_type: &str) -> &str {
    match log_type {
        "api" => "kube-apiserver",
        "controllerManager" => "kube-controller-manager",
        "scheduler" => "kube-scheduler",
        "cloudControllerManager" => "cloud-controller-manager",
        other => other,
    }
}

/// One note for each component without any entry in the window, which names those that have some.
pub(super) async fn missing_logs(
    session: &Session,
    logs: &Logs,
    values: &Values,
) -> Result<Vec<String>> {
    let wanted = match logs {
        Logs::Of(names) => names.clone(),
        Logs::Named(param) => match values.get(param) {
            Some(Value::Text(name)) => vec![program(name).to_owned()],
            _ => Vec::new(),
        },
    };
    // `audit` is no component: its events are in a table of their own.
    if wanted.is_empty() || wanted == ["audit"] {
        return Ok(Vec::new());
    }
    let of = |filter: &str| {
        format!(
            "SELECT component FROM component WHERE component IS NOT NULL {filter} \
             GROUP BY component ORDER BY component"
        )
    };
    let window = format!("AND {}", WINDOW.replace("stage_timestamp", "time"));
    let bound = window_values(values);
    let held: Vec<String> = rows(session, &of(&window), &bound).await?.concat();
    let missing: Vec<&String> = wanted.iter().filter(|name| !held.contains(name)).collect();
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    let holds = match held.as_slice() {
        [] => match rows(session, &of(""), &bound).await?.concat().as_slice() {
            [] => "the archive holds no logs of components".to_owned(),
            ever => format!(
                "it has none of any component here; outside of it the archive holds {}",
                ever.join(", ")
            ),
        },
        held => format!("here the archive holds {}", held.join(", ")),
    };
    Ok(missing
        .iter()
        .map(|name| format!("no log entries of {name} in this window: {holds}"))
        .collect())
}

/// What the archive holds in the window, in one line: audit events, and log entries if it has any.
pub(super) async fn window(session: &Session, values: &Values) -> Result<String> {
    let bound = window_values(values);
    let tables = [
        ("events", "stage_timestamp", "events"),
        ("component", "time", "log entries"),
    ];
    let mut inside = Vec::new();
    let mut ever = Vec::new();
    for (table, time, noun) in tables {
        let window = WINDOW.replace("stage_timestamp", time);
        for (filter, found) in [
            (format!("WHERE {window}"), &mut inside),
            (String::new(), &mut ever),
        ] {
            let sql = format!(
                "SELECT count(*), {} FROM {table} {filter}",
                bounds(session, time)
            );
            let counted = rows(session, &sql, &bound).await?;
            if let Some([count, from, to]) = counted.first().map(Vec::as_slice)
                && count != "0"
            {
                found.push((count.clone(), noun, from.clone(), to.clone()));
            }
        }
    }
    let said = |found: &[(String, &str, String, String)], within: &str| {
        let parts: Vec<String> = found
            .iter()
            .map(|(count, noun, from, to)| format!("{count} {noun}{within} from {from} to {to}"))
            .collect();
        parts.join(" and ")
    };
    let what = if ever.iter().any(|(_, noun, ..)| *noun != "events") {
        "events or log entries"
    } else {
        "events"
    };
    Ok(match (inside.is_empty(), ever.is_empty()) {
        (false, _) => format!(
            "no rows; the archive holds {}",
            said(&inside, " in this window,")
        ),
        (true, false) => format!(
            "no {what} at all in this window; the archive holds {}",
            said(&ever, "")
        ),
        (true, true) => format!("the archive holds no {what} at all"),
    })
}
