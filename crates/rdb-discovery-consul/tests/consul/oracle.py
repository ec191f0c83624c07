"""py-consul at an agent: prints one line of JSON for each thing that it has read."""

import json
import sys

import consul


def show(**read):
    print(json.dumps(read), flush=True)


def read(agent, name):
    """What is registered by this name, by each way to ask for it."""
    index, health = agent.health.service(name, passing=True)
    show(index=int(index), health=health)
    show(catalog=agent.catalog.service(name)[1])
    show(checks=agent.agent.checks())
    show(services=agent.agent.services())


def wait(agent, name):
    """Waits for a change by a blocking query, and shows it."""
    index, before = agent.health.service(name)
    show(before=len(before))
    after, health = agent.health.service(name, index=index, wait="20s")
    show(moved=int(after) > int(index), after=len(health))


def act(agent, name):
    """Registers two services with a check each, and does what a line of the input says."""
    for place in ("kept", "lost"):
        check = consul.Check.ttl("600s")
        agent.agent.service.register(name, service_id=place, address="127.0.0.1", port=7000 if place == "kept" else 7001, check=check)
        agent.agent.check.ttl_pass("service:" + place)
    show(registered=True)
    for line in sys.stdin:
        word = line.strip()
        if word == "fail":
            agent.agent.check.ttl_fail("service:lost", "nobody tells")
        elif word == "deregister":
            agent.agent.service.deregister("kept")
        show(done=word)


def main():
    host, port, command, name = sys.argv[1:]
    agent = consul.Consul(host=host, port=int(port))
    {"read": read, "wait": wait, "act": act}[command](agent, name)


main()
