//! Who may ask: a TOML file that only its owner may read, with a verifier instead of a password, and
//! what each user sees and may use. It is looked at again while the server runs, so that a user who was
//! taken out or cut down is so from the next statement on.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{File, Metadata};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde::Deserialize;
use tempfile::NamedTempFile;

use super::scram::{Verifier, random};
use crate::error::{Context as _, Error, ErrorKind, Result};
use crate::query::time::parse_duration;
use crate::table::provider::Sight;

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

const NAME_BYTES_MAX: usize = 63;

/// Someone who may ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The name to log in with.
    pub name: String,
    /// What proves the password.
    pub verifier: Verifier,
    /// What of the archive is seen.
    pub sight: Sight,
    /// Rows of one answer.
    pub rows_max: Option<u64>,
    /// Time for one statement.
    pub timeout: Option<Duration>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct UsersFile {
    #[serde(default)]
    user: Vec<UserEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct UserEntry {
    name: String,
    password: String,
    clusters: Option<BTreeSet<String>>,
    bodies: Option<bool>,
    max_rows: Option<u64>,
    timeout: Option<String>,
}

/// A name that needs no quotes anywhere.
///
/// # Errors
/// `Usage` if it is none.
pub fn checked_name(name: &str) -> Result<()> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '@');
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(fits) {
        return Err(
            Error::new(ErrorKind::Usage, format!("'{name}' is no name for a user"))
                .hint("letters, digits and _ - . @, at most 63 of them"),
        );
    }
    Ok(())
}

/// Reads a users file.
///
/// # Errors
/// `Missing` if there is none, `Denied` if others than its owner may read it, `Usage` if it is not
/// well-formed.
pub fn read(path: &Path) -> Result<Vec<User>> {
    let act = || format!("cannot read users from {}", path.display());
    let mut file = File::open(path).map_err(|e| {
        let opened: Result<File> = Err(e).context(act());
        match opened {
            Err(e) if e.kind() == ErrorKind::Missing => e.hint("make one: kolumn user add NAME"),
            Err(e) => e,
            Ok(_) => Error::new(ErrorKind::Bug, "an error became none"),
        }
    })?;
    only_the_owner(path, &file.metadata().context(act())?)?;
    let mut text = String::new();
    file.read_to_string(&mut text).context(act())?;
    parse(&text).context(act())
}

#[cfg(unix)]
fn only_the_owner(path: &Path, metadata: &Metadata) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    match metadata.permissions().mode() & 0o077 {
        0 => Ok(()),
        _ => Err(Error::new(
            ErrorKind::Denied,
            format!("others may read the users file {}", path.display()),
        )
        .hint(format!("chmod 600 {}", path.display()))),
    }
}

#[cfg(not(unix))]
fn only_the_owner(_: &Path, _: &Metadata) -> Result<()> {
    Ok(())
}

fn parse(text: &str) -> Result<Vec<User>> {
    let wrong = |what: String| Error::new(ErrorKind::Usage, what);
    // The parser's message quotes the line, which may hold a verifier.
    let file: UsersFile = toml::from_str(text).map_err(|e| wrong(e.message().to_owned()))?;
    let mut users: Vec<User> = Vec::with_capacity(file.user.len());
    for entry in file.user {
        checked_name(&entry.name)?;
        if users.iter().any(|user| user.name == entry.name) {
            return Err(wrong(format!("user {} is there twice", entry.name)));
        }
        let act = format!("user {}", entry.name);
        users.push(User {
            verifier: entry.password.parse().map_err(wrong).context(&act)?,
            sight: Sight {
                clusters: entry.clusters,
                no_bodies: entry.bodies == Some(false),
            },
            rows_max: entry.max_rows,
            timeout: entry
                .timeout
                .map(|text| positive(&text))
                .transpose()
                .context(&act)?,
            name: entry.name,
        });
    }
    Ok(users)
}

/// A time above zero, such as `30s`.
///
/// # Errors
/// `Usage` if it is none.
pub fn positive(text: &str) -> Result<Duration> {
    parse_duration(text)?
        .to_std()
        .ok()
        .filter(|time| !time.is_zero())
        .ok_or_else(|| Error::new(ErrorKind::Usage, format!("'{text}' is no time above zero")))
}

/// Writes a users file that only its owner may read, aside first.
///
/// # Errors
/// Errors of the file system.
pub fn write(path: &Path, users: &[User]) -> Result<()> {
    let act = || format!("cannot write users to {}", path.display());
    let text = text_of(users).map_err(|e| Error::new(ErrorKind::Bug, act()).because(e))?;
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).context(act())?;
    // A temporary file is readable by its owner only.
    let mut aside = NamedTempFile::new_in(folder).context(act())?;
    aside.write_all(text.as_bytes()).context(act())?;
    aside.as_file().sync_all().context(act())?;
    aside.persist(path).map_err(|e| e.error).context(act())?;
    Ok(())
}

