# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How this machine reaches Debian's mirror and PyPI, in a form that another root can use. Nothing is taken that is a path of this machine."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import urllib.error
import urllib.request
from typing import Dict, List

BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
# The variables that mean the same to apt, pip, git and curl.
PROXIES = [name for each in ("http_proxy", "https_proxy", "no_proxy") for name in (each, each.upper())]
PIP = ("index-url", "extra-index-url", "trusted-host", "proxy", "default-timeout", "timeout")
# Of a Debian, as its sources of packages name it.
RELEASES = ("bullseye", "bookworm", "trixie", "forky", "sid", "oldstable", "stable", "testing", "unstable")
# What apt was told about the way, and not about what to fetch or to run.
APT = r'(?m)^Acquire::(?:https?(?:::(?!Proxy-Auto-Detect)[\w.-]+)*|Check-Date|Check-Valid-Until|Retries|ForceIPv[46]) "[^"\n]+";$'


def mirror() -> str:
    """The mirror that this machine's apt uses for Debian, else Debian's own. DEBIAN_MIRROR names another."""
    chosen = os.environ.get("DEBIAN_MIRROR")
    if chosen:
        return chosen
    for line in _output("apt-get", "indextargets", "--format", "$(RELEASE) $(SITE)").splitlines():
        release, dummy, site = line.partition(" ")
        if release in RELEASES and site.startswith(("http://", "https://")):
            return site
    return "http://deb.debian.org/debian"


def apt_configuration() -> str:
    """Proxies and the like, as lines of an apt.conf."""
    return "".join(line + "\n" for line in re.findall(APT, _output("apt-config", "dump")))


def variables() -> Dict[str, str]:
    """The environment of whoever is to reach the mirror and PyPI from a root with the same certificates."""
    found = {name: os.environ[name] for name in PROXIES if os.environ.get(name)}
    for name, value in _pip().items():
        urls = [each for each in value.split() if not each.startswith("file:")]
        if name in PIP and urls:
            found["PIP_" + name.upper().replace("-", "_")] = " ".join(urls)
    if "cert" in _pip():
        found["PIP_CERT"] = BUNDLE
    return found


def certificates() -> bytes:
    """Those that this machine trusts: a proxy may have one of its own."""
    for path in (_pip().get("cert"), os.environ.get("SSL_CERT_FILE"), BUNDLE):
        if path and os.path.isfile(path):
            with open(path, "rb") as stream:
                return stream.read()
    return b""


def unreachable(release: str) -> str:
    """Why the mirror has no such release for us; empty where it has."""
    found = re.search(r'Acquire::http::Proxy "([^"]+)"', apt_configuration())
    handler = urllib.request.ProxyHandler({"http": found.group(1)} if found else None)
    url = "%s/dists/%s/InRelease" % (mirror(), release)
    try:
        with urllib.request.build_opener(handler).open(url, timeout=30) as answer:
            answer.read(1)
    except (OSError, urllib.error.URLError) as error:
        return "%s: %s" % (url, error)
    return ""


def _pip() -> Dict[str, str]:
    """pip's own options, from its files and variables: the more particular comes later."""
    lines = _output(sys.executable, "-m", "pip", "config", "list").splitlines()
    pairs: List[List[str]] = [line.split("=", 1) for line in lines if "=" in line]
    found = sorted(pairs, key=lambda pair: (pair[0].startswith("install."), pair[0].startswith(":env:")))
    return {name.rsplit(".", 1)[1]: " ".join(shlex.split(value)) for name, value in found}


def _output(*command: str) -> str:
    try:
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=60, check=False, encoding="utf-8").stdout
    except FileNotFoundError:
        return ""
