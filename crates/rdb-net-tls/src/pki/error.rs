//! What a CA could not do, whose fault it is, and what to do.

use std::fmt;
use std::path::PathBuf;

use rdb_net_types::{NodeId, Role};

use crate::files::LoadError;
use crate::identity::role_name;
use crate::time::UnixSeconds;

/// What the CA could not do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PkiError {
    /// There is one already. It stays.
    #[error("{}: there is a CA here already, which stays as it is: use it, or choose another folder", dir.display())]
    Exists {
        /// The folder.
        dir: PathBuf,
    },
    /// There is none.
    #[error("{0}: there is no CA here: name its folder, or make one with `rdbnet pki init --dir {0}`", dir.display())]
    NoCa {
        /// The folder.
        dir: PathBuf,
    },
    /// There are files of one that was never whole, or of one that was made by something else. They stay.
    #[error(
        "{}: it is here without the index of a CA: the making of one was interrupted, or another program made it; choose \
         another folder, or remove it if nothing uses it",
        path.display()
    )]
    Unfinished {
        /// The file.
        path: PathBuf,
    },
    /// A value is out of its range.
    #[error("{what} {value:?}: {problem}")]
    Illegal {
        /// Which value.
        what: &'static str,
        /// The value.
        value: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// It has one that is valid.
    #[error("{} {name} has a certificate that is valid until {not_after}: renew or revoke it", role_name(*.role))]
    AlreadyIssued {
        /// Whose.
        name: NodeId,
        /// Of which role.
        role: Role,
        /// Until when.
        not_after: UnixSeconds,
    },
    /// It has none that is valid.
    #[error("{name}: {absence}")]
    NothingIssued {
        /// Who, or which serial number.
        name: String,
        /// What there is instead.
        absence: Absence,
    },
    /// A file cannot be read or written.
    #[error("{}: {problem}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        problem: String,
    },
    /// A file of the CA is not as it was written.
    #[error(transparent)]
    File(#[from] LoadError),
    /// The index has a line that was not written by this library.
    #[error("{}:{line}: {problem}", path.display())]
    Index {
        /// The index.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        problem: &'static str,
    },
    /// Something could not be signed.
    #[error("the certificate cannot be made: {problem}")]
    Sign {
        /// What rcgen says.
        problem: String,
    },
}

/// Why there is no certificate that is valid.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Absence {
    /// The CA has never issued one.
    Unknown,
    /// All that it has issued are revoked or expired.
    Over,
    /// There are some that are valid, of other roles.
    OtherRole(Vec<Role>),
}

impl fmt::Display for Absence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("the CA has issued no such certificate"),
            Self::Over => {
                f.write_str("the CA has issued such certificates, and all are revoked or expired: issue a new one")
            }
            Self::OtherRole(roles) => {
                let roles: Vec<&str> = roles.iter().map(|role| role_name(*role)).collect();
                write!(f, "it has a certificate of another role: {}", roles.join(", "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rdb_net_types::ClusterId;
    use tempfile::TempDir;

    use super::super::{Pki, PkiOptions};
    use super::*;
    use crate::Clock;

    fn id(name: &str) -> NodeId {
        NodeId::new(name).expect("legal")
    }

    fn options() -> PkiOptions {
        PkiOptions::new(ClusterId::new("orders").expect("legal"))
    }

    fn absence<T: fmt::Debug>(result: Result<T, PkiError>) -> Absence {
        match result.expect_err("there is none") {
            PkiError::NothingIssued { absence, .. } => absence,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn who_has_none_is_told_what_there_is_instead() {
        let dir = TempDir::new().expect("a folder");
        let pki = Pki::init(dir.path(), &options(), Clock::default()).expect("made");
        pki.issue(&id("n1"), Role::Admin, &[]).expect("issued");
        pki.issue(&id("n1"), Role::Client, &[]).expect("issued");
        assert_eq!(absence(pki.renew(&id("n1"), Role::Node)), Absence::OtherRole(vec![Role::Client, Role::Admin]));
        assert_eq!(absence(pki.renew(&id("n2"), Role::Node)), Absence::Unknown);
        assert_eq!(absence(pki.revoke(&id("n2"))), Absence::Unknown);
        assert_eq!(absence(pki.revoke_serial("00")), Absence::Unknown);
        assert_eq!(pki.revoke(&id("n1")).expect("revoked").len(), 2);
        assert_eq!(absence(pki.revoke(&id("n1"))), Absence::Over);
        assert_eq!(absence(pki.renew(&id("n1"), Role::Node)), Absence::Over);
    }

    #[test]
    fn a_serial_number_is_found_as_other_tools_write_it() {
        let dir = TempDir::new().expect("a folder");
        let pki = Pki::init(dir.path(), &options(), Clock::default()).expect("made");
        let serial = pki.issue(&id("n1"), Role::Node, &[]).expect("issued").entry.serial;
        let pairs: Vec<&str> = (0..serial.len()).step_by(2).map(|at| &serial[at..at + 2]).collect();
        let revoked = pki.revoke_serial(&pairs.join(":").to_uppercase()).expect("the same number");
        assert_eq!(revoked.iter().map(|entry| &entry.serial).collect::<Vec<_>>(), [&serial]);
    }

    #[test]
    fn files_of_a_ca_that_was_never_whole_stay() {
        for file in ["ca-key.pem", "ca.pem", "crl.pem"] {
            let dir = TempDir::new().expect("a folder");
            fs::write(dir.path().join(file), "somebody's").expect("written");
            let path = dir.path().join(file);
            let unfinished = Err(PkiError::Unfinished { path: path.clone() });
            assert_eq!(Pki::init(dir.path(), &options(), Clock::default()).map(drop), unfinished);
            assert_eq!(Pki::open(dir.path(), Clock::default()).map(drop), unfinished);
            assert_eq!(fs::read_to_string(path).expect("there"), "somebody's");
        }
    }

    #[test]
    fn what_stays_valid_beside_a_renewed_certificate_is_told() {
        let dir = TempDir::new().expect("a folder");
        let pki = Pki::init(dir.path(), &options(), Clock::default()).expect("made");
        let first = pki.issue(&id("n1"), Role::Node, &[]).expect("issued");
        assert_eq!(first.former, []);
        let second = pki.renew(&id("n1"), Role::Node).expect("renewed");
        assert_eq!(second.former, std::slice::from_ref(&first.entry));
        pki.revoke_serial(&first.entry.serial).expect("revoked");
        assert_eq!(pki.renew(&id("n1"), Role::Node).expect("renewed").former, [second.entry]);
    }
}
