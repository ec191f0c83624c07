//! Certificates of every kind, and the files of a node.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose as Eku, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose as Usage, RevokedCertParams,
    SanType, SerialNumber, date_time_ymd,
};
use rdb_net_tls::{Clock, TlsConfig};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::time_provider::TimeProvider;
use tempfile::TempDir;

/// The years in which certificates are valid that say nothing else.
const YEARS: (i32, i32) = (2020, 2090);

/// A CA.
pub(crate) struct Ca {
    params: CertificateParams,
    key: KeyPair,
    certificate: Certificate,
}

/// A certificate and its key.
pub(crate) struct Leaf {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) chain_pem: String,
    pub(crate) key_pem: String,
    serial: Vec<u8>,
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    years(&mut params, YEARS.0, YEARS.1);
    params
}

/// Valid from the beginning of one year to that of another.
pub(crate) fn years(params: &mut CertificateParams, from: i32, until: i32) {
    params.not_before = date_time_ymd(from, 1, 1);
    params.not_after = date_time_ymd(until, 1, 1);
}

pub(crate) fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().expect("ASCII"))
}

/// A name of this role in the cluster of these tests.
pub(crate) fn identity(role: &str, name: &str) -> SanType {
    uri(&format!("spiffe://tests/cluster/rustydb/{role}/{name}"))
}

impl Ca {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = params(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![Usage::KeyCertSign, Usage::CrlSign];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("signed");
        Self { params, key, certificate }
    }

    pub(crate) fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// A node's certificate.
    pub(crate) fn node(&self, name: &str) -> Leaf {
        self.leaf(name, |_| {})
    }

    /// A certificate of this role.
    pub(crate) fn of_role(&self, role: &str, name: &str) -> Leaf {
        self.leaf(name, |params| params.subject_alt_names = vec![identity(role, name)])
    }

    /// A node's certificate, changed.
    pub(crate) fn leaf(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Leaf {
        static SERIALS: AtomicU64 = AtomicU64::new(0x4000_0000);
        let mut params = params(name);
        params.subject_alt_names = vec![identity("node", name)];
        params.key_usages = vec![Usage::DigitalSignature];
        params.extended_key_usages = vec![Eku::ServerAuth, Eku::ClientAuth];
        let serial = SERIALS.fetch_add(1, Ordering::Relaxed).to_be_bytes().to_vec();
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let issuer = Issuer::from_params(&self.params, &self.key);
        let certificate = params.signed_by(&key, &issuer).expect("signed");
        Leaf {
            chain: vec![certificate.der().clone()],
            chain_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            serial,
        }
    }

    /// A list that revokes these.
    pub(crate) fn list(&self, revoked: &[&Leaf]) -> String {
        let revoked = revoked.iter().map(|leaf| RevokedCertParams {
            serial_number: SerialNumber::from_slice(&leaf.serial),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(YEARS.1, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let issuer = Issuer::from_params(&self.params, &self.key);
        params.signed_by(&issuer).expect("signed").pem().expect("PEM")
    }
}

/// A certificate that nobody but itself has signed.
pub(crate) fn self_signed(name: &str) -> Leaf {
    let mut params = params(name);
    params.subject_alt_names = vec![identity("node", name)];
    params.extended_key_usages = vec![Eku::ServerAuth, Eku::ClientAuth];
    let key = KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("signed");
    Leaf {
        chain: vec![certificate.der().clone()],
        chain_pem: certificate.pem(),
        key_pem: key.serialize_pem(),
        serial: Vec::new(),
    }
}

/// The files of a node, which go with it.
pub(crate) struct Files {
    folder: PathBuf,
    _own: Option<TempDir>,
}

impl Files {
    /// Those of a node that believes these CAs, PEM.
    pub(crate) fn write(cas: &str, leaf: &Leaf) -> Self {
        let own = TempDir::new().expect("a folder");
        let files = Self { folder: own.path().to_owned(), _own: Some(own) };
        files.put("ca.pem", cas);
        files.put_leaf(leaf);
        files
    }

    /// Those that somebody else has written here.
    pub(crate) fn at(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), _own: None }
    }

    /// Puts another certificate and key in their place.
    pub(crate) fn put_leaf(&self, leaf: &Leaf) {
        self.put("cert.pem", &leaf.chain_pem);
        self.put("key.pem", &leaf.key_pem);
    }

    /// Replaces a file whole, as whoever rotates them does.
    pub(crate) fn put(&self, name: &str, text: &str) {
        let fresh = self.path(&format!("{name}.fresh"));
        fs::write(&fresh, text).expect("written");
        let mode = if name == "key.pem" { 0o600 } else { 0o644 };
        fs::set_permissions(&fresh, fs::Permissions::from_mode(mode)).expect("the mode is set");
        fs::rename(&fresh, self.path(name)).expect("renamed");
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(crate) fn config(&self) -> TlsConfig {
        let is_there = |path: &PathBuf| Path::exists(path);
        TlsConfig {
            enabled: true,
            cert_path: self.path("cert.pem"),
            key_path: self.path("key.pem"),
            ca_cert_path: Some(self.path("ca.pem")),
            crl_paths: Some(self.path("crl.pem")).filter(is_there).into_iter().collect(),
            ..TlsConfig::default()
        }
    }
}

/// A clock that a test moves.
#[derive(Debug, Default)]
pub(crate) struct Moved {
    ahead_s: AtomicI64,
}

impl Moved {
    /// One that is so many years ahead of the system's.
    pub(crate) fn years(ahead: i64) -> Arc<Self> {
        let moved = Arc::new(Self::default());
        moved.put(ahead);
        moved
    }

    pub(crate) fn put(&self, years: i64) {
        self.ahead_s.store(years * 31_557_600, Ordering::SeqCst);
    }

    pub(crate) fn clock(self: &Arc<Self>) -> Clock {
        Clock::new(Arc::<Self>::clone(self))
    }
}

impl TimeProvider for Moved {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
        let seconds = seconds.checked_add_signed(self.ahead_s.load(Ordering::SeqCst))?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}
