//! What must hold of every run, one function for each rule.
//!
//! | rule | what it says |
//! |---|---|
//! | `one-outcome` | each part ends once, nothing of it is given behind that, and parts are not needed only where enough are complete |
//! | `one-node` | the rows of a part are the first ones of one node's in their order, and all of them where it is complete |
//! | `asked-once` | no node is asked twice for a part, no two at once, and none where the one before it may have acted and that matters |
//! | `told-to-stop` | who was asked has ended or was told to stop before its part's outcome; all of them when enough are complete |
//! | `deadline` | nobody is asked without time, nobody waits behind the deadline, and a window and one message at most are given behind it |
//! | `nothing-lost` | what had come by the deadline is given: rows, and ends |
//! | `truth` | an outcome says of each node that was asked what became of that, and no more than is so |

use std::collections::BTreeSet;

use rdb_net_patterns::query::{Outcome, Repeat, Tried, Wanted};
use rdb_net_types::{Effect, Reason};

use crate::history::{Attempt, Event, Fact, History};

/// Every rule that is broken, each line beginning with its name.
pub(crate) fn all(history: &History) -> Vec<String> {
    type Rule = fn(&History, usize) -> Result<(), String>;
    let rules: [(&str, Rule); 7] = [
        ("one-outcome", one_outcome),
        ("one-node", one_node),
        ("asked-once", asked_once),
        ("told-to-stop", told_to_stop),
        ("deadline", deadline),
        ("nothing-lost", nothing_lost),
        ("truth", truth),
    ];
    let broken = |(name, rule): &(&str, Rule)| {
        let broken = |part| rule(history, part).err().map(|problem| format!("{name}: part {part}: {problem}"));
        (0..history.parts).filter_map(broken).collect::<Vec<_>>()
    };
    rules.iter().flat_map(broken).collect()
}

fn sound(is_sound: bool, problem: impl FnOnce() -> String) -> Result<(), String> {
    if is_sound { Ok(()) } else { Err(problem()) }
}

fn one_outcome(history: &History, part: usize) -> Result<(), String> {
    let outcomes = history.outcomes(part);
    sound(outcomes.len() == 1, || format!("it has {} outcomes: {outcomes:?}", outcomes.len()))?;
    let is_over = matches!(history.events.last(), Some(Event { what: Fact::Over, .. }));
    sound(is_over || history.events.iter().any(|event| event.what == Fact::Over), || "no end is told".to_owned())?;
    let of_part = |event: &&Event| match &event.what {
        Fact::Given { part: given, .. } | Fact::Asked { part: given, .. } => *given == part,
        _ => false,
    };
    let told = |event: &Event| matches!(&event.what, Fact::Outcome { part: told, .. } if *told == part);
    let behind = history.events.iter().skip_while(|event| !told(event)).find(of_part);
    sound(behind.is_none(), || format!("after its outcome: {behind:?}"))?;
    let complete = (0..history.parts).flat_map(|part| history.outcomes(part)).filter(|it| it.is_complete()).count();
    match history.options.wanted {
        Wanted::First(wanted) if *outcomes[0] == Outcome::NotNeeded => {
            sound(complete == wanted, || format!("it is not needed, and {complete} of {wanted} are complete"))
        }
        Wanted::First(wanted) => sound(complete <= wanted, || format!("{complete} are complete of {wanted}")),
        Wanted::All => sound(*outcomes[0] != Outcome::NotNeeded, || "it is needed".to_owned()),
    }
}

fn one_node(history: &History, part: usize) -> Result<(), String> {
    let (given, attempts) = (history.given(part), history.attempts(part));
    let last = attempts.last().ok_or("nobody was asked")?;
    let place = given.iter().zip(0..).position(|(row, place)| *row != (last.request, place));
    sound(place.is_none(), || format!("row {place:?} is not the next one of {}: {given:?}", last.node))?;
    let senders = history.events.iter().filter_map(|event| match &event.what {
        Fact::Given { part: given, node, .. } if *given == part => Some(node),
        _ => None,
    });
    sound(senders.into_iter().all(|node| *node == last.node), || {
        format!("rows are said to be another's than {}", last.node)
    })?;
    let count = given.len() as u64;
    let named = |node: &_| sound(*node == last.node, || format!("{node} is named and {} was asked last", last.node));
    match history.outcomes(part)[..] {
        [Outcome::Complete { node }] => {
            named(node)?;
            sound(last.finished == Some(count), || format!("{count} rows are complete, {:?} were made", last.finished))
        }
        [Outcome::Failed { .. }] => sound(count == 0, || format!("{count} rows of one that failed")),
        [Outcome::Broken { node, .. }] => {
            named(node)?;
            sound(count > 0, || "it is broken without a row".to_owned())
        }
        [Outcome::Late { node, has_rows, .. }] => {
            named(node)?;
            sound(*has_rows == (count > 0), || format!("{count} rows, and has_rows is {has_rows}"))
        }
        _ => Ok(()),
    }
}

fn asked_once(history: &History, part: usize) -> Result<(), String> {
    let attempts = history.attempts(part);
    let nodes: BTreeSet<_> = attempts.iter().map(|attempt| &attempt.node).collect();
    sound(nodes.len() == attempts.len(), || format!("a node is asked twice: {attempts:?}"))?;
    for pair in attempts.windows(2) {
        let [before, next] = pair else { continue };
        let closed = before.closed.as_ref().map(|(at, _)| *at);
        sound(closed.is_some_and(|at| at <= next.asked), || format!("{} and {} at once", before.node, next.node))?;
        let may_go_on = match (history.options.repeat, before.effect()) {
            (_, None) | (Repeat::Never, _) => false,
            (Repeat::NotStarted, Some(effect)) => effect != Effect::Unknown,
            (Repeat::Always, _) => true,
        };
        sound(may_go_on, || format!("{} is asked after {:?} of {}", next.node, before.effect(), before.node))?;
    }
    let begun = attempts.iter().filter(|attempt| attempt.is_begun).count();
    sound(begun <= 1 || history.options.repeat == Repeat::Always, || format!("{begun} handlers have begun"))
}

