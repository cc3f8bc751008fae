# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names of variables that are mistaken for those of the roles and playbooks, and those that are not."""

from __future__ import annotations

import pathlib
import re

import pytest
import yaml
from ansible_collections.qubes.vmconfig.plugins.plugin_utils._variables import known, misnamed

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
MISTAKES = {
    "vmconfig_decleration": "vmconfig_declaration", "vmconfig_host": "vmconfig_hosts", "vmconfig_destdirs": "vmconfig_destdir",
    "vmconfig_takeover": "vmconfig_take_over", "vmconfig_keyshost": "vmconfig_keys_host", "vmconfig_notifies": "vmconfig_notify",
    "audit_fail_on_drfit": "audit_fail_on_drift", "audit_setting": "audit_settings", "audit_livestore": "audit_live_store",
    "timezone_zon": "timezone_zone", "xkb_layuot": "xkb_layout", "xkb_varaint": "xkb_variant", "resolver_server": "resolver_servers",
    "services_state": "services_states", "dns_redirect_upstream": "dns_redirect_upstreams", "vm_config_file": "vm_config_files",
    "display_monitor": "display_monitors", "uplink_gatewy": "uplink_gateway", "vm_config_declaration": "vmconfig_declaration",
}
# What other people's playbooks may well have.
OTHERS = ["services_enabled", "display_manager", "timezone_name", "xkb_comment", "resolver_search_path", "uplink_speed", "display_resolution_of_room",
          "dns_redirect_owner", "servicesx", "my_vmconfig_destdirs",
          "ansible_host", "read_keys_config", "read_keys_changed", "__xkb_layout", "auditd_rules", "vm_config"]


@pytest.mark.parametrize("name, meant", MISTAKES.items())
def test_a_mistake_names_the_nearest(name, meant):
    assert misnamed({"work": [name]}) == ["there is no variable %s, which is set for work: the nearest is %s" % (name, meant)]


@pytest.mark.parametrize("name", ["vmconfig_", "vmconfig_qqqqqqqqq", "audit_9"])
def test_a_name_of_ours_that_is_near_to_none_is_one_too(name):
    assert misnamed({"work": [name]}) == [
        "there is no variable %s, which is set for work: docs/roles.md of the collection names those that there are" % name]


def test_what_there_is_and_what_is_of_others():
    assert misnamed({"work": OTHERS + sorted(known())}) == []
    assert "" not in known()


def test_where_it_is_set_is_said():
    sentence, = misnamed({host: ["xkb_layuot"] for host in ("a\x1b", "b", "c", "d", "e")})
    assert "which is set for a\\x1b, b, c and 2 more:" in sentence
    assert len(misnamed({"a": ["vmconfig_" + "x" * 100000]})[0]) < 500


def test_every_variable_of_a_role_is_known():
    for spec in ROOT.glob("roles/*/meta/argument_specs.yml"):
        assert set(yaml.safe_load(spec.read_text())["argument_specs"]["main"]["options"]) <= known()


def test_the_playbooks_use_no_other_and_the_page_names_each():
    playbooks = set().union(*(spec["options"] for spec in yaml.safe_load((ROOT / "playbooks/meta/argument_specs.yml").read_text())["argument_specs"].values()))
    files = [*ROOT.glob("playbooks/*.yml"), *ROOT.glob("playbooks/templates/*")]
    used = set().union(*(re.findall(r"(?<![\w])((?:vmconfig|audit)_\w+)", path.read_text()) for path in files))
    assert used <= playbooks
    page = (ROOT / "docs" / "roles.md").read_text()
    assert {name for name in playbooks if "`%s" % name not in page} == set()
