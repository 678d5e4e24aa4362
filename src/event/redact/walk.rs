//! Which values of one JSON text are secret. Every object is looked at once, in document order, and
//! what it says of itself is read before, so that the time taken grows with the length of the text
//! only: a client decides how many members its objects have, and how often a name stands in them.

use super::{
    Coding, LAST_APPLIED, Redactor, Scope, WEBHOOK_PATCH, mentions_secret_at_all,
    tree::{Cut, NodeId, Tree},
};

/// JSON as text in JSON as text …: the length doubles with each, so no honest object comes near.
const EMBEDDED_DEPTH_MAX: usize = 8;

/// A walk over one text.
pub(super) struct Walk<'w> {
    redactor: &'w Redactor,
    tree: &'w Tree<'w>,
    scope: Scope,
    /// How many strings the text was embedded in.
    depth: usize,
    /// What each object says of itself, by node.
    says: Vec<Says>,
    cuts: Vec<Cut>,
}

/// What an object says of itself in `kind`; of kinds that contradict each other all count.
#[derive(Debug, Default, Clone, Copy)]
struct Says {
    secret: bool,
    secret_list: bool,
    token: bool,
    other: bool,
}

/// Where an operation of a JSON patch leads; of several paths all count.
#[derive(Debug, Default, Clone, Copy)]
struct Target {
    whole: bool,
    data: bool,
    string_data: bool,
    value_of_data: bool,
    value_of_string_data: bool,
    token: bool,
    last_applied: bool,
}

impl<'w> Walk<'w> {
    pub(super) fn new(
        redactor: &'w Redactor,
        tree: &'w Tree<'w>,
        scope: Scope,
        depth: usize,
    ) -> Self {
        let mut says = vec![Says::default(); tree.len()];
        for object in tree.objects() {
            for member in tree.children(object) {
                if tree.key(member).as_deref() == Some("kind") {
                    says[object].add(tree.text(member).as_deref());
                }
            }
        }
        Self {
            redactor,
            tree,
            scope,
            depth,
            says,
            cuts: Vec::new(),
        }
    }

    /// Every value that is secret, and its placeholder.
    pub(super) fn cuts(mut self) -> Vec<Cut> {
        for object in self.tree.objects() {
            self.visit(object);
        }
        self.cuts
    }

    fn visit(&mut self, object: NodeId) {
        let tree = self.tree;
        let is_secret = self.holds_secret(object);
        let has_tokens = self.scope.tokens || self.is_in_token_kind(object);
        let target = self.target(object);
        for member in tree.children(object) {
            let Some(name) = tree.key(member) else {
                continue;
            };
            match &*name {
                "data" if is_secret => self.cut_values(member, Coding::Base64),
                "stringData" if is_secret => self.cut_values(member, Coding::Plain),
                "token" if has_tokens => self.cut(member, Coding::Plain),
                "value" => self.cut_patched(member, target),
                LAST_APPLIED => self.cut_embedded(member),
                _ if name.starts_with(WEBHOOK_PATCH) => self.cut_embedded(member),
                _ => {}
            }
        }
    }

    /// True if `data` and `stringData` of an object are those of a Secret.
    fn holds_secret(&self, object: NodeId) -> bool {
        let says = self.says[object];
        let list = self
            .tree
            .parent(object)
            .filter(|list| self.tree.key(*list).as_deref() == Some("items"))
            .and_then(|list| self.tree.parent(list));
        if says.secret || list.is_some_and(|list| self.says[list].secret_list) {
            return true;
        }
        // In a list of mixed kinds an item says what it is; elsewhere what a body says is not enough
        // to believe that an event about Secrets holds none.
        self.scope.secrets && !(list.is_some() && says.other)
    }

    /// True in `spec` or `status` of an object that says it is a TokenRequest or TokenReview.
    fn is_in_token_kind(&self, object: NodeId) -> bool {
        self.tree
            .parent(object)
            .is_some_and(|parent| self.says[parent].token)
    }

