# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a play gives for the variables of the roles: each means one thing, whatever its spelling and whatever it equals."""

from __future__ import annotations

import datetime
import json
import os

import pytest
import yaml
from ansible_collections.qubes.vmconfig.plugins.module_utils._role import role as role_of
from ansible_collections.qubes.vmconfig.plugins.module_utils._text import escape
from ansible_collections.qubes.vmconfig.plugins.module_utils._values.every import ROLES
from hypothesis import given, strategies

HOME = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
GIANT = 10 ** 5000
NOTHING = {"config": {}, "invalid": {}, "denied": []}
NET = "net-config/00:16:3e:5e:6c:00/"


def load(role, *path):
    with open(os.path.join(HOME, "roles", role, *path), encoding="utf-8") as stream:
        return yaml.safe_load(stream)


@pytest.mark.parametrize("role", ROLES)
def test_the_argument_specs_and_defaults_are_those_of_the_variables(role):
    options = load(role, "meta", "argument_specs.yml")["argument_specs"]["main"]["options"]
    defaults = load(role, "defaults", "main.yml")
    values = ROLES[role].values({})
    assert set(values) == set(ROLES[role].VARIABLES)
    for name, variable in ROLES[role].VARIABLES.items():
        option = options["%s_%s" % (role, name)]
        assert (option["type"], option.get("elements", "")) == (variable.kind.type, variable.kind.elements), name
        # From the keys, or what it is without any.
        assert defaults["%s_%s" % (role, name)] == option.get("default"), name
        assert option.get("default") is None or option["default"] == values[name], name
        assert not variable.keys or option.get("default") is None, name


def short(value):
    """A name for a test, of what has one that is short."""
    return value if isinstance(value, str) and len(value) < 20 else ""


@pytest.mark.parametrize("role, name, spellings, value", [
    ("resolver", "disabled", [False, "false", "False", "no", "NO", "off", "0", 0, "n", "f", " false ", 0.0], False),
    ("resolver", "disabled", [True, "true", "yes", "on", "1", 1, "y", "t", "TRUE"], True),
    ("dns_redirect", "forward6", [False, "false", "no", "off", 0], False),
    ("uplink", "default_route", ["true", True, 1, "on"], True),
    ("uplink", "neighbours", ["0", False, "off"], False),
    ("uplink", "prefix", [24, "24", " 24 ", "+24"], 24),
    ("uplink", "prefix6", [0, "0"], 0),
    ("uplink", "ip6", [""], ""),
    ("xkb", "keymap", [""], ""),
    ("xkb", "layout", ["no"], "no"),
    ("resolver", "servers", [["10.0.0.1", "10.0.0.2"], '["10.0.0.1", "10.0.0.2"]', "10.0.0.1,10.0.0.2", "10.0.0.1, 10.0.0.2,", ("10.0.0.1", "10.0.0.2")],
     ["10.0.0.1", "10.0.0.2"]),
    ("resolver", "servers", [[], "[]", "", " ", (), ","], []),
    ("services", "states", [{"cups": "false", "crond": "yes"}, {"cups": False, "crond": True}, '{"cups": false, "crond": "on"}', "cups=0,crond=1",
                            "cups=off crond=on"], {"cups": False, "crond": True}),
    ("services", "states", [{}, "{}", ""], {}),
    ("services", "units", [{"my": ["a.service", "b.timer"]}, '{"my": ["a.service", "b.timer"]}', {"my": "a.service,b.timer"}],
     {"my": ["a.service", "b.timer"]}),
    ("display", "monitors", [[], "[]", "", "  "], None),
    ("display", "monitors", [[{"width": 800, "height": 600}], '[{"width": 800, "height": 600}]'], [{"width": 800, "height": 600}]),
    ("display", "monitors", ["800x600+0+0", " 800x600+0+0\n"], "800x600+0+0"),
    ("display", "memory_overhead", ["0", 0], 0),
    ("display", "memory_overhead", [""], ""),
    ("display", "depth", ["16", 16], 16),
    ("vm_config", "files", [[{"name": "a", "dest": "/b", "owner": 1000}], '[{"name": "a", "dest": "/b", "owner": "1000"}]',
                            [{"name": "a", "dest": "/b", "owner": "1000", "mode": None}]], [{"name": "a", "dest": "/b", "owner": "1000"}]),
], ids=short)
def test_one_meaning_for_all_spellings(role, name, spellings, value):
    for spelling in spellings:
        found = role_of(role, NOTHING, {name: spelling})
        assert found.refusals == [], spelling
        made = found.given[name]
        assert (made == value and type(made) is type(value)) or (value is None and not made), spelling
        assert found.variables[name] == made
        # What is kept for each start, in JSON, is taken there for the same.
        assert role_of(role, NOTHING, json.loads(json.dumps(found.given))).given == found.given


