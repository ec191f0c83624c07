//! `demo-node`: a node as `node` runs it, with a partition of the demo's table, orders on stdin and its story on stdout.

use std::io::{self, BufRead};
use std::sync::Arc;

use rdb_net_admin::AdminServer;
use rdb_net_manager::{EventSubscription, NetworkManager};
use rdb_net_patterns::replication::Replication;
use rdb_net_patterns::transaction::TransactionManager;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::holds::Holds;
use super::protocol::{Line, Order, Told, unix_us};
use super::replica::Replicas;
use super::{asking, participant};
use crate::cli::{DemoNodeOptions, Format};
use crate::exit::Failure;
use crate::logging;
use crate::output::Output;
use crate::run::{Signals, load, not_started, stop};

/// How many orders are carried out at once; further ones wait in the pipe.
const ORDERS_MAX: usize = 64;

/// Runs a node of the demo until its stdin ends, or a signal comes.
pub(crate) async fn run(options: DemoNodeOptions) -> Result<(), Failure> {
    logging::start(None);
    let config = load(Some(&options.config), &[])?;
    let mut signals = Signals::new().map_err(Failure::other)?;
    let admin_bind = config.admin_bind();
    let manager = Arc::new(NetworkManager::new(config).map_err(not_started)?);
    asking::answer(&manager, options.partition);
    let replicas = Replicas::new(Replication::new(&manager), &options.config);
    let holds = Arc::new(Holds::default());
    let transactions = Arc::new(participant::open(&manager, &options.config, &holds)?);
    let events = manager.events();
    manager.start().await.map_err(not_started)?;
    let admin = admin_bind.map(|bind| AdminServer::new(manager.control(), bind));
    let listens = match &admin {
        Some(admin) => Some(admin.start().await.map_err(Failure::other)?.into()),
        None => None,
    };
    let address = manager.addresses().transport;
    tell(Told::Started { node: manager.control().local().id.clone(), address, admin: listens })?;
    let (network, held) = (Arc::clone(&manager), Arc::clone(&transactions));
    let obeying = Obeying {
        manager: network,
        transactions: held,
        holds,
        replicas,
        under_way: JoinSet::new(),
        is_detached: false,
    };
    let ended = tokio::select! {
        ended = obeying.run(events) => ended,
        () = signals.next() => Ok(()),
        fatal = manager.wait_fatal() => Err(Failure::other(fatal)),
    };
    // No transaction is begun any more; what is open stays so in the log.
    if let Some(transactions) = Arc::into_inner(transactions) {
        transactions.shutdown().await;
    }
    let stopped = stop(&manager, admin.as_ref(), &mut signals).await;
    ended.and(stopped)
}

/// Carrying out orders and telling what happens.
struct Obeying {
    manager: Arc<NetworkManager>,
    replicas: Replicas,
    transactions: Arc<TransactionManager>,
    holds: Arc<Holds>,
    under_way: JoinSet<Told>,
    is_detached: bool,
}

impl Obeying {
    /// Returns when stdin ends, unless the node is detached by then.
    async fn run(mut self, mut events: EventSubscription) -> Result<(), Failure> {
        let mut orders = orders();
        let mut has_orders = true;
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(event) => tell(event.into())?,
                    None => return Ok(()),
                },
                order = orders.recv(), if has_orders && self.under_way.len() < ORDERS_MAX => match order {
                    Some(line) => self.obey(&line)?,
                    None if self.is_detached => has_orders = false,
                    None => return Ok(()),
                },
                Some(done) = self.under_way.join_next() => tell(done.map_err(Failure::other)?)?,
            }
        }
    }

    fn obey(&mut self, line: &str) -> Result<(), Failure> {
        let manager = Arc::clone(&self.manager);
        match serde_json::from_str(line) {
            Ok(Order::Query(query)) => {
                self.under_way.spawn(async move {
                    match asking::ask(manager, query).await {
                        Ok(answered) => Told::Answered(answered),
                        Err(failure) => Told::Other { text: failure.to_string() },
                    }
                });
            }
            Ok(Order::Log(order)) => self.replicas.obey(order, &mut self.under_way),
            Ok(Order::Transact(order)) => {
                let transactions = Arc::clone(&self.transactions);
                self.under_way
                    .spawn(async move { Told::Transacted(participant::transact(&transactions, order).await) });
            }
            Ok(Order::Hold(order)) => {
                self.holds.obey(order);
                tell(Told::Held { at_us: unix_us(), order })?;
            }
            Ok(Order::Open(_)) => tell(Told::Open(participant::open_transactions(&self.transactions)))?,
            Ok(Order::Members(_)) => {
                let members = manager.members();
                let members = members.iter().map(|member| (member.id.clone(), member.state)).collect();
                tell(Told::Members { members })?;
            }
            Ok(Order::Leave(_)) => {
                self.under_way.spawn(async move {
                    let left = manager.control().leave().await;
                    Told::Left { acknowledged: left.is_ok() }
                });
            }
            Ok(Order::Detach(_)) => self.is_detached = true,
            Err(error) => tell(Told::Other { text: format!("no order: {error}: {line}") })?,
        }
        Ok(())
    }
}

/// The lines of stdin. A thread of its own reads them: waiting for a pipe must not keep the process from ending.
fn orders() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(ORDERS_MAX);
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            let Ok(line) = line else { return };
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Writes a line to stdout; that nobody reads it any more is no failure.
pub(super) fn tell(told: Told) -> Result<(), Failure> {
    Output::new(Format::Json).json(&Line::now(told))
}
