//! The command line: what can be written, and what it means.

#[cfg(feature = "tls")]
pub(crate) mod pki;

use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use rdb_net_types::NodeAddress;

use crate::demo::Partition;

const EXIT_CODES: &str = "Exit codes:
  0  success
  1  a failure without a number of its own
  2  wrong usage
  3  the admin listener cannot be reached
  6  the configuration is invalid
  7  the node is unhealthy
  8  discovery: a source is away, or what is told differs";

/// Networking between the nodes of a distributed database: runs a node, and asks running ones.
#[derive(Debug, Parser)]
#[command(name = "rdbnet", version, after_help = EXIT_CODES, disable_help_subcommand = true)]
pub(crate) struct Arguments {
    /// How results are written to stdout.
    #[arg(long, short, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: Format,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs: one JSON document.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs a node until SIGTERM or SIGINT; then it leaves the cluster. A second signal ends it at once.
    Node(NodeOptions),
    /// Lists the members of the cluster, as a running node sees them.
    Members(Asked),
    /// Shows how a running node is. Exit code 7 when it is unhealthy.
    Status(Asked),
    /// Checks a configuration, or writes one to start from.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Looks into where nodes are found.
    #[command(subcommand)]
    Discovery(DiscoveryCommand),
    /// Runs a small certificate authority in a folder, for TLS between nodes.
    #[cfg(feature = "tls")]
    #[command(subcommand)]
    Pki(pki::PkiCommand),
    /// Writes a completion script for a shell to stdout.
    Completions {
        /// Which shell.
        shell: Shell,
    },
    /// Starts a cluster on this machine, kills a node under queries, and checks what the others make of it.
    Demo(DemoOptions),
    /// Runs a node of the demo.
    #[command(hide = true)]
    DemoNode(DemoNodeOptions),
}

#[derive(Debug, Args)]
pub(crate) struct NodeOptions {
    /// The configuration file (TOML). Without one the defaults hold.
    #[arg(long, short, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Sets a key over file and environment, such as `networking.max_connections=50`. May be given more than once.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// What is logged to stderr: off, error, warn, info, debug or trace, or directives such as `rdb_swim=debug,info`. Wins
    /// over the environment variable RUST_LOG.
    #[arg(long, value_name = "LEVEL", value_parser = crate::logging::parse_level)]
    pub(crate) log_level: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Asked {
    /// The admin listener of the node that is asked.
    #[arg(long, value_name = "ADDRESS", env = "RUSTYDB_ADMIN", default_value = "127.0.0.1:7002")]
    pub(crate) admin: NodeAddress,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Checks a file with the environment and `--set` over it; everything that is wrong is told at once. Exit code 6 when
    /// anything is.
    Check {
        /// The file (TOML).
        file: PathBuf,
        /// Sets a key over file and environment. May be given more than once.
        #[arg(long, value_name = "KEY=VALUE")]
        set: Vec<String>,
    },
    /// Writes every key with its meaning and its default, as TOML.
    Default,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DiscoveryCommand {
    /// Asks each source of a configuration whom it names, and tells where they differ from each other and from the members that
    /// a running node sees. It changes nothing. Exit code 8 when a source is away or something differs that should not.
    Doctor(DoctorOptions),
}

#[derive(Debug, Args)]
pub(crate) struct DoctorOptions {
    /// The configuration file (TOML) of the node. Without one the defaults hold.
    #[arg(long, short, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Sets a key over file and environment. May be given more than once.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// The admin listener of the running node that is asked. Without it, the one of the configuration.
    #[arg(long, value_name = "ADDRESS", env = "RUSTYDB_ADMIN")]
    pub(crate) admin: Option<NodeAddress>,
    /// Asks the sources only, and no node, whichever is named.
    #[arg(long)]
    pub(crate) offline: bool,
    /// How long a source may take to answer.
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=300))]
    pub(crate) wait: u16,
}

#[derive(Debug, Args)]
pub(crate) struct DemoOptions {
    /// How many nodes, each a process, from 3 to 20.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u8).range(3..=20))]
    pub(crate) nodes: u8,
    /// Leaves the cluster running at the end and tells how to look at it and how to stop it.
    #[arg(long)]
    pub(crate) keep: bool,
    /// Without TLS. Otherwise each node gets a certificate of a CA that is made for the demo.
    #[arg(long)]
    pub(crate) plaintext: bool,
    /// What the nodes' connections are made of. QUIC needs certificates.
    #[arg(long, value_enum, value_name = "KIND", default_value_t = DemoTransport::Tcp, conflicts_with = "plaintext")]
    pub(crate) transport: DemoTransport,
}

