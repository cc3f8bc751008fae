# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""The VM configuration interface as data: one row a key. No I/O, nothing of Ansible, nothing of a store.

Source of the rows: the document "VM Configuration Interface" and the Qubes sources (core-admin, core-agent-linux,
gui-agent-linux, gui-daemon; R2 to R4.3). A new key is one row.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Dict, List, NamedTuple, Optional, Tuple

from . import _unknown
from ._errors import Refused
from ._forms import Address, Addresses, Choice, Form, Malformed, Netmask, Number, Pattern, Switch, Text
from ._keyboardforms import Keyboard, Keymap
from ._settings import ALWAYS, Computed, Feature, Flag, Layout, Property, Removal, Service, Setting
from ._text import show
from ._unknown import Unknown

DOM0, VM = "dom0", "vm"
NOW, RESTART = "now", "restart"
UNTIL_RESTART, UNTIL_NETVM_CHANGE, PERSISTENT = "until_restart", "until_netvm_change", "persistent"


class Part(NamedTuple):
    """What may stand for the capitals in a row's name."""

    pattern: str
    expected: str


PARTS = {
    "NAME": Part(r"[A-Za-z0-9_][A-Za-z0-9_.:@-]*", "a name of letters, digits and _ . : @ -"),
    "SERVICE": Part(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,47}", "a service name of at most 48 letters, digits and _ . @ -"),
    "OPTION": Part(r"[A-Za-z][A-Za-z0-9_.-]{0,51}", "a name of at most 52 letters, digits and _ . - that starts with a letter"),
    "IP": Part(r"[0-9A-Fa-f.:]{2,45}", "an IP address"),
    "MAC": Part(r"[0-9a-fA-F]{2}(?::[0-9a-fA-F]{2}){5}", "a MAC address"),
    "NUMBER": Part(r"[0-9]{3,4}", "a number of three or four digits"),
    "DOMID": Part(r"[0-9]{1,10}", "a domain's id"),
    "HASH": Part(r"[A-Za-z0-9_-]{1,44}", "a hash"),
}

BOOL = Switch("True", "False")
BIT = Switch("1", "0")
IP, IP6 = Address(4), Address(6)
TEXT = Text()
QUBE = Pattern(r"[A-Za-z][A-Za-z0-9_.-]{0,30}", "a qube's name, at most 31 letters, digits and _ . -")
USER = Pattern(r"[A-Za-z0-9_+,.-]{1,64}", "a user's name")
MAC = Pattern(PARTS["MAC"].pattern, "a MAC address, such as 00:16:3e:5e:6c:00")
ZONE = Pattern(r"(?=.{1,64}\Z)[A-Za-z0-9_+-]+(?:/[A-Za-z0-9_+-]+)*", "a zone of the Olson database, such as Europe/Warsaw")
BASE64 = Pattern(r"[A-Za-z0-9+/]{1,4000}={0,2}", "base64")
PERSIST = Pattern(r"(?:(?:file|dir):[A-Za-z0-9_.-]+:[A-Za-z0-9_.-]+:[0-7]{3,4}:)?/[ -~]*",
                  "an absolute path, or file|dir:owner:group:mode:/path")
VM_TYPES = Choice("AppVM", "NetVM", "ProxyVM", "TemplateVM", "StandaloneVM", "HVM", "TemplateHVM", "DispVM", "DisposableVM", "AdminVM")


COMPUTED = Computed("qubesd computes it")
IDENTITY = Computed("qubesd computes it from the qube's class and template", ALWAYS)
NETVM = Computed("qubesd computes it from the property netvm", "netvm")
NETVM_IPV6 = Computed("qubesd computes it from the property netvm and the feature ipv6")
SERVES = Computed("qubesd computes it for a qube with the property provides_network", "provides_network")
GUIVM = Computed("qubesd computes it from the properties guivm and audiovm")
FIREWALL = Computed("qvm-firewall sets it")
DEVICES = Computed("qubesd computes it; the qube lists its devices below it", ALWAYS)
OF_THE_VM = Computed("the qube itself writes it")
OLD = Computed("releases up to R3 alone have it")


