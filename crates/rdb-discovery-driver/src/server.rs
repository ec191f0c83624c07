//! A server that a backend connects to: how a configuration names it, which files prove who it and this process are, and in which
//! words its failures are told.

use std::fmt;
use std::path::{Path, PathBuf};

/// Files for TLS, all PEM. They are read again with every connection, so that renewed ones are used without a restart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsFiles {
    /// Who signs the server's certificate; several may stand in the file. Nobody else is trusted.
    pub ca: PathBuf,
    /// This process's certificate, for a server that asks for one.
    pub certificate: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
    /// The name that the server's certificate has to carry, where it is not the host of its URL.
    pub server_name: Option<String>,
}

impl TlsFiles {
    /// Whether certificate and key are both there or both not.
    pub fn is_whole(&self) -> bool {
        self.certificate.is_some() == self.key.is_some()
    }

    /// Reads them. Blocks on the disk.
    ///
    /// # Errors
    ///
    /// [`TlsFileError`] names the one that cannot be read, or is not what it should be.
    pub fn read(&self) -> Result<TlsTexts, TlsFileError> {
        let identity = match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => Some((TlsFile::Certificate.read(certificate)?, TlsFile::Key.read(key)?)),
            _ => None,
        };
        Ok(TlsTexts { ca: TlsFile::Authority.read(&self.ca)?, identity })
    }
}

/// What stands in files for TLS.
#[derive(Clone, PartialEq, Eq)]
pub struct TlsTexts {
    /// Certificates of who signs.
    pub ca: Vec<u8>,
    /// This process's certificate, and its key.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl fmt::Debug for TlsTexts {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsTexts").field("has_identity", &self.identity.is_some()).finish_non_exhaustive()
    }
}

/// One of the [`TlsFiles`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsFile {
    /// [`TlsFiles::ca`].
    Authority,
    /// [`TlsFiles::certificate`].
    Certificate,
    /// [`TlsFiles::key`].
    Key,
}

impl TlsFile {
    /// Its name in the settings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Authority => "ca",
            Self::Certificate => "certificate",
            Self::Key => "key",
        }
    }

    /// That this file, which stands at this path, is at fault.
    pub fn wrong(self, path: &Path, problem: impl ToString) -> TlsFileError {
        TlsFileError { file: self, path: path.to_owned(), problem: problem.to_string() }
    }

    fn read(self, path: &Path) -> Result<Vec<u8>, TlsFileError> {
        let text = std::fs::read(path).map_err(|error| self.wrong(path, error))?;
        let (label, what) = match self {
            Self::Authority | Self::Certificate => ("CERTIFICATE-----", "certificate"),
            // Of whatever kind.
            Self::Key => ("PRIVATE KEY-----", "private key"),
        };
        if text.windows(label.len()).any(|window| window == label.as_bytes()) {
            Ok(text)
        } else {
            Err(self.wrong(path, format!("there is no {what} in it, which is PEM")))
        }
    }
}

/// A file for TLS that is not taken. Whoever configures or writes it is at fault; at the start it is an error, later a failure of the
/// source that is tried again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("tls.{}: {}: {problem}", file.name(), path.display())]
pub struct TlsFileError {
    /// Which one.
    pub file: TlsFile,
    /// Where it stands.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: String,
}

/// The URL of a server in its parts: `http://host:port` or `https://host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerUrl {
    /// Whether it is `https`.
    pub is_secure: bool,
    /// Without the brackets of an IPv6 address.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl ServerUrl {
    /// The parts of a URL, which is `https` where there are files for TLS. The port is that of an example where it lacks one.
    ///
    /// # Errors
    ///
    /// [`UrlError`] says what is wrong with it.
    pub fn parse(url: &str, tls: Option<&TlsFiles>, usual_port: u16) -> Result<Self, UrlError> {
        let (is_secure, rest) = match (url.strip_prefix("http://"), url.strip_prefix("https://")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => return Err(UrlError::Scheme),
        };
        if rest.contains('@') {
            return Err(UrlError::User);
        }
        if rest.is_empty() || rest.contains(['/', ' ', '?', '#']) {
            return Err(UrlError::Rest);
        }
        match (is_secure, tls) {
            (true, None) => return Err(UrlError::NoTls),
            (false, Some(_)) => return Err(UrlError::Plain),
            _ => {}
        }
        let no_port = UrlError::NoPort { usual_port };
        // The last group of an IPv6 address is no port.
        let (host, port) = rest.rsplit_once(':').filter(|_| !rest.ends_with(']')).ok_or(no_port)?;
        let port = port.parse().ok().filter(|port| *port > 0).ok_or(UrlError::Port)?;
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(host) => host,
            None if host.contains(':') => return Err(UrlError::Brackets),
            None => host,
        };
        if host.is_empty() {
            return Err(UrlError::NoHost);
        }
        Ok(Self { is_secure, host: host.to_owned(), port })
    }
}

