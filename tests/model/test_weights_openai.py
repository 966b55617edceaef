"""OpenAI's own releases read, GPT-2's as TensorFlow writes it, GPT-1's as arrays; refused when damaged.

How `gpt2_release` was made is told in it.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, OpenAIGPTConfig, OpenAIGPTLMHeadModel

from model.config import GPTConfig, parameters
from model.tensorflow_bundle import Bundle
from model.weights import load_model, load_network, read_config

RELEASE = Path(__file__).parent / "gpt2_release"
DATA = "model.ckpt.data-00000-of-00001"
LAYERS, WIDTH, CONTEXT, IDS = 2, 8, 16, 265


@pytest.fixture
def gpt2_folder(tmp_path):
    return Path(shutil.copytree(RELEASE, tmp_path / "release"))


def gpt2_values() -> dict[str, np.ndarray]:
    """Return the numbers that were written, drawn again in the same order."""
    shapes = {"wpe": (CONTEXT, WIDTH), "wte": (IDS, WIDTH)}
    for n in range(LAYERS):
        shapes |= {f"h{n}/ln_1/g": (WIDTH,), f"h{n}/ln_1/b": (WIDTH,)}
        shapes |= {f"h{n}/attn/c_attn/w": (1, WIDTH, 3 * WIDTH), f"h{n}/attn/c_attn/b": (3 * WIDTH,)}
        shapes |= {f"h{n}/attn/c_proj/w": (1, WIDTH, WIDTH), f"h{n}/attn/c_proj/b": (WIDTH,)}
        shapes |= {f"h{n}/ln_2/g": (WIDTH,), f"h{n}/ln_2/b": (WIDTH,)}
        shapes |= {f"h{n}/mlp/c_fc/w": (1, WIDTH, 4 * WIDTH), f"h{n}/mlp/c_fc/b": (4 * WIDTH,)}
        shapes |= {f"h{n}/mlp/c_proj/w": (1, 4 * WIDTH, WIDTH), f"h{n}/mlp/c_proj/b": (WIDTH,)}
    shapes |= {"ln_f/g": (WIDTH,), "ln_f/b": (WIDTH,)}
    draw = np.random.default_rng(20180611)
    return {f"model/{name}": draw.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def test_every_tensor_is_what_tensorflow_wrote():
    bundle, expected = Bundle(RELEASE / "model.ckpt"), gpt2_values()

    assert bundle.names() == sorted(expected)
    for name, values in expected.items():
        assert np.array_equal(bundle.tensor(name), values) and bundle.tensor(name).shape == values.shape


def test_a_released_gpt2_gives_the_logits_of_transformers_with_its_weights():
    config = GPT2Config(
        n_layer=LAYERS, n_head=2, n_embd=WIDTH, n_positions=CONTEXT, vocab_size=IDS,
        bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    theirs = GPT2LMHeadModel(config).eval()
    for name, values in gpt2_values().items():
        part = theirs.transformer
        for step in name.split("/")[1:-1] if name.count("/") > 1 else []:
            part = part.h[int(step[1:])] if step[0] == "h" else getattr(part, step)
        last = {"g": "weight", "w": "weight", "b": "bias"}.get(name.split("/")[-1])
        target = getattr(part, last) if last else getattr(part, name.split("/")[-1]).weight
        target.data.copy_(torch.from_numpy(values.squeeze(0) if values.ndim == 3 else values))
    ids = torch.arange(CONTEXT).unsqueeze(0)

    with torch.no_grad():
        difference = load_network(RELEASE)(ids) - theirs(ids).logits

    assert difference.abs().max() < 1e-5
    assert read_config(RELEASE) == GPTConfig(n_layer=2, n_head=2, n_embd=8, n_ctx=16, vocab_size=265)


def test_counters_beside_the_model_do_not_matter(gpt2_folder, monkeypatch):
    names = Bundle.names
    monkeypatch.setattr(Bundle, "names", lambda self: [*names(self), "global_step"])

    assert load_model(gpt2_folder)[0].n_layer == 2


def write_gpt1(folder: Path, arrays: list[np.ndarray]) -> None:
    folder.mkdir()
    (folder / "params_shapes.json").write_text(json.dumps([list(array.shape) for array in arrays]))
    flat = np.concatenate([array.reshape(-1) for array in arrays])
    for number, part in enumerate(np.array_split(flat, 10)):
        np.save(folder / f"params_{number}.npy", part)


@pytest.fixture
def gpt1(tmp_path):
    """Transformers' GPT-1 with random weights, and the same as OpenAI's code would have them written."""
    torch.manual_seed(0)
    config = OpenAIGPTConfig(n_layer=2, n_head=2, n_embd=128, n_positions=7, vocab_size=19)
    theirs = OpenAIGPTLMHeadModel(config).eval()
    for parameter in theirs.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.1)
    body = theirs.transformer
    variables = [body.positions_embed.weight, body.tokens_embed.weight]
    for block in body.h:
        for convolution, norm in (
            ([block.attn.c_attn, block.attn.c_proj], block.ln_1),
            ([block.mlp.c_fc, block.mlp.c_proj], block.ln_2),
        ):
            for each in convolution:
                variables += [each.weight.unsqueeze(0), each.bias]
            variables += [norm.weight, norm.bias]
    write_gpt1(tmp_path / "gpt1", [variable.detach().numpy() for variable in variables])
    return theirs, tmp_path / "gpt1"


def test_a_released_gpt1_gives_the_logits_of_transformers_with_its_weights(gpt1):
    theirs, folder = gpt1
    ids = torch.randint(0, 19, (3, 7), generator=torch.Generator().manual_seed(1))

    with torch.no_grad():
        difference = load_network(folder)(ids) - theirs(ids).logits

    assert difference.abs().max() < 1e-5
    assert read_config(folder) == GPTConfig(
        architecture="gpt1", n_layer=2, n_head=2, n_embd=128, n_ctx=7, vocab_size=19, dropout=0.1,
        position_std=0.02,
    )  # fmt: skip


@pytest.mark.real_data
def test_the_shape_of_the_released_gpt1_is_read(real_data, tmp_path):
    shutil.copy(real_data / "bpe" / "gpt1" / "params_shapes.json", tmp_path)

    config = read_config(tmp_path)

    assert (config.n_layer, config.n_head, config.n_embd, config.n_ctx) == (12, 12, 768, 512)
    assert parameters(config) == 116_534_784 and config.label == "117M"


def damage(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def cut_off(path: Path, count: int) -> None:
    path.write_bytes(path.read_bytes()[:-count])


@pytest.mark.parametrize(
    ("harm", "error", "message"),
    [
        (lambda f: damage(f / DATA, 3000), ValueError, f"{DATA}: the bytes of model/h"),
        (lambda f: cut_off(f / DATA, 1), ValueError, f"{DATA}: cut off at 16,031 bytes, but model/"),
        (lambda f: (f / DATA).unlink(), FileNotFoundError, f"{DATA}: no such file"),
        (lambda f: damage(f / "model.ckpt.index", 40), ValueError, "index: the block at byte 0 is not what"),
        (lambda f: cut_off(f / "model.ckpt.index", 3), ValueError, "index: not a whole index"),
        (lambda f: (f / "model.ckpt.index").unlink(), FileNotFoundError, "model.ckpt.index: no such file"),
        (lambda f: (f / "hparams.json").write_text("{"), ValueError, "hparams.json: not what OpenAI"),
        (lambda f: (f / "hparams.json").write_text('{"n_vocab": 9}'), ValueError, "hparams.json: not what"),
    ],
)
def test_a_damaged_gpt2_is_refused_by_name(harm, error, message, gpt2_folder):
    harm(gpt2_folder)

    with pytest.raises(error, match=message.replace(".", r"\.")):
        load_model(gpt2_folder)


def test_a_flipped_bit_in_the_index_is_noticed_wherever_it_matters(gpt2_folder):
    path = gpt2_folder / "model.ckpt.index"
    whole = path.read_bytes()
    expected = {name: Bundle(gpt2_folder / "model.ckpt").tensor(name) for name in gpt2_values()}
    for place in range(0, 8 * len(whole), 31):
        content = bytearray(whole)
        content[place // 8] ^= 1 << place % 8
        path.write_bytes(content)
        try:
            bundle = Bundle(gpt2_folder / "model.ckpt")
        except ValueError as refused:
            assert "model.ckpt.index" in str(refused)
        else:  # it lay in the footer's padding, or in the block of metadata, which nothing reads
            assert {name: bundle.tensor(name).tobytes() for name in bundle.names()} == {
                name: values.tobytes() for name, values in expected.items()
            }


def test_fewer_layers_than_are_there_are_refused(gpt2_folder):
    path = gpt2_folder / "hparams.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "n_layer": 1}))

    with pytest.raises(ValueError, match="says 1 layers, its weights are of 2"):
        load_model(gpt2_folder)


@pytest.mark.parametrize(
    ("harm", "error", "message"),
    [
        (lambda f: (f / "params_3.npy").unlink(), FileNotFoundError, "params_3.npy: no such file"),
        (lambda f: cut_off(f / "params_9.npy", 2), ValueError, "params_9.npy: not a whole .npy file"),
        (lambda f: np.save(f / "params_0.npy", np.zeros(5)), ValueError, "params_0.npy: float64 of shape"),
        (lambda f: np.save(f / "params_9.npy", np.zeros(5, "f4")), ValueError, "numbers, but params_shapes"),
        (lambda f: (f / "params_shapes.json").write_text("[[3, 4]]"), ValueError, "params_shapes.json: not"),
        (lambda f: (f / "params_shapes.json").write_text("[[7,128],[19,128],[3]]"), ValueError, "not what"),
    ],
)
def test_a_damaged_gpt1_is_refused_by_name(harm, error, message, gpt1):
    _, folder = gpt1
    harm(folder)

    with pytest.raises(error, match=message.replace(".", r"\.")):
        load_model(folder)
