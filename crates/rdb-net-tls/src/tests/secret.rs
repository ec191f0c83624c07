//! The exchange of a shared secret, and those who try without it. S1, S2, S15, S23.

use std::time::Duration;

use rdb_net_types::{ClusterId, Refusal, RefusalReason};
use tempfile::TempDir;
use tokio::io::{AsyncWriteExt, duplex};
use tokio::time::Instant;

use super::scene::{cluster, id, secret_file, set_mode, soon};
use crate::ChannelBinding;
use crate::secret::{self, Accepting, Dialing, SecretError, SharedSecret, Terms};

fn key(letter: u8) -> SharedSecret {
    SharedSecret::new(&[letter; 32]).expect("long enough")
}

fn terms(node: &str) -> Terms {
    Terms { cluster: cluster(), node: id(node), binding: None }
}

/// A whole exchange: what each side says of the other.
fn exchange(
    (dialer_key, dialer): (&SharedSecret, Terms),
    (acceptor_key, acceptor): (&SharedSecret, Terms),
    target: Option<&str>,
) -> (Result<String, Refusal>, Result<String, Refusal>) {
    let nobody = || Err(Refusal { reason: RefusalReason::Draining, detail: "nothing came".to_owned() });
    let (dialing, begin) = Dialing::begin(dialer_key, dialer, target.map(id), [1; 32]);
    let (awaiting, challenge) = match Accepting::new(acceptor_key, acceptor).challenge(&begin, [2; 32]) {
        Ok(challenged) => challenged,
        Err(refusal) => return (nobody(), Err(refusal)),
    };
    match dialing.finish(&challenge) {
        Ok((peer, answer)) => {
            let dialer = awaiting.finish(&answer);
            (Ok(peer.node.to_string()), dialer.map(|dialer| dialer.node.to_string()))
        }
        Err(refusal) => (Err(refusal), nobody()),
    }
}

fn reasons(seen: (Result<String, Refusal>, Result<String, Refusal>)) -> (Option<RefusalReason>, Option<RefusalReason>) {
    (seen.0.err().map(|refusal| refusal.reason), seen.1.err().map(|refusal| refusal.reason))
}

const NOTHING_CAME: Option<RefusalReason> = Some(RefusalReason::Draining);

#[test]
fn who_knows_the_secret_is_who_it_says() {
    let secret = key(1);
    let names = |target| {
        let (peer, dialer) = exchange((&secret, terms("a")), (&secret, terms("b")), target);
        (peer.expect("the acceptor proves"), dialer.expect("the dialer proves"))
    };
    assert_eq!(names(Some("b")), ("b".to_owned(), "a".to_owned()));
    assert_eq!(names(None), ("b".to_owned(), "a".to_owned()), "a seed");
}

#[test]
fn who_does_not_know_it_is_nobody() {
    let seen = exchange((&key(1), terms("a")), (&key(2), terms("b")), None);
    assert_eq!(reasons(seen), (Some(RefusalReason::Identity), NOTHING_CAME), "the dialer sends no proof to a stranger");
    let (_, begin) = Dialing::begin(&key(1), terms("a"), None, [1; 32]);
    let (awaiting, _) = Accepting::new(&key(1), terms("b")).challenge(&begin, [2; 32]).expect("challenged");
    let mut guess = vec![0x13];
    guess.extend([0; 32]);
    assert_eq!(awaiting.finish(&guess).expect_err("a guess").reason, RefusalReason::Identity);
}

#[test]
fn an_exchange_is_of_its_cluster_its_nodes_and_its_connection() {
    let secret = key(1);
    let run =
        |dialer: Terms, acceptor: Terms, target| reasons(exchange((&secret, dialer), (&secret, acceptor), target));
    let other = Terms { cluster: ClusterId::new("billing").expect("legal"), ..terms("b") };
    assert_eq!(run(terms("a"), other, None), (NOTHING_CAME, Some(RefusalReason::Cluster)));
    assert_eq!(run(terms("a"), terms("b"), Some("c")), (NOTHING_CAME, Some(RefusalReason::TargetNode)));
    assert_eq!(run(terms("a"), terms("a"), None), (NOTHING_CAME, Some(RefusalReason::SelfConnection)));
    let bound = |node: &str, byte| Terms { binding: Some(ChannelBinding::from_bytes([byte; 32])), ..terms(node) };
    assert_eq!(run(bound("a", 1), bound("b", 1), None), (None, None));
    let wrong = (Some(RefusalReason::Identity), NOTHING_CAME);
    assert_eq!(run(bound("a", 1), bound("b", 2), None), wrong, "two connections with somebody in between");
    assert_eq!(run(bound("a", 1), terms("b"), None), wrong, "TLS ends in between");
    assert_eq!(run(terms("a"), bound("b", 0), None), wrong, "no binding is not a binding of zeros");
}

