"""What a report says of the model, and of the proof that the record is as it was."""

from __future__ import annotations

from service.audit.checkpoint import Checkpoint
from service.manifest import Manifest
from service.reports.blocks import Block, Fact, Facts, Grid, Literal, Section, Text, flat
from service.reports.material import Material


def model(material: Material) -> Section | None:
    """Which model decided: identity, test figures, training data, card."""
    named = material.record.body.get("model")
    if not named:
        return None
    facts = [Fact("Model", f"{named['name']}@{named['version']}")]
    if "manifest_sha256" in named:
        facts.append(Fact("Manifest, SHA-256", named["manifest_sha256"], literal=True))
        facts.append(Fact("Card, SHA-256", named["card_sha256"], literal=True))
        facts += [
            Fact(f"Graph {role}, SHA-256", digest, literal=True)
            for role, digest in named["graphs"].items()
        ]
    if material.manifest is None:
        reason = f"Its release is not here any more: {material.missing}" if material.missing else ""
        return Section("The model", [Facts(facts), *([Text(reason)] if reason else [])])
    return Section("The model", [Facts(facts), *_release(material.manifest)])


def _release(manifest: Manifest) -> list[Block]:
    made, parity = manifest.provenance, manifest.parity
    blocks: list[Block] = []
    if manifest.metrics:
        rows = [(name, f"{value:.6g}") for name, value in manifest.metrics.items()]
        blocks.append(Grid(("measured on the test split, through ONNX Runtime", "value"), rows))
    facts = [
        Fact("Family, task", f"{manifest.family}, {manifest.task}"),
        Fact("Trained", f"{made.trained_at}, {made.seconds:.0f} s, seed {made.seed}"),
        Fact("Script", f"{made.script}, revision {made.git_revision}"),
        Fact("Export", f"largest difference {parity.max_abs_difference:.2g} over {parity.rows} "
             f"rows, {parity.label_flips} labels changed", f"tolerance {parity.tolerance:g}"),
    ]  # fmt: skip
    facts += [Fact(f"Data: {name}", value, literal=True) for name, value in flat(made.data)]
    if manifest.randomisation is not None:
        said = manifest.randomisation
        note = f"explanations by random weights correlate {said.similarity:.2f} with these"
        passed = "passed" if said.passed else "not passed"
        facts.append(Fact("Randomisation check", passed, note))
    blocks.append(Facts(facts))
    if manifest.card:
        blocks += [Text("The model's card, as it was released:"), Literal(manifest.card.strip())]
    return blocks


def environment(material: Material) -> Section | None:
    """What it was computed in; with the same, the same bits come out."""
    said = material.record.body.get("environment")
    if not said:
        return None
    facts = [Fact(name, value, literal=True) for name, value in flat(said)]
    facts.append(Fact("reproducibility", material.record.body.get("reproducibility", "not said")))
    return Section("Environment", [Facts(facts)])


def proof(material: Material) -> Section:
    """Where the record stands in the log, and who signed that."""
    evidence = material.evidence
    said = Checkpoint.parse(evidence.checkpoint.text)
    signers = [key for key in evidence.keys.for_checkpoint(said.size)
               if evidence.checkpoint.signed_by(key)]  # fmt: skip
    facts = [
        Fact("Record, SHA-256", material.record.stored.sha256, "of its canonical bytes",
             literal=True),
        Fact("Leaf", f"{evidence.index}, counted from 0, of {said.size}"),
        Fact("Root", f"{said.root.hex()}", "of the Merkle tree (RFC 9162), in hexadecimal",
             literal=True),
        Fact("Inclusion proof", f"{len(evidence.path)} nodes", "in the bundle"),
        Fact("Log", said.origin, literal=True),
        Fact("Record signed by key", evidence.envelope.signatures[0][0], literal=True),
        *(Fact("Checkpoint signed by key", key.keyid, literal=True) for key in signers),
        Fact("Witnesses named by the log", ", ".join(w.name for w in evidence.keys.witnesses)
             or "none", "an outside witness is what rules out a second history"),
    ]  # fmt: skip
    return Section("Proof", [Facts(facts), Literal(str(evidence.checkpoint).strip())])


def how_to_verify(material: Material) -> Section:
    """What to do, and what it shows and does not."""
    record_id = material.record.id
    return Section(
        "How to verify it",
        [
            Text("This report is for reading; the bundle is the evidence. Fetch it from the "
                 "server, unpack it, and run the script in it, which needs Python 3.9 or newer and "
                 "OpenSSL 3.0 or newer and nothing else:"),
            Literal(f"glassline audit bundle {record_id} -o evidence.zip\n"
                    "python3 -m zipfile -e evidence.zip evidence\n"
                    "python3 evidence/verify.py"),
            Text("Without the command line: GET /audit/records/" + record_id + "/bundle with an "
                 "API key of the scope “audit”. Compare the key's id above with the one that the "
                 "operator publishes elsewhere, and name it with --key."),
            Text("What this is evidence of: that the record was written when the log had as many "
                 "records as stand before it, and was not changed since. It is no proof that the "
                 "answer was right, nor that everything that happened was recorded, nor of "
                 "compliance with any law or standard.", quiet=True),
        ],
    )  # fmt: skip
