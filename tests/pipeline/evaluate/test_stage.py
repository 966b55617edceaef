"""An evaluation from its configuration to its files: whole, killed and gone on with, repeated, refused."""

import json

import pytest
import torch

from model.config import GPTConfig
from model.tokenizer import load
from model.tokenizer_gpt1 import Gpt1Tokenizer
from model.transformer import GPT
from model.weights import save_model
from pipeline.config import dump, validate
from pipeline.errors import ConfigError, FormatError, StageError
from pipeline.evaluate import stage
from pipeline.evaluate.parallel import Team
from pipeline.evaluate.sample import stream
from pipeline.evaluate.stage import Config
from pipeline.evaluate.suite import Suite
from pipeline.evaluate.task import Setting
from pipeline.formats.results import Results, read_records

TASKS = [
    {"kind": "held_out", "split": "test"},
    {"kind": "last_word", "split": "test", "words": 20},
    {"kind": "samples", "split": "test", "prompt_tokens": 8, "max_new_tokens": 16},
]


def config(run, dataset, **values):
    given = {"checkpoint": str(run), "data": str(dataset), "suite": "all", "tasks": TASKS, "device": "cpu"}
    return validate(Config, {**given, **values}, "test")


def evaluate(asked):
    stage.run(asked, stage.plan(asked))


def figures(path):
    return {(result.task, result.metric): result for result in Results.read(path).results}


def test_a_suite_leaves_figures_with_errors_and_a_record_of_every_example(run, dataset):
    evaluate(config(run, dataset))
    results = run / "results" / "step-00000005"

    found = figures(results / "all.json")
    assert {task for task, _ in found} == {"held_out", "last_word", "samples"}
    assert all(result.stderr is not None and result.protocol for result in found.values())
    for task in ("held_out", "last_word", "samples"):
        numbers = [record["number"] for record in read_records(results / f"{task}.jsonl.zst")]
        assert numbers == list(range(len(numbers))) and numbers
    assert not list(results.glob(".*"))


def test_the_loss_is_that_of_the_whole_split(run, dataset, network, setting):
    evaluate(config(run, dataset, tasks=["held_out"]))

    found = figures(run / "results" / "step-00000005" / "all.json")
    manifest = setting.manifest
    loss, bits = found["held_out", "loss"], found["held_out", "bits_per_byte"]
    ratio = manifest.tokens("validation") / manifest.text_bytes["validation"] / 0.6931471805599453
    assert bits.value == pytest.approx(loss.value * ratio)
    assert loss.data_sha256 == setting.split_sha256("validation")


def test_a_finished_suite_is_not_done_again(run, dataset, caplog, monkeypatch):
    evaluate(config(run, dataset))
    path = run / "results" / "step-00000005" / "all.json"
    before = path.stat().st_mtime_ns
    caplog.set_level("INFO", "loglinear")

    evaluate(config(run, dataset, batch_tokens=64))

    assert path.stat().st_mtime_ns == before and "finished; nothing to do" in caplog.text


def test_other_tasks_under_the_same_name_are_refused_with_the_difference(run, dataset):
    evaluate(config(run, dataset))

    with pytest.raises(ConfigError, match=r"config\.limit: None -> 3"):
        evaluate(config(run, dataset, limit=3))


class StoppedError(Exception):
    """Stands for the kill in the middle."""


def test_a_killed_suite_goes_on_and_ends_where_it_would_have(run, dataset, tmp_path, monkeypatch):
    evaluate(config(run, dataset, out=str(tmp_path / "whole"), batch_tokens=64))
    answer, answered = Team.answer, []

    def dies_on_the_third(self, requests):
        answered.append(len(requests))
        if len(answered) == 3:
            raise StoppedError
        return answer(self, requests)

    monkeypatch.setattr(Team, "answer", dies_on_the_third)
    with pytest.raises(StoppedError):
        evaluate(config(run, dataset, out=str(tmp_path / "halved"), batch_tokens=64))
    assert not (tmp_path / "halved" / "all.json").exists()
    monkeypatch.setattr(
        Team, "answer", lambda self, requests: answered.append(len(requests)) or answer(self, requests)
    )
    evaluate(config(run, dataset, out=str(tmp_path / "halved"), batch_tokens=64))

    whole, halved = figures(tmp_path / "whole" / "all.json"), figures(tmp_path / "halved" / "all.json")
    assert halved == whole
    done_before_the_kill = sum(answered[:2])
    everything = sum(answered) - answered[2]
    assert done_before_the_kill > 0
    assert everything == sum(
        len(task.requests(example)) for task in _tasks(run, dataset) for example in task.examples()
    )


