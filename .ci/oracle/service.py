"""A running prescreen, asked and looked at from outside."""

import json
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

AE_TITLE = "PRESCREEN"
PEER = "ORACLE"


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def until(what, condition, seconds=60, every=0.2):
    """The first true value of `condition`; fails loudly after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(every)


class Service:
    """`prescreen run` on embedded parts below `folder`; stopped with the `with` block."""

    def __init__(self, binary, folder, quiet_time="2s", **settings):
        """`settings`: more options, `__` for the dot between section and key."""
        self.binary, self.data_dir, self.log = str(binary), folder / "data", folder / "log"
        self.port, self.quiet_time = free_port(), quiet_time
        self.settings = {key.replace("__", "."): value for key, value in settings.items()}
        folder.mkdir(parents=True)

    def __enter__(self):
        settings = {
            "console.listen": "127.0.0.1:0",
            "intake.listen": f"127.0.0.1:{self.port}",
            "intake.quiet_time": self.quiet_time,
            "intake.peers": f'[{{ae_title="{PEER}"}}]',
            # What must not be logged is not logged at any level.
            "log.filter": "debug",
            # Asked once a study: what is looked at here is the way, not the answer.
            "model.path": "glm4v-untrained",
            **self.settings,
        }
        command = [self.binary, "run", "--data-dir", str(self.data_dir)]
        for key, value in settings.items():
            command += ["--set", f"{key}={value}"]
        self.process = subprocess.Popen(command, stdout=self.log.open("wb"), stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        try:
            entry = self.data_dir / "api.json"
            until(f"{entry} written; see {self.log}", lambda: self.alive() and entry.exists() and entry.read_text())
            self.url, self.token = (json.loads(entry.read_text())[key] for key in ("url", "token"))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError("the service did not stop within 30 s of SIGTERM") from None

    def alive(self):
        if self.process.poll() is not None:
            tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
            raise AssertionError(f"the service ended with {self.process.returncode}:\n{tail}")
        return True

    def get(self, path):
        """Body of an answer; None where there is nothing of the kind."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=30) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise

    def post(self, path):
        """Asks for a change, as whoever holds the token."""
        request = urllib.request.Request(self.url + path, b"", {"authorization": f"Bearer {self.token}"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.read()

    def study(self, uid):
        """The newest revision of a study, or None."""
        body = self.get(f"/api/studies/{uid}")
        revisions = json.loads(body)["revisions"] if body else []
        return max(revisions, key=lambda row: row["revision"], default=None)

    def ended(self, uid, seconds=120):
        """(state, reason) of a study once it is terminal."""
        def terminal():
            row = self.alive() and self.study(uid)
            return row if row and row["state"] != "in_progress" else None

        row = until(f"study {uid} terminal", terminal, seconds)
        return row["state"], row["reason"]

    def ingest(self, *paths):
        """(exit code, the line of each study by its UID, what was said of refused files)."""
        done = subprocess.run(
            [self.binary, "ingest", "--data-dir", str(self.data_dir), "--json", "--wait", *map(str, paths)],
            capture_output=True, text=True, timeout=300, check=False,
        )
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        refused = [f"{line['file']}: refused: {line['reason']}" for line in lines if line["state"] == "refused"]
        studies = {line["study_uid"]: line for line in lines if line["state"] != "refused"}
        return done.returncode, studies, "\n".join(refused) + done.stderr

    def processes(self):
        """The service and its decode workers."""
        yield self.process.pid
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            yield from map(int, (task / "children").read_text().split())

    def forget_peaks(self):
        """Lets every peak begin at what is resident now (proc(5), clear_refs)."""
        for pid in self.processes():
            Path(f"/proc/{pid}/clear_refs").write_text("5")

    def peak(self):
        """The largest resident sizes of the service and of its workers since `forget_peaks`, together, in MiB."""
        return sum(map(peak_of, self.processes()))


def peak_of(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) // 1024
