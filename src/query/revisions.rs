//! SQL functions on revisions of an object, for `kolumn ask object-history`. `json_diff(before, after)`:
//! the fields in which two objects differ, as rows of path, before, after. Window function
//! `object_state(verb, answer, request)`: the object after each request, which is the answer, or where that
//! is missing what a create or update sent, or a patch merged into the state before, by the rules of the API
//! server as far as a request tells them: a patch that is a list is a JSON patch, any other is merged, lists
//! whose items have names item by item. Pure, and never an error: what cannot be told is null.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, AsArray as _, ListBuilder, StringArray, StringBuilder, StringViewArray,
    StructArray, StructBuilder,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::{
    ColumnarValue, PartitionEvaluator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility, WindowUDF, WindowUDFImpl,
};
use serde_json::{Map, Value};

/// By which field the API server tells the items of a list apart, the first that all items have.
const KEYS: [&str; 7] = [
    "name",
    "type",
    "uid",
    "containerPort",
    "port",
    "mountPath",
    "key",
];

static CHANGE: LazyLock<Fields> = LazyLock::new(|| {
    ["path", "before", "after"]
        .map(|name| Field::new(name, DataType::Utf8, true))
        .to_vec()
        .into()
});

static STATE: LazyLock<Fields> = LazyLock::new(|| {
    ["object", "source"]
        .map(|name| Field::new(name, DataType::Utf8, true))
        .to_vec()
        .into()
});

pub(super) fn scalar_function() -> ScalarUDF {
    ScalarUDF::from(JsonDiff {
        signature: Signature::string(2, Volatility::Immutable),
    })
}

pub(super) fn window_function() -> WindowUDF {
    WindowUDF::from(ObjectState {
        signature: Signature::string(3, Volatility::Immutable),
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct JsonDiff {
    signature: Signature,
}

impl ScalarUDFImpl for JsonDiff {
    fn name(&self) -> &str {
        "json_diff"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::new_list(DataType::Struct(CHANGE.clone()), true))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [before, after] = args.args.as_slice() else {
            return exec_err!("json_diff takes two arguments");
        };
        let (before, after) = (
            texts(before, args.number_rows)?,
            texts(after, args.number_rows)?,
        );
        let mut lists = ListBuilder::new(StructBuilder::from_fields(CHANGE.clone(), 0));
        for (before, after) in before.iter().zip(&after) {
            let (Some(before), Some(after)) = (read(before), read(after)) else {
                lists.append_null();
                continue;
            };
            let mut changes = Vec::new();
            compare(
                &mut String::new(),
                Some(&before),
                Some(&after),
                &mut changes,
            );
            let structs = lists.values();
            for (path, before, after) in changes {
                for (at, text) in [Some(path), before, after].into_iter().enumerate() {
                    if let Some(field) = structs.field_builder::<StringBuilder>(at) {
                        field.append_option(text);
                    }
                }
                structs.append(true);
            }
            lists.append(true);
        }
        Ok(ColumnarValue::Array(Arc::new(lists.finish())))
    }
}

fn texts(value: &ColumnarValue, rows: usize) -> Result<StringViewArray> {
    let array = cast(&value.to_array(rows)?, &DataType::Utf8View)?;
    Ok(array.as_string_view().clone())
}

fn read(text: Option<&str>) -> Option<Value> {
    text.and_then(|text| serde_json::from_str(text).ok())
}

/// A value as people read it: a text without quotes.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

type Change = (String, Option<String>, Option<String>);

/// Adds each field below `path` in which the two differ.
fn compare(
    path: &mut String,
    before: Option<&Value>,
    after: Option<&Value>,
    changes: &mut Vec<Change>,
) {
    if before == after {
        return;
    }
    let either = after.or(before);
    let length = path.len();
    if let Some(Value::Object(_)) = either
        && let (Some(old), Some(new)) = (members(before), members(after))
        && (!old.is_empty() || !new.is_empty())
    {
        let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for name in names {
            push_name(path, name);
            compare(path, old.get(name), new.get(name), changes);
            path.truncate(length);
        }
        return;
    }
    if let Some(Value::Array(_)) = either
        && let (Some(old), Some(new)) = (items(before), items(after))
        && let Some(key) = key_of(old.iter().chain(new))
    {
        let names: BTreeSet<String> = old
            .iter()
            .chain(new)
            .filter_map(|i| name_of(i, key))
            .collect();
        for name in names {
            let find = |items: &'_ [Value]| {
                items
                    .iter()
                    .position(|i| name_of(i, key).as_ref() == Some(&name))
            };
            path.push('[');
            path.push_str(&name);
            path.push(']');
            compare(
                path,
                find(old).map(|at| &old[at]),
                find(new).map(|at| &new[at]),
                changes,
            );
            path.truncate(length);
        }
        return;
    }
    changes.push((path.clone(), before.map(shown), after.map(shown)));
}

/// The members of an object; none of a field that is not there.
fn members(value: Option<&Value>) -> Option<&Map<String, Value>> {
    static NONE: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);
    match value {
        Some(Value::Object(members)) => Some(members),
        None => Some(&NONE),
        Some(_) => None,
    }
}

