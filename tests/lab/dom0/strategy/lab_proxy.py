# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Does to a play what dom0's default strategy does, without Qubes OS."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import traceback

import yaml
from ansible import context
from ansible.executor.play_iterator import PlayIterator
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.yaml.dumper import AnsibleDumper
from ansible.plugins.strategy.linear import StrategyModule as Linear
from ansible.utils.display import Display

DOCUMENTATION = """
name: lab_proxy
short_description: Does to a play what C(qubesos.security.qubes_proxy) does
description:
  - Imitates the strategy C(qubesos.security.qubes_proxy) of the package qubes-ansible, which is the default in dom0 of Qubes R4.3.
    It is written from notes on what that one does, of May 2026 and of what was changed in it since.
  - For each host that is neither C(localhost) nor C(dom0) a worker process is given the whole iterator of the play, so all of it is pickled.
  - The play is read again from its file, from the line on where it begins, by a plain safe YAML loader. Its first play is shipped with the
    host as C(hosts) and C(linear) as C(strategy).
  - Shipped with it are the directories of the roles that C(roles) names, by the last part of their names; one file with the host's variables from
    all sources, less Ansible's own, marks lost; an inventory with the host's groups and C(ansible_connection=qubes); of the command line
    the verbosity, the tags, C(--check), C(--diff), C(--force-handlers) and C(--flush-cache).
  - Not shipped are the folder of the playbook, other collections, C(ansible.cfg) and vault secrets.
  - It runs as an C(ansible-playbook) of its own, with another home and without network, and with the collections of what stands for its template.
  - Text comes back, with control characters replaced, and an exit code. 0 is one C(ok) of the host, anything else a failure.
  - A disposable is a folder and a process here. There is no qrexec, and the variables of the environment are those that a test gives.
author: qubes.vmconfig contributors
options:
  template:
    description: The folder with the collections that are installed in the template of the disposable.
    type: path
    required: true
    env:
      - name: LAB_PROXY_TEMPLATE
  after_failure:
    description:
      - What comes after a host has failed. V(goes_on) is later plays with every host, and the exit code of the last one, as in May 2026.
        V(drops) is what Ansible does otherwise, V(ends) the end of the run.
    type: str
    choices: [goes_on, drops, ends]
    default: drops
    env:
      - name: LAB_PROXY_AFTER_FAILURE
"""

display = Display()
OF_DOM0 = ("localhost", "dom0")
NOT_HEARD = 255
TIMEOUT = 240
# Ansible hands a strategy no options.
TEMPLATE = os.environ["LAB_PROXY_TEMPLATE"]
AFTER_FAILURE = os.environ.get("LAB_PROXY_AFTER_FAILURE", "drops")
# Those of Ansible's own that a manager of variables does not list as magic.
ANSIBLES = frozenset([
    "ansible_check_mode", "ansible_collection_name", "ansible_config_file", "ansible_dependent_role_names", "ansible_diff_mode", "ansible_facts",
    "ansible_forks", "ansible_index_var", "ansible_inventory_sources", "ansible_limit", "ansible_loop", "ansible_loop_var",
    "ansible_parent_role_names", "ansible_parent_role_paths", "ansible_play_batch", "ansible_play_hosts", "ansible_play_hosts_all",
    "ansible_play_name", "ansible_play_role_names", "ansible_playbook_python", "ansible_role_name", "ansible_role_names", "ansible_run_tags",
    "ansible_search_path", "ansible_skip_tags", "ansible_verbosity", "ansible_version", "group_names", "groups", "hostvars", "inventory_dir",
    "inventory_file", "inventory_hostname", "inventory_hostname_short", "omit", "play_hosts", "playbook_dir", "role_name", "role_names",
    "role_path", "vars",
])


def in_a_disposable(iterator, play_context, template):
    """What a worker does for one host: packs, runs, and returns the exit code and what was printed."""
    bundle = tempfile.mkdtemp(prefix="lab-disposable-")
    try:
        host = iterator._play.hosts[0]
        _pack(bundle, iterator, host)
        return (host.name, *_run(bundle, template))
    finally:
        shutil.rmtree(bundle)


def _pack(bundle, iterator, host):
    play = iterator._play
    _write(bundle, "playbook.yaml", [dict(_read_again(play), hosts=[str(host.name)], strategy="linear")])
    for role in play.get_roles():
        path = role.get_role_path()
        shutil.copytree(path, os.path.join(bundle, "roles", os.path.basename(path)))
    manager = iterator._variable_manager
    manager._loader = manager._loader or DataLoader()
    found = manager.get_vars(play=play, host=host, include_hostvars=True)
    magic = set(manager._get_magic_variables(play=play, host=host, task=None, include_hostvars=True))
    _write(bundle, "host_vars/%s.yaml" % host.name, {name: value for name, value in found.items() if name not in magic | ANSIBLES})
    groups = sorted({group.name for group in host.get_groups()} - {"all", "ungrouped"}) or ["appvms"]
    with open(os.path.join(bundle, "inventory"), "w", encoding="utf-8") as stream:
        stream.writelines("[%s]\n%s\n\n[%s:vars]\nansible_connection=qubes\n\n" % (group, host.name, group) for group in groups)


