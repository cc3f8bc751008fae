# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What puts files where they belong, on trees that somebody prepared: links that lead out, and what is no regular file."""

from __future__ import annotations

import os
import pathlib
import socket

import pytest
from ansible_collections.qubes.vmconfig.plugins.module_utils._filespec import File
from ansible_collections.qubes.vmconfig.plugins.module_utils._placing import Place, Rules, Unplaced, settle
from harness import within

SECRET = "root:$6$secret:19000:0:99999:7:::\n"


@pytest.fixture(name="outside")
def folder_outside(tmp_path):
    """What no root may reach: a file that only its owner may read, one for all, and a folder."""
    outside = tmp_path / "outside"
    (outside / "folder").mkdir(parents=True)
    (outside / "shadow").write_text(SECRET)
    (outside / "shadow").chmod(0o600)
    (outside / "public").write_text("public\n")
    return outside


@pytest.fixture(name="root")
def fresh_root(tmp_path):
    (tmp_path / "root" / "etc").mkdir(parents=True)
    return tmp_path / "root"


def listing(folder: pathlib.Path):
    return sorted((str(path.relative_to(folder)), os.readlink(path) if path.is_symlink() else path.read_text() if path.is_file() else "")
                  for path in folder.rglob("*"))


# -- links: the way, and where it leads; {outside} is a folder beside the root. Add yours --

OUT = {
    "absolute": {"etc/X11": "{outside}/folder"},
    "up": {"etc/X11": "../../outside/folder"},
    "further up than there is": {"etc/X11": "../../../../../../../../..{outside}/folder"},
    "by another link": {"etc/X11": "other", "etc/other": "{outside}/folder"},
    "in the middle": {"etc/X11": "../way/folder", "way": "{outside}"},
    "of the folder above": {"etc": "{outside}"},
    "to the root of all": {"etc/X11": "/"},
    "round in a circle": {"etc/X11": "other", "etc/other": "X11"},
    "to itself": {"etc/X11": "X11"},
    "by proc": {"etc/X11": "/proc/self/root{outside}/folder"},
}


def link(root, outside, links):
    for path, target in links.items():
        place = root / path
        if place.is_dir() and not place.is_symlink():
            place.rmdir()
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(target.format(outside=outside))


@pytest.mark.parametrize("links", OUT.values(), ids=OUT)
def test_nothing_is_written_or_looked_at_by_a_link_that_leads_out(root, outside, links):
    link(root, outside, links)
    (outside / "folder" / "there").write_text("there\n")
    (outside / "X11").mkdir()
    (outside / "X11" / "there").write_text("there\n")
    before = listing(outside)
    place = Place(str(root))
    for check in (True, False):
        try:
            place.put(File("/etc/X11/x.conf", "ours\n"), check)
        except Unplaced as error:
            assert "/etc/X11/x.conf" in str(error) and "as it was" in str(error)
    assert listing(outside) == before
    assert not place.exists("/etc/X11/there")
    try:
        assert place.read("/etc/X11/there") == ""
    except Unplaced:
        pass
    # What was written is in the root, and is not where only this machine's root is.
    assert all("x.conf" not in path or str(root.resolve()) in str((root / path).resolve()) for path, dummy in listing(root))


@pytest.mark.parametrize("target", ["{outside}/shadow", "../../outside/shadow", "/etc/shadow", "../../../../../../../../etc/shadow", "/proc/self/environ"])
def test_no_secret_of_this_machine_is_read_by_a_link(root, outside, target):
    link(root, outside, {"etc/vconsole.conf": target})
    assert Place(str(root)).read("/etc/vconsole.conf") == ""


@pytest.mark.parametrize("target", ["shadow", "/etc/shadow", "../etc/shadow", "/etc/other"])
def test_no_secret_of_the_tree_is_read_by_a_link(root, outside, target):
    (root / "etc" / "shadow").write_text(SECRET)
    (root / "etc" / "shadow").chmod(0o640)
    link(root, outside, {"etc/vconsole.conf": target, "etc/other": "shadow"})
    with pytest.raises(Unplaced, match="vconsole.conf' cannot be read: a symbolic link leads to a file that not everybody may read"):
        Place(str(root)).read("/etc/vconsole.conf")