fn text_of(users: &[User]) -> Result<String, std::fmt::Error> {
    // A JSON text is a TOML text.
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let mut text = String::from("# Written by `kolumn user`. Passwords cannot be read from it.\n");
    for user in users {
        writeln!(text, "\n[[user]]\nname = {}", quoted(&user.name))?;
        writeln!(text, "password = {}", quoted(&user.verifier.to_string()))?;
        if let Some(clusters) = &user.sight.clusters {
            let clusters: Vec<String> = clusters.iter().map(|c| quoted(c)).collect();
            writeln!(text, "clusters = [{}]", clusters.join(", "))?;
        }
        if user.sight.no_bodies {
            writeln!(text, "bodies = false")?;
        }
        if let Some(rows) = user.rows_max {
            writeln!(text, "max_rows = {rows}")?;
        }
        if let Some(timeout) = user.timeout {
            writeln!(text, "timeout = \"{}ms\"", timeout.as_millis())?;
        }
    }
    Ok(text)
}

/// The users of a running server.
#[derive(Debug)]
pub(super) struct Users {
    path: PathBuf,
    known: Mutex<Known>,
    /// What the salts of users who do not exist are made from.
    secret: [u8; 32],
}

#[derive(Debug)]
struct Known {
    looked: Instant,
    stamp: Option<(SystemTime, u64)>,
    users: Arc<[Arc<User>]>,
}

fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

fn shared(users: Vec<User>) -> Arc<[Arc<User>]> {
    users.into_iter().map(Arc::new).collect()
}

impl Users {
    /// Reads the file.
    ///
    /// # Errors
    /// Those of [`read`], and `Usage` if nobody is in it.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let stamp = stamp(path);
        let users = read(path)?;
        if users.is_empty() {
            return Err(Error::new(
                ErrorKind::Usage,
                format!("there is no user in {}", path.display()),
            )
            .hint("add one: kolumn user add NAME"));
        }
        Ok(Self {
            path: path.to_owned(),
            known: Mutex::new(Known {
                looked: Instant::now(),
                stamp,
                users: shared(users),
            }),
            secret: random()?,
        })
    }

    /// The user of a name, as the file tells now. A file that cannot be read any more lets nobody in.
    ///
    /// # Errors
    /// Those of [`read`].
    pub(super) fn find(&self, name: &str) -> Result<Option<Arc<User>>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.looked.elapsed() >= LOOK_EVERY {
            let now = stamp(&self.path);
            if now.is_none() || now != known.stamp {
                known.users = shared(read(&self.path)?);
                known.stamp = now;
            }
            known.looked = Instant::now();
        }
        Ok(known.users.iter().find(|user| user.name == name).cloned())
    }

    /// The verifier of a name; nobody's if there is no such user.
    ///
    /// # Errors
    /// Those of [`Users::find`].
    pub(super) fn verifier(&self, name: &str) -> Result<Verifier> {
        match self.find(name)? {
            Some(user) => Ok(user.verifier.clone()),
            None => Verifier::of_nobody(&self.secret, name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> User {
        User {
            name: name.to_owned(),
            verifier: Verifier::of_password("pw").unwrap(),
            sight: Sight::default(),
            rows_max: None,
            timeout: None,
        }
    }

    #[test]
    fn users_go_through_their_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sub/users.toml");
        let mut limited = user("b.c@d");
        limited.sight = Sight {
            clusters: Some(["x \"y\" \\ ü".to_owned(), "z".to_owned()].into()),
            no_bodies: true,
        };
        limited.rows_max = Some(7);
        limited.timeout = Some(Duration::from_millis(1500));
        let users = [user("a"), limited];
        write(&path, &users).unwrap();
        assert_eq!(read(&path).unwrap(), users);
        assert!(!std::fs::read_to_string(&path).unwrap().contains("\"pw\""));
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_others_may_read_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.toml");
        write(&path, &[user("a")]).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(read(&path).unwrap_err().kind(), ErrorKind::Denied);
    }

    #[test]
    fn what_is_wrong_in_a_file_is_told_without_its_verifiers() {
        let good = user("a").verifier.to_string();
        for (text, told) in [
            ("[[user]]\nname = \"a\"\npassword = \"hunter2\"", "verifier"),
            (
                "[[user]]\nname = \"a b\"\npassword = \"hunter2\"",
                "no name",
            ),
            ("[[user]]\nname = \"a\"\npasswort = \"hunter2\"", "passwort"),
            ("[[user]]\npassword = \"hunter2\"", "name"),
        ] {
            let e = parse(text).unwrap_err().to_chain();
            assert!(e.contains(told) && !e.contains("hunter2"), "{e}");
        }
        let twice = format!("[[user]]\nname = \"a\"\npassword = \"{good}\"\n").repeat(2);
        assert!(parse(&twice).unwrap_err().to_string().contains("twice"));
    }
}
