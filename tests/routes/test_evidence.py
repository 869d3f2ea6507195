"""Reports that are read, bundles that a stranger verifies, and every reading of a payload noted."""

from __future__ import annotations

import html
import io
import json
import re
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from service.audit import verify
from tests.asking import explained, predicted
from tests.audit.evidence import verified
from tests.running_server import Server, glassline

#: What a stranger's shell has: no project, no virtual environment, no variables.
BARE = ["env", "-i", "PATH=/usr/bin:/bin", "HOME=/tmp", "sh", "-c"]
ADA = {"person": "Ada Lovelace", "meaning": "reviewed and released"}


def report(http: httpx.Client, record: str, kind: str = "html") -> httpx.Response:
    answer = http.get(f"/audit/records/{record}/report", params={"format": kind})
    assert answer.status_code == 200, answer.text
    return answer


def page_text(answer: httpx.Response) -> str:
    """What a person reads of a page."""
    plain = re.sub(r"<style>.*?</style>", "", answer.text, flags=re.S)
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", plain)))


def pdf_text(answer: httpx.Response) -> str:
    """What a person reads of a PDF, by poppler, which is not what wrote it."""
    if shutil.which("pdftotext") is None:
        pytest.skip("NO pdftotext: what stands in the PDF goes UNTESTED; install poppler-utils")
    done = subprocess.run(
        ["pdftotext", "-layout", "-", "-"], input=answer.content, capture_output=True, check=True
    )
    assert done.stderr == b""
    return " ".join(done.stdout.decode().split())


def reads(http: httpx.Client, record: str) -> list[dict[str, Any]]:
    """The records of readings of a record's payloads, oldest first."""
    asked = {"about": record, "kind": "read", "order": "oldest"}
    found = http.get("/audit/records", params=asked).json()["records"]
    return [http.get(f"/audit/records/{one['id']}").json()["record"] for one in found]


@pytest.mark.parametrize("model", ["lenet-digits", "parts", "flow", "words", "thickness"])
def test_a_report_tells_all_that_is_known(
    auditor: httpx.Client, audited: Server, model: str
) -> None:
    record, explanation = explained(auditor, model, audited.home, num_samples=100)
    said = auditor.get(f"/audit/records/{record}").json()
    checkpoint = auditor.get("/audit/checkpoint").text.splitlines()
    keys = auditor.get("/audit/keys").json()["keys"]
    answer = report(auditor, record)
    assert answer.headers["content-type"].startswith("text/html")
    page = page_text(answer)
    body = said["record"]
    for wanted in (
        record, explanation, said["sha256"], body["model"]["manifest_sha256"],
        body["inputs"][0]["sha256"], body["request_id"], body["caller"], body["started_at"],
        f"{model}@1", f"Leaf {said['sequence'] - 1}, counted from 0", checkpoint[0],
        keys[0]["keyid"], "Fit, R²", "Nobody has reviewed", "python3 evidence/verify.py",
        *body["decision"]["labels"], body["environment"]["packages_sha256"],
    ):  # fmt: skip
        assert wanted in page, wanted
    if model == "lenet-digits":
        assert "accuracy" in page  # as measured on the test split
        manifest = json.loads(
            (audited.home / "bentoml/models/lenet-digits/1/manifest.json").read_text()
        )
        assert " ".join(manifest["card"].split()) in page
        assert answer.text.count("data:image/png") == 2
    if model == "parts":
        assert "width 3.5" in page
    if model == "words":
        assert "another scratch beside the dänt" in page
    assert not re.search(r'(?:src|href)="(?!data:)', answer.text), "something is outside the file"
    assert "<script" not in answer.text


def test_an_explanation_that_is_shared_is_found_from_each_prediction(
    auditor: httpx.Client, audited: Server
) -> None:
    first, explanation = explained(auditor, "parts", audited.home, seed=77, num_samples=100)
    other, shared = explained(auditor, "parts", audited.home, seed=77, num_samples=100)
    assert shared == explanation
    page = page_text(report(auditor, other))
    assert f"{explanation} made for prediction {first}" in page
    assert "Fit, R²" in page


