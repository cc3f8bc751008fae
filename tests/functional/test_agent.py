# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the roles write from the keys of each release and type of qube, beside what that release's agent would have written."""

from __future__ import annotations

import json
import os
import re
from typing import Dict, List, NamedTuple, Tuple

import pytest
import qubesdblab
from playing import environment, run
from starting import install, start_here

APPLIED = ["timezone", "xkb", "uplink", "resolver", "services", "dns_redirect"]


class Agent(NamedTuple):
    """What the agent writes: the lines of resolv.conf less what the pages say is better, the services, from where to where queries go."""

    zone: str
    resolvers: List[str]
    services: str
    redirects: List[Tuple[str, str]] = []
    forwards: List[str] = []


R4 = {
    "qubes-debug-mode": "0", "qubes-base-template": "debian-12", "qubes-timezone": "Europe/Warsaw", "default-user": "user", "keyboard-layout": "us++",
    "qubes-vm-updateable": "False", "qubes-gui-enabled": "True",
}
R4_NET = {
    "qubes-mac": "00:16:3e:5e:6c:00", "qubes-ip": "10.137.0.12", "qubes-netmask": "255.255.255.255", "qubes-gateway": "10.138.2.5",
    "qubes-primary-dns": "10.139.1.1", "qubes-secondary-dns": "10.139.1.2",
}
R4_IP6 = {"qubes-ip6": "fd09:24ef:4179::a89:c", "qubes-gateway6": "fd09:24ef:4179::a8a:205"}
R4_SERVES = {
    "qubes-netvm-network": "10.137.0.12", "qubes-netvm-gateway": "10.137.0.12", "qubes-netvm-netmask": "255.255.255.255",
    "qubes-netvm-primary-dns": "10.139.1.1", "qubes-netvm-secondary-dns": "10.139.1.2",
}
R3 = {
    "qubes-debug-mode": "0", "qubes-base-template": "debian-8", "qubes-timezone": "Europe/Warsaw", "qubes-vm-updateable": "False",
    "qubes-keyboard": 'xkb_keymap {\\n\\txkb_keycodes  { include "evdev"\\t};\\n\\txkb_types     { include "complete"\\t};\\n'
                      '\\txkb_compat    { include "complete"\\t};\\n\\txkb_symbols   { include "pc+fr+inet(evdev)"\\t};\\n};',
}
R3_NET = {"qubes-ip": "10.137.2.7", "qubes-netmask": "255.255.255.0", "qubes-gateway": "10.137.2.1", "qubes-primary-dns": "10.137.2.1",
          "qubes-secondary-dns": "10.137.2.254"}
R2 = {key: R3[key] for key in ("qubes-debug-mode", "qubes-timezone", "qubes-vm-updateable", "qubes-keyboard")}
# The gateway is the first resolver.
R2_NET = {key: R3_NET[key] for key in ("qubes-ip", "qubes-netmask", "qubes-gateway", "qubes-secondary-dns")}

IN_R4_APPVM = "evolution-data-server meminfo-writer qubes-update-check software-rendering tracker"
IN_R3_APPVM = "cups meminfo-writer qubes-update-check"
V4 = [("10.139.1.1", "10.139.1.1"), ("10.139.1.2", "10.139.1.2")]
IPV4, IPV6 = "net.ipv4.ip_forward = 1", "net.ipv6.conf.all.forwarding = 1"


def qube(kind, keys, *more, **own):
    """The keys of a qube; those with _ for - in their names are its own."""
    found = {"name": "it", "qubes-vm-type": kind, **keys}
    for each in more:
        found.update(each)
    return {**found, **{key.replace("_", "-"): value for key, value in own.items()}}


