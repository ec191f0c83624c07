//! Whether a file may hold a secret: the one rule for private keys, keys of gossip and state, and shared secrets.
//!
//! Who reads the file asks the system and judges the answer here. Others who may read the file know the secret; others who own
//! it, or own the folder that a link leads to, put their own in its place.

use std::path::{Path, PathBuf};

/// What the system says of a file with a secret.
#[derive(Debug, Clone, Copy)]
pub struct SecretFile<'a> {
    /// Its mode: that of the file that is open, not of the name.
    pub mode: u32,
    /// The user whom it belongs to.
    pub owner: u32,
    /// The effective user of this process.
    pub user: u32,
    /// Where it is, every link followed.
    pub file: &'a Path,
    /// Where the folder is that its name stands in, every link followed.
    pub folder: &'a Path,
}

/// Why a file may hold no secret. Whoever put it there is at fault; nothing of it was read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExposedSecret {
    /// Others than its owner have rights on it.
    #[error(
        "its mode is {mode:04o}, so others than its owner may use the secret in it: chmod 0600 it, and take a new secret if \
         others may have read this one"
    )]
    Mode {
        /// The lower nine bits of its mode.
        mode: u32,
    },
    /// It belongs to somebody else.
    #[error("it belongs to the user {owner}, who may replace it, and this process runs as {user}: chown it to {user}")]
    Owner {
        /// Its owner.
        owner: u32,
        /// The effective user of this process.
        user: u32,
    },
    /// It is a link to somewhere else.
    #[error("it is a link that leads out of its folder, to {}: name that file itself", file.display())]
    Elsewhere {
        /// Where it leads.
        file: PathBuf,
    },
}

impl SecretFile<'_> {
    /// Whether only its owner has rights on it, its owner is this process's user or root, and it lies in its folder. Links
    /// within the folder are fine: Kubernetes makes a mounted secret of them.
    ///
    /// # Errors
    ///
    /// [`ExposedSecret`] with what to do.
    pub fn check(&self) -> Result<(), ExposedSecret> {
        let Self { mode, owner, user, file, folder } = *self;
        let mode = mode & 0o777;
        if mode & 0o077 != 0 {
            return Err(ExposedSecret::Mode { mode });
        }
        if owner != user && owner != 0 {
            return Err(ExposedSecret::Owner { owner, user });
        }
        if !file.starts_with(folder) {
            return Err(ExposedSecret::Elsewhere { file: file.to_owned() });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: u32 = 1000;

    #[track_caller]
    fn check(mode: u32, owner: u32, file: &str, expected: Result<(), ExposedSecret>) {
        let file = SecretFile { mode, owner, user: USER, file: Path::new(file), folder: Path::new("/etc/db") };
        assert_eq!(file.check(), expected);
    }

    /// S6: a key is its owner's alone, its owner is this process's user or root, and it lies in its folder.
    #[test]
    fn a_secret_is_its_owners_alone_and_lies_in_its_own_folder() {
        const FILE: &str = "/etc/db/key.pem";
        check(0o100_600, USER, FILE, Ok(()));
        check(0o100_400, 0, FILE, Ok(()));
        check(0o100_600, USER, "/etc/db/..2026_11_26/key.pem", Ok(()));
        for mode in [0o604, 0o640, 0o660, 0o602, 0o610, 0o777, 0o444, 0o601] {
            check(0o100_000 | mode, USER, FILE, Err(ExposedSecret::Mode { mode }));
        }
        check(0o100_600, 1001, FILE, Err(ExposedSecret::Owner { owner: 1001, user: USER }));
        for elsewhere in ["/etc/db2/key.pem", "/etc/key.pem", "/home/mallory/key.pem"] {
            check(0o100_600, USER, elsewhere, Err(ExposedSecret::Elsewhere { file: elsewhere.into() }));
        }
    }
}
