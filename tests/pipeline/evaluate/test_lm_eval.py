"""Where protocols coincide, our tasks, lm-eval's tasks through our scorer, and lm-eval itself agree to 1e-4.

All three see the same checkpoint in Hugging Face's layout; lm-eval's tasks are its own files with only the
place of their data changed.
"""

import json
import random
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import torch

from model import tokenizer as tokenizers
from model.config import GPTConfig
from model.transformer import GPT
from model.weights import save_model
from pipeline.answers import exact_match
from pipeline.config import validate
from pipeline.evaluate import stage
from pipeline.evaluate.wikitext import pages
from pipeline.formats.results import Results, read_records
from tests.pipeline.evaluate.lm_eval_tasks import of_its_own

pytest.importorskip("lm_eval")
pytest.importorskip("accelerate")

SHAPE = GPTConfig(n_layer=2, n_head=2, n_embd=32, n_ctx=48)
FOODS = ("marzipan", "bread", "gorgonzola", "soup", "Brussels sprouts", "rice")

ARTICLES = [
    ' \n = First Title = \n \n The 3 @,@ 000 well @-@ known men \'s " ships " ( of 1 @.@ 5 tons ) sailed , '
    "it is said ; none came back : why ? \n \n = = A section = = \n \n They were 12 ° warm . \n",
    " \n = Second Title = \n \n " + " ".join(f"word{n} ," for n in range(70)) + " and the end . \n",
]


def passages():
    """Texts whose last word occurs before it, some too long for the context, some with marks of all kinds."""
    draw = random.Random(0)
    found = []
    for number in range(24):
        food = FOODS[number % len(FOODS)]
        filler = " ".join(draw.choices(["up", "down", "left", "right"], k=60 if number % 7 == 3 else 4))
        found.append(f'"I like {food}," said cook {number}.\n{filler}; so they gave the cook some {food}')
    return found


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """A small GPT-2 with the real vocabulary and random weights that takes to one of the foods."""
    tokenizer = tokenizers.gpt2()
    torch.manual_seed(0)
    network = GPT(SHAPE)
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    (bread,) = tokenizer.encode(" bread")
    network.ln_f.bias.data += 20 * network.wte.weight[bread].detach()
    folder = tmp_path_factory.mktemp("gpt2")
    save_model(folder, network.state_dict(), SHAPE, tokenizer)
    return folder


@pytest.fixture(scope="module")
def their_network(checkpoint):
    """The same checkpoint as lm-eval reads it."""
    from lm_eval.models.huggingface import HFLM

    return HFLM(pretrained=str(checkpoint), device="cpu", dtype="float32", batch_size=8)


def ours(checkpoint, data, out, limit=None, **asked):
    """Return figures by task and metric: of the tasks and lm-eval's files that are asked for."""
    given = {
        "checkpoint": str(checkpoint),
        "data": str(data),
        "suite": "all",
        "out": str(out),
        "limit": limit,
    }
    config = validate(stage.Config, {**given, "device": "cpu", "check_sums": False, **asked}, "test")
    stage.run(config, stage.plan(config))
    return {(found.task, found.metric): found.value for found in Results.read(out / "all.json").results}


def theirs(network, file, limit=None):
    """Return lm-eval's own figures of a task, by its own model class, and its samples."""
    from lm_eval.evaluator import evaluate
    from lm_eval.tasks import TaskManager

    loaded = TaskManager(include_defaults=False).load([str(file)])
    for task in loaded["tasks"].values():
        task.set_fewshot_seed(0)
    found = evaluate(network, loaded, limit=limit, bootstrap_iters=0)
    values = {key.partition(",")[0]: value for key, value in found["results"][file.stem].items()}
    return values, found["samples"][file.stem]


def agree(one, other):
    return one == pytest.approx(other, rel=1e-4)


def winograd_rows(path):
    """Return the collection as lm-eval's data has it: a text, and where its pronoun stands."""
    rows = []
    for schema in ElementTree.parse(path).getroot().findall("schema")[:273]:
        before, pronoun, after = (said(schema.find(f"text/{name}")) for name in ("txt1", "pron", "txt2"))
        rows.append(
            {
                "text": f"{before} {pronoun} {after}".strip(),
                "pronoun": pronoun,
                "pronoun_loc": len(f"{before} ".lstrip()),
                "options": [said(answer) for answer in schema.findall("answers/answer")],
                "label": "AB".index(said(schema.find("correctAnswer"))[0]),
            }
        )
    return rows