def test_the_pdf_tells_what_the_page_tells(auditor: httpx.Client, audited: Server) -> None:
    record, explanation = explained(auditor, "lenet-digits", audited.home, num_samples=100)
    auditor.post(f"/audit/records/{record}/reviews", json={
        **ADA, "kind": "override", "decision": "3", "comment": "Ω ≤ 3 µm, 雪 <b>&"})  # fmt: skip
    answer = report(auditor, record, "pdf")
    assert answer.headers["content-type"] == "application/pdf"
    assert answer.content.startswith(b"%PDF-")
    assert f"report-{record}.pdf" in answer.headers["content-disposition"]
    text = pdf_text(answer)
    said = auditor.get(f"/audit/records/{record}").json()
    for wanted in (
        record, explanation, said["sha256"], said["record"]["model"]["manifest_sha256"],
        "Ada Lovelace: reviewed and released", "Another verdict 3", "accuracy",
        "Ω ≤ 3 µm, [U+96EA] <b>&", "1 of ", auditor.get("/audit/keys").json()["keys"][0]["keyid"],
    ):  # fmt: skip
        assert wanted in text, wanted
    by_accept = auditor.get(
        f"/audit/records/{record}/report", headers={"accept": "application/pdf"}
    )
    assert by_accept.content.startswith(b"%PDF-")


def test_what_people_said_stands_beside_the_answer_and_never_in_its_place(
    auditor: httpx.Client, audited: Server
) -> None:
    record = predicted(auditor, "parts", audited.home)
    before = auditor.get(f"/audit/records/{record}").json()
    first = page_text(report(auditor, record))
    decided = before["record"]["decision"]["labels"][0]
    assert f"“{decided}”" in first
    assert "not reviewed" in first
    assert f"POST /v2/records/{record}/explain" in first  # how to get an explanation
    for more in (
        {"kind": "review", "comment": "looked at the part"},
        {"kind": "override", "decision": "another", "comment": "a scratch behind the light"},
        {"kind": "correction", "correction": {"line": "7"}, "comment": "wrong line"},
    ):
        answer = auditor.post(f"/audit/records/{record}/reviews", json={**ADA, **more})
        assert answer.status_code == 201, answer.text
    page = page_text(report(auditor, record))
    assert f"“{decided}”" in page
    assert "overridden by Ada Lovelace: “another”" in page
    assert page.index("Review Ada") < page.index("Override Ada") < page.index("Correction Ada")
    for wanted in ("a scratch behind the light", '"line": "7"', "looked at the part"):
        assert wanted in page
    after = auditor.get(f"/audit/records/{record}").json()
    assert (after["record"], after["sha256"]) == (before["record"], before["sha256"])


def test_there_is_a_report_on_records_of_every_kind(auditor: httpx.Client, audited: Server) -> None:
    record, explanation = explained(auditor, "parts", audited.home, num_samples=100)
    review = auditor.post(
        f"/audit/records/{record}/reviews", json={**ADA, "kind": "review"}
    ).json()["review_id"]
    replay = auditor.post(f"/audit/records/{record}/replay").json()["replay_id"]
    load = auditor.get("/audit/records", params={"kind": "model-load", "limit": 1})
    others = [explanation, review, replay, load.json()["records"][0]["id"]]
    for one in others:
        assert one in page_text(report(auditor, one))
        assert report(auditor, one, "pdf").content.startswith(b"%PDF-")
    assert "Ada Lovelace" in page_text(report(auditor, review))
    assert record in page_text(report(auditor, explanation))


def bundle(http: httpx.Client, record: str, **asked: str) -> bytes:
    answer = http.get(f"/audit/records/{record}/bundle", params=asked)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/zip"
    return answer.content