fn items(value: Option<&Value>) -> Option<&[Value]> {
    match value {
        Some(Value::Array(items)) => Some(items),
        None => Some(&[]),
        Some(_) => None,
    }
}

fn push_name(path: &mut String, name: &str) {
    // Names of labels and annotations hold dots.
    if name.contains(['.', '/']) {
        path.push('[');
        path.push_str(name);
        path.push(']');
    } else {
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(name);
    }
}

fn name_of(item: &Value, key: &str) -> Option<String> {
    match item.get(key) {
        Some(Value::String(name)) => Some(name.clone()),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    }
}

/// The field that tells all of these items apart; `None` where they are no objects, or none is in all.
fn key_of<'a>(items: impl Iterator<Item = &'a Value> + Clone) -> Option<&'static str> {
    items.clone().next()?;
    KEYS.into_iter()
        .find(|key| items.clone().all(|item| name_of(item, key).is_some()))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ObjectState {
    signature: Signature,
}

impl WindowUDFImpl for ObjectState {
    fn name(&self) -> &str {
        "object_state"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn partition_evaluator(
        &self,
        _: PartitionEvaluatorArgs,
    ) -> Result<Box<dyn PartitionEvaluator>> {
        Ok(Box::new(States))
    }

    fn field(&self, args: WindowUDFFieldArgs) -> Result<FieldRef> {
        let state = DataType::Struct(STATE.clone());
        Ok(Arc::new(Field::new(args.name(), state, true)))
    }
}

#[derive(Debug)]
struct States;

impl PartitionEvaluator for States {
    fn evaluate_all(&mut self, values: &[ArrayRef], _: usize) -> Result<ArrayRef> {
        let columns: Vec<ArrayRef> = values
            .iter()
            .map(|column| Ok(cast(column, &DataType::Utf8View)?))
            .collect::<Result<_>>()?;
        let [verbs, answers, requests] = columns.as_slice() else {
            return exec_err!("object_state takes three arguments");
        };
        let rows = verbs.as_string_view().iter();
        let rows = rows
            .zip(answers.as_string_view())
            .zip(requests.as_string_view());
        let mut state: Option<Value> = None;
        let mut states: Vec<(Option<String>, &str)> = Vec::with_capacity(answers.len());
        for ((verb, answer), request) in rows {
            let source = if let Some(whole) = read(answer) {
                state = Some(whole);
                "observed"
            } else {
                let before = state.take().filter(|_| verb == Some("patch"));
                state = read(request).and_then(|request| merged(before, request));
                if state.is_some() { "merged" } else { "unknown" }
            };
            states.push((state.as_ref().map(Value::to_string), source));
        }
        let objects: StringArray = states.iter().map(|(object, _)| object.as_deref()).collect();
        let sources: StringArray = states.iter().map(|(_, source)| Some(*source)).collect();
        let columns: Vec<ArrayRef> = vec![Arc::new(objects), Arc::new(sources)];
        Ok(Arc::new(StructArray::try_new(
            STATE.clone(),
            columns,
            None,
        )?))
    }
}

/// The state after a request whose answer is missing.
fn merged(state: Option<Value>, request: Value) -> Option<Value> {
    match (state, request) {
        (Some(mut state), Value::Array(operations)) => {
            operations
                .iter()
                .try_for_each(|operation| patch(&mut state, operation))?;
            Some(state)
        }
        (Some(mut state), request @ Value::Object(_)) => {
            merge(&mut state, request);
            Some(state)
        }
        // Without a state before, only a whole object is one.
        (None, request @ Value::Object(_)) if request.get("kind").is_some() => Some(request),
        _ => None,
    }
}

/// Merges a patch: null removes, objects are merged, lists of named items too, all else is replaced.
fn merge(state: &mut Value, change: Value) {
    match (state, change) {
        (Value::Object(members), Value::Object(changes)) => {
            for (name, change) in changes {
                match change {
                    // $setElementOrder, $retainKeys and the like order and check, and change nothing.
                    _ if name.starts_with('$') => {}
                    Value::Null => drop(members.remove(&name)),
                    change => merge(members.entry(name).or_insert(Value::Null), change),
                }
            }
        }
        (Value::Array(items), Value::Array(changes)) => {
            match key_of(items.iter().chain(&changes)) {
                Some(key) => {
                    for change in changes {
                        let at = items
                            .iter()
                            .position(|i| name_of(i, key) == name_of(&change, key));
                        let goes = change.get("$patch").is_some_and(|p| p == "delete");
                        match at {
                            Some(at) if goes => drop(items.remove(at)),
                            Some(at) => merge(&mut items[at], change),
                            None if goes => {}
                            None => items.push(change),
                        }
                    }
                }
                None => *items = changes,
            }
        }
        // What is new is merged into nothing, so that its directives and nulls go too.
        (state, change @ Value::Object(_)) => {
            *state = Value::Object(Map::new());
            merge(state, change);
        }
        (state, change) => *state = change,
    }
}

/// One operation of a JSON patch (RFC 6902); `None` if it does not fit the state.
fn patch(state: &mut Value, operation: &Value) -> Option<()> {
    let path = |name: &str| operation.get(name).and_then(Value::as_str);
    let to = path("path")?;
    match path("op")? {
        "add" => add(state, to, operation.get("value")?.clone()),
        "remove" => remove(state, to).map(drop),
        "replace" => {
            *state.pointer_mut(to)? = operation.get("value")?.clone();
            Some(())
        }
        "move" => {
            let value = remove(state, path("from")?)?;
            add(state, to, value)
        }
        "copy" => {
            let value = state.pointer(path("from")?)?.clone();
            add(state, to, value)
        }
        "test" => (state.pointer(to) == operation.get("value")).then_some(()),
        _ => None,
    }
}

/// The value that holds the last step of a JSON pointer, and that step.
fn parent<'a>(state: &'a mut Value, pointer: &str) -> Option<(&'a mut Value, String)> {
    let (parent, last) = pointer.rsplit_once('/')?;
    let last = last.replace("~1", "/").replace("~0", "~");
    Some((state.pointer_mut(parent)?, last))
}

