"""What operators see, against a real Prometheus that scrapes a real run: the page of metrics, every query of the dashboards,
every recording rule, every alert; and alerts that fire in faults made for them.

    dashboards.py PRESCREEN FOLDER [--pictures FOLDER]

One line for each check, FAILED in front of those that failed. `--pictures` draws what each panel shows (needs matplotlib).
"""

import contextlib
import itertools
import json
import math
import re
import shutil
import subprocess
import sys
import textwrap
import threading
import time
import urllib.parse
import urllib.request
from pathlib import Path

from service import Service, free_port, until

ROOT = Path(__file__).resolve().parents[2]
PROMETHEUS = ROOT / "compose/prometheus"
DASHBOARDS = sorted((ROOT / "compose/grafana/dashboards").glob("*.json"))
LABELS = {
    "backend", "buffer", "call", "cause", "certainty", "check", "code", "config_sha256", "feature", "group", "kind", "le",
    "model_sha256", "monitor", "outcome", "partition", "priority", "reason", "revision", "stage", "state", "step", "topic",
    "transfer_syntax", "verdict", "version",
}
MOST_SERIES = 1200  # of one family, buckets included: checks by buckets


class Prometheus:
    """Debian's, with rules of a folder, scraping `target` each second."""

    def __init__(self, folder, target, rules):
        folder.mkdir(parents=True)
        self.address, self.log = f"127.0.0.1:{free_port()}", folder / "log"
        settings = (PROMETHEUS / "prometheus.yaml").read_text()
        for ours, here in (
            ("scrape_interval: 10s", "scrape_interval: 1s"),
            ("evaluation_interval: 10s", "evaluation_interval: 1s"),
            ("127.0.0.1:8080", target),
            ("rules/*.yaml", f"{rules}/*.yaml"),
        ):
            assert settings.count(ours) == 1, f"prometheus.yaml has no {ours!r}"
            settings = settings.replace(ours, here)
        (folder / "prometheus.yaml").write_text(settings)
        self.command = [
            "prometheus", f"--config.file={folder}/prometheus.yaml", f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address={self.address}",
        ]

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdout=self.log.open("wb"), stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        try:
            until(f"Prometheus answers; see {self.log}", self.ready)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(30)

    def ready(self):
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.ask("query", query="up == 1")["result"]
        except OSError:
            return None

    def ask(self, what, **parameters):
        url = f"http://{self.address}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            return json.load(answer)["data"]

    def values(self, expression):
        """The finite values that an expression has now."""
        values = [float(sample["value"][1]) for sample in self.ask("query", query=expression)["result"]]
        return [value for value in values if math.isfinite(value)]

    def firing(self):
        return {alert["labels"]["alertname"] for alert in self.ask("alerts")["alerts"] if alert["state"] == "firing"}


def panels():
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            if panel["type"] != "row":
                yield path.stem, panel


FAILED = []


def check(name, ask):
    """A line about what `ask` says, or what it fails with."""
    try:
        print(f"ok     {name}: {ask()}", flush=True)
    except Exception as error:  # whatever it is, the other checks go on
        FAILED.append(name)
        print(f"FAILED {name}: {error}", flush=True)


def lint(page):
    said = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout + said.stderr
    return f"{page.count('# TYPE')} families"


def bounded(page):
    """No label but those of the list, and no value that looks like a study, a person or a path."""
    series = {}
    for line in page.splitlines():
        name, labels = re.fullmatch(r'(#.*|(\w+)(?:\{(.*)\})? \S+)', line).group(2, 3)
        if name is None:
            continue
        series[name] = series.get(name, 0) + 1
        for label, value in re.findall(r'(\w+)="([^"]*)"', labels or ""):
            assert label in LABELS, f"{name} has label {label}"
            assert not re.search(r"\d+\.\d+\.\d+\.\d+|\^|/", value), f"{name} has {label}={value}"
    name = max(series, key=series.get)
    assert series[name] <= MOST_SERIES, f"{name} has {series[name]} series"
    return f"{sum(series.values())} series, {series[name]} of {name}"


def phantoms(binary, folder, *options):
    """The folders of studies made for it."""
    subprocess.run([binary, "phantom", "echo", "--out", str(folder), *options], check=True, capture_output=True)
    return sorted(path for path in folder.iterdir() if path.is_dir())


def every_panel(prometheus):
    def empty():
        return [
            f"{board}: {panel['title']}: {target['expr']}"
            for board, panel in panels()
            for target in panel["targets"]
            if not prometheus.values(target["expr"])
        ]

    try:
        until("every panel has data", lambda: not empty(), 90, 2)
    except AssertionError:
        raise AssertionError("without data: " + "; ".join(empty())) from None
    return f"{sum(len(panel['targets']) for _, panel in panels())} queries of {len(list(panels()))} panels have data"


