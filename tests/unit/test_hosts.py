# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The host name in /etc/hosts: which line has it, and that all else stays."""

from __future__ import annotations

import re

import pytest
from ansible_collections.qubes.vmconfig.plugins.module_utils._asking import answer, question
from ansible_collections.qubes.vmconfig.plugins.module_utils._errors import Refused
from ansible_collections.qubes.vmconfig.plugins.module_utils._hosts import with_name
from ansible_collections.qubes.vmconfig.plugins.module_utils._tree import Unplaced
from ansible_collections.qubes.vmconfig.plugins.module_utils._values import hostname
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize("before, after", [
    ("127.0.1.1 old\n", "127.0.1.1 work\n"),
    ("127.0.1.1\told.corp.example\told \n", "127.0.1.1\told.corp.example\twork \n"),
    ("127.0.1.1 old # mine\n", "127.0.1.1 work # mine\n"),
    ("  127.0.1.1 old", "  127.0.1.1 work"),
    ("127.0.1.1 old\r\n", "127.0.1.1 work\r\n"),
    # A line without a name, and one that has none but those of the loopback.
    ("127.0.1.1\n", "127.0.1.1 work\n"),
    ("127.0.1.1 localhost\n", "127.0.1.1 localhost work\n"),
    # It has the name, wherever.
    ("127.0.1.1 work alias\n", "127.0.1.1 work alias\n"),
    ("127.0.1.1 alias\n127.0.1.1 work\n", "127.0.1.1 alias\n127.0.1.1 work\n"),
    # The first of them alone.
    ("127.0.1.1 old\n127.0.1.1 mine\n", "127.0.1.1 work\n127.0.1.1 mine\n"),
    # There is none.
    ("127.0.0.1 localhost\n", "127.0.0.1 localhost\n127.0.1.1 work\n"),
    ("127.0.0.1 localhost", "127.0.0.1 localhost\n127.0.1.1 work"),
    ("#127.0.1.1 old\n127.0.1.10 x\n", "#127.0.1.1 old\n127.0.1.10 x\n127.0.1.1 work\n"),
    ("127.0.1.1 # old\n", "127.0.1.1 work # old\n"),
    ("\n", "\n127.0.1.1 work\n"),
    # The file is its owner's.
    ("", ""),
])
def test_of_debian_it_is_the_line_of_127_0_1_1(before, after):
    assert with_name(before, "work", "Debian") == after


LOOPBACK = "127.0.0.1   localhost localhost.localdomain localhost4 localhost4.localdomain4%s\n::1         localhost localhost.localdomain localhost6%s\n"


@pytest.mark.parametrize("before, after", [
    (LOOPBACK % ("", ""), LOOPBACK % (" work", " work")),
    (LOOPBACK % (" old", " old"), LOOPBACK % (" work", " work")),
    (LOOPBACK % (" work", " work"), LOOPBACK % (" work", " work")),
    # As one has it who wants no trackers.
    (LOOPBACK % ("", "") + "127.0.0.1 tracker.example\n", LOOPBACK % (" work", " work") + "127.0.0.1 tracker.example\n"),
    ("::1 ip6-localhost ip6-loopback\n127.0.1.1 old\n", "::1 ip6-localhost ip6-loopback work\n127.0.1.1 old\n127.0.0.1 localhost work\n"),
    ("# none\n", "# none\n127.0.0.1 localhost work\n::1 localhost work\n"),
    ("# none", "# none\n127.0.0.1 localhost work\n::1 localhost work"),
])
@pytest.mark.parametrize("family", ["RedHat", "Archlinux"])
def test_elsewhere_it_is_those_of_127_0_0_1_and_of_1(family, before, after):
    assert with_name(before, "work", family) == after


PARTS = st.lists(st.sampled_from(["127.0.0.1", "127.0.1.1", "::1", "localhost", "old", "work", " ", "\t", "\n", "#", "\r", "é"]), max_size=40)


@given(PARTS, st.sampled_from(["Debian", "RedHat"]))
def test_once_is_enough_and_lines_of_other_addresses_stay_in_their_order(parts, family):
    text = "".join(parts)
    once = with_name(text, "work", family)
    assert with_name(once, "work", family) == once
    addresses = ["127.0.1.1"] if family == "Debian" else ["127.0.0.1", "::1"]

    def others(text):
        return [line for line in text.split("\n") if line.partition("#")[0].split()[:1] not in [[address] for address in addresses]]

    assert others(once) == others(text)


@pytest.mark.parametrize("last", ["localhost4.localdomain4", "old"])
def test_the_agent_leaves_the_line_as_it_is_then(last):
    """It takes the last word of the line for the host name, whatever it is."""
    text = with_name("127.0.0.1 localhost %s\n::1 localhost %s\n" % (last, last), "work", "RedHat")
    for address in (r"127\.0\.0\.1", "::1"):
        assert [re.sub(r"^(%s(\s.*)*\s).*$" % address, r"\1work", line) for line in text.split("\n")] == text.split("\n")


def test_the_machine_is_asked_where_there_is_a_name(tmp_path):
    (tmp_path / "etc").mkdir()
    hosts = tmp_path / "etc" / "hosts"
    hosts.write_text("127.0.1.1 old\n")
    assert question("hostname", hostname.values({}), str(tmp_path), "Debian") is None
    variables = hostname.values({"name": "work"})
    asked = question("hostname", variables, str(tmp_path), "Debian")
    assert (asked.module, asked.options) == ("hosts_info", {"name": "work", "root": str(tmp_path), "family": "Debian"})
    assert answer("hostname", variables, asked.ask()) == ({"hosts": "127.0.1.1 work\n"}, [], [])
    hosts.write_bytes(b"10.0.0.1 b\xe4r\n")
    with pytest.raises(Refused, match="^/etc/hosts is not UTF-8, so its other lines cannot be kept$"):
        asked.ask()
    hosts.write_text("#" * ((1 << 20) + 1))
    with pytest.raises(Unplaced, match="etc/hosts' cannot be read: it has 1048577 bytes, and 1048576 are the most"):
        asked.ask()
    hosts.unlink()
    assert asked.ask() == {"text": ""}
