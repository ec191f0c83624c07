//! What a configuration accepts, refuses, and says of itself.

mod any_text;
mod discovery;
mod documents;
mod errors;
mod keys;
mod layers;
mod runnable;

use super::{Config, ConfigErrors, Loader};

/// The example of the specification, verbatim.
const SPEC_EXAMPLE: &str = r#"[networking]
bind_address = "0.0.0.0:7000"
advertise_address = "node1.example.com:7000"
max_connections = 1000
connection_timeout_ms = 5000
enable_compression = true
compression_threshold_bytes = 1024

[networking.tls]
enabled = true
cert_path = "/etc/rustydb/cert.pem"
key_path = "/etc/rustydb/key.pem"
ca_cert_path = "/etc/rustydb/ca.pem"
verify_client = true

[networking.health_check]
interval_ms = 1000
timeout_ms = 500
failure_threshold = 3

[networking.load_balancing]
strategy = "least_connections"
weights = { node1 = 1.0, node2 = 2.0 }

[networking.service_discovery]
type = "static"  # or "dns", "etcd", "consul"
seeds = ["node1:7000", "node2:7000"]
"#;

fn from_text(text: &str) -> Loader {
    Loader::new().text("node.toml", text)
}

#[track_caller]
fn loaded(text: &str) -> Config {
    from_text(text).load().unwrap_or_else(|errors| panic!("{errors}"))
}

#[track_caller]
fn refused(loader: Loader) -> ConfigErrors {
    loader.load().expect_err("something is wrong with it")
}
