//! The index: what a CA is, and what it has issued, as lines of text.

use std::fmt;
use std::path::Path;

use rdb_net_types::{ClusterId, NodeId, Role};

use super::{PkiError, PkiOptions};
use crate::identity::role_name;
use crate::time::UnixSeconds;

const FIRST_LINE: &str = "rustydb-pki 1";

/// What stands where there is nothing.
const NOTHING: &str = "-";

/// A certificate that was issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its serial number, in hexadecimal.
    pub serial: String,
    /// Whose it is.
    pub name: NodeId,
    /// Of which role.
    pub role: Role,
    /// When it ends.
    pub not_after: UnixSeconds,
    /// When it was revoked, if it was.
    pub revoked_at: Option<UnixSeconds>,
    /// Host names and IP addresses in it.
    pub addresses: Vec<String>,
}

/// What a certificate is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryState {
    /// It is valid.
    Valid,
    /// Its time is over.
    Expired,
    /// It was revoked.
    Revoked,
}

impl EntryState {
    /// Its name, as tables and documents have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

impl Entry {
    /// The name of its role, as it stands in the certificate.
    pub const fn role_name(&self) -> &'static str {
        role_name(self.role)
    }

    /// What it is worth at this time.
    pub fn state(&self, now: UnixSeconds) -> EntryState {
        match self.revoked_at {
            Some(_) => EntryState::Revoked,
            None if self.not_after < now => EntryState::Expired,
            None => EntryState::Valid,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Index {
    pub(super) cluster: ClusterId,
    pub(super) trust_domain: String,
    pub(super) certificate_days: u32,
    pub(super) ca_not_after: UnixSeconds,
    /// Of the revocation list (RFC 5280, section 5.2.3): it only grows.
    pub(super) list_number: u64,
    pub(super) entries: Vec<Entry>,
}

impl Index {
    pub(super) fn new(options: &PkiOptions, ca_not_after: UnixSeconds) -> Self {
        Self {
            cluster: options.cluster.clone(),
            trust_domain: options.trust_domain.clone(),
            certificate_days: options.certificate_days,
            ca_not_after,
            list_number: 1,
            entries: Vec::new(),
        }
    }

    /// The valid certificates of this name, the oldest first.
    pub(super) fn valid(&self, name: &NodeId, role: Option<Role>, now: UnixSeconds) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| {
            entry.name == *name && role.is_none_or(|role| entry.role == role) && entry.state(now) == EntryState::Valid
        })
    }

    pub(super) fn parse(path: &Path, text: &str) -> Result<Self, PkiError> {
        let mut lines = text.lines().enumerate();
        let error = |line: usize, problem| PkiError::Index { path: path.to_owned(), line: line + 1, problem };
        if lines.next().is_none_or(|(_, first)| first != FIRST_LINE) {
            return Err(error(0, "this is no index of a CA, or of another version"));
        }
        let mut value = |key: &str| match lines.next().map(|(number, line)| (number, line.split_once(' '))) {
            Some((number, Some((found, value)))) if found == key => Ok((number, value)),
            Some((number, _)) => Err(error(number, "another line belongs here")),
            None => Err(error(0, "lines are missing")),
        };
        let (line, cluster) = value("cluster")?;
        let cluster = ClusterId::new(cluster).map_err(|_| error(line, "this is no cluster id"))?;
        let (_, trust_domain) = value("trust_domain")?;
        let trust_domain = trust_domain.to_owned();
        let (line, days) = value("certificate_days")?;
        let certificate_days = days.parse().map_err(|_| error(line, "this is no number of days"))?;
        let (line, end) = value("ca_not_after")?;
        let ca_not_after = UnixSeconds(end.parse().map_err(|_| error(line, "this is no time"))?);
        let (line, list) = value("list_number")?;
        let list_number = list.parse().map_err(|_| error(line, "this is no number"))?;
        let entries =
            lines.map(|(number, line)| parse_entry(line).ok_or_else(|| error(number, "this is no certificate")));
        let entries = entries.collect::<Result<_, _>>()?;
        Ok(Self { cluster, trust_domain, certificate_days, ca_not_after, list_number, entries })
    }
}

fn parse_entry(line: &str) -> Option<Entry> {
    let mut fields = line.split(' ');
    let ("issued", serial, role, name, not_after, revoked_at, addresses, None) = (
        fields.next()?,
        fields.next()?,
        fields.next()?,
        fields.next()?,
        fields.next()?,
        fields.next()?,
        fields.next()?,
        fields.next(),
    ) else {
        return None;
    };
    if serial.is_empty() || !serial.len().is_multiple_of(2) || !serial.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let optional = |text: &str| match text {
        NOTHING => Some(None),
        text => text.parse().ok().map(|seconds| Some(UnixSeconds(seconds))),
    };
    Some(Entry {
        serial: serial.to_owned(),
        name: NodeId::new(name).ok()?,
        role: [Role::Node, Role::Client, Role::Admin].into_iter().find(|known| role_name(*known) == role)?,
        not_after: UnixSeconds(not_after.parse().ok()?),
        revoked_at: optional(revoked_at)?,
        addresses: match addresses {
            NOTHING => Vec::new(),
            text => text.split(',').map(str::to_owned).collect(),
        },
    })
}

impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FIRST_LINE}")?;
        writeln!(f, "cluster {}", self.cluster)?;
        writeln!(f, "trust_domain {}", self.trust_domain)?;
        writeln!(f, "certificate_days {}", self.certificate_days)?;
        writeln!(f, "ca_not_after {}", self.ca_not_after.0)?;
        writeln!(f, "list_number {}", self.list_number)?;
        for Entry { serial, name, role, not_after, revoked_at, addresses } in &self.entries {
            let revoked_at = revoked_at.map_or(NOTHING.to_owned(), |at| at.0.to_string());
            let addresses = if addresses.is_empty() { NOTHING.to_owned() } else { addresses.join(",") };
            let role = role_name(*role);
            writeln!(f, "issued {serial} {role} {name} {} {revoked_at} {addresses}", not_after.0)?;
        }
        Ok(())
    }
}
