//! The run: everybody joins, is idle, loses members by SIGKILL and by SIGSTOP, and is idle again while a core is busy.
//!
//! The systems join one after the other, since starting processes is what a machine does slowest; all else they do at the same time,
//! each on a thread of its own, so that whatever else the machine does meets all of them alike.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::cluster::Cluster;
use crate::error::Error;
use crate::report;
use crate::system::{Kind, Launcher, Told};

/// How long anything is waited for.
const PATIENCE: Duration = Duration::from_secs(120);
/// What news of a member's return takes until nobody tells it any more.
const CALM: Duration = Duration::from_secs(5);

/// How much of everything.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) nodes: usize,
    pub(crate) kills: usize,
    pub(crate) stops: usize,
    pub(crate) settle: Duration,
    pub(crate) idle: Duration,
    pub(crate) busy: Duration,
}

impl Plan {
    /// Whether it is no smaller than what the limits are for.
    pub(crate) fn is_whole(&self) -> bool {
        let (idle, busy) = (Duration::from_secs(60), Duration::from_secs(600));
        self.nodes >= 50 && self.kills >= 20 && self.stops >= 10 && self.idle >= idle && self.busy >= busy
    }
}

/// What a node costs while nothing happens, by node and second.
#[derive(Debug, Default, Clone)]
pub(crate) struct Cost {
    pub(crate) packets: f64,
    pub(crate) udp_bytes: f64,
    pub(crate) tcp_bytes: f64,
    pub(crate) cpu_ms: f64,
    pub(crate) resident_mib: f64,
    pub(crate) anonymous_mib: f64,
}

/// What one system has shown; `None` where it was not measured.
#[derive(Debug)]
pub(crate) struct Figures {
    pub(crate) kind: Kind,
    /// From the last start, and from the first one, until all know all.
    pub(crate) agreed: Option<Duration>,
    pub(crate) agreed_since_first: Option<Duration>,
    /// The processor time of all of them until then. Where a machine is busy with other things too, it tells more than the clock.
    pub(crate) agreed_cpu: Option<Duration>,
    pub(crate) cost: Option<Cost>,
    /// From a kill, or a stop, until the first, and until the last of the others tells it.
    pub(crate) killed: Vec<(Duration, Duration)>,
    pub(crate) stopped: Vec<(Duration, Duration)>,
    /// Downs that were told although all were up: while idle, and while a core was busy.
    pub(crate) false_idle: Option<usize>,
    pub(crate) false_busy: Option<usize>,
    /// What went wrong and ended its part of the run early.
    pub(crate) trouble: Option<String>,
}

impl Figures {
    /// Nothing was measured yet.
    pub(crate) fn new(kind: Kind) -> Self {
        let (killed, stopped) = (Vec::new(), Vec::new());
        let (agreed, agreed_since_first, agreed_cpu, cost) = (None, None, None, None);
        let (false_idle, false_busy, trouble) = (None, None, None);
        Self { kind, agreed, agreed_since_first, agreed_cpu, cost, killed, stopped, false_idle, false_busy, trouble }
    }
}

/// Runs everything. What goes wrong with one system ends its part and no other's.
pub(crate) fn run(plan: &Plan, launchers: Vec<Launcher>) -> Result<Vec<Figures>, Error> {
    let mut running = Vec::new();
    for launcher in launchers {
        report::step(&format!("{}: {} nodes join", launcher.kind.name(), plan.nodes));
        let mut figures = Figures::new(launcher.kind);
        let cluster = join(plan, launcher, &mut figures);
        running.push((cluster.map_err(|error| note(&mut figures, &error)).ok(), figures));
    }
    together(&mut running, |cluster, figures| idle(plan, cluster, figures))?;
    together(&mut running, |cluster, figures| lose(plan, cluster, figures))?;
    busy(plan, &mut running)?;
    Ok(running.into_iter().map(|(_, figures)| figures).collect())
}

type Running = (Option<Cluster>, Figures);

/// Does this with all of them at the same time.
fn together(
    running: &mut [Running],
    act: impl Fn(&mut Cluster, &mut Figures) -> Result<(), Error> + Sync,
) -> Result<(), Error> {
    let act = &act;
    std::thread::scope(|scope| {
        let parts = running.iter_mut().filter_map(|(cluster, figures)| Some((cluster.as_mut()?, figures)));
        let parts: Vec<_> = parts
            .map(|(cluster, figures)| {
                let name = figures.kind.name();
                let part = scope.spawn(move || {
                    if let Err(error) = act(cluster, figures) {
                        note(figures, &error);
                    }
                });
                (name, part)
            })
            .collect();
        for (name, part) in parts {
            part.join().map_err(|_| Error::Panicked(name))?;
        }
        Ok(())
    })
}

