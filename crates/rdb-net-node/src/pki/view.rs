//! What the commands tell: documents for programs, and texts for people. No view has room for a key.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use rdb_net_tls::UnixSeconds;
use rdb_net_tls::pki::{Authority, Entry, EntryState, Issued, Pki};
use rdb_net_types::{ClusterId, NodeId, Role};
use serde::Serialize;

use super::lines::{Files, lines};
use crate::exit::Failure;
use crate::render;

const DAY_SECONDS: i64 = 86_400;

/// A CA that was made.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct InitView {
    cluster: ClusterId,
    trust_domain: String,
    /// When it ends.
    not_after: String,
    ca_cert_path: PathBuf,
    ca_key_path: PathBuf,
    crl_path: PathBuf,
}

impl InitView {
    pub(super) fn new(pki: &Pki, authority: &Authority) -> Self {
        Self {
            cluster: authority.cluster.clone(),
            trust_domain: authority.trust_domain.clone(),
            not_after: authority.not_after.to_string(),
            ca_cert_path: pki.ca_path(),
            ca_key_path: pki.key_path(),
            crl_path: pki.list_path(),
        }
    }

    pub(super) fn table(&self, dir: &Path) -> String {
        let Self { cluster, not_after, ca_cert_path, ca_key_path, crl_path, .. } = self;
        let dir = if dir == Path::new("pki") { String::new() } else { format!(" --dir {}", dir.display()) };
        format!(
            "a CA for the cluster {cluster}, valid until {not_after}\n  \
             {}  its certificate\n  \
             {}  its key, mode 0600: it stays here\n  \
             {}  what is revoked\n\
             next: rdbnet pki issue{dir} NAME\n",
            ca_cert_path.display(),
            ca_key_path.display(),
            crl_path.display(),
        )
    }
}

/// A certificate.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct EntryView {
    name: NodeId,
    role: &'static str,
    serial: String,
    /// `valid`, `expired` or `revoked`.
    state: &'static str,
    not_after: String,
    /// Whole days; negative once it has ended.
    days_left: i64,
    revoked_at: Option<String>,
    addresses: Vec<String>,
}

impl EntryView {
    fn new(entry: &Entry, now: UnixSeconds) -> Self {
        Self {
            name: entry.name.clone(),
            role: entry.role_name(),
            serial: entry.serial.clone(),
            state: entry.state(now).name(),
            not_after: entry.not_after.to_string(),
            days_left: (entry.not_after.0 - now.0).div_euclid(DAY_SECONDS),
            revoked_at: entry.revoked_at.map(|at| at.to_string()),
            addresses: entry.addresses.clone(),
        }
    }

    fn row(&self) -> [String; 6] {
        // What is over has no days left, whatever its date.
        let is_valid = self.state == EntryState::Valid.name();
        let left = if is_valid { self.days_left.to_string() } else { "-".to_owned() };
        let (role, state) = (self.role.to_owned(), self.state.to_owned());
        [self.name.to_string(), role, self.serial.clone(), state, self.not_after.clone(), left]
    }
}

/// Certificates that were issued.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct IssuesView {
    pub(super) issued: Vec<IssuedView>,
}

impl IssuesView {
    /// TOML, with everything but the settings in comments. Of several certificates, each has a table of its own.
    pub(super) fn table(&self) -> String {
        self.issued.iter().map(IssuedView::table).collect::<Vec<_>>().join("\n")
    }
}

/// A certificate that was issued, and where it is.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct IssuedView {
    #[serde(flatten)]
    entry: EntryView,
    cluster: ClusterId,
    cert_path: PathBuf,
    key_path: PathBuf,
    ca_cert_path: PathBuf,
    crl_path: PathBuf,
    /// Those of the same name and role that stay valid beside it.
    former: Vec<EntryView>,
    /// What belongs into the configuration of a node with it; `null` for other roles, with which no node runs.
    configuration: Option<String>,
}

