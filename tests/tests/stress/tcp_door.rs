//! A door in front of a node that listens over TCP.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use rdb_net_types::SeededRandom;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

use crate::Door;

/// Connections go through it, and can be cut.
pub(crate) struct TcpDoor {
    address: SocketAddr,
    passages: Arc<Mutex<Vec<AbortHandle>>>,
    target: Arc<Mutex<Option<SocketAddr>>>,
    task: AbortHandle,
}

impl TcpDoor {
    pub(crate) async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let passages = Arc::<Mutex<Vec<AbortHandle>>>::default();
        let target = Arc::<Mutex<Option<SocketAddr>>>::default();
        let (opened, behind) = (Arc::clone(&passages), Arc::clone(&target));
        let task = tokio::spawn(async move {
            let mut copies = JoinSet::new();
            while let Ok((mut outer, _)) = listener.accept().await {
                let to = *behind.lock().expect("no panic");
                let Some(to) = to else { continue };
                let copied = copies.spawn(async move {
                    // Whoever is cut sees it as a reset or an end.
                    if let Ok(mut inner) = TcpStream::connect(to).await {
                        let _cut = tokio::io::copy_bidirectional(&mut outer, &mut inner).await;
                    }
                });
                opened.lock().expect("no panic").push(copied);
                while copies.try_join_next().is_some() {}
            }
        });
        Self { address, passages, target, task: task.abort_handle() }
    }
}

impl Door for TcpDoor {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn set_target(&self, target: SocketAddr) {
        *self.target.lock().expect("no panic") = Some(target);
    }

    fn cut(&self, random: &mut SeededRandom) -> bool {
        let mut passages = self.passages.lock().expect("no panic");
        passages.retain(|passage| !passage.is_finished());
        if passages.is_empty() {
            return false;
        }
        let which = random.next_u64() as usize % passages.len();
        passages.swap_remove(which).abort();
        true
    }

    fn close(&self) {
        self.task.abort();
        self.passages.lock().expect("no panic").iter().for_each(AbortHandle::abort);
    }

    fn is_closed(&self) -> bool {
        self.task.is_finished()
    }
}