def _tasks(run, dataset):
    from model import tokenizer as tokenizers
    from pipeline.evaluate.task import Setting

    setting = Setting(corpus=dataset, tokenizer=tokenizers.load(dataset), n_ctx=64)
    return [task.build(setting) for task in config(run, dataset).tasks]


@pytest.mark.parametrize("batch_tokens", [64, 100_000])
def test_figures_do_not_depend_on_the_batch(run, dataset, tmp_path, batch_tokens):
    evaluate(config(run, dataset, out=str(tmp_path / "a")))
    evaluate(config(run, dataset, out=str(tmp_path / "b"), batch_tokens=batch_tokens))

    one, other = figures(tmp_path / "a" / "all.json"), figures(tmp_path / "b" / "all.json")
    assert {key: result.value for key, result in one.items()} == pytest.approx(
        {key: result.value for key, result in other.items()}, rel=1e-5
    )


SENTENCE = " mr. <unk> of N companies said it will n't be sold \n"


@pytest.fixture
def sets(tmp_path):
    """A folder of evaluation sets in which there is one so far."""
    (tmp_path / "sets" / "ptb").mkdir(parents=True)
    (tmp_path / "sets" / "ptb" / "ptb.test.txt").write_text(SENTENCE * 4)
    return tmp_path / "sets"


def counting(monkeypatch):
    """Count the requests that are answered from now on."""
    answer, answered = Team.answer, []

    def counted(self, requests):
        answered.append(len(requests))
        return answer(self, requests)

    monkeypatch.setattr(Team, "answer", counted)
    return answered


def test_a_missing_set_is_named_and_the_rest_runs_and_it_joins_once_it_is_there(
    run, dataset, sets, monkeypatch, caplog
):
    asked = config(run, dataset, data=str(sets), corpus=str(dataset), tasks=["ptb", "text8", "last_word"])
    path = run / "results" / "step-00000005" / "all.json"

    told = stage.run(asked, stage.plan(asked))

    assert "text8: not below" in caplog.text and "get it from http" in caplog.text
    assert f"not done: text8: text8: not below {sets}" in told
    assert {task for task, _ in figures(path)} == {"ptb", "last_word"}
    assert list(Results.read(path).origin["missing"]) == ["text8"]

    before, records = figures(path), (path.parent / "ptb.jsonl.zst").stat().st_mtime_ns
    (sets / "text8").mkdir()
    (sets / "text8" / "text8.test").write_text("the words of a text in letters and blanks alone " * 9)
    answered = counting(monkeypatch)
    told = stage.run(asked, stage.plan(asked))

    after = figures(path)
    assert "not done" not in told and Results.read(path).origin["missing"] == {}
    assert {key: after[key] for key in before} == before and ("text8", "bits_per_character") in after
    assert (path.parent / "ptb.jsonl.zst").stat().st_mtime_ns == records
    assert len(read_records(path.parent / "text8.jsonl.zst")) >= sum(answered) > 0


def test_without_any_set_nothing_is_done(run, tmp_path):
    asked = config(run, tmp_path, tasks=["ptb", "winograd", "held_out"])

    with pytest.raises(ConfigError, match=r"every set is missing\n.*ptb: .*\n.*winograd: .*\n.*no dataset"):
        stage.run(asked, stage.plan(asked))
    assert not (run / "results").exists()


def test_a_task_that_joins_leaves_the_others_alone(run, dataset, monkeypatch):
    evaluate(config(run, dataset, tasks=["held_out"]))
    path = run / "results" / "step-00000005" / "all.json"
    before = figures(path)
    answered = counting(monkeypatch)

    evaluate(config(run, dataset, tasks=["last_word", "held_out"]))
    evaluate(config(run, dataset, tasks=["last_word"]))

    after = figures(path)
    assert {key: after[key] for key in before} == before
    assert sum(answered) == len(read_records(path.parent / "last_word.jsonl.zst"))


def test_a_task_with_other_options_is_refused_with_the_difference(run, dataset):
    evaluate(config(run, dataset, tasks=["held_out"]))

    with pytest.raises(ConfigError, match=r"tasks\.held_out\.stride: None -> 8"):
        evaluate(config(run, dataset, tasks=["last_word", {"kind": "held_out", "stride": 8}]))