class Row(NamedTuple):
    """One key, or with capitals in its name a family of keys.

    ``place`` is where the typed value stands in ``config`` (dots between levels, ``*`` for what the capitals stood for).
    ``setting`` is what lasts behind the key on R4, or what computes it. ``lasts`` is how long a write into a live QubesDB
    does. ``effective`` is when the VM notices a change. ``empty`` allows the empty text. ``protected`` needs ``force`` on a live QubesDB. Writing
    the key, even the same value, puts the keys into force that begin with its name and ``commits``.
    """

    name: str
    form: Form
    place: str
    since: str
    meaning: str
    until: str = ""
    present: str = "always"
    owner: str = DOM0
    setting: Setting = COMPUTED
    lasts: str = UNTIL_NETVM_CHANGE
    effective: str = RESTART
    empty: bool = False
    secret: bool = False
    protected: bool = False
    commits: str = ""
    aliases: Tuple[str, ...] = ()

    def decode(self, untrusted_value: bytes):
        """The typed value; ``Malformed`` when the bytes do not have the row's form."""
        try:
            untrusted_text = untrusted_value.decode("utf-8")
        except UnicodeDecodeError:
            raise Malformed("it is not UTF-8") from None
        if not untrusted_text:
            if not self.empty:
                raise Malformed("it is empty")
            return ""
        return self.form.decode(untrusted_text)

    def encode(self, value) -> bytes:
        """The bytes for a value from a playbook; ``Malformed`` when it does not have the row's form."""
        if value == "":
            if not self.empty:
                raise Malformed("it cannot be empty; null removes the key")
            return b""
        return self.form.encode(value).encode("utf-8")

    def expected(self, error: Malformed) -> str:
        """The part of a message that says what the value should have been."""
        advice = str(error)
        return "expected %s%s" % (self.form.expected, "; " + advice if advice else "")


def _net_config() -> List[Row]:
    forms = (("ip", IP), ("netmask", Netmask()), ("gateway", IP), ("ip6", IP6), ("netmask6", Number("bits", 128)), ("gateway6", IP6))
    rows = [Row("net-config/MAC/" + field, form, "net_config.*." + field, "R4.2", "wins over the qubes-* key for the interface with this MAC",
                present="per interface", lasts=UNTIL_RESTART) for field, form in forms]
    rows.append(Row("net-config/MAC/custom", TEXT, "net_config.*.custom", "R4.2", "the interface is configured by hand",
                    present="per interface", lasts=UNTIL_RESTART, empty=True))
    return rows


