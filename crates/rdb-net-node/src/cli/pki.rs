//! `pki`: what can be written.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use rdb_net_types::{ClusterId, NodeId, Role};

const DAYS: std::ops::RangeInclusive<i64> = 1..=36_500;

#[derive(Debug, Subcommand)]
pub(crate) enum PkiCommand {
    /// Makes a CA in a folder that has none. One that is there stays as it is.
    Init(InitOptions),
    /// Issues certificates, each with a key of its own, and tells the lines for the configuration of their nodes.
    Issue(IssueOptions),
    /// Issues another certificate, with another key, in the same files. The former one stays valid until it ends or is
    /// revoked.
    Renew(RenewOptions),
    /// Revokes every valid certificate of a name, or one by its serial number, and writes the revocation list.
    Revoke(RevokeOptions),
    /// Lists what was issued.
    Show(Folder),
}

#[derive(Debug, Args)]
pub(crate) struct Folder {
    /// The folder of the CA.
    #[arg(long, value_name = "DIR", default_value = "pki")]
    pub(crate) dir: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct InitOptions {
    #[command(flatten)]
    pub(crate) folder: Folder,
    /// The cluster of all its certificates: `networking.cluster_id` of the nodes.
    #[arg(long, value_name = "NAME", default_value = "rustydb")]
    pub(crate) cluster: ClusterId,
    /// The SPIFFE trust domain of all its certificates.
    #[arg(long, value_name = "NAME", default_value = "rustydb")]
    pub(crate) trust_domain: String,
    /// How long the CA and its revocation list are valid.
    #[arg(long, value_name = "DAYS", default_value_t = 3650, value_parser = clap::value_parser!(u32).range(DAYS))]
    pub(crate) ca_days: u32,
    /// How long the certificates are valid that it issues; never longer than the CA.
    #[arg(long, value_name = "DAYS", default_value_t = 365, value_parser = clap::value_parser!(u32).range(DAYS))]
    pub(crate) certificate_days: u32,
}

#[derive(Debug, Args)]
pub(crate) struct IssueOptions {
    #[command(flatten)]
    pub(crate) folder: Folder,
    /// Whose: `networking.node_id` of a node. May be given more than once.
    #[arg(value_name = "NAME", required = true)]
    pub(crate) names: Vec<NodeId>,
    /// What they are. Nodes let in nodes only, unless their program says otherwise.
    #[arg(long, value_enum, default_value_t, value_name = "ROLE")]
    pub(crate) role: RoleName,
    /// A host name or an IP address that stands in the certificate beside the name, for tools that look for it; nodes do not.
    /// May be given more than once.
    #[arg(long, value_name = "HOST")]
    pub(crate) address: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct RenewOptions {
    #[command(flatten)]
    pub(crate) folder: Folder,
    /// Whose.
    #[arg(value_name = "NAME")]
    pub(crate) name: NodeId,
    /// Of which role; needed where the name has certificates of several.
    #[arg(long, value_enum, value_name = "ROLE")]
    pub(crate) role: Option<RoleName>,
}

#[derive(Debug, Args)]
pub(crate) struct RevokeOptions {
    #[command(flatten)]
    pub(crate) folder: Folder,
    /// Whose.
    #[arg(value_name = "NAME", required_unless_present = "serial", conflicts_with = "serial")]
    pub(crate) name: Option<NodeId>,
    /// Which one alone: its serial number in hexadecimal, as `show` has it.
    #[arg(long, value_name = "SERIAL")]
    pub(crate) serial: Option<String>,
}

/// What somebody is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum RoleName {
    /// A member of the cluster.
    #[default]
    Node,
    /// Sends requests, is no member.
    Client,
    /// May operate the cluster.
    Admin,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Node => Self::Node,
            RoleName::Client => Self::Client,
            RoleName::Admin => Self::Admin,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Arguments, Command};

    fn parse(line: &str) -> Result<PkiCommand, clap::Error> {
        match Arguments::try_parse_from(line.split(' '))?.command {
            Command::Pki(command) => Ok(command),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_ca_is_in_the_folder_pki_and_of_the_default_cluster_unless_told_otherwise() {
        for (line, dir, cluster) in
            [("rdbnet pki init", "pki", "rustydb"), ("rdbnet pki init --dir /ca --cluster orders", "/ca", "orders")]
        {
            let PkiCommand::Init(options) = parse(line).expect(line) else { panic!("another command") };
            assert_eq!((options.folder.dir, options.cluster.as_str()), (PathBuf::from(dir), cluster), "{line}");
            assert_eq!((options.ca_days, options.certificate_days), (3650, 365));
        }
    }

    #[test]
    fn the_default_cluster_is_that_of_a_node() {
        let PkiCommand::Init(options) = parse("rdbnet pki init").expect("legal") else { panic!("another command") };
        assert_eq!(options.cluster, rdb_net_manager::config::Config::default().cluster_id);
    }

    #[test]
    fn certificates_are_for_nodes_unless_told_otherwise() {
        let line = "rdbnet pki issue n1 n2 --address a.example --address ::1";
        let PkiCommand::Issue(options) = parse(line).expect("legal") else { panic!("another command") };
        assert_eq!((options.names.len(), options.role), (2, RoleName::Node));
        assert_eq!(options.address, ["a.example", "::1"]);
        let line = "rdbnet pki issue ops --role admin";
        let PkiCommand::Issue(options) = parse(line).expect("legal") else { panic!("another command") };
        assert_eq!(Role::from(options.role), Role::Admin);
    }

    #[test]
    fn wrong_usage_is_refused_with_code_2() {
        for line in [
            "rdbnet pki",
            "rdbnet pki isue n1",
            "rdbnet pki init --cluster a/b",
            "rdbnet pki init --ca-days 0",
            "rdbnet pki init --certificate-days 36501",
            "rdbnet pki issue",
            "rdbnet pki issue n/1",
            "rdbnet pki issue n1 --role nod",
            "rdbnet pki renew",
            "rdbnet pki revoke",
            "rdbnet pki revoke n1 --serial 00",
        ] {
            assert_eq!(parse(line).expect_err(line).exit_code(), 2, "{line}");
        }
    }
}
