//! A small certificate authority in a folder, so that trying TLS takes two commands.
//!
//! ```text
//! DIR/ca.pem                  the CA's certificate: ca_cert_path of every node
//! DIR/ca-key.pem              its key, mode 0600; it is read here and goes nowhere
//! DIR/crl.pem                 what is revoked: crl_paths of every node
//! DIR/index                   what was issued
//! DIR/issued/node-n1/         cert.pem, key.pem (mode 0600) and a copy of ca.pem, for that node
//! ```
//!
//! Every file is replaced whole: written beside, flushed, renamed. Changes of two processes wait for each other (`DIR/lock`).
//! Who guards a company's keys has better places for a CA; the certificates are ordinary ones, so changing over is a rotation.

mod disk;
mod error;
mod index;
mod mint;

#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use rdb_net_types::{ClusterId, NodeId, Role};
use rustls::pki_types::DnsName;

use crate::identity::role_name;
use crate::time::{Clock, UnixSeconds};

pub use error::{Absence, PkiError};
pub use index::{Entry, EntryState};

use index::Index;

/// What a CA is made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PkiOptions {
    /// The cluster of all its certificates.
    pub cluster: ClusterId,
    /// The SPIFFE trust domain: `a-z`, `0-9`, `.`, `-`, `_`. Default `rustydb`.
    pub trust_domain: String,
    /// How long the CA is valid, in days. Default ten years; 1 to 36,500. Its revocation list is valid as long.
    pub ca_days: u32,
    /// How long the certificates are valid that it issues, in days. Default 365; 1 to 36,500, and never longer than the CA.
    pub certificate_days: u32,
}

impl PkiOptions {
    /// The defaults, for this cluster.
    pub fn new(cluster: ClusterId) -> Self {
        Self { cluster, trust_domain: "rustydb".to_owned(), ca_days: 3650, certificate_days: 365 }
    }
}

/// A certificate authority in a folder.
#[derive(Debug, Clone)]
pub struct Pki {
    dir: PathBuf,
    clock: Clock,
}

/// What was issued, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// Its line in the index.
    pub entry: Entry,
    /// The certificate: `cert_path`.
    pub certificate: PathBuf,
    /// The key: `key_path`.
    pub key: PathBuf,
    /// A copy of the CA's certificate: `ca_cert_path`.
    pub ca: PathBuf,
    /// Those of the same name and role that stay valid beside it, until they end or are revoked; the oldest first.
    pub former: Vec<Entry>,
}

/// What a CA is, beside its secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    /// The cluster of all its certificates.
    pub cluster: ClusterId,
    /// The SPIFFE trust domain of all its certificates.
    pub trust_domain: String,
    /// How long the certificates are valid that it issues, in days.
    pub certificate_days: u32,
    /// When it ends; its revocation list ends with it.
    pub not_after: UnixSeconds,
}

const DAYS_MAX: u32 = 36_500;