#[test]
fn a_replayed_message_proves_nothing() {
    let secret = key(1);
    let (dialing, begin) = Dialing::begin(&secret, terms("a"), None, [1; 32]);
    let (awaiting, challenge) = Accepting::new(&secret, terms("b")).challenge(&begin, [2; 32]).expect("challenged");
    let (_, answer) = dialing.finish(&challenge).expect("proved");
    awaiting.finish(&answer).expect("proved");
    // The same dialer again, and an acceptor whose nonce is fresh.
    let (awaiting, _) = Accepting::new(&secret, terms("b")).challenge(&begin, [3; 32]).expect("challenged");
    assert_eq!(awaiting.finish(&answer).expect_err("replayed").reason, RefusalReason::Identity);
    // A dialer whose nonce is fresh, and the same challenge again.
    let (dialing, _) = Dialing::begin(&secret, terms("a"), None, [4; 32]);
    assert_eq!(dialing.finish(&challenge).expect_err("replayed").reason, RefusalReason::Identity);
}

#[test]
fn a_reflected_message_proves_nothing() {
    let secret = key(1);
    // Somebody without the secret answers a dialer with what the dialer itself, as an acceptor, says to the same nonce.
    let (dialing, begin) = Dialing::begin(&secret, terms("a"), None, [1; 32]);
    let own = Accepting::new(&secret, terms("a")).challenge(&begin, [2; 32]);
    assert_eq!(own.expect_err("its own name").reason, RefusalReason::SelfConnection);
    // It relays the question to another node, and gives the answer for its own: the name is in the proof.
    let (_, challenge) = Accepting::new(&secret, terms("b")).challenge(&begin, [2; 32]).expect("challenged");
    let renamed: Vec<u8> = challenge.iter().enumerate().map(|(at, byte)| if at == 2 { b'c' } else { *byte }).collect();
    assert_eq!(dialing.finish(&renamed).expect_err("renamed").reason, RefusalReason::Identity);
    // The acceptor's proof comes back as the dialer's: the side is in the proof.
    let (awaiting, challenge) = Accepting::new(&secret, terms("b")).challenge(&begin, [2; 32]).expect("challenged");
    let mut answer = vec![0x13];
    answer.extend_from_slice(&challenge[challenge.len() - 32..]);
    assert_eq!(awaiting.finish(&answer).expect_err("reflected").reason, RefusalReason::Identity);
    let (dialing, begin) = Dialing::begin(&secret, terms("a"), None, [1; 32]);
    assert_eq!(dialing.finish(&begin).expect_err("its own message").reason, RefusalReason::Malformed);
}

#[test]
fn swapped_names_prove_nothing() {
    let secret = key(1);
    // What a and b say to each other when a dials is of no use when b dials.
    let (dialing, begin) = Dialing::begin(&secret, terms("a"), None, [1; 32]);
    let (_, challenge) = Accepting::new(&secret, terms("b")).challenge(&begin, [2; 32]).expect("challenged");
    let (_, answer) = dialing.finish(&challenge).expect("proved");
    let (_, begin) = Dialing::begin(&secret, terms("b"), None, [1; 32]);
    let (awaiting, _) = Accepting::new(&secret, terms("a")).challenge(&begin, [2; 32]).expect("challenged");
    assert_eq!(awaiting.finish(&answer).expect_err("swapped").reason, RefusalReason::Identity);
}

#[test]
fn every_bit_and_every_byte_counts() {
    let secret = key(1);
    let begin = || Dialing::begin(&secret, terms("a"), Some(id("b")), [1; 32]);
    let challenge = |begin: &[u8]| Accepting::new(&secret, terms("b")).challenge(begin, [2; 32]);
    let (_, first) = begin();
    let (_, second) = challenge(&first).expect("challenged");
    let (_, third) = begin().0.finish(&second).expect("proved");
    for cut in 0..first.len() {
        assert!(challenge(&first[..cut]).is_err());
    }
    for cut in 0..second.len() {
        assert!(begin().0.finish(&second[..cut]).is_err());
    }
    for bit in 0..second.len() * 8 {
        let mut bent = second.clone();
        bent[bit / 8] ^= 1 << (bit % 8);
        assert!(begin().0.finish(&bent).is_err(), "bit {bit} of the challenge");
    }
    for bit in 0..third.len() * 8 {
        let mut bent = third.clone();
        bent[bit / 8] ^= 1 << (bit % 8);
        assert!(challenge(&first).expect("challenged").0.finish(&bent).is_err(), "bit {bit} of the answer");
    }
    for bit in 0..first.len() * 8 {
        let mut bent = first.clone();
        bent[bit / 8] ^= 1 << (bit % 8);
        let accepted = challenge(&bent).and_then(|(_, challenge)| begin().0.finish(&challenge));
        assert!(accepted.is_err(), "bit {bit} of the beginning");
    }
    assert!(challenge(&[first, vec![0]].concat()).is_err(), "one byte too many");
}