def test_a_link_in_the_tree_means_the_tree(root, outside):
    """As Qubes has it in a netvm: connections are below /rw; and as all have it: /sbin is below /usr."""
    (root / "rw/config/connections").mkdir(parents=True)
    (root / "usr/sbin").mkdir(parents=True)
    (root / "usr/sbin/ifup").write_text("")
    link(root, outside, {"etc/NetworkManager/system-connections": "/rw/config/connections", "sbin": "usr/sbin", "etc/os-release": "../usr/lib/os-release"})
    (root / "usr/lib").mkdir()
    (root / "usr/lib/os-release").write_text("ID=debian\n")
    place = Place(str(root))
    assert place.put(File("/etc/NetworkManager/system-connections/it", "it\n"))
    assert (root / "rw/config/connections/it").read_text() == "it\n"
    assert place.kind("/sbin/ifup") == "file" and place.kind("/sbin") == "link"
    assert place.read("/etc/os-release") == "ID=debian\n"


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o1777])
def test_a_link_that_somebody_else_may_have_put_there_is_not_followed_to_write(root, outside, mode):
    (root / "home/user").mkdir(parents=True)
    (root / "home/user").chmod(mode)
    (root / "etc/secret.d").mkdir()
    link(root, outside, {"home/user/config": "/etc/secret.d"})
    for check in (True, False):
        with pytest.raises(Unplaced, match="'config' in its path is a symbolic link, which somebody else may have put there"):
            Place(str(root)).put(File("/home/user/config/it", "it\n"), check)
    assert not list((root / "etc/secret.d").iterdir())


def test_a_link_that_leads_nowhere_is_refused(root, outside):
    link(root, outside, {"etc/X11": "/nowhere/else"})
    for check in (True, False):
        with pytest.raises(Unplaced, match="a symbolic link in its path leads to 'nowhere', which is not there"):
            Place(str(root)).put(File("/etc/X11/xorg.conf.d/x.conf", "x\n"), check)
    assert not (root / "nowhere").exists()


@pytest.mark.parametrize("dest", ["/etc/../../outside/it", "/etc/./it", "etc//it", "/", "", "/etc/it/", "/etc/it/.."])
def test_a_path_that_is_none_is_refused(root, outside, dest):
    before = listing(root.parent)
    try:
        Place(str(root)).put(File(dest, "x\n"))
    except Unplaced:
        assert listing(root.parent) == before
    else:
        # A slash at the end is that of no file, and does no harm.
        assert dest == "/etc/it/" and (root / "etc/it").read_text() == "x\n"


def test_a_link_in_place_of_the_file_is_replaced(root, outside):
    link(root, outside, {"etc/resolv.conf": str(outside / "public")})
    change = Place(str(root)).put(File("/etc/resolv.conf", "nameserver 10.139.1.1\n"))
    assert change.before.kind == "link" and (outside / "public").read_text() == "public\n"
    assert (root / "etc/resolv.conf").read_text() == "nameserver 10.139.1.1\n" and not (root / "etc/resolv.conf").is_symlink()


# -- what is no regular file: how it is made. Add yours --


def as_socket(path):
    # Its name may be longer than a socket's.
    here = os.getcwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def as_large(path):
    with open(path, "wb") as stream:
        stream.truncate(1 << 30)


def as_link_to_fifo(path):
    os.mkfifo(str(path) + ".fifo")
    path.symlink_to(path.name + ".fifo")