@pytest.mark.parametrize("role, name, value, says", [
    ("resolver", "disabled", "maybe", "resolver_disabled is 'maybe'; expected true or false"),
    ("resolver", "disabled", "", "resolver_disabled is ''; expected true or false"),
    ("resolver", "disabled", 2, "resolver_disabled is 2; expected true or false"),
    ("resolver", "disabled", [], "resolver_disabled is a list; expected true or false"),
    ("resolver", "disabled", float("nan"), "resolver_disabled is nan; expected true or false"),
    ("resolver", "disabled", "\x1b[2J", "resolver_disabled is '\\x1b[2J'; expected true or false"),
    ("uplink", "prefix", "many", "uplink_prefix is 'many'; expected a whole number"),
    ("uplink", "prefix", True, "uplink_prefix is true; expected a whole number"),
    ("uplink", "prefix", 1.5, "uplink_prefix is 1.5; expected a whole number"),
    ("uplink", "prefix", "٣٢", "uplink_prefix is '٣٢'; expected a whole number"),
    ("uplink", "prefix", GIANT, "uplink_prefix is a number of 16610 bits; expected a whole number"),
    ("uplink", "prefix", "9" * 5000, "expected a whole number"),
    # YAML takes these for something else.
    ("xkb", "layout", False, "xkb_layout is false; expected text: YAML takes what is written for something else, so put it in quotes"),
    ("uplink", "mac", 41134954350, "uplink_mac is 41134954350; expected text"),
    ("timezone", "zone", datetime.date(2026, 1, 1), "timezone_zone is a value of the type date; expected text"),
    ("timezone", "zone", "\ud800", "expected text that can be written as UTF-8"),
    ("resolver", "servers", [1.1], "resolver_servers: entry 1 is 1.1; expected text"),
    ("resolver", "servers", ["10.0.0.1", None], "resolver_servers: entry 2 is null; expected text"),
    ("resolver", "servers", ["10.0.0.1", ""], "resolver_servers: entry 2 is ''; expected text that is not empty"),
    ("resolver", "servers", {"a": "b"}, "resolver_servers is a mapping; expected a list, or text with commas between its parts"),
    ("resolver", "servers", "['10.0.0.1']", "what begins with [ has to be JSON"),
    ("resolver", "servers", "[" * 100000, "what begins with [ has to be JSON"),
    ("resolver", "servers", "[%s]" % ("9" * 5000), "resolver_servers"),
    ("services", "states", {"cups": "maybe"}, "services_states: the state of 'cups' is 'maybe'; expected true or false"),
    ("services", "states", {"cups": None}, "services_states: the state of 'cups' is null; expected true or false"),
    ("services", "states", {False: True}, "services_states: the name is false; expected text"),
    ("services", "states", {"../x": True}, "services_states: the name '../x' is refused: expected a service name"),
    ("services", "states", "cups", "services_states is 'cups'; expected a dictionary of names, each with true or false"),
    ("services", "states", ["cups"], "services_states is a list; expected a dictionary"),
    ("services", "units", {"my": 5}, "services_units: the units of 'my' is 5; expected a list"),
    ("services", "units", "my", "services_units is 'my'; expected a dictionary of names, each with a list of units"),
    ("display", "monitors", 5, "display_monitors is 5; expected a list of monitors"),
    ("display", "monitors", [{"width": GIANT, "height": 600}], "width is a number of 16610 bits"),
    ("display", "monitors", "9" * 5000 + "x600+0+0", "display_monitors"),
    ("display", "monitors", [[]], "display_monitors"),
    ("display", "depth", "deep", "display_depth is 'deep'; expected a whole number"),
    ("display", "memory_overhead", [], "display_memory_overhead is a list; expected a whole number"),
    ("display", "driver", "../x", "display_driver is not a name"),
    ("vm_config", "files", "proxy", "vm_config_files: entry 1 is 'proxy'; expected a list of dictionaries with name, dest"),
    ("vm_config", "files", [{"name": "a"}], "vm_config_files: entry 1 is a mapping; expected a list of dictionaries with name, dest"),
    ("vm_config", "files", [{"name": "a", "dest": None}], "vm_config_files: entry 1 is null; expected text"),
    ("vm_config", "files", [{"name": "a", "dest": "/b", "mdoe": "0600"}], "vm_config_files: entry 1 is a mapping"),
    ("vm_config", "files", [{"name": "a", "dest": "/b", "mode": 416}], "vm_config_files: entry 1 is 416; expected text: YAML takes"),
    ("vm_config", "files", [{"name": "a", "dest": "/b", "mode": "u=rw"}], "vm_config_files: the mode 'u=rw' is refused: expected octal digits"),
    ("vm_config", "files", [{"name": "a", "dest": "/b/../c"}], "vm_config_files: the dest '/b/../c' is refused: expected an absolute path"),
    ("vm_config", "files", [{"name": "a", "dest": "/b"}, {"name": "c", "dest": "/b"}], "vm_config_files: two entries have the same dest"),
    ("vm_config", "files", [{"name": "a", "dest": "/b", "absent": "gone"}], "vm_config_files: the absent 'gone' is refused: expected keep or remove"),
    ("vm_config", "files", [{"name": "a", "dest": "/b", "value": "x"}], "vm_config_files: entry 1 is a mapping"),
    ("timezone", "zoen", "UTC", "the role has no variable 'timezone_zoen'; its variables are timezone_zone"),
    ("uplink", "interface", "eth0; reboot", "uplink_interface: the value 'eth0; reboot' is refused"),
    ("uplink", "ip", "10.0.0.999", "the value '10.0.0.999' is refused for what key qubes-ip would hold: expected an IPv4 address"),
    ("xkb", "keymap", "\x00", "is refused for what key qubes-keyboard would hold"),
], ids=short)
def test_anything_else_is_one_error(role, name, value, says):
    refusals = role_of(role, NOTHING, {name: value}).refusals
    assert len(refusals) == 1 and says in refusals[0], refusals
    assert refusals[0].isprintable() and len(refusals[0]) < 700