def said(element):
    return " ".join((element.text or "").split())


def test_lambada_is_lm_evals_on_openais_text(checkpoint, their_network, tmp_path):
    rows = [{"text": text} for text in passages()]
    (tmp_path / "lambada_test.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    file = of_its_own(tmp_path, "lambada/lambada_openai", rows)

    found = ours(checkpoint, tmp_path, tmp_path / "out", tasks=["lambada"], harness=[str(file)])
    values, _ = theirs(their_network, file)

    assert 0 < values["acc"] < 1
    assert agree(found["lambada", "accuracy_last_word"], values["acc"])
    assert agree(found["lambada", "perplexity"], values["perplexity"])
    assert agree(found["harness/lambada_openai", "acc"], values["acc"])
    assert agree(found["harness/lambada_openai", "perplexity"], values["perplexity"])
    assert found["harness/lambada_openai", "context_cut"] == found["lambada", "context_cut"] > 0


def test_lambada_is_lm_evals_on_the_original_text(checkpoint, their_network, tmp_path):
    texts = [text.replace("\n", " ").replace('"', " `` ").replace(",", " , ") for text in passages()]
    (tmp_path / "lambada_test_plain_text.txt").write_text("".join(f"{text}\n" for text in texts))
    file = of_its_own(tmp_path, "lambada/lambada_standard", [{"text": text} for text in texts])

    found = ours(checkpoint, tmp_path, tmp_path / "out", tasks=["lambada_original"], harness=[str(file)])
    values, _ = theirs(their_network, file)

    assert agree(found["lambada_original", "accuracy_last_word"], values["acc"])
    assert agree(found["lambada_original", "perplexity"], values["perplexity"])
    assert agree(found["harness/lambada_standard", "perplexity"], values["perplexity"])


def test_wikitext_is_lm_evals_by_its_protocol(checkpoint, their_network, tmp_path):
    folder = tmp_path / "wikitext-2-raw"
    folder.mkdir()
    (folder / "wiki.test.raw").write_text("".join(ARTICLES))
    # Where one article's lines begin with its title, the blank line before it ends the one before.
    rows = [{"page": page} for page in pages("".join(ARTICLES).splitlines(keepends=True))]
    file = of_its_own(tmp_path, "wikitext/wikitext", rows)

    found = ours(
        checkpoint, tmp_path, tmp_path / "out",
        tasks=[{"kind": "wikitext2", "text": "lm-eval"}], harness=[str(file)],
    )  # fmt: skip
    values, _ = theirs(their_network, file)

    for metric in ("word_perplexity", "bits_per_byte"):
        assert agree(found["wikitext2", metric], values[metric])
        assert agree(found["harness/wikitext", metric], values[metric])
    assert agree(found["harness/wikitext", "byte_perplexity"], values["byte_perplexity"])


def collection(*schemas):
    """Return schemas as the collection is published: before, pronoun, after, two answers, the right one."""
    found = [
        f"<schema>\n<text><txt1>\n{before}</txt1><pron> {pronoun} </pron><txt2>{after} </txt2></text>\n"
        f"<answers><answer>{one}</answer><answer>{other}</answer></answers>\n"
        f"<correctAnswer> {right} </correctAnswer></schema>\n"
        for before, pronoun, after, one, other, right in schemas
    ]
    return f"<?xml version='1.0' encoding='UTF-8'?>\n<collection>\n{''.join(found)}</collection>\n"


SCHEMAS = collection(
    ("The cook liked the judge because", "she", "gave her bread.", "The cook", "The judge", "B."),
    ("Anna gave Zoe soup.", "Her", "hands were cold.", "Anna", "Zoe", "A"),
    ("The box is in the bag, and", "it", "is large, said cook 4.", "the box", "the bag", "B"),
)


def test_winograd_is_lm_evals_by_its_substitution(checkpoint, their_network, tmp_path):
    (tmp_path / "WSCollection.xml").write_text(SCHEMAS)
    file = of_its_own(tmp_path, "wsc273/default", winograd_rows(tmp_path / "WSCollection.xml"))
    file = file.rename(tmp_path / "wsc273.yaml")

    found = ours(
        checkpoint, tmp_path, tmp_path / "out",
        tasks=[{"kind": "winograd", "substitution": "lm-eval", "end_of_text": False}], harness=[str(file)],
    )  # fmt: skip
    values, samples = theirs(their_network, file)

    assert agree(found["winograd", "accuracy_partial"], values["acc"])
    assert agree(found["harness/wsc273", "acc"], values["acc"])
    records = read_records(tmp_path / "out" / "winograd.jsonl.zst")
    for record, sample in zip(records, samples, strict=True):
        assert agree([-nats for nats in record["nats_partial"]], [float(one) for (one, _) in replies(sample)])


def replies(sample):
    return [reply for (reply,) in sample["resps"]]


QUESTIONS = [
    ("who gave the cook some bread", ["The Judge", "a judge"], "judge"),
    ("what did cook 4 like", ["Brussels sprouts"], "brussels sprouts!"),
    ("where is the cook", ["the kitchen", "Kitchen of the King"], "In the kitchen"),
    ("who said it", ["An Old Cook"], "the old cook"),
    ("how much", ["2.5 pounds"], "25 pounds"),
    ("which soup", ["gorgonzola soup"], ""),
]


def test_exact_match_is_lm_evals_on_the_same_predictions(tmp_path):
    from lm_eval.tasks import TaskManager

    rows = [{"question": question, "answer": answers} for question, answers, _ in QUESTIONS]
    file = of_its_own(tmp_path, "nq_open/nq_open", rows)
    (task,) = TaskManager(include_defaults=False).load([str(file)])["tasks"].values()

    their_scores = [
        task.process_results(doc, [said])["exact_match"]
        for doc, (_, _, said) in zip(task.eval_docs, QUESTIONS, strict=True)
    ]

    assert (
        [exact_match(said, answers) for _, answers, said in QUESTIONS] == their_scores == [1, 1, 0, 1, 1, 0]
    )


def test_what_the_model_writes_is_what_lm_eval_gets_from_it(checkpoint, their_network, tmp_path):
    rows = [{"question": question, "answer": answers} for question, answers, _ in QUESTIONS]
    file = of_its_own(tmp_path, "nq_open/nq_open", rows)
    short = "\ngeneration_kwargs: {until: ['\\n', '.', ','], do_sample: false, max_gen_toks: 12}\n"
    file.write_text(file.read_text() + short)  # 256 tokens do not fit the little model's context

    ours(checkpoint, tmp_path, tmp_path / "out", harness=[str(file)])
    _, samples = theirs(their_network, file)

    records = read_records(tmp_path / "out" / "harness" / "nq_open.jsonl.zst")
    assert [record["answers"] for record in records] == [sample["resps"] for sample in samples]
    assert any(answer for record in records for (answer,) in record["answers"])


@pytest.mark.real_data
@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "theirs_name", "limit", "metrics"),
    [
        ("lambada", "lambada/lambada_openai", 100, {"accuracy_last_word": "acc", "perplexity": "perplexity"}),
        (
            {"kind": "wikitext2", "text": "lm-eval"}, "wikitext/wikitext", 4,
            {"word_perplexity": "word_perplexity", "bits_per_byte": "bits_per_byte"},
        ),
        (
            {"kind": "winograd", "substitution": "lm-eval", "end_of_text": False}, "wsc273/default", None,
            {"accuracy_partial": "acc"},
        ),
    ],
)  # fmt: skip
def test_on_the_real_sets_too(
    task, theirs_name, limit, metrics, checkpoint, their_network, real_data, tmp_path
):
    sets = real_data / "eval"
    rows = {
        "lambada/lambada_openai": lambda: lines(sets / "lambada" / "lambada_test.jsonl"),
        "wikitext/wikitext": lambda: [
            {"page": page} for page in pages([(sets / "wikitext2/raw/wiki.test.raw").read_text()])
        ],
        "wsc273/default": lambda: winograd_rows(sets / "wsc273" / "WSCollection.xml"),
    }[theirs_name]()
    file = of_its_own(tmp_path, theirs_name, rows)
    own = file.rename(tmp_path / f"{theirs_name.split('/')[0]}.yaml") if file.stem == "default" else file

    found = ours(checkpoint, sets, tmp_path / "out", limit, tasks=[task], harness=[str(own)])
    values, _ = theirs(their_network, own, limit)

    name = task if isinstance(task, str) else task["kind"]
    for metric, of_theirs in metrics.items():
        assert agree(found[name, metric], values[of_theirs])
        assert agree(found[f"harness/{own.stem}", of_theirs], values[of_theirs])


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]
