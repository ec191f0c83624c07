//! Each rule of the layers finds its violation in a synthetic house, and nothing in a sound one.

use super::*;
use crate::house::{Dependency, EdgeKind};

fn house(members: Vec<Member>) -> House {
    House { members, ..House::default() }
}

fn tool(name: &str, imports: &[&str]) -> Member {
    let mut member = Member::library(name, 0, imports);
    member.place = Place::Outside;
    member.floor = Floor::Missing;
    member
}

#[track_caller]
fn check(members: Vec<Member>, expected: &[Violation<'_>]) {
    assert_eq!(violations(&house(members)), expected);
}

#[test]
fn a_house_whose_edges_all_go_down_is_sound() {
    check(
        vec![
            Member::library("rdb-net-types", 0, &["serde"]),
            Member::library("rdb-swim", 1, &["rdb-net-types"]),
            Member::library("rdb-net-tcp", 6, &["rdb-net-types", "tokio", "socket2", "rustls"]),
            Member::library("rdb-net-manager", 7, &["rdb-net-tcp", "rdb-swim", "notify"]),
            tool("rdb-net-benches", &["rdb-swim", "quinn", "clap"]),
        ],
        &[],
    );
}

#[test]
fn an_edge_to_a_higher_floor_is_found() {
    check(
        vec![Member::library("rdb-phi", 1, &["rdb-net-engine"]), Member::library("rdb-net-engine", 4, &[])],
        &[Violation::Upward { from: "rdb-phi", from_floor: 1, to: "rdb-net-engine", to_floor: 4 }],
    );
}

#[test]
fn an_edge_to_a_neighbour_is_found() {
    check(
        vec![Member::library("rdb-phi", 1, &[]), Member::library("rdb-swim", 1, &["rdb-phi"])],
        &[Violation::Sideways { from: "rdb-swim", to: "rdb-phi", floor: 1 }],
    );
}

#[test]
fn a_build_dependency_counts_and_a_dev_dependency_does_not() {
    let mut builder = Member::library("rdb-phi", 1, &[]);
    builder.dependencies = vec![Dependency { name: "rdb-net-engine".into(), kind: EdgeKind::Build }];
    let mut tested = Member::library("rdb-swim", 1, &[]);
    tested.dependencies = ["rdb-net-engine", "tokio", "clap", "rdb-net-tests"]
        .map(|name| Dependency { name: name.into(), kind: EdgeKind::Dev })
        .to_vec();
    check(
        vec![builder, tested, Member::library("rdb-net-engine", 4, &[]), tool("rdb-net-tests", &[])],
        &[Violation::Upward { from: "rdb-phi", from_floor: 1, to: "rdb-net-engine", to_floor: 4 }],
    );
}

#[test]
fn a_manifest_without_a_floor_is_found() {
    let mut member = Member::library("rdb-phi", 1, &[]);
    member.floor = Floor::Missing;
    check(vec![member], &[Violation::NoFloor { name: "rdb-phi" }]);
}

#[test]
fn a_floor_that_the_house_does_not_have_is_found() {
    let mut member = Member::library("rdb-phi", 1, &[]);
    member.floor = Floor::Invalid("\"one\"".into());
    check(vec![member], &[Violation::WrongFloor { name: "rdb-phi", written: "\"one\"" }]);
}

#[test]
fn every_runtime_crate_is_found_on_every_pure_floor() {
    for floor in 0..FLOOR_OF_DRIVERS {
        for runtime in RUNTIME {
            check(
                vec![Member::library("rdb-phi", floor, &[runtime])],
                &[Violation::ImpureImport { from: "rdb-phi", floor, to: runtime }],
            );
        }
    }
    check(vec![Member::library("rdb-net-transport", FLOOR_OF_DRIVERS, &["tokio", "tokio-util"])], &[]);
}

#[test]
fn a_second_owner_of_every_client_is_found() {
    for (client, owners) in OWNERS {
        check(
            vec![Member::library("rdb-intruder", 8, &[client])],
            &[Violation::SecondOwner { client, from: "rdb-intruder", owners }],
        );
        for owner in *owners {
            check(vec![Member::library(owner, 8, &[client])], &[]);
        }
    }
}

#[test]
fn a_crate_that_imports_a_tool_is_found() {
    check(
        vec![Member::library("rdb-phi", 1, &["xtask"]), tool("xtask", &[])],
        &[Violation::ImportsTool { from: "rdb-phi", to: "xtask" }],
    );
}

#[test]
fn a_folder_of_another_name_and_a_grab_bag_are_found() {
    let mut moved = Member::library("rdb-phi", 1, &[]);
    moved.folder = "crates/phi".into();
    check(
        vec![moved, Member::library("rdb-net-common", 1, &[])],
        &[Violation::FolderDiffers { name: "rdb-phi", folder: "phi" }, Violation::GrabBag { name: "rdb-net-common" }],
    );
}

#[test]
fn the_table_shows_the_highest_floor_first_with_imports_and_clients() {
    let members = vec![
        Member::library("rdb-net-types", 0, &["serde"]),
        Member::library("rdb-net-tcp", 6, &["rdb-net-types", "tokio", "bytes", "socket2"]),
    ];
    let expected = "\
floor  crate          imports
    6  rdb-net-tcp    rdb-net-types [socket2 tokio]
    0  rdb-net-types
";
    assert_eq!(render(&house(members)), expected);
}