ROWS: Tuple[Row, ...] = (
    # identity
    Row("name", QUBE, "name", "R3.0", "the qube's name; the host name at early boot", protected=True, setting=IDENTITY),
    Row("type", Choice("AppVM", "StandaloneVM", "TemplateVM", "DispVM", "AdminVM"), "type", "R4.0", "the qube's class", protected=True, setting=IDENTITY),
    Row("default-user", USER, "default_user", "R4.0", "the user that sessions and calls run as", setting=Property("default_user")),
    Row("qubes-vm-type", VM_TYPES, "vm_type", "R1", "which defaults its services have", protected=True, setting=IDENTITY),
    Row("qubes-vm-updateable", BOOL, "updateable", "R1", "whether changes of the root volume survive a restart", protected=True,
        aliases=("qubes-vm-updatable",), setting=IDENTITY),
    Row("qubes-vm-persistence", Choice("full", "rw-only", "none"), "persistence", "R3.0", "what survives a restart", protected=True, setting=IDENTITY),
    Row("qubes-debug-mode", BIT, "debug", "R2", "debug mode", setting=Flag("debug")),
    Row("qubes-base-template", QUBE, "template", "R3.0", "the template it is based on", empty=True, protected=True, setting=IDENTITY),
    Row("qubes-random-seed", BASE64, "random_seed", "R3.1", "entropy for the first boot; the VM removes it", present="at start",
        secret=True, lasts=UNTIL_RESTART),
    # what a user set
    Row("qubes-timezone", ZONE, "timezone", "R1", "the time zone", present="dom0's zone is known and the qube has no feature anon-timezone",
        setting=Removal("anon-timezone", "vm-config/timezone for a zone of the qube's own")),
    Row("qubes-keyboard", Keymap(), "keyboard.keymap", "R1", "a keymap for xkbcomp", until="R4.0", present="R1 to R4.0", setting=OLD),
    Row("keyboard-layout", Keyboard(), "keyboard", "R4.1", "the keyboard layout for setxkbmap", present="a GuiVM is set",
        setting=Layout("keyboard_layout", pushed=True), effective=NOW),
    Row("qubes-service/SERVICE", BIT, "services.*", "R2", "a service on or off; missing is the VM's default", present="per service",
        setting=Service("service.NAME", pushed=True)),
    Row("qubes-service/meminfo-writer", BIT, "services.meminfo-writer", "R2", "memory balancing on or off",
        setting=Computed("it follows the property maxmem, where 0 is off")),
    Row("vm-config/OPTION", TEXT, "vm_config.*", "R4.2", "the administrator's own settings", present="per feature",
        setting=Feature("vm-config.NAME", pushed=True), effective=NOW, empty=True),
    Row("persist/NAME", PERSIST, "persist.*", "R4.3", "a path kept by bind-dirs", present="per feature", setting=Feature("custom-persist.NAME", pushed=True),
        effective=NOW),
    # network of the qube
    Row("qubes-mac", MAC, "network.mac", "R4.0", "the uplink's MAC address", present="a netvm is set", protected=True, setting=NETVM),
    Row("qubes-ip", IP, "network.ip", "R1", "the uplink's IPv4 address", present="a netvm is set",
        setting=Property("ip", also=("net.fake-ip",)), protected=True),
    Row("qubes-netmask", Netmask(), "network.netmask", "R1", "the uplink's IPv4 netmask", present="a netvm is set",
        setting=Feature("net.fake-netmask")),
    Row("qubes-gateway", IP, "network.gateway", "R1", "the default gateway; the first resolver where there is no qubes-primary-dns",
        present="a netvm is set", setting=Feature("net.fake-gateway")),
    Row("qubes-primary-dns", IP, "network.primary_dns", "R3.1", "the first resolver", present="a netvm is set", setting=NETVM),
    Row("qubes-secondary-dns", IP, "network.secondary_dns", "R1", "the second resolver", present="a netvm is set", setting=NETVM),
    Row("qubes-ip6", IP6, "network.ip6", "R4.0", "the uplink's IPv6 address", present="a netvm is set, IPv6 on", protected=True, setting=NETVM_IPV6),
    Row("qubes-netmask6", Number("bits", 128), "network.netmask6", "R4.0", "the prefix of the uplink's IPv6 address; without it 128",
        present="an administrator wrote it",
        setting=Computed("no release of qubesd writes it; the agent reads it"), lasts=UNTIL_RESTART),
    Row("qubes-gateway6", IP6, "network.gateway6", "R4.0", "the default IPv6 gateway", present="a netvm is set, IPv6 on", setting=NETVM_IPV6),
    # network that the qube serves
    Row("qubes-netvm-network", IP, "netvm.network", "R1", "the network it serves", present="it serves a network", empty=True, setting=SERVES),
    Row("qubes-netvm-gateway", IP, "netvm.gateway", "R1", "the gateway that its clients see", present="it serves a network", setting=SERVES),
    Row("qubes-netvm-netmask", Netmask(), "netvm.netmask", "R1", "the netmask that its clients see", present="it serves a network", setting=SERVES),
    Row("qubes-netvm-primary-dns", IP, "netvm.primary_dns", "R3.1", "the first resolver that its clients see", present="it serves a network", setting=SERVES),
    Row("qubes-netvm-secondary-dns", IP, "netvm.secondary_dns", "R1", "the second resolver that its clients see",
        present="it serves a network", setting=SERVES),
    Row("qubes-netvm-gateway6", IP6, "netvm.gateway6", "R4.0", "the IPv6 gateway that its clients see", present="it serves IPv6", setting=SERVES),
    Row("qubes-netvm-external-ip", IP, "netvm.external_ip", "R2", "the NetVM's address, for its ProxyVMs; empty at first", until="R2",
        present="NetVM, ProxyVM", owner=VM, lasts=UNTIL_RESTART, empty=True, setting=OLD),
    Row("qubes-netvm-domid", Number("domain id", 32751), "netvm.domid", "R2", "the netvm's domain", until="R2", present="ProxyVM", protected=True, setting=OLD),
    Row("connected-ips", Addresses(4), "netvm.connected_ips", "R4.0", "its clients' addresses", present="on a netvm", empty=True, protected=True,
        setting=SERVES),
    Row("connected-ips6", Addresses(6), "netvm.connected_ips6", "R4.0", "its clients' IPv6 addresses", present="on a netvm", empty=True,
        protected=True, setting=SERVES),
    Row("mapped-ip/IP/visible-ip", IP, "netvm.mapped_ip.*.visible_ip", "R4.0", "the address that the client sees as its own",
        present="on a netvm", protected=True, setting=SERVES),
    Row("mapped-ip/IP/visible-gateway", IP, "netvm.mapped_ip.*.visible_gateway", "R4.0", "the gateway that the client sees",
        present="on a netvm", protected=True, setting=SERVES),
    Row("qubes-firewall/IP/policy", Choice("accept", "drop"), "firewall.*.policy", "R4.0", "the policy for a client",
        present="on a netvm", setting=FIREWALL, effective=NOW, protected=True),
    Row("qubes-firewall/IP/NUMBER", TEXT, "firewall.*.rules.*", "R4.0", "a numbered rule for a client", present="on a netvm",
        setting=FIREWALL, effective=NOW, protected=True),
    Row("qubes-firewall/IP", Pattern("", "nothing"), "firewall.*.commit", "R4.0", "the empty write that commits a client's rules",
        present="on a netvm", setting=FIREWALL, effective=NOW, empty=True, protected=True, commits="/"),
    Row("qubes-iptables", TEXT, "iptables.ruleset", "R2", "tells an agent of R3 that the rules changed", present="on a ProxyVM, R4 netvm", effective=NOW,
        empty=True, protected=True, commits="-", setting=FIREWALL),
    Row("qubes-iptables-header", TEXT, "iptables.header", "R2", "the rules before the clients', for an agent of R3", present="on a ProxyVM, R4 netvm",
        effective=NOW, protected=True, setting=FIREWALL),
    Row("qubes-iptables-domainrules/DOMID", TEXT, "iptables.domainrules.*", "R2", "the rules of the client with this domid, for an agent of R3",
        present="on a ProxyVM, R4 netvm", effective=NOW, empty=True, protected=True, setting=FIREWALL),
    Row("qubes-iptables-error", TEXT, "iptables.error", "R2", "what iptables-restore said", present="on a ProxyVM, R4 netvm", owner=VM,
        lasts=UNTIL_RESTART, effective=NOW, empty=True, setting=OF_THE_VM),
    *_net_config(),
    # screen and sound
    Row("qubes-gui-enabled", BOOL, "gui.enabled", "R4.3", "whether the GUI agent starts", setting=GUIVM),
    Row("qubes-gui-domain-xid", Number("domain id", 32751), "gui.domain_xid", "R4.1", "the GuiVM's domain", present="a GuiVM runs",
        protected=True, setting=GUIVM),
    Row("qubes-audio-domain-xid", Number("domain id", 32751), "audio.domain_xid", "R4.1", "the AudioVM's domain", present="an AudioVM runs",
        protected=True, setting=GUIVM),
    Row("qubes-gui-videoram-min", Number("KiB", 2**31), "gui.videoram_min", "R4.0", "video memory at least", present="feature set",
        setting=Feature("gui-videoram-min")),
    Row("qubes-gui-videoram-overhead", Number("KiB", 2**31), "gui.videoram_overhead", "R4.0", "video memory added", present="feature set",
        setting=Feature("gui-videoram-overhead")),
    Row("guivm-windows-prefix", TEXT, "gui.windows_prefix", "R4.1", "before a window's title", present="service guivm", empty=True,
        setting=Feature("guivm-windows-prefix")),
    # the rest of dom0's
    Row("hash-app-dispvm/HASH", TEXT, "hash_app_dispvm.*", "R4.3", "the disposable of an application", present="per feature", empty=True),
    Row("remote/NAME", TEXT, "remote.*", "R4.3", "a qube on another machine", present="per feature", empty=True),
    Row("qubes-restore-complete", TEXT, "restore_complete", "R2", "a DispVM was restored", until="R2", present="DispVM", lasts=UNTIL_RESTART,
        empty=True, setting=OLD),
    # what the VM writes
    Row("qubes-tools", TEXT, "tools.installed", "R2", "the agent's version", until="R2", present="HVM", owner=VM, lasts=UNTIL_RESTART, empty=True, setting=OLD),
    Row("qubes-tools/NAME", TEXT, "tools.features.*", "R3.0", "what the agent tells of itself", present="written by the VM", owner=VM,
        lasts=UNTIL_RESTART, effective=NOW, empty=True, setting=OF_THE_VM),
    Row("features-request/NAME", TEXT, "features_request.*", "R4.0", "a feature that the VM asks for", present="written by the VM", owner=VM,
        lasts=UNTIL_RESTART, effective=NOW, empty=True, setting=OF_THE_VM),
    Row("qubes-firewall-handled/IP", Number("rule sets"), "firewall_handled.*", "R4.0", "how many rule sets were loaded",
        present="written by the VM", owner=VM, lasts=UNTIL_RESTART, effective=NOW, setting=OF_THE_VM),
    Row("qubes-block-devices", Pattern("", "nothing"), "device_lists.block", "R2", "empty; the place below which the VM lists its block devices",
        lasts=UNTIL_RESTART, effective=NOW, empty=True, protected=True, setting=DEVICES),
    Row("qubes-block-devices/NAME/desc", TEXT, "block_devices.*.desc", "R2", "a block device's description", present="written by the VM",
        owner=VM, lasts=UNTIL_RESTART, effective=NOW, empty=True, protected=True, setting=OF_THE_VM),
    Row("qubes-block-devices/NAME/size", Number("bytes"), "block_devices.*.size", "R2", "its size", present="written by the VM", owner=VM,
        lasts=UNTIL_RESTART, effective=NOW, protected=True, setting=OF_THE_VM),
    Row("qubes-block-devices/NAME/mode", Choice("r", "w"), "block_devices.*.mode", "R2", "read-only or writable", present="written by the VM",
        owner=VM, lasts=UNTIL_RESTART, effective=NOW, protected=True, setting=OF_THE_VM),
    Row("qubes-block-devices/NAME/parent", TEXT, "block_devices.*.parent", "R4.1", "the device that it is a part of",
        present="written by the VM", owner=VM, lasts=UNTIL_RESTART, effective=NOW, empty=True, protected=True, setting=OF_THE_VM),
    Row("qubes-usb-devices", Pattern("", "nothing"), "device_lists.usb", "R3.2", "empty; the place below which the VM lists its USB devices",
        lasts=UNTIL_RESTART, effective=NOW, empty=True, protected=True, setting=DEVICES),
    Row("qubes-usb-devices/NAME/desc", TEXT, "usb_devices.*.desc", "R3.2", "a USB device's description", present="written by the VM",
        owner=VM, lasts=UNTIL_RESTART, effective=NOW, empty=True, protected=True, setting=OF_THE_VM),
    Row("qubes-usb-devices/NAME/usb-ver", Choice("1", "2", "3"), "usb_devices.*.usb_ver", "R3.2", "its USB version",
        present="written by the VM", owner=VM, lasts=UNTIL_RESTART, effective=NOW, protected=True, setting=OF_THE_VM),
    Row("qubes-usb-devices/NAME/interfaces", TEXT, "usb_devices.*.interfaces", "R4.2", "its interfaces", present="written by the VM",
        owner=VM, lasts=UNTIL_RESTART, effective=NOW, empty=True, protected=True, setting=OF_THE_VM),
    Row("memory/meminfo", Pattern(r"[0-9]{1,19}|(?:[A-Za-z()]+:[ \t]+[0-9]{1,19} kB\n?){1,12}", "used KiB, or lines of FIELD: N kB"), "meminfo", "R2",
        "its memory in use (XenStore only)", present="written by the VM", owner=VM, lasts=UNTIL_RESTART, effective=NOW, setting=OF_THE_VM),
)


