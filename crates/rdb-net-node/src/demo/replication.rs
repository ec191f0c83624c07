//! A log on three nodes, while a follower and then the leader are killed: what was acknowledged is at all three, in the same order, with
//! the same digest.
//!
//! The processes tell what they have, and their files are read from outside; the rules of the simulated runs are asked of both.

mod history;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use rdb_net_patterns::replication::{LogStorage, Position, RecordedLog};
use rdb_net_patterns::storage::FileLog;
use rdb_net_types::NodeId;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::cluster::Cluster;
use super::protocol::{Change, Order};
use super::report::Report;
use crate::exit::Failure;
use crate::output::note;
use history::History;

/// How many nodes hold the log: the first of all.
const MEMBERS: usize = 3;
/// Who leads first, and who is to lead when that one is killed, unless the follower knows more.
const LEADER: usize = 0;
const NEXT_LEADER: usize = 1;
/// The follower that is killed.
const FOLLOWER: usize = 2;
/// How many entries there are, and how large each is.
const ENTRIES: u64 = 10_000;
const ENTRY_BYTES: usize = 1024;
/// The follower is killed when so many are acknowledged, and started again when the leader has appended so many.
const BEFORE_FOLLOWER_DIES: u64 = 1_500;
const BEFORE_FOLLOWER_RETURNS: u64 = 5_000;
/// The leader is killed when so many are acknowledged, on its way to so many.
const BEFORE_LEADER_DIES: u64 = 6_000;
const FIRST_LEADERS: u64 = 9_000;
/// How long a node may take to lead, and how often one is named.
const LEAD_LIMIT: Duration = Duration::from_secs(5);
const LEAD_TRIES: usize = 3;
/// How long all of it may take.
const LIMIT: Duration = Duration::from_secs(60);

/// What a node is told about its replica.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LogOrder {
    /// Hold a replica, with these members.
    Open { members: Vec<NodeId> },
    /// Lead, and look which entry comes next.
    Lead { epoch: u64 },
    /// Append entries of this size, up to this number.
    Append { until: u64, bytes: usize },
    /// Tell where the log ends.
    Status(bool),
}

/// A place in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) index: u64,
    pub(crate) epoch: u64,
    pub(crate) digest: u64,
}

/// An entry that the leader was told to be committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Acknowledged {
    /// Where, by what the leader's application has appended.
    pub(crate) at: Place,
    /// Which.
    pub(crate) value: u64,
}

/// An entry that a replica was told to be committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Committed {
    /// Where, by what was read from the replica.
    pub(crate) at: Place,
    /// Which; `null` for one that opens an epoch.
    pub(crate) value: Option<u64>,
}

/// What a node tells of its replica.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "log", rename_all = "snake_case")]
pub(crate) enum LogTold {
    /// It has one.
    Opened(#[serde(skip)] bool),
    /// It leads, and appends this number next.
    Led { epoch: u64, opened: Place, next: u64 },
    /// It does not lead in this epoch.
    NotLed { epoch: u64 },
    /// Entries are on a quorum, as the leader was told.
    Acknowledged { entries: Vec<Acknowledged> },
    /// All entries up to this number are appended and acknowledged.
    Appended { until: u64 },
    /// Entries are committed, as this replica was told.
    Committed { entries: Vec<Committed> },
    /// Where the log ends, as the replica itself says.
    Status { last: Place, committed: u64 },
    /// Something did not go well.
    Failed { text: String },
}

impl From<Position> for Place {
    fn from(Position { index, epoch, digest }: Position) -> Self {
        Self { index, epoch, digest }
    }
}

impl From<Place> for Position {
    fn from(Place { index, epoch, digest }: Place) -> Self {
        Self { index, epoch, digest }
    }
}

/// What came of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Replicated {
    /// How many entries leaders were told to be on a quorum.
    pub(crate) acknowledged: u64,
    /// How many are in the log without such a word: their leader was killed before it.
    pub(crate) unanswered: u64,
    /// How large each is.
    pub(crate) entry_bytes: usize,
    /// Who led, in this order.
    pub(crate) leaders: Vec<NodeId>,
    /// Who was killed meanwhile.
    pub(crate) killed: Vec<NodeId>,
    /// From the first order until every replica had all of it.
    pub(crate) elapsed_ms: u64,
    /// The digest of each node's log, in hexadecimal.
    pub(crate) digests: BTreeMap<NodeId, String>,
}

