//! The object a request URI names, read as kube-apiserver reads it (`apiserver/pkg/endpoints/request`,
//! `RequestInfoFactory`): for formats that carry the URI but no `objectRef`, and to cross-check those
//! that carry both. Takes text, gives an [`ObjectReference`]; a URI that names no object gives an
//! empty one. Never fails: a URI is whatever a client sent.

use std::borrow::Cow;

use crate::event::audit::{ObjectReference, Text};

/// The object that a request URI names; all fields are none for a non-resource URI such as `/readyz`.
///
/// ```
/// let object = kolumn::event::uri::object_of_uri("/apis/apps/v1/namespaces/dev/deployments/web/scale");
/// assert_eq!(object.resource.as_deref(), Some("deployments"));
/// assert_eq!(object.subresource.as_deref(), Some("scale"));
/// ```
pub fn object_of_uri(uri: &str) -> ObjectReference<'_> {
    let path = uri.split_once('?').map_or(uri, |(path, _)| path);
    match percent_decoded(path, Plus::Literal) {
        Cow::Borrowed(path) => object_of_path(path),
        // The server splits the decoded path, so `%2F` separates segments there and must here.
        Cow::Owned(path) => object_of_path(&path).into_owned(),
    }
}

/// The name that `fieldSelector=metadata.name=NAME` asks for. The server takes it as the object's
/// name when it lists or watches.
pub fn selected_name_of_uri(uri: &str) -> Option<String> {
    let (_, query) = uri.split_once('?')?;
    let selector = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("fieldSelector="))?;
    let selector = percent_decoded(selector, Plus::Blank);
    let name = selector
        .split(',')
        .find_map(|term| term.strip_prefix("metadata.name="))?;
    let name = name.strip_prefix('=').unwrap_or(name);
    (!name.is_empty() && !name.contains(['/', '%'])).then(|| name.to_owned())
}

fn object_of_path(path: &str) -> ObjectReference<'_> {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let (group, version, rest) = match parts.as_slice() {
        ["api", version, rest @ ..] => (None, *version, rest),
        ["apis", group, version, rest @ ..] => (Some(*group), *version, rest),
        _ => return ObjectReference::default(),
    };
    // Old prefixes that name a verb: /api/v1/watch/pods. Behind `proxy` a path follows, no subresource.
    let (is_proxy, rest) = match rest {
        ["watch", rest @ ..] => (false, rest),
        ["proxy", rest @ ..] => (true, rest),
        _ => (false, rest),
    };
    let (namespace, rest) = match rest {
        ["namespaces", namespace, "status" | "finalize", ..] => (Some(*namespace), rest),
        ["namespaces", namespace, _, ..] => (Some(*namespace), &rest[2..]),
        ["namespaces", namespace] => (Some(*namespace), rest),
        _ => (None, rest),
    };
    let Some(resource) = some_text(rest.first()) else {
        return ObjectReference::default();
    };
    ObjectReference {
        resource: Some(resource),
        namespace: some_text(namespace.as_ref()),
        name: some_text(rest.get(1)),
        api_group: some_text(group.as_ref()),
        api_version: some_text(Some(&version)),
        subresource: some_text(rest.get(2).filter(|_| !is_proxy)),
        ..ObjectReference::default()
    }
}

fn some_text<'a>(part: Option<&&'a str>) -> Option<Text<'a>> {
    part.filter(|p| !p.is_empty()).map(|p| Cow::Borrowed(*p))
}

impl ObjectReference<'_> {
    /// The same, with nothing borrowed.
    pub fn into_owned(self) -> ObjectReference<'static> {
        let own = |text: Option<Text<'_>>| text.map(|t| Cow::Owned(t.into_owned()));
        ObjectReference {
            resource: own(self.resource),
            namespace: own(self.namespace),
            name: own(self.name),
            uid: own(self.uid),
            api_group: own(self.api_group),
            api_version: own(self.api_version),
            resource_version: own(self.resource_version),
            subresource: own(self.subresource),
        }
    }
}

/// What `+` stands for: a blank in a query, itself in a path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Plus {
    Literal,
    Blank,
}

