//! Secrets that nothing shows, and that do not outlive their use.

use std::fmt::Debug;
use std::sync::Arc;

use super::{cluster, keyring, member, node, open, seal, secs};
use crate::{
    DiskFiles, FileConfig, FileKind, FileOwner, GossipKey, KEY_BYTES, KeyError, Keyring, KeyringOffer, PacketKind,
    Recovery, RecoveryConfig, Rotation, RotationConfig, SealedFile, SecretBytes, StoreKey,
};

const MARKER: &[u8; KEY_BYTES] = b"MARKER-of-a-secret-DO-NOT-SHOW-!";

/// That a text holds the marker in no form that a formatter would give it.
#[track_caller]
fn check_text(text: &str) {
    let hex: String = MARKER[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    let decimal = MARKER[..8].iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
    let lines = MARKER[..8].iter().map(u8::to_string).collect::<Vec<_>>().join(",\n");
    for form in ["MARKER", "DO-NOT-SHOW", &hex, &hex.to_uppercase(), &decimal, &lines, "TUFSS0VS"] {
        assert!(!text.replace(' ', "").contains(&form.replace(' ', "")), "{form} in {text}");
    }
}

#[track_caller]
fn check(value: &dyn Debug) {
    check_text(&format!("{value:?}"));
    check_text(&format!("{value:#?}").replace("    ", ""));
}

#[test]
fn the_marker_is_found_where_it_is_shown() {
    let shown = [format!("{MARKER:?}"), String::from_utf8_lossy(MARKER).into_owned()];
    assert!(shown.iter().all(|text| std::panic::catch_unwind(|| check_text(text)).is_err()));
}

#[test]
fn s23_a_marker_in_every_secret_appears_in_no_text_of_any_type() {
    let marked = || GossipKey::take(&mut MARKER.clone());
    let keyring = Arc::new(Keyring::with_key(marked(), secs(0)));
    keyring.install(super::key(1), secs(0)).expect("room");
    let offer = KeyringOffer::encode(&keyring).expect("keys");
    check(&marked());
    check(&StoreKey::take(&mut MARKER.clone()));
    check(&keyring);
    check(&keyring.list(secs(1)));
    check(&offer);
    check(&KeyringOffer::decode(&offer).expect("legal"));
    check(&KeyringOffer::decode(&offer[..40]));
    check(&keyring.remove(marked().id()).expect_err("the primary"));
    check_text(&keyring.remove(marked().id()).expect_err("the primary").to_string());
    check(&SecretBytes::new(MARKER.to_vec()));
    check(&Recovery::new(RecoveryConfig::default()));
    check(&Rotation::new(RotationConfig::default(), marked().id(), super::key(1).id(), [node("a")], secs(0)));

    let (mut a, mut b) = (member("a", &keyring), member("b", &keyring));
    let mut packet = seal(&mut a, MARKER);
    check_text(&String::from_utf8_lossy(&packet));
    open(&mut b, &packet).expect("opened");
    let mut c = member("c", &keyring);
    check(&c.open_in_place(&mut packet, super::NOW).expect("opened"));
    check(&c.seal_into(&mut Vec::new(), PacketKind::GOSSIP, MARKER, super::NOW));
    for member in [a, b, c] {
        check(&member);
        check(&member.senders());
    }
}

#[test]
fn s23_a_marker_in_a_file_appears_in_no_text_and_in_no_sealed_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let owner = FileOwner::of(&cluster("rustydb"), &node("a"));
    let keys = vec![StoreKey::take(&mut MARKER.clone())];
    let mut file =
        SealedFile::new(DiskFiles, folder.path().join("x"), FileKind::KEYRING, owner, keys, FileConfig::default());
    file.save(MARKER).expect("saved");
    check(&file);
    check(&file.load());
    check_text(&String::from_utf8_lossy(&std::fs::read(file.path()).expect("there")));
    std::fs::write(file.path(), MARKER.repeat(10)).expect("written");
    let loaded = file.load();
    check(&loaded);
    loaded.problems.iter().for_each(|problem| check_text(&problem.to_string()));
}

#[track_caller]
fn check_key_error(error: KeyError) {
    check(&error);
    check_text(&error.to_string());
}

#[cfg(unix)]
#[test]
fn s23_a_marker_in_a_bad_key_file_appears_in_no_error() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("key");
    let contents = [&MARKER[..], &MARKER[..31], &MARKER.repeat(20), &[MARKER, b"\n".as_slice()].concat()];
    for content in contents {
        for mode in [0o600, 0o644] {
            std::fs::write(&path, content).expect("written");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("ours");
            check_key_error(GossipKey::from_file(&path).expect_err("no key"));
            check_key_error(StoreKey::from_file(&path).expect_err("no key"));
            std::fs::remove_file(&path).expect("there");
        }
    }
}

/// This process's memory, whoever owns it. Looking at it allocates nothing: that would reuse what was just freed.
#[cfg(target_os = "linux")]
struct Memory(std::fs::File);

#[cfg(target_os = "linux")]
impl Memory {
    fn open() -> Self {
        Self(std::fs::File::open("/proc/self/mem").expect("Linux shows a process its memory"))
    }

    /// How many bytes of the marker are still where the secret was. An allocator may overwrite some by itself, but not most.
    fn left_over(&self, address: usize) -> usize {
        use std::os::unix::fs::FileExt;
        let mut found = [0; KEY_BYTES];
        self.0.read_exact_at(&mut found, address as u64).expect("mapped");
        found.iter().zip(MARKER).filter(|(found, marker)| *found == *marker).count()
    }
}

#[cfg(target_os = "linux")]
#[test]
fn s14_a_key_is_wiped_when_it_is_dropped_and_an_ordinary_box_is_not() {
    let memory = Memory::open();
    let key = GossipKey::take(&mut MARKER.clone());
    let address = key.bytes.expose().as_ptr() as usize;
    assert_eq!(memory.left_over(address), KEY_BYTES);
    drop(key);
    assert!(memory.left_over(address) < 4, "{} bytes are left", memory.left_over(address));

    let secret = SecretBytes::new(MARKER.to_vec());
    let address = secret.as_ptr() as usize;
    assert_eq!(memory.left_over(address), KEY_BYTES);
    drop(secret);
    assert!(memory.left_over(address) < 4);

    // Unseen by the optimiser, which would leave out what nobody reads.
    let ordinary = std::hint::black_box(Box::new(*MARKER));
    let address = ordinary.as_ptr() as usize;
    assert_eq!(memory.left_over(address), KEY_BYTES);
    drop(ordinary);
    assert!(memory.left_over(address) >= 8, "the test would not find what is left");
}

#[cfg(target_os = "linux")]
#[test]
fn s14_a_key_that_was_removed_from_the_keyring_is_wiped() {
    let memory = Memory::open();
    let keyring = keyring(1);
    let key = GossipKey::take(&mut MARKER.clone());
    let (id, address) = (key.id(), key.bytes.expose().as_ptr() as usize);
    keyring.install(key, secs(0)).expect("room");
    assert_eq!(memory.left_over(address), KEY_BYTES);
    keyring.remove(id).expect("not the primary");
    assert!(memory.left_over(address) < 4, "{} bytes are left", memory.left_over(address));
}
