//! Layers to a configuration: defaults, then a file, then the environment, then overrides.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::{ConfigError, ConfigErrors, Origin};
use super::input::Input;
use super::keys::KEYS;
use super::rules;
use super::settings::Config;
use super::sources::{Collected, is_ours};

/// Where the text of a file comes from.
#[derive(Clone)]
enum Document {
    File(PathBuf),
    Text(Arc<Path>, String),
}

/// Gathers layers and loads them. It can be kept and load again, which reads the file again.
#[derive(Clone, Default)]
pub struct Loader {
    document: Option<Document>,
    shared: bool,
    variables: BTreeMap<String, Option<String>>,
    overrides: Vec<String>,
}

impl Loader {
    /// Defaults only.
    pub fn new() -> Self {
        Self::default()
    }

    /// With this file. It must be there when the configuration is loaded, and have at most 1 MiB.
    #[must_use]
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.document = Some(Document::File(path.into()));
        self
    }

    /// With this text as if it stood in a file of this name.
    #[must_use]
    pub fn text(mut self, path: impl AsRef<Path>, text: impl Into<String>) -> Self {
        self.document = Some(Document::Text(Arc::from(path.as_ref()), text.into()));
        self
    }

    /// Passes over the tables beside `[networking]`: the file is shared with other parts of a database. A table whose name
    /// looks like a mistyped `[networking]` is refused as before.
    #[must_use]
    pub fn shared_file(mut self) -> Self {
        self.shared = true;
        self
    }

    /// With the variables of this process, as they are at this moment. Those of others are not kept: they may be secrets.
    #[must_use]
    pub fn process_environment(self) -> Self {
        self.system_variables(std::env::vars_os())
    }

    pub(super) fn system_variables(mut self, variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        for (name, value) in variables {
            // A name that is no text is none of ours.
            if let Some(name) = name.into_string().ok().filter(|name| is_ours(name)) {
                self.variables.insert(name, value.into_string().ok());
            }
        }
        self
    }

    /// With these variables. Names that do not begin like ours are passed over.
    #[must_use]
    pub fn environment<N: Into<String>, V: Into<String>>(
        mut self,
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let variables = variables.into_iter().map(|(name, value)| (name.into(), Some(value.into())));
        self.variables.extend(variables.filter(|(name, _)| is_ours(name)));
        self
    }

    /// With these overrides `key=value`, such as `networking.max_connections=50`. Of two for one key the later wins.
    #[must_use]
    pub fn overrides<T: Into<String>>(mut self, overrides: impl IntoIterator<Item = T>) -> Self {
        self.overrides.extend(overrides.into_iter().map(Into::into));
        self
    }

    /// Reads the layers and checks every value, and that they go together.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, in all layers. A value that a later layer replaces must be right too.
    pub fn load(&self) -> Result<Config, ConfigErrors> {
        let mut collected = Collected::default();
        match &self.document {
            None => {}
            Some(Document::Text(path, text)) => collected.document(path, text, self.shared),
            Some(Document::File(path)) => collected.file(path, self.shared),
        }
        for (name, value) in &self.variables {
            match value {
                Some(value) => collected.variable(name, value),
                None => collected.unreadable_variable(name),
            }
        }
        self.overrides.iter().for_each(|text| collected.assignment(text));
        resolve(collected)
    }
}

/// Where the layers come from and which keys they name, without a value: any of them may be a secret.
impl fmt::Debug for Loader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let document = self.document.as_ref().map(|document| match document {
            Document::File(path) => path.as_path(),
            Document::Text(path, _) => path,
        });
        let name = |text: &String| text.split_once('=').map_or_else(String::new, |(name, _)| name.trim().to_owned());
        f.debug_struct("Loader")
            .field("document", &document)
            .field("shared", &self.shared)
            .field("variables", &self.variables.keys().collect::<Vec<_>>())
            .field("overrides", &self.overrides.iter().map(name).collect::<Vec<_>>())
            .finish()
    }
}

/// The newest value of each key over the defaults.
fn resolve(collected: Collected) -> Result<Config, ConfigErrors> {
    let Collected { values, mut errors, is_partial } = collected;
    let mut scratch = Config::default();
    let mut newest: BTreeMap<&'static str, Input> = BTreeMap::new();
    for (key, input) in values {
        key.apply(&mut scratch, &input, &mut errors);
        newest.insert(key.path, input);
    }
    let mut config = Config::default();
    // In the order of the table and not of the layers: a gossip setting wins over the profile wherever both stand. What is
    // wrong was reported above.
    for key in KEYS {
        if let Some(input) = newest.get(key.path) {
            key.apply(&mut config, input, &mut Vec::new());
            config.origins.0.insert(key.path, input.origin.clone());
        }
    }
    if !is_partial {
        let findings = unexplained(rules::findings(&config), &errors);
        errors.extend(findings);
    }
    ConfigErrors::unless_empty(errors)?;
    Ok(config)
}

/// Findings that do not follow from an error that was found already: a value that is wrong or stands under a wrong name
/// left its default behind.
fn unexplained(findings: Vec<rules::Finding>, errors: &[ConfigError]) -> Vec<ConfigError> {
    let mut spoiled = BTreeSet::new();
    for error in errors {
        spoiled.extend(error.key());
        if let ConfigError::UnknownKey { nearest: Some(nearest), .. } = error {
            spoiled.insert(nearest.as_str());
        }
    }
    let is_spoiled =
        |key: &str| spoiled.iter().any(|path| path.starts_with(key) || key.starts_with(&format!("{path}.")));
    let kept = findings.into_iter().filter(|finding| !finding.keys.iter().any(|key| is_spoiled(key)));
    kept.map(|finding| finding.error).collect()
}

impl Config {
    /// Reads every value back as if somebody had written it, to check a configuration that no loader has seen.
    pub(super) fn recheck(&self) -> Vec<ConfigError> {
        let (mut scratch, mut errors) = (Self::default(), Vec::new());
        for key in KEYS {
            if let Some(text) = key.value(self) {
                let origin = self.origins.0.get(key.path).cloned().unwrap_or(Origin::Default);
                key.apply(&mut scratch, &Input::literal(&text, origin), &mut errors);
            }
        }
        errors
    }
}
