//! A file does what every source does.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdb_discovery::{DiscoverySource, RemovalReason};
use rdb_discovery_driver::conformance::{Kind, Scene, Traits};
use rdb_discovery_driver::discovery_conformance;
use rdb_discovery_static::{StaticConfig, StaticDiscovery};
use rdb_net_types::{BoxFuture, NodeInfo};
use tempfile::TempDir;

discovery_conformance! {
    file: Files;
}

struct Files;

impl Kind for Files {
    fn scene(&self) -> BoxFuture<'_, Option<Box<dyn Scene>>> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("nodes.toml");
        let scene = File { _directory: directory, file, text: Mutex::new(Some(String::new())) };
        Box::pin(std::future::ready(Some(Box::new(scene) as Box<dyn Scene>)))
    }
}

/// A file; cut off, it is deleted, and what is written meanwhile waits.
struct File {
    _directory: TempDir,
    file: PathBuf,
    text: Mutex<Option<String>>,
}

impl File {
    /// As careful operators write: another file, renamed over this one.
    fn put(&self, text: &str) {
        let next = self.file.with_extension("next");
        fs::write(&next, text).expect("written");
        fs::rename(&next, &self.file).expect("renamed");
    }
}

impl Scene for File {
    fn source(&self) -> Arc<dyn DiscoverySource> {
        let config = StaticConfig { file: Some(self.file.clone()), ..StaticConfig::default() };
        Arc::new(StaticDiscovery::new(config).expect("a legal configuration"))
    }

    fn traits(&self) -> Traits {
        Traits {
            cuts: true,
            starts_alone: false,
            whole: true,
            guards: false,
            absence: RemovalReason::FileEdited,
            expires: false,
            promise: Duration::from_secs(1),
        }
    }

    fn write<'a>(&'a self, nodes: &'a [NodeInfo]) -> BoxFuture<'a, ()> {
        let entry = |node: &NodeInfo| {
            format!("[[nodes]]\nid = '{}'\naddress = '{}'\nversion = '{}'\n", node.id, node.address, node.version)
        };
        let text = match nodes {
            [] => "seeds = []\n".to_owned(),
            nodes => nodes.iter().map(entry).collect(),
        };
        let mut there = self.text.lock().expect("no panic");
        if there.is_some() {
            self.put(&text);
            *there = Some(text);
        } else {
            fs::write(self.file.with_extension("waits"), text).expect("written");
        }
        Box::pin(std::future::ready(()))
    }

    fn cut(&self) -> BoxFuture<'_, ()> {
        if let Some(text) = self.text.lock().expect("no panic").take() {
            fs::write(self.file.with_extension("waits"), text).expect("written");
            fs::remove_file(&self.file).expect("removed");
        }
        Box::pin(std::future::ready(()))
    }

    fn heal(&self) -> BoxFuture<'_, ()> {
        let text = fs::read_to_string(self.file.with_extension("waits")).expect("it waits");
        self.put(&text);
        *self.text.lock().expect("no panic") = Some(text);
        Box::pin(std::future::ready(()))
    }
}
