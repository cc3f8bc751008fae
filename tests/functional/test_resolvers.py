# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""systemd-resolved and NetworkManager, the real ones, take from our files the servers that were meant."""

from __future__ import annotations

import configparser
import os
import subprocess

import packages
import pytest
from ansible_collections.qubes.vmconfig.plugins.module_utils._machine import Machine
from ansible_collections.qubes.vmconfig.plugins.module_utils._role import names, role
from ansible_collections.qubes.vmconfig.plugins.plugin_utils._rendering import Table, Templates
from ansible_collections.qubes.vmconfig.plugins.plugin_utils._tables import rows, stock
from namespaces import unshared

DNS = ["10.139.1.1", "10.139.1.2"]

# It writes what it knows into /run, and needs no bus for that. What was there before ours: a file of the machine's owner, and a resolv.conf.
RESOLVED = """\
set -eu
mount -t tmpfs none /run
mkdir -p /run/etc/systemd/resolved.conf.d /run/systemd/resolve
cp resolv.conf nsswitch.conf /run/etc
cp resolved/* /run/etc/systemd/resolved.conf.d
printf 'root:x:0:0::/:/bin/sh\\nsystemd-resolve:x:0:0::/:/bin/sh\\n' > /run/etc/passwd
printf 'root:x:0:\\nsystemd-resolve:x:0:\\n' > /run/etc/group
cp -R /etc/ld.so* /run/etc
mount --bind /run/etc /etc
"$RESOLVED" > resolved.log 2>&1 &
resolved=$!
trap 'kill $resolved' EXIT
until test -s /run/systemd/resolve/resolv.conf; do kill -0 $resolved; sleep 0.05; done
cp /run/systemd/resolve/resolv.conf told
"""


def program(package, path):
    try:
        return packages.unpacked(package, path)
    except packages.LabUnavailable as error:
        if packages.is_debian_like():
            raise
        pytest.skip("NO %s, so what it reads was not tested: %s" % (package.upper(), error))


def resolved_conf(config, name):
    """The text of the one file of ours of that name that there is."""
    variables = role("resolver", {"config": config, "invalid": {}, "denied": []}, {}).variables
    machine = Machine("RedHat", resolved=True, network_manager=True)
    files = Table("resolver", rows("resolver"), Templates(stock())).files(names("resolver", variables, config, machine, "Ansible managed"))
    return next(file.text for file in files if file.dest.endswith(name))


@pytest.mark.parametrize("config, servers", [
    ({"network": {"dns": DNS}}, DNS),
    ({"network": {"dns": DNS[:1]}}, DNS[:1]),
    # Neither those of the owner nor what Debian compiled in.
    ({"network": {"dns": DNS}, "services": {"disable-dns-server": True}}, []),
])
def test_resolved_knows_the_servers(tmp_path, config, servers):
    resolved = program("systemd-resolved", "usr/lib/systemd/systemd-resolved")
    (tmp_path / "resolved").mkdir()
    (tmp_path / "resolved" / "a-before.conf").write_text("[Resolve]\nDNS=192.0.2.1\nFallbackDNS=192.0.2.2\n")
    (tmp_path / "resolved" / "qubes-dns.conf").write_text(resolved_conf(config, "resolved.conf.d/qubes-dns.conf"))
    (tmp_path / "resolv.conf").write_text("")
    (tmp_path / "nsswitch.conf").write_text("passwd: files\ngroup: files\n")
    script = tmp_path / "isolated.sh"
    script.write_text("#!/bin/sh\n" + RESOLVED)
    script.chmod(0o755)
    env = {**os.environ, **resolved.env, "RESOLVED": resolved.path}
    line = [*unshared("--pid", "--fork", "--kill-child"), str(script)]
    done = subprocess.run(line, cwd=str(tmp_path), env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120, check=False)
    log = (tmp_path / "resolved.log").read_text()
    assert done.returncode == 0, done.stdout.decode() + log
    told = [line.split()[1] for line in (tmp_path / "told").read_text().splitlines() if line.startswith("nameserver")]
    assert told == servers
    assert "qubes-dns.conf:" not in log


@pytest.mark.parametrize("config, servers", [
    ({"network": {"dns": DNS}}, ",".join(DNS)),
    ({"network": {"dns": DNS[:1]}}, DNS[0]),
    ({"network": {"dns": DNS}, "services": {"disable-dns-server": True}}, None),
])
def test_network_manager_knows_the_servers(tmp_path, config, servers):
    manager = program("network-manager", "usr/sbin/NetworkManager")
    (tmp_path / "conf.d").mkdir()
    on = {**config, "services": {"network-manager": True, **config.get("services", {})}}
    (tmp_path / "conf.d" / "qubes-dns.conf").write_text(resolved_conf(on, "NetworkManager/conf.d/qubes-dns.conf"))
    (tmp_path / "main.conf").write_text("")
    places = {"config": "main.conf", "config-dir": "conf.d", "system-config-dir": "none", "intern-config": "none"}
    where = ["--%s=%s" % (option, tmp_path / name) for option, name in places.items()]
    done = subprocess.run([manager.path, *where, "--print-config"], env={**os.environ, **manager.env},
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"qubes-dns.conf" in done.stdout.splitlines()[0]
    told = configparser.ConfigParser(interpolation=None)
    told.read_string(done.stdout.decode())
    assert told.get("global-dns-domain-*", "servers", fallback=None) == servers