impl IssuedView {
    pub(super) fn new(pki: &Pki, authority: &Authority, issued: &Issued) -> Result<Self, Failure> {
        let Issued { entry, certificate, key, ca, former } = issued.clone();
        let files = Files { certificate, key, ca, list: pki.list_path() };
        let configuration = if entry.role == Role::Node { Some(lines(&files)?) } else { None };
        let Files { certificate, key, ca, list } = files;
        let now = pki.now();
        Ok(Self {
            entry: EntryView::new(&entry, now),
            cluster: authority.cluster.clone(),
            cert_path: certificate,
            key_path: key,
            ca_cert_path: ca,
            crl_path: list,
            former: former.iter().map(|entry| EntryView::new(entry, now)).collect(),
            configuration,
        })
    }

    fn table(&self) -> String {
        let EntryView { name, role, serial, not_after, .. } = &self.entry;
        let mut text = format!("# {role} {name}: a certificate until {not_after}, serial {serial}\n");
        let mut say = |sentence: String| writeln!(text, "# {sentence}").expect("a string takes every text");
        say(format!("  wrote {}", comment(&self.cert_path)));
        say(format!("  wrote {} (mode 0600)", comment(&self.key_path)));
        say(format!("  wrote {}", comment(&self.ca_cert_path)));
        for former in &self.former {
            say(format!("serial {} stays valid until {}, or until it is revoked", former.serial, former.not_after));
        }
        match &self.configuration {
            Some(configuration) => {
                say(format!("for the configuration with node_id = \"{name}\" and cluster_id = \"{}\":", self.cluster));
                text.push_str(configuration);
            }
            None => say(format!("a node lets nodes in, and the role {role} only where its program says so")),
        }
        text
    }
}

/// A path in a comment: whatever it is named, the comment stays one line.
fn comment(path: &Path) -> String {
    let text = path.display().to_string();
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// Certificates that were revoked.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct RevokedView {
    revoked: Vec<EntryView>,
    crl_path: PathBuf,
}

impl RevokedView {
    pub(super) fn new(pki: &Pki, revoked: &[Entry]) -> Self {
        let now = pki.now();
        let revoked = revoked.iter().map(|entry| EntryView::new(entry, now)).collect();
        Self { revoked, crl_path: pki.list_path() }
    }

    pub(super) fn table(&self) -> String {
        let mut text = String::new();
        for EntryView { name, role, serial, .. } in &self.revoked {
            writeln!(text, "revoked: {role} {name}, serial {serial}").expect("a string takes every text");
        }
        let path = self.crl_path.display();
        writeln!(text, "wrote {path}: nodes elsewhere need a copy of it").expect("a string takes every text");
        text
    }
}

/// A CA and what it has issued.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct ShowView {
    cluster: ClusterId,
    trust_domain: String,
    /// When the CA ends.
    not_after: String,
    days_left: i64,
    ca_cert_path: PathBuf,
    crl_path: PathBuf,
    /// The oldest first.
    certificates: Vec<EntryView>,
}

impl ShowView {
    pub(super) fn new(pki: &Pki, authority: &Authority, entries: &[Entry]) -> Self {
        let now = pki.now();
        Self {
            cluster: authority.cluster.clone(),
            trust_domain: authority.trust_domain.clone(),
            not_after: authority.not_after.to_string(),
            days_left: (authority.not_after.0 - now.0).div_euclid(DAY_SECONDS),
            ca_cert_path: pki.ca_path(),
            crl_path: pki.list_path(),
            certificates: entries.iter().map(|entry| EntryView::new(entry, now)).collect(),
        }
    }

    pub(super) fn table(&self) -> String {
        let mut rows = render::table(["NAME", "ROLE", "SERIAL", "STATE", "NOT AFTER", "DAYS LEFT"]);
        for entry in &self.certificates {
            rows.add_row(entry.row());
        }
        render::text(&rows)
    }
}

#[cfg(test)]
mod tests;
