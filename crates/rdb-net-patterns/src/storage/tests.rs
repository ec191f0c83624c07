//! What a log keeps, what it cuts off, and what it refuses.

#[cfg(feature = "files")]
mod files;
#[cfg(feature = "files")]
mod power;

use bytes::Bytes;
use proptest::prelude::*;
use rdb_net_types::SeededRandom;

use super::format::{FILE_HEADER_BYTES, RECORD_HEADER_BYTES};
use super::{Log, LogError, MemoryDisk, MemoryLog, PENDING_BYTES_MAX, RECORD_BYTES_MAX, Recovered};

fn open(disk: &MemoryDisk) -> (MemoryLog, Vec<Vec<u8>>, Recovered) {
    let mut records = Vec::new();
    let (log, recovered) = disk.open(&mut |record| records.push(record.to_vec())).expect("nothing is damaged");
    (log, records, recovered)
}

#[test]
fn what_is_synced_survives_and_the_rest_may_be_lost() {
    let disk = MemoryDisk::new();
    let (mut log, ..) = open(&disk);
    log.append(b"one").expect("in memory");
    log.append(b"").expect("in memory");
    log.sync().expect("in memory");
    let synced_bytes = log.size_bytes();
    log.append(b"lost").expect("in memory");

    let mut ends = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let copy = MemoryDisk::new();
        let (mut again, ..) = open(&copy);
        for record in [&b"one"[..], b""] {
            again.append(record).expect("in memory");
        }
        again.sync().expect("in memory");
        again.append(b"lost").expect("in memory");
        copy.crash(&mut SeededRandom::new(seed));
        let (log, records, recovered) = open(&copy);
        assert_eq!(records[..2], [b"one".to_vec(), Vec::new()]);
        assert_eq!(
            log.size_bytes() - synced_bytes + recovered.cut_bytes,
            match records.len() {
                2 => recovered.cut_bytes,
                _ => (RECORD_HEADER_BYTES + 4) as u64,
            }
        );
        ends.insert((records.len(), recovered.cut_bytes > 0));
    }
    let kinds = [(2, false), (2, true), (3, false)];
    assert_eq!(ends, kinds.into_iter().collect(), "nothing, a part, and all of it were seen to survive");
}

#[test]
fn a_log_from_before_a_crash_takes_nothing_more() {
    let disk = MemoryDisk::new();
    let (mut log, ..) = open(&disk);
    disk.crash(&mut SeededRandom::new(1));
    assert!(matches!(log.append(b"late"), Err(LogError::Broken { .. })));
    assert!(matches!(log.sync(), Err(LogError::Broken { .. })));
}

#[test]
fn a_failed_sync_ends_the_log() {
    let disk = MemoryDisk::new();
    let (mut log, ..) = open(&disk);
    log.append(b"a").expect("in memory");
    disk.fail_syncs(true);
    let error = log.sync().expect_err("told to fail");
    assert!(error.is_final());
    disk.fail_syncs(false);
    assert!(matches!(log.sync(), Err(LogError::Broken { .. })), "a second sync would succeed and prove nothing");
}

/// Where each of these records begins.
fn written(batches: &[&[&[u8]]]) -> (MemoryDisk, Vec<u64>) {
    let disk = MemoryDisk::new();
    let (mut log, ..) = open(&disk);
    let mut offsets = Vec::new();
    for batch in batches {
        for record in *batch {
            offsets.push(log.size_bytes());
            log.append(record).expect("in memory");
        }
        log.sync().expect("in memory");
    }
    (disk, offsets)
}

#[test]
fn damage_before_a_later_sync_is_told_and_not_cut_off() {
    let (clean, offsets) = written(&[&[b"first", b"second"], &[b"third"]]);
    drop(clean);
    let last = offsets[2];
    for byte in FILE_HEADER_BYTES..last as usize {
        let (disk, _) = written(&[&[b"first", b"second"], &[b"third"]]);
        disk.damage(byte);
        let error = disk.open(&mut |_| {}).expect_err("a durable record is damaged");
        let damaged = if byte < offsets[1] as usize { offsets[0] } else { offsets[1] };
        assert!(
            matches!(error, LogError::Corrupt { offset, synced_bytes, .. } if offset == damaged && synced_bytes == last),
            "byte {byte}: {error}"
        );
    }
}

#[test]
fn damage_in_the_last_sync_looks_like_a_torn_end() {
    let (disk, offsets) = written(&[&[b"first"], &[b"second", b"third"]]);
    disk.damage(offsets[1] as usize + RECORD_HEADER_BYTES);
    let (_, records, recovered) = open(&disk);
    assert_eq!(records, [b"first"]);
    assert_eq!(recovered.cut_bytes, (2 * RECORD_HEADER_BYTES + "second".len() + "third".len()) as u64);
}

/// What no log can tell by itself: the disk has lost the last syncs, and with them whatever would have shown it.
#[test]
fn several_lost_syncs_look_like_a_torn_end_and_a_lost_tail_looks_whole() {
    let (disk, offsets) = written(&[&[b"first"], &[b"second"], &[b"third"], &[b"fourth"]]);
    disk.cut(offsets[1] as usize + 3);
    let (_, records, recovered) = open(&disk);
    assert_eq!((records.as_slice(), recovered.cut_bytes), (&[b"first".to_vec()][..], 3));
    let (disk, offsets) = written(&[&[b"first"], &[b"second"], &[b"third"], &[b"fourth"]]);
    disk.cut(offsets[2] as usize);
    let (_, records, recovered) = open(&disk);
    assert_eq!((records.as_slice(), recovered.cut_bytes), (&[b"first".to_vec(), b"second".to_vec()][..], 0));
}