def _is_family(name: str) -> bool:
    return any(word in PARTS for word in name.split("/"))


def _directory(name: str) -> str:
    """What stands before the first capitals of a family's name: ``qubes-service/``."""
    words = name.split("/")
    return "/".join(words[:next(place for place, word in enumerate(words) if word in PARTS)]) + "/"


def _by_directory() -> Dict[str, List[Row]]:
    families: Dict[str, List[Row]] = {}
    for row in ROWS:
        if _is_family(row.name):
            families.setdefault(_directory(row.name), []).append(row)
    return families


_PLAIN: Dict[str, Row] = {row.name: row for row in ROWS if not _is_family(row.name)}
_FAMILIES = _by_directory()
_ALIASES: Dict[str, str] = {alias: row.name for row in ROWS for alias in row.aliases}
_WELL_FORMED = r"(?!-)[A-Za-z0-9_.:@-]+(?:/[A-Za-z0-9_.:@-]+)*"
SECRETS = frozenset(row.name for row in ROWS if row.secret)
DIRECTORIES = frozenset(_FAMILIES)
# Of the keys that stand in none of these.
NAMES = tuple(_PLAIN)


@lru_cache(maxsize=None)
def _matcher(name: str) -> re.Pattern:
    """A pattern for the row's name, one group for each of its capitals."""
    words = [("(%s)" % PARTS[word].pattern) if word in PARTS else re.escape(word) for word in name.split("/")]
    return re.compile("/".join(words))