/// What connections are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DemoTransport {
    /// TCP.
    Tcp,
    /// QUIC, over UDP.
    Quic,
    /// QUIC where it passes, TCP where not.
    Auto,
}

impl DemoTransport {
    /// As a configuration writes it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Quic => "quic",
            Self::Auto => "auto",
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct DemoNodeOptions {
    /// The configuration file (TOML).
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Which part of the table the node owns, such as 2/5.
    #[arg(long, value_name = "NUMBER/OF")]
    pub(crate) partition: Partition,
}

/// The completion script for a shell.
pub(crate) fn completions(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "rdbnet", &mut script);
    String::from_utf8(script).expect("a script for a shell is text")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_definition_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_node_takes_a_file_and_keys() {
        let arguments =
            parse("rdbnet node --config n.toml --set a.b=1 --set c=d --log-level rdb_swim=debug,info").expect("legal");
        let Command::Node(options) = arguments.command else { panic!("another command") };
        assert_eq!(options.config, Some(PathBuf::from("n.toml")));
        assert_eq!(options.set, ["a.b=1", "c=d"]);
        assert_eq!(options.log_level.as_deref(), Some("rdb_swim=debug,info"));
        assert_eq!(arguments.output, Format::Table);
    }

    #[test]
    fn the_output_format_stands_before_or_behind_the_command() {
        for line in
            ["rdbnet --output json members", "rdbnet members -o json", "rdbnet config check x.toml --output json"]
        {
            assert_eq!(parse(line).expect(line).output, Format::Json);
        }
    }

    #[test]
    fn a_question_goes_to_this_machine_unless_told_otherwise() {
        let admin = |line: &str| match parse(line).expect(line).command {
            Command::Members(asked) | Command::Status(asked) => asked.admin.to_string(),
            other => panic!("{other:?}"),
        };
        assert_eq!(admin("rdbnet status --admin [::1]:9"), "[::1]:9");
        if std::env::var_os("RUSTYDB_ADMIN").is_none() {
            assert_eq!(admin("rdbnet members"), "127.0.0.1:7002");
        }
    }

    #[test]
    fn wrong_usage_is_refused_with_code_2() {
        for line in [
            "rdbnet",
            "rdbnet nod",
            "rdbnet members --admin 127.0.0.1",
            "rdbnet members --output yaml",
            "rdbnet config check",
            "rdbnet node --log-level a=b=c",
            "rdbnet completions cobol",
            "rdbnet discovery",
            "rdbnet discovery docter",
            "rdbnet discovery doctor n.toml",
            "rdbnet discovery doctor --wait 0",
            "rdbnet discovery doctor --admin 127.0.0.1",
            "rdbnet discovery doctor --output yaml",
            "rdbnet demo --nodes 2",
            "rdbnet demo --nodes 21",
            "rdbnet demo --nodes five",
            "rdbnet demo --transport udp",
            "rdbnet demo --transport quic --plaintext",
            "rdbnet demo-node --config n1.toml --partition 6/5",
        ] {
            assert_eq!(parse(line).expect_err(line).exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn a_demo_has_five_nodes_with_certificates_unless_told_otherwise() {
        for (line, nodes, keep, plaintext) in [
            ("rdbnet demo", 5, false, false),
            ("rdbnet demo --nodes 3", 3, false, false),
            ("rdbnet demo --keep --nodes 20", 20, true, false),
            ("rdbnet demo --plaintext", 5, false, true),
        ] {
            let Command::Demo(options) = parse(line).expect(line).command else { panic!("another command") };
            assert_eq!(options.transport, DemoTransport::Tcp, "{line}");
            assert_eq!((options.nodes, options.keep, options.plaintext), (nodes, keep, plaintext), "{line}");
        }
    }

    #[test]
    fn the_help_shows_the_demo_and_hides_its_nodes() {
        let help = Arguments::command().render_help().to_string();
        assert!(help.contains("  demo ") && !help.contains("demo-node"), "{help}");
    }

    #[test]
    fn completions_know_the_commands() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = completions(shell);
            assert!(script.contains("members") && script.contains("rdbnet"), "{shell}");
        }
    }
}