impl Replicated {
    /// What came of it, in a sentence.
    pub(crate) fn sentence(&self) -> String {
        let names = |nodes: &[NodeId]| nodes.iter().map(NodeId::as_str).collect::<Vec<_>>().join(", ");
        let digests: Vec<String> = self.digests.iter().map(|(node, digest)| format!("{node} {digest}")).collect();
        format!(
            "{} entries of {} bytes were replicated in {} ms, {} of them without a word because their leader was killed; \
             leaders: {}; killed: {}; digests: {}.",
            self.acknowledged + self.unanswered,
            self.entry_bytes,
            self.elapsed_ms,
            self.unanswered,
            names(&self.leaders),
            names(&self.killed),
            digests.join(", ")
        )
    }
}

/// The demo's side of a run.
struct Run<'a> {
    cluster: &'a mut Cluster,
    history: History,
    begun: Instant,
    /// In which epoch somebody was to lead last.
    epoch: u64,
    /// Who was killed, and when.
    killed: Vec<(usize, u64)>,
}

/// Replicates a log over three of the nodes, of which two are killed and started again, and notes whether all of them have it. Returns who was
/// killed, and when, in milliseconds since 1970.
pub(crate) async fn run(cluster: &mut Cluster, report: &mut Report) -> Result<Vec<(usize, u64)>, Failure> {
    note(&format!("replicating {ENTRIES} entries from {} to two others", cluster.id(LEADER)));
    let members = (0..MEMBERS).map(|place| cluster.id(place).clone()).collect();
    let mut run = Run { cluster, history: History::default(), begun: Instant::now(), epoch: 0, killed: Vec::new() };
    let elapsed_ms = run.play(members).await?.unwrap_or_default();
    let killed = run.killed.iter().map(|(place, _)| run.cluster.id(*place).clone()).collect();
    run.history.conclude(killed, elapsed_ms, report);
    Ok(run.killed)
}