fn add(state: &mut Value, pointer: &str, value: Value) -> Option<()> {
    if pointer.is_empty() {
        *state = value;
        return Some(());
    }
    match parent(state, pointer)? {
        (Value::Object(members), name) => drop(members.insert(name, value)),
        (Value::Array(items), at) if at == "-" => items.push(value),
        (Value::Array(items), at) => {
            let at = at.parse::<usize>().ok().filter(|at| *at <= items.len())?;
            items.insert(at, value);
        }
        _ => return None,
    }
    Some(())
}

fn remove(state: &mut Value, pointer: &str) -> Option<Value> {
    match parent(state, pointer)? {
        (Value::Object(members), name) => members.remove(&name),
        (Value::Array(items), at) => {
            let at = at.parse::<usize>().ok().filter(|at| *at < items.len())?;
            Some(items.remove(at))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn differences(before: &Value, after: &Value) -> Vec<String> {
        let mut changes = Vec::new();
        compare(&mut String::new(), Some(before), Some(after), &mut changes);
        let text = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        changes
            .into_iter()
            .map(|(path, before, after)| format!("{path}: {} > {}", text(before), text(after)))
            .collect()
    }

    #[test]
    fn differences_are_told_field_by_field() {
        let before = json!({"a": 1, "spec": {"list": [1, 2], "containers": [{"name": "x", "image": "i:1"}]}});
        let after = json!({
            "a": 1,
            "metadata": {"labels": {"app.io/x": "y"}},
            "spec": {"list": [2], "containers": [{"name": "w", "ports": []}, {"name": "x", "image": "i:2"}]}
        });
        assert_eq!(
            differences(&before, &after),
            [
                "metadata.labels[app.io/x]: - > y",
                "spec.containers[w].name: - > w",
                "spec.containers[w].ports: - > []",
                "spec.containers[x].image: i:1 > i:2",
                "spec.list: [1,2] > [2]",
            ]
        );
        assert!(differences(&before, &before).is_empty());
        assert_eq!(
            differences(&json!({"a": {}}), &json!({"a": 1})),
            ["a: {} > 1"]
        );
        assert_eq!(
            differences(&json!({"a": null}), &json!({})),
            ["a: null > -"]
        );
    }

    #[test]
    fn patches_are_merged_as_the_server_does() {
        let state = json!({"kind": "Pod", "spec": {"c": [{"name": "a", "image": "1"}, {"name": "b"}], "n": 1}});
        let patch = json!({"spec": {
            "$setElementOrder/c": [{"name": "a"}],
            "c": [{"name": "a", "image": "2"}, {"name": "b", "$patch": "delete"}, {"name": "c"}],
            "n": null,
            "m": {"x": null, "y": 1}
        }});
        let after = merged(Some(state.clone()), patch).unwrap();
        let expected = json!({"kind": "Pod", "spec": {"c": [{"name": "a", "image": "2"}, {"name": "c"}], "m": {"y": 1}}});
        assert_eq!(after, expected);

        let operations = json!([
            {"op": "test", "path": "/spec/n", "value": 1},
            {"op": "add", "path": "/spec/c/-", "value": {"name": "z"}},
            {"op": "remove", "path": "/spec/c/0"},
            {"op": "move", "from": "/spec/n", "path": "/spec/a~1b"},
        ]);
        let after = merged(Some(state.clone()), operations).unwrap();
        assert_eq!(
            after,
            json!({"kind": "Pod", "spec": {"c": [{"name": "b"}, {"name": "z"}], "a/b": 1}})
        );

        let wrong = json!([{"op": "remove", "path": "/spec/none"}]);
        assert_eq!(merged(Some(state), wrong), None);
        assert_eq!(merged(None, json!({"spec": {}})), None);
        assert!(merged(None, json!({"kind": "Pod"})).is_some());
    }
}
