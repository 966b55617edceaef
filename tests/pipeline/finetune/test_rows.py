"""What the network is shown of rows: each read at its own extract token, however it was cut and padded."""

import pytest
import torch

from model.config import GPTConfig
from model.finetuned import FineTuned
from model.transformer import GPT
from pipeline.config import Kind
from pipeline.finetune.dataset import Dataset
from pipeline.finetune.rows import Head, batch, encoded
from pipeline.finetune.transform import Layout
from pipeline.trainer.headed import Headed
from tests.pipeline.finetune.learnable import KINDS, write

N_CTX = 16


def dataset(name: str) -> Dataset:
    return Kind("pipeline.finetune.datasets").config(name)().build()


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("name", KINDS)
def test_a_row_is_read_at_its_extract_token_alone_or_among_others_cut_or_not(
    name, causal, tokenizer, tmp_path
):
    """A context of 16 tokens cuts most texts, and a passage into pieces; rows of all lengths are padded."""
    chosen = dataset(name)
    examples = chosen.read("train", write(tmp_path, name, 8), check_sums=False).examples
    layout, head = Layout.behind(tokenizer.vocab_size, N_CTX), Head.of(chosen)
    rows, _ = encoded(chosen, examples, tokenizer, layout, "rows")
    torch.manual_seed(0)
    shape = GPTConfig(
        n_layer=2, n_head=2, n_embd=16, n_ctx=N_CTX, vocab_size=tokenizer.vocab_size + 3, causal=causal
    )
    network = FineTuned(GPT(shape), head.reading, head.outputs).double().eval()
    objective = Headed(head.labels, 0.5)

    together = batch(rows, len(rows) + 2, head)
    assert torch.equal(together.ids.gather(2, together.places.unsqueeze(2)).squeeze(2)[: len(rows)],
                       torch.full((len(rows), together.ids.shape[1]), layout.extract))  # fmt: skip
    found = objective.predict(network, together)

    for number, row in enumerate(rows):
        alone = objective.predict(network, batch([row], 1, head))[0]
        torch.testing.assert_close(found[number][: len(alone)], alone, rtol=1e-6, atol=1e-6)
    sums = [objective.sums(network, batch([row], 1, head)) for row in rows]
    for term, total in objective.sums(network, together).items():
        torch.testing.assert_close(total, sum(each[term] for each in sums), rtol=1e-6, atol=1e-6)


def test_the_loss_of_fine_tuning_is_the_tasks_mean_and_half_the_mean_over_sequences(tokenizer, tmp_path):
    """L2 + 0.5 · L1 of GPT-1's section 3.2, by plain loops: a sequence counts by its targets' mean."""
    chosen = dataset("rte")
    examples = chosen.read("train", write(tmp_path, "rte", 6), check_sums=False).examples
    layout, head = Layout.behind(tokenizer.vocab_size, N_CTX), Head.of(chosen)
    rows, cut = encoded(chosen, examples, tokenizer, layout, "rows")
    torch.manual_seed(0)
    shape = GPTConfig(n_layer=1, n_head=2, n_embd=16, n_ctx=N_CTX, vocab_size=tokenizer.vocab_size + 3)
    network = FineTuned(GPT(shape), head.reading, head.outputs).double().eval()
    objective = Headed(head.labels, 0.5)
    task, model = [], []
    for example, row in zip(examples, rows, strict=True):
        ids = torch.from_numpy(row.ids[0]).long()
        states = network.body.hidden(ids[None])[0]
        scores = states[-1] @ network.head.weight.T + network.head.bias
        task.append(-scores.log_softmax(0)[example.label])
        logs = (states @ network.body.wte.weight.T).log_softmax(1)
        model.append(-torch.stack([logs[t, ids[t + 1]] for t in range(len(ids) - 1)]).mean())

    sums, counts = objective.sums(network, batch(rows, 6, head)), objective.counts(batch(rows, 6, head))
    loss = sum(objective.weights[name] * sums[name] / counts[name] for name in sums)

    assert cut > 0, "some were cut"
    expected = torch.stack(task).mean() + 0.5 * torch.stack(model).mean()
    torch.testing.assert_close(loss.double(), expected, rtol=1e-6, atol=1e-6)
