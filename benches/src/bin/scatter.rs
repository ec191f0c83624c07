//! A query over twenty nodes beside each of them alone, in one run: the time until the last part is there, and the slowest node's own.
//!
//! The nodes are processes of four or five on loopback, mTLS on. Handlers answer at once, or take as long as a small scan does.
//!
//! ```text
//! cargo xtask bench scatter [queries]
//! ```
#![expect(clippy::print_stdout, reason = "the figures are its output")]

use std::error::Error;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rdb_net_benches::certificates::Certificates;
use rdb_net_benches::nodes::{Child, node, parent_gone, say, wait_members};
use rdb_net_benches::workload::Runtime;
use rdb_net_manager::{HandlerError, HandlerOptions};
use rdb_net_patterns::query::{Options, Part, QueryEvent, QueryExecutor, RowStream, serve};
use rdb_net_types::{NodeId, QueryRequest, SeededRandom, Tuple};
use tokio::time::Sleep;

type Failure = Box<dyn Error + Send + Sync>;

const NODES: usize = 20;
const PROCESSES: usize = 4;
const TIMEOUT: Duration = Duration::from_secs(10);

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = Runtime::MultiThread.build()?;
    match arguments[..] {
        ["nodes", certificates, process, seed] => {
            runtime.block_on(nodes(Path::new(certificates), process.parse()?, seed))
        }
        [] => runtime.block_on(measure(2000)),
        [queries] => runtime.block_on(measure(queries.parse()?)),
        _ => Err("usage: scatter [queries]".into()),
    }
}

fn name(number: usize) -> String {
    format!("n{number:02}")
}

/// One row, after some time.
struct Answering {
    work: Option<Pin<Box<Sleep>>>,
    has_answered: bool,
}

impl futures_core::Stream for Answering {
    type Item = Result<Vec<Tuple>, HandlerError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(work) = &mut self.work {
            std::task::ready!(work.as_mut().poll(context));
            self.work = None;
        }
        let row = (!std::mem::replace(&mut self.has_answered, true)).then(|| Ok(vec![Tuple(vec![0x5a; 64].into())]));
        Poll::Ready(row)
    }
}

/// A process with its share of the nodes. `at once` is answered at once, everything else after 3 to 7 ms.
async fn nodes(certificates: &Path, process: usize, seed: &str) -> Result<(), Failure> {
    let mut managers = Vec::new();
    for number in (1..=NODES).filter(|number| number % PROCESSES == process) {
        let manager = node(certificates, &name(number), Some(seed))?;
        let random = Mutex::new(SeededRandom::new(number as u64));
        let rows = move |_: &NodeId, query: QueryRequest, _: Option<Duration>| -> Result<RowStream, HandlerError> {
            let mut random = random.lock().map_err(|_| HandlerError::failed("poisoned"))?;
            let took = random.duration(Duration::from_millis(3), Duration::from_millis(7));
            let work = (query.query != "at once").then(|| Box::pin(tokio::time::sleep(took)));
            Ok(Box::pin(Answering { work, has_answered: false }))
        };
        serve(&manager, rows, HandlerOptions::default());
        manager.start().await?;
        managers.push(manager);
    }
    for manager in &managers {
        wait_members(manager, NODES + 1).await;
    }
    say("ready");
    parent_gone().await;
    Ok(())
}

/// The 50th and the 99th of a hundred, in milliseconds.
fn quantiles(times: &mut [Duration]) -> (f64, f64) {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize].as_secs_f64() * 1e3;
    (at(0.5), at(0.99))
}

/// Asks these parts, one query after the other; returns how long each took, and each of its parts.
async fn ask(
    executor: &QueryExecutor,
    parts: &[Part],
    queries: usize,
) -> Result<(Vec<Duration>, Vec<Vec<Duration>>), Failure> {
    let (mut whole, mut each) = (Vec::with_capacity(queries), vec![Vec::with_capacity(queries); parts.len()]);
    for _ in 0..queries {
        let begun = Instant::now();
        let mut stream = executor.stream(parts.to_vec(), Options::timeout(TIMEOUT))?;
        while let Some(event) = stream.next().await {
            if let QueryEvent::Ended { part, outcome } = event {
                if !outcome.is_complete() {
                    return Err(format!("part {part}: {outcome:?}").into());
                }
                each[part].push(begun.elapsed());
            }
        }
        whole.push(begun.elapsed());
    }
    Ok((whole, each))
}

async fn measure(queries: usize) -> Result<(), Failure> {
    let certificates = Certificates::mint((1..=NODES).map(name).chain(["asker".to_owned()]))?;
    let folder = certificates.dir().to_str().ok_or("the folder's name is no text")?;
    let manager = node(certificates.dir(), "asker", None)?;
    manager.start().await?;
    let seed = manager.addresses().transport.to_string();
    let mut processes = Vec::new();
    for process in 0..PROCESSES {
        processes.push(Child::start(&["nodes", folder, &process.to_string(), &seed])?);
    }
    for process in &mut processes {
        process.line()?;
    }
    wait_members(&manager, NODES + 1).await;
    let executor = QueryExecutor::new(manager.clone());
    let ids = (1..=NODES).map(|number| NodeId::new(&name(number))).collect::<Result<Vec<_>, _>>()?;
    for text in ["at once", "a scan of 3 to 7 ms"] {
        let parts = Part::for_each(ids.clone(), text);
        ask(&executor, &parts, queries / 10).await?;
        let (mut whole, mut within) = ask(&executor, &parts, queries).await?;
        let mut alone = Vec::new();
        for part in &parts {
            alone.push(quantiles(&mut ask(&executor, std::slice::from_ref(part), queries / 4).await?.0));
        }
        let slowest = |quantiles: &[(f64, f64)]| quantiles.iter().map(|(_, p99)| *p99).fold(0.0, f64::max);
        let within: Vec<_> = within.iter_mut().map(|times| quantiles(times)).collect();
        let (p50, p99) = quantiles(&mut whole);
        println!(
            "{text}: {NODES} nodes p50 {p50:.2} ms, p99 {p99:.2} ms; the slowest node's p99 alone {:.2} ms ({:.2} x), within the \
             query {:.2} ms ({:.2} x)",
            slowest(&alone),
            p99 / slowest(&alone),
            slowest(&within),
            p99 / slowest(&within)
        );
    }
    manager.shutdown().await;
    Ok(())
}
