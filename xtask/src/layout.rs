//! `cargo xtask layout`: which functions a node needs, from what valgrind has seen it run, for the linker to put side by side.
//!
//! A program's pages come into memory sixteen at a time. A node runs two to three of its thirteen megabytes of code, and where these lie
//! among the rest nearly all of it is resident. The list is `crates/rdb-net-node/layout/order.ld`, and the README beside it says
//! how a recording is made. Names are held without what depends on the compiler's version and on features, so a list outlives
//! both: what it does not know lies where it would lie without it.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::Failure;
use crate::house::House;
use crate::process;

const LIST: &str = "crates/rdb-net-node/layout/order.ld";

/// What the list begins with.
const HEAD: &str = "/* What a node runs, behind all else. Made by `cargo xtask layout`; see README.md. */\n\
                    SECTIONS\n{\n  .init : { KEEP(*(.init)) }\n  .fini : { KEEP(*(.fini)) }\n  .text.node :\n  {\n    \
                    *crt1.o(.text)\n    *crtbeginS.o(.text)\n    *(.text.startup .text.startup.*)\n";

/// Code of aws-lc that has no section for each function: what TLS 1.3 needs of it with the suites and groups that are on. The last one is
/// the largest, and most of it is for packets of other lengths.
const ASSEMBLER: &[&str] = &[
    "p256-x86_64-asm",
    "p256_beeu-x86_64-asm",
    "bignum_montinv_p256",
    "x86_64-mont",
    "curve25519_x25519",
    "curve25519_x25519base",
    "sha256-x86_64",
    "sha512-x86_64",
    "rdrand-x86_64",
    "sha3_keccak_f1600",
    "sha3_keccak4_f1600*",
    "mlkem_*_avx2_asm",
    "aesni-x86_64",
    "aesni-gcm-x86_64",
    "aesni-gcm-avx512",
];

/// Constants that a node seldom reads: tables of other checksums, curves and numbers, and all of the crates that are for transports that are
/// not in use, for people and the demo.
const SELDOM: &[&str] = &[
    "*(.rodata._R*5gimli*)",
    "*(.rodata._RNv*8crc_fast6tables*)",
    "*(.rodata._RNv*7dec2flt5table*)",
    "*(.rodata._RNv*4zmij11STATIC_DATA*)",
    "*(.rodata.p521_* .rodata.p384_* .rodata.p224_*)",
    "*edwards25519_scalarmul*.o(.rodata)",
    "*curve25519_x25519base_alt.o(.rodata)",
    "*.clap_complete-*(.rodata .rodata.*)",
    "*.comfy_table-*(.rodata .rodata.*)",
    "*.quinn_proto-*(.rodata .rodata.*)",
    "*.rcgen-*(.rodata .rodata.*)",
    "*.rdb_net_patterns-*(.rodata .rodata.*)",
    "*.rdb_net_quic-*(.rodata .rodata.*)",
    "*.regex_automata-*(.rodata .rodata.*)",
    "*.regex_syntax-*(.rodata .rodata.*)",
    "*.unicode_segmentation-*(.rodata .rodata.*)",
    "*.unicode_width-*(.rodata .rodata.*)",
];

/// Writes the list from recordings of a program.
pub(crate) fn run(house: &House, arguments: &[String]) -> Result<(), Failure> {
    let Some((program, recordings)) = arguments.split_first().filter(|(_, recordings)| !recordings.is_empty()) else {
        let usage = "`layout` takes a program, and the files that `valgrind --tool=callgrind` has written of it";
        return Err(Failure::Usage(usage.to_owned()));
    };
    let symbols = process::capture(Command::new("nm").arg(program))?;
    let symbols = String::from_utf8_lossy(&symbols);
    let aliases = Aliases::of(&symbols);
    let recordings = recordings.iter().map(|path| read(Path::new(path))).collect::<Result<Vec<_>, _>>()?;
    let functions = in_order(&aliases, &recordings);
    let path = house.root.join(LIST);
    let failure = |source| Failure::File { path: path.clone(), source };
    std::fs::write(&path, list(&functions)).map_err(failure)?;
    println!("{} functions: {LIST}", functions.len());
    Ok(())
}