class Found(NamedTuple):
    """A key's row, and what stood for the capitals in its name."""

    row: Row
    parts: Tuple[str, ...]


@lru_cache(maxsize=4096)
def find(key: str) -> Optional[Found]:
    """The row of a normal name, or None where the table has none."""
    row = _PLAIN.get(key)
    if row:
        return Found(row, ())
    for row in _FAMILIES.get(key[:key.find("/") + 1], ()):
        match = _matcher(row.name).fullmatch(key)
        if match:
            return Found(row, match.groups())
    return None


def setting(key: str) -> Setting:
    """What lasts behind a key on R4; ``Computed`` where that is nothing."""
    found = find(key)
    return found.row.setting if found else Computed("the interface does not have the key, and qubesd does not know it")


@lru_cache(maxsize=4096)
def setting_name(key: str) -> str:
    """The name of the property or feature behind a key, or the empty text."""
    found = find(key)
    return found.row.setting.of(found.parts[0] if found.parts else "") if found and found.row.setting.kind else ""


def normal(name: object) -> str:
    """The key's name on the wire: no leading slash, aliases replaced. ``Refused`` when no key can have such a name."""
    if not isinstance(name, str):
        raise Refused("a key's name is text, not %s; put it in quotes" % show(name))
    return _normal(name)