ANYTHING = strategies.recursive(
    strategies.one_of(strategies.none(), strategies.booleans(), strategies.integers(), strategies.floats(), strategies.text(),
                      strategies.just(0).map(lambda dummy: GIANT)),
    lambda inner: strategies.one_of(strategies.lists(inner), strategies.dictionaries(strategies.one_of(strategies.text(), strategies.integers()), inner)))


@pytest.mark.parametrize("role, name", [(role, name) for role, module in ROLES.items() for name in module.VARIABLES])
@given(value=ANYTHING)
def test_no_value_of_a_play_ends_in_a_traceback(role, name, value):
    for each in role_of(role, NOTHING, {name: value}).refusals:
        assert escape(each) == each


def test_what_is_null_is_made_of_the_keys_and_what_is_empty_is_not():
    found = {**NOTHING, "config": {"timezone": "Europe/Warsaw"}}
    assert role_of("timezone", found, {"zone": None}).variables == {"zone": "Europe/Warsaw"}
    assert role_of("timezone", found, {"zone": None}).given == {}
    assert role_of("timezone", found, {"zone": ""}).variables == {"zone": ""}


@pytest.mark.parametrize("role, variables, key, matters", [
    ("timezone", {}, "qubes-timezone", True),
    ("timezone", {}, "vm-config/timezone", True),
    ("timezone", {}, "vm-config/proxy", False),
    # What the play gives is made of no key.
    ("timezone", {"zone": "UTC"}, "qubes-timezone", False),
    ("resolver", {"servers": []}, "qubes-primary-dns", False),
    ("resolver", {"servers": []}, "qubes-service/network-manager", True),
    ("resolver", {}, "qubes-netvm-external-ip", False),
    ("uplink", {}, NET + "ip", True),
    ("uplink", {}, NET.upper().replace("NET-CONFIG", "net-config") + "ip", True),
    ("uplink", {}, "net-config/00:16:3e:00:00:99/ip", False),
    ("uplink", {}, "qubes-netvm-gateway", False),
    ("uplink", {}, "qubes-primary-dns", False),
    ("uplink", {"prefix": 24}, "qubes-netmask", False),
    ("dns_redirect", {}, "qubes-netvm-external-ip", False),
    ("dns_redirect", {}, "qubes-netvm-netmask", False),
    ("dns_redirect", {}, "qubes-netvm-domainid", False),
    ("dns_redirect", {}, "qubes-netvm-gateway6", True),
    ("dns_redirect", {}, "qubes-primary-dns", True),
    ("dns_redirect", {"default_upstreams": []}, "qubes-primary-dns", False),
    ("services", {}, "qubes-service/cups", True),
    ("services", {"states": {}}, "qubes-service/cups", False),
    ("display", {}, "vm-config/monitors", True),
    ("display", {"memory_min": 0}, "qubes-gui-videoram-min", False),
    ("xkb", {"model": "pc104"}, "keyboard-layout", True),
    ("vm_config", {}, "vm-config/proxy", False),
    ("vm_config", {"files": [{"name": "proxy", "dest": "/etc/proxy"}]}, "vm-config/proxy", True),
    ("vm_config", {"files": [{"name": "proxy", "dest": "/etc/proxy"}]}, "vm-config/proxy2", False),
], ids=short)
def test_the_keys_that_matter_are_those_that_are_read(role, variables, key, matters):
    config = {"network": {"mac": "00:16:3e:5e:6c:00"}}
    bad = {"config": config, "invalid": {key: {"value": "'x'", "reason": "expected y"}}, "denied": []}
    assert role_of(role, bad, variables).refusals == (["key %s: the value 'x' is refused: expected y" % key] if matters else [])
    denied = {"config": config, "invalid": {}, "denied": [key]}
    assert role_of(role, denied, variables).refusals == (["key %s: it may not be read here" % key] if matters else [])
