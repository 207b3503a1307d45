"""DICOM from the outside into a running service: dcmtk, real ultrasound, hostile objects, and what may not be seen afterwards.

    python exchange.py PRESCREEN FOLDER_OF_PHANTOMS WORK_FOLDER

Prints a line for each check; exit 1 if one failed.
"""

import signal
import subprocess
import sys
import warnings
from pathlib import Path

import data_store
import pydicom
from pydicom.uid import generate_uid

import data_sets
import dimse
import hostile
from service import AE_TITLE, PEER, Service, free_port, until

# pynetdicom, where somebody has it, installs programs of the same names.
DCMTK = Path("/usr/bin")
MARK = "XQZORACLE7731"

# How dcmtk is told to propose a file's own transfer syntax, and a sample of each.
TRANSFERS = {
    "gdcm-US-ALOKA-16": "-xi",
    "MR_small_implicit": "-xi",
    "OBXXXX1A": "-xe",
    "US1_UNCR": "-xe",
    "test-SR": "-xe",
    "ExplVR_BigEnd": "-xb",
    "gdcm-US-ALOKA-16_big": "-xb",
    "examples_ybr_color": "-xy",
    "color3d_jpeg_baseline": "-xy",
    "JPGExtended": "-xx",
    "JPGLosslessP14SV1_1s_1f_8b": "-xs",
    "US1_J2KR": "-xv",
    "US1_J2KI": "-xw",
    "MR_small_jpeg_ls_lossless": "-xt",
    "JPEGLSNearLossless_08": "-xu",
    "OBXXXX1A_rle_2frame": "-xr",
    "image_dfl": "-xd",
}

# Real ultrasound, and the ends that a sonographer would accept, having seen the pictures.
ACCEPTABLE = {
    # Apical four-chamber loop of exactly 1 s, dark, lateral wall hardly seen.
    "examples_ybr_color": {"TRUNCATED", "LOW_CONTRAST", "UNDER_GAIN"},
    # The same loop in full: 4 s, dark; myocardium and blood differ by less than 50 grey levels.
    "color3d_jpeg_baseline": {"LOW_CONTRAST", "UNDER_GAIN"},
    # The upper half of the next one, without the sector's lower border.
    "examples_palette": {"NO_APPLICABLE_INSTANCE", "SINGLE_FRAME", "NO_FAN"},
    # One obstetric still with a caliper.
    "OBXXXX1A": {"NO_APPLICABLE_INSTANCE", "SINGLE_FRAME"},
    # One parasternal still with calipers on the aorta.
    "JPGLosslessP14SV1_1s_1f_8b": {"NO_APPLICABLE_INSTANCE", "SINGLE_FRAME"},
}
# The service may grow by so much, in MiB, whatever it is sent.
GROWTH = 200

failures = 0


def check(name, ok, said=""):
    """Prints a check and counts it if it failed."""
    global failures
    failures += not ok
    print(f"{'ok    ' if ok else 'FAILED'} {name}{': ' + str(said) if said != '' else ''}", flush=True)


def sample(name):
    """A file of pydicom or pydicom-data; as in compare.py the later folder counts."""
    for folder in (Path(data_store.__file__).parent / "data", Path(pydicom.__file__).parent / "data" / "test_files"):
        if (folder / f"{name}.dcm").exists():
            return folder / f"{name}.dcm"
    raise FileNotFoundError(f"{name}.dcm is in neither pydicom nor pydicom-data")


def marked(name, folder):
    """A copy of a sample that is an object and a study of its own, with an identity that is easily found again."""
    data_set = pydicom.dcmread(sample(name))
    instance = generate_uid()
    data_set.file_meta.MediaStorageSOPInstanceUID = data_set.SOPInstanceUID = instance
    data_set.StudyInstanceUID, data_set.SeriesInstanceUID = generate_uid(), generate_uid()
    data_set.PatientName, data_set.PatientID = f"{MARK}^NAME", f"{MARK}-ID"
    data_set.AccessionNumber, data_set.ReferringPhysicianName = f"{MARK}-A", f"{MARK}^DOCTOR"
    data_set.StudyDescription, data_set.PatientBirthDate = f"{MARK} free text", "18830717"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.dcm"
    data_set.save_as(path)
    return path


def dcmtk(program, port, *arguments, calling=PEER, called=AE_TITLE):
    """(exit code, what the program said)."""
    command = [DCMTK / program, "-aet", calling, "-aec", called, *arguments[:-1], "127.0.0.1", str(port), *arguments[-1]]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=120, check=False)
    return done.returncode, done.stdout + done.stderr


