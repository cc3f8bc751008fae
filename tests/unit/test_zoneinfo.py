# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which zones a tree has: what is no zone is refused, and no link is followed that leads out of its zoneinfo."""

from __future__ import annotations

import os

import pytest
from ansible_collections.qubes.vmconfig.plugins.module_utils import _zoneinfo
from hypothesis import given, settings
from hypothesis import strategies as st

COMPILED = b"TZif2" + b"\0" * 80
# As Debian 13 has it: some names are links, and old ones are in a package of their own.
NAMES = b"# version 2026c\nR d 1916 o - Jun 14 23s 1 S\nZ Europe/Warsaw 1:24 - LMT 1880\nL America/New_York US/Eastern\nL Europe/Warsaw Poland\n"


@pytest.fixture(name="root")
def a_tree(tmp_path):
    """A tree with a zoneinfo, and beside it what no zone may lead to."""
    zoneinfo = tmp_path / "root" / "usr" / "share" / "zoneinfo"
    for name in ("Europe/Warsaw", "America/New_York", "Factory", "posix/Europe/Warsaw", "right/Europe/Warsaw", "Etc/UTC"):
        (zoneinfo / name).parent.mkdir(parents=True, exist_ok=True)
        (zoneinfo / name).write_bytes(COMPILED)
    (zoneinfo / "tzdata.zi").write_bytes(NAMES)
    (tmp_path / "root" / "etc").mkdir()
    (tmp_path / "root" / "etc" / "localtime").symlink_to("../usr/share/zoneinfo/Europe/Warsaw")
    (tmp_path / "outside").write_bytes(COMPILED)
    (zoneinfo / "localtime").symlink_to("/etc/localtime")
    (zoneinfo / "posixrules").symlink_to("America/New_York")
    return tmp_path / "root"


def link(root, name, target):
    (root / "usr" / "share" / "zoneinfo" / name).symlink_to(target)


@pytest.mark.parametrize("zone, target", [
    ("Europe/Warsaw", None),
    ("UTC", "Etc/UTC"),
    ("Europe/Poland", "../Europe/Warsaw"),
    ("Here", "/usr/share/zoneinfo/Europe/Warsaw"),
    ("Far", "Europe"),  # with /Warsaw behind it
    ("Dots", "./Europe/../Europe//Warsaw"),
])
def test_a_zone_and_links_to_one(root, zone, target):
    if target:
        link(root, zone, target)
    assert _zoneinfo.objection(str(root), "Far/Warsaw" if zone == "Far" else zone) == ""


def test_hard_links_and_chains_of_links(root):
    zoneinfo = root / "usr" / "share" / "zoneinfo"
    os.link(str(zoneinfo / "Europe" / "Warsaw"), str(zoneinfo / "Poland"))
    for number in range(10):
        link(root, "Chain%d" % number, "Chain%d" % (number + 1) if number < 9 else "Poland")
    assert _zoneinfo.objection(str(root), "Poland") == _zoneinfo.objection(str(root), "Chain0") == ""


@pytest.mark.parametrize("zone", ["localtime", "posixrules", "Factory", "posix/Europe/Warsaw", "right/Europe/Warsaw", "right/UTC"])
def test_what_nobody_sets(root, zone):
    assert "is no zone that a machine is set to; expected a zone" in _zoneinfo.objection(str(root), zone)


@pytest.mark.parametrize("target", [
    "/etc/localtime", "../../../etc/localtime", "../../../../outside", "../zoneinfo/Europe/Warsaw", "/usr/share/zoneinfo/../../../etc/localtime",
    "/usr/share/zoneinfo2/x", "localtime", "Loop", "/proc/self/root/usr/share/zoneinfo/Etc/UTC", "Europe", "tzdata.zi", "nowhere", "",
])
def test_no_link_leads_out(root, target):
    if target:
        link(root, "Loop", target)
    assert "there is no such zone in %s/usr/share/zoneinfo; expected a zone" % root in _zoneinfo.objection(str(root), "Loop")


@pytest.mark.parametrize("zone", [
    "../../../etc/localtime", "Europe/../../../../../outside", "/etc/localtime", "Europe", "", ".", "tzdata.zi", "Europe/Warsaw/x"])
def test_no_name_leads_out(root, zone):
    assert _zoneinfo.objection(str(root), zone) != ""


def test_only_a_regular_file_is_opened(root):
    zoneinfo = root / "usr" / "share" / "zoneinfo"
    os.mkfifo(str(zoneinfo / "Fifo"))
    (zoneinfo / "Empty").write_bytes(b"")
    (zoneinfo / "Short").write_bytes(b"TZif2")
    with open(str(zoneinfo / "Huge"), "wb") as stream:
        stream.write(COMPILED)
        stream.truncate(1 << 30)
    for name in ("Fifo", "Empty", "Short", "Huge"):
        assert "there is no such zone" in _zoneinfo.objection(str(root), name)


def test_the_tree_is_not_left_for_its_zoneinfo(root, tmp_path):
    (tmp_path / "bare" / "usr" / "share").mkdir(parents=True)
    for target, said in (("../../../root/usr/share/zoneinfo", "is a link that leads out of"), (root / "usr/share/zoneinfo", "there is no")):
        (tmp_path / "bare" / "usr" / "share" / "zoneinfo").symlink_to(target)
        assert said in _zoneinfo.objection(str(tmp_path / "bare"), "Europe/Warsaw")
        (tmp_path / "bare" / "usr" / "share" / "zoneinfo").unlink()
    (tmp_path / "bare" / "data").mkdir()
    (tmp_path / "bare" / "data" / "Zone").write_bytes(COMPILED)
    (tmp_path / "bare" / "usr" / "share" / "zoneinfo").symlink_to("/data")
    assert _zoneinfo.objection(str(tmp_path / "bare"), "Zone") == ""
    assert "there is no such zone in %s" % (tmp_path / "bare") in _zoneinfo.objection(str(tmp_path / "bare"), "Europe/Warsaw")


def test_a_tree_without_one_is_measured_by_the_machines(tmp_path):
    assert _zoneinfo.objection(str(tmp_path), "Etc/UTC") == ""
    assert "there is no such zone in /usr/share/zoneinfo;" in _zoneinfo.objection(str(tmp_path), "Argentina/Buenos_Aires")


@pytest.mark.parametrize("zone", ["US/Eastern", "Poland"])
def test_an_old_name_of_debian_names_its_package(root, zone):
    assert "the package tzdata-legacy" in _zoneinfo.objection(str(root), zone, "Debian")
    assert "tzdata-legacy" not in _zoneinfo.objection(str(root), zone, "RedHat")


@pytest.mark.parametrize("zone", ["US/East", "S/Eastern", "US.Eastern", "1:24", "Argentina/Buenos_Aires"])
def test_a_name_that_never_was_does_not(root, zone):
    assert "tzdata-legacy" not in _zoneinfo.objection(str(root), zone, "Debian")


@settings(max_examples=500, deadline=None)
@given(zone=st.text(max_size=60), family=st.sampled_from(["Debian", "RedHat", ""]))
def test_any_text_gets_an_answer(zone, family):
    assert isinstance(_zoneinfo.objection("/", zone, family), str)
