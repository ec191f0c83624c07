//! What is written is read again, and what is not to be believed is passed over.

use super::*;

#[test]
fn a_snapshot_is_read_as_it_was_written() {
    let snapshot = Snapshot {
        generation: u32::MAX,
        member: vec![remembered("b", NodeState::Alive), remembered("c", NodeState::Failed)],
    };
    let text = toml::to_string(&snapshot).expect("TOML can hold it");
    assert_eq!(read(Path::new("f"), text.as_bytes()), Some(snapshot));
    assert_eq!(read(Path::new("f"), b"generation = true"), None);
    assert_eq!(read(Path::new("f"), &[0xff]), None);
}

fn remembered(name: &str, state: NodeState) -> Remembered {
    Remembered { node: id(name), address: NodeAddress::new(name, 7000).expect("legal"), state }
}

/// Whose memory is older than a tombstone has the addresses alone, and nobody in its view. It restarts again before anybody answers.
#[test]
fn addresses_of_the_former_life_are_kept_until_somebody_is_there() {
    let [b, c] = [remembered("b", NodeState::Alive), remembered("c", NodeState::Failed)];
    let mut former = vec![b.clone(), c.clone()];
    let mut members = |now: &[Remembered]| Snapshot::of(2, now.to_vec(), &mut former).member;
    assert_eq!(members(&[]), [b.clone(), c], "nobody is known");
    let [left, failed] = [remembered("c", NodeState::Left), remembered("d", NodeState::Failed)];
    assert_eq!(
        members(&[left.clone(), failed.clone()]),
        [left, failed.clone(), b],
        "what this life knows stands above it"
    );
    let suspect = [remembered("d", NodeState::Suspect)];
    assert_eq!(members(&suspect), suspect, "a cluster that is there knows who is in it");
    let gone = [failed];
    assert_eq!(members(&gone), gone, "and whom it has dropped does not come back when it is not");
}

#[test]
fn a_clock_that_was_set_back_does_not_make_an_older_life() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = State { path: Some(folder.path().join("new")), ..State::default() };
    let (cluster, node) = (ClusterId::new("c").expect("legal"), NodeId::new("a").expect("legal"));
    let memory = || Memory::load(&state, &cluster, &node, DAY).expect("the folder is there").expect("it remembers");
    assert_eq!(memory().generation, 1, "nothing was remembered");
    let text = toml::to_string(&Snapshot { generation: 5000, member: Vec::new() }).expect("TOML can hold it");
    memory().file.lock().expect(LOCKED).save(text.as_bytes()).expect("saved");
    assert_eq!(first_incarnation(4000, Some(&memory())).generation(), 5001);
    assert_eq!(first_incarnation(6000, Some(&memory())).generation(), 6000);
}

#[test]
fn a_generation_that_was_made_up_is_no_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = State { path: Some(folder.path().join("new")), ..State::default() };
    let (cluster, node) = (ClusterId::new("c").expect("legal"), NodeId::new("a").expect("legal"));
    let memory = || Memory::load(&state, &cluster, &node, DAY).expect("the folder is there").expect("it remembers");
    let text = toml::to_string(&Snapshot { generation: rdb_swim::GENERATION_MAX, member: Vec::new() });
    memory().file.lock().expect(LOCKED).save(text.expect("TOML can hold it").as_bytes()).expect("saved");
    assert_eq!(first_incarnation(4000, Some(&memory())).generation(), rdb_swim::GENERATION_MAX);
}

const DAY: Duration = Duration::from_secs(24 * 3600);

fn id(name: &str) -> NodeId {
    NodeId::new(name).expect("legal")
}

fn cluster(name: &str) -> ClusterId {
    ClusterId::new(name).expect("legal")
}

fn load(state: &State, cluster: &ClusterId, node: &str) -> Memory {
    Memory::load(state, cluster, &id(node), DAY).expect("the folder is there").expect("it remembers")
}

/// What node a holds that knows b, in its fifth generation.
fn snapshot() -> rdb_swim::Snapshot {
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], 7001));
    let own = rdb_swim::LocalNode {
        id: id("a"),
        boot: rdb_net_types::BootId(1),
        incarnation: Incarnation::first_of(5),
        address,
        meta: Vec::new().into(),
    };
    let mut swim = rdb_swim::Swim::new(rdb_swim::Config::lan(), &cluster("c"), own, 7, Duration::ZERO);
    let other = rdb_swim::Profile::new(id("b"), rdb_net_types::BootId(2), address, b"it".to_vec().into());
    swim.restore(Duration::ZERO, [(other, Incarnation::first_of(9))]);
    swim.snapshot()
}

