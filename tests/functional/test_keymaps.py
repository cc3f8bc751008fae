# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a keyboard comes to, with the machine's own programs: compared with others of them, and with none of them there."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import time

import packages
import pytest
import qubesdblab
from ansible_collections.qubes.vmconfig.plugins.module_utils._errors import Refused, VmconfigError
from ansible_collections.qubes.vmconfig.plugins.module_utils._xkb import latin, making, rules, running, server
from ansible_collections.qubes.vmconfig.plugins.module_utils._xkb.apart import take_apart
from ansible_collections.qubes.vmconfig.plugins.module_utils._xkb.keyboard import settle
from playing import run
from starting import install, start_on

TOOLS = ("xkbcomp", "setxkbmap", "xkbcli")
RELEASES = ["bookworm", "trixie"]
# They name files that the administrator writes, and no package has.
CUSTOM = ("custom", "custom:types")


def keyboard(layout="", variant="", options="", keymap="", model="pc105"):
    return {"model": model, "layout": layout, "variant": variant, "options": options, "keymap": keymap}


@pytest.fixture(name="display", scope="module")
def display_of_an_x_server():
    reader, writer = os.pipe()
    process = subprocess.Popen(["Xvfb", "-displayfd", str(writer), "-noreset", "-nolisten", "tcp"], pass_fds=[writer], stderr=subprocess.DEVNULL)
    os.close(writer)
    try:
        with open(reader, encoding="ascii") as stream:
            yield ":" + stream.readline().strip()
    finally:
        process.terminate()
        process.wait()


# -- all that the rules have --


def listed(data):
    """Every layout, variant and option of evdev.lst, as keyboards; read again here."""
    found, section = [], ""
    with open(data + "/rules/evdev.lst", encoding="utf-8") as stream:
        for line in stream:
            words = line.split()
            if line.startswith("!"):
                section = words[1]
            elif not words or words[0] in CUSTOM:
                pass
            elif section == "layout":
                found.append(keyboard(words[0]))
            elif section == "variant":
                found.append(keyboard(words[1].rstrip(":"), words[0]))
            elif section == "option" and ":" in words[0]:
                found.append(keyboard("us", "", words[0]))
    return found