CASES: Dict[str, Tuple[Dict[str, str], Agent]] = {
    "r4-app": (qube("AppVM", R4, R4_NET, type="AppVM", qubes_vm_persistence="rw-only"),
               Agent("Europe/Warsaw", ["10.139.1.1", "10.139.1.2"], IN_R4_APPVM)),
    "r4-app-ip6": (qube("AppVM", R4, R4_NET, R4_IP6, type="AppVM", qubes_vm_persistence="rw-only"),
                   Agent("Europe/Warsaw", ["10.139.1.1", "10.139.1.2"], IN_R4_APPVM)),
    "r4-offline": (qube("AppVM", R4, type="AppVM", qubes_vm_persistence="rw-only"), Agent("Europe/Warsaw", [], IN_R4_APPVM)),
    "r4-standalone": (qube("AppVM", R4, R4_NET, {"qubes-service/cups": "1", "qubes-service/tracker": "0"}, type="StandaloneVM",
                           qubes_vm_persistence="full"),
                      Agent("Europe/Warsaw", ["10.139.1.1", "10.139.1.2"], "cups " + IN_R4_APPVM.replace(" tracker", ""))),
    "r4-disposable": (qube("AppVM", R4, R4_NET, type="DispVM", qubes_vm_persistence="none"),
                      Agent("Europe/Warsaw", ["10.139.1.1", "10.139.1.2"], IN_R4_APPVM)),
    "r4-template": (qube("TemplateVM", R4, {"qubes-service/updates-proxy-setup": "1"}, type="TemplateVM", qubes_vm_persistence="full"),
                    Agent("Europe/Warsaw", [], IN_R4_APPVM + " updates-proxy-setup")),
    "r4-proxy": (qube("ProxyVM", R4, R4_NET, R4_SERVES, type="AppVM", qubes_vm_persistence="rw-only"),
                 Agent("Europe/Warsaw", ["10.139.1.1", "10.139.1.2"],
                       "meminfo-writer qubes-firewall qubes-network qubes-update-check software-rendering", V4, [IPV4])),
    "r4-proxy-ip6": (qube("ProxyVM", R4, R4_NET, R4_IP6, R4_SERVES, {"qubes-netvm-gateway6": "fd09:24ef:4179::a89:c"}, type="AppVM",
                          qubes_vm_persistence="rw-only"),
                     Agent("Europe/Warsaw", ["10.139.1.1", "10.139.1.2"],
                           "meminfo-writer qubes-firewall qubes-network qubes-update-check software-rendering", V4, [IPV4, IPV6])),
    # Its own resolvers are what DHCP will say, which no key knows.
    "r4-net": (qube("NetVM", R4, R4_SERVES, {"qubes-service/meminfo-writer": "0"}, type="AppVM", qubes_vm_persistence="rw-only"),
               Agent("Europe/Warsaw", [], "network-manager qubes-firewall qubes-network qubes-update-check qubes-updates-proxy software-rendering",
                     [("10.139.1.1", ""), ("10.139.1.2", "")], [IPV4])),
    "r4-no-dns": (qube("AppVM", R4, R4_NET, {"qubes-service/disable-dns-server": "1"}, type="AppVM", qubes_vm_persistence="rw-only"),
                  Agent("Europe/Warsaw", [], "disable-dns-server " + IN_R4_APPVM)),
    # The agents of R3 and R4 do ask for it. A disposable of R3 says AppVM, so its agent knows no other.
    "r4-no-persistence": (qube("AppVM", R4, R4_NET, type="AppVM"), Agent("Europe/Warsaw", ["10.139.1.1", "10.139.1.2"], "")),
    "r3-unknown": (qube("DisposableVM", R3, R3_NET, qubes_vm_persistence="none"), Agent("Europe/Warsaw", ["10.137.2.1", "10.137.2.254"], "")),
    "r3-app": (qube("AppVM", R3, R3_NET, qubes_vm_persistence="rw-only"), Agent("Europe/Warsaw", ["10.137.2.1", "10.137.2.254"], IN_R3_APPVM)),
    "r3-template": (qube("TemplateVM", R3, R3_NET, qubes_vm_persistence="full"),
                    Agent("Europe/Warsaw", ["10.137.2.1", "10.137.2.254"], IN_R3_APPVM + " updates-proxy-setup")),
    "r3-disposable": (qube("AppVM", R3, R3_NET, qubes_vm_persistence="none"), Agent("Europe/Warsaw", ["10.137.2.1", "10.137.2.254"], IN_R3_APPVM)),
    # R2 has no qubes-vm-persistence, and its agent does not ask for it.
    "r2-app": (qube("AppVM", R2, R2_NET), Agent("Europe/Warsaw", ["10.137.2.1", "10.137.2.254"], IN_R3_APPVM)),
    "r2-offline": (qube("AppVM", R2), Agent("Europe/Warsaw", [], IN_R3_APPVM)),
    "r2-template": (qube("TemplateVM", R2, R2_NET), Agent("Europe/Warsaw", ["10.137.2.1", "10.137.2.254"], IN_R3_APPVM + " updates-proxy-setup")),
    "r2-disposable": (qube("DisposableVM", R2, R2_NET), Agent("Europe/Warsaw", ["10.137.2.1", "10.137.2.254"], "meminfo-writer")),
    "r2-switched": (qube("AppVM", R2, R2_NET, {"qubes-service/cups": "0", "qubes-service/crond": "1"}),
                    Agent("Europe/Warsaw", ["10.137.2.1", "10.137.2.254"], "crond meminfo-writer qubes-update-check")),
    "r2-net": (qube("NetVM", R2, {"qubes-netvm-network": "10.137.1.0", "qubes-netvm-gateway": "10.137.1.1", "qubes-netvm-netmask": "255.255.255.0",
                                  "qubes-netvm-secondary-dns": "10.137.1.254"}),
               Agent("Europe/Warsaw", [], "network-manager qubes-network qubes-update-check qubes-updates-proxy",
                     [("10.137.1.1", ""), ("10.137.1.254", "")], [IPV4])),
    "r2-unknown": (qube("HVM", R2, R2_NET), Agent("Europe/Warsaw", ["10.137.2.1", "10.137.2.254"], "")),
    "r2-proxy": (qube("ProxyVM", R2, R2_NET, {"qubes-netvm-network": "10.137.5.0", "qubes-netvm-gateway": "10.137.5.1",
                                              "qubes-netvm-netmask": "255.255.255.0", "qubes-netvm-secondary-dns": "10.137.5.254"}),
                 Agent("Europe/Warsaw", ["10.137.2.1", "10.137.2.254"],
                       "meminfo-writer qubes-firewall qubes-netwatcher qubes-network qubes-update-check",
                       [("10.137.5.1", "10.137.2.1"), ("10.137.5.254", "10.137.2.254")], [IPV4])),
}


