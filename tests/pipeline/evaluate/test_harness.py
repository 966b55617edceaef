"""Tasks of lm-eval through our scorer: what is asked, what becomes of answers, and what is refused."""

import math

import pytest

from model import tokenizer as tokenizers
from pipeline.errors import ConfigError
from pipeline.evaluate.harness import Config
from pipeline.evaluate.task import Generation, Reply, Setting
from pipeline.formats.source import MissingSet
from tests.pipeline.evaluate.lm_eval_tasks import of_its_own, written

pytest.importorskip("lm_eval")

CHOICES = """
task: colours
test_split: test
output_type: multiple_choice
doc_to_text: "{{thing}} is"
doc_to_choice: [red, blue, green]
doc_to_target: label
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
  - metric: acc_norm
    aggregation: mean
    higher_is_better: true
metadata: {version: 3}
"""
QUESTIONS = """
task: capitals
test_split: test
output_type: generate_until
doc_to_text: "Q: {{question}}\\nA:"
doc_to_target: "{{answer}}"
generation_kwargs: {until: ["\\n", "."], do_sample: false, max_gen_toks: 8}
metric_list:
  - metric: exact_match
    aggregation: mean
    higher_is_better: true
metadata: {version: 1}
"""
THINGS = [{"thing": "The sky", "label": 1}, {"thing": "Grass", "label": 2}, {"thing": "Blood", "label": 0}]
CAPITALS = [{"question": "France?", "answer": "Paris"}, {"question": "Peru?", "answer": "Lima"}]


@pytest.fixture(scope="module")
def setting():
    return Setting(tokenizer=tokenizers.gpt2(), n_ctx=32)


class Knowing:
    """Stands for a model: what is in `liked` costs a nat a token, all else ten; a question has its answer."""

    def __init__(self, tokenizer, liked, answers):
        self._tokenizer, self._liked, self._answers = tokenizer, liked, answers

    def answer(self, requests):
        return [self._reply(request) for request in requests]

    def _reply(self, request):
        if isinstance(request, Generation):
            prompt = self._tokenizer.decode(request.prompt)
            return Reply(text=next(text for cue, text in self._answers.items() if cue in prompt))
        said = self._tokenizer.decode((*request.context, *request.target))
        is_liked = any(liked in said for liked in self._liked)
        return Reply(nats=(1.0 if is_liked else 10.0,) * len(request.target), greedy=is_liked)


def evaluate(task, model):
    examples = task.examples()
    return [task.score(example, model.answer(task.requests(example))) for example in examples]


def figures(task, records):
    return {metric.name: metric.estimate for metric in task.metrics(records)}


def test_choices_are_asked_for_after_their_context_and_scored_by_the_harness(setting, tmp_path):
    task = Config(task=str(written(tmp_path, "colours", CHOICES, THINGS))).build(setting)
    model = Knowing(setting.tokenizer, ["sky is blue", "Grass is green", "Blood is blue"], {})

    requests = task.requests(task.examples()[0])
    assert [setting.tokenizer.decode(request.target) for request in requests] == [" red", " blue", " green"]
    assert {setting.tokenizer.decode(request.context) for request in requests} == {"The sky is"}
    records = evaluate(task, model)
    found = figures(task, records)
    assert found["acc"].value == pytest.approx(2 / 3) and found["acc"].num_examples == 3
    assert found["acc"].stderr == pytest.approx(math.sqrt(2 / 9 / 2))
    assert [record["scores"]["none"]["acc"] for record in records] == [1.0, 1.0, 0.0]
    assert records[0]["asked"][1] == ["The sky is", " blue"] and records[0]["answers"][1] == [[-1.0, True]]


def test_an_answer_is_written_up_to_a_stop_and_compared_by_the_harness(setting, tmp_path):
    task = Config(task=str(written(tmp_path, "capitals", QUESTIONS, CAPITALS))).build(setting)

    (request,) = task.requests(task.examples()[0])
    assert setting.tokenizer.decode(request.prompt) == "Q: France?\nA:"
    assert (request.max_new_tokens, request.temperature) == (8, 0.0)
    assert request.stop == ("\n", ".") and request.stop_ids == (setting.tokenizer.eot_id,)
    records = evaluate(task, Knowing(setting.tokenizer, [], {"France": "Paris", "Peru": "Cusco"}))
    assert figures(task, records)["exact_match"].value == 0.5


def test_a_task_tells_what_it_is_and_its_name_is_that_of_its_file(setting, tmp_path):
    config = Config(task=str(written(tmp_path, "colours", CHOICES, THINGS)))
    task = config.build(setting)

    assert config.name == task.name == "harness/colours"
    assert "colours version 3 (multiple_choice, 0-shot, data json)" in task.protocol
    others = Config(task=str(written(tmp_path, "others", CHOICES, THINGS[:2]))).build(setting)
    assert others.data_sha256 != task.data_sha256


def test_solved_examples_stand_before_a_question_the_same_at_every_call(setting, tmp_path):
    path = written(tmp_path, "capitals", QUESTIONS + "fewshot_split: test\n", CAPITALS)
    task = Config(task=str(path), num_fewshot=1).build(setting)

    prompts = [setting.tokenizer.decode(task.requests(example)[0].prompt) for example in task.examples()]
    assert prompts[0] == "Q: Peru?\nA: Lima\n\nQ: France?\nA:"
    assert prompts == [
        setting.tokenizer.decode(task.requests(example)[0].prompt) for example in task.examples()
    ]
    assert "1-shot" in task.protocol