def last_line(text):
    return next(reversed([line.strip() for line in text.splitlines() if line.strip()]), "")


def verification(service):
    code, said = dcmtk("echoscu", service.port, [])
    check("echoscu from a listed AE title", code == 0, last_line(said))
    code, said = dcmtk("echoscu", service.port, [], calling="STRANGER")
    check("echoscu from an unknown AE title is refused", code != 0 and "Calling AE Title Not Recognized" in said, last_line(said))
    code, said = dcmtk("echoscu", service.port, [], called="ELSEWHERE")
    check("echoscu to another AE title is refused", code != 0 and "Called AE Title Not Recognized" in said, last_line(said))
    code, said = dcmtk("storescu", service.port, "-xy", [str(sample("examples_ybr_color"))], calling="STRANGER")
    check("storescu from an unknown AE title is refused", code != 0, last_line(said))


def transfers(service, files, work):
    """Sends each file to the service and to dcmtk's bit-preserving receiver: both must have got the same data set."""
    reference = work / "storescp"
    reference.mkdir()
    port = free_port()
    receiver = subprocess.Popen(
        [DCMTK / "storescp", "+xa", "+B", "-od", reference, str(port)], stdin=subprocess.DEVNULL,
        stdout=(work / "storescp.log").open("wb"), stderr=subprocess.STDOUT,
    )
    try:
        until("storescp answers", lambda: dcmtk("echoscu", port, [])[0] == 0, 20)
        for path, flag in files:
            before = set(reference.iterdir())
            theirs, said = dcmtk("storescu", port, flag, [str(path)])
            new = set(reference.iterdir()) - before
            code, answer = dcmtk("storescu", service.port, "-v", flag, [str(path)])
            name = f"storescu {flag} {path.stem}"
            if theirs != 0 or len(new) != 1:
                check(name, False, f"dcmtk's own storescp did not take it: {last_line(said)}")
                continue
            if code != 0 or "Success" not in answer:
                check(name, False, answer)
                continue
            expected = data_sets.digest(new.pop())
            stored = until_stored(service, expected)
            # dcmtk writes lengths its own way; the reference is what it sent, not what it read.
            source = "the file" if expected == data_sets.digest(path) else "what dcmtk made of the file"
            check(name, stored, f"byte-identical to {source}" if stored else f"no blob holds data set {expected}")
    finally:
        receiver.terminate()
        receiver.wait()


def until_stored(service, digest):
    """Has a blob with this data set appeared? The publisher follows the association by a moment."""
    try:
        return until("", lambda: service.alive() and digest in data_sets.below(service.data_dir / "blobs" / "raw"), 15)
    except AssertionError:
        service.alive()
        return False


def good_study(service, phantoms, name):
    """A phantom through storescu, to its report."""
    files = sorted(phantoms.glob("*.dcm"))
    code, said = dcmtk("storescu", service.port, "-xy", [str(path) for path in files])
    if code != 0:
        return check(name, False, last_line(said))
    state, reason = service.ended(phantoms.name)
    check(name, state == "reported", f"{state} {reason or ''}".strip())


def bounded(service, before, name):
    now = service.peak()
    check(name, now <= before + GROWTH, f"{before} MiB before, {now} MiB at most after, {GROWTH} MiB of growth allowed")


def attacks(service, before):
    stored = []
    for case in hostile.all_of_them(sample("color3d_jpeg_baseline")):
        try:
            status, comment = dimse.store(
                ("127.0.0.1", service.port), PEER.encode(), AE_TITLE.encode(),
                case.sop_class, case.transfer_syntax, case.instance, case.data_set,
            )
        except (OSError, ConnectionError) as error:
            check(f"hostile: {case.name}", False, f"no response: {error}")
            service.alive()
            continue
        right = status == case.status and comment == case.comment
        check(f"hostile: {case.name}", right, f"{status:04X} {comment}".strip() + ("" if right else f", not {case.status:04X} {case.comment}"))
        if status == hostile.TAKEN:
            stored.append(case)
    for case in stored:
        state, reason = service.ended(case.study)
        right = state == "rejected" and reason == case.terminal
        check(f"hostile: {case.name}, its end", right, f"{state} {reason}" + ("" if right else f", not rejected {case.terminal}"))
    bounded(service, before, "memory stays bounded under hostile objects")
    check("nothing left the data directory", not Path("/tmp/prescreen-escaped").exists())