def test_the_instructions_of_a_bundle_work_in_a_shell_without_this_project(
    auditor: httpx.Client, audited: Server, tmp_path: Path
) -> None:
    """Word for word what the report says, with the system's own python3 and openssl."""
    record, explanation = explained(auditor, "lenet-digits", audited.home, num_samples=100)
    commands = re.search(
        r"<pre>glassline audit bundle \S+ -o evidence.zip\n(.*?)</pre>",
        report(auditor, record).text, re.S,
    )  # fmt: skip
    assert commands, "the report does not say how"
    for one in (record, explanation):
        (folder := tmp_path / one).mkdir()
        (folder / "evidence.zip").write_bytes(bundle(auditor, one))
        done = subprocess.run(
            [*BARE, f"set -e; {html.unescape(commands[1])}"],
            cwd=folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert "IT HOLDS." in done.stdout
        assert f"Record {one} (" in done.stdout
        sums = subprocess.run(
            [*BARE, "cd evidence && sha256sum -c --quiet SHA256SUMS"], cwd=folder, check=False
        )
        assert sums.returncode == 0
    # The input in it is the picture that was sent.
    files = {n.filename: n for n in zipfile.ZipFile(folder / "evidence.zip").infolist()}
    payloads = json.loads((folder / "evidence/payloads.json").read_text())
    image = next(one for one in payloads if one["name"] == "image")
    assert image["file"] in files
    assert np.load(folder / "evidence" / image["file"]).shape == (1, 32, 32)


def test_a_bundle_for_somebody_who_may_not_see_the_input(
    auditor: httpx.Client, audited: Server, tmp_path: Path
) -> None:
    record = predicted(auditor, "words", audited.home)
    whole = bundle(auditor, record)
    noted = len(reads(auditor, record))
    without = bundle(auditor, record, payloads="withheld")
    assert len(reads(auditor, record)) == noted  # nothing was read
    text = "dänt".encode("utf-32-le")  # as .npy keeps it
    assert text in whole
    assert text not in without
    (path := tmp_path / "b.zip").write_bytes(without)
    status, said = verified(path)
    assert (status, "What payload 'x' was: it was left out." in said) == (0, True)


def test_every_reading_of_a_payload_is_recorded_with_who_and_what_for(
    auditor: httpx.Client, audited: Server
) -> None:
    record, explanation = explained(auditor, "parts", audited.home, num_samples=100)
    assert reads(auditor, record) == []
    payload = auditor.get(f"/audit/records/{record}/payloads/x")
    assert payload.headers["content-type"] == "application/x-npy"
    report(auditor, record)
    bundle(auditor, record)
    told = [(one["purpose"], one["names"], one["caller"]) for one in reads(auditor, record)]
    assert told == [(p, ["x"], "127.0.0.1") for p in ("payload", "report", "bundle")]
    answer = auditor.get(f"/v2/explanations/{explanation}", headers={"accept": "image/png"})
    assert answer.status_code == 200
    purposes = [one["purpose"] for one in reads(auditor, explanation)]
    assert purposes == ["report", "explanation"]
    # The report says so in turn.
    assert "report, payloads were read 3 times" in page_text(report(auditor, record))


def test_what_was_erased_is_told_everywhere_and_the_rest_holds(
    auditor: httpx.Client, audited: Server, tmp_path: Path
) -> None:
    record, explanation = explained(auditor, "lenet-digits", audited.home, num_samples=100)
    gone = auditor.delete(
        f"/audit/records/{record}/payloads", params={"reason": "the person shown asked for it"}
    )
    assert gone.status_code == 200, gone.text
    for one in (record, explanation):
        answer = auditor.post(f"/audit/records/{one}/replay")
        assert answer.status_code == 409
        assert "was erased" in answer.json()["error"]
        (path := tmp_path / "b.zip").write_bytes(bundle(auditor, one))
        status, said = verified(path)
        assert (status, "it was erased at 20" in said) == (0, True)
    again = auditor.post(f"/v2/records/{record}/explain", json={"parameters": {"seed": 9}})
    assert again.status_code == 409
    assert auditor.get(f"/audit/records/{record}/payloads/image").status_code == 409
    answer = report(auditor, record)
    page = page_text(answer)
    assert "Erased at 20" in page
    assert "the person shown asked for it" in page
    assert "payloads erased" in page
    assert "data:image" not in answer.text
    assert "Erased at 20" in page_text(report(auditor, explanation))
    assert report(auditor, record, "pdf").content.startswith(b"%PDF-")


def test_a_record_that_was_tampered_with_gets_no_evidence(
    auditor: httpx.Client, audited: Server
) -> None:
    from tests.routes.test_replay import tampered

    record = predicted(auditor, "parts", audited.home)

    def other(said: dict[str, Any]) -> None:
        said["decision"]["labels"] = ["another"]

    with tampered(audited, record, other):
        answer = auditor.get(f"/audit/records/{record}/bundle")
        assert answer.status_code == 503
        assert "inclusion proof" in answer.json()["error"]
        answer = auditor.get(f"/audit/records/{record}/report")
        assert answer.status_code == 503
    assert auditor.get(f"/audit/records/{record}/bundle").status_code == 200


@pytest.mark.parametrize("way", ["report", "bundle", "payloads/image", ""])
@pytest.mark.parametrize("unknown", ["01890a5d-ac96-774b-bcce-b302099a8057", "x", "%00"])
def test_what_was_never_recorded_is_unknown(auditor: httpx.Client, way: str, unknown: str) -> None:
    answer = auditor.get(f"/audit/records/{unknown}/{way}".rstrip("/"))
    assert (answer.status_code, list(answer.json())) == (404, ["error"])


def test_wrong_questions_are_refused_in_words(auditor: httpx.Client, audited: Server) -> None:
    record = predicted(auditor, "parts", audited.home)
    for path, status, words in (
        (f"{record}/report?format=docx", 400, "'html' or 'pdf'"),
        (f"{record}/bundle?payloads=some", 400, "'included' or 'withheld'"),
        (f"{record}/payloads/none", 404, "has no payload 'none'"),
    ):
        answer = auditor.get(f"/audit/records/{path}")
        assert (answer.status_code, words in answer.json()["error"]) == (status, True), answer.text
    answer = auditor.get(f"/audit/records/{record}/report", headers={"accept": "image/png"})
    assert answer.status_code == 406


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "no JSON"),
        (b"[]", "no JSON object"),
        (b"{}", "kind: got 'None'"),
        (b'{"kind":"praise"}', "kind: got 'praise'"),
        (b'{"kind":"review","meaning":"m"}', "person: Field required"),
        (b'{"kind":"review","person":"  ","meaning":"m"}', "person"),
        (b'{"kind":"review","person":"A\\nB","meaning":"m"}', "person"),
        (b'{"kind":"review","person":"A","meaning":"m","decision":"x"}', "decision"),
        (b'{"kind":"override","person":"A","meaning":"m","decision":"x"}', "comment"),
        (b'{"kind":"override","person":"A","meaning":"m","comment":"c"}', "decision"),
        (b'{"kind":"correction","person":"A","meaning":"m","comment":"c","correction":{}}',
         "correction"),
        (b'{"kind":"correction","person":"A","meaning":"m","comment":"c",'
         b'"correction":{"serial":9007199254740993}}', "beyond 2**53 as text"),
    ],
)  # fmt: skip
def test_a_review_that_is_none_is_refused(
    auditor: httpx.Client, audited: Server, body: bytes, said: str
) -> None:
    record = predicted(auditor, "parts", audited.home)
    answer = auditor.post(f"/audit/records/{record}/reviews", content=body)
    assert (answer.status_code, said in answer.json()["error"]) == (400, True), answer.text