@lru_cache(maxsize=4096)
def _normal(name: str) -> str:
    # Many qubes have the same keys.
    key = name[1:] if name.startswith("/") else name
    if not re.fullmatch(_WELL_FORMED, key) or not {".", ".."}.isdisjoint(key.split("/")):
        raise Refused("%s cannot be a key's name; expected letters, digits and _ . : @ - with / between, not starting with -" % show(name))
    return _ALIASES.get(key, key)


def known(name: object) -> Found:
    """The row of a name that is going to be written; ``Refused`` with the nearest names when there is none."""
    key = normal(name)
    found = find(key)
    if found:
        return found
    raise Unknown(key, ROWS, PARTS)


def suggest(key: str) -> List[str]:
    """The known names nearest to one that is not known, best first, three at the most."""
    return _unknown.suggest(key, ROWS, PARTS)


def directory(name: object) -> str:
    """A directory of keys, with its slash; ``Refused`` when there can be none of that name."""
    if not isinstance(name, str) or not name.strip("/"):
        raise Refused("%s is not a directory of keys; expected a name such as qubes-service/" % show(name))
    return normal(name.rstrip("/")) + "/"


def decode(key: str, untrusted_value: bytes):
    """The typed value of a key; ``Refused`` says why a value is not one. Keys outside the table decode to text."""
    found = find(key)
    try:
        return found.row.decode(untrusted_value) if found else untrusted_value.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused("it is not UTF-8") from None
    except Malformed as error:
        raise Refused(found.row.expected(error)) from None


def free(key: str) -> bool:
    """Whether the key's value may be any bytes: free text, and what the table does not have."""
    found = find(key)
    return found is None or found.row.form is TEXT