def real_ultrasound(binary, work):
    """The samples as they are. Two pairs share a SOP Instance UID with different pixels: the second of a pair is refused."""
    first = ["examples_ybr_color", "OBXXXX1A", "JPGLosslessP14SV1_1s_1f_8b"]
    second = ["color3d_jpeg_baseline", "examples_palette"]
    for names, others in ((first, second), (second, [])):
        with Service(binary, work / f"ultrasound-{len(names)}") as service:
            code, lines, said = service.ingest(*map(sample, names))
            check(f"ingest --wait of {len(names)} ultrasound samples", code == 0 and len(lines) == len(names), f"exit {code}, {len(lines)} studies {said.strip()}".strip())
            for name in names:
                line = lines.get(str(pydicom.dcmread(sample(name), stop_before_pixels=True).StudyInstanceUID), {})
                state, reason = line.get("state"), line.get("reason")
                check(f"{name} ends as a sonographer would accept", state == "rejected" and reason in ACCEPTABLE[name], f"{state} {reason}")
            privacy(service, identities(map(sample, names)), lines)
            for name in others:
                code, lines, said = service.ingest(sample(name))
                check(f"{name} under a UID that other pixels have is refused", code == 1 and not lines and "in quarantine" in said, last_line(said).split(": ", 1)[-1])


def identities(paths):
    """What of the headers may appear nowhere but in raw objects and in the identity table."""
    headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in paths]
    values = {str(header.get(keyword, "")).encode() for header in headers for keyword in ("PatientName", "PatientID")}
    # "204" is in every log; what is that short is covered by the marked copies.
    return {value for value in values if len(value) >= 6}


def privacy(service, secrets, studies):
    """Looks for identities in everything that leaves the raw store and the identity table."""
    pages = ["/", "/studies", "/api/status", "/api/studies", "/api/openapi.json", "/metrics"]
    pages += [page + uid for uid in studies for page in ("/api/studies/", "/studies/")]
    answers = {page: service.get(page) for page in pages}
    missing = [page for page, body in answers.items() if body is None]
    check("pages and API answer for every study", not missing, missing or f"{len(answers)} asked")
    # Here identities belong: the objects themselves, and the database that holds the identity table.
    raw = [service.data_dir / place for place in ("spool", "uploads", "blobs/raw", "postgres")]
    files = [path for path in service.data_dir.rglob("*") if path.is_file()]
    broker = [path for path in files if path.is_relative_to(service.data_dir / "broker")]
    rest = [path for path in files if path not in broker and not any(path.is_relative_to(place) for place in raw)]
    found = {"answers": leaks(answers.items(), secrets)}
    for place, paths in {"the log": [service.log], "the broker": broker, "the rest of the data directory": rest}.items():
        found[place] = leaks(((path, path.read_bytes()) for path in paths), secrets)
    for place, hits in found.items():
        check(f"no name or patient id in {place}", not hits, hits[:3] or f"{len(secrets)} strings looked for")
    # The search is worth something only where it would find: segments show the study, raw objects the name.
    segments = b"".join(path.read_bytes() for path in broker)
    check("what is in the broker can be found", all(uid.encode() in segments for uid in studies))
    stored = b"".join(path.read_bytes() for path in raw[2].rglob("*") if path.is_file())
    check("raw objects keep their names", any(secret in stored for secret in secrets))


def leaks(texts, secrets):
    """Where a secret occurs, by length only: the report of a leak is none itself."""
    return [f"{where}: a value of {len(secret)} bytes" for where, text in texts for secret in secrets if text and secret in text]


def main(binary, phantoms, work):
    warnings.simplefilter("ignore")
    studies = sorted(path for path in phantoms.iterdir() if path.is_dir())
    copies = [(marked(name, work / "sent"), flag) for name, flag in TRANSFERS.items()]
    with Service(binary, work / "exchange") as service:
        verification(service)
        good_study(service, studies[0], "a phantom by storescu is reported")
        transfers(service, copies + [(path, "-xy") for path in sorted(studies[0].glob("*.dcm"))], work)
        sent = [str(pydicom.dcmread(path, stop_before_pixels=True).StudyInstanceUID) for path, _ in copies]
        ends = [service.ended(uid) for uid in sent]
        check("every study by storescu ends", True, ", ".join(sorted({f"{state} {reason}" for state, reason in ends})))
        service.forget_peaks()
        before = service.peak()
        attacks(service, before)
        good_study(service, studies[1], "the next good study is reported")
        phantom_files = [path for study in studies for path in study.glob("*.dcm")]
        secrets = identities([path for path, _ in copies] + phantom_files) | {MARK.encode(), b"18830717", b"HOSTILE^PATIENT"}
        privacy(service, secrets, sent + [study.name for study in studies])
    real_ultrasound(binary, work)


if __name__ == "__main__":
    # The service ends with us.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
    check("the exchange came to its end", True)
    sys.exit(1 if failures else 0)