impl Pki {
    /// Makes a CA in this folder, which may not hold one yet.
    ///
    /// # Errors
    ///
    /// [`PkiError`]; a CA that was there stays as it is.
    pub fn init(dir: &Path, options: &PkiOptions, clock: Clock) -> Result<Self, PkiError> {
        for (what, days) in [("ca_days", options.ca_days), ("certificate_days", options.certificate_days)] {
            if !(1..=DAYS_MAX).contains(&days) {
                return Err(PkiError::Illegal { what, value: days.to_string(), problem: "1 to 36,500 days" });
            }
        }
        let domain = &options.trust_domain;
        let legal = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'.' | b'-' | b'_');
        if domain.is_empty() || domain.len() > 255 || !domain.bytes().all(legal) {
            let problem = "a trust domain is made of a-z, 0-9, '.', '-' and '_'";
            return Err(PkiError::Illegal { what: "trust_domain", value: domain.clone(), problem });
        }
        check_segment("cluster", options.cluster.as_str())?;
        disk::make_dir(dir)?;
        let pki = Self { dir: dir.to_owned(), clock };
        let _lock = pki.lock()?;
        if pki.path("index").exists() {
            return Err(PkiError::Exists { dir: dir.to_owned() });
        }
        pki.check_unused()?;
        let now = pki.now();
        let ca = mint::Ca::generate(options, now)?;
        let index = Index::new(options, ca.not_after());
        disk::replace(&pki.key_path(), ca.key_pem().as_bytes(), disk::Access::Owner)?;
        disk::replace(&pki.path("ca.pem"), ca.pem().as_bytes(), disk::Access::Everybody)?;
        disk::replace(&pki.path("crl.pem"), ca.revocation_list(&index, now)?.as_bytes(), disk::Access::Everybody)?;
        // The last file: a CA with an index is whole.
        disk::replace(&pki.path("index"), index.to_string().as_bytes(), disk::Access::Everybody)?;
        Ok(pki)
    }

    /// The CA in this folder.
    ///
    /// # Errors
    ///
    /// [`PkiError`] where there is none, or its files are damaged or may be read by others.
    pub fn open(dir: &Path, clock: Clock) -> Result<Self, PkiError> {
        let pki = Self { dir: dir.to_owned(), clock };
        if !pki.path("index").exists() {
            pki.check_unused()?;
            return Err(PkiError::NoCa { dir: dir.to_owned() });
        }
        pki.index()?;
        pki.ca()?;
        Ok(pki)
    }

    /// Issues a certificate for one who has none that is valid. The addresses, host names and IP addresses without ports,
    /// stand in it beside the identity, for tools that look for them; nodes do not.
    ///
    /// # Errors
    ///
    /// [`PkiError`]; nothing is issued.
    pub fn issue(&self, name: &NodeId, role: Role, addresses: &[String]) -> Result<Issued, PkiError> {
        check_segment("name", name.as_str())?;
        addresses.iter().try_for_each(|address| check_address(address))?;
        let _lock = self.lock()?;
        let index = self.index()?;
        if let Some(entry) = index.valid(name, Some(role), self.now()).next() {
            let not_after = entry.not_after;
            return Err(PkiError::AlreadyIssued { name: name.clone(), role, not_after });
        }
        self.issue_into(index, name, role, addresses)
    }

    /// Issues another certificate, with another key, for one who has a valid one, in the same files. The old one stays valid
    /// until it ends or is revoked.
    ///
    /// # Errors
    ///
    /// [`PkiError`]; nothing is issued.
    pub fn renew(&self, name: &NodeId, role: Role) -> Result<Issued, PkiError> {
        let _lock = self.lock()?;
        let index = self.index()?;
        let Some(newest) = index.valid(name, Some(role), self.now()).last() else {
            let mut roles: Vec<Role> = index.valid(name, None, self.now()).map(|entry| entry.role).collect();
            roles.sort_unstable();
            roles.dedup();
            let absence = match index.entries.iter().any(|entry| entry.name == *name) {
                true if roles.is_empty() => Absence::Over,
                true => Absence::OtherRole(roles),
                false => Absence::Unknown,
            };
            return Err(PkiError::NothingIssued { name: name.to_string(), absence });
        };
        let addresses = newest.addresses.clone();
        self.issue_into(index, name, role, &addresses)
    }

    /// Revokes every valid certificate of this name, whatever its role, and writes the list. Returns what was revoked.
    ///
    /// # Errors
    ///
    /// [`PkiError`]; nothing is revoked.
    pub fn revoke(&self, name: &NodeId) -> Result<Vec<Entry>, PkiError> {
        self.revoke_if(name.as_str(), |entry| entry.name == *name)
    }

    /// Revokes one certificate, by its serial number in hexadecimal, and writes the list. Capitals and colons, as other tools
    /// write them, are taken too. Returns what was revoked.
    ///
    /// # Errors
    ///
    /// [`PkiError`]; nothing is revoked.
    pub fn revoke_serial(&self, serial: &str) -> Result<Vec<Entry>, PkiError> {
        let wanted = serial.replace(':', "").to_ascii_lowercase();
        self.revoke_if(serial, |entry| entry.serial == wanted)
    }

    /// Everything that was issued, the oldest first.
    ///
    /// # Errors
    ///
    /// [`PkiError`] where the index cannot be read.
    pub fn show(&self) -> Result<Vec<Entry>, PkiError> {
        Ok(self.index()?.entries)
    }

    /// What the CA is.
    ///
    /// # Errors
    ///
    /// [`PkiError`] where the index cannot be read.
    pub fn authority(&self) -> Result<Authority, PkiError> {
        let Index { cluster, trust_domain, certificate_days, ca_not_after: not_after, .. } = self.index()?;
        Ok(Authority { cluster, trust_domain, certificate_days, not_after })
    }

    /// The CA's certificate: `ca_cert_path` of every node.
    pub fn ca_path(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// What is revoked: `crl_paths` of every node.
    pub fn list_path(&self) -> PathBuf {
        self.path("crl.pem")
    }

    fn issue_into(
        &self,
        mut index: Index,
        name: &NodeId,
        role: Role,
        addresses: &[String],
    ) -> Result<Issued, PkiError> {
        let ca = self.ca()?;
        let minted = ca.issue(&index, name, role, addresses, self.now())?;
        let entry = minted.entry.clone();
        let former = index.valid(name, Some(role), self.now()).cloned().collect();
        index.entries.push(entry.clone());
        // Known before it exists: what is in no index could never be revoked.
        self.write_index(&index)?;
        let dir = self.path("issued").join(format!("{}-{name}", role_name(role)));
        disk::make_dir(&self.path("issued"))?;
        disk::make_dir(&dir)?;
        let [certificate, key, ca_copy] = ["cert.pem", "key.pem", "ca.pem"].map(|file| dir.join(file));
        let issued = Issued { entry, certificate, key, ca: ca_copy, former };
        // A file with this CA and others belongs to a rotation that is under way.
        if !fs::read_to_string(&issued.ca).is_ok_and(|text| text.contains(ca.pem())) {
            disk::replace(&issued.ca, ca.pem().as_bytes(), disk::Access::Everybody)?;
        }
        disk::replace(&issued.key, minted.key_pem.as_bytes(), disk::Access::Owner)?;
        disk::replace(&issued.certificate, minted.pem.as_bytes(), disk::Access::Everybody)?;
        Ok(issued)
    }

    fn revoke_if(&self, name: &str, is_meant: impl Fn(&Entry) -> bool) -> Result<Vec<Entry>, PkiError> {
        let _lock = self.lock()?;
        let (mut index, now) = (self.index()?, self.now());
        let mut revoked = Vec::new();
        let mut absence = Absence::Unknown;
        for entry in index.entries.iter_mut().filter(|entry| is_meant(entry)) {
            absence = Absence::Over;
            if entry.state(now) == EntryState::Valid {
                entry.revoked_at = Some(now);
                revoked.push(entry.clone());
            }
        }
        if revoked.is_empty() {
            return Err(PkiError::NothingIssued { name: name.to_owned(), absence });
        }
        index.list_number += 1;
        // The list first: what only the list knows can be revoked again, what only the index knows could not.
        let list = self.ca()?.revocation_list(&index, now)?;
        disk::replace(&self.list_path(), list.as_bytes(), disk::Access::Everybody)?;
        self.write_index(&index)?;
        Ok(revoked)
    }

    fn index(&self) -> Result<Index, PkiError> {
        let path = self.path("index");
        let text = fs::read_to_string(&path).map_err(|error| disk::failed(&path, &error))?;
        Index::parse(&path, &text)
    }

    fn write_index(&self, index: &Index) -> Result<(), PkiError> {
        disk::replace(&self.path("index"), index.to_string().as_bytes(), disk::Access::Everybody)
    }

    fn ca(&self) -> Result<mint::Ca, PkiError> {
        mint::Ca::load(&self.path("ca.pem"), &self.path("ca-key.pem"))
    }

    fn lock(&self) -> Result<File, PkiError> {
        let path = self.path("lock");
        let file = File::options().write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(|error| disk::failed(&path, &error))?;
        file.lock().map_err(|error| disk::failed(&path, &error))?;
        Ok(file)
    }

    /// The time by which it judges what is valid.
    pub fn now(&self) -> UnixSeconds {
        self.clock.now().into()
    }

    /// The CA's key. It goes nowhere.
    pub fn key_path(&self) -> PathBuf {
        self.path("ca-key.pem")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// That no file is there that another CA would replace.
    fn check_unused(&self) -> Result<(), PkiError> {
        let taken = [self.key_path(), self.ca_path(), self.list_path()].into_iter().find(|path| path.exists());
        taken.map_or(Ok(()), |path| Err(PkiError::Unfinished { path }))
    }
}

/// A node id may be `.`; a part of a SPIFFE id may not.
fn check_segment(what: &'static str, text: &str) -> Result<(), PkiError> {
    match text {
        "." | ".." => Err(PkiError::Illegal { what, value: text.to_owned(), problem: "no part of a SPIFFE id" }),
        _ => Ok(()),
    }
}

fn check_address(address: &str) -> Result<(), PkiError> {
    match address.parse::<IpAddr>().is_ok() || DnsName::try_from(address).is_ok() {
        true => Ok(()),
        false => {
            let problem = "a host name or an IP address, without a port";
            Err(PkiError::Illegal { what: "address", value: address.to_owned(), problem })
        }
    }
}