def as_device(path):
    try:
        os.mknod(path, 0o20666, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("who is not root makes no device")


STRANGE = {"fifo": os.mkfifo, "directory": os.mkdir, "socket": as_socket, "large": as_large, "link to a fifo": as_link_to_fifo, "device": as_device}


@pytest.mark.parametrize("make", STRANGE.values(), ids=STRANGE)
def test_what_is_no_regular_file_is_named_and_not_opened(root, make):
    make(root / "etc/vconsole.conf")
    said = "etc/vconsole.conf' cannot be read: it (is no regular file|has 1073741824 bytes, and 1048576 are the most)"
    with within(2.0), pytest.raises(Unplaced, match=said):
        Place(str(root)).read("/etc/vconsole.conf")


@pytest.mark.parametrize("make", STRANGE.values(), ids=STRANGE)
def test_what_is_no_regular_file_and_no_link_is_not_replaced(root, make):
    path = root / "etc/timezone"
    make(path)
    kept = make not in (as_large, as_link_to_fifo)
    for check in (True, False):
        with within(2.0):
            try:
                Place(str(root)).put(File("/etc/timezone", "UTC\n"), check)
            except Unplaced as error:
                assert kept and ("it is a directory" in str(error) or "it is neither a regular file nor a symbolic link" in str(error))
            else:
                assert not kept
    assert kept or path.read_text() == "UTC\n"


@pytest.mark.parametrize("make", [each for each in STRANGE.values() if each is not os.mkdir], ids=[each for each in STRANGE if each != "directory"])
def test_what_protects_files_is_a_regular_file(root, make):
    (root / "etc/qubes/protected-files.d").mkdir(parents=True)
    make(root / "etc/qubes/protected-files.d/mine")
    with within(2.0), pytest.raises(Unplaced, match="protected-files.d/mine"):
        Place(str(root)).protected()


@pytest.mark.parametrize("make", STRANGE.values(), ids=STRANGE)
def test_what_is_no_folder_holds_nothing_that_protects(root, make):
    (root / "etc/qubes").mkdir()
    make(root / "etc/qubes/protected-files.d")
    with within(2.0):
        assert Place(str(root)).protected() == frozenset()


# -- the rules --


def test_all_is_looked_at_before_the_first_is_written(root):
    os.mkfifo(root / "etc/second")
    with pytest.raises(Unplaced):
        settle(Place(str(root)), [File("/etc/first", "x\n"), File("/etc/second", "x\n")], Rules())
    with pytest.raises(Unplaced):
        settle(Place(str(root)), [File("/etc/first", "x\n"), File("/etc/third", "x\n", owner="nobody-of-that-name")], Rules())
    assert sorted(path.name for path in (root / "etc").iterdir()) == ["second"]


def test_who_takes_over_tells_the_agent_and_who_does_not_takes_it_back(root):
    place, own = Place(str(root)), root / "etc/qubes/protected-files.d/qubes-vmconfig"
    files = [File("/etc/timezone", "UTC\n", agent=True), File("/etc/localtime", link="x", protected_by=("/etc/timezone", "/etc/localtime"), agent=True),
             File("/etc/ours", "ours\n")]

    def settled(**more):
        done = settle(place, files, Rules(place.protected(), agent=True, **more))
        return [change.dest for change in done.changes], [change.dest for change in done.left], done.protected

    assert settled() == (["/etc/ours"], ["/etc/timezone", "/etc/localtime"], [])
    assert settled(take_over=True) == (["/etc/qubes/protected-files.d/qubes-vmconfig", "/etc/timezone", "/etc/localtime"], [], [])
    assert own.read_text() == "/etc/timezone\n"
    assert settled(take_over=True) == ([], [], [])
    # Who moves to what lasts where /etc is lost leaves the other as it is.
    assert settled() == (["/etc/qubes/protected-files.d/qubes-vmconfig"], [], [])
    assert not own.exists()
    (own.parent / "mine").write_text("/etc/localtime\n/etc/ours")
    (root / "etc/ours").unlink()
    assert settled(take_over=True)[2] == ["/etc/localtime", "/etc/ours"]
    assert not (root / "etc/ours").exists()


def test_a_root_that_is_not_there_is_made(root):
    place = Place(str(root / "new" / "one"))
    assert place.put(File("/etc/x", "x\n"), True) and not (root / "new").exists()
    assert place.put(File("/etc/x", "x\n")) and (root / "new/one/etc/x").read_text() == "x\n"
    assert not place.put(File("/etc/x", "x\n"))


@pytest.mark.parametrize("umask", [0o077, 0o027, 0o777, 0])
def test_folders_that_are_made_can_be_entered_whatever_the_umask(root, umask):
    before = os.umask(umask)
    try:
        assert Place(str(root / "new")).put(File("/etc/one/two/x", "x\n"))
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    assert {oct(path.stat().st_mode & 0o7777) for path in (root / "new", *(root / "new").rglob("*")) if path.is_dir()} == {"0o755"}


def test_what_is_right_is_not_touched_and_what_is_not_becomes_so(root):
    place, path = Place(str(root)), root / "etc/x"
    for wanted in (File("/etc/x", "x\n"), File("/etc/x", "x\n", mode="0600"), File("/etc/x", link="y"), File("/etc/x", absent=True), File("/etc/x", "")):
        assert place.put(wanted, True) and place.put(wanted)
        before = os.lstat(path) if os.path.lexists(path) else None
        assert not place.put(wanted, True) and not place.put(wanted)
        assert (os.lstat(path) if before else None) == before
    assert [path.name for path in (root / "etc").iterdir()] == ["x"]
