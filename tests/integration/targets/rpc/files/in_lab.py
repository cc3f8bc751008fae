# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a command on a machine that has a client of Qubes RPC, and prints what the services of the qubes were called for, and what they read.

    in_lab.py tests/lab MACHINE COMMAND...      MACHINE is dom0, admin or qube

Standard output is the command's, and then a line of JSON: {"calls": ["QUBE SERVICE+ARGUMENT"], "records": {"QUBE.SERVICE": TEXT}}.
"""

import json
import os
import subprocess
import sys


def main(lab_files, machine, *command):
    sys.path.insert(0, lab_files)
    from adminlab import AdminLab

    with AdminLab() as lab:
        lab.add_many({"it-work": {}, "it-other": {}, "it-off": {"state": "Halted"}})
        for service in ("qubes.SetDateTime", "qubes.SetMonitorLayout", "qubes.SetGuiMode", "qubes.WaitForSession", "it.Record"):
            lab.recorder(service)
        lab.service("qubes.GetDate", "#!/bin/sh\ntest \"$LAB_QUBE\" = it-other || exec date -u -Iseconds\nexec date -u -Iseconds -d '-1 hour'\n")
        lab.service("it.Say", "#!/bin/sh\nprintf '{{ 40 + 2 }}\\033[31m\\n'\n")
        lab.service("it.Fail", "#!/bin/sh\ntest \"$LAB_QUBE\" != it-other || exit 3\n")
        env = {**os.environ, **lab.environment("" if machine == "qube" else machine), "XDG_RUNTIME_DIR": lab.folder}
        status = subprocess.run(command, env=env, check=False).returncode
        calls = [call for call in lab.calls() if not call.service.startswith("admin.")]
        print(json.dumps({
            "clients": sorted({call.client for call in calls}),
            "calls": [" ".join([call.target, "+".join(filter(None, [call.service, call.argument]))]) for call in calls],
            "records": {name: content.decode() for name, content in lab.records().items()},
        }))
    return status


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
