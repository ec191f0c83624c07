//! The certificate authority on the command line: what it writes where, what it tells, and what it never does.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use rdb_net_tls::{Policy, Tls, TlsConfig, TlsOptions};
use rdb_net_types::{ClusterId, Role};
use serde_json::Value;
use support::{rdbnet, text};

/// A folder in which commands run; gone when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("rdbnet-pki-{}-{name}", std::process::id()));
        fs::create_dir(&path).expect("a folder of the test's own");
        Self(path)
    }

    /// With a CA of the cluster `orders` in `pki`.
    fn with_ca(name: &str) -> Self {
        let folder = Self::new(name);
        folder.well("init --cluster orders");
        folder
    }

    /// Runs `rdbnet pki` with these words.
    fn pki(&self, words: &str) -> Output {
        let arguments: Vec<&str> = ["pki"].into_iter().chain(words.split(' ')).collect();
        rdbnet(&arguments).current_dir(&self.0).output().expect("the program starts")
    }

    /// What it tells for people when it ends well.
    #[track_caller]
    fn well(&self, words: &str) -> String {
        let output = self.pki(words);
        ended_with(&output, 0);
        assert_eq!(text(&output.stderr), "");
        text(&output.stdout)
    }

    /// What it tells programs when it ends well.
    #[track_caller]
    fn json(&self, words: &str) -> Value {
        serde_json::from_str(&self.well(&format!("{words} --output json"))).expect("one document")
    }

    /// What it tells when it ends with this code.
    #[track_caller]
    fn refused(&self, words: &str, code: i32) -> String {
        let output = self.pki(words);
        ended_with(&output, code);
        assert_eq!(text(&output.stdout), "", "{words}");
        text(&output.stderr)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The states that `show` tells, by name, the oldest certificate first.
    #[track_caller]
    fn states(&self) -> Vec<(String, String)> {
        let shown = self.json("show");
        let certificates = shown["certificates"].as_array().expect("a list").clone();
        let word = |entry: &Value, key: &str| entry[key].as_str().expect("text").to_owned();
        certificates.iter().map(|entry| (word(entry, "name"), word(entry, "state"))).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[track_caller]
fn ended_with(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{}{}", text(&output.stdout), text(&output.stderr));
}

/// Every file below a folder.
fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// TLS of a node with these settings, as the node would make it.
fn load(toml: &str) -> Tls {
    let read: toml::Table = toml::from_str(toml).expect("all that is told is TOML");
    let tls = &read["networking"]["tls"];
    let path = |key: &str| PathBuf::from(tls[key].as_str().expect(key));
    let config = TlsConfig {
        enabled: tls["enabled"].as_bool().expect("a truth"),
        cert_path: path("cert_path"),
        key_path: path("key_path"),
        ca_cert_path: Some(path("ca_cert_path")),
        crl_paths: vec![tls["crl_paths"][0].as_str().expect("a path").into()],
        ..TlsConfig::default()
    };
    Tls::load(config, TlsOptions::new(Policy::new(ClusterId::new("orders").expect("legal")))).expect("good files")
}

#[test]
fn two_commands_make_what_a_node_takes() {
    let folder = Folder::new("two");
    let made = folder.well("init --cluster orders");
    assert!(made.contains("ca-key.pem  its key, mode 0600") && made.contains("rdbnet pki issue NAME"), "{made}");
    let tls = load(&folder.well("issue n1 --address localhost"));
    let own = tls.current().own().clone();
    assert_eq!(
        (own.node.as_str(), own.role, own.cluster.as_ref().map(ClusterId::as_str)),
        ("n1", Role::Node, Some("orders"))
    );
}

#[test]
fn what_is_told_to_programs_has_the_paths_and_the_configuration() {
    let folder = Folder::with_ca("json");
    let told = folder.json("issue n1 n2");
    let issued = told["issued"].as_array().expect("a list");
    assert_eq!(issued.iter().map(|one| one["name"].as_str()).collect::<Vec<_>>(), [Some("n1"), Some("n2")]);
    for one in issued {
        for key in ["cert_path", "key_path", "ca_cert_path", "crl_path"] {
            let path = Path::new(one[key].as_str().expect(key));
            assert!(path.is_absolute() && path.is_file(), "{key}: {}", path.display());
        }
        // The clock has gone on since.
        assert!(one["state"] == "valid" && matches!(one["days_left"].as_i64(), Some(364 | 365)), "{one}");
        load(one["configuration"].as_str().expect("lines"));
    }
    let client = folder.json("issue backup --role client");
    assert_eq!(
        (&client["issued"][0]["role"], &client["issued"][0]["configuration"]),
        (&Value::from("client"), &Value::Null)
    );
}

#[test]
fn a_ca_that_is_there_stays_as_it_is() {
    let folder = Folder::with_ca("twice");
    folder.well("issue n1");
    let state =
        || files(&folder.0).into_iter().map(|path| (fs::read(&path).expect("there"), path)).collect::<BTreeSet<_>>();
    let before = state();
    let told = folder.refused("init --cluster other", 1);
    assert!(told.contains("there is a CA here already") && told.lines().count() == 1, "{told}");
    fs::remove_file(folder.path("pki/index")).expect("there");
    let told = folder.refused("init", 1);
    assert!(told.contains("ca-key.pem: it is here without the index of a CA"), "{told}");
    let index = before.iter().find(|(_, path)| path.ends_with("index")).expect("there");
    fs::write(&index.1, &index.0).expect("written");
    assert_eq!(state(), before);
}

#[test]
fn keys_are_their_owners_alone_and_are_never_told() {
    let folder = Folder::with_ca("secrets");
    let mut told = folder.well("issue n1");
    let first = fs::read_to_string(folder.path("pki/issued/node-n1/key.pem")).expect("there");
    for words in
        ["issue n2 --role admin", "renew n1", "show", "revoke n1", "issue n1 --output json", "renew n1 --output json"]
    {
        told.push_str(&folder.well(words));
    }
    for words in ["init", "issue n1", "renew n9", "revoke n9"] {
        told.push_str(&folder.refused(words, 1));
    }
    let keys: Vec<PathBuf> =
        files(&folder.0).into_iter().filter(|path| path.to_string_lossy().ends_with("key.pem")).collect();
    assert_eq!(keys.len(), 3, "{keys:?}");
    let mut secrets = vec![first];
    for key in &keys {
        assert_eq!(fs::metadata(key).expect("there").permissions().mode() & 0o777, 0o600, "{}", key.display());
        secrets.push(fs::read_to_string(key).expect("there"));
    }
    for secret in &secrets {
        let body: Vec<&str> = secret.lines().filter(|line| !line.starts_with("-----")).collect();
        assert!(!body.is_empty() && body.iter().all(|line| !told.contains(line)), "a line of a key was told");
    }
    fs::set_permissions(folder.path("pki/ca-key.pem"), fs::Permissions::from_mode(0o644)).expect("ours");
    let told = folder.refused("issue n3", 1);
    assert!(told.contains("0644") && told.contains("chmod 0600"), "{told}");
}

#[test]
fn a_renewed_certificate_takes_the_place_of_the_former_which_can_be_revoked_alone() {
    let folder = Folder::with_ca("renew");
    let first = folder.json("issue n1")["issued"][0].clone();
    let told = folder.refused("issue n1", 1);
    assert!(
        told.contains("node n1 has a certificate that is valid until") && told.contains("renew or revoke it"),
        "{told}"
    );
    let second = folder.json("renew n1")["issued"][0].clone();
    assert_eq!((&second["cert_path"], &second["former"][0]["serial"]), (&first["cert_path"], &first["serial"]));
    let serial = first["serial"].as_str().expect("text").to_uppercase();
    let revoked = folder.well(&format!("revoke --serial {serial}"));
    assert!(
        revoked.starts_with("revoked: node n1, serial ") && revoked.contains("crl.pem: nodes elsewhere"),
        "{revoked}"
    );
    let pair = |state: &str| ("n1".to_owned(), state.to_owned());
    assert_eq!(folder.states(), [pair("revoked"), pair("valid")]);
    load(second["configuration"].as_str().expect("lines"));
    let gone = folder.json("revoke n1");
    assert_eq!(gone["revoked"][0]["serial"], second["serial"]);
    assert_eq!(folder.states(), [pair("revoked"), pair("revoked")]);
    let again = folder.refused("renew n1", 1);
    assert!(again.contains("all are revoked or expired: issue a new one"), "{again}");
    folder.well("issue n1");
}

#[test]
fn the_role_is_asked_for_only_where_it_is_not_clear() {
    let folder = Folder::with_ca("roles");
    folder.well("issue ops --role admin");
    assert_eq!(folder.json("renew ops")["issued"][0]["role"], "admin");
    folder.well("issue ops --role client");
    let told = folder.refused("renew ops", 1);
    assert!(told.contains("of the roles client, admin: say which with --role"), "{told}");
    assert_eq!(folder.json("renew ops --role client")["issued"][0]["role"], "client");
    let told = folder.refused("renew ops --role node", 1);
    assert!(told.contains("it has a certificate of another role: client, admin"), "{told}");
}

#[test]
fn typing_mistakes_are_seen_through() {
    let folder = Folder::new("typing");
    let told = folder.refused("issue n1", 1);
    assert!(told.contains("there is no CA here") && told.contains("rdbnet pki init --dir"), "{told}");
    folder.well("init --dir ca");
    let told = folder.refused("revoke node1 --dir ca", 1);
    assert!(told.ends_with("it has issued none yet\n"), "{told}");
    let serial = folder.json("issue --dir ca node1 node2 store")["issued"][2]["serial"].clone();
    let mut serial = serial.as_str().expect("text").to_owned();
    let last = if serial.ends_with('0') { "1" } else { "0" };
    let right = serial.clone();
    serial.replace_range(31.., last);
    for (words, hint) in [
        ("revoke --dir ca noed2".to_owned(), "did you mean node2?"),
        ("renew --dir ca stroe".to_owned(), "did you mean store?"),
        ("renew --dir ca node3".to_owned(), "there are those of node1, node2, store"),
        (format!("revoke --dir ca --serial {serial}"), &format!("did you mean {right}?")),
    ] {
        let told = folder.refused(&words, 1);
        assert!(told.ends_with(&format!("{hint}\n")) && told.lines().count() == 1, "{words}: {told}");
    }
    for (words, hint) in
        [("isue n1", "'issue'"), ("issue --rol node n1", "'--role'"), ("issue n1 --role nod", "'node'")]
    {
        let told = folder.refused(words, 2);
        assert!(told.contains(hint), "{words}: {told}");
    }
    assert!(folder.refused("issue --dir ca n3 --address host:7000", 1).contains("without a port"));
    assert!(folder.refused("issue --dir ca ..", 1).contains("no part of a SPIFFE id"));
}

#[test]
fn what_was_issued_before_a_mistake_is_told() {
    let folder = Folder::with_ca("some");
    folder.well("issue n2");
    let output = folder.pki("issue n1 n2 n3");
    ended_with(&output, 1);
    load(&text(&output.stdout));
    assert!(text(&output.stderr).contains("node n2 has a certificate"), "{}", text(&output.stderr));
    let names: Vec<String> = folder.states().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["n2", "n1"]);
}

#[test]
fn the_table_has_a_row_for_each_certificate() {
    let folder = Folder::with_ca("table");
    folder.well("issue n1 n2");
    folder.well("revoke n1");
    let table = folder.well("show");
    let words: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(words[0], ["NAME", "ROLE", "SERIAL", "STATE", "NOT", "AFTER", "DAYS", "LEFT"]);
    assert_eq!((words[1][0], words[1][3], words[1].last()), ("n1", "revoked", Some(&"-")));
    assert_eq!((words[2][0], words[2][3]), ("n2", "valid"));
    assert!(matches!(words[2].last(), Some(&"364" | &"365")), "{table}");
    assert_eq!(words.len(), 3);
}
