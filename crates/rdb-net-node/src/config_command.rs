//! `config check` and `config default`.

use rdb_net_manager::config::{Config, ConfigError, Loader};
use serde::Serialize;

use crate::cli::ConfigCommand;
use crate::exit::Failure;
use crate::output::Output;

/// What a check found, as JSON.
#[derive(Debug, Serialize)]
struct CheckView {
    file: String,
    valid: bool,
    errors: Vec<ErrorView>,
}

#[derive(Debug, Serialize)]
struct ErrorView {
    /// Where: `file:line:column`, an environment variable or an override; `null` for a file as a whole.
    at: Option<String>,
    key: Option<String>,
    message: String,
}

/// What `config default` writes, as JSON.
#[derive(Debug, Serialize)]
struct DefaultView {
    configuration: String,
}

impl From<&ConfigError> for ErrorView {
    fn from(error: &ConfigError) -> Self {
        Self {
            at: error.origin().map(ToString::to_string),
            key: error.key().map(str::to_owned),
            message: error.to_string(),
        }
    }
}

pub(crate) fn run(command: ConfigCommand, output: Output) -> Result<(), Failure> {
    match command {
        ConfigCommand::Check { file, set } => {
            let loader = Loader::new().file(&file).process_environment().overrides(set);
            let found = loader.load().and_then(|config| config.check_runnable()).err();
            let errors = found.iter().flatten().map(ErrorView::from).collect();
            let view = CheckView { file: file.display().to_string(), valid: found.is_none(), errors };
            match &found {
                // In a table the errors are the failure's own lines on stderr.
                Some(found) if !output.is_json() => Err(Failure::configuration(found)),
                Some(_) => output.json(&view).and(Err(Failure::Configuration(Vec::new()))),
                None => output.result(&view, |view| format!("{} is valid", view.file)),
            }
        }
        ConfigCommand::Default => {
            let view = DefaultView { configuration: Config::default().to_toml() };
            output.result(&view, |view| view.configuration.clone())
        }
    }
}