def test_other_data_is_refused_with_the_difference(run, dataset, sets):
    asked = config(run, dataset, data=str(sets), tasks=["ptb"])
    evaluate(asked)
    (sets / "ptb" / "ptb.test.txt").write_text(SENTENCE * 5)

    with pytest.raises(ConfigError, match=r"tasks\.ptb\.data_sha256: '\w{64}' -> '\w{64}'"):
        evaluate(asked)


def test_a_figure_comes_with_the_papers(run, dataset, sets):
    evaluate(config(run, dataset, data=str(sets), tasks=["ptb"]))

    found = figures(run / "results" / "step-00000005" / "all.json")
    assert found["ptb", "word_perplexity"].paper["1542M"] == 35.76


OVERLAP = {"kind": "overlap", "generations": 2, "documents": 2, "prompt_tokens": 4, "max_new_tokens": 8}


def test_what_overlaps_is_left_out_in_figures_of_their_own_and_follows_the_other_tasks(run, dataset):
    path = run / "results" / "step-00000005" / "all.json"

    def subsets():
        return {(result.task, result.subset) for result in Results.read(path).results}

    evaluate(config(run, dataset, tasks=["held_out", OVERLAP]))
    assert subsets() == {("held_out", "all"), ("held_out", "no-overlap"), ("overlap", "all")}
    all_of, rest = (
        next(
            result
            for result in Results.read(path).results
            if (result.task, result.metric, result.subset) == ("held_out", "loss", subset)
        )
        for subset in ("all", "no-overlap")
    )
    assert 0 < rest.num_examples <= all_of.num_examples

    evaluate(config(run, dataset, tasks=["held_out", "last_word", OVERLAP]))

    assert {("last_word", "all"), ("held_out", "no-overlap")} <= subsets()
    assert ("overlap", "shared_last_word") in figures(path)
    keys = [(result.task, result.metric, result.subset) for result in Results.read(path).results]
    assert len(keys) == len(set(keys))


def test_two_evaluations_do_not_write_the_same_place(tmp_path):
    with Suite(tmp_path, "all"), pytest.raises(StageError, match="another process evaluates this"):
        Suite(tmp_path, "all").__enter__()


def test_results_that_another_process_wrote_meanwhile_are_not_lost(run, dataset, monkeypatch):
    enter, path = Suite.__enter__, run / "results" / "step-00000005" / "all.json"

    def waits(self):
        monkeypatch.setattr(Suite, "__enter__", enter)
        evaluate(config(run, dataset, tasks=["held_out"]))
        return enter(self)

    monkeypatch.setattr(Suite, "__enter__", waits)
    with pytest.raises(StageError, match="another process has just written it; run this again"):
        evaluate(config(run, dataset, tasks=["last_word"]))
    evaluate(config(run, dataset, tasks=["last_word"]))

    assert {task for task, _ in figures(path)} == {"held_out", "last_word"}


def test_bf16_is_another_result_near_the_first(run, dataset, tmp_path):
    evaluate(config(run, dataset, out=str(tmp_path / "a"), tasks=["held_out"]))
    evaluate(config(run, dataset, out=str(tmp_path / "b"), tasks=["held_out"], precision="bf16"))

    one, other = (figures(tmp_path / name / "all.json")["held_out", "loss"] for name in "ab")
    assert (
        other.dtype == "bf16"
        and one.value == pytest.approx(other.value, rel=0.01)
        and one.value != other.value
    )


def test_a_plan_needs_neither_checkpoint_nor_data(tmp_path):
    asked = config(tmp_path / "none", tmp_path / "none")
    plan = stage.plan(asked)

    assert plan.config_hash is None and "held_out, last_word, samples" in stage.describe(asked, plan)
    with pytest.raises(ConfigError, match="does not exist"):
        stage.run(asked, plan)


def test_a_configuration_written_out_is_the_same_when_read(run, dataset):
    import yaml

    asked = config(run, dataset)

    assert validate(Config, yaml.safe_load(dump(asked)), "test") == asked


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"tasks": ["held_out", {"kind": "held_out", "stride": 2}]}, "held_out asked for more than once"),
        ({"tasks": ["lambda"]}, "there is no such kind"),
        ({"tasks": []}, "tasks"),
        ({"suite": "a/b"}, "suite"),
    ],
)
def test_a_wrong_configuration_is_refused(values, message, run, dataset):
    with pytest.raises(ConfigError, match=message):
        stage.plan(config(run, dataset, **values))