def _read_again(play):
    path, line = play.get_path().rsplit(":", 1)
    with open(path, encoding="utf-8") as stream:
        return yaml.safe_load("".join(stream.readlines()[int(line) - 1:]))[0]


def _write(bundle, name, data):
    os.makedirs(os.path.dirname(os.path.join(bundle, name)), exist_ok=True)
    with open(os.path.join(bundle, name), "w", encoding="utf-8") as stream:
        yaml.dump(data, stream, Dumper=AnsibleDumper, default_flow_style=False)


def _run(bundle, template):
    home = os.path.join(bundle, "home")
    os.mkdir(home)
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    env = {
        "HOME": home, "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "ANSIBLE_COLLECTIONS_PATH": template, "ANSIBLE_FORCE_COLOR": "true",
        "ANSIBLE_CONNECTION_PLUGINS": os.path.join(here, "connection"), "ANSIBLE_DEPRECATION_WARNINGS": "false",
    }
    without_network = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--net"]
    playbook = os.path.join(os.path.dirname(sys.executable), "ansible-playbook")
    done = subprocess.run(
        [*without_network, playbook, "-i", os.path.join(bundle, "inventory"), *_arguments(), os.path.join(bundle, "playbook.yaml")],
        cwd=home, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=TIMEOUT, check=False)
    return done.returncode, _printable(done.stdout), _printable(done.stderr)


def _arguments():
    given = context.CLIARGS
    found = ["-" + "v" * given["verbosity"]] if given.get("verbosity") else []
    for option, name in (("tags", "--tags"), ("skip_tags", "--skip-tags")):
        for tag in given.get(option) or ():
            found += [name, tag]
    return found + ["--" + name.replace("_", "-") for name in ("check", "diff", "force_handlers", "flush_cache") if given.get(name)]


def _printable(output):
    return "".join([chr(byte) if 0x20 <= byte <= 0x7e or byte in b"\a\b\n\r\t" else "_" for byte in output])


class StrategyModule(Linear):
    """The strategy of this file."""

    def run(self, iterator, play_context):
        left_out = iterator.get_failed_hosts()
        hosts = [host for host in self._inventory.get_hosts(iterator._play.hosts) if host.name not in left_out]
        ours = [host for host in hosts if host.name in OF_DOM0]
        others = [host for host in hosts if host.name not in OF_DOM0]
        codes = [self._tqm.RUN_OK]
        if ours:
            codes.append(super().run(self._for(iterator, play_context, ours), play_context))
        if others:
            codes.append(self._ship(iterator, play_context, others))
        if AFTER_FAILURE != "goes_on" and iterator.get_failed_hosts():
            codes.append(self._tqm.RUN_FAILED_HOSTS)
        return max(codes)

    def _for(self, iterator, play_context, hosts):
        """The same play, for these hosts."""
        play = iterator._play.copy()
        play.hosts = hosts
        return PlayIterator(inventory=self._inventory, play=play, play_context=play_context, variable_manager=self._variable_manager,
                            all_vars=self._variable_manager.get_vars(play=play), start_at_done=self._tqm._start_at_done)

    def _ship(self, iterator, play_context, hosts):
        codes = {}

        def heard(answer):
            name, code, printed, complained = answer
            codes[name] = code
            display.banner("QUBESOS [disp-mgmt-%s: PLAY %s]" % (name, iterator._play.name))
            for text in (complained, printed):
                if text:
                    display.display(text)

        def broken(error):
            display.display("[ERROR]: %s\n%s" % (error, "".join(traceback.format_exception(None, error, error.__traceback__))))

        pool = multiprocessing.get_context("fork").Pool(self._tqm._forks)
        for host in hosts:
            pool.apply_async(in_a_disposable, (self._for(iterator, play_context, [host]), play_context, TEMPLATE),
                             callback=heard, error_callback=broken)
        pool.close()
        pool.join()
        return self._count(iterator, hosts, codes)

    def _count(self, iterator, hosts, codes):
        for host in hosts:
            code = codes.setdefault(host.name, NOT_HEARD)
            self._tqm._stats.increment("failures" if code else "ok", host.name)
            if code and AFTER_FAILURE != "goes_on":
                iterator.mark_host_failed(host)
        if AFTER_FAILURE == "ends" and any(codes.values()):
            return self._tqm.RUN_FAILED_BREAK_PLAY
        return max(codes.values(), default=self._tqm.RUN_OK)
