//! How the linker lays the program out. Nothing of this changes what it does, only how many of its pages a node needs.

use std::env;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=layout/order.ld");
    if !is_known_linker() {
        return;
    }
    // Addresses that the loader fills in take half a megabyte as a table of 24 bytes each, all of which is read at the start, and a
    // fiftieth as a bit map of where they are (the generic ELF ABI's DT_RELR). The loader knows it since glibc 2.36.
    if glibc().is_some_and(|version| version >= (2, 36)) {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
    // The names in the list are those of optimised code.
    if env::var("PROFILE").as_deref() == Ok("release")
        && let Some(out) = env::var_os("OUT_DIR")
    {
        // A copy among what is built: Cargo remembers this line for a checkout that has moved, and knows where that lies now.
        let list = Path::new(&out).join("order.ld");
        match std::fs::copy("layout/order.ld", &list) {
            Ok(_) => println!("cargo::rustc-link-arg-bins=-Wl,-T,{}", list.display()),
            Err(error) => {
                println!("cargo::warning=the program is laid out as ever: layout/order.ld cannot be copied: {error}")
            }
        }
    }
}

/// Whether it is LLD, as rustc brings it along for this system, and nobody has chosen another one.
fn is_known_linker() -> bool {
    let is = |name: &str, value: &str| env::var(name).as_deref() == Ok(value);
    let is_chosen = env::var_os("RUSTC_LINKER").is_some()
        || env::var("CARGO_ENCODED_RUSTFLAGS")
            .is_ok_and(|flags| flags.contains("link-arg") || flags.contains("linker"));
    is("TARGET", "x86_64-unknown-linux-gnu") && is("HOST", "x86_64-unknown-linux-gnu") && !is_chosen && brings_lld()
}

/// It is the default since Rust 1.90.
fn brings_lld() -> bool {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("--version").output().ok();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.split(' ').nth(1).and_then(version).is_some_and(|version| version >= (1, 90))
}

/// That of the system that builds, which is taken for that of the system that runs.
fn glibc() -> Option<(u32, u32)> {
    let output = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    version(text.trim().strip_prefix("glibc ")?)
}

/// The first two numbers.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split('.').map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}