def of_setxkbmap(names, display, data):
    # It looks where it is before it looks where its data is.
    options = ["-option", "", "-option", names["options"]] if names["options"] else []
    return subprocess.run(["setxkbmap", "-display", display, "-rules", "evdev", "-model", names["model"], "-layout", names["layout"],
                           "-variant", names["variant"], *options, "-print"],
                          cwd=data, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", timeout=60, check=False).stdout


def of_libxkbcommon(data, *arguments, text=""):
    """A keymap, all spelled out, without the names of its parts, which tell where they are from."""
    whole = subprocess.run(["xkbcli", "compile-keymap", "--include=" + data, *arguments], input=text, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                           encoding="utf-8", timeout=60, check=False).stdout
    return re.sub(r'(?m)^(xkb_\w+) "[^"]*"', r"\1", whole.strip())


def compare(names, text, display, data):
    """What is not as other programs have it."""
    wrong = []
    if text != of_setxkbmap(names, display, data):
        wrong.append(("setxkbmap", names, text))
    known = of_libxkbcommon(data, "--rules=evdev", *["--%s=%s" % (name, names[name]) for name in rules.NAMES])
    if not known or known != of_libxkbcommon(data, "--from-xkb", text=text):
        wrong.append(("libxkbcommon", names, text))
    if latin.shown(known) != latin.listed(names["layout"], names["variant"]):
        wrong.append(("Latin letters", names))
    apart = take_apart(text, names["model"], "/nonexistent")
    if apart["options"] not in ("", names["options"]) or (apart["layout"], apart["variant"]) != (names["layout"], names["variant"]):
        wrong.append(("taken apart without rules", names, apart))
    return wrong


def made_of(all_names, data):
    return [making.printed(parts) for parts in making.parts(all_names, data)]


def differences(all_names, display, data):
    texts = made_of(all_names, data)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        wrong = [each for found in pool.map(lambda pair: compare(*pair, display, data), zip(all_names, texts)) for each in found]
        apart = list(pool.map(lambda pair: take_apart(pair[1], pair[0]["model"], data), zip(all_names, texts)))
    # Two options may add the same; then either is right.
    again = made_of([{**names, **each} for names, each in zip(all_names, apart)], data)
    return wrong + [("taken apart", names, each) for names, each, text, other in zip(all_names, apart, texts, again) if text != other]


@pytest.mark.long
@pytest.mark.parametrize("release", RELEASES)
def test_every_keymap_is_what_other_programs_make(release, display):
    data = packages.files_of("xkb-data", release) + "/usr/share/X11/xkb"
    all_names = listed(data)
    assert len([names for names in all_names if not names["options"]]) > 570 and len([names for names in all_names if names["options"]]) > 195
    assert differences(all_names, display, data) == []


# From the reports, and five of our own for each kind.
DEPENDING = [
    keyboard("de", "neo"), keyboard("jp"), keyboard("de", "", "lv3:ralt_alt"), keyboard("us", "", "misc:typo"), keyboard("us", model="chromebook"),
    keyboard("us,ru", ",phonetic", "grp:alt_shift_toggle,grp_led:scroll,misc:apl"), keyboard("fr", "bepo", "lv5:ralt_switch_lock"),
    keyboard("jp", "kana86", "japan:nicola_f_bs", model="jp106"), keyboard("us", "", "apple:alupckeys", model="macbook79"),
    keyboard("ca", "multi-2gr", "shift:both_capslock"), keyboard("us,de,fr,ru", "dvorak,neo,bepo,", "caps:escape,compose:ralt,terminate:ctrl_alt_bksp"),
]


def test_a_keymap_is_what_other_programs_make(display):
    # The list and the options that no rules tell are for one at a time.
    found = differences(DEPENDING, display, making.DATA)
    assert [each for each in found if each[0] in ("setxkbmap", "libxkbcommon", "taken apart")] == []


@pytest.mark.parametrize("names", DEPENDING[:4], ids=lambda names: names["layout"] + names["variant"] + names["options"])
def test_an_x_server_takes_either_form(names, display, tmp_path, monkeypatch):
    """Both make the same of it: each key has the symbols that setxkbmap gives it."""
    found = []
    for tools in (TOOLS, ("xkbcli",)):
        with monkeypatch.context() as patch:
            patch.setenv("PATH", only(tmp_path / tools[0], tools))
            made = making.from_names(names)
        assert made.objection == "" and made.text.startswith("xkb_keymap {")
        subprocess.run(["xkbcomp", "-w", "0", "-", display], input=made.text, encoding="utf-8", timeout=60, check=True)
        found.append(symbols_of(display))
    options = ["-option", names["options"]] if names["options"] else []
    given = ["-layout", names["layout"], "-variant", names["variant"], "-option", "", *options]
    subprocess.run(["setxkbmap", "-display", display, *given], timeout=60, check=True)
    known = symbols_of(display)
    assert len(known) > 80 and found[0] == known
    assert {key: found[1][key] for key in known if key.startswith(("<A", "<CAPS", "<LSGT", "<RALT", "<TLDE", "<BKSL"))} == {
        key: symbols for key, symbols in known.items() if key.startswith(("<A", "<CAPS", "<LSGT", "<RALT", "<TLDE", "<BKSL"))}


def symbols_of(display):
    text = subprocess.run(["xkbcomp", "-w", "0", "-xkb", display, "-"], stdout=subprocess.PIPE, encoding="utf-8", timeout=60, check=True).stdout
    keys = re.findall(r"key (<\w+>) \{(.*?)\};", text.partition("xkb_symbols")[2], re.S)
    return {key: re.findall(r"\[ *([A-Za-z0-9_, ]+?) *\]", re.sub(r"\s+", " ", said).replace("symbols[Group", "(")) for key, said in keys}


# -- machines that have less --


def only(folder, tools):
    """A PATH with everything that this machine has, but of TOOLS these alone."""
    folder.mkdir()
    for place in ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"):
        for name in os.listdir(place) if os.path.isdir(place) else []:
            if (name not in TOOLS or name in tools) and not os.path.lexists(str(folder / name)):
                os.symlink(os.path.join(place, name), str(folder / name))
    return str(folder)


@pytest.fixture(name="path", scope="module")
def paths_by_what_is_on_them(tmp_path_factory):
    folder = tmp_path_factory.mktemp("path")
    found = {name: only(folder / name, tools) for name, tools in (("all", TOOLS), ("none", ()), ("xkbcli", ("xkbcli",)), ("stuck", ()))}
    (folder / "stuck" / "xkbcomp").write_text("#!/bin/sh\nexec sleep 1000\n")
    (folder / "stuck" / "xkbcomp").chmod(0o755)
    return found


ROLE_KEYS = {
    "ru": {"keyboard-layout": "ru++grp:shifts_toggle"},
    "neo": {"keyboard-layout": "de+neo+"},
    "typo": {"keyboard-layout": "us++misc:typo"},
    "empty-option": {"keyboard-layout": "us,ru+altgr-intl,winkeys+nodeadkeys,,grp:alt_shift_toggle"},
    "esperanto": {"qubes-keyboard": 'xkb_keymap {\\n\\txkb_symbols { include "pc+us+inet(evdev)+epo(qwerty)" };\\n};'},
    "fifo": {"qubes-keyboard": 'xkb_keymap {\\n\\txkb_symbols { include "../../../../../tmp/fifo" };\\n};'},
    "brackets": {"keyboard-layout": "us,bg(phonetic)++grp:shifts_toggle"},
    "five": {"keyboard-layout": "us,de,fr,ru,gr"},
    "unknown": {"keyboard-layout": "zz++"},
    "none": {"keyboard-layout": "ru++grp:shifts_toggle"},
    "korean": {"qubes-keyboard": 'xkb_keymap {\\n\\txkb_symbols { include "pc+kr(kr104)+inet(evdev)+kr(ralt_hangul)" };\\n};'},
    "switch": {"qubes-keyboard": 'xkb_keymap {\\n\\txkb_symbols { include "pc+us+ru:2+inet(evdev)+group(alt_shift_toggle)" };\\n};'},
    "none-keymap": {"qubes-keyboard": 'xkb_keymap {\\n\\txkb_keycodes { include "evdev" };\\n\\txkb_types { include "complete" };\\n'
                                      '\\txkb_compat { include "complete" };\\n\\txkb_symbols { include "pc+kr(kr104)+inet(evdev)+kr(ralt_hangul)" };\\n};'},
    "xkbcli": {"keyboard-layout": "us++misc:typo"},
    "stuck": {"keyboard-layout": "us++"},
}
SAYS = {
    "fifo": "an include names files of the keyboard's data, such as pc+us+inet(evdev), and none by a path",
    "brackets": "write us,bg+,phonetic+grp:shifts_toggle", "five": "four are the most",
    "unknown": 'it does not compile; xkbcomp says: Error: Can\'t find file "zz"',
    "stuck": "it does not compile; xkbcomp says: it had not ended after 10 seconds",
    "none": "nothing here makes a keymap", "none-keymap": "nothing here tells whether the keymap compiles",
}
REFUSED = {"fifo", "brackets", "five", "unknown", "stuck"}
LAYOUTS = {
    "ru": ("ru,us", "", "grp:shifts_toggle"), "neo": ("de", "neo", ""), "typo": ("us", "", "misc:typo"), "esperanto": ("us", "", "esperanto:qwerty"),
    "empty-option": ("us,ru", "altgr-intl,winkeys", "nodeadkeys,grp:alt_shift_toggle"), "none": ("ru,us", "", "grp:shifts_toggle"),
    "korean": ("kr", "kr104", "korean:ralt_hangul"), "switch": ("us,ru", "", "grp:alt_shift_toggle"),
    "none-keymap": ("kr", "kr104", "korean:ralt_hangul"), "xkbcli": ("us", "", "misc:typo"),
}


@pytest.fixture(name="now", scope="module")
def rendered_now(tmp_path_factory, path):
    """What the role wrote for each qube, and said."""
    folder = tmp_path_factory.mktemp("now")
    (folder / "store.json").write_text(json.dumps(ROLE_KEYS))
    hosts = {qube: {"vmconfig_destdir": str(folder / "root" / qube), "path": path.get(qube.partition("-")[0], path["all"])} for qube in ROLE_KEYS}
    (folder / "play.yml").write_text(json.dumps([
        {"hosts": "all", "gather_facts": False, "environment": {"PATH": "{{ path }}"}, "roles": ["qubes.vmconfig.xkb"]}]))
    done = run(folder, "play.yml", {"hosts": hosts, "vars": {"vmconfig_store": "file://%s" % (folder / "store.json"), "vmconfig_family": "Debian"}})
    return folder / "root", done.stdout.decode("utf-8")


@pytest.mark.parametrize("qube", ROLE_KEYS)
def test_a_role_and_a_start_say_and_write_the_same(qube, now, path, tmp_path, monkeypatch):
    roots, said = now
    install(tmp_path, ("xkb",))
    monkeypatch.setenv("PATH", path.get(qube.partition("-")[0], path["all"]))
    with qubesdblab.QubesdbLab() as lab:
        lab.add_own({"qubes-vm-type": "AppVM", **ROLE_KEYS[qube]})
        code, lines = start_on(tmp_path, lab.url)
    at_start = "\n".join(lines)
    assert code == int(qube in REFUSED)
    assert tree(tmp_path, "qubes-vmconfig") == tree(roots / qube)
    assert SAYS.get(qube, "") in at_start and (qube in SAYS or not at_start)
    # Where Ansible prints it, quotes are escaped.
    assert SAYS.get(qube, "") in " ".join(said.replace("\\'", "'").replace('\\"', '"').split())
    assert bool(re.search(r"(?m)^%s +: .*failed=1" % qube, said)) is (qube in REFUSED)


@pytest.mark.parametrize("qube", ROLE_KEYS)
def test_what_the_role_writes(qube, now):
    files = tree(now[0] / qube)
    if qube in REFUSED:
        assert files == {}
        return
    settings = dict(re.findall(r'(?m)^XKB(\w+)="(.*)"$', files["etc/default/keyboard"]))
    assert settings == dict(zip(("MODEL", "LAYOUT", "VARIANT", "OPTIONS"), ("pc105", *LAYOUTS[qube])))
    assert '\tOption "XkbLayout" "%s"\n' % LAYOUTS[qube][0] in files["etc/X11/xorg.conf.d/00-keyboard.conf"]
    # Only a keymap that the key gives is there with nothing that makes one.
    assert ("etc/X11/qubes-keymap.xkb" in files) is (qube != "none")


def tree(folder, *left_out):
    found = {}
    for place, folders, names in os.walk(str(folder)):
        folders[:] = [name for name in folders if name not in left_out]
        for name in names:
            with open(os.path.join(place, name), encoding="utf-8") as stream:
                found[os.path.relpath(os.path.join(place, name), str(folder))] = stream.read()
    return found


# -- members of each kind --


@pytest.mark.parametrize("layout, variant, layouts, variants", [
    ("ru", "", "ru,us", ""), ("bg", "phonetic", "bg,us", "phonetic,"), ("gr", "polytonic", "gr,us", "polytonic,"), ("il", "", "il,us", ""),
    ("ru,ua", "", "ru,ua,us", ""), ("us", "rus", "us,us", "rus,"), ("rs", "", "rs,us", ""), ("jp", "kana", "jp,us", "kana,"),
    ("ru,bg,ua,by", "", "ru,bg,ua,by", ""),
    ("us", "", "us", ""), ("de", "neo", "de", "neo"), ("rs", "latin", "rs", "latin"), ("ru,de", "", "ru,de", ""), ("kr", "kr104", "kr", "kr104"),
    ("us,ru", ",phonetic", "us,ru", ",phonetic"), ("epo", "", "epo", ""), ("tr", "f", "tr", "f"), ("ir", "ku", "ir", "ku"),
])
@pytest.mark.parametrize("tools", ["all", "xkbcli", "none"])
def test_a_latin_layout_stands_beside_others(layout, variant, layouts, variants, tools, path, monkeypatch):
    monkeypatch.setenv("PATH", path[tools])
    settled = settle(keyboard(layout, variant))
    assert (settled.names["layout"], settled.names["variant"], settled.refusal) == (layouts, variants, "")
    assert bool([note for note in settled.notes if "four are the most" in note]) is (layout.count(",") == 3)


PRINTED = ('xkb_keymap {\n\txkb_keycodes { include "%s" };\n\txkb_types { include "complete" };\n'
           '\txkb_compat { include "%s" };\n\txkb_symbols { include "%s" };\n};')


@pytest.mark.parametrize("symbols, compat, names", [
    ("pc+us+inet(evdev)+epo(qwerty)", "complete", ("us", "", "esperanto:qwerty")),
    ("pc+kr(kr104)+inet(evdev)+kr(ralt_hangul)", "complete", ("kr", "kr104", "korean:ralt_hangul")),
    ("pc+us+ru:2+inet(evdev)+group(alt_shift_toggle)", "complete", ("us,ru", "", "grp:alt_shift_toggle")),
    ("pc+us+ru:2+inet(evdev)+group(alt_shift_toggle)", "complete+ledscroll(group_lock)", ("us,ru", "", "grp:alt_shift_toggle,grp_led:scroll")),
    ("pc+epo(legacy)+inet(evdev)+capslock(grouplock)", "complete", ("epo", "legacy", "grp:caps_toggle")),
    ("pc+us+inet(evdev)+typo(base)+eurosign(4)", "complete", ("us", "", "misc:typo,eurosign:4")),
    ("pc+us+inet(evdev)+group(alts_toggle)+level3(ralt_switch_for_alts_toggle)", "complete", ("us", "", "grp:alts_toggle")),
    ("pc+de(neo)+inet(evdev)", "complete+caps(caps_lock)+misc(assign_shift_left_action)+level5(level5_lock)", ("de", "neo", "")),
    ("pc+us+gb:2+fr(oss):3+inet(evdev)+group(win_space_toggle)+capslock(escape)+altwin(swap_alt_win)", "complete",
     ("us,gb,fr", ",,oss", "grp:win_space_toggle,caps:escape,altwin:swap_alt_win")),
    ("pc+us+epo(qwerty)", "complete", ("us", "", "esperanto:qwerty")),
    ("pc+macintosh_vndr/us+inet(evdev)+ctrl(nocaps)", "complete", ("us", "", "ctrl:nocaps")),
])
def test_a_keymap_is_taken_apart_by_the_rules(symbols, compat, names):
    settled = settle(keyboard(keymap=PRINTED % ("evdev+aliases(qwerty)", compat, symbols)))
    assert (settled.names["layout"], settled.names["variant"], settled.names["options"]) == names


def test_a_keymap_that_lacks_a_part_is_made_of_what_it_names():
    settled = settle(keyboard(keymap='xkb_keymap { xkb_symbols { include "pc+us+inet(evdev)+epo(qwerty)" }; };'))
    assert (settled.refusal, settled.notes) == ("", []) and settled.keymap == settle(keyboard("us", "", "esperanto:qwerty")).keymap
    assert "does not compile" in settle(keyboard(keymap="xkb_keymap { xkb_symbols { }; };")).refusal


@pytest.mark.parametrize("name", ["../../../../../%s", "%s", "pc+%s", "us|../../../../../%s", "us(x)+../../../../..%s:2"])
def test_no_keymap_opens_a_file_that_it_names(name, tmp_path):
    """A FIFO that nobody writes to holds up who opens it."""
    os.mkfifo(str(tmp_path / "fifo"))
    begin = time.monotonic()
    with pytest.raises(Refused, match="none by a path"):
        settle(keyboard(keymap='xkb_keymap { xkb_symbols { include "%s" }; };' % (name % (tmp_path / "fifo"))))
    assert time.monotonic() - begin < 1


def test_no_program_looks_where_it_is_started(tmp_path, monkeypatch):
    (tmp_path / "symbols").mkdir()
    os.mkfifo(str(tmp_path / "symbols" / "mine"))
    monkeypatch.chdir(tmp_path)
    settled = settle(keyboard("mine"))
    assert 'Can\'t find file "mine"' in settled.refusal


@pytest.mark.parametrize("value", [
    {"model": "-print"}, {"model": "../x"}, {"model": "a b"}, {"model": ""}, {"layout": "-display"}, {"layout": "us", "variant": "-x"},
    {"layout": "us", "options": "-I/tmp"},
    {"layout": "us", "variant": "intl,intl"}, {"layout": "us\n"}, {"keymap": "us"},
])
def test_no_value_is_an_option_of_a_program(value):
    with pytest.raises(Refused):
        settle({**keyboard(), **value})


# -- programs that do not do as they should --


@pytest.mark.parametrize("script, says", [
    ("exec sleep 1000", "had not ended after 1 seconds"), ("trap '' TERM INT; while :; do sleep 1; done", "had not ended after 1 seconds"),
    ("exit 3", "xkbcomp ended with status 3"), ("echo no >&2; exit 1", "xkbcomp says: no"), ("kill -SEGV $$", "xkbcomp ended with status -11"),
    ("head -c 5000000 /dev/zero; exit 0", "xkbcomp says: it writes too much"),
    ("printf '\\033[2J' >&2; exit 1", "\\x1b[2J"), ("exit 0", "xkbcomp ended with status 0"),
])
def test_a_program_that_misbehaves_is_a_refusal(script, says, path, tmp_path, monkeypatch):
    (tmp_path / "xkbcomp").write_text("#!/bin/sh\n%s\n" % script)
    (tmp_path / "xkbcomp").chmod(0o755)
    monkeypatch.setenv("PATH", "%s:%s" % (tmp_path, path["none"]))
    monkeypatch.setattr(running, "TIMEOUT", 1)
    begin = time.monotonic()
    assert says in settle(keyboard("us")).refusal
    assert time.monotonic() - begin < 6


def test_no_program_gets_more_memory_than_agreed(path, tmp_path, monkeypatch):
    (tmp_path / "xkbcomp").write_text("#!%s\nx = bytearray(1 << 30)\n" % sys.executable)
    (tmp_path / "xkbcomp").chmod(0o755)
    monkeypatch.setenv("PATH", "%s:%s" % (tmp_path, path["none"]))
    assert "MemoryError" in settle(keyboard("us")).refusal


def test_without_its_data_nothing_makes_a_keymap(tmp_path):
    settled = settle(keyboard("ru", "phonetic"), str(tmp_path))
    assert (settled.keymap, settled.refusal, settled.names["layout"]) == ("", "", "ru,us")
    assert "xkb-data" in settled.notes[0]


def test_a_library_that_cannot_be_called_leaves_the_other(monkeypatch):
    monkeypatch.setattr(making, "parts", lambda *dummy: None)
    assert settle(keyboard("us")).keymap.startswith("xkb_keymap {\nxkb_keycodes ")


@contextlib.contextmanager
def stuck_server():
    """Takes whoever comes, and never answers."""
    number = 700 + os.getpid() % 200
    with socket.socket(socket.AF_UNIX) as listener:
        # Abstract, so nothing is left behind; it is the first that a client tries.
        listener.bind("\0/tmp/.X11-unix/X%d" % number)
        listener.listen(5)
        yield ":%d" % number


@pytest.mark.parametrize("keymap", ["", "xkb_keymap { };"])
def test_a_stuck_x_server_is_no_hang(keymap, monkeypatch):
    monkeypatch.setattr(running, "TIMEOUT", 1)
    begin = time.monotonic()
    with stuck_server() as display, pytest.raises(VmconfigError, match="had not ended after 1 seconds"):
        server.give(display, keyboard("us"), keymap, True)
    assert time.monotonic() - begin < 5


def test_a_server_that_is_not_there_is_an_error_where_it_is_named_alone(tmp_path, monkeypatch):
    with pytest.raises(VmconfigError, match="X server :699 cannot be asked"):
        server.give(":699", keyboard("us"), "", True)
    monkeypatch.setattr(server, "SOCKETS", str(tmp_path))
    assert server.give("auto", keyboard("us"), "", True) == server.Given("")
    (tmp_path / "X699").write_text("left behind by a server that was killed")
    given = server.give("auto", keyboard("us"), "", True)
    assert (given.server, given.changed) == (":699", False) and "Cannot open display" in given.left
    monkeypatch.setenv("PATH", str(tmp_path))
    assert server.give("auto", keyboard("us"), "", True).left == "'there is no setxkbmap here'"