def test_a_long_text_is_read_in_windows_that_fill_the_context(setting, tmp_path):
    page = " ".join(f"word{n}" for n in range(40)) + " \n"
    task = Config(task=str(of_its_own(tmp_path, "wikitext/wikitext", [{"page": page}]))).build(setting)

    requests = task.requests(task.examples()[0])
    ids = [id for request in requests for id in request.target]
    assert setting.tokenizer.decode(ids) == page.replace(" \n", "\n")
    assert requests[0].context == (setting.tokenizer.eot_id,)
    assert {len(request.context) + len(request.target) for request in requests} == {33}
    assert [len(request.context) for request in requests[:-1]] == [1] * (len(requests) - 1)


def test_a_context_too_long_loses_its_beginning_and_is_counted(setting, tmp_path):
    things = [{"thing": "blue " * 40 + "sky", "label": 1}, THINGS[1]]
    task = Config(task=str(written(tmp_path, "colours", CHOICES, things))).build(setting)

    long = task.requests(task.examples()[0])[0]
    assert len(long.context) + len(long.target) == 33
    assert setting.tokenizer.decode(long.context).endswith("blue sky is")
    records = evaluate(task, Knowing(setting.tokenizer, [], {}))
    assert [record["cut"] for record in records] == [True, False]
    assert figures(task, records)["context_cut"].value == 0.5


def test_an_empty_context_is_the_end_of_text_and_an_empty_continuation_costs_nothing(setting, tmp_path):
    text = (
        "task: said\ntest_split: test\noutput_type: loglikelihood\ndoc_to_text: '{{before}}'\n"
        "doc_to_target: '{{after}}'\ntarget_delimiter: ''\n"
        "metric_list: [{metric: acc}, {metric: perplexity}]\n"
    )
    rows = [
        {"before": "", "after": "Word"},
        {"before": "Word ", "after": "less"},
        {"before": "a", "after": ""},
    ]
    task = Config(task=str(written(tmp_path, "said", text, rows))).build(setting)

    asked = [task.requests(example) for example in task.examples()]
    assert [request.context for request in asked[0]] == [(setting.tokenizer.eot_id,)]
    assert setting.tokenizer.decode(asked[1][0].context) == "Word"  # the blank belongs to what follows it
    assert setting.tokenizer.decode(asked[1][0].target) == " less"
    assert asked[2] == []
    records = evaluate(task, Knowing(setting.tokenizer, ["Word"], {}))
    assert records[2]["answers"] == [[[0.0, True]]]


def test_records_read_back_from_their_file_give_the_same_figures(setting, tmp_path):
    import orjson

    page = [{"page": "one two three"}, {"page": "four five"}]
    task = Config(task=str(of_its_own(tmp_path, "wikitext/wikitext", page))).build(setting)
    records = evaluate(task, Knowing(setting.tokenizer, ["two"], {}))

    assert figures(task, records) == figures(task, orjson.loads(orjson.dumps(records)))
    assert figures(task, records)["word_perplexity"].stderr is not None


def test_a_group_has_the_figures_of_its_own_beside_those_of_its_members(setting, tmp_path):
    for name, rows in {"colours": THINGS, "shades": THINGS[:1]}.items():
        written(tmp_path, name, CHOICES.replace("task: colours", f"task: {name}"), rows)
    group = tmp_path / "looks.yaml"
    group.write_text(
        "group: looks\ntask: [colours, shades]\n"
        "aggregate_metric_list: [{metric: acc, weight_by_size: true}]\nmetadata: {version: 1}\n"
    )
    from lm_eval.tasks import TaskManager

    from pipeline.evaluate.harness import HarnessTask

    loaded = TaskManager(include_defaults=False, include_path=tmp_path).load(["looks"])
    members = list(loaded["tasks"].values())
    for member in members:
        member.set_config(key="num_fewshot", value=0)
    task = HarnessTask("harness/looks", members, list(loaded["groups"].values()), setting)
    records = evaluate(task, Knowing(setting.tokenizer, ["sky is blue"], {}))

    found = figures(task, records)
    assert found["colours/acc"].value == pytest.approx(2 / 3) and found["shades/acc"].value == 1.0
    assert found["looks/acc"].value == pytest.approx(0.75) and found["looks/acc"].num_examples == 4


@pytest.mark.parametrize(
    ("text", "asked", "message"),
    [
        ("unsafe_code: true\n", {}, "runs code that the model writes"),
        ("num_fewshot: 0\n", {"num_fewshot": 2}, "the task itself says 0"),
    ],
)
def test_a_task_that_cannot_be_put_to_a_text_model_is_refused(text, asked, message, setting, tmp_path):
    path = written(tmp_path, "colours", CHOICES + text, THINGS)

    with pytest.raises(ConfigError, match=message):
        Config(task=str(path), **asked).build(setting)


def test_a_key_of_a_generation_without_a_meaning_here_is_not_lost_silently(setting, tmp_path):
    path = written(tmp_path, "capitals", QUESTIONS.replace("do_sample: false", "num_beams: 4"), CAPITALS)
    task = Config(task=str(path)).build(setting)

    with pytest.raises(ConfigError, match="num_beams has no meaning here"):
        task.requests(task.examples()[0])


def test_data_that_cannot_be_had_is_a_missing_set(setting, tmp_path):
    path = written(tmp_path, "colours", CHOICES, THINGS)
    (tmp_path / "colours.jsonl").unlink()

    with pytest.raises(MissingSet, match="lm-eval could not load it"):
        Config(task=str(path)).build(setting)


@pytest.mark.slow  # reads the index of fifteen thousand tasks
def test_a_name_that_the_harness_does_not_know_is_refused_with_the_nearest(setting):
    with pytest.raises(ConfigError, match=r"no task of lm-eval.*did you mean hellaswag"):
        Config(task="helaswag").build(setting)