#[test]
fn a_secret_is_long_enough_and_its_owners_alone() {
    assert_eq!(SharedSecret::new(&[7; 31]).expect_err("short").bytes, 31);
    let dir = TempDir::new().expect("a folder");
    let path = dir.path().join("secret");
    let text = "0123456789abcdef0123456789abcdef";
    secret_file(&path, &format!("{text}\n"));
    let from_file = SharedSecret::from_file(&path).expect("good");
    let from_text = SharedSecret::new(text.as_bytes()).expect("good");
    let seen = exchange((&from_file, terms("a")), (&from_text, terms("b")), None);
    assert_eq!(reasons(seen), (None, None), "the line's end does not count");
    set_mode(&path, 0o644);
    let error = SharedSecret::from_file(&path).expect_err("loose");
    assert!(error.to_string().contains("chmod 0600"), "{error}");
    secret_file(&path, "too short\n");
    let error = SharedSecret::from_file(&path).expect_err("short").to_string();
    assert!(error.contains("at least 32 bytes") && !error.contains("too short"), "{error}");
}

#[test]
fn a_variable_holds_a_secret_or_is_named_without_it() {
    let error = SharedSecret::from_environment("RDB_NET_TLS_TEST_UNSET").expect_err("unset");
    assert_eq!(error.to_string(), "environment variable RDB_NET_TLS_TEST_UNSET: is not set");
    // Cargo sets these two: one is too short for a secret, the other is not.
    let error = SharedSecret::from_environment("CARGO_PKG_NAME").expect_err("short");
    let text = error.to_string();
    assert!(text.starts_with("environment variable CARGO_PKG_NAME: a shared secret has at least 32 bytes"), "{text}");
    assert!(!text.contains("rdb-net-tls"), "{text}");
    let description = SharedSecret::from_environment("CARGO_PKG_DESCRIPTION").expect("long enough");
    let same = SharedSecret::new(env!("CARGO_PKG_DESCRIPTION").as_bytes()).expect("long enough");
    let seen = exchange((&description, terms("a")), (&same, terms("b")), None);
    assert_eq!(reasons(seen), (None, None));
}

/// S2, S14: the key of gossip is of its secret and its cluster.
#[test]
fn a_gossip_key_follows_from_the_secret_and_the_cluster() {
    let billing = ClusterId::new("billing").expect("legal");
    let of = |secret: u8, cluster: &ClusterId| *key(secret).gossip_key(cluster);
    assert_eq!(of(1, &cluster()), of(1, &cluster()), "every member derives the same");
    assert_ne!(of(1, &cluster()), of(2, &cluster()), "another secret");
    assert_ne!(of(1, &cluster()), of(1, &billing), "another cluster");
    assert_ne!(of(1, &cluster()), [1; 32], "it is not the secret");
}

/// A dialer that knows another secret learns that from the acceptor's proof, sends none, and the acceptor says what that means.
#[tokio::test(start_paused = true)]
async fn who_knows_another_secret_hangs_up_and_both_sides_name_the_key() {
    let (mut here, mut there) = duplex(1024);
    let (ours, theirs) = (key(1), key(2));
    let dialer = async {
        let dialed = secret::dial(&mut here, &ours, terms("a"), None, soon()).await;
        drop(here);
        dialed
    };
    let (dialed, accepted) = tokio::join!(dialer, secret::accept(&mut there, &theirs, terms("b"), soon()));
    let (dialed, accepted) = (dialed.expect_err("another secret"), accepted.expect_err("another secret"));
    assert!(
        matches!(dialed, SecretError::Refused(_)) && matches!(accepted, SecretError::HungUp),
        "{dialed} {accepted}"
    );
    for error in [dialed, accepted] {
        assert!(error.to_string().contains("networking.shared_secret has to be the same"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn both_ends_of_a_stream_prove_themselves() {
    let secret = key(1);
    let (mut here, mut there) = duplex(1024);
    let (peer, dialer) = tokio::join!(
        secret::dial(&mut here, &secret, terms("a"), Some(id("b")), soon()),
        secret::accept(&mut there, &secret, terms("b"), soon())
    );
    assert_eq!((peer.expect("proved").node, dialer.expect("proved").node), (id("b"), id("a")));
}

#[tokio::test(start_paused = true)]
async fn a_stranger_on_a_stream_is_left_in_time() {
    let (_here, mut there) = duplex(1024);
    let begun = Instant::now();
    let result = secret::accept(&mut there, &key(1), terms("b"), begun + Duration::from_secs(3)).await;
    assert!(matches!(result, Err(SecretError::Timeout)));
    assert_eq!(begun.elapsed(), Duration::from_secs(3));
    let (mut here, mut there) = duplex(1024);
    here.write_all(&[0xff, 0xff]).await.expect("written");
    let result = secret::accept(&mut there, &key(1), terms("b"), soon()).await;
    assert!(matches!(result, Err(SecretError::Io(_))), "a message of 64 KiB is not waited for: {result:?}");
}