def test_a_damaged_shard_is_named(run, dataset, tmp_path):
    import shutil

    copy = tmp_path / "data"
    shutil.copytree(dataset, copy)
    path = copy / "shards" / "test-00000.ds"
    path.write_bytes(path.read_bytes()[:-2])

    with pytest.raises(FormatError, match=r"test-00000\.ds"):
        evaluate(config(run, copy))


def test_an_unknown_split_names_those_there_are(run, dataset):
    with pytest.raises(FormatError, match="it has test, train, validation"):
        evaluate(config(run, dataset, tasks=[{"kind": "held_out", "split": "valid"}]))


def test_results_of_another_version_are_not_taken_for_finished(run, dataset):
    evaluate(config(run, dataset))
    path = run / "results" / "step-00000005" / "all.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 2}))

    with pytest.raises(FormatError, match="format 2, this version reads 1"):
        evaluate(config(run, dataset))


def test_a_gpt1_with_its_own_tokenizer_is_evaluated(dataset, tmp_path):
    letters = "abcdefghijklmnopqrstuvwxyz.–“”üï"
    pieces = ["<unk>", *letters, *(f"{letter}</w>" for letter in letters), "\n</w>"]
    tokenizer = Gpt1Tokenizer("letters", {piece: id for id, piece in enumerate(pieces)}, [])
    shape = GPTConfig(architecture="gpt1", n_layer=2, n_head=2, n_embd=16, n_ctx=64, vocab_size=len(pieces))
    network = GPT(shape).eval()
    save_model(tmp_path / "gpt1", network.state_dict(), shape, tokenizer)

    evaluate(config(tmp_path / "gpt1", dataset, tasks=["held_out"], out=str(tmp_path / "results")))

    found = figures(tmp_path / "results" / "all.json")
    assert found["held_out", "loss"].value == pytest.approx(
        expected_loss(network, tokenizer, dataset), rel=1e-5
    )


@torch.no_grad()
def expected_loss(network, tokenizer, dataset):
    """The mean loss over the documents of validation, each target with all the context that fits before it
    in its window."""
    nats, count = 0.0, 0
    for text in Setting(corpus=dataset, tokenizer=tokenizer, n_ctx=64).documents("validation"):
        ids = [0, *tokenizer.encode(text), 0]
        for start in range(1, len(ids), 64):
            end = min(start + 64, len(ids))
            first = max(end - 65, 0)
            targets = torch.tensor([ids[first + 1 : end]])
            targets[0, : start - first - 1] = -100
            nats += float(network(torch.tensor([ids[first : end - 1]]), targets))
        count += len(ids) - 1
    return nats / count


def test_openais_release_is_evaluated_where_it_lies(release, dataset):
    evaluate(config(release, dataset, tasks=["held_out"]))

    (results,) = release.glob("results/*/all.json")
    written = Results.read(results)
    setting = Setting(corpus=dataset, tokenizer=load(release), n_ctx=16)
    documents = len(list(setting.documents("validation")))
    assert {result.num_examples for result in written.results} == {documents}
    assert results.parent.name == written.weights_hash[:16]


def saved(folder, dataset, **shape):
    """Write a network that has learned nothing, and return its folder."""
    config = GPTConfig(**{"n_layer": 1, "n_head": 1, "n_embd": 16, "n_ctx": 64, "vocab_size": 404, **shape})
    save_model(folder, GPT(config).state_dict(), config, load(dataset))
    return folder


def test_a_network_that_sees_what_it_would_have_to_predict_is_refused(dataset, tmp_path):
    both = saved(tmp_path / "both", dataset, causal=False)

    with pytest.raises(ConfigError, match="reads from both sides, so it gives a text no probability"):
        evaluate(config(both, dataset, tasks=["held_out"]))
    with pytest.raises(ConfigError, match="reads from both sides"):
        next(stream(both, ["one"], device="cpu"))
    assert not list(both.glob("results/*/*.json"))


def test_a_recurrent_network_is_evaluated_and_is_told_not_to_write(dataset, tmp_path):
    lstm = saved(tmp_path / "lstm", dataset, architecture="lstm", n_hidden=24, vocab_size=400)

    evaluate(config(lstm, dataset, tasks=["held_out", "last_word"]))

    (results,) = lstm.glob("results/*/all.json")
    assert {task for task, _ in figures(results)} == {"held_out", "last_word"}
    with pytest.raises(ConfigError, match="an LSTM writes no text here"):
        evaluate(config(lstm, dataset, suite="written", tasks=TASKS))
    with pytest.raises(ConfigError, match="is an LSTM, which writes no text here"):
        next(stream(lstm, ["one"], device="cpu"))
