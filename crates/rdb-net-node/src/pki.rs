//! `pki`: a small certificate authority in a folder, so that TLS between nodes is two commands.
//!
//! What `issue` and `renew` write for people is a piece of TOML, with everything else in comments: it can be appended to a
//! node's configuration as it is.

pub(crate) mod lines;
mod similar;
mod view;

use std::path::{Path, PathBuf};

use rdb_net_tls::Clock;
use rdb_net_tls::pki::{Absence, EntryState, Issued, Pki, PkiError, PkiOptions};
use rdb_net_types::{NodeId, Role};

use crate::cli::pki::{Folder, InitOptions, IssueOptions, PkiCommand, RenewOptions, RevokeOptions};
use crate::exit::Failure;
use crate::output::Output;

use view::{InitView, IssuedView, IssuesView, RevokedView, ShowView};

/// How many names are told where none is like the one that was looked for.
const NAMES_TOLD_MAX: usize = 8;

pub(crate) fn run(command: PkiCommand, output: Output) -> Result<(), Failure> {
    match command {
        PkiCommand::Init(options) => init(options, output),
        PkiCommand::Issue(options) => issue(&options, output),
        PkiCommand::Renew(options) => renew(&options, output),
        PkiCommand::Revoke(options) => revoke(&options, output),
        PkiCommand::Show(folder) => show(&folder, output),
    }
}

/// The CA in a folder. The folder's whole path is used, so that what is told holds in every working directory.
fn open(folder: &Folder) -> Result<Pki, Failure> {
    Pki::open(&absolute(&folder.dir)?, Clock::default()).map_err(Failure::other)
}

fn absolute(dir: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(dir).map_err(|error| Failure::Other(format!("{}: {error}", dir.display())))
}

fn init(options: InitOptions, output: Output) -> Result<(), Failure> {
    let InitOptions { folder, cluster, trust_domain, ca_days, certificate_days } = options;
    let options = PkiOptions { trust_domain, ca_days, certificate_days, ..PkiOptions::new(cluster) };
    let pki = Pki::init(&absolute(&folder.dir)?, &options, Clock::default()).map_err(Failure::other)?;
    let view = InitView::new(&pki, &pki.authority().map_err(Failure::other)?);
    output.result(&view, |view| view.table(&folder.dir))
}

fn issue(options: &IssueOptions, output: Output) -> Result<(), Failure> {
    let pki = open(&options.folder)?;
    let (mut written, mut failed) = (Vec::new(), None);
    for name in &options.names {
        match pki.issue(name, options.role.into(), &options.address) {
            Ok(issued) => written.push(issued),
            Err(error) => {
                failed = Some(Failure::other(error));
                break;
            }
        }
    }
    // What was issued before something went wrong is there, and is told.
    if !written.is_empty() {
        tell(&pki, &written, output)?;
    }
    failed.map_or(Ok(()), Err)
}

fn renew(options: &RenewOptions, output: Output) -> Result<(), Failure> {
    let RenewOptions { folder, name, role } = options;
    let pki = open(folder)?;
    let role = match role {
        Some(role) => (*role).into(),
        None => only_role(&pki, name)?,
    };
    let renewed = pki.renew(name, role).map_err(|error| hinted(&pki, error))?;
    tell(&pki, &[renewed], output)
}

/// The role that is meant where none is named: the one in which the name has a valid certificate.
fn only_role(pki: &Pki, name: &NodeId) -> Result<Role, Failure> {
    let (entries, now) = (pki.show().map_err(Failure::other)?, pki.now());
    let mut valid: Vec<_> =
        entries.iter().filter(|entry| entry.name == *name && entry.state(now) == EntryState::Valid).collect();
    valid.sort_by_key(|entry| entry.role);
    valid.dedup_by_key(|entry| entry.role);
    match valid.as_slice() {
        [] => Ok(Role::Node),
        [one] => Ok(one.role),
        several => {
            let roles: Vec<_> = several.iter().map(|entry| entry.role_name()).collect();
            Err(Failure::Other(format!(
                "{name} has certificates of the roles {}: say which with --role",
                roles.join(", ")
            )))
        }
    }
}

fn tell(pki: &Pki, issued: &[Issued], output: Output) -> Result<(), Failure> {
    let authority = pki.authority().map_err(Failure::other)?;
    let views = issued.iter().map(|issued| IssuedView::new(pki, &authority, issued));
    output.result(&IssuesView { issued: views.collect::<Result<_, _>>()? }, IssuesView::table)
}

fn revoke(options: &RevokeOptions, output: Output) -> Result<(), Failure> {
    let RevokeOptions { folder, name, serial } = options;
    let pki = open(folder)?;
    let revoked = match (name, serial) {
        (Some(name), _) => pki.revoke(name),
        (None, serial) => pki.revoke_serial(serial.as_deref().unwrap_or_default()),
    };
    let revoked = revoked.map_err(|error| hinted(&pki, error))?;
    output.result(&RevokedView::new(&pki, &revoked), RevokedView::table)
}

fn show(folder: &Folder, output: Output) -> Result<(), Failure> {
    let pki = open(folder)?;
    let (authority, entries) = (pki.authority().map_err(Failure::other)?, pki.show().map_err(Failure::other)?);
    output.result(&ShowView::new(&pki, &authority, &entries), ShowView::table)
}

/// The failure of looking for something; where there is nothing like it, with what was probably meant.
fn hinted(pki: &Pki, error: PkiError) -> Failure {
    let PkiError::NothingIssued { name, absence } = &error else { return Failure::other(error) };
    if *absence != Absence::Unknown {
        return Failure::other(error);
    }
    // The hint is all that is lost where the index cannot be read any more.
    let entries = pki.show().unwrap_or_default();
    let mut names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let serials = entries.iter().map(|entry| entry.serial.as_str());
    let hint = match similar::similar(name, names.iter().copied().chain(serials)) {
        Some(meant) => format!("; did you mean {meant}?"),
        None if names.is_empty() => "; it has issued none yet".to_owned(),
        None if names.len() <= NAMES_TOLD_MAX => format!("; there are those of {}", names.join(", ")),
        None => "; `rdbnet pki show` lists those that it has".to_owned(),
    };
    Failure::Other(format!("{error}{hint}"))
}