/// What is wrong with a URL. Its author is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// It is no URL, or one of something else.
    #[error("it has to begin with http:// or https://")]
    Scheme,
    /// It names a user, and perhaps a password, which an error would show.
    #[error("a user or a token has settings of its own, and does not stand before an @")]
    User,
    /// It has a path or a query, or nothing at all.
    #[error("a host and a port are wanted behind ://, and nothing else")]
    Rest,
    /// It is `https`, and there are no files for TLS.
    #[error("https needs the table tls with at least ca")]
    NoTls,
    /// There are files for TLS, and it is `http`.
    #[error("there is a table tls, so that it has to be https")]
    Plain,
    /// It has no port.
    #[error("it has no port, such as :{usual_port}")]
    NoPort {
        /// The port that such servers usually have.
        usual_port: u16,
    },
    /// Its port is no number from 1 to 65535.
    #[error("its port is no number from 1 to 65535")]
    Port,
    /// An IPv6 address stands without brackets, so that nobody knows where it ends.
    #[error("an IPv6 address stands in brackets, as in http://[::1]:2379")]
    Brackets,
    /// It has no host.
    #[error("it has no host")]
    NoHost,
}

/// A URL as errors show it: what stands before an @ may be a password.
pub fn shown_url(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(_, rest)| (&url[..url.len() - rest.len()], rest));
    rest.rsplit_once('@').map_or_else(|| url.to_owned(), |(_, host)| format!("{scheme}…@{host}"))
}

/// The words of an error, with those of what has led to it, each once.
pub fn with_sources(own: impl Into<String>, error: &dyn std::error::Error) -> String {
    let mut text = own.into();
    let mut source = error.source();
    while let Some(error) = source {
        let words = error.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, expected: Result<(&str, u16), UrlError>) {
        let parsed = ServerUrl::parse(url, None, 2379);
        assert_eq!(parsed.map(|url| (url.host, url.port)), expected.map(|(host, port)| (host.to_owned(), port)));
    }

    #[test]
    fn a_url_is_a_scheme_a_host_and_a_port() {
        check("http://a:1", Ok(("a", 1)));
        check("http://10.0.0.1:2379", Ok(("10.0.0.1", 2379)));
        check("http://[::1]:2379", Ok(("::1", 2379)));
        check("a:1", Err(UrlError::Scheme));
        check("htp://a:1", Err(UrlError::Scheme));
        check("http://", Err(UrlError::Rest));
        check("http://user:word@a:1", Err(UrlError::User));
        check("http://a:1/path", Err(UrlError::Rest));
        check("http://a", Err(UrlError::NoPort { usual_port: 2379 }));
        check("http://[::1]", Err(UrlError::NoPort { usual_port: 2379 }));
        check("http://::1:2379", Err(UrlError::Brackets));
        for port in ["", "0", "65536", "http"] {
            check(&format!("http://a:{port}"), Err(UrlError::Port));
        }
        check("http://:1", Err(UrlError::NoHost));
        check("http://[]:1", Err(UrlError::NoHost));
    }

    #[test]
    fn a_password_in_a_url_is_never_shown() {
        assert_eq!(shown_url("http://user:gehe@im@a:1"), "http://…@a:1");
        assert_eq!(shown_url("user:geheim@a:1"), "…@a:1");
        assert_eq!(shown_url("http://a:1"), "http://a:1");
    }

    #[test]
    fn tls_goes_with_https_and_nothing_else() {
        let tls = TlsFiles::default();
        let parse = |url| ServerUrl::parse(url, Some(&tls), 1).map(|url| url.is_secure);
        assert_eq!(parse("https://a:1"), Ok(true));
        assert_eq!(parse("http://a:1"), Err(UrlError::Plain));
        check("https://a:1", Err(UrlError::NoTls));
    }

    #[test]
    fn each_file_is_told_that_is_missing_or_holds_something_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let [ca, certificate, key] = ["ca", "certificate", "key"].map(|name| folder.path().join(name));
        let files = TlsFiles {
            ca: ca.clone(),
            certificate: Some(certificate.clone()),
            key: Some(key.clone()),
            server_name: None,
        };
        let told = || files.read().err().map(|error| (error.file, error.to_string()));
        let check = |file: TlsFile, begin: String| {
            let (found, text) = told().expect("refused");
            assert!(found == file && text.starts_with(&begin), "{text}");
        };
        check(TlsFile::Certificate, format!("tls.certificate: {}: No such file", certificate.display()));
        let [signed, secret] = ["-----BEGIN CERTIFICATE-----", "-----BEGIN EC PRIVATE KEY-----"];
        std::fs::write(&certificate, secret).expect("written");
        check(TlsFile::Certificate, format!("tls.certificate: {}: there is no certificate", certificate.display()));
        std::fs::write(&certificate, signed).expect("written");
        std::fs::write(&key, signed).expect("written");
        check(TlsFile::Key, format!("tls.key: {}: there is no private key", key.display()));
        std::fs::write(&key, secret).expect("written");
        check(TlsFile::Authority, format!("tls.ca: {}: No such file", ca.display()));
        std::fs::write(&ca, signed).expect("written");
        let texts = files.read().expect("they are good");
        assert_eq!(texts.identity, Some((signed.into(), secret.into())));
        assert!(!format!("{texts:?}").contains("PRIVATE"), "a key is never shown");
    }

    #[test]
    fn an_error_is_told_with_what_led_to_it_each_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("{0}")]
        struct Told(&'static str, #[source] Option<Box<Told>>);
        let error = Told("refused", Some(Box::new(Told("no way", Some(Box::new(Told("refused", None)))))));
        assert_eq!(with_sources(error.to_string(), &error), "refused: no way");
        assert_eq!(with_sources("etcd", &error), "etcd: no way: refused");
    }
}
