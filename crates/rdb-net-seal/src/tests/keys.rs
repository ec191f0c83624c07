//! Where keys come from.

use std::path::PathBuf;

use rdb_net_types::ExposedSecret;

use crate::{GossipKey, KEY_BYTES, KeyError, KeyFault, KeySource, StoreKey};

const RAW: [u8; KEY_BYTES] = [
    0x00, 0xff, 0x10, 0x83, 0xfb, 0xef, 0xbe, 0x20, 0x92, 0x8b, 0x30, 0xd3, 0x8f, 0x41, 0x14, 0x93, 0x51, 0x55, 0x97,
    0x61, 0x96, 0x9b, 0x71, 0xd7, 0x9f, 0x82, 0x18, 0xa3, 0x92, 0x59, 0xa7, 0xfe,
];
const HEX: &str = "00ff1083fbefbe20928b30d38f41149351559761969b71d79f8218a39259a7fe";
const BASE64: &str = "AP8Qg/vvviCSizDTj0EUk1FVl2GWm3HXn4IYo5JZp/4=";
const BASE64_URL: &str = "AP8Qg_vvviCSizDTj0EUk1FVl2GWm3HXn4IYo5JZp_4";

/// A key file with this content and mode.
#[cfg(unix)]
fn key_file(content: &[u8], mode: u32) -> (tempfile::TempDir, PathBuf) {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("gossip.key");
    std::fs::write(&path, content).expect("written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("its owner's");
    (folder, path)
}

#[track_caller]
fn check_reads(content: &[u8]) {
    let (_folder, path) = key_file(content, 0o600);
    let key = GossipKey::from_file(&path).expect("a key");
    assert_eq!(key.bytes.expose(), &RAW);
    assert_eq!(key.id(), GossipKey::take(&mut RAW.clone()).id());
}

#[track_caller]
fn check_refuses(content: &[u8], fault: KeyFault) {
    let (_folder, path) = key_file(content, 0o600);
    let error = GossipKey::from_file(&path).expect_err("no key");
    assert_eq!(error, KeyError { origin: KeySource::File(path), fault });
}

#[test]
fn a_file_holds_a_key_in_any_of_the_forms() {
    check_reads(&RAW);
    check_reads(HEX.as_bytes());
    check_reads(format!("{}\n", HEX.to_uppercase()).as_bytes());
    check_reads(BASE64.as_bytes());
    check_reads(format!("  {BASE64}\r\n").as_bytes());
    check_reads(BASE64.trim_end_matches('=').as_bytes());
    check_reads(BASE64_URL.as_bytes());
}

#[test]
fn what_is_no_key_is_told_without_being_shown() {
    check_refuses(b"", KeyFault::Malformed { bytes: 0 });
    check_refuses(b"\n", KeyFault::Malformed { bytes: 0 });
    check_refuses(b"correct horse battery staple", KeyFault::Malformed { bytes: 28 });
    check_refuses(&RAW[..31], KeyFault::Malformed { bytes: 31 });
    check_refuses(&HEX.as_bytes()[..62], KeyFault::WrongLength { bytes: 31 });
    check_refuses(&HEX.as_bytes()[..63], KeyFault::Malformed { bytes: 63 });
    check_refuses(format!("{HEX}00").as_bytes(), KeyFault::WrongLength { bytes: 33 });
    check_refuses(b"c2hvcnQga2V5", KeyFault::WrongLength { bytes: 9 });
    check_refuses(&[0; 300], KeyFault::TooLong { bytes_max: 256 });
    // Bits that belong to no byte, and padding that does not fit.
    check_refuses(format!("{}5=", &BASE64[..42]).as_bytes(), KeyFault::Malformed { bytes: 44 });
    check_refuses(format!("{BASE64}=").as_bytes(), KeyFault::Malformed { bytes: 45 });
}

#[test]
fn thirty_two_characters_of_text_are_no_raw_key() {
    check_refuses(&HEX.as_bytes()[..32], KeyFault::WrongLength { bytes: 16 });
    check_refuses(b"correct horse battery staple 123", KeyFault::Malformed { bytes: 32 });
}

/// S6, S23: the rule itself is tested where it stands; here, that keys go by it.
#[cfg(unix)]
#[test]
fn a_file_that_others_may_read_or_write_is_refused() {
    for mode in [0o604, 0o640, 0o660, 0o602, 0o610, 0o777, 0o444] {
        let (_folder, path) = key_file(&RAW, mode);
        let error = GossipKey::from_file(&path).expect_err("loose");
        assert_eq!(error.fault, KeyFault::Exposed(ExposedSecret::Mode { mode }));
        let text = error.to_string();
        assert!(text.contains(&path.display().to_string()) && text.contains(&format!("{mode:04o}")), "{text}");
    }
    for mode in [0o600, 0o400, 0o700] {
        let (_folder, path) = key_file(&RAW, mode);
        assert!(StoreKey::from_file(&path).is_ok(), "{mode:o}");
    }
}

/// S6: as Kubernetes mounts a secret, and as somebody who owns another folder would.
#[cfg(unix)]
#[test]
fn a_link_within_the_folder_is_followed_and_one_that_leads_out_of_it_is_not() {
    use std::os::unix::fs::symlink;
    let (elsewhere, other) = key_file(&RAW, 0o600);
    let (folder, path) = key_file(&RAW, 0o600);
    std::fs::create_dir(folder.path().join("..1")).expect("a folder");
    std::fs::rename(&path, folder.path().join("..1/gossip.key")).expect("moved");
    symlink("..1", folder.path().join("..data")).expect("a link");
    symlink("..data/gossip.key", &path).expect("a link");
    assert!(StoreKey::from_file(&path).is_ok());
    std::fs::remove_file(&path).expect("removed");
    symlink(&other, &path).expect("a link");
    let error = StoreKey::from_file(&path).expect_err("it leads out");
    assert!(matches!(error.fault, KeyFault::Exposed(ExposedSecret::Elsewhere { .. })), "{error}");
    // The folder itself may be wherever it likes.
    let linked = folder.path().join("keys");
    symlink(elsewhere.path(), &linked).expect("a link");
    assert!(StoreKey::from_file(&linked.join("gossip.key")).is_ok());
}

#[test]
fn an_absent_file_and_a_folder_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let absent = folder.path().join("absent.key");
    let error = GossipKey::from_file(&absent).expect_err("absent");
    assert_eq!(error.fault, KeyFault::Unreadable(std::io::ErrorKind::NotFound));
    assert!(error.to_string().contains("absent.key"), "{error}");
    let error = GossipKey::from_file(folder.path()).expect_err("a folder");
    assert_eq!(error.fault, KeyFault::NotAFile);
}

