//! What an agent and its servers remember: services, checks with their time, and the index. Pure; time is a parameter.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};

/// The least time after which a real agent throws a critical service away.
const REAP_MIN: Duration = Duration::from_secs(60);

/// A check.
#[derive(Debug, Clone)]
struct Check {
    name: String,
    service: String,
    status: String,
    output: String,
    time_to_live: Option<Duration>,
    reap_after: Option<Duration>,
    /// When it becomes critical by itself.
    due: Option<Duration>,
    critical_since: Option<Duration>,
}

/// A registered service.
#[derive(Debug, Clone)]
struct Service {
    name: String,
    address: String,
    port: u64,
    meta: Value,
    tags: Value,
    create_index: u64,
    modify_index: u64,
}

/// Everything.
#[derive(Debug)]
pub(super) struct State {
    services: BTreeMap<String, Service>,
    checks: BTreeMap<String, Check>,
    index: u64,
    /// Where something of a service last changed.
    changed: BTreeMap<String, u64>,
    /// How often the servers went on from another state: waiting questions end with it.
    pub(super) restores: u64,
}

impl State {
    pub(super) fn new() -> Self {
        let (services, checks, changed) = Default::default();
        // Where a new agent stands once it has told of itself.
        Self { services, checks, index: 12, changed, restores: 0 }
    }

    /// Registers, or writes over.
    pub(super) fn register(&mut self, now: Duration, body: &Value) -> Result<(), (u16, String)> {
        let body = &as_read(body);
        let name = body["name"].as_str().filter(|name| !name.is_empty());
        let Some(name) = name else { return Err((400, "Missing service name".to_owned())) };
        let id = body["id"].as_str().filter(|id| !id.is_empty()).unwrap_or(name).to_owned();
        check_meta(&body["meta"])?;
        let modify_index = self.touch(name);
        let create_index = self.services.get(&id).map_or(modify_index, |service| service.create_index);
        let service = Service {
            name: name.to_owned(),
            address: body["address"].as_str().unwrap_or_default().to_owned(),
            port: body["port"].as_u64().unwrap_or_default(),
            meta: body["meta"].clone(),
            tags: body["tags"].clone(),
            create_index,
            modify_index,
        };
        self.services.insert(id.clone(), service);
        let several = body["checks"].as_array().cloned().unwrap_or_default();
        let one = Some(body["check"].clone()).filter(Value::is_object);
        for (place, check) in one.into_iter().chain(several).enumerate() {
            let own = check["checkid"].as_str().filter(|id| !id.is_empty()).map(str::to_owned);
            let numbered = if place == 0 { format!("service:{id}") } else { format!("service:{id}:{}", place + 1) };
            self.put_check(now, own.unwrap_or(numbered), &id, &check)?;
        }
        Ok(())
    }

    fn put_check(&mut self, now: Duration, id: String, service: &str, body: &Value) -> Result<(), (u16, String)> {
        let time = |key: &str| match body[key].as_str().filter(|text| !text.is_empty()) {
            Some(text) => parse_time(text).map(Some).ok_or((400, format!("Invalid duration {text:?} of {key}"))),
            None => Ok(None),
        };
        let time_to_live = time("ttl")?;
        let status = body["status"].as_str().filter(|status| !status.is_empty()).unwrap_or("critical").to_owned();
        let check = Check {
            name: body["name"].as_str().unwrap_or("Service check").to_owned(),
            service: service.to_owned(),
            critical_since: (status == "critical").then_some(now),
            due: time_to_live.filter(|_| status != "critical").map(|time| now + time),
            status,
            output: String::new(),
            time_to_live,
            reap_after: time("deregistercriticalserviceafter")?.map(|after| after.max(REAP_MIN)),
        };
        self.checks.insert(id, check);
        Ok(())
    }

    /// Takes a service out.
    pub(super) fn deregister(&mut self, id: &str) -> Result<(), (u16, String)> {
        let Some(service) = self.services.remove(id) else {
            let text =
                format!("Unknown service ID {id:?}. Ensure that the service ID is passed, not the service name.");
            return Err((404, text));
        };
        self.checks.retain(|_, check| check.service != id);
        self.touch(&service.name);
        Ok(())
    }

