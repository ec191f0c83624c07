//! The driver over a source in memory, and several of those as one: the conformance suite, and what only a source in memory can
//! do.

mod support;

use std::sync::{Arc, Mutex};

use rdb_discovery::{DiscoverySource, Freshness, LastGoodError, LastGoodStore, RegistrationState};
use rdb_discovery_driver::conformance::{PATIENCE, Reader, node, until};
use rdb_discovery_driver::{DriverConfig, discovery_conformance};
use rdb_net_types::{BootId, NodeInfo};
use support::{Composites, Memories, Memory};

discovery_conformance! {
    memory: Memories;
    composite: Composites;
}

/// A store in memory, as a disk would be.
#[derive(Debug, Default)]
struct Disk(Mutex<Option<Vec<u8>>>);

impl LastGoodStore for Disk {
    fn load(&self) -> Result<Option<Vec<u8>>, LastGoodError> {
        Ok(self.0.lock().expect("no panic").clone())
    }

    fn save(&self, text: &[u8]) -> Result<(), LastGoodError> {
        *self.0.lock().expect("no panic") = Some(text.to_vec());
        Ok(())
    }
}

fn kept(disk: &Arc<Disk>) -> DriverConfig {
    DriverConfig { last_good: Some(Arc::clone(disk) as Arc<dyn LastGoodStore>), ..support::config() }
}

#[tokio::test]
async fn a_list_is_there_in_the_next_life_though_the_source_is_not() {
    let (memory, disk) = (Memory::default(), Arc::new(Disk::default()));
    memory.write(&[node(1, "1"), node(2, "1")]);
    let first = memory.discovery(kept(&disk));
    rdb_net_types::Component::initialize(&first).await.expect("it starts");
    until("it is saved", || disk.load().expect("readable").is_some()).await;
    rdb_net_types::Component::shutdown(&first).await.expect("it ends");

    memory.cut(true);
    let second = memory.discovery(kept(&disk));
    rdb_net_types::Component::initialize(&second).await.expect("it starts");
    let mut reader = Reader::of(&second);
    reader.until_addresses(&[node(1, ""), node(2, "")]).await;
    assert_eq!(reader.log[0], "=2 stale");
    assert!(matches!(second.snapshot().freshness, Freshness::Stale { .. }));
    memory.write(&[node(2, "1"), node(3, "1")]);
    memory.cut(false);
    reader.until_addresses(&[node(2, ""), node(3, "")]).await;
    reader.until("restored").await;
    rdb_net_types::Component::shutdown(&second).await.expect("it ends");
}

#[tokio::test]
async fn a_saved_list_is_not_told_where_the_source_answers() {
    let (memory, disk) = (Memory::default(), Arc::new(Disk::default()));
    let list =
        rdb_discovery::LastGood { source: "memory".to_owned(), saved_at_unix_s: u64::MAX, nodes: vec![node(9, "1")] };
    disk.save(&list.to_text()).expect("saved");
    memory.write(&[node(1, "1")]);
    let source = memory.discovery(kept(&disk));
    rdb_net_types::Component::initialize(&source).await.expect("it starts");
    let mut reader = Reader::of(&source);
    reader.until_addresses(&[node(1, "")]).await;
    assert_eq!(reader.log, ["=1"]);
    rdb_net_types::Component::shutdown(&source).await.expect("it ends");
}

#[tokio::test]
async fn a_source_that_forgets_is_told_anew_by_itself() {
    let memory = Memory::default();
    memory.write(&[node(1, "1")]);
    let source = memory.discovery(support::config());
    rdb_net_types::Component::initialize(&source).await.expect("it starts");
    let registered = NodeInfo { boot: BootId(7), ..node(7, "1") };
    rdb_net_types::ServiceDiscovery::register_node(&source, &registered).await.expect("registered");
    let mut reader = Reader::of(&source);
    let both = [node(1, "1"), registered];
    reader.until_addresses(&both).await;
    memory.write(&both[..1]);
    let anew = || matches!(source.registration(), Some(RegistrationState::Active { epoch: 2, .. }));
    until("it is registered anew", anew).await;
    assert_eq!(source.statistics().registration.lost, 1);
    Reader::of(&source).until_addresses(&both).await;
    rdb_net_types::Component::shutdown(&source).await.expect("it ends");
}

#[tokio::test]
async fn a_withdrawal_that_the_source_does_not_take_is_given_up_and_told() {
    let memory = Memory::default();
    let source = memory.discovery(support::config());
    rdb_net_types::Component::initialize(&source).await.expect("it starts");
    rdb_net_types::ServiceDiscovery::register_node(&source, &node(7, "1")).await.expect("registered");
    memory.cut(true);
    let left = tokio::time::timeout(PATIENCE, rdb_net_types::Component::shutdown(&source)).await.expect("it ends");
    assert!(left.expect_err("told").to_string().contains("left to expire"));
}