    /// Where an object leads, if it is an operation of a JSON patch.
    fn target(&self, object: NodeId) -> Target {
        let mut target = Target::default();
        for member in self.tree.children(object) {
            if self.tree.key(member).as_deref() == Some("path")
                && let Some(path) = self.tree.text(member)
            {
                target.add(&path);
            }
        }
        target
    }

    /// Cuts the values of `data` or `stringData`; all of it if it is no object.
    fn cut_values(&mut self, map: NodeId, coding: Coding) {
        let tree = self.tree;
        if tree.is_object(map) {
            tree.children(map).for_each(|value| self.cut(value, coding));
        } else {
            self.cut(map, coding);
        }
    }

    /// Cuts a value. A null removes a field and is no secret.
    fn cut(&mut self, node: NodeId, coding: Coding) {
        let json = self.tree.json(node);
        if json != "null" {
            self.cuts.push(Cut {
                node,
                replacement: self.redactor.replacement(json, coding),
            });
        }
    }

    /// Cuts the value of an operation of a JSON patch, if the operation leads to a secret.
    fn cut_patched(&mut self, value: NodeId, target: Target) {
        if self.scope.secrets {
            if target.data {
                self.cut_values(value, Coding::Base64);
            }
            if target.string_data {
                self.cut_values(value, Coding::Plain);
            }
            if target.value_of_data {
                self.cut(value, Coding::Base64);
            }
            if target.value_of_string_data {
                self.cut(value, Coding::Plain);
            }
        }
        // If the whole object is given as an object, the walk comes to it.
        let is_scalar = !self.tree.json(value).starts_with(['{', '[']);
        if target.whole && self.scope.is_sensitive() && is_scalar
            || target.token && self.scope.tokens
        {
            self.cut(value, Coding::Plain);
        }
        if target.last_applied {
            self.cut_embedded(value);
        }
    }

    /// Cuts inside JSON that stands as text in a string, and puts it back as text.
    fn cut_embedded(&mut self, value: NodeId) {
        let json = self.tree.json(value);
        if !json.starts_with('"') {
            return;
        }
        let text = self.tree.text(value);
        let inner = text
            .as_deref()
            .filter(|_| self.depth < EMBEDDED_DEPTH_MAX)
            .and_then(Tree::parse);
        match inner.filter(Tree::has_container) {
            Some(inner) => {
                let cuts = Walk::new(self.redactor, &inner, self.scope, self.depth + 1).cuts();
                if let Some(new) = inner.splice(cuts) {
                    let replacement = serde_json::Value::String(new).to_string();
                    self.cuts.push(Cut {
                        node: value,
                        replacement,
                    });
                }
            }
            None if self.scope.is_sensitive() || mentions_secret_at_all(json) => {
                self.cut(value, Coding::Plain);
            }
            None => {}
        }
    }
}

impl Says {
    fn add(&mut self, kind: Option<&str>) {
        match kind {
            Some("Secret") => self.secret = true,
            Some("SecretList") => self.secret_list = true,
            Some("TokenRequest" | "TokenReview") => self.token = true,
            _ => self.other = true,
        }
    }
}

impl Target {
    fn add(&mut self, path: &str) {
        let path = path.replace("~1", "/").replace("~0", "~");
        let steps = path.trim_start_matches('/');
        let (first, rest) = steps.split_once('/').unwrap_or((steps, ""));
        match (first, rest.is_empty()) {
            ("", _) => self.whole = true,
            ("data", true) => self.data = true,
            ("stringData", true) => self.string_data = true,
            ("data", false) => self.value_of_data = true,
            ("stringData", false) => self.value_of_string_data = true,
            _ => {}
        }
        self.token |= path.ends_with("/token");
        self.last_applied |= path.ends_with(LAST_APPLIED);
    }
}