def test_reviews_have_their_limits(auditor: httpx.Client, audited: Server) -> None:
    record = predicted(auditor, "parts", audited.home)
    path = f"/audit/records/{record}/reviews"
    large = {**ADA, "kind": "correction", "comment": "c", "correction": {"x": "y" * 70_000}}
    assert auditor.post(path, json=large).status_code == 413
    assert auditor.post(path, content=b" " * 200_000).status_code == 413
    replay = auditor.post(f"/audit/records/{record}/replay").json()["replay_id"]
    answer = auditor.post(f"/audit/records/{replay}/reviews", json={**ADA, "kind": "review"})
    assert (answer.status_code, "nothing to review" in answer.text) == (409, True)
    assert auditor.post("/audit/records/x/reviews", json={}).status_code == 404


@pytest.mark.slow
def test_the_command_line_reviews_reports_bundles_exports_and_verifies(
    auditor: httpx.Client, audited: Server, tmp_path: Path
) -> None:
    record = predicted(auditor, "parts", audited.home)

    def audit(*arguments: str, server: bool = True) -> tuple[int, str]:
        where = ("--url", audited.url) if server else ()
        done = glassline("audit", *arguments, *where, home=audited.home)
        return done.returncode, done.stdout + done.stderr

    signed = ("review", record, "--person", "Ada Lovelace", "--meaning", "rejected")
    status, said = audit(*signed, "--override", "bad", "--comment", "a scratch")
    assert (status, said.startswith("override ")) == (0, True), said
    assert audit(*signed, "--override", "bad")[0] == 1  # an override says why
    assert audit(*signed, "--correction", "{")[0] == 1
    pdf, zipped, seen = tmp_path / "r.pdf", tmp_path / "e.zip", tmp_path / "seen"
    assert audit("report", record, "-o", str(pdf))[0] == 0
    assert pdf.read_bytes().startswith(b"%PDF-")
    assert audit("report", record, "-o", "r.docx")[0] == 1
    assert audit("checkpoint", "-o", str(seen))[0] == 0
    assert audit("bundle", record, "-o", str(zipped))[0] == 0
    key = auditor.get("/audit/keys").json()["keys"][0]["keyid"]
    status, said = audit("verify", str(zipped), "--key", key, server=False)
    assert (status, "IT HOLDS." in said) == (0, True), said
    folder = tmp_path / "log"
    status, said = audit("export", str(folder), server=False)
    assert status == 0, said
    status, said = audit(
        "verify", str(folder), "--key", key, "--seen", str(seen), "--signatures", "5", server=False
    )
    assert (status, "IT HOLDS." in said) == (0, True), said
    done = subprocess.run(
        [*BARE, "python3 verify.py"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = (folder / "records.ndjson").read_bytes().splitlines(keepends=True)
    (folder / "records.ndjson").write_bytes(b"".join(lines[:-1]))
    assert audit("verify", str(folder), server=False)[0] == 1
    assert audit("export", str(folder), server=False)[0] == 1  # it is not empty
    assert audit("verify", str(tmp_path / "none"), server=False)[0] == 2


def test_a_bundle_of_the_server_is_what_its_own_files_say(
    auditor: httpx.Client, audited: Server
) -> None:
    record = predicted(auditor, "parts", audited.home)
    whole = bundle(auditor, record)
    files = verify.unpack(whole)
    said = auditor.get(f"/audit/records/{record}").json()
    assert verify.hashlib.sha256(files["record.json"]).hexdigest() == said["sha256"]
    assert json.loads(files["proof.json"])["leaf_index"] == said["sequence"] - 1
    assert json.loads(files["keys.json"]) == auditor.get("/audit/keys").json()
    assert zipfile.ZipFile(io.BytesIO(whole)).testzip() is None
