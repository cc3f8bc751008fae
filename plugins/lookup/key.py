# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: key
short_description: Read configuration keys on the controller
version_added: 0.1.0
description:
  - Reads the B(controller's) store, as every lookup runs there. For what another machine's store holds use
    P(qubes.vmconfig.keys_info#module) on that machine.
  - A documented key is checked against the interface, and an error when it is not as it should be, because a qube may have
    written anything. P(qubes.vmconfig.keys_info#module) shows such values.
author:
  - qubes.vmconfig contributors (@qubes-vmconfig)
options:
  _terms:
    description:
      - Names of keys, each of which gives its value.
      - A glob, in which V(*) also matches a slash, gives one dictionary of the keys that match it and their values.
    required: true
  qube:
    description:
      - The qube, by its name, its domid or as V(self).
    type: str
    default: self
  default:
    description:
      - What a key that is not there gives. Without it that is an error; V(none) counts as given.
    type: raw
  typed:
    description:
      - Return values of their types, such as booleans, and not their text.
    type: bool
    default: false
  store:
    description:
      - Where the keys are, as in P(qubes.vmconfig.keys_info#module).
    type: str
    default: auto
    vars:
      - name: vmconfig_controller_store
    env:
      - name: QUBES_VMCONFIG_STORE
  store_timeout:
    description:
      - The longest silence of a store, in seconds.
    type: float
    default: 10
notes:
  - Asking for a secret is an error. A glob leaves it out.
  - Bytes that are not UTF-8 are a dictionary with the one key C(base64).
seealso:
  - module: qubes.vmconfig.keys_info
"""

EXAMPLES = r"""
- name: A key, with a value for when it is not there
  ansible.builtin.debug:
    msg: "{{ lookup('qubes.vmconfig.key', 'qubes-timezone', qube='work', default='UTC') }}"

- name: All services, as booleans
  ansible.builtin.debug:
    msg: "{{ lookup('qubes.vmconfig.key', 'qubes-service/*', qube='work', typed=true) }}"

- name: Several keys in one go
  ansible.builtin.debug:
    msg: "{{ query('qubes.vmconfig.key', 'qubes-ip', 'qubes-gateway', qube='work') }}"
"""

RETURN = r"""
_list:
  description: For each term its value, or for a glob a dictionary.
  type: list
  elements: raw
"""

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase

from ansible_collections.qubes.vmconfig.plugins.module_utils import _interface, _selection
from ansible_collections.qubes.vmconfig.plugins.module_utils._errors import Refused, VmconfigError
from ansible_collections.qubes.vmconfig.plugins.module_utils._inspect import read, selected
from ansible_collections.qubes.vmconfig.plugins.module_utils._plan import UNTOLD
from ansible_collections.qubes.vmconfig.plugins.module_utils._qubename import qube_name
from ansible_collections.qubes.vmconfig.plugins.module_utils._stores.opening import open_store
from ansible_collections.qubes.vmconfig.plugins.module_utils._text import plain, show

OPTIONS = ("qube", "default", "typed", "store", "store_timeout")

# A process keeps its stores open: a template may look up a thousand keys. No value is kept, and a forked child opens its own.
_stores = {}


def _store(url, timeout, qube):
    mark = (url, timeout, qube if url == "auto" else None)
    if mark not in _stores:
        _stores[mark] = _only(open_store(url, timeout, [qube]))
    return _stores[mark]


def _only(store):
    """The store, or the one that is open already: a QubesDB daemon may have one connection of a process at a time."""
    for mark, other in list(_stores.items()):
        if other.url == store.url and other.timeout == store.timeout:
            return other
        if other.url == store.url:
            other.close()
            del _stores[mark]
    return store


class LookupModule(LookupBase):
    """Keys of one qube."""

    def run(self, terms, variables=None, **kwargs):
        strange = sorted(set(kwargs).difference(OPTIONS))
        if strange:
            raise AnsibleLookupError("unknown option %s; expected one of %s" % (", ".join(map(show, strange)), ", ".join(OPTIONS)))
        # Ansible hands a variable to a lookup as it is written, which may be a template.
        given = (variables or {}).get("vmconfig_controller_store")
        store = {} if "store" in kwargs or given is None else {"store": self._templar.template(given)}
        self.set_options(var_options=variables, direct=dict(kwargs, **store))
        try:
            return self._values([str(term) for term in terms], "default" in kwargs)
        except VmconfigError as error:
            raise AnsibleLookupError(str(error)) from None

    def _values(self, terms, has_default):
        qube = qube_name(self.get_option("qube"))
        selection = selected(terms) if terms else None
        store = _store(self.get_option("store"), self.get_option("store_timeout"), qube)
        found = read(store, [qube], selection)[qube] if selection else None
        return [self._value(term, qube, store, found, has_default) for term in terms]

    def _value(self, term, qube, store, found, has_default):
        selection = _selection.select([term])
        if selection.globs:
            return {key: self._decoded(key, qube, value) for key, value in sorted(found.values.items())
                    if selection.matches(key) and value is not UNTOLD}
        key = selection.exact[0]
        if found.values.get(key) is UNTOLD:
            raise Refused("qube %s, key %s: it is there, but store %s does not tell its value; a live store does" % (show(qube), show(key), store.url))
        if key in found.values:
            return self._decoded(key, qube, found.values[key])
        if key in found.denied:
            raise Refused("qube %s, key %s: it may not be read in %s. %s" % (show(qube), show(key), store.url, found.hint))
        if has_default:
            return self.get_option("default")
        raise Refused("qube %s has no key %s in %s; give default if that may be" % (show(qube), show(key), store.url))

    def _decoded(self, key, qube, untrusted_value):
        try:
            value = _interface.decode(key, untrusted_value)
        except Refused as error:
            if _interface.free(key):
                return plain(untrusted_value)
            raise Refused("qube %s, key %s: its value %s is refused: %s" % (show(qube), show(key), show(untrusted_value), error)) from None
        return value if self.get_option("typed") else plain(untrusted_value)
