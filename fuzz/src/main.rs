//! Runs a target. Built with coverage counters by `cargo xtask fuzz`, it looks for new inputs of the target that
//! `RDB_FUZZ_TARGET` names; built by plain cargo, it repeats the inputs in the given files.

#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
mod engine {
    //! The entry of the engine, which has a `main` of its own.

    use std::sync::OnceLock;

    use rdb_net_fuzz::Target;

    static TARGET: OnceLock<Target> = OnceLock::new();

    fn target() -> Target {
        let name = std::env::var("RDB_FUZZ_TARGET").expect("RDB_FUZZ_TARGET names the target");
        Target::find(&name).expect("RDB_FUZZ_TARGET names one of the targets")
    }

    libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (TARGET.get_or_init(target).run)(bytes));
}

#[cfg(not(fuzzing))]
fn main() -> std::process::ExitCode {
    repeat::run(std::env::args().skip(1).collect())
}

#[cfg(not(fuzzing))]
mod repeat {
    //! Repeating single inputs.

    #![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line speaks through its output")]

    use std::process::ExitCode;

    use rdb_net_fuzz::Target;

    /// Runs the target on each file. A broken promise is a panic, whose message tells it.
    pub(crate) fn run(arguments: Vec<String>) -> ExitCode {
        let found = arguments.split_first().and_then(|(name, files)| Some((Target::find(name)?, files)));
        let Some((target, files)) = found.filter(|(_, files)| !files.is_empty()) else {
            let names: Vec<&str> = Target::TABLE.iter().map(|target| target.name).collect();
            eprintln!("usage: fuzz TARGET FILE...\n\ntargets: {}", names.join(", "));
            return ExitCode::from(2);
        };
        for file in files {
            let bytes = match std::fs::read(file) {
                Ok(bytes) => bytes,
                Err(error) => {
                    eprintln!("error: {file}: {error}");
                    return ExitCode::from(2);
                }
            };
            println!("{}: {file} ({} bytes)", target.name, bytes.len());
            (target.run)(&bytes);
        }
        ExitCode::SUCCESS
    }
}
