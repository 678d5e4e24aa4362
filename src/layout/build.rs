//! Values into Arrow columns, in the order of a table's columns.
//!
//! A row is written with one call a column, in order; each call names its column, which debug builds
//! check, so that a column added in the middle of the list cannot shift the others.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayBuilder, ArrayRef, AsArray as _, BinaryBuilder, BooleanBuilder, Int32Builder,
        Int64Builder, ListBuilder, RecordBatch, StringBuilder, StringViewBuilder, StructBuilder,
        TimestampMicrosecondBuilder,
    },
    buffer::Buffer,
    datatypes::{DataType, Field, Fields, Schema, SchemaRef},
};
use bytes::Bytes;

use crate::{
    event::{
        audit::Text,
        facts::{Condition, Container, OwnerReference, Taint},
        lenient::{Items, Str},
        time::Micros,
    },
    layout::columns::{
        Column, Kind, TableName, condition_fields, container_fields, list_element,
        owner_reference_fields, taint_fields,
    },
};

/// A text this long that stands in the chunk is not copied: its row refers to the chunk.
const SHARED_BYTES_MIN: usize = 128;

/// The schema of rows in memory: a data file's, with text as views, so that sorting moves no text.
pub fn row_schema(table: TableName) -> SchemaRef {
    let fields: Fields = table
        .file_schema()
        .fields()
        .iter()
        .map(|f| match f.data_type() {
            DataType::Utf8 => Arc::new(Field::new(f.name(), DataType::Utf8View, true)),
            _ => Arc::clone(f),
        })
        .collect();
    Arc::new(Schema::new(fields))
}

/// Builds rows of one table, without its partition columns.
#[derive(Debug)]
pub struct Rows {
    table: TableName,
    columns: Vec<ColumnBuilder>,
    next: usize,
    rows: usize,
    /// The chunk that texts may stand in.
    shared: Option<Buffer>,
}

#[derive(Debug)]
enum ColumnBuilder {
    /// Texts, and which of their blocks is the chunk.
    Text(StringViewBuilder, Option<u32>),
    Time(TimestampMicrosecondBuilder),
    Int(Int32Builder),
    Long(Int64Builder),
    Flag(BooleanBuilder),
    Bytes(BinaryBuilder),
    Texts(ListBuilder<StringBuilder>),
    Structs(Box<ListBuilder<StructBuilder>>),
}

impl Rows {
    /// An empty set of rows.
    pub fn new(table: TableName) -> Self {
        let columns = Self::file_columns(table).iter().map(builder_of).collect();
        Self {
            table,
            columns,
            next: 0,
            rows: 0,
            shared: None,
        }
    }

    /// An empty set of rows whose long texts may stand in a chunk: those are referred to, not copied.
    pub fn sharing(table: TableName, chunk: &Bytes) -> Self {
        Self {
            shared: Some(Buffer::from(chunk.clone())),
            ..Self::new(table)
        }
    }

