//! A JSON text with the span of every value: what stands where, without a copy of it, so that single
//! values can be replaced and all else stays byte for byte. Built and walked without recursion: a
//! client decides how deep its objects nest.

use std::borrow::Cow;

use serde::de::IgnoredAny;

/// A value of a [`Tree`]; values are numbered in document order, the root is 0.
pub(super) type NodeId = usize;

/// A JSON text and the spans of its values.
pub(super) struct Tree<'t> {
    text: &'t str,
    nodes: Vec<Node>,
}

struct Node {
    start: usize,
    end: usize,
    /// Span of the member's name, quotes included.
    key: Option<(usize, usize)>,
    parent: Option<NodeId>,
    /// The first node after this one and all it contains.
    next: NodeId,
}

/// A text that takes the place of a value.
pub(super) struct Cut {
    /// The value.
    pub(super) node: NodeId,
    /// JSON.
    pub(super) replacement: String,
}

impl<'t> Tree<'t> {
    /// Reads a JSON text; `None` if it is none.
    pub(super) fn parse(text: &'t str) -> Option<Self> {
        // serde_json checks the grammar, iteratively, so that the scan below can rely on it.
        serde_json::from_str::<IgnoredAny>(text).ok()?;
        let mut tree = Self {
            text,
            nodes: Vec::new(),
        };
        tree.scan();
        Some(tree)
    }

    fn scan(&mut self) {
        let bytes = self.text.as_bytes();
        let mut open: Vec<NodeId> = Vec::new();
        let mut key = None;
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            match byte {
                b' ' | b'\t' | b'\n' | b'\r' | b',' | b':' => at += 1,
                b'}' | b']' => {
                    at += 1;
                    if let Some(closed) = open.pop() {
                        self.nodes[closed].end = at;
                        self.nodes[closed].next = self.nodes.len();
                    }
                }
                b'{' | b'[' => {
                    let node = self.push(at, at + 1, key.take(), open.last().copied());
                    open.push(node);
                    at += 1;
                }
                _ => {
                    let end = scalar_end(bytes, at);
                    let in_object = open
                        .last()
                        .is_some_and(|o| bytes[self.nodes[*o].start] == b'{');
                    if in_object && key.is_none() {
                        key = Some((at, end));
                    } else {
                        self.push(at, end, key.take(), open.last().copied());
                    }
                    at = end;
                }
            }
        }
    }

    fn push(
        &mut self,
        start: usize,
        end: usize,
        key: Option<(usize, usize)>,
        parent: Option<NodeId>,
    ) -> NodeId {
        let node = self.nodes.len();
        self.nodes.push(Node {
            start,
            end,
            key,
            parent,
            next: node + 1,
        });
        node
    }

    /// True if the root is an object or an array.
    pub(super) fn has_container(&self) -> bool {
        self.nodes
            .first()
            .is_some_and(|n| matches!(self.text.as_bytes()[n.start], b'{' | b'['))
    }

    /// Every object, wherever it stands.
    pub(super) fn objects(&self) -> impl Iterator<Item = NodeId> + '_ {
        (0..self.nodes.len()).filter(|n| self.is_object(*n))
    }

    /// True if the value is an object.
    pub(super) fn is_object(&self, node: NodeId) -> bool {
        self.json(node).starts_with('{')
    }

    /// The members of an object or the elements of an array.
    pub(super) fn children(&self, node: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        let end = self.nodes[node].next;
        let first = Some(node + 1).filter(|n| *n < end);
        std::iter::successors(first, move |n| {
            Some(self.nodes[*n].next).filter(|n| *n < end)
        })
    }

    /// The object or array a value stands in.
    pub(super) fn parent(&self, node: NodeId) -> Option<NodeId> {
        self.nodes[node].parent
    }

    /// The name of a member, unescaped; `None` in an array.
    pub(super) fn key(&self, node: NodeId) -> Option<Cow<'t, str>> {
        let (start, end) = self.nodes[node].key?;
        unescaped(&self.text[start..end])
    }

    /// The value, JSON.
    pub(super) fn json(&self, node: NodeId) -> &'t str {
        &self.text[self.nodes[node].start..self.nodes[node].end]
    }

    /// The value, unescaped, if it is a string.
    pub(super) fn text(&self, node: NodeId) -> Option<Cow<'t, str>> {
        unescaped(self.json(node))
    }

    /// How many values there are.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// The text with values replaced. Of values that contain each other the outermost is replaced, of
    /// replacements for one value the first holds. `None` if there is nothing to replace.
    pub(super) fn splice(&self, mut cuts: Vec<Cut>) -> Option<String> {
        cuts.sort_by_key(|cut| self.nodes[cut.node].start);
        let mut out = String::with_capacity(self.text.len() + 32 * cuts.len());
        let mut done = 0;
        for cut in &cuts {
            let Node { start, end, .. } = self.nodes[cut.node];
            if start < done {
                continue;
            }
            out.push_str(&self.text[done..start]);
            out.push_str(&cut.replacement);
            done = end;
        }
        out.push_str(&self.text[done..]);
        (!cuts.is_empty()).then_some(out)
    }
}

/// The end of a string, number, or literal.
fn scalar_end(bytes: &[u8], start: usize) -> usize {
    if bytes[start] != b'"' {
        let ends = |b: &u8| matches!(b, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r');
        return bytes[start..]
            .iter()
            .position(ends)
            .map_or(bytes.len(), |n| start + n);
    }
    let mut at = start + 1;
    while let Some(found) = bytes
        .get(at..)
        .and_then(|rest| memchr::memchr2(b'"', b'\\', rest))
    {
        at += found;
        if bytes[at] == b'"' {
            return at + 1;
        }
        at += 2;
    }
    bytes.len()
}

/// The text of a JSON string; `None` if it is no string or has a lone surrogate.
pub(super) fn unescaped(json: &str) -> Option<Cow<'_, str>> {
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str::<String>(json).ok().map(Cow::Owned)
}
