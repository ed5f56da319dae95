"""Networks: fusion, folds, export and the frozen encoder. Slow: each imports torch, trains and exports."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.common.bundle import Bundle
from services.common.errors import FailedPrecondition, InvalidField
from services.training.designs import Design, Tabular, Text, check, from_json, template, to_json
from services.training.fit import TrainingTask

ROW = {"text": "lovely dress, great fit", "age": 62, "town": "Rome", "when": "2024-02-01 10:00"}


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path(self._path),)


def test_templates_are_complete_and_unknown_ones_are_named():
    assert template("brew").linear and not template("text-table").linear
    with pytest.raises(InvalidField, match="minilm-table"):
        template("bert")


def test_no_rows_have_logits_of_every_head_and_class():
    from services.training.network import Network, logits_of
    from services.training.representations.dense import VectorEncoder

    network = Network({"text": VectorEncoder(4, 0.0), "table": VectorEncoder(2, 0.0)}, classes=3)
    assert logits_of(network, {}, np.arange(0)).shape == (0, 3, 3)


def test_a_schedule_survives_json_and_wrong_fields_are_all_told():
    from services.training.designs import Schedule

    schedule = Schedule(design=Design(text=Text.GRU, tabular=Tabular.FFN_SMALL), epochs=3, gold_weight=2.0)
    assert from_json(to_json(schedule)) == schedule
    with pytest.raises(InvalidField, match="no field 'depth'"):
        from_json({"design": {"depth": 3}})
    with pytest.raises(InvalidField, match="schedule"):
        from_json({"design": {"text": "bert"}})
    wrong = Schedule(epochs=0, dropout=1.0, design=Design(text=Text.CHECKPOINT))
    with pytest.raises(Exception, match=r"checkpoint.*epochs.*dropout"):
        check(wrong)


@pytest.mark.slow
@pytest.mark.parametrize("design", ["text-table", "table", "gru-table"])
def test_a_network_learns_exports_and_predicts_what_it_was(review_problem, tmp_path, design):
    events: list[dict] = []
    result = review_problem.fit(design, events, epochs=12, patience=12)
    report = result.report
    epochs = [event for event in events if event["type"] == "epoch"]
    assert [event["epoch"] for event in epochs[:3]] == [1, 2, 3]
    heads = {"table"} if design == "table" else {"text", "table", "joint"}
    assert set(epochs[0]["losses"]) == heads == set(report["holdout"]["heads"])
    first, last = epochs[0]["losses"]["table"], epochs[11]["losses"]["table"]
    assert last["training"] < first["training"] and epochs[0]["losses"]["table"]["selection"] is not None
    assert report["verified"]["largest_difference"] < 1e-4
    assert report["holdout"]["metrics"]["accuracy"]["value"] > 0.75
    bundle = Bundle.open(review_problem.objects, result.bundle_digest, tmp_path / "c")
    rows = [{**ROW, "text": "awful " * i, "age": 20 + i} for i in range(40)]
    together = bundle.predict(rows).probabilities
    alone = np.concatenate([bundle.predict([row]).probabilities for row in rows])
    assert np.abs(together - alone).max() < 1e-5
    assert bundle.predict([{}]).probabilities.shape == (1, 2)


@pytest.mark.slow
def test_a_joint_model_is_no_worse_than_its_better_modality(review_problem):
    joint, text, table = (
        review_problem.fit(design).report["holdout"]["metrics"]["macro_f1"]["value"]
        for design in ("text-table", "text-brew", "table")
    )
    assert joint >= max(text, table) - 0.04  # 60 holdout rows: one row is .017


@pytest.mark.slow
def test_minilm_is_exported_once_shared_by_bundles_and_its_vectors_are_kept(review_problem, tmp_path):
    first = review_problem.fit("minilm", epochs=5)
    second = review_problem.fit(Design(text=Text.MINILM, tabular=Tabular.FFN_SMALL), epochs=5)
    bundles = [Bundle.open(review_problem.objects, r.bundle_digest, tmp_path / "c") for r in (first, second)]
    assert len({bundle.manifest.part("encoder.onnx").digest for bundle in bundles}) == 1
    assert len(list((tmp_path / "c").glob("*"))) == len(
        {part.digest for b in bundles for part in b.manifest.parts if part.name not in ("weights.safetensors", "report.json")}
    )
    assert second.report["seconds"]["features"] < first.report["seconds"]["features"] / 3
    assert bundles[0].predict([ROW, {"text": ""}]).probabilities.shape == (2, 2)


@pytest.mark.slow
def test_a_local_checkpoint_is_read_from_the_allowed_folder_alone(review_problem, tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    folder = tmp_path / "checkpoints" / "tiny"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "lovely", "awful", "great", "fit", "dress", "tight", "perfect", "returned"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]").save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(folder)
    opened = tmp_path / "a pickle was opened"
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Trap(str(opened))))

    def fitted(name: str, allowed):
        from dataclasses import replace

        from services.training.fit import fit

        task: TrainingTask = review_problem.task(Design(text=Text.CHECKPOINT, tabular=Tabular.NONE, checkpoint=name), epochs=10)
        return fit(
            replace(task, checkpoints=allowed), review_problem.objects, lambda e: None, tmp_path / "cache", lambda: False
        )

    result = fitted("tiny", tmp_path / "checkpoints")
    assert not opened.exists()
    bundle = Bundle.open(review_problem.objects, result.bundle_digest, tmp_path / "c")
    long = bundle.predict([{"text": "lovely " * 500}])  # longer than the encoder's 64 positions
    assert np.isfinite(long.probabilities).all()
    with pytest.raises(InvalidField, match="no checkpoint in the checkpoint folder"):
        fitted("../../etc", tmp_path / "checkpoints")
    with pytest.raises(FailedPrecondition) as caught:
        fitted("tiny", None)
    assert caught.value.reason == "NO_CHECKPOINT_FOLDER"


@pytest.mark.parametrize(
    ("text", "tabular"),
    [(text, tabular) for text in ("none", "terms", "vectors") for tabular in Tabular if (text, tabular) != ("none", "none")],
)
def test_a_graph_written_by_hand_is_the_network(text, tabular):
    torch = pytest.importorskip("torch")
    from services.common.bundle.encoder import open_session
    from services.training.graphs import dense_graph
    from services.training.network import Network
    from services.training.representations.dense import TableEncoder, TermsEncoder, VectorEncoder

    torch.manual_seed(0)
    encoders: dict = {}
    if text == "terms":
        encoders["text"] = TermsEncoder(torch.randn(50, 3), torch.randn(3))
    if text == "vectors":
        encoders["text"] = VectorEncoder(8, 0.5)
    if tabular is not Tabular.NONE:
        encoders["table"] = TableEncoder(5, tabular, 0.5)
    network = Network(encoders, 3).eval()
    session = open_session(dense_graph(network))
    for rows, longest in ((1, 1), (7, 4)):
        inputs = {"table": torch.randn(rows, 5)} if "table" in encoders else {}
        if text == "terms":
            inputs |= {"text_index": torch.randint(0, 50, (rows, longest)), "text_value": torch.rand(rows, longest)}
        if text == "vectors":
            inputs["text"] = torch.randn(rows, 8)
        with torch.no_grad():
            expected = network(inputs).numpy()
        (answered,) = session.run(None, {name: value.numpy() for name, value in inputs.items()})
        assert answered.shape == expected.shape and np.abs(answered - expected).max() < 1e-5