    fn file_columns(table: TableName) -> &'static [Column] {
        &table.columns()[table.partition_columns().len()..]
    }

    /// The next column's builder; a wrong name is a mistake in this crate.
    fn column(&mut self, name: &str) -> &mut ColumnBuilder {
        let column = &Self::file_columns(self.table)[self.next];
        debug_assert_eq!(column.name, name, "columns are written in order");
        self.next += 1;
        &mut self.columns[self.next - 1]
    }

    /// Writes a text.
    pub fn text(&mut self, name: &str, value: Option<&str>) {
        let index = self.next;
        self.column(name);
        let ColumnBuilder::Text(b, block) = &mut self.columns[index] else {
            return;
        };
        if let (Some(text), Some(chunk)) = (value, &self.shared)
            && text.len() >= SHARED_BYTES_MIN
            && let Some((offset, len)) = place_in(chunk, text)
        {
            let block = *block.get_or_insert_with(|| b.append_block(chunk.clone()));
            if b.try_append_view(block, offset, len).is_ok() {
                return;
            }
        }
        b.append_option(value);
    }

    fn held_bytes(&self, batch: &RecordBatch) -> usize {
        let Some(chunk) = &self.shared else {
            return batch.get_array_memory_size();
        };
        let is_chunk = |b: &Buffer| b.as_ptr() == chunk.as_ptr();
        let views = batch
            .columns()
            .iter()
            .filter_map(|c| c.as_string_view_opt());
        let times: usize = views
            .map(|v| v.data_buffers().iter().filter(|b| is_chunk(b)).count())
            .sum();
        batch.get_array_memory_size() - times.saturating_sub(1) * chunk.len()
    }

    /// Writes a time.
    pub fn time(&mut self, name: &str, value: Option<Micros>) {
        if let ColumnBuilder::Time(b) = self.column(name) {
            b.append_option(value.map(|t| t.0));
        }
    }

    /// Writes a time that is given as text.
    pub fn time_text(&mut self, name: &str, value: &Str<'_>) {
        self.time(name, value.0.as_deref().and_then(Micros::parse));
    }

    /// Writes a 32-bit integer.
    pub fn int(&mut self, name: &str, value: Option<i32>) {
        if let ColumnBuilder::Int(b) = self.column(name) {
            b.append_option(value);
        }
    }

    /// Writes a 64-bit integer.
    pub fn long(&mut self, name: &str, value: Option<i64>) {
        if let ColumnBuilder::Long(b) = self.column(name) {
            b.append_option(value);
        }
    }

    /// Writes a length in bytes.
    pub fn bytes_count(&mut self, name: &str, value: Option<usize>) {
        self.long(name, value.map(|n| i64::try_from(n).unwrap_or(i64::MAX)));
    }

    /// Writes a flag.
    pub fn flag(&mut self, name: &str, value: Option<bool>) {
        if let ColumnBuilder::Flag(b) = self.column(name) {
            b.append_option(value);
        }
    }

    /// Writes raw bytes.
    pub fn bytes(&mut self, name: &str, value: Option<&[u8]>) {
        if let ColumnBuilder::Bytes(b) = self.column(name) {
            b.append_option(value);
        }
    }

    /// Writes a list of texts.
    pub fn texts(&mut self, name: &str, values: Option<&[Text<'_>]>) {
        if let ColumnBuilder::Texts(b) = self.column(name) {
            b.append_option(values.map(|v| v.iter().map(|t| Some(t.as_ref()))));
        }
    }

    /// Writes owner references.
    pub fn owner_references(&mut self, name: &str, items: &Items<OwnerReference<'_>>) {
        self.structs(name, items, |s, o| {
            put_text(s, 0, &o.api_version);
            put_text(s, 1, &o.kind);
            put_text(s, 2, &o.name);
            put_text(s, 3, &o.uid);
            put_flag(s, 4, o.controller.value());
        });
    }

    /// Writes conditions.
    pub fn conditions(&mut self, name: &str, items: &Items<Condition<'_>>) {
        self.structs(name, items, |s, c| {
            put_text(s, 0, &c.r#type);
            put_text(s, 1, &c.status);
            put_text(s, 2, &c.reason);
            put_text(s, 3, &c.message);
            put_time(s, 4, &c.last_transition_time);
            put_time(s, 5, &c.last_heartbeat_time);
        });
    }

    /// Writes taints.
    pub fn taints(&mut self, name: &str, items: &Items<Taint<'_>>) {
        self.structs(name, items, |s, t| {
            put_text(s, 0, &t.key);
            put_text(s, 1, &t.value);
            put_text(s, 2, &t.effect);
        });
    }

    /// Writes containers, init containers first, as they run.
    pub fn containers(
        &mut self,
        name: &str,
        init: &Items<Container<'_>>,
        main: &Items<Container<'_>>,
    ) {
        let init = init.0.iter().flatten().map(|c| (c, true));
        let both: Vec<_> = init
            .chain(main.0.iter().flatten().map(|c| (c, false)))
            .collect();
        let items = Items((!both.is_empty() || main.0.is_some()).then_some(both));
        self.structs(name, &items, |s, (c, is_init)| {
            put_text(s, 0, &c.name);
            put_text(s, 1, &c.image);
            put_texts(s, 2, &c.command);
            put_texts(s, 3, &c.args);
            put_flag(s, 4, Some(*is_init));
        });
    }

    fn structs<T>(&mut self, name: &str, items: &Items<T>, put: impl Fn(&mut StructBuilder, &T)) {
        if let ColumnBuilder::Structs(b) = self.column(name) {
            for item in items.0.iter().flatten() {
                put(b.values(), item);
                b.values().append(true);
            }
            b.append(items.0.is_some());
        }
    }

    /// Ends a row.
    pub fn end_row(&mut self) {
        debug_assert_eq!(
            self.next,
            self.columns.len(),
            "every column of a row is written"
        );
        self.next = 0;
        self.rows += 1;
    }

    /// Number of rows so far.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// True if there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The rows as a batch of [`row_schema`].
    pub fn finish(mut self) -> RecordBatch {
        self.finish_batch()
    }

    /// As [`Rows::finish`], with the bytes that the batch holds, the chunk counted once.
    pub fn finish_counted(mut self) -> (RecordBatch, usize) {
        let batch = self.finish_batch();
        let bytes = self.held_bytes(&batch);
        (batch, bytes)
    }

    fn finish_batch(&mut self) -> RecordBatch {
        let arrays = self.columns.iter_mut().map(ColumnBuilder::finish).collect();
        RecordBatch::try_new(row_schema(self.table), arrays)
            .expect("builders were made from the same columns as the schema")
    }
}

/// Where a text stands in a chunk, if it does: told by its address.
fn place_in(chunk: &Buffer, text: &str) -> Option<(u32, u32)> {
    let offset = text.as_ptr().addr().checked_sub(chunk.as_ptr().addr())?;
    if offset.checked_add(text.len())? > chunk.len() {
        return None;
    }
    Some((u32::try_from(offset).ok()?, u32::try_from(text.len()).ok()?))
}

fn builder_of(column: &Column) -> ColumnBuilder {
    match column.kind {
        Kind::Text | Kind::Json => ColumnBuilder::Text(StringViewBuilder::new(), None),
        Kind::Time => ColumnBuilder::Time(
            TimestampMicrosecondBuilder::new().with_data_type(Kind::Time.data_type()),
        ),
        Kind::Int | Kind::Day => ColumnBuilder::Int(Int32Builder::new()),
        Kind::Long => ColumnBuilder::Long(Int64Builder::new()),
        Kind::Flag => ColumnBuilder::Flag(BooleanBuilder::new()),
        Kind::Bytes => ColumnBuilder::Bytes(BinaryBuilder::new()),
        Kind::Texts => ColumnBuilder::Texts(texts_builder()),
        Kind::OwnerReferences => structs_builder(owner_reference_fields()),
        Kind::Conditions => structs_builder(condition_fields()),
        Kind::Taints => structs_builder(taint_fields()),
        Kind::Containers => structs_builder(container_fields()),
    }
}

fn texts_builder() -> ListBuilder<StringBuilder> {
    ListBuilder::new(StringBuilder::new()).with_field(list_element(DataType::Utf8))
}

fn structs_builder(fields: Fields) -> ColumnBuilder {
    let builders = fields
        .iter()
        .map(|f| -> Box<dyn ArrayBuilder> {
            match f.data_type() {
                DataType::Boolean => Box::new(BooleanBuilder::new()),
                DataType::Timestamp(..) => Box::new(
                    TimestampMicrosecondBuilder::new().with_data_type(Kind::Time.data_type()),
                ),
                DataType::List(_) => Box::new(texts_builder()),
                _ => Box::new(StringBuilder::new()),
            }
        })
        .collect();
    let element = list_element(DataType::Struct(fields.clone()));
    ColumnBuilder::Structs(Box::new(
        ListBuilder::new(StructBuilder::new(fields, builders)).with_field(element),
    ))
}

fn put_text(s: &mut StructBuilder, field: usize, value: &Str<'_>) {
    s.field_builder::<StringBuilder>(field)
        .expect("the field was declared as text")
        .append_option(value.0.as_deref());
}

fn put_time(s: &mut StructBuilder, field: usize, value: &Str<'_>) {
    s.field_builder::<TimestampMicrosecondBuilder>(field)
        .expect("the field was declared as a time")
        .append_option(value.0.as_deref().and_then(Micros::parse).map(|t| t.0));
}

fn put_flag(s: &mut StructBuilder, field: usize, value: Option<bool>) {
    s.field_builder::<BooleanBuilder>(field)
        .expect("the field was declared as a flag")
        .append_option(value);
}

fn put_texts(s: &mut StructBuilder, field: usize, values: &Items<Str<'_>>) {
    let list = s
        .field_builder::<ListBuilder<StringBuilder>>(field)
        .expect("the field was declared as a list of texts");
    list.append_option(values.0.as_ref().map(|v| v.iter().map(|t| t.0.as_deref())));
}

impl ColumnBuilder {
    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Text(b, _) => Arc::new(b.finish()),
            Self::Time(b) => Arc::new(b.finish()),
            Self::Int(b) => Arc::new(b.finish()),
            Self::Long(b) => Arc::new(b.finish()),
            Self::Flag(b) => Arc::new(b.finish()),
            Self::Bytes(b) => Arc::new(b.finish()),
            Self::Texts(b) => Arc::new(b.finish()),
            Self::Structs(b) => Arc::new(b.finish()),
        }
    }
}