def assert_as_the_agent(root, case):
    keys, agent = CASES[case]

    def text(path):
        path = os.path.join(str(root), path)
        return open(path, encoding="utf-8").read() if os.path.exists(path) else None

    assert os.readlink(os.path.join(str(root), "etc/localtime")) == "../usr/share/zoneinfo/" + agent.zone
    assert text("etc/timezone") == agent.zone + "\n"
    has_netvm = "qubes-ip" in keys
    assert text("etc/resolv.conf") == ("".join(["nameserver %s\n" % each for each in agent.resolvers]) if has_netvm else None)
    folder = os.path.join(str(root), "run/qubes-service")
    assert sorted(os.listdir(folder) if os.path.isdir(folder) else []) == sorted(agent.services.split())
    rules = re.findall(r"ip daddr (\S+) (udp|tcp) dport 53 (?:dnat to (\S+)|ct state new drop)\n", text("etc/qubes-vmconfig/dns-redirect.nft") or "")
    assert rules == [(address, protocol, upstream) for address, upstream in agent.redirects for protocol in ("udp", "tcp")]
    assert re.findall(r"(?m)^net.*", text("etc/sysctl.d/81-qubes-vmconfig.conf") or "") == agent.forwards


@pytest.mark.parametrize("case", CASES)
def test_a_start_writes_what_the_agent_would(tmp_path, case):
    install(tmp_path / "root")
    with qubesdblab.QubesdbLab() as lab:
        lab.add_own(CASES[case][0])
        assert start_here(tmp_path / "root", lab.url) == (0, [])
    assert_as_the_agent(tmp_path / "root", case)


@pytest.mark.long
def test_the_roles_write_what_the_agent_would(tmp_path):
    (tmp_path / "store.json").write_text(json.dumps({case: keys for case, (keys, dummy) in CASES.items()}))
    (tmp_path / "play.yml").write_text(json.dumps([{"name": "Render", "hosts": "all", "gather_facts": False,
                                                    "roles": ["qubes.vmconfig." + role for role in APPLIED]}]))
    # As an image is made: there even a template may be written to. What the machine uses for resolvers is then what its keys say.
    inventory = {"hosts": {case: {"vmconfig_destdir": str(tmp_path / "roots" / case)} for case in CASES},
                 "vars": {"vmconfig_family": "Debian", "vmconfig_store": "file://%s/store.json" % tmp_path}}
    done = run(tmp_path, "play.yml", inventory, (), environment(ANSIBLE_FORKS="4"))
    assert done.returncode == 0, done.stdout.decode()[-3000:]
    for case in CASES:
        assert_as_the_agent(tmp_path / "roots" / case, case)