#[test]
fn a_record_inside_a_record_is_no_witness() {
    // A log's bytes as a record of another log, behind what is then damaged.
    let (inner, _) = written(&[&[b"first"], &[b"second"]]);
    let copy = {
        let (log, ..) = open(&inner);
        drop(log);
        inner.durable()
    };
    let (disk, offsets) = written(&[&[b"start"], &[b"damaged", &copy]]);
    disk.damage(offsets[1] as usize + RECORD_HEADER_BYTES);
    let (_, records, _) = open(&disk);
    assert_eq!(records, [b"start"]);
}

#[test]
fn a_replaced_log_holds_what_it_was_given() {
    let (disk, _) = written(&[&[b"a", b"b"], &[b"c"]]);
    let (mut log, ..) = open(&disk);
    log.append(b"not synced").expect("in memory");
    log.replace(&mut [Bytes::from_static(b"c")].into_iter()).expect("in memory");
    log.append(b"d").expect("in memory");
    log.sync().expect("in memory");
    let (_, records, recovered) = open(&disk);
    assert_eq!(records, [b"c", b"d"]);
    assert_eq!(recovered, Recovered { records: 2, cut_bytes: 0 });
}

#[test]
fn damage_after_a_replacement_is_told_before_anything_is_appended() {
    let replaced = || {
        let disk = MemoryDisk::new();
        let (mut log, ..) = open(&disk);
        log.replace(&mut [Bytes::from_static(b"first"), Bytes::from_static(b"")].into_iter()).expect("in memory");
        (disk, log.size_bytes() as usize)
    };
    let (second, sealed) =
        (FILE_HEADER_BYTES + RECORD_HEADER_BYTES + 5, FILE_HEADER_BYTES + 2 * RECORD_HEADER_BYTES + 5);
    let (_, length) = replaced();
    assert_eq!(length, sealed + RECORD_HEADER_BYTES);
    for byte in FILE_HEADER_BYTES..sealed {
        let (disk, _) = replaced();
        disk.damage(byte);
        let error = disk.open(&mut |_| {}).expect_err("a durable record is damaged");
        let damaged = if byte < second { FILE_HEADER_BYTES } else { second } as u64;
        assert!(
            matches!(error, LogError::Corrupt { offset, synced_bytes, .. } if offset == damaged && synced_bytes == sealed as u64),
            "byte {byte}: {error}"
        );
    }
    // The seal itself holds nothing: it may go, and the records stay.
    for byte in sealed..length {
        let (disk, _) = replaced();
        disk.damage(byte);
        let (_, records, recovered) = open(&disk);
        assert_eq!(records, [b"first".to_vec(), Vec::new()], "byte {byte}");
        assert_eq!(recovered, Recovered { records: 2, cut_bytes: RECORD_HEADER_BYTES as u64 });
    }
}

#[test]
fn what_waits_is_bounded() {
    let disk = MemoryDisk::new();
    let (mut log, ..) = open(&disk);
    let record = vec![7; 1024 * 1024];
    for _ in 0..2 * PENDING_BYTES_MAX / record.len() {
        log.append(&record).expect("in memory");
        assert!(disk.pending_bytes() <= PENDING_BYTES_MAX, "an append beyond the limit syncs");
    }
    let error = log.append(&vec![0; RECORD_BYTES_MAX + 1]).expect_err("too large");
    assert!(!error.is_final(), "{error}");
    log.append(b"small").expect("goes on");
}

proptest! {
    /// Whatever is appended, synced, replaced and lost: what was synced last is there, and nothing that was never appended is.
    #[test]
    fn any_history_keeps_its_promise(
        steps in prop::collection::vec((0u8..6, prop::collection::vec(any::<u8>(), 0..700)), 1..60),
        seed in any::<u64>(),
    ) {
        let disk = MemoryDisk::new();
        let (mut log, ..) = open(&disk);
        let mut random = SeededRandom::new(seed);
        let (mut durable, mut pending): (Vec<Vec<u8>>, Vec<Vec<u8>>) = (Vec::new(), Vec::new());
        for (step, record) in steps {
            match step {
                0..=2 => {
                    log.append(&record).expect("in memory");
                    pending.push(record);
                }
                3 => {
                    log.sync().expect("in memory");
                    durable.append(&mut pending);
                }
                4 => {
                    let kept = durable.split_off(durable.len() / 2);
                    log.replace(&mut kept.iter().cloned().map(Bytes::from)).expect("in memory");
                    (durable, pending) = (kept, Vec::new());
                }
                _ => {
                    disk.crash(&mut random);
                    let (again, records, _) = open(&disk);
                    log = again;
                    prop_assert_eq!(&records[..durable.len()], &durable[..]);
                    let extra = records[durable.len()..].to_vec();
                    prop_assert_eq!(&extra[..], &pending[..extra.len()]);
                    durable.extend(extra);
                    pending.clear();
                }
            }
        }
    }
}