impl Run<'_> {
    /// Returns how long it took, in milliseconds; `None` where it could not go on, which is in the history.
    async fn play(&mut self, members: Vec<NodeId>) -> Result<Option<u64>, Failure> {
        let open = || LogOrder::Open { members: members.clone() };
        for place in 0..MEMBERS {
            self.order(place, open()).await?;
        }
        let is_open = self.until(|history| history.opened == MEMBERS).await?;
        if !is_open || !self.lead(LEADER, LIMIT).await? {
            return Ok(None);
        }
        self.append(LEADER, BEFORE_FOLLOWER_RETURNS).await?;
        if !self.until(|history| history.acknowledged() >= BEFORE_FOLLOWER_DIES).await? {
            return Ok(None);
        }
        self.kill(FOLLOWER).await?;
        // Two are a quorum.
        if !self.until(|history| history.acknowledged() == BEFORE_FOLLOWER_RETURNS).await? {
            return Ok(None);
        }
        self.start(FOLLOWER, open()).await?;
        let follower = members[FOLLOWER].clone();
        if !self.until(|history| history.told_of(&follower) > BEFORE_FOLLOWER_RETURNS).await? {
            return Ok(None);
        }
        self.append(LEADER, FIRST_LEADERS).await?;
        if !self.until(|history| history.acknowledged() >= BEFORE_LEADER_DIES).await? {
            return Ok(None);
        }
        self.kill(LEADER).await?;
        let Some(leader) = self.lead_anew().await? else { return Ok(None) };
        self.append(leader, ENTRIES).await?;
        self.start(LEADER, open()).await?;
        if !self.until(History::is_whole).await? {
            return Ok(None);
        }
        let elapsed_ms = self.begun.elapsed().as_millis() as u64;
        for place in 0..MEMBERS {
            self.order(place, LogOrder::Status(true)).await?;
        }
        self.until(|history| history.ends.len() == MEMBERS).await?;
        self.look_at_leaders()?;
        self.look_at_disks()?;
        Ok(Some(elapsed_ms))
    }

    async fn order(&mut self, place: usize, order: LogOrder) -> Result<(), Failure> {
        self.cluster.order(place, &Order::Log(order)).await
    }

    async fn append(&mut self, place: usize, until: u64) -> Result<(), Failure> {
        self.order(place, LogOrder::Append { until, bytes: ENTRY_BYTES }).await
    }

    /// Has a node lead in the next epoch. `false` where it does not within this time.
    async fn lead(&mut self, place: usize, limit: Duration) -> Result<bool, Failure> {
        self.epoch += 1;
        let epoch = self.epoch;
        self.order(place, LogOrder::Lead { epoch }).await?;
        let by = Instant::now() + limit;
        // A claim that was given up may be told to have succeeded meanwhile.
        let is_told = |history: &History| history.has_led_in(epoch) || history.not_led.contains(&epoch);
        self.until_by(by, is_told).await?;
        self.look_at_leaders()?;
        Ok(self.history.has_led_in(epoch))
    }

    /// What a leader had when it began is in its file: it had promised, durably, behind all of it.
    fn look_at_leaders(&mut self) -> Result<(), Failure> {
        for place in 0..MEMBERS {
            let node = self.cluster.id(place).clone();
            if self.history.is_to_be_looked_at(&node) {
                let log = read_file(&self.cluster.replica_file(place))?;
                self.history.led_with(&node, &log);
            }
        }
        Ok(())
    }

    /// Has one of the two lead that are left: the one that knows more, as nobody follows one that knows less. Returns which one does.
    async fn lead_anew(&mut self) -> Result<Option<usize>, Failure> {
        // What was on its way from the dead leader may arrive behind the question.
        for _ in 0..LEAD_TRIES {
            self.history.ends.clear();
            for place in [NEXT_LEADER, FOLLOWER] {
                self.order(place, LogOrder::Status(true)).await?;
            }
            if !self.until(|history| history.ends.len() == 2).await? {
                return Ok(None);
            }
            let ends = |place: &usize| {
                self.history.ends.get(self.cluster.id(*place)).map(|(last, _)| (last.epoch, last.index))
            };
            let place = [FOLLOWER, NEXT_LEADER].into_iter().max_by_key(ends).expect("there are two");
            if self.lead(place, LEAD_LIMIT).await? {
                self.history.ends.clear();
                return Ok(Some(place));
            }
        }
        self.history.failures.push(format!("nobody led after {LEAD_TRIES} tries"));
        Ok(None)
    }

    /// Kills a node (SIGKILL), while entries are under way, and looks at what is in the files at that moment.
    async fn kill(&mut self, place: usize) -> Result<(), Failure> {
        note(&format!("{} entries are acknowledged: killing {}", self.history.acknowledged(), self.cluster.id(place)));
        let at_ms = self.cluster.kill(place).await?;
        self.killed.push((place, at_ms));
        // What it had told before its end is in the pipe.
        self.cluster.hear_out(place, LIMIT).await?;
        self.take();
        self.history.acknowledged_at_kills.push(self.history.acknowledged());
        self.look_at_disks()
    }

    async fn start(&mut self, place: usize, open: LogOrder) -> Result<(), Failure> {
        // Who notices a death after the return would call a node failed that runs.
        let killed = self.killed.iter().rev().find(|(killed, _)| *killed == place);
        if let Some((_, killed_ms)) = killed
            && !self.cluster.wait_noticed(LIMIT, (place, Change::NodeFailed, *killed_ms)).await?
        {
            self.history.failures.push(format!("not all others called {} failed", self.cluster.id(place)));
        }
        self.take();
        note(&format!("starting {} again", self.cluster.id(place)));
        self.cluster.start(place)?;
        let opened = self.history.opened + 1;
        self.order(place, open).await?;
        self.until(|history| history.opened == opened).await?;
        Ok(())
    }

    /// What was acknowledged by now has to be in the files of a quorum.
    fn look_at_disks(&mut self) -> Result<(), Failure> {
        let mut disks = BTreeMap::new();
        for place in 0..MEMBERS {
            disks.insert(self.cluster.id(place).clone(), read_file(&self.cluster.replica_file(place))?);
        }
        self.history.saw_disks(&disks);
        Ok(())
    }

    fn take(&mut self) {
        for (node, told) in self.cluster.take_log() {
            self.history.take(&node, told);
        }
    }

    /// Takes in what is told until something holds. `false` where nothing more may come.
    async fn until(&mut self, holds: impl Fn(&History) -> bool) -> Result<bool, Failure> {
        let by = self.begun + LIMIT;
        let is_held = self.until_by(by, holds).await?;
        if !is_held && self.history.failures.is_empty() {
            self.history.failures.push(format!("it took more than {} s", LIMIT.as_secs()));
        }
        Ok(is_held)
    }

    /// Takes in what is told until something holds, or by then does not.
    async fn until_by(&mut self, by: Instant, holds: impl Fn(&History) -> bool) -> Result<bool, Failure> {
        while !holds(&self.history) {
            if !self.history.failures.is_empty() || !self.cluster.listen(by).await? {
                return Ok(false);
            }
            self.take();
        }
        Ok(true)
    }
}

/// What a replica's file holds at this moment, whoever writes it: by a copy, whose end may be torn.
fn read_file(path: &Path) -> Result<Vec<Position>, Failure> {
    let copy = path.with_extension("copy");
    std::fs::copy(path, &copy).map_err(Failure::other)?;
    let log = RecordedLog::open(|visit| FileLog::open(&copy, visit)).map_err(Failure::other)?;
    Ok((1..=log.last().index).filter_map(|index| log.position(index)).collect())
}
