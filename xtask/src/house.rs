//! The workspace as the checks see it: packages, their floors, and who depends on whom.
//!
//! A plain structure of our own between `cargo metadata` and the checks, so that their tests can build any house, a wrong
//! one in particular.

use std::collections::BTreeSet;
use std::path::PathBuf;

use cargo_metadata::{DependencyKind, MetadataCommand, Package, TargetKind};

use crate::failure::Failure;

/// The highest floor; the binary lives there.
pub(crate) const FLOOR_MAX: u8 = 9;
/// The lowest floor that may know sockets, tasks and clocks. Everything below is pure.
pub(crate) const FLOOR_OF_DRIVERS: u8 = 5;

/// The workspace.
#[derive(Debug, Clone, Default)]
pub(crate) struct House {
    /// Its root folder.
    pub root: PathBuf,
    /// Where cargo builds.
    pub target: PathBuf,
    /// Its packages, sorted by name.
    pub members: Vec<Member>,
}

/// One package of the workspace.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub name: String,
    /// The folder of its manifest.
    pub folder: PathBuf,
    pub place: Place,
    pub floor: Floor,
    pub dependencies: Vec<Dependency>,
    pub targets: Vec<Target>,
    /// Whether a feature is on unless one asks for none.
    pub has_default_features: bool,
}

/// Whether a package is part of the house or one of its tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Under `crates/`, hence on a floor.
    Inside,
    /// `xtask`, `tests`, `benches`, `fuzz`: they may use everything, and nothing may use them.
    Outside,
}

/// What a manifest says under `[package.metadata.rdb] floor`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Floor {
    Missing,
    /// Something else than a number from 0 to [`FLOOR_MAX`], as written.
    Invalid(String),
    At(u8),
}

/// An entry of a dependency table, optional ones included.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Dependency {
    /// The package's own name, whatever it is renamed to.
    pub name: String,
    pub kind: EdgeKind,
}

/// Which table a dependency stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum EdgeKind {
    Normal,
    Build,
    Dev,
}

/// Something that cargo builds from a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub name: String,
    pub kind: ProductKind,
}

/// What a target is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProductKind {
    Library,
    Binary,
    Test,
    Bench,
    Other,
}

impl House {
    /// Reads the workspace around the current folder with `cargo metadata --no-deps`.
    pub(crate) fn load() -> Result<Self, Failure> {
        let metadata = MetadataCommand::new().no_deps().exec()?;
        let crates = metadata.workspace_root.join("crates");
        let mut members: Vec<Member> = metadata
            .workspace_packages()
            .into_iter()
            .map(|package| {
                let place = if package.manifest_path.starts_with(&crates) { Place::Inside } else { Place::Outside };
                Member::of_package(package, place)
            })
            .collect();
        members.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self {
            root: metadata.workspace_root.into_std_path_buf(),
            target: metadata.target_directory.into_std_path_buf(),
            members,
        })
    }

    /// The package of this name.
    pub(crate) fn member(&self, name: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.name == name)
    }

    /// The packages that stand on a floor.
    pub(crate) fn inside(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.place == Place::Inside)
    }
}

impl Member {
    fn of_package(package: &Package, place: Place) -> Self {
        let folder = package.manifest_path.parent().map(|folder| folder.as_std_path().to_owned()).unwrap_or_default();
        let written = &package.metadata["rdb"]["floor"];
        let floor = match written.as_u64().and_then(|floor| u8::try_from(floor).ok()) {
            Some(floor) if floor <= FLOOR_MAX => Floor::At(floor),
            _ if written.is_null() => Floor::Missing,
            _ => Floor::Invalid(written.to_string()),
        };
        let dependencies: BTreeSet<Dependency> = package
            .dependencies
            .iter()
            .map(|dependency| {
                let kind = match dependency.kind {
                    DependencyKind::Development => EdgeKind::Dev,
                    DependencyKind::Build => EdgeKind::Build,
                    _ => EdgeKind::Normal,
                };
                Dependency { name: dependency.name.clone(), kind }
            })
            .collect();
        let targets = package
            .targets
            .iter()
            .map(|target| Target { name: target.name.clone(), kind: ProductKind::of(&target.kind) })
            .collect();
        let has_default_features = package.features.get("default").is_some_and(|enabled| !enabled.is_empty());
        Self {
            name: package.name.to_string(),
            folder,
            place,
            floor,
            dependencies: dependencies.into_iter().collect(),
            targets,
            has_default_features,
        }
    }

    /// The floor, where the manifest states a legal one.
    pub(crate) fn level(&self) -> Option<u8> {
        match self.floor {
            Floor::At(floor) => Some(floor),
            Floor::Missing | Floor::Invalid(_) => None,
        }
    }

    /// Whether the package stands on a floor of pure machines.
    pub(crate) fn is_pure(&self) -> bool {
        self.place == Place::Inside && self.level().is_some_and(|floor| floor < FLOOR_OF_DRIVERS)
    }

    /// Whether the package stands on a floor that may drive sockets and tasks.
    pub(crate) fn is_driver(&self) -> bool {
        self.place == Place::Inside && self.level().is_some_and(|floor| floor >= FLOOR_OF_DRIVERS)
    }

    /// Whether another crate can import it.
    pub(crate) fn has_library(&self) -> bool {
        self.targets.iter().any(|target| target.kind == ProductKind::Library)
    }

    /// The packages that it is compiled with; what only its tests use does not count.
    pub(crate) fn imports(&self) -> BTreeSet<&str> {
        let compiled = self.dependencies.iter().filter(|dependency| dependency.kind != EdgeKind::Dev);
        compiled.map(|dependency| dependency.name.as_str()).collect()
    }
}

impl ProductKind {
    fn of(kinds: &[TargetKind]) -> Self {
        let kind = kinds.iter().find_map(|kind| match kind {
            TargetKind::Lib | TargetKind::RLib | TargetKind::ProcMacro => Some(Self::Library),
            TargetKind::Bin => Some(Self::Binary),
            TargetKind::Test => Some(Self::Test),
            TargetKind::Bench => Some(Self::Bench),
            _ => None,
        });
        kind.unwrap_or(Self::Other)
    }
}

#[cfg(test)]
impl Member {
    /// A library of a synthetic house, with normal dependencies.
    pub(crate) fn library(name: &str, floor: u8, imports: &[&str]) -> Self {
        let normal = |name: &&str| Dependency { name: (*name).to_owned(), kind: EdgeKind::Normal };
        Self {
            name: name.to_owned(),
            folder: PathBuf::from("crates").join(name),
            place: Place::Inside,
            floor: Floor::At(floor),
            dependencies: imports.iter().map(normal).collect(),
            targets: vec![Target { name: name.replace('-', "_"), kind: ProductKind::Library }],
            has_default_features: false,
        }
    }
}