/// The functions of each recording behind those of the ones before: what all nodes run is not mixed with what some of them run, or all of
/// them seldom. A recording that is none is a list of names, one a line: what a processor runs and valgrind's does not know.
fn in_order(aliases: &Aliases<'_>, recordings: &[String]) -> Vec<String> {
    let mut known = BTreeSet::new();
    let mut functions = Vec::new();
    for text in recordings {
        let is_recording = text.lines().any(|line| line.starts_with("fn="));
        let names = if is_recording { executed(text) } else { text.lines().map(str::trim).collect() };
        let patterns = names.into_iter().flat_map(|name| aliases.of_same_code(name)).map(pattern);
        functions.extend(patterns.filter(|pattern| known.insert(pattern.clone())));
    }
    functions
}

fn read(path: &Path) -> Result<String, Failure> {
    let bytes = std::fs::read(path).map_err(|source| Failure::File { path: PathBuf::from(path), source })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Functions with the same code are one with several names, and its section has any of them.
struct Aliases<'a> {
    addresses: BTreeMap<&'a str, BTreeSet<&'a str>>,
    names: BTreeMap<&'a str, BTreeSet<&'a str>>,
}

impl<'a> Aliases<'a> {
    /// From what `nm` prints: address, kind, name.
    fn of(symbols: &'a str) -> Self {
        let (mut addresses, mut names): (BTreeMap<_, BTreeSet<_>>, BTreeMap<_, BTreeSet<_>>) = Default::default();
        for line in symbols.lines() {
            let mut words = line.split_whitespace();
            if let (Some(address), Some("t" | "T" | "w" | "W"), Some(name)) = (words.next(), words.next(), words.next())
            {
                addresses.entry(name).or_default().insert(address);
                names.entry(address).or_default().insert(name);
            }
        }
        Self { addresses, names }
    }

    fn of_same_code(&self, name: &str) -> impl Iterator<Item = &'a str> {
        let addresses = self.addresses.get(name).into_iter().flatten();
        addresses.filter_map(|address| self.names.get(address)).flatten().copied()
    }
}

/// The functions that were run, by their names in the table of symbols, of whatever object: valgrind does not know of each where it is from.
/// The format: "Callgrind Format Specification" in valgrind's manual; a name is written out where it is met first, and is a number from
/// there on.
fn executed(recording: &str) -> BTreeSet<&str> {
    let (mut names, mut found) = (BTreeMap::new(), BTreeSet::new());
    for line in recording.lines() {
        let Some((key @ ("fn" | "cfn"), value)) = line.split_once('=') else { continue };
        let (number, name) = value.split_once(' ').unwrap_or((value, ""));
        if !name.is_empty() {
            names.insert(number, name);
        }
        let name = names.get(number).copied().unwrap_or_default();
        if key == "fn" && !name.starts_with("0x") && !name.starts_with('(') {
            // A function in a cycle of calls is followed by its depth.
            found.insert(name.split('\'').next().unwrap_or(name));
        }
    }
    found
}

/// The name of a function without what changes although the function does not: the hash of each crate, which stands between `Cs` and
/// `_` (RFC 2603), and what link-time optimisation adds.
fn pattern(name: &str) -> String {
    let name = name.split('.').next().unwrap_or(name);
    if !name.starts_with("_R") {
        return name.to_owned();
    }
    let mut pattern = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(at) = rest.find("Cs") {
        let (before, from) = rest.split_at(at + 2);
        pattern.push_str(before);
        let end = from.find(|letter: char| !letter.is_ascii_alphanumeric()).unwrap_or(from.len());
        let is_hash =
            end > 0 && from[end..].starts_with('_') && from[end + 1..].starts_with(|next: char| next.is_ascii_digit());
        pattern.push_str(if is_hash { "*" } else { &from[..end] });
        rest = &from[end..];
    }
    pattern + rest
}

/// The linker's script. Rarely used functions have sections of another name.
fn list(functions: &[String]) -> String {
    // What link-time optimisation has added to a name stands behind it.
    let functions = functions.iter().map(|name| format!("    *(.text.{name}* .text.unlikely.{name}*)\n"));
    let assembler = ASSEMBLER.iter().map(|file| format!("    *-{file}.o(.text)\n"));
    let seldom = SELDOM.iter().map(|section| format!("    {section}\n"));
    format!(
        "{HEAD}{}  }}\n}}\nINSERT AFTER .text;\nSECTIONS\n{{\n  .debug_gdb_scripts : {{ *(.debug_gdb_scripts) }}\n  .rodata.seldom :\n  {{\n{}  }}\n}}\nINSERT AFTER .rodata;\n",
        functions.chain(assembler).collect::<String>(),
        seldom.collect::<String>()
    )
}
