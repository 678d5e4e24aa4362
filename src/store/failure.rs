//! Who must act on an error of an object store, and what they can do. object_store keeps the answer
//! of the server in the text of its errors only, so the codes of S3 and Azure are looked for there.

use crate::error::ErrorKind;

/// Codes in the answers of servers, who must act, and what to do.
const CODES: [(&str, ErrorKind, &str); 15] = [
    (
        "NoSuchBucket",
        ErrorKind::Missing,
        "there is no such bucket: check its name, or make it first",
    ),
    (
        "ContainerNotFound",
        ErrorKind::Missing,
        "there is no such container: check its name and the account, or make it first",
    ),
    (
        "PermanentRedirect",
        ErrorKind::Usage,
        "the bucket is in another region: set AWS_REGION",
    ),
    (
        "AuthorizationHeaderMalformed",
        ErrorKind::Usage,
        "the bucket is in another region: set AWS_REGION",
    ),
    (
        "Received redirect without LOCATION",
        ErrorKind::Usage,
        "the bucket is in another region: set AWS_REGION",
    ),
    (
        "ExpiredToken",
        ErrorKind::Denied,
        "the credentials are no longer valid: log in again",
    ),
    (
        "RequestTimeTooSkewed",
        ErrorKind::Denied,
        "the clock of this machine is wrong",
    ),
    (
        "InvalidAccessKeyId",
        ErrorKind::Denied,
        "the store does not know this access key: check AWS_ACCESS_KEY_ID and AWS_PROFILE",
    ),
    (
        "SignatureDoesNotMatch",
        ErrorKind::Denied,
        "the secret key is not right",
    ),
    (
        "AuthenticationFailed",
        ErrorKind::Denied,
        "the account key, signature or token is not right",
    ),
    (
        "Authorization",
        ErrorKind::Denied,
        "the account key is not right, or these credentials may not do this; reading needs the role Storage Blob Data Reader, an archive Storage Blob Data Contributor",
    ),
    (
        "AccessDenied",
        ErrorKind::Denied,
        "these credentials may not do this: reading needs s3:ListBucket and s3:GetObject, an archive s3:PutObject and s3:DeleteObject as well",
    ),
    (
        "169.254.169.25",
        ErrorKind::Denied,
        "no credentials were found: set them in the environment or a profile, or give this machine an identity",
    ),
    (
        "403 Forbidden",
        ErrorKind::Denied,
        "these credentials may not do this",
    ),
    (
        "401 Unauthorized",
        ErrorKind::Denied,
        "no valid credentials were given",
    ),
];

/// Who must act, and what they can do, if the store told more than object_store's kind does.
pub(crate) fn told(e: &object_store::Error) -> Option<(ErrorKind, &'static str)> {
    use object_store::Error as Store;
    match e {
        Store::Generic { .. }
        | Store::NotFound { .. }
        | Store::PermissionDenied { .. }
        | Store::Unauthenticated { .. } => {}
        Store::InvalidPath { .. } => {
            return Some((
                ErrorKind::Usage,
                "a key has two slashes in a row or a part . or .., which cannot be read here: name a folder without such keys",
            ));
        }
        _ => return None,
    }
    let text = e.to_string();
    let code = CODES.iter().find(|(code, _, _)| text.contains(code));
    code.map(|(_, kind, hint)| (*kind, *hint))
}

/// The error on one line, with what the server said instead of its XML.
pub(crate) fn brief(e: &object_store::Error) -> Option<String> {
    let text = e.to_string();
    let (before, xml) = text.split_once("<?xml")?;
    let part = |name: &str| {
        let (_, rest) = xml.split_once(&format!("<{name}>"))?;
        let (value, _) = rest.split_once("</")?;
        value.lines().next().map(str::trim)
    };
    let code = part("Code")?;
    let before = before.trim_end_matches([' ', ':']);
    Some(match part("Message") {
        Some(message) => format!("{before}: {code}: {message}"),
        None => format!("{before}: {code}"),
    })
}

/// True if asking again may help.
pub(crate) fn is_passing(e: &object_store::Error) -> bool {
    use object_store::Error as Store;
    match e {
        Store::NotFound { .. }
        | Store::Precondition { .. }
        | Store::NotModified { .. }
        | Store::AlreadyExists { .. }
        | Store::PermissionDenied { .. }
        | Store::Unauthenticated { .. }
        | Store::InvalidPath { .. }
        | Store::NotSupported { .. }
        | Store::UnknownConfigurationKey { .. } => false,
        _ => told(e).is_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_a_server_is_told_on_one_line_with_what_to_do() {
        let answer = "Server returned non-2xx status code: 403 Forbidden: <?xml version=\"1.0\"?>\n<Error>\n  <Code>AuthenticationFailed</Code>\n  <Message>No.\nRequestId:1</Message>\n</Error>";
        let e = object_store::Error::Generic {
            store: "X",
            source: answer.into(),
        };
        let brief = brief(&e).unwrap();
        assert!(
            brief.ends_with("403 Forbidden: AuthenticationFailed: No."),
            "{brief}"
        );
        assert_eq!(told(&e).unwrap().0, ErrorKind::Denied);
        assert!(!is_passing(&e));
    }
}