def every_rule(prometheus):
    rules = lambda: [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
    # A group is evaluated for the first time somewhere within its interval.
    until("every rule is evaluated", lambda: all(rule["health"] != "unknown" for rule in rules()), 90, 2)
    rules = rules()
    wrong = [f"{rule['name']}: {rule.get('lastError')}" for rule in rules if rule["health"] != "ok"]
    assert not wrong, "; ".join(wrong)
    records = {rule["name"] for rule in rules if rule["type"] == "recording"}
    empty = lambda: [name for name in records if not prometheus.values(name)]
    try:
        until("every recording has data", lambda: not empty(), 90, 2)
    except AssertionError:
        raise AssertionError(f"without data: {', '.join(sorted(empty()))}") from None
    alerts = {rule["name"] for rule in rules if rule["type"] == "alerting"}
    return f"{len(records)} recordings have data, {len(alerts)} alerts are evaluated"


def quiet(prometheus):
    firing = prometheus.firing()
    assert not firing, f"in a healthy run: {', '.join(sorted(firing))}"
    return "no alert fires in a healthy run"


def shortened(folder):
    """The same rules with a second for each minute, and objectives to match."""
    folder.mkdir(parents=True)
    for path in PROMETHEUS.glob("rules/*.yaml"):
        text = re.sub(r"(for: |interval: |\[)(\d+)m\b", r"\g<1>\g<2>s", path.read_text())
        if path.stem == "alerts":
            for ours, here in (
                ('{lane="urgent"} > 120', '{lane="urgent"} > 10'),
                ('{lane="routine"} > 600', '{lane="routine"} > 10'),
                ('stage="report"}) > 300', 'stage="report"}) > 25'),
                # The window of a second a minute holds too few scrapes of a lag read every two seconds.
                ("prescreen_dlq_records[15s]", "prescreen_dlq_records[60s]"),
            ):
                assert text.count(ours) == 1, f"alerts.yaml has no {ours!r}"
                text = text.replace(ours, here)
        (folder / path.name).write_text(text)
    return folder


def fires(prometheus, *names, seconds=90):
    missing = lambda: set(names) - prometheus.firing()
    try:
        until("alerts fire", lambda: not missing(), seconds, 0.5)
    except AssertionError:
        raise AssertionError(f"{', '.join(sorted(missing()))} did not fire within {seconds} s") from None


def ends(prometheus, *names, seconds=120):
    until(f"{', '.join(names)} end", lambda: not set(names) & prometheus.firing(), seconds, 0.5)


def paused(service, prometheus, study):
    service.post("/api/stages/inference/pause")
    service.ingest_and_leave(study)
    begun = time.monotonic()
    fires(prometheus, "OldestStudyTooOld", "HeartbeatLost")
    took = time.monotonic() - begun
    service.post("/api/stages/inference/resume")
    ends(prometheus, "OldestStudyTooOld", "HeartbeatLost")
    return f"OldestStudyTooOld and HeartbeatLost fire within {took:.0f} s of a pause of inference and end after it"


def lost_blobs(service, prometheus, studies):
    service.post("/api/stages/quality_gate/pause")
    service.ingest_and_leave(studies)
    waiting = 'sum(prescreen_kafka_lag_records{group="prescreen.quality_gate", topic="study.acquired.v1"})'
    until("the studies wait for the gate", lambda: prometheus.values(waiting)[0] >= len(studies))
    raw = service.data_dir / "blobs/raw"
    lost = [path for path in raw.rglob("*") if path.is_file()]
    assert lost, f"no blobs below {raw}"
    for path in lost:
        path.unlink()
    service.post("/api/stages/quality_gate/resume")
    fires(prometheus, "DlqGrowing")
    return f"DlqGrowing fires when {len(lost)} objects of {len(studies)} studies are lost"


def stalled(service, prometheus, study):
    service.ingest_and_leave(study)
    fires(prometheus, "ConsumerStalled")
    return "ConsumerStalled fires where a consumer is made anew before it can read"


def gone(service, prometheus):
    service.process.kill()
    service.process.wait()
    fires(prometheus, "TargetMissing")
    return "TargetMissing fires when the process is killed"


class Watched(Service):
    def ingest_and_leave(self, studies):
        """Hands studies over without waiting for what becomes of them."""
        done = subprocess.run(
            [self.binary, "ingest", "--data-dir", str(self.data_dir), "--json", *map(str, studies)],
            capture_output=True, text=True, timeout=120, check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    @contextlib.contextmanager
    def fed(self, folder):
        """One new study after the other while the block lasts, so that there are rates."""
        enough = threading.Event()

        def feed():
            for seed in itertools.count(1001):
                study = folder / str(seed)
                self.ingest_and_leave(phantoms(self.binary, study, "--count", "1", "--seed", str(seed)))
                shutil.rmtree(study)
                if enough.wait(1):
                    return

        feeder = threading.Thread(target=feed)
        feeder.start()
        try:
            yield
        finally:
            enough.set()
            feeder.join()


def target(service):
    return service.url.removeprefix("http://")


def draw(prometheus, folder, begun):
    from matplotlib import pyplot  # only for pictures

    folder.mkdir(parents=True, exist_ok=True)
    end = time.time()
    for path in DASHBOARDS:
        board = json.loads(path.read_text())
        charts = [panel for panel in board["panels"] if panel["type"] == "timeseries"]
        stats = [panel for panel in board["panels"] if panel["type"] == "stat"]
        rows = -(-len(charts) // 3)
        figure, axes = pyplot.subplots(rows, 3, figsize=(15, 1 + 2.4 * rows), layout="constrained", squeeze=False)
        shown = []
        for panel in stats:
            values = prometheus.values(panel["targets"][0]["expr"])
            shown.append(f"{panel['title']}: {values[0]:.4g}")
        figure.suptitle("\n".join([board["title"], "   ".join(shown)]), fontsize=11)
        for axis, panel in zip(axes.flat, charts):
            axis.set_title(panel["title"], fontsize=9, loc="left")
            axis.tick_params(labelsize=7)
            for query in panel["targets"]:
                answer = prometheus.ask("query_range", query=query["expr"], start=begun, end=end, step=max((end - begun) / 200, 1))
                for series in answer["result"]:
                    legend = re.sub(r"\{\{(\w+)\}\}", lambda match: series["metric"].get(match[1], ""), query["legendFormat"])
                    points = [(at - begun, float(value)) for at, value in series["values"]]
                    axis.plot(*zip(*points), label=textwrap.shorten(legend, 28), linewidth=1)
            axis.set_ylim(bottom=0)
            axis.set_ylabel({"s": "s", "percentunit": "share", "ops": "1/s", "bytes": "bytes"}.get(panel["fieldConfig"]["defaults"]["unit"], ""), fontsize=7)
            if len(axis.get_lines()) <= 8:
                axis.legend(fontsize=6, loc="upper left", framealpha=0.5)
        for axis in axes.flat[len(charts):]:
            axis.set_axis_off()
        figure.savefig(folder / f"{path.stem}.png", dpi=72)
        print(f"drawn  {folder / path.stem}.png", flush=True)


def main():
    binary, folder, *options = sys.argv[1:]
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    pictures = Path(options[1]) if options[:1] == ["--pictures"] else None
    spoiled = phantoms(binary, folder / "spoiled", "--count", "2", "--seed", "31", "--corrupt", "blur:5")
    six = phantoms(binary, folder / "six", "--count", "7", "--seed", "51")
    one = phantoms(binary, folder / "one", "--count", "1", "--seed", "71")
    settings = dict(model__path="", heartbeat__every="5s", runtime__record_attempts="1", log__filter="info", quiet_time="1s")
    short = shortened(folder / "short-rules")

    with Watched(binary, folder / "service", **settings) as service:
        with (
            Prometheus(folder / "prometheus", target(service), PROMETHEUS / "rules") as prometheus,
            Prometheus(folder / "hasty", target(service), short) as hasty,
        ):
            begun = time.time()
            with service.fed(folder / "fed"):
                service.ingest_and_leave(spoiled)
                check("every panel of the dashboards", lambda: every_panel(prometheus))
                check("every rule", lambda: every_rule(prometheus))
                check("a healthy run", lambda: quiet(prometheus))
                page = service.get("/metrics").decode()
                check("promtool check metrics", lambda: lint(page))
                check("labels", lambda: bounded(page))
                if pictures:
                    draw(prometheus, pictures, begun)
            check("a stage that stands", lambda: paused(service, hasty, one))
            check("objects that are lost", lambda: lost_blobs(service, hasty, six))
    with Watched(binary, folder / "restless", runtime__position_stall="1ms", log__filter="off", quiet_time="1s") as service:
        with Prometheus(folder / "restless-prometheus", target(service), short) as prometheus:
            check("a consumer that cannot read", lambda: stalled(service, prometheus, one))
            check("a process that is gone", lambda: gone(service, prometheus))
    print(f"{'FAILED' if FAILED else 'ok    '} the dashboards came to its end", flush=True)
    sys.exit(bool(FAILED))


if __name__ == "__main__":
    main()