/// Decodes `%2F`; what is no valid escape stays as it stands, what is no UTF-8 becomes U+FFFD.
fn percent_decoded(text: &str, plus: Plus) -> Cow<'_, str> {
    let decodes = |b: u8| b == b'%' || (b == b'+' && plus == Plus::Blank);
    if !text.bytes().any(decodes) {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        match (first, after) {
            (b'%', [high, low, after @ ..])
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                bytes.push(hex_digit(*high) << 4 | hex_digit(*low));
                rest = after;
            }
            (b'+', _) if plus == Plus::Blank => bytes.push(b' '),
            _ => bytes.push(first),
        }
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

fn hex_digit(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// group/version/namespace/resource/name/subresource, `-` for none.
    fn shown(uri: &str) -> String {
        let o = object_of_uri(uri);
        [
            o.api_group,
            o.api_version,
            o.namespace,
            o.resource,
            o.name,
            o.subresource,
        ]
        .map(|part| part.map_or_else(|| "-".to_owned(), Cow::into_owned))
        .join(" ")
    }

    #[test]
    fn objects_are_read_as_the_api_server_reads_them() {
        for (uri, expected) in [
            (
                "/api/v1/namespaces/dev/pods/web-0/exec?command=ls",
                "- v1 dev pods web-0 exec",
            ),
            ("/api/v1/namespaces/dev/pods", "- v1 dev pods - -"),
            ("/api/v1/pods?limit=500", "- v1 - pods - -"),
            ("/api/v1/nodes/n1/status", "- v1 - nodes n1 status"),
            (
                "/api/v1/nodes/n1/proxy/metrics/cadvisor",
                "- v1 - nodes n1 proxy",
            ),
            (
                "/apis/apps/v1/namespaces/dev/deployments/web/scale",
                "apps v1 dev deployments web scale",
            ),
            (
                "/apis/rbac.authorization.k8s.io/v1/clusterroles/admin",
                "rbac.authorization.k8s.io v1 - clusterroles admin -",
            ),
            ("/api/v1/namespaces", "- v1 - namespaces - -"),
            ("/api/v1/namespaces/dev", "- v1 dev namespaces dev -"),
            (
                "/api/v1/namespaces/dev/finalize",
                "- v1 dev namespaces dev finalize",
            ),
            (
                "/api/v1/namespaces/dev/status",
                "- v1 dev namespaces dev status",
            ),
            (
                "/api/v1/watch/namespaces/dev/pods/web-0",
                "- v1 dev pods web-0 -",
            ),
            ("/api/v1/watch/pods", "- v1 - pods - -"),
            (
                "/api/v1/proxy/namespaces/dev/services/web/a/b",
                "- v1 dev services web -",
            ),
            ("/api/v1/pods/", "- v1 - pods - -"),
            (
                "/api/v1/namespaces/d%65v/pods/a%2Fexec",
                "- v1 dev pods a exec",
            ),
            (
                "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode",
                "rbac.authorization.k8s.io v1 - clusterroles system:node -",
            ),
        ] {
            assert_eq!(shown(uri), expected, "{uri}");
        }
    }

    #[test]
    fn non_resource_uris_name_no_object() {
        for uri in [
            "",
            "/",
            "/api",
            "/api/v1",
            "/apis",
            "/apis/apps",
            "/apis/apps/v1",
            "/apis/apps/v1?timeout=32s",
            "/readyz",
            "/openapi/v3/apis/apps/v1",
            "/api/v1/watch",
            "/api/v1//pods",
            "?",
            "%",
            "/api%zz",
        ] {
            assert_eq!(shown(uri), "- - - - - -", "{uri}");
        }
    }

    #[test]
    fn a_field_selector_on_the_name_is_found() {
        let name = |query: &str| selected_name_of_uri(&format!("/api/v1/pods?{query}"));
        assert_eq!(
            name("a=b&fieldSelector=metadata.name%3Dweb&watch=true").as_deref(),
            Some("web")
        );
        assert_eq!(
            name("fieldSelector=spec.nodeName%3Dn1%2Cmetadata.name%3D%3Dweb").as_deref(),
            Some("web")
        );
        assert_eq!(name("fieldSelector=metadata.name!%3Dweb"), None);
        assert_eq!(name("fieldSelector=metadata.name%3D"), None);
        assert_eq!(selected_name_of_uri("/api/v1/pods"), None);
    }

    proptest! {
        #[test]
        fn any_text_gives_no_panic(uri in "(/api|/apis|/namespaces|/watch|/|%|%2F|[?=&a-zé%+]){0,12}") {
            object_of_uri(&uri);
            selected_name_of_uri(&uri);
        }
    }
}