fn told_to_stop(history: &History, part: usize) -> Result<(), String> {
    let mut under_way: Option<usize> = None;
    let mut complete = 0;
    for event in &history.events {
        match &event.what {
            Fact::Asked { request, part: asked, .. } if *asked == part => under_way = Some(*request),
            Fact::Ended { request, .. } | Fact::GivenUp { request, .. } if under_way == Some(*request) => {
                under_way = None
            }
            Fact::Outcome { part: told, outcome } => {
                complete += usize::from(outcome.is_complete());
                let is_enough = matches!(history.options.wanted, Wanted::First(wanted) if complete >= wanted);
                let is_too_late = (*told == part || is_enough) && under_way.is_some();
                sound(!is_too_late, || format!("it was not told to stop at {:?}, {outcome:?} of {told}", event.at))?;
            }
            _ => {}
        }
    }
    sound(under_way.is_none(), || "it is under way at the end".to_owned())
}

fn deadline(history: &History, part: usize) -> Result<(), String> {
    let (end, reserve) = (history.deadline(), history.options.reserve);
    let (mut before, mut last) = (0, 0);
    for Event { at, what } in &history.events {
        match what {
            Fact::Asked { part: asked, node, budget, .. } if *asked == part => {
                let is_in_time = !budget.is_zero() && *at + *budget + reserve <= end;
                sound(is_in_time, || format!("{node} is asked at {at:?} for {budget:?}"))?;
            }
            Fact::Waits { until } => {
                sound(*at < end && *until <= end, || format!("at {at:?} it waits until {until:?}"))?
            }
            Fact::Given { part: given, bytes, .. } if *given == part && *at >= end => {
                (before, last) = (before + last, *bytes)
            }
            _ => {}
        }
    }
    let window = history.options.window_bytes as usize;
    sound(before == 0 || before < window, || format!("{} bytes behind it, the window is {window}", before + last))
}

fn nothing_lost(history: &History, part: usize) -> Result<(), String> {
    if matches!(history.outcomes(part)[..], [Outcome::NotNeeded | Outcome::TooMuch]) {
        return Ok(());
    }
    let given: BTreeSet<_> = history.given(part).into_iter().collect();
    let attempts = history.attempts(part);
    let requests: BTreeSet<usize> = attempts.iter().map(|attempt| attempt.request).collect();
    for Event { at, what } in &history.events {
        if let Fact::EndCame { request } = what
            && let Some(attempt) = attempts.iter().find(|attempt| attempt.request == *request)
            && *at <= history.deadline()
        {
            let is_taken = matches!(attempt.closed, Some((_, Ok(_))));
            sound(is_taken, || format!("the end of {attempt:?} had come at {at:?}, and was not taken"))?;
            let is_told = match (&attempt.closed, history.outcomes(part).first()) {
                (Some((_, Ok(Ok(())))), outcome) => outcome.is_some_and(|outcome| outcome.is_complete()),
                (Some((_, Ok(Err(error)))), Some(Outcome::Late { .. })) => {
                    error.reason == Reason::Expired || attempts.last().is_some_and(|last| last.request != *request)
                }
                _ => true,
            };
            sound(is_told, || format!("{attempt:?} had ended at {at:?}, and it is {:?}", history.outcomes(part)))?;
        }
        if let Fact::Came { request, rows } = what
            && requests.contains(request)
            && *at <= history.deadline()
        {
            let lost = rows.iter().find(|row| !given.contains(row));
            sound(lost.is_none(), || format!("row {lost:?} had come at {at:?}, and was not given"))?;
        }
    }
    Ok(())
}

fn truth(history: &History, part: usize) -> Result<(), String> {
    let attempts = history.attempts(part);
    for attempt in &attempts {
        let is_so = match attempt.effect() {
            Some(Effect::NotSent) => !attempt.is_written,
            Some(Effect::NotStarted) => !attempt.is_begun,
            _ => true,
        };
        sound(is_so, || format!("the run itself is wrong: {attempt:?}"))?;
    }
    let Some((last, before)) = attempts.split_last() else { return Err("nobody was asked".to_owned()) };
    let (tried, of): (&[Tried], &[Attempt]) = match history.outcomes(part)[..] {
        [Outcome::Failed { tried }] => (tried, &attempts),
        [Outcome::Broken { tried, .. }] => (tried, before),
        [Outcome::Late { tried, has_rows, .. }] => {
            let may_have_acted = *has_rows || last.effect() == Some(Effect::Unknown);
            sound(may_have_acted, || format!("it is late, and cannot have acted: {last:?}"))?;
            (tried, before)
        }
        _ => return Ok(()),
    };
    sound(tried.len() == of.len(), || format!("{} were asked, {tried:?} are told", of.len()))?;
    for (tried, attempt) in tried.iter().zip(of) {
        let is_told = match &attempt.closed {
            Some((_, Ok(result))) => *result == Err(tried.error.clone()),
            Some((_, Err(effect))) => tried.error.effect == *effect && tried.error.reason == Reason::Expired,
            None => false,
        };
        sound(is_told && tried.node == attempt.node, || format!("{tried:?} is told of {attempt:?}"))?;
    }
    Ok(())
}