    /// What somebody says of a check that lives by being told.
    pub(super) fn tell(&mut self, now: Duration, id: &str, status: &str, output: &str) -> Result<(), (u16, String)> {
        if !matches!(status, "passing" | "warning" | "critical") {
            return Err((400, format!("Invalid check status: '{status}'")));
        }
        let Some(check) = self.checks.get_mut(id).filter(|check| check.time_to_live.is_some()) else {
            let text = format!("Unknown check ID {id:?}. Ensure that the check ID is passed, not the check name.");
            return Err((404, text));
        };
        check.output = output.to_owned();
        check.due = check.time_to_live.map(|time| now + time);
        self.set_status(now, id, status);
        Ok(())
    }

    /// Begins or ends the maintenance of a service.
    pub(super) fn maintain(&mut self, now: Duration, id: &str, enable: bool) -> Result<(), (u16, String)> {
        let Some(service) = self.services.get(id) else { return Err((404, format!("Unknown service ID {id:?}"))) };
        let (name, check) = (service.name.clone(), format!("_service_maintenance:{id}"));
        if enable {
            self.put_check(now, check, id, &json!({ "status": "critical" }))?;
        } else {
            self.checks.remove(&check);
        }
        self.touch(&name);
        Ok(())
    }

    /// Lets time pass; says whether something has changed by it.
    pub(super) fn tick(&mut self, now: Duration) -> bool {
        let before = self.index;
        let due = |check: &Check| check.due.is_some_and(|due| due <= now);
        let expired: Vec<_> = self.checks.iter().filter(|(_, check)| due(check)).map(|(id, _)| id.clone()).collect();
        for id in expired {
            if let Some(check) = self.checks.get_mut(&id) {
                check.due = None;
                check.output = "TTL expired".to_owned();
            }
            self.set_status(now, &id, "critical");
        }
        let reaped = |check: &Check| {
            check.critical_since.zip(check.reap_after).is_some_and(|(since, after)| since + after <= now)
        };
        let reaped: Vec<_> =
            self.checks.values().filter(|check| reaped(check)).map(|check| check.service.clone()).collect();
        for id in reaped {
            let _ = self.deregister(&id);
        }
        self.index != before
    }

    /// All services are forgotten, as by a client agent that is restarted without its data.
    pub(super) fn forget(&mut self) {
        let ids: Vec<_> = self.services.keys().cloned().collect();
        for id in ids {
            let _ = self.deregister(&id);
        }
    }

    /// The servers go on from here, as after the restore of a snapshot.
    pub(super) fn restore_index(&mut self, index: u64) {
        self.index = index;
        self.restores += 1;
        for changed in self.changed.values_mut() {
            *changed = (*changed).min(index);
        }
    }

    fn set_status(&mut self, now: Duration, id: &str, status: &str) {
        let Some(check) = self.checks.get_mut(id).filter(|check| check.status != status) else { return };
        check.status = status.to_owned();
        check.critical_since = (status == "critical").then_some(now);
        let name = self.services.get(&check.service).map(|service| service.name.clone());
        if let Some(name) = name {
            self.touch(&name);
        }
    }

    fn touch(&mut self, service: &str) -> u64 {
        self.index += 1;
        self.changed.insert(service.to_owned(), self.index);
        self.index
    }

    /// The index of questions about a service. One that never was has that of everything.
    pub(super) fn index_of(&self, service: &str) -> u64 {
        self.changed.get(service).copied().unwrap_or(self.index)
    }

    /// The instances of a service with their checks.
    pub(super) fn health(&self, name: &str, passing: bool, only: Option<&str>) -> Value {
        let all =
            self.services.iter().filter(|(id, service)| service.name == name && only.is_none_or(|only| only == *id));
        let passes =
            |id: &str| self.checks.values().filter(|check| check.service == id).all(|check| check.status == "passing");
        let instances = all.filter(|(id, _)| !passing || passes(id)).map(|(id, service)| {
            let checks = self.checks.iter().filter(|(_, check)| check.service == *id);
            let machine = json!({ "Node": NODE, "CheckID": "serfHealth", "Name": "Serf Health Status", "Status": "passing",
                "Output": "Agent alive and reachable", "ServiceID": "", "ServiceName": "" });
            let checks: Vec<_> = std::iter::once(machine).chain(checks.map(|(id, check)| self.shown_check(id, check))).collect();
            json!({ "Node": { "ID": "40e4a748-2192-161a-0510-9bf59fe950b5", "Node": NODE, "Address": "127.0.0.1",
                    "Datacenter": "dc1", "TaggedAddresses": { "lan": "127.0.0.1" }, "Meta": {}, "CreateIndex": 5, "ModifyIndex": 6 },
                "Service": shown_service(id, service, true), "Checks": checks })
        });
        instances.collect()
    }