#[test]
fn a_variable_that_is_unset_or_holds_no_key_is_named() {
    let error = StoreKey::from_environment("RDB_NET_SEAL_TEST_UNSET").expect_err("unset");
    assert_eq!(error.to_string(), "key in environment variable RDB_NET_SEAL_TEST_UNSET: is not set");
    // Cargo sets this one, to something that is no key.
    let error = StoreKey::from_environment("CARGO_PKG_NAME").expect_err("no key");
    assert_eq!(error.origin, KeySource::Environment("CARGO_PKG_NAME".to_owned()));
    assert!(!error.to_string().contains("rdb-net-seal"), "{error}");
}

#[test]
fn generated_keys_differ() {
    let (one, other) = (GossipKey::generate().expect("random"), GossipKey::generate().expect("random"));
    assert_ne!(one.bytes.expose(), other.bytes.expose());
    assert_ne!(one.id(), other.id());
}

#[test]
fn one_key_has_different_names_for_different_purposes() {
    assert_ne!(GossipKey::take(&mut RAW.clone()).id(), StoreKey::take(&mut RAW.clone()).id());
}

#[test]
fn a_key_that_is_taken_is_wiped_where_it_stood() {
    let mut bytes = RAW;
    let key = GossipKey::take(&mut bytes);
    assert_eq!(bytes, [0; KEY_BYTES]);
    assert_eq!(key.bytes.expose(), &RAW);
}
