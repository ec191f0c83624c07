//! Following the service: blocking queries, one after the other, and probes beside them.
//!
//! Every answer names all instances and is compared with what is known, so that nothing can be missed for long. What is known only
//! from the order of answers is why a node is gone, and that is believed only while they follow each other without a break.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdb_discovery::Cause;
use rdb_discovery_driver::{Retry, Voice};
use tokio::time::{Instant, sleep, sleep_until};

use crate::agent::{Agent, Way};
use crate::http::{Answer, Fault, Instance, Question};
use crate::index::{Heard, Index};
use crate::instances::Instances;

/// Questions are asked no faster, so that a burst of changes is one answer, not a hundred.
const PACE: Duration = Duration::from_millis(100);

/// What a source has counted beside its driver.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) answers: AtomicU64,
    pub(crate) watches_lost: AtomicU64,
    pub(crate) index_resets: AtomicU64,
    pub(crate) garbage: AtomicU64,
}

/// The last list, for whoever wants to know how this node stands in it.
#[derive(Debug, Default)]
pub(crate) struct Seen(Mutex<Arc<[Instance]>>);

impl Seen {
    pub(crate) fn instances(&self) -> Arc<[Instance]> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn set(&self, instances: Vec<Instance>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = instances.into();
    }
}

/// Follows the service. Its end is the end of all connections: whoever registers has ended before.
pub(crate) struct Follower<'a> {
    agent: &'a Agent,
    voice: &'a Voice,
    counters: &'a Counters,
    seen: &'a Seen,
    instances: Instances,
}

impl<'a> Follower<'a> {
    pub(crate) fn new(agent: &'a Agent, voice: &'a Voice, counters: &'a Counters, seen: &'a Seen) -> Self {
        Self { instances: Instances::new(agent.config()), agent, voice, counters, seen }
    }

    /// Never ends.
    pub(crate) async fn run(&mut self) {
        let config = self.agent.config();
        let mut retry = Retry::new(config.retry_min, config.retry_max);
        loop {
            let began = Instant::now();
            let Err(cause) = self.round().await;
            self.counters.watches_lost.fetch_add(1, Ordering::Relaxed);
            self.voice.failure(cause);
            sleep(retry.wait_after(began.elapsed())).await;
        }
    }

    /// Asks until that fails.
    async fn round(&mut self) -> Result<Infallible, Cause> {
        let way = self.agent.way().await?;
        let Err(fault) = self.ask(&way).await;
        Err(self.agent.failed(&way, &fault))
    }

    async fn ask(&mut self, way: &Way) -> Result<Infallible, Fault> {
        let config = self.agent.config();
        // Else an agent that fails its probes and lists all the same would be believed each time anew.
        look(way).await?;
        let probes = probe(way, config.probe_interval);
        let mut probes = std::pin::pin!(probes);
        let mut index = Index::default();
        let mut dialled = way.dialled();
        // Whether connections last from one question to the next.
        let mut lasting = true;
        loop {
            let began = Instant::now();
            let after = index.after().map(|index| (index, config.wait));
            let mut asked = way.instances(Question { after, in_line: true, ..self.question() });
            let answer = loop {
                tokio::select! {
                    answer = &mut asked => break Some(answer?),
                    // The agent that gave the index may have been another life of it: where it began anew, with nothing, this question
                    // would wait for what may never come.
                    Ok(()) = dialled.changed(), if lasting && after.is_some() => break None,
                    ended = &mut probes => match ended? {},
                    () = self.voice.refresh_wanted() => {
                        let answer = way.instances(self.question()).await?;
                        self.take(answer, Heard::Same)?;
                    }
                }
            };
            let Some(answer) = answer else {
                // Where every answer ends its connection, that is found once and not again with each question.
                (index, lasting) = (Index::default(), false);
                continue;
            };
            lasting |= after.is_some() && !dialled.has_changed().unwrap_or_default();
            dialled.mark_unchanged();
            let heard = index.hear(answer.index);
            if heard == Heard::WentBack {
                self.counters.index_resets.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(agent = config.agent, "Consul goes on from an older state, all nodes are listed anew");
            } else {
                self.take(answer, heard)?;
            }
            tokio::select! {
                () = sleep_until(began + PACE) => {}
                ended = &mut probes => match ended? {},
            }
        }
    }

    fn question(&self) -> Question {
        Question { service: self.agent.config().service.clone(), ..Question::default() }
    }

    fn take(&mut self, answer: Answer, heard: Heard) -> Result<(), Fault> {
        if !answer.known_leader {
            return Err(Fault::Unreachable(String::from("the agent knows no leader of its servers")));
        }
        self.counters.answers.fetch_add(1, Ordering::Relaxed);
        let listing = self.instances.list(&answer.instances, heard != Heard::First);
        self.counters.garbage.store(self.instances.garbage_count(), Ordering::Relaxed);
        self.seen.set(answer.instances);
        if !listing.gone.is_empty() {
            self.voice.delta(listing.gone);
        }
        if heard == Heard::First && self.voice.has_answered() {
            self.voice.resync(listing.nodes);
        } else {
            self.voice.full(listing.nodes);
        }
        Ok(())
    }
}

impl Drop for Follower<'_> {
    fn drop(&mut self) {
        self.agent.hang_up();
    }
}

/// Asks again and again whether the agent lives; ends when it does not. A blocking query is silent for a minute by itself.
async fn probe(way: &Way, every: Duration) -> Result<Infallible, Fault> {
    loop {
        sleep(every).await;
        look(way).await?;
    }
}

/// Whether the agent lives and knows a leader.
async fn look(way: &Way) -> Result<(), Fault> {
    match way.leader().await {
        Ok(leader) if leader.is_empty() => {
            Err(Fault::Unreachable(String::from("the agent knows no leader of its servers")))
        }
        Err(fault) if !fault.is_of_a_living_agent() => Err(fault),
        _ => Ok(()),
    }
}
