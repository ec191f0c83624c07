//! `cargo xtask sim`: the simulator in release mode, with the caller's arguments. Where these name no command, storms are played:
//! `cargo xtask sim --seeds 2000`; and without any, as many with fresh seeds as twenty seconds last for, which CI does too.

use crate::failure::Failure;
use crate::house::House;
use crate::process;

/// Builds and runs the simulator.
pub(crate) fn run(house: &House, arguments: &[String]) -> Result<(), Failure> {
    let mut command = process::cargo(house, &["run", "--release", "-p", "rdb-net-sim", "--features", "cli", "--"]);
    process::run(command.args(asked(arguments)))
}

/// What the simulator is asked for.
fn asked(arguments: &[String]) -> Vec<&str> {
    let arguments = arguments.iter().map(String::as_str);
    match arguments.clone().next() {
        None => vec!["storm", "--seed", "fresh", "--time", "20"],
        Some(first) if first.starts_with("--") && first != "--help" => {
            std::iter::once("storm").chain(arguments).collect()
        }
        Some(_) => arguments.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn storms_are_played_where_no_command_is_named() {
        let asked = |line: &str| {
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            asked(&words).join(" ")
        };
        assert_eq!(asked("--seeds 2000"), "storm --seeds 2000");
        assert_eq!(asked("partition --nodes 9"), "partition --nodes 9");
        assert_eq!(asked("--help"), "--help");
        assert_eq!(asked(""), "storm --seed fresh --time 20");
    }
}
