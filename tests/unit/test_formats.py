# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The texts of the files that the roles render."""

from __future__ import annotations

import subprocess
import sys

import pytest
from ansible_collections.qubes.vmconfig.plugins.module_utils import _formats
from ansible_collections.qubes.vmconfig.plugins.module_utils._formats import dns_redirect, resolver, timezone, uplink, xkb


@pytest.mark.parametrize("module", [dns_redirect, resolver, timezone, uplink, xkb])
def test_every_text_has_its_name_once(module):
    assert all(_formats.TEXTS[name] is text for name, text in module.TEXTS.items())


@pytest.mark.parametrize("module", [dns_redirect, resolver, timezone, uplink, xkb])
def test_without_keys_there_is_nothing_to_write(module):
    assert module.files(module.wanted({}), "Debian", _formats.Machine()) == []


def test_they_need_nothing_but_the_standard_library():
    # As at boot: no site packages, no Ansible.
    folder = _formats.__path__[0]
    code = "import sys; sys.path.insert(0, %r); import _formats; assert not any('ansible' in name for name in sys.modules)" % folder.rpartition("/")[0]
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True)