fn taken(memory: &Memory) -> Option<rdb_swim::Snapshot> {
    memory.members.lock().expect(LOCKED).take()
}

fn folder() -> (tempfile::TempDir, State) {
    let folder = tempfile::tempdir().expect("a folder");
    let state = State { path: Some(folder.path().to_owned()), ..State::default() };
    (folder, state)
}

fn save(memory: &Memory, at: SystemTime) {
    memory.view.lock().expect(LOCKED).save(at, &snapshot()).expect("saved");
}

#[test]
fn members_come_back_as_they_were_written_and_only_to_whom_they_belong() {
    let (_folder, state) = folder();
    save(&load(&state, &cluster("c"), "a"), SystemTime::now());
    let memory = load(&state, &cluster("c"), "a");
    assert_eq!(taken(&memory), Some(snapshot()));
    assert_eq!(memory.generation, 6, "the next life is after the one that wrote it");
    for (cluster, node) in [(cluster("other"), "a"), (cluster("c"), "b")] {
        let memory = load(&state, &cluster, node);
        assert_eq!((taken(&memory), memory.generation), (None, 1), "{cluster}, {node}");
    }
}

#[test]
fn a_file_of_a_release_without_members_still_gives_its_addresses() {
    let (folder, state) = folder();
    let text = "generation = 7\n[[member]]\nnode = \"b\"\naddress = \"b.example:7000\"\nstate = \"alive\"\n";
    load(&state, &cluster("c"), "a").file.lock().expect(LOCKED).save(text.as_bytes()).expect("saved");
    assert!(!folder.path().join("view.state").exists());
    let memory = load(&state, &cluster("c"), "a");
    assert_eq!((memory.generation, memory.addresses().len(), taken(&memory)), (8, 1, None));
}

/// Everybody else may have forgotten a member by then, tombstone and all: nobody would keep it out.
#[test]
fn who_was_away_for_longer_than_a_tombstone_stands_remembers_no_members() {
    let (_folder, state) = folder();
    let now = SystemTime::now();
    let second = Duration::from_secs(60);
    for (saved, is_taken) in [
        (now - DAY + second, true),
        (now - DAY - second, false),
        // The clock was set back since, by a little or by so much that it says nothing.
        (now + second, true),
        (now + DAY + second, false),
    ] {
        save(&load(&state, &cluster("c"), "a"), saved);
        let memory = load(&state, &cluster("c"), "a");
        assert_eq!((taken(&memory).is_some(), memory.generation), (is_taken, 6), "saved {saved:?}, now {now:?}");
    }
}

/// Alone it hears of nobody who is dropped, however long it runs and writes.
#[test]
fn a_node_that_is_alone_knows_no_better_for_writing_again() {
    let (_folder, state) = folder();
    let (now, minute) = (SystemTime::now(), Duration::from_secs(60));
    for (met, is_taken) in [(now - DAY + minute, true), (now - DAY - minute, false)] {
        save(&load(&state, &cluster("c"), "a"), met);
        let alone = load(&state, &cluster("c"), "a");
        alone.view.lock().expect(LOCKED).save(now, &snapshot().unheard()).expect("saved");
        assert_eq!(taken(&load(&state, &cluster("c"), "a")).is_some(), is_taken, "met {met:?}, now {now:?}");
    }
}

#[test]
fn damaged_members_are_passed_over() {
    let (folder, state) = folder();
    save(&load(&state, &cluster("c"), "a"), SystemTime::now());
    let path = folder.path().join("view.state");
    let whole = std::fs::read(&path).expect("it was written");
    for end in [0, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&path, &whole[..end]).expect("written");
        assert_eq!(taken(&load(&state, &cluster("c"), "a")), None, "{end} of {} bytes", whole.len());
    }
    // A whole file of nothing that can be read.
    for payload in [&b""[..], b"1234567", b"12345678", b"12345678 and no snapshot"] {
        std::fs::remove_file(&path).expect("it is there");
        let owner = FileOwner::of(&cluster("c"), &id("a"));
        let mut file = open(&state, folder.path(), "view.state", FileKind::VIEW, owner).expect("the folder is there");
        file.save(payload).expect("saved");
        assert_eq!(taken(&load(&state, &cluster("c"), "a")), None, "{payload:?}");
    }
}