    /// As the catalog shows the instances of a service: without health.
    pub(super) fn catalog(&self, name: &str) -> Value {
        let all = self.services.iter().filter(|(_, service)| service.name == name);
        let shown = all.map(|(id, service)| {
            json!({ "Node": NODE, "Address": "127.0.0.1", "ServiceID": id, "ServiceName": service.name,
                "ServiceAddress": service.address, "ServicePort": service.port, "ServiceMeta": object(&service.meta),
                "ServiceTags": array(&service.tags), "CreateIndex": service.create_index, "ModifyIndex": service.modify_index })
        });
        shown.collect()
    }

    /// What the agent itself has of one service.
    pub(super) fn agent_service(&self, id: &str) -> Option<Value> {
        self.services.get(id).map(|service| shown_service(id, service, false))
    }

    /// All services of the agent.
    pub(super) fn agent_services(&self) -> Value {
        self.services
            .iter()
            .map(|(id, service)| (id.clone(), shown_service(id, service, false)))
            .collect::<Map<_, _>>()
            .into()
    }

    /// All checks of the agent.
    pub(super) fn agent_checks(&self) -> Value {
        self.checks.iter().map(|(id, check)| (id.clone(), self.shown_check(id, check))).collect::<Map<_, _>>().into()
    }

    fn shown_check(&self, id: &str, check: &Check) -> Value {
        let service = self.services.get(&check.service).map_or("", |service| service.name.as_str());
        json!({ "Node": NODE, "CheckID": id, "Name": check.name, "Status": check.status, "Notes": "", "Output": check.output,
            "ServiceID": check.service, "ServiceName": service, "ServiceTags": [], "Type": "ttl", "Definition": {} })
    }
}

/// The machine of the agent.
const NODE: &str = "test-agent";

/// An agent shows no indexes.
fn shown_service(id: &str, service: &Service, indexes: bool) -> Value {
    let mut shown = json!({ "ID": id, "Service": service.name, "Tags": array(&service.tags), "Meta": object(&service.meta),
        "Address": service.address, "Port": service.port, "Weights": { "Passing": 1, "Warning": 1 }, "EnableTagOverride": false });
    if !service.address.is_empty() {
        let address = json!({ "Address": service.address, "Port": service.port });
        shown["TaggedAddresses"] = json!({ "lan_ipv4": address, "wan_ipv4": address });
    }
    if indexes {
        shown["CreateIndex"] = service.create_index.into();
        shown["ModifyIndex"] = service.modify_index.into();
    }
    shown
}

/// The names of fields as a real agent reads them: in any case, and with underscores or without. Not those within the meta data.
fn as_read(body: &Value) -> Value {
    match body {
        Value::Object(fields) => {
            let read = fields.iter().map(|(name, value)| {
                let name = name.to_lowercase().replace('_', "");
                let value = if name == "meta" { value.clone() } else { as_read(value) };
                (name, value)
            });
            Value::Object(read.collect())
        }
        Value::Array(values) => values.iter().map(as_read).collect(),
        other => other.clone(),
    }
}

fn object(value: &Value) -> Value {
    if value.is_object() { value.clone() } else { json!({}) }
}

fn array(value: &Value) -> Value {
    if value.is_array() { value.clone() } else { json!([]) }
}

/// The limits of a real agent.
fn check_meta(meta: &Value) -> Result<(), (u16, String)> {
    let Some(pairs) = meta.as_object() else { return Ok(()) };
    let refused = |problem: String| Err((400, format!("Invalid Service Meta: {problem}")));
    if pairs.len() > 64 {
        return refused("Node metadata cannot contain more than 64 key/value pairs".to_owned());
    }
    for (key, value) in pairs {
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if key.is_empty() || key.len() > 128 || !key.chars().all(legal) {
            return refused(format!("Key {key:?} contains invalid characters or is too long"));
        }
        if value.as_str().is_none_or(|value| value.len() > 512) {
            return refused(format!("Value of {key:?} is too long (limit: 512 characters)"));
        }
    }
    Ok(())
}

