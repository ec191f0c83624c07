//! The task that carries out what the registration machine decides.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use rdb_discovery::{Cause, Registration, RegistrationCommand, RegistrationState, RegistrationStats};
use rdb_net_types::NodeInfo;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};

use crate::{Registrar, RegistrationFault};

/// Wishes that may wait for the task.
const WISHES: usize = 16;

/// What the owner of a registration wants.
#[derive(Debug)]
pub(crate) enum Wish {
    Node(Arc<NodeInfo>),
    Drain(Duration),
}

/// What is seen of a registration from outside.
#[derive(Debug, Clone)]
pub(crate) struct View {
    pub(crate) state: RegistrationState,
    pub(crate) stats: RegistrationStats,
}

/// The owner's end.
#[derive(Debug, Clone)]
pub(crate) struct Handle {
    wishes: mpsc::Sender<Wish>,
    view: watch::Receiver<View>,
}

impl Handle {
    /// Says what is wanted; false when the registration has ended.
    pub(crate) async fn wish(&self, wish: Wish) -> bool {
        self.wishes.send(wish).await.is_ok()
    }

    pub(crate) fn view(&self) -> View {
        self.view.borrow().clone()
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.wishes.is_closed() || self.view.borrow().state == RegistrationState::Ended
    }

    /// Waits for a state that fulfils this; the last one where the task has ended.
    pub(crate) async fn wait_for(&self, mut wanted: impl FnMut(&RegistrationState) -> bool) -> RegistrationState {
        let mut view = self.view.clone();
        let found = view.wait_for(|view| wanted(&view.state)).await.map(|view| view.state.clone());
        found.unwrap_or_else(|_| self.view.borrow().state.clone())
    }
}

/// The task's end.
pub(crate) struct Task {
    registrar: Box<dyn Registrar>,
    machine: Registration,
    wishes: mpsc::Receiver<Wish>,
    view: watch::Sender<View>,
    source: String,
    origin: Instant,
    command_timeout: Duration,
}

/// A registration that has not begun.
pub(crate) fn prepare(
    registrar: Box<dyn Registrar>,
    machine: Registration,
    source: &str,
    origin: Instant,
    command_timeout: Duration,
) -> (Handle, Task) {
    let (wishes, wished) = mpsc::channel(WISHES);
    let (show, view) = watch::channel(View { state: machine.state().clone(), stats: machine.stats() });
    let source = source.to_owned();
    let task = Task { registrar, machine, wishes: wished, view: show, source, origin, command_timeout };
    (Handle { wishes, view }, task)
}

impl Task {
    /// Keeps the node registered until it is withdrawn, or its owner is gone without a word: then it is left to expire.
    pub(crate) async fn run(mut self) {
        loop {
            let now = self.origin.elapsed();
            self.machine.handle_timeout(now);
            if let Some(command) = self.machine.poll_command(now)
                && self.carry_out(command).await.is_break()
            {
                return;
            }
            self.show();
            let Some(due) = self.machine.poll_timeout() else { return };
            tokio::select! {
                wish = self.wishes.recv() => match wish {
                    Some(wish) => hear(&mut self.machine, self.origin.elapsed(), wish),
                    None => return,
                },
                () = sleep_until(self.origin + due) => {}
            }
        }
    }

    /// Carries out a command; wishes are heard and times are kept meanwhile. Breaks where the owner is gone.
    async fn carry_out(&mut self, command: RegistrationCommand) -> ControlFlow<()> {
        let Self { registrar, machine, wishes, view, origin, .. } = self;
        let limit = self.command_timeout;
        let work = timeout(limit, perform(registrar.as_mut(), command));
        let mut work = std::pin::pin!(work);
        let outcome = loop {
            let due = machine.poll_timeout();
            tokio::select! {
                outcome = &mut work => break outcome,
                wish = wishes.recv() => match wish {
                    Some(wish) => hear(machine, origin.elapsed(), wish),
                    None => return ControlFlow::Break(()),
                },
                () = sleep_until(*origin + due.unwrap_or_default()), if due.is_some() => {
                    machine.handle_timeout(origin.elapsed());
                }
            }
            if *machine.state() == RegistrationState::Ended {
                return ControlFlow::Continue(());
            }
            show(view, machine, &self.source);
        };
        let now = origin.elapsed();
        match outcome {
            Ok(Ok(Done::Written(time_to_live))) => machine.handle_written(now, time_to_live),
            Ok(Ok(Done::Renewed(time_to_live))) => machine.handle_renewed(now, time_to_live),
            Ok(Ok(Done::Withdrawn)) => machine.handle_withdrawn(now),
            Ok(Err(RegistrationFault::Lapsed(cause))) => machine.handle_lapsed(now, cause),
            Ok(Err(RegistrationFault::Conflict { other })) => machine.handle_conflict(now, other),
            Ok(Err(RegistrationFault::Failed(cause))) => machine.handle_failure(now, cause),
            Err(_) => machine.handle_failure(now, Cause::unavailable(format!("no answer within {limit:?}"))),
        }
        ControlFlow::Continue(())
    }

    fn show(&mut self) {
        show(&self.view, &self.machine, &self.source);
    }
}

enum Done {
    Written(Duration),
    Renewed(Duration),
    Withdrawn,
}

async fn perform(registrar: &mut dyn Registrar, command: RegistrationCommand) -> Result<Done, RegistrationFault> {
    match command {
        RegistrationCommand::Write { node, anew } => registrar.write(node, anew).await.map(Done::Written),
        RegistrationCommand::Renew => registrar.renew().await.map(Done::Renewed),
        RegistrationCommand::Withdraw => registrar.withdraw().await.map(|()| Done::Withdrawn),
    }
}

fn hear(machine: &mut Registration, now: Duration, wish: Wish) {
    match wish {
        Wish::Node(node) => machine.handle_node(now, node),
        Wish::Drain(grace) => machine.handle_drain(now, grace),
    }
}

fn show(view: &watch::Sender<View>, machine: &Registration, source: &str) {
    let next = View { state: machine.state().clone(), stats: machine.stats() };
    view.send_if_modified(|shown| {
        let moved = shown.state != next.state;
        let renamed = shown.state.name() != next.state.name();
        *shown = next;
        if renamed {
            log(source, &shown.state);
        }
        moved
    });
}

fn log(source: &str, state: &RegistrationState) {
    match state {
        RegistrationState::Lost { cause, .. } => tracing::warn!(source, %cause, "this node's registration is lost"),
        RegistrationState::Conflict { other, .. } => {
            tracing::error!(source, other = &**other, "another process is registered by this node's name");
        }
        RegistrationState::Active { epoch, .. } => tracing::info!(source, epoch, "this node is registered"),
        other => tracing::info!(source, state = other.name(), "this node's registration"),
    }
}
