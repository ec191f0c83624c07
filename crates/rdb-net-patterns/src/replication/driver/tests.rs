//! What an operator is told when a replica is opened.

use std::sync::Arc;

use rdb_net_manager::NetworkManager;
use rdb_net_manager::config::Loader;

use super::super::{Config, EPOCH_MAX, LogStorage, MemoryLog, Promise};
use super::Replication;
use crate::warned::warned_of;

#[tokio::test]
async fn a_replica_that_has_promised_an_epoch_above_the_highest_one_warns_when_it_is_opened() {
    let config = Loader::new().overrides(["networking.bind_address=127.0.0.1:0"]).load().expect("legal");
    let manager = Arc::new(NetworkManager::new(config).expect("it has a transport"));
    let replication = Replication::new(&manager);
    let node = manager.control().local().id.clone();
    for (epoch, count) in [(EPOCH_MAX, 0), (EPOCH_MAX + 1, 1), (u64::MAX, 1)] {
        let mut log = MemoryLog::new();
        log.keep_promise(&Promise { epoch, leader: None }).expect("memory takes it");
        let open = || drop(replication.open(Config::new(epoch, [node.clone()]), log).expect("it is a member"));
        assert_eq!(warned_of("above the highest one", open).len(), count, "{epoch}");
    }
    manager.shutdown().await;
}