/// A duration as Go writes it: `1m30s`, `250ms`.
pub(super) fn parse_time(text: &str) -> Option<Duration> {
    let (mut rest, mut total) = (text, Duration::ZERO);
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, unit) = rest.split_at(number_end);
        let unit_end = unit.find(|c: char| c.is_ascii_digit()).unwrap_or(unit.len());
        let seconds = match unit.get(..unit_end)? {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3_600.0,
            _ => return None,
        };
        total += Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()?;
        rest = unit.get(unit_end..)?;
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn service(id: &str, ttl: &str) -> Value {
        let check = json!({ "TTL": ttl, "Status": "passing", "DeregisterCriticalServiceAfter": "1m" });
        json!({ "ID": id, "Name": "rdb", "Port": 7000, "Check": check })
    }

    fn statuses(state: &State) -> Vec<String> {
        let health = state.health("rdb", false, None);
        let of = |instance: &Value| instance["Checks"][1]["Status"].as_str().unwrap_or("none").to_owned();
        health.as_array().expect("a list").iter().map(of).collect()
    }

    #[test]
    fn a_check_that_nobody_tells_of_becomes_critical_and_its_service_goes_later() {
        let mut state = State::new();
        state.register(SECOND, &service("a", "15s")).expect("taken");
        let index = state.index_of("rdb");
        assert!(!state.tick(15 * SECOND));
        state.tell(15 * SECOND, "service:a", "passing", "").expect("known");
        assert_eq!(state.index_of("rdb"), index, "what was said before is no news");
        assert!(!state.tick(29 * SECOND));
        assert!(state.tick(30 * SECOND));
        assert_eq!(statuses(&state), ["critical"]);
        assert!(state.index_of("rdb") > index);
        assert_eq!(state.health("rdb", true, None), json!([]));
        assert!(state.tick(90 * SECOND));
        assert_eq!(statuses(&state), [""; 0]);
        assert_eq!(state.tell(91 * SECOND, "service:a", "passing", "").expect_err("gone").0, 404);
    }

    #[test]
    fn a_check_begins_critical_unless_it_is_told_otherwise() {
        let mut state = State::new();
        state.register(SECOND, &json!({ "Name": "rdb", "Check": { "TTL": "1s" } })).expect("taken");
        assert_eq!(statuses(&state), ["critical"]);
    }

    #[test]
    fn what_a_real_agent_refuses_is_refused() {
        let mut state = State::new();
        let long = json!({ "Name": "rdb", "Meta": { "a": "x".repeat(513) } });
        assert_eq!(state.register(SECOND, &long).expect_err("too long").0, 400);
        let pairs: Map<_, _> = (0..65).map(|number| (format!("k{number}"), json!("v"))).collect();
        assert_eq!(state.register(SECOND, &json!({ "Name": "rdb", "Meta": pairs })).expect_err("too many").0, 400);
        assert_eq!(state.register(SECOND, &json!({ "Name": "rdb", "Meta": { "a.b": "v" } })).expect_err("key").0, 400);
        assert_eq!(state.register(SECOND, &json!({})).expect_err("no name").0, 400);
    }

    #[test]
    fn the_names_of_fields_are_read_in_any_case() {
        let mut state = State::new();
        let body =
            json!({ "name": "rdb", "id": "a", "check": { "ttl": "5s", "status": "passing" }, "Meta": { "A_b": "c" } });
        state.register(SECOND, &body).expect("taken");
        assert_eq!(statuses(&state), ["passing"]);
        assert_eq!(state.agent_service("a").expect("there")["Meta"], json!({ "A_b": "c" }));
    }

    #[test]
    fn durations_are_read_as_go_writes_them() {
        let read: Vec<_> = ["15s", "250ms", "1m30s", "1.5s", "", "7", "x"].into_iter().map(parse_time).collect();
        let ms = |ms| Some(Duration::from_millis(ms));
        assert_eq!(read, [ms(15_000), ms(250), ms(90_000), ms(1_500), None, None, None]);
    }
}
