//! Which names of functions come into the list, and how they are written there.

use super::*;

const RECORDING: &str = "\
events: Ir
ob=(1) /lib/libc.so.6
fn=(1) malloc
0 5
ob=(2) /target/release/rdbnet
fn=(2) _RNvCsabc123_4swim4step
0 9
cob=(1)
cfn=(3) free
calls=1 0
fn=(4) _RNvCsabc123_4swim4stop'2
0 1
fn=(5) 0x0000000000438430
ob=(6) ???
fn=(7) _RNvCsabc123_4swim4sync
0 3
ob=(1)
fn=(3)
0 2
";

#[test]
fn what_ran_is_what_has_costs_of_its_own() {
    let ran = ["_RNvCsabc123_4swim4step", "_RNvCsabc123_4swim4stop", "_RNvCsabc123_4swim4sync", "free", "malloc"];
    assert_eq!(executed(RECORDING), ran.into());
    assert_eq!(executed("no recording"), BTreeSet::new());
}

#[test]
fn a_function_stands_with_the_first_recording_that_has_it() {
    let symbols =
        "0010 t _RNvCsabc123_4swim4step\n0020 t _RNvCsabc123_4swim4stop\n0030 t _RNvCsabc123_4swim4sync\n0040 t bind\n";
    let names = "_RNvCsabc123_4swim4sync\nbind\n unknown\n";
    let functions = in_order(&Aliases::of(symbols), &[names.to_owned(), RECORDING.to_owned()]);
    assert_eq!(functions, ["_RNvCs*_4swim4sync", "bind", "_RNvCs*_4swim4step", "_RNvCs*_4swim4stop"]);
}

#[test]
fn functions_with_the_same_code_are_found_by_each_name() {
    let aliases =
        Aliases::of("0010 T push_ping\n0010 t push_pong\n0020 t stop\n0010 D data\n         U malloc\n0030 t stop\n");
    let of = |name| aliases.of_same_code(name).collect::<Vec<_>>();
    assert_eq!(of("push_pong"), ["push_ping", "push_pong"]);
    assert_eq!(of("stop"), ["stop", "stop"]);
    assert_eq!(of("malloc"), [""; 0]);
}

#[test]
fn a_name_is_held_without_the_hashes_of_crates() {
    let check = |name: &str, expected: &str| assert_eq!(pattern(name), expected);
    check("_RNvCsjrHSEGnQ3l9_3std4exit", "_RNvCs*_3std4exit");
    check(
        "_RINvNtCs1a_4core3ptr4dropNtCs2b_4swim4SwimECs3c_6rdbnet",
        "_RINvNtCs*_4core3ptr4dropNtCs*_4swim4SwimECs*_6rdbnet",
    );
    check("_RNvCsab_4swim4step.llvm.123", "_RNvCs*_4swim4step");
    check("_RNvNtC4swim5specs4step", "_RNvNtC4swim5specs4step");
    check("aws_lc_0_47_0_EVP_Cs12_3", "aws_lc_0_47_0_EVP_Cs12_3");
}

#[test]
fn the_list_is_a_script_that_leaves_all_else_in_its_place() {
    let script = list(&["_RNvCs*_4swim4step".to_owned()]);
    assert!(script.contains("    *(.text._RNvCs*_4swim4step* .text.unlikely._RNvCs*_4swim4step*)\n"), "{script}");
    assert!(script.contains("INSERT AFTER .text;\n") && script.ends_with("INSERT AFTER .rodata;\n"));
}
