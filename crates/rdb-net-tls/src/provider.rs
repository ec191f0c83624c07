//! Names of suites and groups to cryptography. The provider is aws-lc-rs and is always named: the process's default provider
//! is neither asked nor set, so nothing else in the process can change what nodes speak.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::{CipherSuite, NamedGroup, SupportedCipherSuite};

use crate::config::{ConfigError, TlsConfig};

type Group = &'static dyn SupportedKxGroup;

/// By their names in the registry of TLS parameters (IANA); rustls's own `TLS13_` is read too.
const SUITES: [(&str, SupportedCipherSuite); 3] = [
    ("TLS_AES_256_GCM_SHA384", cipher_suite::TLS13_AES_256_GCM_SHA384),
    ("TLS_AES_128_GCM_SHA256", cipher_suite::TLS13_AES_128_GCM_SHA256),
    ("TLS_CHACHA20_POLY1305_SHA256", cipher_suite::TLS13_CHACHA20_POLY1305_SHA256),
];

/// How many of them, from the first, are spoken where nothing is configured.
const DEFAULT_GROUPS: usize = 4;

const GROUPS: [(&str, Group); 5] = [
    ("X25519MLKEM768", kx_group::X25519MLKEM768),
    ("X25519", kx_group::X25519),
    ("secp256r1", kx_group::SECP256R1),
    ("secp384r1", kx_group::SECP384R1),
    ("SecP256r1MLKEM768", kx_group::SECP256R1MLKEM768),
];

/// The suites of these names; all where there are none.
pub(crate) fn suites(names: &[String]) -> Result<Vec<SupportedCipherSuite>, ConfigError> {
    if names.is_empty() {
        return Ok(SUITES.iter().map(|(_, suite)| *suite).collect());
    }
    select("networking.tls.cipher_suites", names, &SUITES, |name| match name.get(..6) {
        Some(prefix) if prefix.eq_ignore_ascii_case("TLS13_") => format!("TLS_{}", &name[6..]),
        _ => name.to_owned(),
    })
}

/// The groups of these names; the usual ones where there are none.
pub(crate) fn groups(names: &[String]) -> Result<Vec<Group>, ConfigError> {
    if names.is_empty() {
        return Ok(GROUPS[..DEFAULT_GROUPS].iter().map(|(_, group)| *group).collect());
    }
    select("networking.tls.key_exchange_groups", names, &GROUPS, str::to_owned)
}

fn select<T: Copy>(
    key: &'static str,
    names: &[String],
    table: &[(&str, T)],
    canonical: impl Fn(&str) -> String,
) -> Result<Vec<T>, ConfigError> {
    let mut chosen = Vec::new();
    let mut seen = Vec::new();
    for name in names {
        let wanted = canonical(name.trim());
        let row = table.iter().position(|(known, _)| known.eq_ignore_ascii_case(&wanted));
        let Some(row) = row else {
            let known = table.iter().map(|(known, _)| *known).collect::<Vec<_>>().join(", ");
            return Err(ConfigError::Unknown { key, name: name.clone(), known });
        };
        if seen.contains(&row) {
            return Err(ConfigError::Twice { key, name: name.clone() });
        }
        seen.push(row);
        chosen.push(table[row].1);
    }
    Ok(chosen)
}

/// aws-lc-rs with what the configuration names.
pub(crate) fn provider(config: &TlsConfig) -> Result<Arc<CryptoProvider>, ConfigError> {
    Ok(Arc::new(CryptoProvider {
        cipher_suites: suites(&config.cipher_suites)?,
        kx_groups: groups(&config.key_exchange_groups)?,
        ..default_provider()
    }))
}

/// The name of a suite, as configurations write it.
pub(crate) fn suite_name(suite: CipherSuite) -> String {
    let known = SUITES.iter().find(|(_, known)| known.suite() == suite);
    known.map_or_else(|| format!("{suite:?}"), |(name, _)| (*name).to_owned())
}

/// The name of a group, as configurations write it.
pub(crate) fn group_name(group: NamedGroup) -> String {
    let known = GROUPS.iter().find(|(_, known)| known.name() == group);
    known.map_or_else(|| format!("{group:?}"), |(name, _)| (*name).to_owned())
}