fn note(figures: &mut Figures, error: &Error) {
    report::step(&format!("{}: {error}", figures.kind.name()));
    figures.trouble.get_or_insert_with(|| error.to_string());
}

fn join(plan: &Plan, launcher: Launcher, figures: &mut Figures) -> Result<Cluster, Error> {
    let mut cluster = Cluster::new(launcher, plan.nodes)?;
    // The first is there before the others look for it.
    cluster.start(0)?;
    std::thread::sleep(Duration::from_secs(1));
    let first = Instant::now();
    for index in 1..plan.nodes {
        cluster.start(index)?;
    }
    let last = Instant::now();
    let agreed = cluster.wait_agreed(first, PATIENCE)?;
    figures.agreed_cpu = Some(cluster.cpu());
    figures.agreed = Some(agreed.saturating_duration_since(last));
    figures.agreed_since_first = Some(agreed - first);
    Ok(cluster)
}

fn idle(plan: &Plan, cluster: &mut Cluster, figures: &mut Figures) -> Result<(), Error> {
    std::thread::sleep(plan.settle);
    if plan.idle.is_zero() {
        return Ok(());
    }
    report::step(&format!("{}: idle for {} s", figures.kind.name(), plan.idle.as_secs()));
    let (began, cpu, sent) = (Instant::now(), cluster.cpu(), cluster.sent()?);
    std::thread::sleep(plan.idle);
    let (took, cpu, sent) = (began.elapsed(), cluster.cpu().saturating_sub(cpu), cluster.sent()?.since(sent));
    let each = took.as_secs_f64() * cluster.count() as f64;
    let memory = cluster.memory();
    let mean_mib = |bytes: u64| bytes as f64 / memory.len().max(1) as f64 / (1024.0 * 1024.0);
    figures.cost = Some(Cost {
        packets: (sent.udp_packets + sent.tcp_packets) as f64 / each,
        udp_bytes: sent.udp_bytes as f64 / each,
        tcp_bytes: sent.tcp_bytes as f64 / each,
        cpu_ms: cpu.as_secs_f64() * 1000.0 / each,
        resident_mib: mean_mib(memory.iter().map(|memory| memory.resident_bytes).sum()),
        anonymous_mib: mean_mib(memory.iter().map(|memory| memory.anonymous_bytes).sum()),
    });
    figures.false_idle = Some(cluster.downs(began));
    Ok(())
}

fn lose(plan: &Plan, cluster: &mut Cluster, figures: &mut Figures) -> Result<(), Error> {
    for run in 0..plan.kills + plan.stops {
        let is_kill = run < plan.kills;
        // Never the first: whoever starts again looks for it.
        let victim = 1 + (run * 7) % (cluster.count() - 1);
        let at = if is_kill { cluster.kill(victim) } else { cluster.stop(victim)? };
        let (first, last) = cluster.wait_told(Told::Down(victim), at, PATIENCE)?;
        let times = (first - at, last - at);
        if is_kill {
            figures.killed.push(times)
        } else {
            figures.stopped.push(times)
        }
        report::step(&format!(
            "{}: {} {} of {}: the first after {:.2} s, all after {:.2} s",
            figures.kind.name(),
            if is_kill { "killed" } else { "stopped" },
            run + 1,
            plan.kills + plan.stops,
            times.0.as_secs_f64(),
            times.1.as_secs_f64()
        ));
        cluster.kill(victim);
        let back = Instant::now();
        cluster.start(victim)?;
        cluster.wait_told(Told::Up(victim), back, PATIENCE)?;
        std::thread::sleep(CALM);
    }
    Ok(())
}

/// Keeps one core busy for a while, and counts who is told to be down meanwhile.
fn busy(plan: &Plan, running: &mut [Running]) -> Result<(), Error> {
    if plan.busy.is_zero() {
        return Ok(());
    }
    report::step(&format!("idle for {} s with a core kept busy", plan.busy.as_secs()));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        });
        let counted = together(running, |cluster, figures| {
            let began = Instant::now();
            std::thread::sleep(plan.busy);
            figures.false_busy = Some(cluster.downs(began));
            Ok(())
        });
        done.store(true, Ordering::Relaxed);
        counted
    })
}
